//! The manifest: which files make the state. A new one is written beside the old and renamed; the highest
//! number is the state.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::codec;
use super::disk::Disk;
use super::error::StoreError;
use super::frame::{self, Kind, Uuid};
use super::segment::SegmentFile;
use crate::tags::Schema;
use crate::vector::Layout;

/// What an instance was created as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) model_version: u32,
    pub(crate) description: String,
    /// The service's `level`.
    pub(crate) level: u64,
    /// Images the instance takes: `level`, or fewer.
    pub(crate) capacity: u64,
    /// Milliseconds since 1970-01-01 UTC.
    pub(crate) registered_ms: u64,
}

/// A sealed segment of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentEntry {
    pub(crate) id: u64,
    pub(crate) len: u64,
    pub(crate) rows: u32,
    pub(crate) crc: u32,
    /// Generation of the file that lists its dead rows, if it has any.
    pub(crate) dead: Option<u64>,
}

impl SegmentEntry {
    pub(crate) fn file(&self) -> SegmentFile {
        SegmentFile { len: self.len, rows: self.rows, crc: self.crc }
    }
}

/// What the log was when the instance was last closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CleanMark {
    pub(crate) len: u64,
    pub(crate) crc: u32,
}

/// The state of an instance, its log aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) generation: u64,
    pub(crate) about: About,
    pub(crate) schema: Schema,
    pub(crate) layout: Layout,
    pub(crate) segments: Vec<SegmentEntry>,
    /// The one log that is replayed over the segments, and the sequence of its first frame.
    pub(crate) log: u64,
    pub(crate) first_sequence: u64,
    /// Number of the next segment.
    pub(crate) next_segment: u64,
    /// Insertion number of the next image that is new, the log aside.
    pub(crate) next_order: u64,
    /// Set when the instance is closed, unset before the next change.
    pub(crate) clean: Option<CleanMark>,
}

/// Why a manifest could not be written.
#[derive(Debug)]
pub(crate) enum SwapError {
    /// The old manifest stands.
    Undone(StoreError),
    /// Which of the two stands is unknown until the next open.
    Unknown(StoreError),
}

impl SwapError {
    pub(crate) fn into_inner(self) -> StoreError {
        match self {
            Self::Undone(error) | Self::Unknown(error) => error,
        }
    }
}

pub(crate) fn name(generation: u64) -> String {
    format!("manifest-{generation:08}")
}

/// The number in a file name such as `log-00000012`.
pub(crate) fn number(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_prefix('-')?;
    (digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

impl Manifest {
    /// Reads the newest manifest of a directory. A damaged one is an error: its name says that it was durable,
    /// so an older one would silently lose what was acknowledged since.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<(Uuid, Self), StoreError> {
        let names = disk.list(dir).map_err(StoreError::io("list", "the instance's directory"))?;
        let newest = names.iter().filter_map(|name| number(name, "manifest")).max();
        let generation = newest.ok_or_else(|| StoreError::Missing { file: "manifest".to_owned() })?;
        let file = name(generation);
        let bytes = disk.read(&dir.join(&file)).map_err(StoreError::io("read", &file))?;
        let (uuid, payload) = frame::open(Kind::Manifest, &file, &bytes)?;
        let manifest: Self = codec::decode(payload)
            .filter(|m: &Self| m.generation == generation && m.layout.is_sound() && m.schema.is_sound())
            .ok_or(StoreError::Corrupt { file, offset: 0, what: "not a manifest" })?;
        Ok((uuid, manifest))
    }

    /// Writes this manifest as the newest. When it returns, this is the state, whatever happens.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path, uuid: &Uuid) -> Result<(), SwapError> {
        let (name, tmp) = (name(self.generation), format!("tmp-manifest-{:08}", self.generation));
        let too_large =
            StoreError::Corrupt { file: name.clone(), offset: 0, what: "the manifest is too large" };
        let payload = codec::encode(self).ok_or(SwapError::Undone(too_large))?;
        let io = |action| StoreError::io(action, &name);
        let write = || {
            let mut file = disk.create(&dir.join(&tmp)).map_err(io("create"))?;
            file.write(&frame::seal(Kind::Manifest, uuid, &payload)).map_err(io("write"))?;
            file.sync().map_err(io("sync"))
        };
        write().map_err(|error| {
            let _ = disk.remove_file(&dir.join(&tmp));
            SwapError::Undone(error)
        })?;
        disk.rename(&dir.join(&tmp), &dir.join(&name)).map_err(|e| SwapError::Unknown(io("rename")(e)))?;
        disk.sync_dir(dir).map_err(|e| SwapError::Unknown(io("sync the directory of")(e)))
    }
}
