//! The frame around every small file: magic, format, checksum, the instance it belongs to.
//!
//! `magic [8] | format u32 | crc u32 | instance uuid [16] | payload length u64 | payload`; the checksum (CRC-32,
//! IEEE 802.3) covers everything but itself.

use super::bytes::Reader;
use super::error::StoreError;

/// Format of every file of this version.
pub(crate) const FORMAT: u32 = 2;

/// Largest number of a file, a frame or an image: one more of each a nanosecond for three centuries. So the next is always
/// a number too.
pub(crate) const MAX_NUMBER: u64 = i64::MAX as u64;

/// A new random identity for an instance.
pub(crate) type Uuid = [u8; 16];

const HEADER: usize = 40;

/// What a framed file is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Manifest,
    Dead,
    Centres,
}

impl Kind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Manifest => b"LOOKMANI",
            Self::Dead => b"LOOKDEAD",
            Self::Centres => b"LOOKCENT",
        }
    }
}

/// The bytes of a file that holds `payload`.
pub(crate) fn seal(kind: Kind, uuid: &Uuid, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(kind.magic());
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(uuid);
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(payload);
    let crc = checksum(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The instance and the payload of a framed file. The format is read first, so that a newer file is told from a
/// damaged one.
pub(crate) fn open<'a>(kind: Kind, file: &str, bytes: &'a [u8]) -> Result<(Uuid, &'a [u8]), StoreError> {
    let damaged = |offset, what| StoreError::Corrupt { file: file.to_owned(), offset, what };
    let mut reader = Reader::new(bytes);
    if reader.array::<8>().as_ref() != Some(kind.magic()) {
        return Err(damaged(0, "not a file of this kind"));
    }
    let format = reader.u32().ok_or(damaged(8, "cut short"))?;
    let crc = reader.u32().ok_or(damaged(12, "cut short"))?;
    if checksum(bytes) != crc {
        // Of a newer format only the first twelve bytes are known to be laid out like this; unless the file is one
        // of ours but for the number.
        return Err(if format > FORMAT && checksum_as(FORMAT, bytes) != crc {
            StoreError::Format { file: file.to_owned(), found: format, known: FORMAT }
        } else {
            damaged(if format > FORMAT { 8 } else { 12 }, "the checksum does not match")
        });
    }
    if format != FORMAT {
        return Err(StoreError::Format { file: file.to_owned(), found: format, known: FORMAT });
    }
    let uuid = reader.array().ok_or(damaged(16, "cut short"))?;
    let len = reader.u64().ok_or(damaged(32, "cut short"))?;
    let payload = usize::try_from(len).ok().and_then(|len| reader.take(len)).filter(|_| reader.is_empty());
    Ok((uuid, payload.ok_or(damaged(32, "the length does not match"))?))
}

fn checksum(bytes: &[u8]) -> u32 {
    let format = bytes.get(8..12).and_then(|b| Reader::new(b).u32());
    checksum_as(format.unwrap_or_default(), bytes)
}

/// The checksum of a file if its format were this.
fn checksum_as(format: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(..8).unwrap_or_default());
    hasher.update(&format.to_le_bytes());
    hasher.update(bytes.get(16..).unwrap_or_default());
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flip_and_every_cut_is_seen() {
        let bytes = seal(Kind::Manifest, &[7; 16], b"payload");
        assert_eq!(open(Kind::Manifest, "f", &bytes).unwrap(), ([7; 16], &b"payload"[..]));
        assert!(open(Kind::Dead, "f", &bytes).is_err());
        let mut seen = 0;
        for byte in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[byte] ^= 1 << bit;
                assert!(open(Kind::Manifest, "f", &flipped).is_err(), "byte {byte} bit {bit}");
                seen += 1;
            }
            assert!(open(Kind::Manifest, "f", &bytes[..byte]).is_err(), "cut at {byte}");
        }
        assert_eq!(seen, bytes.len() * 8);
    }

    #[test]
    fn another_format_is_named() {
        let mut bytes = seal(Kind::Manifest, &[7; 16], b"payload");
        bytes[8] = 3;
        let damaged = open(Kind::Manifest, "f", &bytes);
        assert!(
            matches!(damaged, Err(StoreError::Corrupt { offset: 8, .. })),
            "one of ours but for the number"
        );
        bytes[40] += 1;
        let newer = |bytes: &[u8]| {
            let opened = open(Kind::Manifest, "f", bytes);
            assert!(matches!(opened, Err(StoreError::Format { found: 3, known: 2, .. })));
        };
        newer(&bytes);
        let crc = checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        newer(&bytes);
        // What an older version wrote is not damaged either.
        bytes[8] = 1;
        let crc = checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        let older = open(Kind::Manifest, "f", &bytes).unwrap_err();
        assert_eq!(older.to_string(), "f has format 1; this version reads 2");
    }
}
