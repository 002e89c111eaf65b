//! Segments whose checksums are made right, for fuzzing.

use super::super::bytes::Reader;
use super::super::frame::Uuid;
use super::{BLOCK, FOOTER, Kind, SegmentFile, TABLE_ENTRY};
use crate::vector::Layout;

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..).and_then(|bytes| Reader::new(bytes).u64())
}

fn usize_at(bytes: &[u8], at: usize) -> Option<usize> {
    u64_at(bytes, at).and_then(|number| usize::try_from(number).ok())
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// The bytes as a segment of this identity, number and layout whose every checksum is right, what a manifest would say
/// of it, and the centres that it names. None when there is no place for a footer and a table.
pub(crate) fn reseal(
    bytes: &[u8],
    uuid: &Uuid,
    id: u64,
    layout: &Layout,
) -> Option<(Vec<u8>, SegmentFile, Option<u64>)> {
    let mut file = bytes.to_vec();
    let at = file.len().checked_sub(FOOTER)?;
    let start = usize_at(&file, at + 64).filter(|&start| start <= at)?;
    let mut centres = None;
    for entry in (start..at).step_by(TABLE_ENTRY).filter(|entry| entry + TABLE_ENTRY <= at) {
        let kind = Reader::new(&file[entry..]).u32()?;
        let (offset, len, crcs) =
            (usize_at(&file, entry + 8)?, usize_at(&file, entry + 16)?, usize_at(&file, entry + 24)?);
        let Some(section) = offset.checked_add(len).and_then(|end| file.get(offset..end)) else { continue };
        if kind == Kind::Lists as u32 && !section.is_empty() {
            centres = u64_at(section, 0);
        }
        let own: Vec<u8> =
            section.chunks(BLOCK).flat_map(|block| crc32fast::hash(block).to_le_bytes()).collect();
        if crcs.checked_add(own.len()).is_some_and(|end| end <= start) {
            put(&mut file, crcs, &own);
            put(&mut file, entry + 4, &crc32fast::hash(&own).to_le_bytes());
        }
    }
    let rows = Reader::new(&file[at + 48..]).u32()?.min(1 << 16);
    let table = crc32fast::hash(&file[start..at]);
    let (len, shape) = (file.len() as u64, [rows, layout.dims() as u32, layout.blocks() as u32, table]);
    put(&mut file, at, super::MAGIC);
    put(&mut file, at + 16, uuid);
    put(&mut file, at + 32, &id.to_le_bytes());
    put(&mut file, at + 40, &len.to_le_bytes());
    shape.iter().enumerate().for_each(|(i, number)| put(&mut file, at + 48 + i * 4, &number.to_le_bytes()));
    let mut crc = crc32fast::Hasher::new();
    crc.update(&file[at..at + 12]);
    crc.update(&file[at + 16..]);
    let crc = crc.finalize();
    put(&mut file, at + 12, &crc.to_le_bytes());
    Some((file, SegmentFile { len, rows, crc }, centres))
}
