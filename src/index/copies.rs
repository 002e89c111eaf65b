//! A query's side of the copy score.

use super::flat::Score;
use super::query::ROUNDING;
use super::rows::inv_norm;
use crate::kernel::TOGETHER;
use crate::kernel::{UpperQuery, WideQuery};

/// Hash similarity that counts nothing: unrelated pictures lie about 0, and few above this.
const HASH_FROM: f32 = 0.25;
/// The most that the hash adds to a score.
pub(crate) const HASH_MOST: f32 = 1.0 - HASH_FROM;

/// Views of a query, coded like the copy block of a row, each with what it shares with anything.
#[derive(Debug, Clone)]
pub(crate) struct CopyCode {
    /// The number of the copy block.
    block: usize,
    views: Vec<CodedView>,
}

/// One view of the query.
#[derive(Debug, Clone)]
pub(crate) struct CodedView {
    upper: UpperQuery,
    lower: WideQuery,
    /// One over the norm of the values.
    inv_norm: f32,
    /// The most that a row's rests add to the cosine, times the norm of its block.
    slack: f32,
    /// Subtracted from the cosine.
    background: f32,
}

impl CodedView {
    /// `values` are those of a block that begins at place `start` of a row, `inv_norm` is one over their norm.
    pub(crate) fn new(start: usize, values: &[i16], inv_norm: f32, background: f32) -> Self {
        let sum: f32 = values.iter().map(|&v| f32::from(v.unsigned_abs())).sum();
        let slack = 128.0 * (sum * inv_norm + (values.len() as f32).sqrt() * ROUNDING);
        let (upper, lower) = (UpperQuery::new(values, start), WideQuery::new(values, start));
        Self { upper, lower, inv_norm, slack, background }
    }
}

impl CopyCode {
    /// Views of block number `block`.
    pub(crate) fn new(block: usize, views: Vec<CodedView>) -> Self {
        Self { block, views }
    }

    /// As of a search by the block alone; see [`QueryCode`](super::query::QueryCode).
    #[inline]
    fn bounds(&self, upper: &[u8], inv_norms: &[[u8; 4]]) -> (f32, f32) {
        let inv = inv_norm(&inv_norms[self.block]);
        let (mut low, mut high) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        for view in &self.views {
            let coarse = (128 * i64::from(view.upper.dot(upper))) as f32 * view.inv_norm * inv;
            let slack = view.slack * inv + ROUNDING;
            low = low.max((coarse - slack).min(1.0) - view.background);
            high = high.max((coarse + slack).min(1.0) - view.background);
        }
        (low, high)
    }
}

impl Score for CopyCode {
    fn bounds_of(
        &self,
        uppers: [&[u8]; TOGETHER],
        inv_norms: [&[[u8; 4]]; TOGETHER],
    ) -> [(f32, f32); TOGETHER] {
        std::array::from_fn(|row| self.bounds(uppers[row], inv_norms[row]))
    }

    /// Over the views, the largest cosine less the view's background; before any hash.
    ///
    /// Integer dot products, then f32 operations in one fixed order: the same bits on every machine.
    fn score(&self, upper: &[u8], lower: &[i8], inv_norms: &[[u8; 4]]) -> f32 {
        let inv = inv_norm(&inv_norms[self.block]);
        let one = |view: &CodedView| {
            let dot = 128 * i64::from(view.upper.dot(upper)) + i64::from(view.lower.dot(lower));
            (dot as f32 * view.inv_norm * inv).min(1.0) - view.background
        };
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
    use crate::vector::{Layout, RowCode};
    use proptest::prelude::*;

    #[test]
    fn the_best_view_counts() {
        let layout = Layout::new(&[1, 2]).unwrap();
        let row = |values: [f32; 3]| RowCode::encode(&layout, &values).unwrap();
        let view = |values: [f32; 2], background| {
            let row = row([1.0, values[0], values[1]]);
            CodedView::new(1, &row.values()[1..], row.inv_norms[1], background)
        };
        let code = CopyCode::new(1, vec![view([3.0, 4.0], 0.5), view([4.0, -3.0], 0.25)]);
        let one = |values: [f32; 3], want: f32| {
            let row = row(values);
            let inv_norms: Vec<[u8; 4]> = row.inv_norms.iter().map(|v| v.to_le_bytes()).collect();
            let score = code.score(&row.upper, &row.lower, &inv_norms);
            let (low, high) = code.bounds(&row.upper, &inv_norms);
            assert!(low <= score && score <= high && high - low < 0.5, "{low} <= {score} <= {high}");
            assert!((score - want).abs() < 1e-3, "{score} for {want}");
        };
        one([9.0, 3.0, 4.0], 0.5);
        one([9.0, 4.0, -3.0], 0.75);
        one([9.0, -3.0, -4.0], -0.25);
    }

    proptest! {
        #[test]
        fn bounds_hold(
            values in proptest::collection::vec((-1.0f32..1.0, -1.0f32..1.0, -1.0f32..1.0), 20),
            backgrounds in (0.0f32..1.0, 0.0f32..1.0),
        ) {
            let layout = Layout::new(&[7, 13]).unwrap();
            let row = |of: fn(&(f32, f32, f32)) -> f32| {
                RowCode::encode(&layout, &values.iter().map(of).collect::<Vec<_>>()).unwrap()
            };
            let view = |row: RowCode, background| {
                CodedView::new(7, &row.values()[7..], row.inv_norms[1], background)
            };
            let views = vec![view(row(|v| v.0), backgrounds.0), view(row(|v| v.1), backgrounds.1)];
            let (code, row) = (CopyCode::new(1, views), row(|v| v.2));
            let inv_norms: Vec<[u8; 4]> = row.inv_norms.iter().map(|v| v.to_le_bytes()).collect();
            let score = code.score(&row.upper, &row.lower, &inv_norms);
            let (low, high) = code.bounds(&row.upper, &inv_norms);
            prop_assert!(low <= score && score <= high, "{} <= {} <= {}", low, score, high);
        }
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
