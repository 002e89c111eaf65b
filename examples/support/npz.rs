//! NumPy's `.npz`: a ZIP archive of `.npy` arrays, here without compression.
//!
//! Formats: the appendix "NPY format" of NumPy's reference (version 1.0), and PKWARE's APPNOTE.TXT 4.3 for the
//! archive, as far as stored entries under 4 GiB need it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes `paths` (text, one dimension) and `emb` (f32, `[paths.len(), dims]`, row-major) as one `.npz`.
///
/// # Errors
/// When the file cannot be written, would be 4 GiB or longer, or `emb` is not a whole number of rows.
pub(crate) fn write(file: &Path, paths: &[&str], emb: &[f32]) -> io::Result<()> {
    let dims = emb.len().checked_div(paths.len()).unwrap_or(0);
    if dims * paths.len() != emb.len() {
        return Err(io::Error::other(format!("{} values are not {} rows", emb.len(), paths.len())));
    }
    let mut zip =
        Zip { out: BufWriter::new(File::create(file)?), offset: 0, directory: Vec::new(), entries: 0 };
    zip.store("paths.npy", &text_array(paths))?;
    zip.store("emb.npy", &f32_array(emb, paths.len(), dims))?;
    zip.finish()
}

/// Magic, version, and the description of the array, padded so that the data begins at a multiple of 64 bytes.
fn header(descr: &str, shape: &str) -> Vec<u8> {
    const FIXED: usize = 10;
    let mut dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    while !(FIXED + dict.len() + 1).is_multiple_of(64) {
        dict.push(' ');
    }
    dict.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    // The dictionary is of some hundred bytes: two type names and at most two numbers.
    bytes.extend_from_slice(&(dict.len() as u16).to_le_bytes());
    bytes.extend_from_slice(dict.as_bytes());
    bytes
}

/// NumPy's `<U`: every text as UTF-32, padded with zeros to the length of the longest.
fn text_array(texts: &[&str]) -> Vec<u8> {
    let width = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(1);
    let mut bytes = header(&format!("<U{width}"), &format!("{},", texts.len()));
    for text in texts {
        let padded = text.chars().map(u32::from).chain(std::iter::repeat(0)).take(width);
        padded.for_each(|char| bytes.extend_from_slice(&char.to_le_bytes()));
    }
    bytes
}

fn f32_array(values: &[f32], rows: usize, columns: usize) -> Vec<u8> {
    let mut bytes = header("<f4", &format!("{rows}, {columns}"));
    values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    bytes
}

struct Zip<W> {
    out: W,
    offset: u32,
    /// The central directory, which follows the entries.
    directory: Vec<u8>,
    entries: u16,
}

impl<W: Write> Zip<W> {
    fn store(&mut self, name: &str, data: &[u8]) -> io::Result<()> {
        let length = u32::try_from(data.len()).map_err(io::Error::other)?;
        // What the local and the central header have in common: version 2.0 to extract, no flags, stored, the
        // first moment that MS-DOS knows, checksum, both lengths, length of the name, no extra field.
        let mut common = Vec::new();
        for half in [20u16, 0, 0, 0, 1 << 5 | 1] {
            common.extend_from_slice(&half.to_le_bytes());
        }
        for word in [crc32fast::hash(data), length, length] {
            common.extend_from_slice(&word.to_le_bytes());
        }
        for half in [name.len() as u16, 0] {
            common.extend_from_slice(&half.to_le_bytes());
        }
        self.directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        self.directory.extend_from_slice(&common);
        // No comment, disk 0, no attributes.
        self.directory.extend_from_slice(&[0; 10]);
        self.directory.extend_from_slice(&self.offset.to_le_bytes());
        self.directory.extend_from_slice(name.as_bytes());
        self.entries += 1;
        for part in [b"PK\x03\x04".as_slice(), &common, name.as_bytes(), data] {
            self.write(part)?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        let (start, directory) = (self.offset, std::mem::take(&mut self.directory));
        self.write(&directory)?;
        let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
        for half in [self.entries, self.entries] {
            end.extend_from_slice(&half.to_le_bytes());
        }
        for word in [self.offset - start, start] {
            end.extend_from_slice(&word.to_le_bytes());
        }
        end.extend_from_slice(&[0; 2]);
        self.write(&end)?;
        self.out.flush()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).ok().and_then(|length| self.offset.checked_add(length));
        self.offset = length.ok_or_else(|| io::Error::other("4 GiB or more need ZIP64"))?;
        self.out.write_all(bytes)
    }
}
