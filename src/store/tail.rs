//! Rows that are in the log and not yet in a segment.
//!
//! Nothing here changes once made, so a snapshot is a list of it. A commit group makes a chunk of rows; small ones of like size
//! are joined. Hashes of paths and terms lie apart from the rows, for a search needs few runs of them.

use std::hash::Hasher;
use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;
use siphasher::sip::SipHasher13;

use super::record::{Hash, RowRef, TailRow};
use super::runs::{Entry, Runs};
use crate::index::{RowRun, Rows};
use crate::tags::{TagSet, Term};
use crate::vector::RowCode;

/// Rows of a chunk from which it is not joined any more: each row is copied a few times at most.
const LARGE: usize = 2048;

/// Rows of the tail: immutable, cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    chunks: Vec<Arc<Chunk>>,
    by_path: Runs,
    by_term: Runs,
    rows: u32,
}

#[derive(Debug, Default)]
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
    /// All paths, one behind the other, and where each ends.
    paths: String,
    path_ends: Vec<usize>,
    tags: Vec<Arc<TagSet>>,
}

/// The hash of a term. Who chooses terms that collide gets slow searches of a tail.
fn term_hash(term: &Term) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(term.as_bytes());
    hasher.finish()
}

impl Chunk {
    /// An empty one, for rows of so many dimensions and blocks from position `start` on, with room for so many, and for so
    /// many bytes of their paths.
    fn with_room(start: u32, (dims, blocks): (usize, usize), rows: usize, path_bytes: usize) -> Self {
        Self {
            start,
            dims,
            blocks,
            upper: Vec::with_capacity(rows * dims.div_ceil(2)),
            lower: Vec::with_capacity(rows * dims),
            inv_norms: Vec::with_capacity(rows * blocks),
            hashes: Vec::with_capacity(rows),
            orders: Vec::with_capacity(rows),
            paths: String::with_capacity(path_bytes),
            path_ends: Vec::with_capacity(rows),
            tags: Vec::with_capacity(rows),
        }
    }

    fn rows(&self) -> usize {
        self.orders.len()
    }

    fn push(&mut self, row: TailRow) {
        self.upper.extend_from_slice(&row.code.upper);
        self.lower.extend_from_slice(&row.code.lower);
        self.inv_norms.extend(row.code.inv_norms.iter().map(|norm| norm.to_le_bytes()));
        self.hashes.push(row.hash);
        self.orders.push(row.order);
        self.paths.push_str(&row.path);
        self.path_ends.push(self.paths.len());
        self.tags.push(row.tags);
    }

    /// Takes the rows of the chunk that follows.
    fn join(&mut self, next: &Self) {
        self.upper.extend_from_slice(&next.upper);
        self.lower.extend_from_slice(&next.lower);
        self.inv_norms.extend_from_slice(&next.inv_norms);
        self.hashes.extend_from_slice(&next.hashes);
        self.orders.extend_from_slice(&next.orders);
        let before = self.paths.len();
        self.paths.push_str(&next.paths);
        self.path_ends.extend(next.path_ends.iter().map(|end| before + end));
        self.tags.extend_from_slice(&next.tags);
    }

    /// Gives back room that was not needed, if that is much.
    fn shrink(&mut self) {
        if self.orders.capacity() > self.rows() + self.rows() / 4 {
            self.upper.shrink_to_fit();
            self.lower.shrink_to_fit();
            self.inv_norms.shrink_to_fit();
            self.hashes.shrink_to_fit();
            self.orders.shrink_to_fit();
            self.paths.shrink_to_fit();
            self.path_ends.shrink_to_fit();
            self.tags.shrink_to_fit();
        }
    }

    fn upper(&self, rows: Range<usize>) -> &[u8] {
        let bytes = self.dims.div_ceil(2);
        &self.upper[rows.start * bytes..rows.end * bytes]
    }

    fn lower(&self, at: usize) -> &[i8] {
        &self.lower[at * self.dims..(at + 1) * self.dims]
    }

    fn inv_norms(&self, rows: Range<usize>) -> &[[u8; 4]] {
        &self.inv_norms[rows.start * self.blocks..rows.end * self.blocks]
    }

