//! NumPy's `.npy`, as far as a matrix of f32 needs it ("NPY format", version 1.0, in NumPy's reference).

use std::path::Path;

use ndarray::Array2;

use crate::Failure;

/// Reads a little-endian f32 matrix in row-major order.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn read(file: &Path) -> Result<Array2<f32>, Failure> {
    let raw = std::fs::read(file).map_err(|error| Failure::file(file, error))?;
    parse(&raw).ok_or_else(|| Failure::file(file, "not a .npy file with a matrix of f32"))
}

fn parse(raw: &[u8]) -> Option<Array2<f32>> {
    let rest = raw.strip_prefix(b"\x93NUMPY\x01\x00")?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (header, data) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    let header = std::str::from_utf8(header).ok()?;
    if !header.contains("'descr': '<f4'") || !header.contains("'fortran_order': False") {
        return None;
    }
    let shape = header.split("'shape': (").nth(1)?.split(')').next()?;
    let mut sides = shape.split(',').map(|side| side.trim().parse::<usize>());
    let (rows, columns) = (sides.next()?.ok()?, sides.next()?.ok()?);
    if sides.next().is_some() || rows.checked_mul(columns)?.checked_mul(4)? != data.len() {
        return None;
    }
    let values = data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Array2::from_shape_vec((rows, columns), values).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(header: &str, values: &[f32]) -> Vec<u8> {
        let mut raw = b"\x93NUMPY\x01\x00".to_vec();
        raw.extend((header.len() as u16).to_le_bytes());
        raw.extend(header.bytes());
        values.iter().for_each(|value| raw.extend(value.to_le_bytes()));
        raw
    }

    #[test]
    fn a_matrix_is_read_and_nothing_else() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
        let good = file(header, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(parse(&good).unwrap(), ndarray::array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        for length in 0..good.len() {
            assert!(parse(&good[..length]).is_none(), "{length}");
        }
        for bad in [
            ("<f4", "<f8"),
            ("False", "True"),
            ("(2, 3)", "(6,)"),
            ("(2, 3)", "(2, 3, 1)"),
            ("2, 3", "9999999999999999, 9999999999999999"),
        ] {
            assert!(parse(&file(&header.replace(bad.0, bad.1), &[1.0; 6])).is_none(), "{bad:?}");
        }
    }
}
