//! Reading a sealed segment.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roaring::RoaringBitmap;

use super::super::bytes::Reader;
use super::super::disk::Disk;
use super::super::error::StoreError;
use super::super::frame::{FORMAT, Uuid};
use super::super::map::Mapped;
use super::super::record::Hash;
use super::{BLOCK, FOOTER, Kind, MAGIC, SegmentFile, TABLE_ENTRY, name, path_bucket, path_buckets};
use crate::cancel::Stop;
use crate::index::{ListedRows, RowRun, Rows};
use crate::kernel::bits::{self, GROUP, GROUP_FACTORS};
use crate::kernel::prefetch;
use crate::tags::{Schema, TagSet, Tags, Term};
use crate::vector::Layout;

/// Groups of a list that are asked for before it is read; scans ask for those that follow by themselves.
const SOON_GROUPS: usize = 24;

/// Bytes that are read ahead of searches at a time.
const AHEAD: usize = 8 << 20;

/// A sealed segment, open for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    name: String,
    id: u64,
    map: Mapped,
    rows: u32,
    dims: usize,
    blocks: usize,
    /// The centres that its lists are around.
    centres: Option<u64>,
    sections: Vec<Section>,
}

/// Where a section lies, and which of its blocks were checked.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) range: Range<usize>,
    pub(super) crcs: Range<usize>,
    pub(super) checked: Box<[AtomicU64]>,
}

