//! The code of one bit a value of a row: RaBitQ (Gao and Long 2024, arXiv 2405.12497, section 3), of the row's
//! difference from the centre of its list.
//!
//! With r the rotated difference and s the signs of its values, `<q, r>` is estimated without bias by
//! `a <q, s>`, a = |r|^2 / |r|_1 (there: equation 12), and the estimate's standard deviation is at most
//! `e |q|`, e = |r| sqrt((1 / t^2 - 1) / (d - 1)), t = |r|_1 / (sqrt(d) |r|) (equation 14).

/// What is kept of a row beside its signs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Factors {
    /// Makes an estimate of a dot product with the signs.
    pub(crate) a: f32,
    /// Standard deviation of that estimate for a query of unit norm.
    pub(crate) e: f32,
}

/// Writes the signs of `rotated` into `words`, 32 a word (set for zero and above), and gives the factors. `dims` is
/// the length without padding.
pub(crate) fn encode(rotated: &[f32], dims: usize, words: &mut Vec<u32>) -> Factors {
    words.clear();
    let (mut squares, mut sums) = ([0.0f32; 16], [0.0f32; 16]);
    for chunk in rotated.chunks(32) {
        let mut word = 0;
        for (bit, &value) in chunk.iter().enumerate() {
            word |= u32::from(value >= 0.0) << bit;
            squares[bit % 16] += value * value;
            sums[bit % 16] += value.abs();
        }
        words.push(word);
    }
    let (square, sum): (f32, f32) = (squares.iter().sum(), sums.iter().sum());
    if sum == 0.0 || square == 0.0 {
        return Factors { a: 0.0, e: 0.0 };
    }
    let d = dims as f32;
    // 1 / t^2 - 1 is never negative but for rounding.
    let spread = (square * d / (sum * sum) - 1.0).max(0.0);
    Factors { a: square / sum, e: (square * spread / (d - 1.0).max(1.0)).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_without_bias_and_with_the_stated_spread() {
        let dims = 256;
        let rotation = super::super::rotate::Rotation::new(dims);
        let mut state = 7u64;
        let mut next = || {
            // Sums of uniform values: normal enough.
            (0..12)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state >> 40) as f32 / 16_777_216.0
                })
                .sum::<f32>()
                - 6.0
        };
        let (mut bias, mut ratio, trials) = (0.0, 0.0, 2000);
        for _ in 0..trials {
            let mut row: Vec<f32> = (0..dims).map(|_| next()).collect();
            let mut query: Vec<f32> = (0..dims).map(|_| next()).collect();
            let norm = query.iter().map(|v| v * v).sum::<f32>().sqrt();
            query.iter_mut().for_each(|v| *v /= norm);
            let exact: f32 = row.iter().zip(&query).map(|(a, b)| a * b).sum();
            rotation.apply(&mut row);
            rotation.apply(&mut query);
            let mut words = Vec::new();
            let factors = encode(&row, dims, &mut words);
            let dot: f32 = query
                .iter()
                .enumerate()
                .map(|(i, v)| if words[i / 32] >> (i % 32) & 1 == 1 { *v } else { -v })
                .sum();
            bias += (factors.a * dot - exact) / factors.e;
            ratio += ((factors.a * dot - exact) / factors.e).powi(2);
        }
        let (bias, ratio) = (bias / trials as f32, ratio / trials as f32);
        assert!(bias.abs() < 0.1 && (0.8..1.2).contains(&ratio), "{bias} {ratio}");
    }
}
