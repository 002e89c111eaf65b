//! The frame of the binaries under `weights/`: magic, version, length and CRC, then little-endian fields
//! (docs/model.md has every byte).

use thiserror::Error;

/// Magic, version, payload length, CRC-32.
const HEADER: usize = 20;

/// What is wrong with a file of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum BundleError {
    #[error("{0}: not a file of this kind and version")]
    Kind(&'static str),
    #[error("{0}: the checksum does not match")]
    Damaged(&'static str),
    #[error("{0}: the contents are not those of this network")]
    Shape(&'static str),
}

/// A file: `payload` behind the header that [`Bundle::open`] checks.
#[cfg(feature = "fit")]
pub(super) fn sealed(magic: &[u8; 8], version: u32, payload: &[u8]) -> Vec<u8> {
    let mut raw = magic.to_vec();
    // A payload is of a few megabytes.
    for field in [version, payload.len() as u32, crc32fast::hash(payload)] {
        raw.extend(field.to_le_bytes());
    }
    raw.extend(payload);
    raw
}

/// The fields of one file, read from the front.
pub(super) struct Bundle<'a> {
    name: &'static str,
    rest: &'a [u8],
}

impl<'a> Bundle<'a> {
    /// Checks magic, version (raised when the layout of that file changes), length and CRC of the whole file.
    pub(super) fn open(
        name: &'static str,
        magic: &[u8; 8],
        version: u32,
        raw: &'a [u8],
    ) -> Result<Self, BundleError> {
        let (head, payload) = raw.split_at_checked(HEADER).ok_or(BundleError::Kind(name))?;
        let field =
            |at: usize| head.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        if !head.starts_with(magic) || field(8) != version {
            return Err(BundleError::Kind(name));
        }
        if field(12) as usize != payload.len() || field(16) != crc32fast::hash(payload) {
            return Err(BundleError::Damaged(name));
        }
        Ok(Self { name, rest: payload })
    }

    /// The contents do not fit what the reader expects.
    pub(super) fn misfit(&self) -> BundleError {
        BundleError::Shape(self.name)
    }

    /// The next `len` bytes; the file pads them to a multiple of four.
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], BundleError> {
        let padded = len.checked_next_multiple_of(4).ok_or(self.misfit())?;
        let (now, rest) = self.rest.split_at_checked(padded).ok_or(self.misfit())?;
        self.rest = rest;
        Ok(&now[..len])
    }

    pub(super) fn u32(&mut self) -> Result<u32, BundleError> {
        let b = self.bytes(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// A `u32` that must be `want`.
    pub(super) fn expect(&mut self, want: usize) -> Result<(), BundleError> {
        if self.u32()? as usize == want { Ok(()) } else { Err(self.misfit()) }
    }

    /// Four `u16`.
    pub(super) fn u16x4(&mut self) -> Result<[u16; 4], BundleError> {
        let b = self.bytes(8)?;
        Ok(std::array::from_fn(|i| u16::from_le_bytes([b[2 * i], b[2 * i + 1]])))
    }

    /// `len` finite f32 values.
    pub(super) fn f32s(&mut self, len: usize) -> Result<Vec<f32>, BundleError> {
        let raw = self.bytes(len.checked_mul(4).ok_or(self.misfit())?)?;
        let values: Vec<f32> =
            raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        if values.iter().all(|v| v.is_finite()) { Ok(values) } else { Err(self.misfit()) }
    }

    /// `len` values of 32 bits.
    pub(super) fn i32s(&mut self, len: usize) -> Result<Vec<i32>, BundleError> {
        let raw = self.bytes(len.checked_mul(4).ok_or(self.misfit())?)?;
        Ok(raw.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect())
    }

    /// `len` values of 16 bits.
    pub(super) fn i16s(&mut self, len: usize) -> Result<Vec<i16>, BundleError> {
        let raw = self.bytes(len.checked_mul(2).ok_or(self.misfit())?)?;
        Ok(raw.as_chunks().0.iter().map(|b| i16::from_le_bytes(*b)).collect())
    }

    /// Nothing may be left over.
    pub(super) fn finish(self) -> Result<(), BundleError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.misfit()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(payload: &[u8]) -> Vec<u8> {
        let mut raw = b"testtest".to_vec();
        for field in [7, payload.len() as u32, crc32fast::hash(payload)] {
            raw.extend(field.to_le_bytes());
        }
        raw.extend(payload);
        raw
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = file(&[7, 0, 0, 0, 0, 0, 128, 63]);
        let mut bundle = Bundle::open("t", b"testtest", 7, &good).unwrap();
        assert_eq!(bundle.u32(), Ok(7));
        assert_eq!(bundle.f32s(1), Ok(vec![1.0]));
        bundle.finish().unwrap();
        assert_eq!(Bundle::open("t", b"testtest", 8, &good).err(), Some(BundleError::Kind("t")));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Bundle::open("t", b"testtest", 7, &bad).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(Bundle::open("t", b"testtest", 7, &good[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn reading_too_much_or_too_little_is_an_error() {
        let good = file(&[7, 0, 0, 0]);
        let mut bundle = Bundle::open("t", b"testtest", 7, &good).unwrap();
        assert_eq!(bundle.f32s(usize::MAX), Err(BundleError::Shape("t")));
        assert_eq!(bundle.bytes(5), Err(BundleError::Shape("t")));
        assert_eq!(bundle.finish(), Err(BundleError::Shape("t")));
    }
}
