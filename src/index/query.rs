//! A query's side of the score.

use std::ops::Range;

use super::flat::Score;
use super::rows::inv_norm;
use crate::kernel::dot_i8;
use crate::vector::{Layout, RowCode};

/// Largest score of rows whose codes differ: the f32 before 1.
const BELOW_ONE: f32 = 1.0 - f32::EPSILON / 2.0;

/// Scores above this are checked for equal codes. Rounding moves a score by a few units of 2^-24 at most.
const NEARLY_ONE: f32 = 0.999_99;

/// A query vector, coded like a row, with the weights of its blocks.
#[derive(Debug, Clone)]
pub(crate) struct QueryCode {
    codes: Vec<i8>,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
struct Block {
    range: Range<usize>,
    /// Weight over the sum of weights, times one over the norm of the query's block.
    factor: f32,
    weighted: bool,
}

impl QueryCode {
    /// `weights`: one a block, none negative, not all zero.
    pub(crate) fn new(layout: &Layout, row: &RowCode, weights: &[f32]) -> Self {
        let total: f32 = weights.iter().sum();
        let blocks = layout.ranges().zip(&row.inv_norms).zip(weights).map(|((range, &inv), &weight)| Block {
            range,
            factor: weight / total * inv,
            weighted: weight > 0.0,
        });
        Self { codes: row.codes.clone(), blocks: blocks.collect() }
    }

    /// Tells equal codes from nearly equal ones.
    #[cold]
    fn settle(&self, row: &[i8], score: f32) -> f32 {
        let equal = |b: &Block| self.codes[b.range.clone()] == row[b.range.clone()];
        if self.blocks.iter().filter(|b| b.weighted).all(equal) { 1.0 } else { score.min(BELOW_ONE) }
    }
}

impl Score for QueryCode {
    /// The raw score: the weighted mean of the blocks' cosines, exactly 1 when all weighted codes are equal and
    /// below 1 otherwise.
    ///
    /// Integer dot products, then f32 operations in one fixed order: the same bits on every machine.
    fn score(&self, row: &[i8], inv_norms: &[[u8; 4]]) -> f32 {
        let mut score = 0.0;
        for (block, inv) in self.blocks.iter().zip(inv_norms) {
            if block.weighted {
                let dot = dot_i8(&self.codes[block.range.clone()], &row[block.range.clone()]);
                score += dot as f32 * block.factor * inv_norm(inv);
            }
        }
        if score > NEARLY_ONE { self.settle(row, score) } else { score }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn score(layout: &Layout, a: &[f32], b: &[f32], weights: &[f32]) -> f32 {
        let [a, b] = [a, b].map(|v| RowCode::encode(layout, v).unwrap());
        let inv: Vec<[u8; 4]> = b.inv_norms.iter().map(|v| v.to_le_bytes()).collect();
        QueryCode::new(layout, &a, weights).score(&b.codes, &inv)
    }

    #[test]
    fn weights_choose_the_blocks() {
        let layout = Layout::new(&[2, 2]).unwrap();
        let (a, b) = ([1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(score(&layout, &a, &b, &[1.0, 0.0]), 1.0);
        assert_eq!(score(&layout, &a, &b, &[0.0, 1.0]), 0.0);
        assert_eq!(score(&layout, &a, &b, &[1.0, 0.25]), 0.8);
        assert_eq!(score(&layout, &a, &a, &[1.0, 0.25]), 1.0);
    }

    proptest! {
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
