//! The best of many rows.

use std::cmp::Ordering;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Where a row is: which part of a snapshot, and its position there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) part: u32,
    pub(crate) position: u32,
}

/// A row with what ranks it: a higher score is better, then a lower insertion number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) score: f32,
    pub(crate) order: u64,
    pub(crate) place: Place,
}

impl Ranked {
    pub(crate) fn cmp_best_first(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.order.cmp(&other.order))
    }
}

/// Rows beyond those that are kept which are gathered before the worst are dropped: few, so that the bar is close.
const SPARE: usize = 16;

/// Keeps the best `keep` of the rows offered, in memory for twice as many.
///
/// A buffer that is cut in half by selection whenever it is full: linear in the rows offered, whatever `keep`.
#[derive(Debug)]
pub(crate) struct Top {
    keep: usize,
    rows: Vec<Ranked>,
    /// No row below this score can be among the best.
    bar: f32,
}

impl Top {
    pub(crate) fn new(keep: usize) -> Self {
        Self { keep, rows: Vec::new(), bar: f32::NEG_INFINITY }
    }

    /// How many rows are kept at most.
    pub(crate) fn keep(&self) -> usize {
        self.keep
    }

    /// A score below this need not be offered.
    pub(crate) fn bar(&self) -> f32 {
        self.bar
    }

    /// Rows that were offered and not dropped: as many as are kept, or all there were.
    pub(crate) fn held(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn offer(&mut self, row: Ranked) {
        if row.score < self.bar || self.keep == 0 {
            return;
        }
        self.rows.push(row);
        if self.rows.len() >= self.keep.saturating_add(self.keep.max(SPARE)) {
            self.cut();
        }
    }

    /// Raises the bar to where it can be with what was offered so far, if that is worth the work.
    pub(crate) fn settle(&mut self) {
        if self.rows.len() > self.keep + self.keep / 4 {
            self.cut();
        }
    }

    /// Takes over the rows of another.
    pub(crate) fn join(&mut self, other: Self) {
        other.rows.into_iter().for_each(|row| self.offer(row));
    }

    /// Drops what is not among the best of the rows offered so far, in whatever order they came.
    pub(crate) fn cut(&mut self) {
        if self.keep > 0 && self.rows.len() > self.keep {
            self.rows.select_nth_unstable_by(self.keep - 1, Ranked::cmp_best_first);
            self.rows.truncate(self.keep);
            self.bar = self.rows.last().map_or(self.bar, |worst| worst.score);
        }
    }

    /// The best rows, best first.
    pub(crate) fn into_sorted(mut self) -> Vec<Ranked> {
        self.cut();
        self.rows.sort_unstable_by(Ranked::cmp_best_first);
        self.rows
    }
}

/// The highest bar of threads that look for the best of the same search, each among its own rows: as many rows as are kept
/// reach it, so no row below it is among the best of all.
#[derive(Debug)]
pub(crate) struct SharedBar(AtomicU32);

impl SharedBar {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(Self::key(f32::NEG_INFINITY)))
    }

    /// A number that rises with the score.
    fn key(score: f32) -> u32 {
        let bits = score.to_bits();
        if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
    }

    /// The bar is no lower than this from now on. It says nothing about memory, so order is free.
    pub(crate) fn raise(&self, bar: f32) {
        self.0.fetch_max(Self::key(bar), Relaxed);
    }

    pub(crate) fn get(&self) -> f32 {
        let key = self.0.load(Relaxed);
        f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_shared_bar_is_the_highest(scores in proptest::collection::vec(-1.0f32..1.0, 0..9)) {
            let bar = SharedBar::new();
            prop_assert_eq!(bar.get(), f32::NEG_INFINITY);
            let mut highest = f32::NEG_INFINITY;
            for score in scores {
                bar.raise(score);
                highest = highest.max(score);
                prop_assert_eq!(bar.get(), highest);
            }
        }

        #[test]
        fn equals_a_full_sort(
            scores in proptest::collection::vec(-3i8..3, 0..400),
            keep in 0usize..90,
            settled in 1usize..50,
        ) {
            let rows: Vec<Ranked> = (0u32..).zip(&scores).map(|(i, &s)| Ranked {
                score: f32::from(s),
                order: u64::from(i),
                place: Place { part: 0, position: i },
            }).collect();
            let mut top = Top::new(keep);
            for (number, &row) in rows.iter().enumerate() {
                top.offer(row);
                if number % settled == 0 {
                    top.settle();
                }
            }
            let mut all = rows;
            all.sort_by(Ranked::cmp_best_first);
            all.truncate(keep);
            prop_assert_eq!(top.into_sorted(), all);
        }
    }
}