impl Segment {
    /// Maps segment `id`, and checks the footer against what the manifest says of it, the table of contents and
    /// the block checksums; reads nothing else.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        uuid: &Uuid,
        id: u64,
        layout: &Layout,
        expected: SegmentFile,
        centres: Option<u64>,
    ) -> Result<Self, StoreError> {
        let name = name(id);
        let map = disk.map(&dir.join(&name)).map_err(StoreError::io("map", &name))?;
        let bytes = map.bytes();
        let table = table(&name, bytes, uuid, id, layout, expected)?;
        let sections = sections(bytes, table).map_err(|(offset, what)| StoreError::Corrupt {
            file: name.clone(),
            offset: offset as u64,
            what,
        })?;
        let (rows, dims, blocks) = (expected.rows, layout.dims(), layout.blocks());
        let segment = Self { name, id, map, rows, dims, blocks, centres, sections };
        segment.check_shape()?;
        segment.check_lists()?;
        Ok(segment)
    }

    /// A segment of sections that may be damaged or empty: its rows are read one by one.
    pub(super) fn of_parts(
        name: String,
        id: u64,
        map: Mapped,
        rows: u32,
        layout: &Layout,
        sections: Vec<Section>,
    ) -> Self {
        Self { name, id, map, rows, dims: layout.dims(), blocks: layout.blocks(), centres: None, sections }
    }

    /// Both planes of a row.
    pub(super) fn planes(&self, position: u32) -> Result<(&[u8], &[i8]), StoreError> {
        Ok((self.upper(position)?, self.lower(position)?))
    }

    /// What else a row has: its insertion number, its tags, its hash.
    pub(super) fn whole(&self, position: u32) -> Result<(u64, Arc<TagSet>, Hash), StoreError> {
        Ok((self.order(position)?, self.tags(position)?, self.hash(position)?))
    }

    /// Sections whose length follows from the number of rows have it.
    fn check_shape(&self) -> Result<(), StoreError> {
        let rows = self.rows as usize;
        let hashes = self.len(Kind::Hashes);
        let sound = self.len(Kind::Upper) == rows * self.dims.div_ceil(2)
            && self.len(Kind::Lower) == rows * self.dims
            && self.len(Kind::InvNorms) == rows * self.blocks * 4
            && self.len(Kind::Orders) == rows * 8
            && (hashes == 0 || hashes == rows * 32)
            && self.len(Kind::PathOffsets) == (rows + 1) * 8
            && self.len(Kind::PathBuckets) == (path_buckets(self.rows) as usize + 1) * 4
            && self.len(Kind::PathEntries) == rows * 8
            && self.len(Kind::RowTermOffsets) == (rows + 1) * 8
            && self.len(Kind::TermOffsets) >= 8
            && self.len(Kind::TermOffsets) == self.len(Kind::PostingOffsets);
        if sound { Ok(()) } else { Err(self.damaged(Kind::Upper, 0, "a section has the wrong length")) }
    }

    /// There are lists exactly when the manifest says so, around those centres.
    fn check_lists(&self) -> Result<(), StoreError> {
        let groups = if self.centres.is_some() { self.rows.div_ceil(GROUP as u32) as usize } else { 0 };
        let lists = self.len(Kind::Lists);
        let sound = self.len(Kind::Bits) == groups * bits::group_bytes(self.dims)
            && self.len(Kind::BitFactors) == groups * GROUP_FACTORS
            && if self.centres.is_some() { lists >= 12 && lists.is_multiple_of(4) } else { lists == 0 };
        if !sound {
            return Err(self.damaged(Kind::Lists, 0, "a section has the wrong length"));
        }
        match self.centres {
            Some(centres) if self.u64_at(Kind::Lists, 0)? != centres => {
                Err(self.damaged(Kind::Lists, 0, "lists around other centres"))
            }
            _ => Ok(()),
        }
    }

    /// Its number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The centres that its lists are around, if it has lists.
    pub(crate) fn centres(&self) -> Option<u64> {
        self.centres
    }

    /// Number of lists.
    pub(crate) fn lists(&self) -> usize {
        (self.len(Kind::Lists) / 4).saturating_sub(3)
    }

    /// Bytes of the planes that searches read: codes of one bit and factors; upper planes, norms and orders; lower planes.
    pub(crate) fn plane_bytes(&self) -> [u64; 3] {
        let sum = |kinds: &[Kind]| kinds.iter().map(|&kind| self.len(kind) as u64).sum();
        [
            sum(&[Kind::Bits, Kind::BitFactors, Kind::Lists]),
            sum(&[Kind::Upper, Kind::InvNorms, Kind::Orders]),
            sum(&[Kind::Lower]),
        ]
    }

    /// Where a section lies in the file.
    #[cfg(all(test, feature = "fuzzing", feature = "testing"))]
    pub(super) fn place(&self, kind: Kind) -> Range<usize> {
        self.section(kind).range.clone()
    }

    /// Blocks of a section that were not read and found sound.
    #[cfg(all(test, feature = "fuzzing", feature = "testing"))]
    pub(super) fn unread(&self, kind: Kind) -> usize {
        let checked = self.section(kind).checked.iter().map(|word| word.load(Ordering::Relaxed).count_ones());
        self.len(kind).div_ceil(BLOCK) - checked.sum::<u32>() as usize
    }

    /// Bytes on the heap: which blocks were checked.
    pub(crate) fn heap_bytes(&self) -> u64 {
        self.sections.iter().map(|section| section.checked.len() as u64 * 8).sum()
    }

    /// Bytes of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.map.bytes().len() as u64
    }

    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    fn section(&self, kind: Kind) -> &Section {
        &self.sections[kind as usize - 1]
    }

    fn len(&self, kind: Kind) -> usize {
        self.section(kind).range.len()
    }

    fn damaged(&self, kind: Kind, at: usize, what: &'static str) -> StoreError {
        let offset = (self.section(kind).range.start + at) as u64;
        StoreError::Corrupt { file: self.name.clone(), offset, what }
    }

    /// Bytes of a section, with their blocks checked.
    #[inline]
    fn bytes(&self, kind: Kind, range: Range<usize>) -> Result<&[u8], StoreError> {
        let section = self.section(kind);
        let whole = &self.map.bytes()[section.range.clone()];
        let bytes =
            whole.get(range.clone()).ok_or_else(|| self.damaged(kind, 0, "an offset lies outside"))?;
        if !bytes.is_empty() {
            for block in range.start / BLOCK..(range.end - 1) / BLOCK + 1 {
                let (word, bit) = (&section.checked[block / 64], 1 << (block % 64));
                if word.load(Ordering::Relaxed) & bit == 0 {
                    self.check_block(kind, whole, block)?;
                    // Only says that the bytes were read and found sound; they never change, so order is free.
                    word.fetch_or(bit, Ordering::Relaxed);
                }
            }
        }
        Ok(bytes)
    }

    fn soon_bytes(&self, kind: Kind, range: Range<usize>) {
        let section = self.section(kind).range.clone();
        let bytes = self.map.bytes().get(section).and_then(|section| section.get(range));
        prefetch(bytes.unwrap_or_default());
    }

    #[cold]
    fn check_block(&self, kind: Kind, whole: &[u8], block: usize) -> Result<(), StoreError> {
        let bytes = &whole[block * BLOCK..whole.len().min((block + 1) * BLOCK)];
        let crcs = &self.map.bytes()[self.section(kind).crcs.clone()];
        let kept = crcs.get(block * 4..).and_then(|c| Reader::new(c).u32());
        if kept == Some(crc32fast::hash(bytes)) {
            Ok(())
        } else {
            Err(self.damaged(kind, block * BLOCK, "a block's checksum does not match"))
        }
    }

    /// Reads and checks what searches read of many rows, codes of one bit and their factors, or the upper planes where
    /// there are no lists; or `whole` the file, in an order that brings what most searches read first.
    pub(crate) fn preload(&self, whole: bool, stop: Stop<'_>) -> Result<(), StoreError> {
        let first = match self.centres {
            Some(_) => &[Kind::Lists, Kind::BitFactors, Kind::Bits][..],
            None => &[Kind::InvNorms, Kind::Upper],
        };
        let rows = [Kind::InvNorms, Kind::Upper, Kind::Orders, Kind::Lower];
        let mut order = first.to_vec();
        for kind in rows.into_iter().chain(Kind::ALL).filter(|_| whole) {
            if !order.contains(&kind) {
                order.push(kind);
            }
        }
        for kind in order {
            let Range { start, end } = self.section(kind).range;
            for from in (start..end).step_by(AHEAD) {
                if stop.asked() {
                    return Ok(());
                }
                let to = end.min(from + AHEAD);
                self.map.read_ahead(from..to);
                self.bytes(kind, from - start..to - start)?;
            }
        }
        Ok(())
    }

    /// Checks every byte of the file: blocks of sections, what lies between them, the table and the footer.
    pub(crate) fn verify(&self, uuid: &Uuid, id: u64, layout: &Layout, crc: u32) -> Result<(), StoreError> {
        for kind in Kind::ALL {
            let whole = &self.map.bytes()[self.section(kind).range.clone()];
            (0..whole.len().div_ceil(BLOCK)).try_for_each(|block| self.check_block(kind, whole, block))?;
        }
        let bytes = self.map.bytes();
        let expected = SegmentFile { len: self.file_bytes(), rows: self.rows, crc };
        let table = table(&self.name, bytes, uuid, id, layout, expected)?;
        sections(bytes, table.clone()).map_err(|(offset, what)| StoreError::Corrupt {
            file: self.name.clone(),
            offset: offset as u64,
            what,
        })?;
        // Nothing reads what pads a section, but it is a place where damage shows first.
        let mut used: Vec<_> = self.sections.iter().flat_map(|s| [s.range.clone(), s.crcs.clone()]).collect();
        used.push(table);
        used.sort_unstable_by_key(|range| (range.start, range.end));
        let mut end = 0;
        for range in used {
            let padding = bytes.get(end..range.start).unwrap_or_default();
            if let Some(at) = padding.iter().position(|&byte| byte != 0) {
                let (file, offset) = (self.name.clone(), (end + at) as u64);
                return Err(StoreError::Corrupt { file, offset, what: "the padding is not zero" });
            }
            end = end.max(range.end);
        }
        Ok(())
    }

    /// Where entry `index` of a section of entries of so many bytes lies. The index may be what a file says.
    fn entry(&self, kind: Kind, index: usize, size: usize) -> Result<Range<usize>, StoreError> {
        let start = index.checked_mul(size).filter(|start| *start < self.len(kind));
        let start = start.ok_or_else(|| self.damaged(kind, 0, "an offset lies outside"))?;
        Ok(start..start + size)
    }

    fn u32_at(&self, kind: Kind, index: usize) -> Result<u32, StoreError> {
        let bytes = self.bytes(kind, self.entry(kind, index, 4)?)?;
        Reader::new(bytes).u32().ok_or_else(|| self.damaged(kind, 0, "cut short"))
    }

    fn u64_at(&self, kind: Kind, index: usize) -> Result<u64, StoreError> {
        let bytes = self.bytes(kind, self.entry(kind, index, 8)?)?;
        Reader::new(bytes).u64().ok_or_else(|| self.damaged(kind, 0, "cut short"))
    }

    /// The range that entry `index` of an offsets section names.
    fn span(&self, offsets: Kind, index: usize) -> Result<Range<usize>, StoreError> {
        let (start, end) = (self.u64_at(offsets, index)?, self.u64_at(offsets, index + 1)?);
        match (usize::try_from(start), usize::try_from(end)) {
            (Ok(start), Ok(end)) if start <= end => Ok(start..end),
            _ => Err(self.damaged(offsets, index * 8, "offsets do not ascend")),
        }
    }

    pub(crate) fn path(&self, position: u32) -> Result<&str, StoreError> {
        let span = self.span(Kind::PathOffsets, position as usize)?;
        let start = span.start;
        std::str::from_utf8(self.bytes(Kind::Paths, span)?)
            .map_err(|_| self.damaged(Kind::Paths, start, "a path is not UTF-8"))
    }

    /// Says that the path and the tags of a row will be read soon. Each step asks for what the one before tells the place of,
    /// so the same step is to be done for all rows first.
    pub(crate) fn soon_hit(&self, position: u32, step: Step) {
        let at = position as usize;
        let terms = || self.span(Kind::RowTermOffsets, at).unwrap_or_default();
        match step {
            Step::Offsets => {
                self.soon_bytes(Kind::PathOffsets, at * 8..at * 8 + 16);
                self.soon_bytes(Kind::RowTermOffsets, at * 8..at * 8 + 16);
            }
            // Damage is told by the reading itself.
            Step::Bytes => {
                self.soon_bytes(Kind::Paths, self.span(Kind::PathOffsets, at).unwrap_or_default());
                let terms = terms();
                self.soon_bytes(Kind::RowTerms, terms.start.saturating_mul(4)..terms.end.saturating_mul(4));
            }
            Step::Terms => {
                // No further than the terms go: a damaged span may be as long as numbers are.
                for number in terms().map_while(|index| self.u32_at(Kind::RowTerms, index).ok()) {
                    let at = number as usize * 8;
                    self.soon_bytes(Kind::TermOffsets, at..at + 16);
                }
            }
        }
    }

    pub(crate) fn hash(&self, position: u32) -> Result<Hash, StoreError> {
        if self.len(Kind::Hashes) == 0 {
            return Ok([0; 32]);
        }
        let at = position as usize * 32;
        let bytes = self.bytes(Kind::Hashes, at..at + 32)?;
        Reader::new(bytes).array().ok_or_else(|| self.damaged(Kind::Hashes, at, "cut short"))
    }

    /// Calls `each` with the number of each term of a row.
    pub(crate) fn each_term(
        &self,
        position: u32,
        mut each: impl FnMut(u32) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut span = self.span(Kind::RowTermOffsets, position as usize)?;
        span.try_for_each(|index| each(self.u32_at(Kind::RowTerms, index)?))
    }

    pub(crate) fn tags(&self, position: u32) -> Result<Arc<TagSet>, StoreError> {
        let mut terms = Vec::new();
        self.each_term(position, |number| {
            terms.push(self.term(number as usize)?);
            Ok(())
        })?;
        Ok(Arc::new(TagSet::from_terms(terms)))
    }

    /// The tags of a row, under their names.
    pub(crate) fn named_tags(&self, position: u32, schema: &Schema) -> Result<Tags, StoreError> {
        let span = self.span(Kind::RowTermOffsets, position as usize)?;
        let mut damage = None;
        let terms = span.map_while(|index| {
            let read = self.u32_at(Kind::RowTerms, index).and_then(|number| {
                let parts = Term::parts(self.term_bytes(number as usize)?);
                parts.ok_or_else(|| self.damaged(Kind::Terms, 0, "a term is not UTF-8"))
            });
            read.map_err(|error| damage = Some(error)).ok()
        });
        let tags = Tags::of_terms(terms, schema);
        damage.map_or(Ok(tags), Err)
    }

    /// Number of its terms.
    pub(crate) fn terms(&self) -> usize {
        (self.len(Kind::TermOffsets) / 8).saturating_sub(1)
    }

    fn term_bytes(&self, number: usize) -> Result<&[u8], StoreError> {
        if number >= self.terms() {
            return Err(self.damaged(Kind::TermOffsets, 0, "a row names a term that is not there"));
        }
        let span = self.span(Kind::TermOffsets, number)?;
        self.bytes(Kind::Terms, span)
    }

    pub(crate) fn term(&self, number: usize) -> Result<Term, StoreError> {
        let bytes = self.term_bytes(number)?;
        Term::from_bytes(bytes).ok_or_else(|| self.damaged(Kind::Terms, 0, "a term is not UTF-8"))
    }

    /// The bytes of a term, which are those of one.
    pub(crate) fn term_name(&self, number: usize) -> Result<&[u8], StoreError> {
        let bytes = self.term_bytes(number)?;
        let is_term = Term::parts(bytes).is_some();
        is_term.then_some(bytes).ok_or_else(|| self.damaged(Kind::Terms, 0, "a term is not UTF-8"))
    }

    /// Positions of the rows that carry a term.
    pub(crate) fn postings(&self, term: &Term) -> Result<RoaringBitmap, StoreError> {
        let (mut low, mut high) = (0, self.terms());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.term_bytes(middle)? < term.as_bytes() { low = middle + 1 } else { high = middle }
        }
        if low == self.terms() || self.term_bytes(low)? != term.as_bytes() {
            return Ok(RoaringBitmap::new());
        }
        let span = self.span(Kind::PostingOffsets, low)?;
        let start = span.start;
        let damaged = |what| self.damaged(Kind::Postings, start, what);
        let postings = match self.bytes(Kind::Postings, span)?.split_first() {
            Some((0, plain)) => {
                let positions = plain.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b));
                RoaringBitmap::from_sorted_iter(positions).map_err(|_| damaged("positions do not ascend"))?
            }
            Some((1, bitmap)) => {
                RoaringBitmap::deserialize_from(bitmap).map_err(|_| damaged("not a Roaring bitmap"))?
            }
            _ => return Err(damaged("unknown kind of postings")),
        };
        match postings.max() {
            Some(max) if max >= self.rows => Err(damaged("a position lies outside")),
            _ => Ok(postings),
        }
    }

    /// Says that paths of these hashes will be looked for soon.
    pub(crate) fn soon_paths(&self, hashes: &[u64]) {
        let buckets = path_buckets(self.rows);
        let bucket = |hash: &u64| path_bucket(*hash, buckets) as usize;
        for bucket in hashes.iter().map(bucket) {
            self.soon_bytes(Kind::PathBuckets, bucket * 4..bucket * 4 + 8);
        }
        for bucket in hashes.iter().map(bucket) {
            // Damage is told by the search itself.
            let first = self.u32_at(Kind::PathBuckets, bucket).unwrap_or_default() as usize;
            self.soon_bytes(Kind::PathEntries, first * 8..first * 8 + 8);
        }
    }

    /// Position of the live row of `path`.
    pub(crate) fn find(
        &self,
        path: &str,
        path_hash: u64,
        dead: &RoaringBitmap,
    ) -> Result<Option<u32>, StoreError> {
        let bucket = path_bucket(path_hash, path_buckets(self.rows)) as usize;
        let first = self.u32_at(Kind::PathBuckets, bucket)?;
        let end = self.u32_at(Kind::PathBuckets, bucket + 1)?;
        if first > end || end > self.rows {
            return Err(self.damaged(Kind::PathBuckets, bucket * 4, "offsets do not ascend"));
        }
        for entry in first..end {
            let at = entry as usize * 2;
            if self.u32_at(Kind::PathEntries, at)? == path_hash as u32 {
                let position = self.u32_at(Kind::PathEntries, at + 1)?;
                if position >= self.rows {
                    return Err(self.damaged(Kind::PathEntries, at * 4, "a position lies outside"));
                }
                if !dead.contains(position) && self.path(position)? == path {
                    return Ok(Some(position));
                }
            }
        }
        Ok(None)
    }
}

