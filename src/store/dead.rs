//! Dead rows of a segment: replaced or deleted, and not yet merged away. One small file a generation.

use std::path::Path;

use roaring::RoaringBitmap;

use super::bytes::Reader;
use super::disk::Disk;
use super::error::StoreError;
use super::frame::{self, Kind, Uuid};

pub(crate) fn name(segment: u64, generation: u64) -> String {
    format!("dead-{segment:08}-{generation:08}")
}

/// Writes the dead rows of a segment; returns when they are durable under their final name.
pub(crate) fn write(
    disk: &dyn Disk,
    dir: &Path,
    uuid: &Uuid,
    (segment, generation): (u64, u64),
    dead: &RoaringBitmap,
) -> Result<(), StoreError> {
    let name = name(segment, generation);
    let tmp = format!("tmp-{name}");
    let io = |action| StoreError::io(action, &name);
    let mut payload = segment.to_le_bytes().to_vec();
    // Without it an older file of the same segment could stand in for this one.
    payload.extend_from_slice(&generation.to_le_bytes());
    dead.serialize_into(&mut payload).map_err(io("write"))?;
    let mut file = disk.create(&dir.join(&tmp)).map_err(io("create"))?;
    file.write(&frame::seal(Kind::Dead, uuid, &payload)).map_err(io("write"))?;
    file.sync().map_err(io("sync"))?;
    disk.rename(&dir.join(&tmp), &dir.join(&name)).map_err(io("rename"))?;
    disk.sync_dir(dir).map_err(io("sync the directory of"))
}

/// Reads the dead rows of a segment of so many rows.
pub(crate) fn read(
    disk: &dyn Disk,
    dir: &Path,
    uuid: &Uuid,
    (segment, generation): (u64, u64),
    rows: u32,
) -> Result<RoaringBitmap, StoreError> {
    let name = name(segment, generation);
    let bytes = disk.read(&dir.join(&name)).map_err(StoreError::io("read", &name))?;
    let (its_uuid, payload) = frame::open(Kind::Dead, &name, &bytes)?;
    let damaged = |what| StoreError::Corrupt { file: name.clone(), offset: 40, what };
    let mut reader = Reader::new(payload);
    if its_uuid != *uuid || (reader.u64(), reader.u64()) != (Some(segment), Some(generation)) {
        return Err(damaged("another instance's or another segment's rows, or older ones"));
    }
    let bitmap = payload.get(16..).unwrap_or_default();
    let dead = RoaringBitmap::deserialize_from(bitmap).map_err(|_| damaged("not a Roaring bitmap"))?;
    match dead.max() {
        Some(max) if max >= rows => Err(damaged("a position lies outside")),
        _ => Ok(dead),
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::RealDisk;
    use super::*;

    #[test]
    fn neither_older_rows_nor_others_stand_in() {
        let dir = tempfile::tempdir().unwrap();
        let uuid = [7; 16];
        let of = |rows: &[u32]| rows.iter().copied().collect::<RoaringBitmap>();
        let write =
            |name: (u64, u64), rows: &[u32]| write(&RealDisk, dir.path(), &uuid, name, &of(rows)).unwrap();
        let read = |name| read(&RealDisk, dir.path(), &uuid, name, 10);
        write((4, 8), &[1]);
        write((4, 9), &[1, 2]);
        write((5, 9), &[3]);
        assert_eq!(read((4, 9)).unwrap(), of(&[1, 2]));
        for other in [name(4, 8), name(5, 9)] {
            std::fs::copy(dir.path().join(other), dir.path().join(name(4, 9))).unwrap();
            assert!(matches!(read((4, 9)), Err(StoreError::Corrupt { .. })));
        }
    }
}