    fn path(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.path_ends[before]);
        &self.paths[start..self.path_ends[at]]
    }

    fn row(&self, at: usize) -> RowRef<'_> {
        RowRef {
            path: self.path(at),
            order: self.orders[at],
            tags: &self.tags[at],
            upper: self.upper(at..at + 1),
            lower: self.lower(at),
            hash: &self.hashes[at],
        }
    }
}

/// Rows that will go behind those of a tail.
#[derive(Debug)]
pub(crate) struct NewRows {
    chunk: Chunk,
    /// How many are expected.
    room: usize,
    by_path: Vec<Entry>,
    by_term: Vec<Entry>,
}

impl NewRows {
    /// None yet, and room for so many.
    pub(crate) fn behind(tail: &Tail, room: usize) -> Self {
        let chunk = Chunk { start: tail.rows, ..Chunk::default() };
        Self { chunk, room, by_path: Vec::with_capacity(room), by_term: Vec::new() }
    }

    /// Adds a row with the hash of its path; gives its position.
    pub(crate) fn push(&mut self, path_hash: u64, row: TailRow) -> u32 {
        if self.chunk.rows() == 0 {
            let shape = (row.code.lower.len(), row.code.inv_norms.len());
            self.chunk = Chunk::with_room(self.chunk.start, shape, self.room, 0);
        }
        let position = self.chunk.start + self.chunk.rows() as u32;
        self.by_path.push((path_hash, position));
        self.by_term.extend(row.tags.terms().iter().map(|term| (term_hash(term), position)));
        self.chunk.push(row);
        position
    }

    /// The place of a position here, if it is of one of these rows.
    fn place(&self, position: u32) -> Option<usize> {
        let at = position.checked_sub(self.chunk.start)? as usize;
        (at < self.chunk.rows()).then_some(at)
    }

    /// The row of a position, if it is one of these.
    pub(crate) fn get(&self, position: u32) -> Option<RowRef<'_>> {
        self.place(position).map(|at| self.chunk.row(at))
    }

    /// The vector of a row.
    pub(crate) fn code(&self, position: u32) -> Option<RowCode> {
        let at = self.place(position)?;
        Some(RowCode {
            upper: self.chunk.upper(at..at + 1).to_vec(),
            lower: self.chunk.lower(at).to_vec(),
            inv_norms: self
                .chunk
                .inv_norms(at..at + 1)
                .iter()
                .map(|norm| f32::from_le_bytes(*norm))
                .collect(),
        })
    }

    /// The row that was added last.
    pub(crate) fn last(&self) -> Option<RowRef<'_>> {
        self.chunk.rows().checked_sub(1).map(|at| self.chunk.row(at))
    }
}

impl Tail {
    /// Takes rows that were put together to go behind these.
    pub(crate) fn push(&mut self, new: NewRows) {
        let NewRows { mut chunk, by_path, by_term, .. } = new;
        if chunk.rows() == 0 {
            return;
        }
        // Else paths would be found at the places of others.
        assert_eq!(chunk.start, self.rows, "the rows were put together for another tail");
        self.rows += chunk.rows() as u32;
        let (mut first, mut rows) = (self.chunks.len(), chunk.rows());
        while rows < LARGE
            && let Some(before) = first.checked_sub(1).map(|before| self.chunks[before].rows())
            && before < 2 * rows
        {
            (first, rows) = (first - 1, rows + before);
        }
        if first < self.chunks.len() {
            let all = || self.chunks[first..].iter().map(|chunk| &**chunk).chain([&chunk]);
            let (shape, path_bytes) =
                ((chunk.dims, chunk.blocks), all().map(|chunk| chunk.paths.len()).sum());
            let mut joined = Chunk::with_room(self.chunks[first].start, shape, rows, path_bytes);
            all().for_each(|chunk| joined.join(chunk));
            chunk = joined;
            self.chunks.truncate(first);
        }
        chunk.shrink();
        self.chunks.push(Arc::new(chunk));
        self.by_path.push(by_path);
        self.by_term.push(by_term);
    }

