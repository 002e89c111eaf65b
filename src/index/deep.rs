//! A page far down a ranking that is too long to hold: its start is found by counting, in passes over all rows.

use super::top::Ranked;

/// Bits of a rank key: see [`Ranked::key`].
const KEY_BITS: u32 = 96;
/// Bits that a pass tells apart.
const PASS_BITS: u32 = 16;

/// The row at some rank, found in passes: each counts the rows by the next 16 bits of their keys, of those whose keys begin
/// as that row's does. It takes as many passes as tell the rows around it apart: two or three, and never more than six.
#[derive(Debug)]
pub(crate) struct Locator {
    /// The first bits of the key that is looked for.
    prefix: u128,
    bits: u32,
    /// Rows that begin so and are ranked before it.
    skip: u64,
    counts: Vec<u64>,
}

impl Locator {
    /// Looks for the row that `skip` rows are ranked before.
    pub(crate) fn new(skip: u64) -> Self {
        Self { prefix: 0, bits: 0, skip, counts: vec![0; 1 << PASS_BITS] }
    }

    /// Whether a row's key begins as the one that is looked for.
    pub(crate) fn takes(&self, key: u128) -> bool {
        self.bits == 0 || key >> (KEY_BITS - self.bits) == self.prefix
    }

    /// Counts a row in this pass.
    pub(crate) fn count(&mut self, key: u128) {
        if self.takes(key) {
            let next = key >> (KEY_BITS - self.bits - PASS_BITS) & ((1 << PASS_BITS) - 1);
            self.counts[next as usize] += 1;
        }
    }

    /// Ends a pass; gives how many rows are left to choose from, or none when there are not so many rows.
    pub(crate) fn narrow(&mut self) -> Option<u64> {
        for (next, count) in (0u128..).zip(&mut self.counts) {
            let count = std::mem::take(count);
            if self.skip < count {
                self.prefix = self.prefix << PASS_BITS | next;
                self.bits += PASS_BITS;
                self.counts.fill(0);
                return Some(count);
            }
            self.skip -= count;
        }
        None
    }

    /// Whether every bit is known.
    pub(crate) fn is_done(&self) -> bool {
        self.bits == KEY_BITS
    }

    /// The key that is looked for, among those of all rows that are left.
    pub(crate) fn pick(&self, mut keys: Vec<u128>) -> Option<u128> {
        let at = usize::try_from(self.skip).ok().filter(|&at| at < keys.len())?;
        Some(*keys.select_nth_unstable(at).1)
    }
}

impl Ranked {
    /// Ascends as the ranking goes: 32 bits of the score, turned so that the best is lowest, then 64 of the insertion number.
    pub(crate) fn key(&self) -> u128 {
        let bits = self.score.to_bits();
        // The order of `f32::total_cmp`, as unsigned numbers.
        let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        u128::from(!ascending) << 64 | u128::from(self.order)
    }
}

#[cfg(test)]
mod tests {
    use super::super::top::Place;
    use super::*;
    use proptest::prelude::*;

    fn locate(rows: &[Ranked], skip: u64, few: u64) -> Option<u128> {
        let mut locator = Locator::new(skip);
        loop {
            rows.iter().for_each(|row| locator.count(row.key()));
            if locator.narrow()? <= few || locator.is_done() {
                break;
            }
        }
        locator.pick(rows.iter().map(Ranked::key).filter(|&key| locator.takes(key)).collect())
    }

    proptest! {
        #[test]
        fn finds_what_a_sort_finds(
            scores in proptest::collection::vec(prop_oneof![-1.0f32..1.0, Just(0.5f32)], 1..300),
            skip in 0usize..320,
            few in 1u64..20,
        ) {
            let place = Place { part: 0, position: 0 };
            let mut rows: Vec<Ranked> =
                (0u64..).zip(scores).map(|(order, score)| Ranked { score, order, place }).collect();
            let found = locate(&rows, skip as u64, few);
            rows.sort_by(Ranked::cmp_best_first);
            prop_assert!(rows.is_sorted_by_key(Ranked::key));
            prop_assert_eq!(found, rows.get(skip).map(Ranked::key));
        }
    }
}
