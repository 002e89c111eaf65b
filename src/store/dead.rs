//! Dead rows of a segment: replaced or deleted, and not yet merged away. One small file a generation.

use std::path::Path;

use roaring::RoaringBitmap;

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
    let (its_segment, bitmap) = payload.split_first_chunk().ok_or_else(|| damaged("cut short"))?;
    if its_uuid != *uuid || u64::from_le_bytes(*its_segment) != segment {
        return Err(damaged("another instance's or another segment's rows"));
    }
    let dead = RoaringBitmap::deserialize_from(bitmap).map_err(|_| damaged("not a Roaring bitmap"))?;
    match dead.max() {
        Some(max) if max >= rows => Err(damaged("a position lies outside")),
        _ => Ok(dead),
    }
}
