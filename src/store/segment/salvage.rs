//! What can still be read of a damaged segment.
//!
//! Every block of a section has its own checksum, so a row whose blocks are sound is sound whatever became of the
//! rest. The footer can be made anew from what the manifest says; of the table each entry is taken for itself, and where
//! one is damaged the neighbours tell what it must have been, for sections and their checksums lie one after another.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use super::super::bytes::Reader;
use super::super::disk::Disk;
use super::super::error::StoreError;
use super::super::frame::Uuid;
use super::super::record::TailRow;
use super::read::{Section, table};
use super::{ALIGN, BLOCK, FOOTER, Kind, Segment, SegmentFile, TABLE_ENTRY, path_buckets};
use crate::vector::{Layout, RowCode};

/// Sections in the order they are written.
const WRITTEN: [Kind; 18] = [
    Kind::Upper,
    Kind::InvNorms,
    Kind::Lower,
    Kind::Orders,
    Kind::Hashes,
    Kind::PathOffsets,
    Kind::Paths,
    Kind::PathBuckets,
    Kind::PathEntries,
    Kind::RowTermOffsets,
    Kind::RowTerms,
    Kind::TermOffsets,
    Kind::Terms,
    Kind::Postings,
    Kind::PostingOffsets,
    Kind::Lists,
    Kind::Bits,
    Kind::BitFactors,
];

/// Blocks of a section that say whether it lies where it is thought to lie.
const TRIED: usize = 64;

/// A damaged segment, of which some rows can be read.
pub(crate) struct Salvage {
    segment: Segment,
    /// Whether it is known that there are no hashes, or where they are.
    hashes: bool,
}

/// Where a section and its checksums lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    offset: usize,
    len: usize,
    crcs: usize,
}

