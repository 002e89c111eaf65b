//! A query's side of the score.

use std::ops::Range;

use super::flat::Score;
use super::rows::inv_norm;
use crate::kernel::WideQuery;
use crate::vector::{Layout, RowCode};

/// Largest score of rows whose codes differ: the f32 before 1.
const BELOW_ONE: f32 = 1.0 - f32::EPSILON / 2.0;

/// Scores above this are checked for equal codes. Rounding moves a score by a few units of 2^-24 at most.
const NEARLY_ONE: f32 = 0.999_99;

/// What f32 arithmetic moves a score or a bound by, at most, beside a score of magnitude 1; see `QueryCode`'s bounds.
const ROUNDING: f32 = 32.0 * f32::EPSILON / 2.0;

/// Four times the root mean square of a rest, which is any of -8..=7 alike: the root of 21.5.
const LIKELY_REST: f64 = 4.0 * 4.636_809_247_747_852;

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
    values: WideQuery,
    /// Weight over the sum of weights.
    weight: f64,
    /// One over the norm of the query's block.
    inv_norm: f32,
    /// Of the coarse dot product: 16 times the weight, times one over the norm.
    factor: f32,
    /// The most that the fine plane adds to a score, times the norm of the row's block.
    slack: f32,
    /// The same, but for one row in some ten thousand.
    likely: f32,
    /// The most that the fine plane can be in norm: 8 times the root of the dimensions.
    rests: f32,
}

impl QueryCode {
    /// `weights`: one a block, none negative, not all zero.
    pub(crate) fn new(layout: &Layout, row: &RowCode, weights: &[f32]) -> Self {
        let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        let (rests, values) = (row.rests(), row.values());
        let block = |(number, ((range, &inv_norm), &weight)): (usize, ((Range<usize>, &f32), &f32))| {
            let weight = f64::from(weight) / total;
            // The sum of the magnitudes over the norm: at most the root of the dimensions, some .8 of it mostly.
            let sum: u64 = values[range.clone()].iter().map(|v| u64::from(v.unsigned_abs())).sum();
            let spread = sum as f64 * f64::from(inv_norm);
            Block {
                number,
                values: WideQuery::new(&row.codes[range.clone()], &rests[range.clone()], range.start),
                weight,
                inv_norm,
                factor: (16.0 * weight * f64::from(inv_norm)) as f32,
                slack: (weight * 8.0 * (spread + (range.len() as f64).sqrt() * f64::from(ROUNDING))) as f32,
                likely: (weight * (8.0 * spread).min(LIKELY_REST)) as f32,
                rests: 8.0 * (range.len() as f32).sqrt(),
                range,
            }
        };
        let blocks = layout.ranges().zip(&row.inv_norms).zip(weights).enumerate().map(block);
        Self { row: row.clone(), blocks: blocks.filter(|block| block.weight > 0.0).collect() }
    }

    /// The score as the codes tell it, without the fine plane: exact integer dot products of the 12-bit query and the
    /// upper eight bits of the row, then f32 operations in one fixed order. Where the score
    /// lies around it `bounds` says.
    #[inline]
    pub(crate) fn coarse(&self, codes: &[i8], inv_norms: &[[u8; 4]]) -> f32 {
        let one = |block: &Block| {
            let dot = block.values.coarse(codes) as f32;
            dot * block.factor * inv_norm(&inv_norms[block.number])
        };
        self.blocks.iter().map(one).sum()
    }

    /// What the fine plane moves a score by at most, but for one row in some ten thousand: for searches that may miss one.
    ///
    /// A rest is any of -8..=7 alike, so the sum of its products with a query of norm |q| has a standard deviation of
    /// 4.64 |q|; this is four of them.
    #[inline]
    pub(crate) fn likely_slack(&self, inv_norms: &[[u8; 4]]) -> f32 {
        let one = |block: &Block| block.likely * inv_norm(&inv_norms[block.number]);
        self.blocks.iter().map(one).sum::<f32>() + ROUNDING
    }

    /// Tells equal rows from nearly equal ones.
    #[cold]
    fn settle(&self, codes: &[i8], fine: &[u8], score: f32) -> f32 {
        let rest = |plane: &[u8], index: usize| plane[index / 2] >> (index % 2 * 4) & 15;
        let equal = |block: &Block| {
            let range = block.range.clone();
            self.row.codes[range.clone()] == codes[range.clone()]
                && range.into_iter().all(|index| rest(&self.row.fine, index) == rest(fine, index))
        };
        if self.blocks.iter().all(equal) { 1.0 } else { score.min(BELOW_ONE) }
    }
}

impl Score for QueryCode {
    const FINE: bool = true;

    /// Of a block of d dimensions let r = 16 h + l be the values of a row as in `bounds`. No value of l is above 8 in
    /// magnitude, so |r| lies within 8 sqrt(d) of 16 |h|, and the coarse score and its slack are at most what they are at the
    /// end of that range that makes them larger. What rounding adds is below 20 u of a term where the range does
    /// not reach below half of 16 |h|; the ends are moved by 160 u.
    #[inline]
    fn high(&self, codes: &[i8]) -> f32 {
        const FURTHER: f32 = 160.0 * f32::EPSILON / 2.0;
        let mut high = ROUNDING;
        for block in &self.blocks {
            let (dot, squares) = block.values.coarse_and_squares(codes);
            let norm = 16.0 * (squares as f32).sqrt();
            if norm < 2.0 * block.rests {
                return f32::INFINITY;
            }
            let most = (1.0 + FURTHER) / (norm - block.rests);
            let least = (1.0 - FURTHER) / (norm + block.rests);
            let coarse = dot as f32 * block.factor;
            high += coarse * if coarse > 0.0 { most } else { least } + block.slack * most;
        }
        high
    }