    /// Number of rows, dead ones included.
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// Says that paths of these hashes will be looked for soon.
    pub(crate) fn soon_paths(&self, hashes: &[u64]) {
        self.by_path.soon(hashes);
    }

    /// Position of the live row of `path`.
    pub(crate) fn find(&self, path: &str, path_hash: u64, dead: &RoaringBitmap) -> Option<u32> {
        self.by_path
            .newest(path_hash)
            .find(|&position| !dead.contains(position) && self.path(position) == path)
    }

    /// Positions of the rows that carry a term.
    pub(crate) fn postings(&self, term: &Term) -> RoaringBitmap {
        let all = self.by_term.ascending(term_hash(term));
        let its = all.filter(|&position| self.tags(position).terms().contains(term));
        RoaringBitmap::from_sorted_iter(its).unwrap_or_default()
    }

    /// The chunk of a position below [`rows`](Self::rows), and the place there.
    fn chunk(&self, position: u32) -> (&Chunk, usize) {
        let next = self.chunks.partition_point(|chunk| chunk.start <= position);
        let chunk = &self.chunks[next.saturating_sub(1)];
        (chunk, (position - chunk.start) as usize)
    }

    pub(crate) fn path(&self, position: u32) -> &str {
        let (chunk, at) = self.chunk(position);
        chunk.path(at)
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
        let rows = at..chunk.rows().min(at + range.len());
        Ok(RowRun { upper: chunk.upper(rows.clone()), inv_norms: chunk.inv_norms(rows) })
    }

    fn upper(&self, position: u32) -> Result<&[u8], Self::Error> {
        let (chunk, at) = self.chunk(position);
        Ok(chunk.upper(at..at + 1))
    }

    fn lower(&self, position: u32) -> Result<&[i8], Self::Error> {
        let (chunk, at) = self.chunk(position);
        Ok(chunk.lower(at))
    }

    fn order(&self, position: u32) -> Result<u64, Self::Error> {
        let (chunk, at) = self.chunk(position);
        Ok(chunk.orders[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::Layout;

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

    #[test]
    fn rows_stay_findable_as_chunks_join() {
        let (mut tail, dead) = (Tail::default(), RoaringBitmap::new());
        let before = tail.clone();
        // One by one, then in groups that are large enough to stay as they are.
        for group in (0..300).map(|i| i..i + 1).chain([300..3300, 3300..5300]) {
            let mut new = NewRows::behind(&tail, 1);
            for i in group {
                let (path_hash, row) = row(i);
                assert_eq!(new.push(path_hash, row.clone()), i as u32);
                assert_eq!(new.code(i as u32), Some(row.code));
                assert_eq!(new.last().map(|last| last.path), Some(&*row.path));
                assert!(new.get(i as u32).is_some_and(|got| got.path == &*row.path && got.order == i));
            }
            assert!(new.get(tail.rows().wrapping_sub(1)).is_none() && new.get(6000).is_none());
            tail.push(new);
        }
        assert_eq!((tail.rows(), before.rows()), (5300, 0));
        assert!(tail.chunks.len() <= 10, "{} chunks", tail.chunks.len());
        for i in 0..5300u32 {
            // Two paths share each hash.
            assert_eq!(tail.find(&format!("p{i}"), u64::from(i) / 2, &dead), Some(i));
            assert_eq!(tail.order(i).unwrap(), u64::from(i));
            assert_eq!(tail.path(i), format!("p{i}"));
            assert_eq!(tail.lower(i).unwrap(), row(u64::from(i)).1.code.lower);
            assert_eq!(tail.upper(i).unwrap(), row(u64::from(i)).1.code.upper);
        }
        assert_eq!(tail.find("p5300", 2650, &dead), None);
        assert_eq!(tail.find("p7", 3, &[7].into_iter().collect()), None);
        let found: Vec<u32> = tail.postings(&Term::new(0, "v1")).into_iter().collect();
        assert_eq!(found, (0..5300).filter(|i| i % 3 == 1).collect::<Vec<_>>());
        let mut at = 0;
        while at < tail.rows() {
            at += tail.run(at..tail.rows()).unwrap().inv_norms.len() as u32;
        }
        assert_eq!(at, 5300);
    }
}
