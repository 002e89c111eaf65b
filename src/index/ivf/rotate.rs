//! A fixed random rotation, so that no direction of the data is better kept by its signs than another.
//!
//! Three rounds of random signs and a Walsh-Hadamard transform (Ailon and Chazelle 2009, "The fast Johnson-Lindenstrauss
//! transform"): d log d additions instead of a matrix, and only additions and one multiplication a value, in one
//! order, so that every machine rotates alike. Where the length is no power of two, the transform takes in turn the
//! first and the last values, as many as the power of two below; all values are mixed after a few rounds.

use crate::kernel::hadamard;

/// Rounds of signs and transform.
const ROUNDS: usize = 3;

/// The rotation of vectors of one length.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    len: usize,
    /// Values of a transform: a power of two.
    span: usize,
    /// Of each round, +1 or -1 over the root of `span` for each value of the transform, +1 or -1 for the others.
    factors: Vec<f32>,
}

impl Rotation {
    pub(crate) fn new(len: usize) -> Self {
        let span = if len == 0 { 0 } else { 1 << len.ilog2() };
        let rounds = if span == len { ROUNDS } else { 2 * ROUNDS };
        let scale = 1.0 / (span as f64).sqrt();
        let mut state = 0x6c6f_6f6b_616c_696bu64;
        let mut factors = Vec::with_capacity(rounds * len);
        for round in 0..rounds {
            let first = Self::start(len, span, round);
            for i in 0..len {
                // SplitMix64 (Steele, Lea and Flood 2014).
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = state;
                z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                let sign = if (z ^ z >> 31) & 1 == 1 { 1.0 } else { -1.0 };
                let scale = if (first..first + span).contains(&i) { scale } else { 1.0 };
                factors.push((sign * scale) as f32);
            }
        }
        Self { len, span, factors }
    }

    fn start(len: usize, span: usize, round: usize) -> usize {
        if round.is_multiple_of(2) { 0 } else { len - span }
    }

    /// Rotates `values` in place.
    pub(crate) fn apply(&self, values: &mut [f32]) {
        assert_eq!(values.len(), self.len);
        for (round, factors) in self.factors.chunks_exact(self.len.max(1)).enumerate() {
            values.iter_mut().zip(factors).for_each(|(v, f)| *v *= f);
            hadamard(&mut values[Self::start(self.len, self.span, round)..][..self.span]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_dot_products_and_spreads_axes() {
        for len in [1usize, 2, 31, 32, 96, 160, 256, 288, 512] {
            let rotation = Rotation::new(len);
            let turned = |axis: usize| {
                let mut values = vec![0.0; len];
                values[axis] = 1.0;
                rotation.apply(&mut values);
                values
            };
            for (i, j) in [(0, 0), (0, len - 1), (len / 2, len / 3)] {
                let (a, b) = (turned(i), turned(j));
                let dot: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
                assert!((dot - f32::from(u8::from(i == j))).abs() < 1e-5, "{len}: {i} {j} {dot}");
                let max = a.iter().fold(0.0f32, |max, v| max.max(v.abs()));
                assert!(len < 32 || max < 5.0 / (len as f32).sqrt(), "{len}: {max}");
            }
        }
    }
}