impl ListedRows for Segment {
    fn list(&self, list: u32) -> Result<Range<u32>, StoreError> {
        let at = list as usize + 2;
        let (start, end) = (self.u32_at(Kind::Lists, at)?, self.u32_at(Kind::Lists, at + 1)?);
        if start > end || end > self.rows {
            return Err(self.damaged(Kind::Lists, at * 4, "lists do not follow each other"));
        }
        Ok(start..end)
    }

    fn soon_list(&self, list: u32) {
        if let Ok(range) = self.list(list) {
            let (start, end) = (range.start as usize / GROUP, range.end.div_ceil(GROUP as u32) as usize);
            let (end, stride) = (end.min(start + SOON_GROUPS), bits::group_bytes(self.dims));
            self.soon_bytes(Kind::BitFactors, start * GROUP_FACTORS..end * GROUP_FACTORS);
            self.soon_bytes(Kind::Bits, start * stride..end * stride);
        }
    }

    fn bits(&self, groups: Range<u32>) -> Result<(&[u8], &[u8]), StoreError> {
        let (start, end) = (groups.start as usize, groups.end as usize);
        let stride = bits::group_bytes(self.dims);
        let codes = self.bytes(Kind::Bits, start * stride..end * stride)?;
        Ok((codes, self.bytes(Kind::BitFactors, start * GROUP_FACTORS..end * GROUP_FACTORS)?))
    }
}

