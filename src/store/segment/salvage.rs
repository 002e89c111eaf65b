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
    Kind::Codes,
    Kind::InvNorms,
    Kind::Fine,
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
        let (codes, fine) = self.segment.planes(position).ok()?;
        // Norms follow from the values.
        let code = RowCode::from_codes(layout, codes, fine).ok()?;
        self.hashes.then_some(TailRow { path, order, tags, code, hash })
    }
}

/// The length of a section of so many rows, where it follows from them.
fn fixed_len(kind: Kind, rows: usize, layout: &Layout) -> Option<usize> {
    match kind {
        Kind::Codes => Some(rows * layout.dims()),
        Kind::InvNorms => Some(rows * layout.blocks() * 4),
        Kind::Fine => Some(rows * layout.dims().div_ceil(2)),
        Kind::Orders | Kind::PathEntries => Some(rows * 8),
        Kind::PathOffsets | Kind::RowTermOffsets => Some((rows + 1) * 8),
        Kind::PathBuckets => Some((path_buckets(rows as u32) as usize + 1) * 4),
        _ => None,
    }
}

/// Where each section lies, in the order of [`WRITTEN`], as far as that can be told.
fn extents(bytes: &[u8], table: &Range<usize>, rows: usize, layout: &Layout) -> [Option<Extent>; 18] {
    let mut extents = [None; 18];
    // Where the section and its checksums must begin, if those before were found.
    let mut next: (Option<usize>, Option<usize>) = (Some(0), None);
    let entries = bytes.get(table.clone()).unwrap_or_default().chunks_exact(TABLE_ENTRY);
    for ((extent, kind), entry) in extents.iter_mut().zip(WRITTEN).zip(entries) {
        let mut reader = Reader::new(entry);
        let number = |reader: &mut Reader<'_>| reader.u64().and_then(|n| usize::try_from(n).ok());
        let (_, crc) = (reader.u32(), reader.u32());
        let stored = [number(&mut reader), number(&mut reader), number(&mut reader)];
        let (offsets, crcs) = ([stored[0], next.0], [stored[2], next.1]);
        let lens = [stored[1], fixed_len(kind, rows, layout)];
        let mut found = None;
        for (offset, len, at) in offsets
            .into_iter()
            .flatten()
            .flat_map(|offset| lens.into_iter().flatten().map(move |len| (offset, len)))
            .flat_map(|(offset, len)| crcs.into_iter().flatten().map(move |crcs| (offset, len, crcs)))
        {
            let candidate = Extent { offset, len, crcs: at };
            if found.is_some() || !candidate.is_inside(table.start) {
                continue;
            }
            let kept = &bytes[at..at + len.div_ceil(BLOCK) * 4];
            // Where its neighbours want it, the blocks' own checksums decide.
            let wanted = next == (Some(offset), Some(at))
                && fixed_len(kind, rows, layout).is_none_or(|fixed| fixed == len);
            if crc == Some(crc32fast::hash(kept)) || wanted {
                found = Some(candidate);
            }
        }
        next = match found {
            Some(found) => {
                let end = (found.offset + found.len).next_multiple_of(ALIGN);
                (Some(end), Some(found.crcs + found.len.div_ceil(BLOCK) * 4))
            }
            None => (None, None),
        };
        *extent = found;
    }
    extents
}
