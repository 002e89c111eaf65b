//! A query's side of the score.

use std::ops::Range;

use super::flat::Score;
use super::rows::inv_norm;
use crate::kernel::{TOGETHER, UpperQuery, WideQuery};
use crate::vector::{Layout, RowCode};

/// Largest score of rows whose codes differ: the f32 before 1.
const BELOW_ONE: f32 = 1.0 - f32::EPSILON / 2.0;

/// Scores above this are checked for equal codes. Rounding moves a score by a few units of 2^-24 at most.
const NEARLY_ONE: f32 = 0.999_99;

/// What f32 arithmetic moves a score or a bound by, at most, beside a score of magnitude 1; see `QueryCode`'s bounds.
pub(super) const ROUNDING: f32 = 32.0 * f32::EPSILON / 2.0;

/// Three times the root mean square of a rest, which is any of -128..=127 alike: the root of 5461.5.
const LIKELY_REST: f64 = 3.0 * 73.902_017_563_779_9;

/// A query vector, coded like a row, with the weights of its blocks.
#[derive(Debug, Clone)]
pub(crate) struct QueryCode {
    row: RowCode,
    /// Those with a weight above zero.
    blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
struct Block {
    /// Its number, and where it lies in a row.
    number: usize,
    range: Range<usize>,
    upper: UpperQuery,
    lower: WideQuery,
    /// Weight over the sum of weights.
    weight: f64,
    /// One over the norm of the query's block.
    inv_norm: f32,
    /// Of the dot product with the steps: 128 times the weight, times one over the norm.
    factor: f32,
    /// The most that the rests add to a score, times the norm of the row's block.
    slack: f32,
    /// The same, but for one row in some seven hundred.
    likely: f32,
    /// The most that the rests can be in norm: 128 times the root of the dimensions.
    rests: f32,
}

impl QueryCode {
    /// `weights`: one a block, none negative, not all zero.
    pub(crate) fn new(layout: &Layout, row: &RowCode, weights: &[f32]) -> Self {
        let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        let values = row.values();
        let block = |(number, ((range, &inv_norm), &weight)): (usize, ((Range<usize>, &f32), &f32))| {
            let weight = f64::from(weight) / total;
            // The sum of the magnitudes over the norm: at most the root of the dimensions, some .8 of it mostly.
            let sum: u64 = values[range.clone()].iter().map(|v| u64::from(v.unsigned_abs())).sum();
            let spread = sum as f64 * f64::from(inv_norm);
            Block {
                number,
                upper: UpperQuery::new(&values[range.clone()], range.start),
                lower: WideQuery::new(&values[range.clone()], range.start),
                weight,
                inv_norm,
                factor: (128.0 * weight * f64::from(inv_norm)) as f32,
                slack: (weight * 128.0 * (spread + (range.len() as f64).sqrt() * f64::from(ROUNDING))) as f32,
                likely: (weight * (128.0 * spread).min(LIKELY_REST)) as f32,
                rests: 128.0 * (range.len() as f32).sqrt(),
                range,
            }
        };
        let blocks = layout.ranges().zip(&row.inv_norms).zip(weights).enumerate().map(block);
        Self { row: row.clone(), blocks: blocks.filter(|block| block.weight > 0.0).collect() }
    }

    /// The score as the upper plane tells it: exact integer dot products of the 12-bit query and the steps of the row, then
    /// f32 operations in one fixed order. Where the score lies around it `bounds` says.
    #[inline]
    pub(crate) fn coarse(&self, upper: &[u8], inv_norms: &[[u8; 4]]) -> f32 {
        let one = |block: &Block| {
            let dot = block.upper.dot(upper) as f32;
            dot * block.factor * inv_norm(&inv_norms[block.number])
        };
        self.blocks.iter().map(one).sum()
    }

