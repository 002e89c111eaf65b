//! Hashes with the positions of the rows that have them.

use std::sync::Arc;

use crate::kernel::prefetch;

/// Entries of a bucket, on average: as many as a line of a cache holds.
const BUCKET: usize = 4;

/// Immutable runs of entries, cheap to clone. Runs of like size are joined, so there are as many as the logarithm of the
/// entries, and an entry is copied as often.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs(Vec<Arc<Run>>);

/// A hash, and the position of a row.
pub(crate) type Entry = (u64, u32);

#[derive(Debug)]
struct Run {
    /// Sorted.
    entries: Vec<Entry>,
    /// Where the entries of each bucket begin, which divide all hashes evenly; the last number is that of entries.
    starts: Vec<u32>,
}

impl Run {
    fn new(entries: Vec<Entry>) -> Self {
        let buckets = entries.len() / BUCKET + 1;
        let mut starts = Vec::with_capacity(buckets + 1);
        for (&(hash, _), at) in entries.iter().zip(0..) {
            starts.resize(starts.len().max(bucket(hash, buckets as u32) as usize + 1), at);
        }
        starts.resize(buckets + 1, entries.len() as u32);
        Self { entries, starts }
    }

    /// Where the bucket of a hash is.
    fn bucket(&self, hash: u64) -> usize {
        bucket(hash, self.starts.len() as u32 - 1) as usize
    }

    /// Positions under a hash, ascending.
    fn of(&self, hash: u64) -> impl Iterator<Item = u32> {
        let bucket = self.bucket(hash);
        let entries = &self.entries[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        // Of a hash that many rows have a bucket may hold thousands.
        let first = entries.partition_point(|&(other, _)| other < hash);
        entries[first..].iter().take_while(move |&&(other, _)| other == hash).map(|&(_, position)| position)
    }
}

/// Of so many buckets, which divide all hashes evenly and in their order, that of a hash.
pub(crate) fn bucket(hash: u64, buckets: u32) -> u32 {
    ((u128::from(hash) * u128::from(buckets)) >> 64) as u32
}

impl Runs {
    /// Adds entries, in any order, whose positions are above all that are there.
    pub(crate) fn push(&mut self, mut entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        entries.sort_unstable();
        let (mut first, mut len) = (self.0.len(), entries.len());
        while let Some(before) = first.checked_sub(1).map(|before| self.0[before].entries.len())
            && before < 2 * len
        {
            (first, len) = (first - 1, len + before);
        }
        if first < self.0.len() {
            let mut joined = Vec::with_capacity(len);
            self.0.drain(first..).for_each(|run| joined.extend_from_slice(&run.entries));
            joined.append(&mut entries);
            // Of sorted runs the stable sort makes a merge.
            joined.sort();
            entries = joined;
        }
        self.0.push(Arc::new(Run::new(entries)));
    }

    /// Positions under a hash: ascending in each run, the newest run first.
    pub(crate) fn newest(&self, hash: u64) -> impl Iterator<Item = u32> {
        self.0.iter().rev().flat_map(move |run| run.of(hash))
    }

    /// Positions under a hash, ascending.
    pub(crate) fn ascending(&self, hash: u64) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(move |run| run.of(hash))
    }

    /// Says that these hashes will be looked for soon.
    pub(crate) fn soon(&self, hashes: &[u64]) {
        for run in &self.0 {
            let bucket = |hash: &u64| run.bucket(*hash);
            hashes.iter().map(bucket).for_each(|bucket| prefetch(&run.starts[bucket..bucket + 2]));
            for start in hashes.iter().map(bucket).map(|bucket| run.starts[bucket] as usize) {
                prefetch(&run.entries[start..run.entries.len().min(start + BUCKET)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_pushed_is_found(
            pushes in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![any::<u64>(), 0u64..9, u64::MAX - 9..], 0..60), 0..12),
            others in proptest::collection::vec(any::<u64>(), 0..20),
        ) {
            let (mut runs, mut all, mut position) = (Runs::default(), Vec::new(), 0);
            for hashes in pushes {
                let entries: Vec<Entry> = hashes.into_iter().zip(position..).collect();
                position += entries.len() as u32;
                all.extend_from_slice(&entries);
                runs.push(entries);
            }
            let ascending = runs.0.windows(2).all(|pair| pair[0].entries.len() >= 2 * pair[1].entries.len());
            prop_assert!(ascending, "{:?}", runs.0.iter().map(|run| run.entries.len()).collect::<Vec<_>>());
            let hashes: Vec<u64> = all.iter().map(|&(hash, _)| hash).chain(others).chain([0, u64::MAX]).collect();
            runs.soon(&hashes);
            for hash in hashes {
                let want: Vec<u32> = all.iter().filter(|entry| entry.0 == hash).map(|entry| entry.1).collect();
                prop_assert_eq!(&runs.ascending(hash).collect::<Vec<_>>(), &want);
                let mut newest: Vec<u32> = runs.newest(hash).collect();
                newest.sort_unstable();
                prop_assert_eq!(newest, want);
            }
        }
    }
}
