//! Rows that are in the log and not yet in a segment.
//!
//! Chunks never change once made, so a snapshot is a list of them. A commit group makes a chunk; chunks of like
//! size are joined, so there are as many as the logarithm of the rows, and a row is copied as often.

use std::hash::Hasher;
use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;
use siphasher::sip::SipHasher13;

use super::record::{Hash, TailRow};
use crate::index::{RowRun, Rows};
use crate::tags::{TagSet, Term};

/// Rows of the tail: immutable, cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    chunks: Vec<Arc<Chunk>>,
    rows: u32,
}

#[derive(Debug, Clone)]
struct Chunk {
    /// Position of the first row.
    start: u32,
    dims: usize,
    blocks: usize,
    upper: Vec<u8>,
    lower: Vec<i8>,
    inv_norms: Vec<[u8; 4]>,
    hashes: Vec<Hash>,
    orders: Vec<u64>,
    paths: Vec<Arc<str>>,
    tags: Vec<Arc<TagSet>>,
    /// Hash of each path with the row's position in the tail, sorted.
    by_path: Vec<(u64, u32)>,
    /// Hash of each term of each row with the row's position in the tail, sorted.
    by_term: Vec<(u64, u32)>,
}

/// The hash of a term. Who chooses terms that collide gets slow searches of a tail.
fn term_hash(term: &Term) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(term.as_bytes());
    hasher.finish()
}

/// Where entries of `hash` begin, or would, among sorted ones. Hashes are spread evenly, so a search begins close to that
/// place, where one that halves all of many entries reads some of everywhere.
fn first_of(sorted: &[(u64, u32)], hash: u64) -> usize {
    let near = ((u128::from(hash) * sorted.len() as u128) >> 64) as usize;
    let (mut low, mut high, mut step) = (near, near, 16);
    while low > 0 && sorted[low - 1].0 >= hash {
        (low, step) = (low.saturating_sub(step), 2 * step);
    }
    while high < sorted.len() && sorted[high].0 < hash {
        (high, step) = ((high + step).min(sorted.len()), 2 * step);
    }
    low + sorted[low..high].partition_point(|&(other, _)| other < hash)
}

impl Chunk {
    fn new(start: u32, rows: Vec<(u64, TailRow)>) -> Self {
        let (dims, blocks) =
            rows.first().map_or((1, 1), |(_, r)| (r.code.lower.len(), r.code.inv_norms.len()));
        let mut chunk = Self {
            start,
            dims,
            blocks,
            upper: Vec::with_capacity(rows.len() * dims.div_ceil(2)),
            lower: Vec::with_capacity(rows.len() * dims),
            inv_norms: Vec::with_capacity(rows.len() * blocks),
            hashes: Vec::with_capacity(rows.len()),
            orders: Vec::with_capacity(rows.len()),
            paths: Vec::with_capacity(rows.len()),
            tags: Vec::with_capacity(rows.len()),
            by_path: Vec::with_capacity(rows.len()),
            by_term: Vec::new(),
        };
        for (position, (path_hash, row)) in (start..).zip(rows) {
            chunk.upper.extend_from_slice(&row.code.upper);
            chunk.lower.extend_from_slice(&row.code.lower);
            chunk.inv_norms.extend(row.code.inv_norms.iter().map(|v| v.to_le_bytes()));
            chunk.hashes.push(row.hash);
            chunk.orders.push(row.order);
            chunk.by_path.push((path_hash, position));
            chunk.by_term.extend(row.tags.terms().iter().map(|term| (term_hash(term), position)));
            chunk.paths.push(row.path);
            chunk.tags.push(row.tags);
        }
        chunk.by_path.sort_unstable();
        chunk.by_term.sort_unstable();
        chunk
    }

    fn rows(&self) -> usize {
        self.orders.len()
    }

    /// Takes the rows of the chunk that follows.
    fn join(&mut self, next: &Self) {
        self.upper.extend_from_slice(&next.upper);
        self.lower.extend_from_slice(&next.lower);
        self.inv_norms.extend_from_slice(&next.inv_norms);
        self.hashes.extend_from_slice(&next.hashes);
        self.orders.extend_from_slice(&next.orders);
        self.paths.extend_from_slice(&next.paths);
        self.tags.extend_from_slice(&next.tags);
        // Two sorted runs: a merge, for the stable sort.
        self.by_path.extend_from_slice(&next.by_path);
        self.by_path.sort();
        self.by_term.extend_from_slice(&next.by_term);
        self.by_term.sort();
    }

    /// Positions in the tail of the rows that carry a term, ascending.
    fn postings<'a>(&'a self, term: &'a Term, hash: u64) -> impl Iterator<Item = u32> + 'a {
        let from = self.by_term.partition_point(|&(other, _)| other < hash);
        let same = self.by_term[from..].iter().take_while(move |&&(other, _)| other == hash);
        same.map(|&(_, position)| position)
            .filter(|&position| self.tags[(position - self.start) as usize].terms().contains(term))
    }
}

impl Tail {
    /// Adds rows at the end, each with the hash of its path.
    pub(crate) fn push(&mut self, rows: Vec<(u64, TailRow)>) {
        if rows.is_empty() {
            return;
        }
        let mut last = Chunk::new(self.rows, rows);
        self.rows += last.rows() as u32;
        while let Some(before) = self.chunks.pop_if(|before| before.rows() < 2 * last.rows()) {
            let mut joined = Arc::unwrap_or_clone(before);
            joined.join(&last);
            last = joined;
        }
        self.chunks.push(Arc::new(last));
    }