    /// What the rests move a score by at most, but for one row in some seven hundred: for searches that may miss one.
    ///
    /// A rest is any of -128..=127 alike, so the sum of their products with a query of norm |q| has a standard deviation of
    /// 73.9 |q|; this is three of them.
    #[inline]
    pub(crate) fn likely_slack(&self, inv_norms: &[[u8; 4]]) -> f32 {
        let one = |block: &Block| block.likely * inv_norm(&inv_norms[block.number]);
        self.blocks.iter().map(one).sum::<f32>() + ROUNDING
    }

    /// Tells equal rows from nearly equal ones.
    #[cold]
    fn settle(&self, upper: &[u8], lower: &[i8], score: f32) -> f32 {
        let half = |plane: &[u8], index: usize| plane[index / 2] >> (index % 2 * 4) & 15;
        let equal = |block: &Block| {
            let range = block.range.clone();
            self.row.lower[range.clone()] == lower[range.clone()]
                && range.into_iter().all(|index| half(&self.row.upper, index) == half(upper, index))
        };
        if self.blocks.iter().all(equal) { 1.0 } else { score.min(BELOW_ONE) }
    }
}

impl Score for QueryCode {
    /// Of a block of d dimensions let r = 128 h + l be the values of a row as in `bounds`. No value of l is above 128 in
    /// magnitude, so |r| is at least 128 |h| - 128 sqrt(d), and neither the coarse score, if it is above zero, nor its slack
    /// is more than with that. What rounding adds is below 20 u of a term where that is at least half of 128 |h|, with
    /// u = 2^-24; it is moved by 160 u.
    #[inline]
    fn highs(&self, uppers: [&[u8]; TOGETHER]) -> [f32; TOGETHER] {
        const FURTHER: f32 = 160.0 * f32::EPSILON / 2.0;
        let mut highs = [ROUNDING; TOGETHER];
        for block in &self.blocks {
            let (dots, squares) = block.upper.dots_and_squares(uppers);
            for (high, (dot, squares)) in highs.iter_mut().zip(dots.into_iter().zip(squares)) {
                let norm = 128.0 * (squares as f32).sqrt();
                let most = (1.0 + FURTHER) / (norm - block.rests);
                let own = ((dot as f32 * block.factor).max(0.0) + block.slack) * most;
                *high += if norm < 2.0 * block.rests { f32::INFINITY } else { own };
            }
        }
        highs
    }

    /// The coarse score less and more a bound of its difference from the score, in one pass over the blocks.
    ///
    /// Let q and r be the 12-bit values of one block of d dimensions, r = 128 h + l with h the steps, w its weight, and
    /// s = 128 sqrt(d) / |r|.
    /// Without rounding the score and the coarse score differ by the sum of w (q . l) / (|q| |r|) over the blocks, and no
    /// value of l is above 128 in magnitude, so |q . l| <= 128 |q|_1, the sum of q's magnitudes. This gives the bound; as
    /// |q|_1 <= sqrt(d) |q| (Cauchy and Schwarz), it is at most S, the sum of w s.
    ///
    /// What rounding adds, with u = 2^-24, half the epsilon: a term of the coarse score is at most w (1 + s) in
    /// magnitude, for 128 |h| <= |r| + |l|; it is rounded four times (the product to f32, the factor, two
    /// multiplications) and there are at most three additions, so 7 u (1 + S). One over a norm, kept in f32, is u from
    /// what it stands for: two of them, 2 u (1 + S). The score is rounded to f32, u, and one near 1 is moved to 1
    /// or below it, 4 u. This bound and its sum and difference with the coarse score round too: 10 u (1 + S) at
    /// most. Together less than 32 u (1 + S), which is in the bound: 32 u S by the factor of each block.
    #[inline]
    fn bounds_of(
        &self,
        uppers: [&[u8]; TOGETHER],
        inv_norms: [&[[u8; 4]]; TOGETHER],
    ) -> [(f32, f32); TOGETHER] {
        let mut bounds = [(0.0, ROUNDING); TOGETHER];
        for block in &self.blocks {
            for ((bounds, dot), inv_norms) in bounds.iter_mut().zip(block.upper.dots(uppers)).zip(inv_norms) {
                let inv_norm = inv_norm(&inv_norms[block.number]);
                bounds.0 += dot as f32 * block.factor * inv_norm;
                bounds.1 += block.slack * inv_norm;
            }
        }
        bounds.map(|(coarse, slack)| (coarse - slack, coarse + slack))
    }

