//! The manifest: which files make the state. A new one is written beside the old and renamed; the highest
//! number is the state.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::codec;
use super::disk::Disk;
use super::error::StoreError;
use super::frame::{self, Kind, MAX_NUMBER, Uuid};
use super::mend;
use super::segment::SegmentFile;
use crate::index::Gaps;
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
    /// The centres that its lists are around; none when its rows lie in the order of insertion.
    pub(crate) centres: Option<u64>,
}

impl SegmentEntry {
    pub(crate) fn file(&self) -> SegmentFile {
        SegmentFile { len: self.len, rows: self.rows, crc: self.crc }
    }
}

/// A log of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    pub(crate) id: u64,
    /// Sequence of its first frame.
    pub(crate) first_sequence: u64,
    /// What it was when the next log was begun; none for the last log, which grows.
    pub(crate) ended: Option<CleanMark>,
}

/// A file of centres that segments of the state have lists around, or that new ones will.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CentresEntry {
    pub(crate) id: u64,
    /// Checksum of the file.
    pub(crate) crc: u32,
    /// Images of the instance when they were trained.
    pub(crate) trained_at: u64,
    /// How far below the best list others are searched; none until it was measured.
    pub(crate) gaps: Option<Gaps>,
}

/// What a log was when the instance was last closed, or when the next log was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CleanMark {
    pub(crate) len: u64,
    pub(crate) crc: u32,
}

/// The state of an instance, its log aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) generation: u64,
    pub(crate) about: About,
    pub(crate) schema: Schema,
    pub(crate) layout: Layout,
    pub(crate) segments: Vec<SegmentEntry>,
    /// Logs that are replayed over the segments, one after another: the last grows, the others wait to be sealed.
    pub(crate) logs: Vec<LogEntry>,
    /// Centres, oldest first; new segments get lists around the last.
    pub(crate) centres: Vec<CentresEntry>,
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

/// Listings more that may show no manifest before there is none.
const LISTINGS: usize = 30;

/// The highest generation in a directory.
///
/// A directory is not listed in one moment: a listing may show neither a manifest that is being removed nor the one that has
/// taken its place. So it is listed until a listing shows nothing newer, and several times before there is none.
fn newest(disk: &dyn Disk, dir: &Path) -> Result<u64, StoreError> {
    let list = || -> Result<Option<u64>, StoreError> {
        let names = disk.list(dir).map_err(StoreError::io("list", "the instance's directory"))?;
        Ok(names.iter().filter_map(|name| number(name, "manifest")).max())
    };
    let mut newest = list()?;
    // Of 1,500 files, one listing in a hundred showed none while manifests took each other's place as fast as they could.
    for _ in 0..LISTINGS {
        if newest.is_none() {
            newest = list()?;
        }
    }
    loop {
        let again = list()?;
        if again <= newest {
            return newest.ok_or_else(|| StoreError::Missing { file: "manifest".to_owned() });
        }
        newest = again;
    }
}

impl Manifest {
    /// Reads the newest manifest of a directory. A damaged one is an error: its name says that it was durable,
    /// so an older one would silently lose what was acknowledged since.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<(Uuid, Self), StoreError> {
        let (mut generation, mut before) = (newest(disk, dir)?, None);
        let (file, bytes) = loop {
            let file = name(generation);
            match disk.read(&dir.join(&file)).map_err(StoreError::io("read", &file)) {
                Ok(bytes) => break (file, bytes),
                // A writer has put a newer one in its place meanwhile.
                Err(StoreError::Missing { .. }) if before.is_none_or(|before| before < generation) => {
                    before = Some(generation);
                    generation = newest(disk, dir)?;
                }
                Err(error) => return Err(error),
            }
        };
        Self::parse(&file, generation, &bytes)
    }

    pub(crate) fn parse(file: &str, generation: u64, bytes: &[u8]) -> Result<(Uuid, Self), StoreError> {
        let (uuid, payload) = frame::open(Kind::Manifest, file, bytes)?;
        let manifest =
            codec::decode(payload).filter(|m: &Self| m.generation == generation && m.is_sound()).ok_or_else(
                || StoreError::Corrupt { file: file.to_owned(), offset: 0, what: "not a manifest" },
            )?;
        Ok((uuid, manifest))
    }

    /// The newest manifest of a directory as it was before one byte of it was changed.
    pub(crate) fn mend(disk: &dyn Disk, dir: &Path) -> Option<(Uuid, Self)> {
        let generation = newest(disk, dir).ok()?;
        let file = name(generation);
        let bytes = disk.read(&dir.join(&file)).ok()?;
        let mended = mend::candidates(&bytes);
        let mut sound = mended.iter().filter_map(|bytes| Self::parse(&file, generation, bytes).ok());
        let one = sound.next();
        one.filter(|_| sound.next().is_none())
    }

    pub(crate) fn is_sound(&self) -> bool {
        let growing = self.logs.iter().rposition(|log| log.ended.is_none());
        let known = |id: u64| self.centres.iter().any(|centres| centres.id == id);
        let ids = self.segments.iter().map(|segment| segment.id).chain(self.logs.iter().map(|log| log.id));
        let mut numbers = ids
            .chain(self.logs.iter().map(|log| log.first_sequence))
            .chain(self.centres.iter().map(|centres| centres.id))
            .chain([self.generation, self.next_segment, self.next_order]);
        numbers.all(|number| number <= MAX_NUMBER)
            && self.layout.is_sound()
            && self.schema.is_sound()
            && growing.is_some_and(|last| last + 1 == self.logs.len())
            && self.logs.iter().filter(|log| log.ended.is_none()).count() == 1
            && self.segments.iter().all(|segment| segment.centres.is_none_or(known))
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
            if planted!(RenameBeforeSync) {
                disk.rename(&dir.join(&tmp), &dir.join(&name)).map_err(io("rename"))?;
                disk.sync_dir(dir).map_err(io("sync the directory of"))?;
                return file.sync().map_err(io("sync"));
            }
            file.sync().map_err(io("sync"))
        };
        write().map_err(|error| {
            let _ = disk.remove_file(&dir.join(&tmp));
            SwapError::Undone(error)
        })?;
        if planted!(RenameBeforeSync) {
            return Ok(());
        }
        disk.rename(&dir.join(&tmp), &dir.join(&name)).map_err(|e| SwapError::Unknown(io("rename")(e)))?;
        if planted!(NoDirectorySync) {
            return Ok(());
        }
        disk.sync_dir(dir).map_err(|e| SwapError::Unknown(io("sync the directory of")(e)))
    }
}
