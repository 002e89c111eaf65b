//! A query's side of the copy score.

use std::ops::Range;

use super::flat::Score;
use super::rows::inv_norm;
use crate::kernel::DotQuery;

/// Hash similarity that counts nothing: unrelated pictures lie about 0, and few above this.
const HASH_FROM: f32 = 0.25;
/// The most that the hash adds to a score.
pub(crate) const HASH_MOST: f32 = 1.0 - HASH_FROM;

/// Views of a query, coded like the copy block of a row, each with what it shares with anything.
#[derive(Debug, Clone)]
pub(crate) struct CopyCode {
    /// Where the copy block lies in a row, and its number.
    range: Range<usize>,
    block: usize,
    views: Vec<CodedView>,
}

/// One view of the query.
#[derive(Debug, Clone)]
pub(crate) struct CodedView {
    codes: DotQuery,
    /// Of the dot product of the codes: 256 over the norm of the values.
    factor: f32,
    /// Subtracted from the cosine.
    background: f32,
}

impl CodedView {
    /// `codes` are the upper eight bits of the block's values, `inv_norm` is one over the norm of the whole values.
    pub(crate) fn new(codes: &[i8], inv_norm: f32, background: f32) -> Self {
        Self { codes: DotQuery::new(codes), factor: 256.0 * inv_norm, background }
    }
}

impl CopyCode {
    /// `range` is where block number `block` lies in a row.
    pub(crate) fn new(range: Range<usize>, block: usize, views: Vec<CodedView>) -> Self {
        Self { range, block, views }
    }
}

impl Score for CopyCode {
    const FINE: bool = false;

    #[inline]
    fn bounds(&self, codes: &[i8], inv_norms: &[[u8; 4]]) -> (f32, f32) {
        let score = self.score(codes, &[], inv_norms);
        (score, score)
    }

    /// Over the views, the largest cosine less the view's background; before any hash. The cosine is of the upper
    /// eight bits of the values: what the rest would add is far below what tells copies from others.
    ///
    /// Integer dot products, then f32 operations in one fixed order: the same bits on every machine.
    fn score(&self, codes: &[i8], _: &[u8], inv_norms: &[[u8; 4]]) -> f32 {
        let row = &codes[self.range.clone()];
        let inv = inv_norm(&inv_norms[self.block]);
        let one =
            |view: &CodedView| (view.codes.dot(row) as f32 * view.factor * inv).min(1.0) - view.background;
        self.views.iter().map(one).fold(f32::NEG_INFINITY, f32::max)
    }
}

/// What the hash adds: `max(0, s - 1/4)`, s = 1 - 2 d / 256 for the distance d in bits of the nearest of `hashes`.
///
/// Nothing when either side has no hash.
pub(crate) fn hash_score(hashes: &[[u8; 32]], row: &[u8; 32]) -> f32 {
    if *row == [0; 32] {
        return 0.0;
    }
    let bits = |hash: &[u8; 32]| -> u32 { hash.iter().zip(row).map(|(a, b)| (a ^ b).count_ones()).sum() };
    let nearest = hashes.iter().filter(|hash| **hash != [0; 32]).map(bits).min().unwrap_or(256);
    (1.0 - nearest as f32 / 128.0 - HASH_FROM).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_view_counts() {
        let view = |codes: [i8; 2], background| {
            let norm = codes.iter().map(|&c| f32::from(c).powi(2)).sum::<f32>().sqrt();
            CodedView::new(&codes, 1.0 / (16.0 * norm), background)
        };
        let code = CopyCode::new(1..3, 1, vec![view([3, 4], 0.5), view([4, -3], 0.25)]);
        let one = |row: [i8; 3], norm: f32| {
            let inv_norms = [[0; 4], (1.0 / (16.0 * norm)).to_le_bytes()];
            let score = code.score(&row, &[], &inv_norms);
            assert_eq!(code.bounds(&row, &inv_norms), (score, score));
            score
        };
        assert_eq!(one([9, 3, 4], 5.0), 0.5);
        assert_eq!(one([9, 4, -3], 5.0), 0.75);
        assert_eq!(one([9, -3, -4], 5.0), -0.25);
    }

    #[test]
    fn hashes_add_from_a_quarter_on() {
        let hash = |ones: usize| std::array::from_fn(|i| if i < ones { 0xff } else { 0x0f });
        assert_eq!(hash_score(&[hash(0)], &hash(0)), HASH_MOST);
        assert_eq!(hash_score(&[hash(0)], &hash(16)), 0.25);
        assert_eq!(hash_score(&[hash(0)], &hash(32)), 0.0);
        assert_eq!(hash_score(&[hash(32), hash(15)], &hash(16)), 0.75 - 1.0 / 32.0);
        assert_eq!(hash_score(&[[0; 32]], &[0; 32]), 0.0);
        assert_eq!(hash_score(&[], &hash(3)), 0.0);
    }
}