    /// The raw score: the weighted mean of the blocks' cosines in 12 bits a value, exactly 1 when all weighted blocks
    /// are equal and below 1 otherwise.
    ///
    /// Integer dot products, then f64 operations in one fixed order, rounded to f32 at the end: the same bits on every
    /// machine, and whichever of two rows is the query.
    fn score(&self, upper: &[u8], lower: &[i8], inv_norms: &[[u8; 4]]) -> f32 {
        let mut score = 0.0;
        for block in &self.blocks {
            // At most 4096 products of magnitude 2^22: exact in f64.
            let dot = 128 * i64::from(block.upper.dot(upper)) + i64::from(block.lower.dot(lower));
            // The product of two f32 is exact, so the sides may change places.
            let inv_norms = f64::from(block.inv_norm) * f64::from(inv_norm(&inv_norms[block.number]));
            score += dot as f64 * inv_norms * block.weight;
        }
        let score = score as f32;
        if score > NEARLY_ONE { self.settle(upper, lower, score) } else { score }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn score(layout: &Layout, a: &[f32], b: &[f32], weights: &[f32]) -> f32 {
        let [a, b] = [a, b].map(|v| RowCode::encode(layout, v).unwrap());
        let query = QueryCode::new(layout, &a, weights);
        let (low, score, high) = bounded(&query, &b);
        assert!(low <= score && score <= high, "{low} <= {score} <= {high}");
        score
    }

    /// The score of a row between its bounds.
    fn bounded(query: &QueryCode, row: &RowCode) -> (f32, f32, f32) {
        let inv: Vec<[u8; 4]> = row.inv_norms.iter().map(|v| v.to_le_bytes()).collect();
        let [(low, high), others @ ..] = query.bounds_of([&row.upper; TOGETHER], [&inv; TOGETHER]);
        let (coarse, likely) = (query.coarse(&row.upper, &inv), query.likely_slack(&inv));
        let near = |a: f32, b: f32| (a - b).abs() <= 8.0 * f32::EPSILON * (1.0 + b.abs() + high - low);
        // The coarse score is in the middle, and what is likely is no more than what is possible.
        assert!(near(low + high, 2.0 * coarse) && likely <= (high - low) / 2.0 + ROUNDING);
        assert_eq!(others, [(low, high); TOGETHER - 1]);
        let score = query.score(&row.upper, &row.lower, &inv);
        let [by_codes, ..] = query.highs([&row.upper; TOGETHER]);
        assert!(by_codes >= high - 4.0 * f32::EPSILON && by_codes >= score, "{by_codes} for {high}");
        (low, score, high)
    }

    /// A row of these values, whether or not its largest is what an encoding gives.
    fn kept(layout: &Layout, values: &[i16]) -> RowCode {
        let halves: Vec<u8> = values.iter().map(|v| ((v + 2048) >> 8) as u8).collect();
        let lower: Vec<i8> = values.iter().map(|v| ((v & 255) - 128) as i8).collect();
        let upper: Vec<u8> =
            halves.chunks(2).map(|pair| pair[0] | pair.get(1).map_or(0, |odd| odd << 4)).collect();
        RowCode::from_planes(layout, &upper, &lower).unwrap()
    }

    #[test]
    fn weights_choose_the_blocks() {
        let layout = Layout::new(&[2, 2]).unwrap();
        let (a, b) = ([1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(score(&layout, &a, &b, &[1.0, 0.0]), 1.0);
        assert_eq!(score(&layout, &a, &b, &[0.0, 1.0]), 0.0);
        assert_eq!(score(&layout, &a, &b, &[1.0, 0.25]), 0.8);
        // Only the weighted block is equal.
        assert_eq!(score(&layout, &[1.0, 0.5, 0.0, 1.0], &[1.0, 0.5, 1.0, 0.0], &[1.0, 0.0]), 1.0);
        assert_eq!(score(&layout, &a, &a, &[1.0, 0.25]), 1.0);
    }

    /// Rows whose rests add as much as they can: each the largest of the sign of the query, in rows that are small beside
    /// it, where it is all there is.
    #[test]
    fn adversarial_rows_stay_within_the_bounds() {
        for dims in [1, 2, 3, 64, 255, 4096] {
            let layout = Layout::new(&[dims]).unwrap();
            for scale in [1i16, 7, 100, 2032] {
                let query: Vec<i16> = (0..dims).map(|i| if i % 3 == 0 { scale } else { -scale }).collect();
                let code = QueryCode::new(&layout, &kept(&layout, &query), &[1.0]);
                for step in [1i16, 3, 5, 15] {
                    for (with, against) in [(127, -128), (-128, 127), (127, 127), (-128, -128), (0, -128)] {
                        for sign in [1, -1] {
                            let one = |&q: &i16| {
                                let value =
                                    sign * q.signum() * 128 * step + if q > 0 { with } else { against };
                                value.clamp(-2032, 2032)
                            };
                            let row: Vec<i16> = query.iter().map(one).collect();
                            if row.iter().all(|&v| v == 0) {
                                continue;
                            }
                            let (low, score, high) = bounded(&code, &kept(&layout, &row));
                            assert!(low <= score && score <= high, "{low} <= {score} <= {high}");
                            // The bound is not idle: a rest that doubles the only step comes near to it.
                            if (step, with, sign, dims, scale) == (1, 127, 1, 1, 2032) {
                                assert!(score > 0.99 * high, "{low} {score} {high}");
                            }
                        }
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn bounds_hold_and_sides_change_places(
            values in proptest::collection::vec((-2032i16..=2032, -2032i16..=2032), 30),
            shift in 0u32..11,
            weights in (0.0f32..1.0, 1e-6f32..1.0, 0.0f32..1e-3),
        ) {
            let layout = Layout::new(&[3, 20, 7]).unwrap();
            // Small rows have the widest bounds; none is zero.
            let a: Vec<i16> = values.iter().map(|v| v.0 | 1).collect();
            let b: Vec<i16> = values.iter().map(|v| v.1 >> shift | 1).collect();
            let weights = [weights.0, weights.1, weights.2];
            let [a, b] = [a, b].map(|v| kept(&layout, &v.iter().map(|v| (*v).min(2031)).collect::<Vec<_>>()));
            let (low, score, high) = bounded(&QueryCode::new(&layout, &a, &weights), &b);
            prop_assert!(low <= score && score <= high, "{} <= {} <= {}", low, score, high);
            let other = bounded(&QueryCode::new(&layout, &b, &weights), &a).1;
            prop_assert_eq!(score.to_bits(), other.to_bits());
            let exact: f64 = layout.ranges().zip(weights).map(|(range, weight)| {
                let [a, b] = [&a, &b].map(|row| row.decode(&layout)[range.clone()].to_vec());
                let dot: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
                dot * f64::from(weight)
            }).sum::<f64>() / weights.iter().map(|w| f64::from(*w)).sum::<f64>();
            prop_assert!((exact - f64::from(score)).abs() < 1e-5);
        }

        #[test]
        fn one_exactly_when_equal(a in proptest::collection::vec(-9i8..9, 8), step in 0usize..8) {
            let layout = Layout::new(&[8]).unwrap();
            let a: Vec<f32> = a.into_iter().map(f32::from).collect();
            let mut b = a.clone();
            b[step] += 0.2;
            prop_assume!(a.iter().any(|&v| v != 0.0) && b.iter().any(|&v| v != 0.0));
            prop_assert_eq!(score(&layout, &a, &a, &[3.0]), 1.0);
            let same = RowCode::encode(&layout, &a) == RowCode::encode(&layout, &b);
            prop_assert_eq!(score(&layout, &a, &b, &[3.0]) == 1.0, same);
        }
    }
}
