//! NumPy's `.npy`: one array of 32-bit numbers in a file ("NPY format" in NumPy's reference, version 1.0).
//!
//! ```text
//! "\x93NUMPY" 1 0 | length of the header, u16 | header, a Python dictionary in ASCII | the values, row after row
//! ```
//!
//! Only what the benchmarks need: little-endian f32 or i32, one or two dimensions, in C order. The rows are read
//! from the file when they are asked for, because the file may be larger than memory.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// A number of four bytes.
pub(crate) trait Value: Copy {
    /// Its name in a header.
    const DESCR: &'static str;
    fn from_bytes(bytes: [u8; 4]) -> Self;
    fn to_bytes(self) -> [u8; 4];
}

impl Value for f32 {
    const DESCR: &'static str = "<f4";
    fn from_bytes(bytes: [u8; 4]) -> Self {
        Self::from_le_bytes(bytes)
    }
    fn to_bytes(self) -> [u8; 4] {
        self.to_le_bytes()
    }
}

impl Value for i32 {
    const DESCR: &'static str = "<i4";
    fn from_bytes(bytes: [u8; 4]) -> Self {
        Self::from_le_bytes(bytes)
    }
    fn to_bytes(self) -> [u8; 4] {
        self.to_le_bytes()
    }
}

/// An array in a file. One of one dimension has rows of one value.
pub(crate) struct Array<T> {
    file: File,
    path: PathBuf,
    rows: usize,
    columns: usize,
    /// Where the values begin in the file.
    start: u64,
    values: PhantomData<T>,
}

impl<T: Value> Array<T> {
    /// Reads the header, and checks that the file is as long as it says.
    ///
    /// # Errors
    /// When the file cannot be read, is no `.npy`, or holds values of another kind; the message names the file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path).map_err(|error| about(path, error))?;
        let mut fixed = [0; 10];
        file.read_exact(&mut fixed).map_err(|_| about(path, "too short for a .npy file"))?;
        let [magic @ .., low, high] = fixed;
        if magic != *b"\x93NUMPY\x01\x00" {
            return Err(about(path, "not a .npy file of version 1.0"));
        }
        let length = u16::from_le_bytes([low, high]);
        let mut header = vec![0; length.into()];
        file.read_exact(&mut header).map_err(|_| about(path, "ends within its header"))?;
        let header = String::from_utf8_lossy(&header);
        let (rows, columns) = shape::<T>(&header).map_err(|error| about(path, error))?;

        let start = fixed.len() as u64 + u64::from(length);
        let values = (rows as u64).checked_mul(columns as u64);
        let end = values.and_then(|values| values.checked_mul(4)?.checked_add(start));
        let found = file.metadata()?.len();
        if end != Some(found) {
            return Err(about(
                path,
                format!("{rows} rows of {columns} values do not make a file of {found} bytes"),
            ));
        }
        Ok(Self { file, path: path.to_owned(), rows, columns, start, values: PhantomData })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The values of some rows, one row after the other.
    ///
    /// # Errors
    /// When there are no such rows, or the file cannot be read.
    pub(crate) fn read(&mut self, rows: std::ops::Range<usize>) -> io::Result<Vec<T>> {
        if rows.start > rows.end || rows.end > self.rows {
            return Err(about(&self.path, format!("has {} rows, not {rows:?}", self.rows)));
        }
        let row = self.columns * 4;
        let mut bytes = vec![0; rows.len() * row];
        self.file.seek(SeekFrom::Start(self.start + rows.start as u64 * row as u64))?;
        self.file.read_exact(&mut bytes).map_err(|error| about(&self.path, error))?;
        Ok(bytes.as_chunks().0.iter().map(|value| T::from_bytes(*value)).collect())
    }

    /// Every value.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn all(&mut self) -> io::Result<Vec<T>> {
        self.read(0..self.rows)
    }
}

/// Rows and columns of an array of `T`, from the dictionary of a header.
fn shape<T: Value>(header: &str) -> Result<(usize, usize), String> {
    let value = |key: &str| header.split_once(key).map(|(_, rest)| rest.trim_start());
    let (descr, order) = (value("'descr':"), value("'fortran_order':"));
    let wanted = format!("'{}'", T::DESCR);
    if !descr.is_some_and(|descr| descr.starts_with(&wanted)) {
        return Err(format!("the values are not of the kind {wanted}: {}", header.trim_end()));
    }
    if !order.is_some_and(|order| order.starts_with("False")) {
        return Err("the array is not in C order".to_owned());
    }
    let sides = value("'shape':").and_then(|shape| shape.strip_prefix('(')?.split(')').next());
    let sides: Option<Vec<usize>> = sides.and_then(|sides| {
        // A tuple of one is written with a comma at the end.
        sides.trim_end_matches(',').split(',').map(|side| side.trim().parse().ok()).collect()
    });
    match sides.as_deref() {
        Some(&[rows]) => Ok((rows, 1)),
        Some(&[rows, columns]) => Ok((rows, columns)),
        _ => Err(format!("an array of one or two dimensions is wanted: {}", header.trim_end())),
    }
}

/// Writes a matrix.
///
/// # Errors
/// When the values are not a whole number of rows, or the file cannot be written.
pub(crate) fn write<T: Value>(path: &Path, columns: usize, values: &[T]) -> io::Result<()> {
    let rows = values.len().checked_div(columns).unwrap_or(0);
    if rows * columns != values.len() {
        return Err(about(path, format!("{} values are not rows of {columns}", values.len())));
    }
    let mut header =
        format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}", T::DESCR);
    // The values begin at a multiple of 64 bytes, and a line break ends the header.
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut out = BufWriter::new(File::create(path).map_err(|error| about(path, error))?);
    out.write_all(b"\x93NUMPY\x01\x00")?;
    // Two numbers and some forty letters.
    out.write_all(&(header.len() as u16).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    for value in values {
        out.write_all(&value.to_bytes())?;
    }
    out.flush()
}

fn about(path: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}