    /// Number of rows, dead ones included.
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// Position of the live row of `path`.
    pub(crate) fn find(&self, path: &str, path_hash: u64, dead: &RoaringBitmap) -> Option<u32> {
        self.chunks.iter().rev().find_map(|chunk| {
            let from = first_of(&chunk.by_path, path_hash);
            chunk.by_path[from..]
                .iter()
                .take_while(|&&(hash, _)| hash == path_hash)
                .map(|&(_, position)| position)
                .find(|&p| !dead.contains(p) && *chunk.paths[(p - chunk.start) as usize] == *path)
        })
    }

    /// Positions of the rows that carry a term.
    pub(crate) fn postings(&self, term: &Term) -> RoaringBitmap {
        let hash = term_hash(term);
        // Chunks and positions both ascend.
        RoaringBitmap::from_sorted_iter(self.chunks.iter().flat_map(|chunk| chunk.postings(term, hash)))
            .unwrap_or_default()
    }

    /// The chunk of a position below [`rows`](Self::rows), and the place there.
    fn chunk(&self, position: u32) -> (&Chunk, usize) {
        let next = self.chunks.partition_point(|chunk| chunk.start <= position);
        let chunk = &self.chunks[next.saturating_sub(1)];
        (chunk, (position - chunk.start) as usize)
    }

    pub(crate) fn path(&self, position: u32) -> &Arc<str> {
        let (chunk, at) = self.chunk(position);
        &chunk.paths[at]
    }

    pub(crate) fn tags(&self, position: u32) -> &Arc<TagSet> {
        let (chunk, at) = self.chunk(position);
        &chunk.tags[at]
    }

    pub(crate) fn hash(&self, position: u32) -> Hash {
        let (chunk, at) = self.chunk(position);
        chunk.hashes[at]
    }
}

impl Rows for Tail {
    type Error = super::error::StoreError;

    fn run(&self, range: Range<u32>) -> Result<RowRun<'_>, Self::Error> {
        let (chunk, at) = self.chunk(range.start);
        let end = chunk.rows().min(at + range.len());
        let bytes = chunk.dims.div_ceil(2);
        Ok(RowRun {
            upper: &chunk.upper[at * bytes..end * bytes],
            inv_norms: &chunk.inv_norms[at * chunk.blocks..end * chunk.blocks],
        })
    }

    fn upper(&self, position: u32) -> Result<&[u8], Self::Error> {
        let (chunk, at) = self.chunk(position);
        let bytes = chunk.dims.div_ceil(2);
        Ok(&chunk.upper[at * bytes..(at + 1) * bytes])
    }

    fn lower(&self, position: u32) -> Result<&[i8], Self::Error> {
        let (chunk, at) = self.chunk(position);
        Ok(&chunk.lower[at * chunk.dims..(at + 1) * chunk.dims])
    }

    fn order(&self, position: u32) -> Result<u64, Self::Error> {
        let (chunk, at) = self.chunk(position);
        Ok(chunk.orders[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{Layout, RowCode};
    use proptest::prelude::*;

    fn row(i: u64) -> (u64, TailRow) {
        let layout = Layout::new(&[2]).unwrap();
        let row = TailRow {
            path: format!("p{i}").into(),
            order: i,
            tags: Arc::new(TagSet::from_terms(vec![Term::new(0, &format!("v{}", i % 3))])),
            code: RowCode::encode(&layout, &[i as f32 + 1.0, 1.0]).unwrap(),
            hash: [i as u8; 32],
        };
        (i / 2, row)
    }

    proptest! {
        #[test]
        fn entries_are_found_wherever_hashes_lie(
            mut hashes in proptest::collection::vec(prop_oneof![any::<u64>(), 0u64..50, u64::MAX - 50..], 0..400),
            others in proptest::collection::vec(any::<u64>(), 0..20),
        ) {
            hashes.sort_unstable();
            let sorted: Vec<(u64, u32)> = hashes.iter().copied().zip(0..).collect();
            for hash in hashes.iter().copied().chain(others).chain([0, u64::MAX]) {
                prop_assert_eq!(first_of(&sorted, hash), sorted.partition_point(|&(other, _)| other < hash));
            }
        }
    }

    #[test]
    fn rows_stay_findable_as_chunks_join() {
        let (mut tail, dead) = (Tail::default(), RoaringBitmap::new());
        let before = tail.clone();
        for i in 0..300 {
            tail.push(vec![row(i)]);
        }
        assert_eq!((tail.rows(), before.rows()), (300, 0));
        assert!(tail.chunks.len() <= 10, "{} chunks", tail.chunks.len());
        for i in 0..300u32 {
            // Two paths share each hash.
            assert_eq!(tail.find(&format!("p{i}"), u64::from(i) / 2, &dead), Some(i));
            assert_eq!(tail.order(i).unwrap(), u64::from(i));
            assert_eq!(**tail.path(i), *format!("p{i}"));
            assert_eq!(tail.lower(i).unwrap(), row(u64::from(i)).1.code.lower);
            assert_eq!(tail.upper(i).unwrap(), row(u64::from(i)).1.code.upper);
        }
        assert_eq!(tail.find("p300", 150, &dead), None);
        assert_eq!(tail.find("p7", 3, &[7].into_iter().collect()), None);
        let found: Vec<u32> = tail.postings(&Term::new(0, "v1")).into_iter().collect();
        assert_eq!(found, (0..300).filter(|i| i % 3 == 1).collect::<Vec<_>>());
        let mut at = 0;
        while at < tail.rows() {
            at += tail.run(at..tail.rows()).unwrap().inv_norms.len() as u32;
        }
        assert_eq!(at, 300);
    }
}
