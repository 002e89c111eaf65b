//! Positions of rows that a bitmap has, some at a time: one by one an iterator takes several times as long.

use std::ops::Range;

use roaring::RoaringBitmap;
use roaring::bitmap::Iter;

/// Those of a range, ascending, without rows that do not count.
pub(super) struct Positions<'a> {
    left: Iter<'a>,
    without: Option<&'a RoaringBitmap>,
}

impl<'a> Positions<'a> {
    pub(super) fn new(
        only: &'a RoaringBitmap,
        range: Range<u32>,
        without: Option<&'a RoaringBitmap>,
    ) -> Self {
        Self { left: only.range(range), without: without.filter(|without| !without.is_empty()) }
    }

    /// Puts the next ones, at most `most`, in the place of what is in `batch`: none only when there are none left.
    pub(super) fn next_batch(&mut self, batch: &mut Vec<u32>, most: usize) {
        loop {
            batch.resize(most, 0);
            let taken = self.left.next_many(batch).len();
            batch.truncate(taken);
            if let Some(without) = self.without {
                batch.retain(|&position| !without.contains(position));
            }
            if taken == 0 || !batch.is_empty() {
                return;
            }
        }
    }
}

/// Where ranges of `len` of the positions that a bitmap has from `start` on end, each at the first of the next.
pub(super) fn ends(only: &RoaringBitmap, start: u32, len: u32) -> impl Iterator<Item = u32> + '_ {
    let before = start.checked_sub(1).map_or(0, |last| only.rank(last));
    let nth = move |at: u64| only.select(u32::try_from(at).ok()?);
    (1..).map_while(move |piece: u64| nth(before + piece * u64::from(len)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn batches_and_pieces_are_the_range(
            all in proptest::collection::btree_set(0u32..200_000, 0..400),
            dead in proptest::collection::btree_set(0usize..400, 0..400),
            bounds in (0u32..200_000, 0u32..200_000),
            (most, len) in (1usize..70, 1u32..100),
        ) {
            let only: RoaringBitmap = all.iter().copied().collect();
            let dead: RoaringBitmap = all.iter().enumerate().filter(|(at, _)| dead.contains(at)).map(|(_, &p)| p).collect();
            let range = bounds.0.min(bounds.1)..bounds.0.max(bounds.1);
            let expected: Vec<u32> = all.range(range.clone()).copied().filter(|&p| !dead.contains(p)).collect();
            let (mut positions, mut batch, mut found) = (Positions::new(&only, range.clone(), Some(&dead)), vec![7], Vec::new());
            loop {
                positions.next_batch(&mut batch, most);
                if batch.is_empty() {
                    break;
                }
                prop_assert!(batch.len() <= most);
                found.extend_from_slice(&batch);
            }
            prop_assert_eq!(found, expected);
            let own: Vec<u32> = all.range(range.start..).copied().collect();
            let expected: Vec<u32> = own.chunks(len as usize).skip(1).map(|chunk| chunk[0]).collect();
            prop_assert_eq!(ends(&only, range.start, len).collect::<Vec<_>>(), expected);
        }
    }
}
