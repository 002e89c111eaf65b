//! Sealed, immutable segments: one checksummed file each, mapped read-only.
//!
//! `sections, each padded to 64 bytes | table of contents | footer [72]`
//!
//! Every section is checked in blocks of 4 KiB; the checksums of all blocks are themselves a section, whose own
//! checksum is in the table of contents. Opening reads the footer, the table and the block checksums; a block of
//! anything else is checked before its first use.

#[cfg(feature = "fuzzing")]
mod fuzzing;
mod read;
mod salvage;
#[cfg(all(test, feature = "fuzzing", feature = "testing"))]
mod tests;
mod write;

#[cfg(feature = "fuzzing")]
pub(crate) use fuzzing::reseal;
pub(crate) use read::{Segment, Step};
pub(crate) use salvage::Salvage;
pub(crate) use write::{Group, RowSource, SegmentFile, Terms, write};

// Of a path: the top bits of its hash.
use super::runs::bucket as path_bucket;

/// Bytes under one checksum.
const BLOCK: usize = 4096;
/// Sections start at multiples of this.
const ALIGN: usize = 64;
const MAGIC: &[u8; 8] = b"LOOKSEGM";
/// `magic [8] | format u32 | crc u32 | instance uuid [16] | segment id u64 | file length u64 | rows u32 |
/// dims u32 | blocks u32 | table crc u32 | table offset u64`; the checksum covers the footer but itself.
const FOOTER: usize = 72;
/// `kind u32 | crc of its block checksums u32 | offset u64 | length u64 | offset of its block checksums u64`.
const TABLE_ENTRY: usize = 32;

/// What a section holds; the number is its kind in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    /// `[rows, ceil(dims / 2)]`: the upper four bits of the values, two a byte.
    Upper = 1,
    /// `[rows, blocks]` f32: one over the norm of a block's values.
    InvNorms = 2,
    /// `[rows]` u64: insertion numbers.
    Orders = 3,
    /// `[rows, 32]`: perceptual hashes; empty when no row has one.
    Hashes = 4,
    /// `[rows + 1]` u64: where each path ends, after a leading zero.
    PathOffsets = 5,
    /// UTF-8, one after another.
    Paths = 6,
    /// `[buckets + 1]` u32: first entry of each bucket. The bucket of a path is the top bits of its hash.
    PathBuckets = 7,
    /// `[rows]` (u32 low half of the hash, u32 position), by hash.
    PathEntries = 8,
    /// `[rows + 1]` u64: where each row's terms end in `RowTerms`, after a leading zero.
    RowTermOffsets = 9,
    /// u32 numbers of terms.
    RowTerms = 10,
    /// `[terms + 1]` u64: where each term ends, after a leading zero.
    TermOffsets = 11,
    /// Terms in ascending order, one after another.
    Terms = 12,
    /// `[terms + 1]` u64: where each term's postings end, after a leading zero.
    PostingOffsets = 13,
    /// Of each term: `0` and positions as u32 each, or `1` and a Roaring bitmap in its portable format.
    Postings = 14,
    /// `[rows, dims]` i8: the lower eight bits of the values.
    Lower = 15,
    /// u64 number of the centres that the rows lie in lists around, then `[lists + 1]` u32: where each list begins;
    /// empty when rows lie by insertion number.
    Lists = 16,
    /// `[ceil(rows / 16)]` groups of codes of one bit a value ([`crate::kernel::bits`]); empty without lists.
    Bits = 17,
    /// `[ceil(rows / 16), 16]` (u16, u16): upper halves of the two factors of a row's code; empty without lists.
    BitFactors = 18,
}

impl Kind {
    const ALL: [Self; 18] = [
        Self::Upper,
        Self::InvNorms,
        Self::Orders,
        Self::Hashes,
        Self::PathOffsets,
        Self::Paths,
        Self::PathBuckets,
        Self::PathEntries,
        Self::RowTermOffsets,
        Self::RowTerms,
        Self::TermOffsets,
        Self::Terms,
        Self::PostingOffsets,
        Self::Postings,
        Self::Lower,
        Self::Lists,
        Self::Bits,
        Self::BitFactors,
    ];
}

/// Name of a segment's file.
pub(crate) fn name(id: u64) -> String {
    format!("seg-{id:08}")
}

/// Buckets of the path table for so many rows: a power of two, some eight rows a bucket.
fn path_buckets(rows: u32) -> u32 {
    (rows / 8).max(1).next_power_of_two()
}
