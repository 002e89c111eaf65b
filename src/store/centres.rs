//! Centres of lists: one small file for each training.
//!
//! Payload: `id u64 | lists u32 | dims u32 | scales [lists, blocks] f32 | codes [lists, dims] i8`.

use std::path::Path;
use std::sync::Arc;

use super::bytes::Reader;
use super::disk::Disk;
use super::error::StoreError;
use super::frame::{self, Kind, Uuid};
use super::manifest::CentresEntry;
use crate::index::Centroids;
use crate::vector::Layout;

/// Centres in memory, with what the manifest says of them.
#[derive(Debug, Clone)]
pub(crate) struct Centres {
    pub(crate) entry: CentresEntry,
    pub(crate) centroids: Arc<Centroids>,
}

pub(crate) fn name(id: u64) -> String {
    format!("cent-{id:08}")
}

/// Writes centres, and gives the checksum of the file when it is durable under its final name.
pub(crate) fn write(
    disk: &dyn Disk,
    dir: &Path,
    uuid: &Uuid,
    id: u64,
    centroids: &Centroids,
) -> Result<u32, StoreError> {
    let name = name(id);
    let tmp = format!("tmp-{name}");
    let io = |action| StoreError::io(action, &name);
    let dims = centroids.codes().len() / centroids.lists().max(1);
    let mut payload = id.to_le_bytes().to_vec();
    payload.extend_from_slice(&(centroids.lists() as u32).to_le_bytes());
    payload.extend_from_slice(&(dims as u32).to_le_bytes());
    centroids.scales().iter().for_each(|scale| payload.extend_from_slice(&scale.to_le_bytes()));
    payload.extend(centroids.codes().iter().map(|code| code.cast_unsigned()));
    let bytes = frame::seal(Kind::Centres, uuid, &payload);
    let mut file = disk.create(&dir.join(&tmp)).map_err(io("create"))?;
    let written = file.write(&bytes).map_err(io("write")).and_then(|()| file.sync().map_err(io("sync")));
    if let Err(error) = written {
        let _ = disk.remove_file(&dir.join(&tmp));
        return Err(error);
    }
    disk.rename(&dir.join(&tmp), &dir.join(&name)).map_err(io("rename"))?;
    disk.sync_dir(dir).map_err(io("sync the directory of"))?;
    Ok(crc32fast::hash(&bytes))
}

/// Reads the centres that the manifest names. `weights` make the metric that rows are assigned by.
pub(crate) fn read(
    disk: &dyn Disk,
    dir: &Path,
    uuid: &Uuid,
    entry: &CentresEntry,
    layout: &Layout,
    weights: &[f32],
) -> Result<Centres, StoreError> {
    let name = name(entry.id);
    let bytes = disk.read(&dir.join(&name)).map_err(StoreError::io("read", &name))?;
    let (its_uuid, payload) = frame::open(Kind::Centres, &name, &bytes)?;
    let damaged = |what| StoreError::Corrupt { file: name.clone(), offset: 40, what };
    if its_uuid != *uuid || crc32fast::hash(&bytes) != entry.crc {
        return Err(damaged("not the centres that the manifest names"));
    }
    let blocks: Vec<usize> = layout.ranges().map(|range| range.len()).collect();
    let parse = || -> Option<(Vec<i8>, Vec<f32>)> {
        let mut reader = Reader::new(payload);
        let sound = reader.u64()? == entry.id;
        let (lists, dims) = (reader.u32()? as usize, reader.u32()? as usize);
        let scales = reader.take(lists.checked_mul(blocks.len() * 4)?)?;
        let codes = reader.take(lists.checked_mul(dims)?)?;
        let scales: Vec<f32> = scales.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let finite = scales.iter().all(|scale| scale.is_finite() && *scale >= 0.0);
        let sound = sound && lists > 0 && dims == layout.dims() && finite && reader.is_empty();
        sound.then(|| (codes.iter().map(|code| code.cast_signed()).collect(), scales))
    };
    let (codes, scales) = parse().ok_or_else(|| damaged("not centres of this instance"))?;
    let centroids = Arc::new(Centroids::new(&blocks, codes, scales, weights));
    Ok(Centres { entry: entry.clone(), centroids })
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::super::memory::MemoryDisk;
    use super::*;

    const UUID: Uuid = [3; 16];

    /// Centres of two lists of four values in one block.
    fn payload(id: u64, scales: [f32; 2]) -> Vec<u8> {
        let mut payload = id.to_le_bytes().to_vec();
        payload.extend([2u32, 4].iter().flat_map(|number| number.to_le_bytes()));
        payload.extend(scales.iter().flat_map(|scale| scale.to_le_bytes()));
        payload.extend([10, 20, 30, 40, 50, 60, 70, 80]);
        payload
    }

    fn read_as(uuid: &Uuid, entry: &CentresEntry, bytes: &[u8]) -> Result<Centres, StoreError> {
        let (disk, dir) = (MemoryDisk::new(1), Path::new("/centres"));
        disk.create_dirs(dir).unwrap();
        disk.create(&dir.join(name(entry.id))).unwrap().write(bytes).unwrap();
        read(&disk, dir, uuid, entry, &Layout::new(&[4]).unwrap(), &[1.0])
    }

    #[test]
    fn only_the_centres_that_the_manifest_names() {
        let bytes = frame::seal(Kind::Centres, &UUID, &payload(7, [0.5, 0.0]));
        let entry = CentresEntry { id: 7, crc: crc32fast::hash(&bytes), trained_at: 1, gaps: None };
        let centres = read_as(&UUID, &entry, &bytes).unwrap();
        assert_eq!((centres.centroids.lists(), centres.centroids.scales()), (2, &[0.5, 0.0][..]));

        let refused = |uuid: &Uuid, entry: &CentresEntry, bytes: &[u8]| {
            matches!(read_as(uuid, entry, bytes), Err(StoreError::Corrupt { .. }))
        };
        // Each alone is enough: another instance's, another file of the same number, another number.
        assert!(refused(&[4; 16], &entry, &bytes));
        assert!(refused(&UUID, &CentresEntry { crc: entry.crc ^ 1, ..entry.clone() }, &bytes));
        assert!(refused(&UUID, &CentresEntry { id: 8, ..entry }, &bytes));
    }

    #[test]
    fn forged_centres_are_refused() {
        let refused = |payload: &[u8]| {
            let bytes = frame::seal(Kind::Centres, &UUID, payload);
            let entry = CentresEntry { id: 7, crc: crc32fast::hash(&bytes), trained_at: 1, gaps: None };
            matches!(read_as(&UUID, &entry, &bytes), Err(StoreError::Corrupt { .. }))
        };
        let sound = payload(7, [0.5, 0.25]);
        assert!(!refused(&sound));
        for scale in [-0.5, f32::NAN, f32::INFINITY] {
            assert!(refused(&payload(7, [0.5, scale])), "{scale}");
        }
        for len in 0..sound.len() {
            assert!(refused(&sound[..len]), "{len} bytes");
        }
        assert!(refused(&[&sound[..], &[0]].concat()));
        // No lists at all, and other dimensions than the layout's: with what follows in keeping.
        let shaped = |lists: u32, dims: u32| {
            let shape = [lists, dims].map(u32::to_le_bytes).concat();
            let rest = vec![0; lists as usize * (4 + dims as usize)];
            [&7u64.to_le_bytes()[..], &shape, &rest].concat()
        };
        assert!(!refused(&shaped(2, 4)));
        assert!(refused(&shaped(0, 4)));
        assert!(refused(&shaped(2, 3)));
    }
}
