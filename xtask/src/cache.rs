//! Descriptors kept from one run to the next. Not a format for anything else: the file is made again when in doubt.

use std::io::ErrorKind;
use std::path::Path;

use lookalike::fit::LENGTHS;
use ndarray::Array2;

use crate::Failure;
use crate::pictures::Table;
use crate::random::Random;

/// First bytes of the file; then the key, the number of rows, and the matrices one after another.
const MAGIC: &[u8; 8] = b"lkl-desc";

/// Which pictures, in which order, a table is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// Of the names of the pictures. Their contents are not looked at: who changes them deletes the file.
    pub fn of(names: impl Iterator<Item = String>) -> Self {
        let all: Vec<String> = names.collect();
        Self(Random::of(&all.join("\n")).bits())
    }
}

/// The table of a file; `None` if there is none, or it is of other pictures or of another network, whose descriptors of
/// the first picture are not those of `probe`.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(file: &Path, key: Key, rows: usize, probe: &Table) -> Result<Option<Table>, Failure> {
    match std::fs::read(file) {
        Ok(raw) => Ok(parse(&raw, key, rows).filter(|table| starts_with(table, probe))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file(file, error)),
    }
}

fn starts_with(table: &Table, probe: &Table) -> bool {
    table.len() > 0 && table.0.iter().zip(&probe.0).all(|(all, one)| all.row(0) == one.row(0))
}

fn parse(raw: &[u8], key: Key, rows: usize) -> Option<Table> {
    let rest = raw.strip_prefix(MAGIC)?;
    let (found, rest) = rest.split_first_chunk::<8>()?;
    let (count, rest) = rest.split_first_chunk::<8>()?;
    let values = rest.as_chunks::<4>().0;
    let expected = rows.checked_mul(LENGTHS.iter().sum())?;
    let same = u64::from_le_bytes(*found) == key.0 && u64::from_le_bytes(*count) == rows as u64;
    if !same || values.len() != expected || rest.len() != expected * 4 {
        return None;
    }
    let mut from = 0;
    let mut next = |length: usize| {
        let own = &values[from..from + rows * length];
        from += rows * length;
        Array2::from_shape_vec((rows, length), own.iter().map(|b| f32::from_le_bytes(*b)).collect()).ok()
    };
    let [gem, e6, hist, edge] = LENGTHS;
    Some(Table([next(gem)?, next(e6)?, next(hist)?, next(edge)?]))
}

/// Writes a table.
///
/// # Errors
/// When the file cannot be written.
pub fn write(file: &Path, key: Key, table: &Table) -> Result<(), Failure> {
    let mut raw = MAGIC.to_vec();
    raw.extend(key.0.to_le_bytes());
    raw.extend((table.len() as u64).to_le_bytes());
    for value in table.0.iter().flatten() {
        raw.extend(value.to_le_bytes());
    }
    std::fs::write(file, raw).map_err(|error| Failure::file(file, error))
}