    /// The coarse score less and more a bound of its difference from the score, in one pass over the blocks.
    ///
    /// Let q and r be the 12-bit values of one block of d dimensions, r = 16 h + l, w its weight, and s = 8 sqrt(d) / |r|.
    /// Without rounding the score and the coarse score differ by the sum of w (q . l) / (|q| |r|) over the blocks, and no
    /// value of l is above 8 in magnitude, so |q . l| <= 8 |q|_1, the sum of q's magnitudes. This gives the bound; as
    /// |q|_1 <= sqrt(d) |q| (Cauchy and Schwarz), it is at most S, the sum of w s.
    ///
    /// What rounding adds, with u = 2^-24, half the epsilon: a term of the coarse score is at most w (1 + s) in
    /// magnitude, for 16 |h| <= |r| + |l|; it is rounded four times (the product to f32, the factor, two
    /// multiplications) and there are at most three additions, so 7 u (1 + S). One over a norm, kept in f32, is u from
    /// what it stands for: two of them, 2 u (1 + S). The score is rounded to f32, u, and one near 1 is moved to 1
    /// or below it, 4 u. This bound and its sum and difference with the coarse score round too: 10 u (1 + S) at
    /// most. Together less than 32 u (1 + S), which is in the bound: 32 u S by the factor of each block.
    #[inline]
    fn bounds(&self, codes: &[i8], inv_norms: &[[u8; 4]]) -> (f32, f32) {
        let (mut coarse, mut slack) = (0.0, ROUNDING);
        for block in &self.blocks {
            let inv_norm = inv_norm(&inv_norms[block.number]);
            coarse += block.values.coarse(codes) as f32 * block.factor * inv_norm;
            slack += block.slack * inv_norm;
        }
        (coarse - slack, coarse + slack)
    }

    /// The raw score: the weighted mean of the blocks' cosines in 12 bits a value, exactly 1 when all weighted blocks
    /// are equal and below 1 otherwise.
    ///
    /// Integer dot products, then f64 operations in one fixed order, rounded to f32 at the end: the same bits on every
    /// machine, and whichever of two rows is the query.
    fn score(&self, codes: &[i8], fine: &[u8], inv_norms: &[[u8; 4]]) -> f32 {
        let mut score = 0.0;
        for block in &self.blocks {
            let dot = block.values.exact(codes, fine) as f64;
            // The product of two f32 is exact, so the sides may change places.
            let inv_norms = f64::from(block.inv_norm) * f64::from(inv_norm(&inv_norms[block.number]));
            score += dot * inv_norms * block.weight;
        }
        let score = score as f32;
        if score > NEARLY_ONE { self.settle(codes, fine, score) } else { score }
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
        let (low, high) = query.bounds(&row.codes, &inv);
        let (coarse, likely) = (query.coarse(&row.codes, &inv), query.likely_slack(&inv));
        let near = |a: f32, b: f32| (a - b).abs() <= 8.0 * f32::EPSILON * (1.0 + b.abs());
        // The coarse score is in the middle, and what is likely is no more than what is possible.
        assert!(near(low + high, 2.0 * coarse) && likely <= (high - low) / 2.0 + ROUNDING);
        let score = query.score(&row.codes, &row.fine, &inv);
        let by_codes = query.high(&row.codes);
        assert!(by_codes >= high - 4.0 * f32::EPSILON && by_codes >= score, "{by_codes} for {high}");
        (low, score, high)
    }

    /// A row of these values, whether or not its largest is what an encoding gives.
    fn kept(layout: &Layout, values: &[i16]) -> RowCode {
        let codes: Vec<i8> = values.iter().map(|v| ((v + 8) >> 4) as i8).collect();
        let rests: Vec<u8> = values.iter().map(|v| ((v + 8) & 15) as u8).collect();
        let fine: Vec<u8> =
            rests.chunks(2).map(|pair| pair[0] | pair.get(1).map_or(0, |odd| odd << 4)).collect();
        RowCode::from_codes(layout, &codes, &fine).unwrap()
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

    /// Rows whose fine plane adds as much as it can: each rest the largest of the sign of the query, in rows that are
    /// small beside it, where it is all there is.
    #[test]
    fn adversarial_rows_stay_within_the_bounds() {
        for dims in [1, 2, 3, 64, 255, 4096] {
            let layout = Layout::new(&[dims]).unwrap();
            for scale in [1i16, 7, 100, 2032] {
                let query: Vec<i16> = (0..dims).map(|i| if i % 3 == 0 { scale } else { -scale }).collect();
                let code = QueryCode::new(&layout, &kept(&layout, &query), &[1.0]);
                for code_of_row in [0i16, 1, 2, 100, 126] {
                    for (with, against) in [(7, -8), (-8, 7), (7, 7), (-8, -8), (0, -8)] {
                        for sign in [1, -1] {
                            let one = |&q: &i16| {
                                sign * q.signum() * 16 * code_of_row + if q > 0 { with } else { against }
                            };
                            let row: Vec<i16> = query.iter().map(one).collect();
                            if row.iter().all(|&v| v == 0) {
                                continue;
                            }
                            let (low, score, high) = bounded(&code, &kept(&layout, &row));
                            assert!(low <= score && score <= high, "{low} <= {score} <= {high}");
                            // The bound is not idle: the plane alone is nearly all of it.
                            if code_of_row == 0 && (with, against) == (-8, -8) && dims == 1 {
                                assert!(score.abs() > 0.99 * high.max(-low), "{low} {score} {high}");
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