/// Bytes of norms that stay in a cache of the third level, beside what else is in it.
const CACHED: usize = 8 << 20;

impl Rows for Segment {
    type Error = StoreError;

    fn upper(&self, position: u32) -> Result<&[u8], StoreError> {
        let (at, len) = (position as usize, self.dims.div_ceil(2));
        self.bytes(Kind::Upper, at * len..(at + 1) * len)
    }

    fn norms_are_far(&self) -> bool {
        self.len(Kind::InvNorms) > CACHED
    }

    fn soon_upper(&self, position: u32) {
        let (at, len) = (position as usize, self.dims.div_ceil(2));
        self.soon_bytes(Kind::Upper, at * len..(at + 1) * len);
    }

    fn soon_norms(&self, position: u32) {
        let at = position as usize;
        self.soon_bytes(Kind::InvNorms, at * self.blocks * 4..(at + 1) * self.blocks * 4);
    }

    fn soon(&self, position: u32) {
        self.soon_upper(position);
        self.soon_norms(position);
    }

    fn soon_lower(&self, position: u32) {
        let at = position as usize;
        self.soon_bytes(Kind::Lower, at * self.dims..(at + 1) * self.dims);
    }

    fn soon_whole(&self, position: u32) {
        let at = position as usize;
        self.soon_lower(position);
        self.soon_bytes(Kind::Orders, at * 8..at * 8 + 8);
    }

