//! What a search needs of the rows it reads.

use std::ops::Range;

/// Rows that lie one after another: upper planes `[n, ceil(dims / 2)]`, four bits a value; one over the block norms of the
/// whole values `[n, blocks]` as little-endian f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowRun<'a> {
    pub(crate) upper: &'a [u8],
    pub(crate) inv_norms: &'a [[u8; 4]],
}

/// One over a block's norm as it is kept.
pub(crate) fn inv_norm(bytes: &[u8; 4]) -> f32 {
    f32::from_le_bytes(*bytes)
}

/// What the upper eight bits of a block's values are multiplied by, to be those of a block of norm 1: the whole values are
/// sixteen times as large.
pub(crate) fn upper_factor(inv_norm: f32) -> f32 {
    16.0 * inv_norm
}

/// A set of rows by position: mapped from a file or held in memory.
pub(crate) trait Rows {
    /// What can go wrong when rows are read.
    type Error;

    /// The rows of `range`, checked: as many from its start as lie together, at least one. The range is not empty.
    fn run(&self, range: Range<u32>) -> Result<RowRun<'_>, Self::Error>;

    /// The lower plane of one row: the lower eight bits of its values. Not in a run, for a scan reads it of few rows.
    fn lower(&self, position: u32) -> Result<&[i8], Self::Error>;

    /// The upper plane of one row.
    fn upper(&self, position: u32) -> Result<&[u8], Self::Error>;

    /// Whether there are so many rows that their norms do not stay in a cache: reading one is then worth avoiding.
    fn norms_are_far(&self) -> bool {
        false
    }

    /// Says that the upper plane of a row will be read soon.
    fn soon_upper(&self, _position: u32) {}

    /// Says that the norms of a row will be read soon.
    fn soon_norms(&self, _position: u32) {}

    /// Says that the upper plane and the norms of a row will be read soon.
    fn soon(&self, _position: u32) {}

    /// Says that the lower plane of a row will be read soon.
    fn soon_lower(&self, _position: u32) {}

    /// Says that the lower plane and the insertion number of a row will be read soon.
    fn soon_whole(&self, _position: u32) {}

    /// Insertion number of a row: what breaks ties.
    fn order(&self, position: u32) -> Result<u64, Self::Error>;
}

/// Rows that lie in lists, with codes of one bit a value in groups of 16 rows.
pub(crate) trait ListedRows: Rows {
    /// Positions of the rows of a list.
    fn list(&self, list: u32) -> Result<Range<u32>, Self::Error>;

    /// Says that a list will be read soon.
    fn soon_list(&self, list: u32);

    /// Codes and factors of groups of rows, checked; see [`crate::kernel::bits`].
    fn bits(&self, groups: Range<u32>) -> Result<(&[u8], &[u8]), Self::Error>;
}