impl Extent {
    fn section(self) -> Section {
        let blocks = self.len.div_ceil(BLOCK);
        Section {
            range: self.offset..self.offset + self.len,
            crcs: self.crcs..self.crcs + blocks * 4,
            checked: (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The share of its blocks whose checksums are right, of up to [`TRIED`] of them, the last included. Where there is none
    /// the checksum of the checksums says a little.
    fn sound_share(self, bytes: &[u8], crc: Option<u32>) -> f64 {
        let blocks = self.len.div_ceil(BLOCK);
        if blocks == 0 {
            return f64::from(u8::from(crc == Some(crc32fast::hash(&[]))));
        }
        let (mut tried, mut sound) = (0, 0);
        for block in (0..blocks).step_by(blocks.div_ceil(TRIED)).chain([blocks - 1]) {
            let from = self.offset + block * BLOCK;
            let kept = Reader::new(&bytes[self.crcs + block * 4..]).u32();
            let own = crc32fast::hash(&bytes[from..(self.offset + self.len).min(from + BLOCK)]);
            tried += 1;
            sound += u32::from(kept == Some(own));
        }
        let bears_out = || crc == Some(crc32fast::hash(&bytes[self.crcs..self.crcs + blocks * 4]));
        match sound {
            // All are damaged, or it lies elsewhere.
            0 if bears_out() => f64::EPSILON,
            _ => f64::from(sound) / f64::from(tried),
        }
    }

    fn is_inside(self, end: usize) -> bool {
        let crcs = self.len.div_ceil(BLOCK).checked_mul(4).and_then(|len| len.checked_add(self.crcs));
        self.offset.checked_add(self.len).is_some_and(|at| at <= end) && crcs.is_some_and(|at| at <= end)
    }
}

impl Salvage {
    /// Maps the file `name` of segment `id`; none when its table is not in it any more.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        name: &str,
        (uuid, id): (&Uuid, u64),
        layout: &Layout,
        expected: SegmentFile,
    ) -> Result<Option<Self>, StoreError> {
        let map = disk.map(&dir.join(name)).map_err(StoreError::io("map", name))?;
        let bytes = map.bytes();
        let sound = table(name, bytes, uuid, id, layout, expected).ok();
        let inferred = || {
            let end = usize::try_from(expected.len).ok()?.checked_sub(FOOTER)?;
            let start = end.checked_sub(WRITTEN.len() * TABLE_ENTRY)?;
            (end <= bytes.len()).then_some(start..end)
        };
        let Some(table) = sound.or_else(inferred) else { return Ok(None) };
        let extents = extents(bytes, &table, expected.rows as usize, layout);
        let mut sections: Vec<Section> = Vec::with_capacity(WRITTEN.len());
        for at in 1..=WRITTEN.len() {
            let of = WRITTEN.iter().position(|kind| *kind as usize == at);
            let extent = of.and_then(|of| extents[of]);
            sections.push(extent.unwrap_or(Extent { offset: 0, len: 0, crcs: 0 }).section());
        }
        let hashes =
            WRITTEN.iter().zip(&extents).any(|(kind, extent)| *kind == Kind::Hashes && extent.is_some());
        let segment = Segment::of_parts(name.to_owned(), id, map, expected.rows, layout, sections);
        Ok(Some(Self { segment, hashes }))
    }

    pub(crate) fn path(&self, position: u32) -> Option<&str> {
        self.segment.path(position).ok()
    }

    /// A row, if every part of it is sound.
    pub(crate) fn row(&self, position: u32, layout: &Layout) -> Option<TailRow> {
        let path = self.path(position)?.into();
        let (order, tags, hash) = self.segment.whole(position).ok()?;
        let (upper, lower) = self.segment.planes(position).ok()?;
        // Norms follow from the values.
        let code = RowCode::from_planes(layout, upper, lower).ok()?;
        self.hashes.then_some(TailRow { path, order, tags, code, hash })
    }
}

/// The length of a section of so many rows, where it follows from them.
fn fixed_len(kind: Kind, rows: usize, layout: &Layout) -> Option<usize> {
    match kind {
        Kind::Upper => Some(rows * layout.upper_bytes()),
        Kind::InvNorms => Some(rows * layout.blocks() * 4),
        Kind::Lower => Some(rows * layout.dims()),
        Kind::Orders | Kind::PathEntries => Some(rows * 8),
        Kind::PathOffsets | Kind::RowTermOffsets => Some((rows + 1) * 8),
        Kind::PathBuckets => Some((path_buckets(rows as u32) as usize + 1) * 4),
        _ => None,
    }
}

/// An entry of a table as it is stored, sound or not.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    crc: Option<u32>,
    offset: Option<usize>,
    len: Option<usize>,
    crcs: Option<usize>,
}

impl Entry {
    fn of(bytes: &[u8]) -> Self {
        let mut reader = Reader::new(bytes);
        let (_, crc) = (reader.u32(), reader.u32());
        let mut number = || reader.u64().and_then(|n| usize::try_from(n).ok());
        Self { crc, offset: number(), len: number(), crcs: number() }
    }
}

/// Where each section lies, in the order of [`WRITTEN`], as far as that can be told. What an entry says is taken for true
/// when the blocks that are tried bear it out; otherwise each of its numbers may be what the entries before and behind it
/// want, and what most of those blocks bear out is taken. That is at most some 400 places of 65 blocks for a section.
fn extents(bytes: &[u8], table: &Range<usize>, rows: usize, layout: &Layout) -> [Option<Extent>; 18] {
    let mut stored = [Entry::default(); WRITTEN.len() + 1];
    let entries = bytes.get(table.clone()).unwrap_or_default().chunks_exact(TABLE_ENTRY);
    stored.iter_mut().zip(entries).take(WRITTEN.len()).for_each(|(entry, bytes)| *entry = Entry::of(bytes));
    // The checksums of all sections lie behind the last of them, and the table behind those.
    stored[WRITTEN.len()].crcs = Some(table.start);
    let mut extents = [None; 18];
    // Where a section and its checksums begin, if those before it were found.
    let (mut start, mut crcs) = (Some(0), None);
    for (at, extent) in extents.iter_mut().enumerate() {
        let (own, behind) = (stored[at], stored[at + 1]);
        let fixed = fixed_len(WRITTEN[at], rows, layout);
        let mut best: Option<(Extent, f64)> = None;
        for offset in unique([own.offset, start]) {
            // A section that is as long as it must be is followed by less than `ALIGN` zeros.
            let room = behind.offset.and_then(|next| next.checked_sub(offset));
            let padded = (0..ALIGN).map(|zeros| room.and_then(|room| room.checked_sub(zeros)));
            for len in unique([own.len, fixed].into_iter().chain(padded.filter(|_| fixed.is_none()))) {
                let before = behind.crcs.and_then(|next| next.checked_sub(len.div_ceil(BLOCK) * 4));
                for crcs in unique([own.crcs, crcs, before]) {
                    let candidate = Extent { offset, len, crcs };
                    if best.is_some_and(|(_, share)| share == 1.0) || !candidate.is_inside(table.start) {
                        continue;
                    }
                    let share = candidate.sound_share(bytes, own.crc);
                    if share > best.map_or(0.0, |(_, share)| share) {
                        best = Some((candidate, share));
                    }
                }
            }
        }
        *extent = best.map(|(extent, _)| extent);
        start = extent.map(|found| (found.offset + found.len).next_multiple_of(ALIGN)).or(behind.offset);
        crcs = extent.map(|found| found.crcs + found.len.div_ceil(BLOCK) * 4).or(behind.crcs);
    }
    extents
}

/// Those that are there, each once.
fn unique(numbers: impl IntoIterator<Item = Option<usize>>) -> Vec<usize> {
    let mut all: Vec<usize> = Vec::new();
    for number in numbers.into_iter().flatten() {
        if !all.contains(&number) {
            all.push(number);
        }
    }
    all
}