    fn run(&self, range: Range<u32>) -> Result<RowRun<'_>, StoreError> {
        let (start, end) = (range.start as usize, range.end as usize);
        let len = self.dims.div_ceil(2);
        let upper = self.bytes(Kind::Upper, start * len..end * len)?;
        let norms = self.bytes(Kind::InvNorms, start * self.blocks * 4..end * self.blocks * 4)?;
        Ok(RowRun { upper, inv_norms: norms.as_chunks().0 })
    }

    fn lower(&self, position: u32) -> Result<&[i8], StoreError> {
        let start = position as usize * self.dims;
        Ok(bytemuck::cast_slice(self.bytes(Kind::Lower, start..start + self.dims)?))
    }

    fn order(&self, position: u32) -> Result<u64, StoreError> {
        self.u64_at(Kind::Orders, position as usize)
    }
}

/// What of a row's path and tags is asked for; see [`Segment::soon_hit`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Offsets,
    Bytes,
    Terms,
}

impl Step {
    /// In their order.
    pub(crate) const ALL: [Self; 3] = [Self::Offsets, Self::Bytes, Self::Terms];
}

struct Table {
    offset: u64,
    crc: u32,
}

enum FooterFault {
    Newer(u32),
    Damaged(usize, &'static str),
}

fn footer(
    bytes: &[u8],
    uuid: &Uuid,
    id: u64,
    layout: &Layout,
    expected: SegmentFile,
) -> Result<Table, FooterFault> {
    use FooterFault::{Damaged, Newer};
    let short = || Damaged(0, "cut short");
    let mut reader = Reader::new(bytes);
    if reader.array::<8>().as_ref() != Some(MAGIC) {
        return Err(Damaged(0, "not a segment"));
    }
    let format = reader.u32().ok_or_else(short)?;
    let crc = reader.u32().ok_or_else(short)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(MAGIC);
    hasher.update(&FORMAT.to_le_bytes());
    hasher.update(&bytes[16..]);
    let ours = hasher.finalize() == crc;
    if format > FORMAT && !ours {
        return Err(Newer(format));
    }
    if !ours || format != FORMAT || crc != expected.crc {
        return Err(Damaged(12, "the checksum is not the manifest's"));
    }
    let (Some(its_uuid), Some(its_id), Some(len)) = (reader.array::<16>(), reader.u64(), reader.u64()) else {
        return Err(short());
    };
    if its_uuid != *uuid || its_id != id || len != expected.len {
        return Err(Damaged(16, "another instance's segment, or another segment"));
    }
    let shape = [reader.u32(), reader.u32(), reader.u32()];
    let want = [expected.rows, layout.dims() as u32, layout.blocks() as u32];
    if shape != want.map(Some) {
        return Err(Damaged(48, "the shape is not the manifest's"));
    }
    match (reader.u32(), reader.u64()) {
        (Some(crc), Some(offset)) => Ok(Table { offset, crc }),
        _ => Err(short()),
    }
}

/// Where the table lies: the footer is what the manifest says, and the table what the footer says.
pub(super) fn table(
    name: &str,
    bytes: &[u8],
    uuid: &Uuid,
    id: u64,
    layout: &Layout,
    expected: SegmentFile,
) -> Result<Range<usize>, StoreError> {
    let damaged =
        |offset: usize, what| StoreError::Corrupt { file: name.to_owned(), offset: offset as u64, what };
    let at = bytes.len().checked_sub(FOOTER).ok_or(damaged(0, "cut short"))?;
    if bytes.len() as u64 != expected.len {
        return Err(damaged(bytes.len(), "the length is not the manifest's"));
    }
    let table = footer(&bytes[at..], uuid, id, layout, expected).map_err(|fault| match fault {
        FooterFault::Newer(found) => StoreError::Format { file: name.to_owned(), found, known: FORMAT },
        FooterFault::Damaged(offset, what) => damaged(at + offset, what),
    })?;
    let start = usize::try_from(table.offset).ok().filter(|&start| start <= at);
    let start = start.ok_or(damaged(at + 64, "the table is not in the file"))?;
    if crc32fast::hash(&bytes[start..at]) != table.crc {
        return Err(damaged(start, "the table's checksum does not match"));
    }
    Ok(start..at)
}

/// The sections of a table whose checksum was found sound; in the order of [`Kind::ALL`].
fn sections(bytes: &[u8], table: Range<usize>) -> Result<Vec<Section>, (usize, &'static str)> {
    let mut sections: Vec<Option<Section>> = Kind::ALL.iter().map(|_| None).collect();
    let mut reader = Reader::new(&bytes[table.clone()]);
    if !table.len().is_multiple_of(TABLE_ENTRY) {
        return Err((table.start, "the table is cut short"));
    }
    while let (Some(kind), Some(crc)) = (reader.u32(), reader.u32()) {
        let mut number = || reader.u64().and_then(|n| usize::try_from(n).ok());
        let (Some(offset), Some(len), Some(crcs)) = (number(), number(), number()) else {
            return Err((table.start, "the table is cut short"));
        };
        let blocks = len.div_ceil(BLOCK);
        let range = offset..offset.saturating_add(len);
        let crcs = crcs..crcs.saturating_add(blocks * 4);
        let inside = range.end <= table.start && crcs.end <= table.start;
        if !inside || crc32fast::hash(&bytes[crcs.clone()]) != crc {
            return Err((crcs.start, "the block checksums are not sound"));
        }
        let checked = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let slot = (kind as usize).checked_sub(1).and_then(|index| sections.get_mut(index));
        *slot.ok_or((table.start, "a section of an unknown kind"))? = Some(Section { range, crcs, checked });
    }
    sections.into_iter().collect::<Option<Vec<_>>>().ok_or((table.start, "a section is missing"))
}
