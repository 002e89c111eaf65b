//! The write-ahead log: frames of records, one a commit group.
//!
//! File header: `magic [8] | format u32 | crc u32 | instance uuid [16] | log id u64 | first sequence u64`.
//! Frame: `magic u32 | payload length u32 | sequence u64 | synced u64 | payload crc u32 | header crc u32 | payload`.
//! `synced` is the last sequence that was known to be on disk when the frame was written, and no frame is written
//! before the sync of the one before it returned (with [`Durability::Sync`]). So damage at or below the highest
//! `synced` of any later frame is corruption, and only damage beyond it is what a power cut leaves: a torn tail.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::bytes::Reader;
use super::disk::{Disk, DiskFile};
use super::error::StoreError;
use super::frame::{FORMAT, MAX_NUMBER, Uuid};

const MAGIC: &[u8; 8] = b"LOOKLOG\0";
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"LKFR");
pub(crate) const HEADER: usize = 48;
/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEADER: usize = 32;

/// Largest payload of a frame, in bytes. A commit group of more is written as several frames.
pub(crate) const MAX_PAYLOAD: usize = 16 << 20;

/// What `Ok` from a change means.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
/// let gallery = Gallery::builder(dir.path()).durability(Durability::Flush).open()?;
/// let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
/// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
/// // Everything before is synced now, as it is by sealing and by closing.
/// photos.optimize()?;
/// assert!(photos.check("a.jpg")?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Durability {
    /// The change is on disk: it was synced before the call returned.
    #[default]
    Sync,
    /// The change was handed to the operating system: it survives the process, not a power cut. What a power cut
    /// leaves is a prefix of the changes.
    Flush,
}

/// Name of a log file.
pub(crate) fn name(id: u64) -> String {
    format!("log-{id:08}")
}

/// A checksum that also says which log of which instance a header belongs to.
fn bound_crc(uuid: &Uuid, id: u64, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(uuid);
    hasher.update(&id.to_le_bytes());
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// A log open for appending.
pub(crate) struct LogWriter {
    file: Box<dyn DiskFile>,
    uuid: Uuid,
    id: u64,
    len: u64,
    next: u64,
    synced: u64,
    crc: crc32fast::Hasher,
    durability: Durability,
}

/// How an append failed.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// Nothing of the frame stays; the log can be written on.
    Undone(StoreError),
    /// What is on disk is unknown: nothing more may be written before the log is read again.
    Unknown(StoreError),
}

impl LogWriter {
    /// A new log under its final name, empty and durable. `tmp` is the name it is made under.
    pub(crate) fn create(
        disk: &dyn Disk,
        dir: &Path,
        uuid: &Uuid,
        id: u64,
        next: u64,
        durability: Durability,
    ) -> Result<Self, StoreError> {
        let (tmp, name) = (format!("tmp-log-{id:08}"), name(id));
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(uuid);
        header.extend_from_slice(&id.to_le_bytes());
        header.extend_from_slice(&next.to_le_bytes());
        let crc = bound_crc(uuid, id, &[&header[..12], &header[16..]]);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        let io = |action| StoreError::io(action, &name);
        let mut file = disk.create(&dir.join(&tmp)).map_err(io("create"))?;
        file.write(&header).map_err(io("write"))?;
        file.sync().map_err(io("sync"))?;
        disk.rename(&dir.join(&tmp), &dir.join(&name)).map_err(io("rename"))?;
        if !planted!(NoDirectorySync) {
            disk.sync_dir(dir).map_err(io("sync the directory of"))?;
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&header);
        Ok(Self { file, uuid: *uuid, id, len: HEADER as u64, next, synced: next - 1, crc, durability })
    }

    /// Goes on with a log that was read: cuts what was torn, makes the cut and everything before it durable.
    ///
    /// Frames that no later one proves to be on disk may be there in the system's memory alone: after a sync that failed
    /// Linux takes pages for written that are not, and shows them to whoever reads the file, until the power is cut. So
    /// unless the log is known to be `proven`, these frames are written again, over themselves, before the sync.
    pub(crate) fn resume(
        disk: &dyn Disk,
        dir: &Path,
        uuid: &Uuid,
        log: &ReadLog,
        proven: bool,
        durability: Durability,
    ) -> Result<Self, StoreError> {
        let io = |action| StoreError::io(action, &log.name);
        let len = if planted!(TornTailKept) { log.len + log.torn } else { log.len };
        let mut file = disk.append(&dir.join(&log.name), len).map_err(io("open"))?;
        if !proven && !log.unproven.is_empty() {
            file.rewrite(log.len - log.unproven.len() as u64, &log.unproven).map_err(io("append to"))?;
        }
        file.sync().map_err(io("sync"))?;
        Ok(Self {
            file,
            uuid: *uuid,
            id: log.id,
            len,
            next: if planted!(WrongSequence) { log.next + 1 } else { log.next },
            synced: log.next - 1,
            crc: log.crc.clone(),
            durability,
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Sequence of the next frame.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Checksum of the whole file.
    pub(crate) fn crc(&self) -> u32 {
        self.crc.clone().finalize()
    }

    /// Appends one frame and, unless the durability is [`Durability::Flush`], syncs it. `frame` is [`FRAME_HEADER`] bytes of
    /// room, then its payload.
    pub(crate) fn append(&mut self, mut frame: Vec<u8>) -> Result<(), AppendError> {
        self.head(&mut frame);
        let name = name(self.id);
        if planted!(AcknowledgedBeforeSync) {
            let _ = self.file.sync();
        }
        if let Err(error) = self.file.write(&frame) {
            let failed = StoreError::io("append to", &name)(error);
            return Err(match self.file.cut(self.len) {
                Ok(()) => AppendError::Undone(failed),
                Err(_) => AppendError::Unknown(failed),
            });
        }
        if self.durability == Durability::Sync {
            // After a failed sync the kernel may have dropped the pages and marked them clean: a second sync
            // would succeed and prove nothing. So this is never retried.
            self.sync_frame().map_err(|e| AppendError::Unknown(StoreError::io("sync", &name)(e)))?;
            self.synced = self.next;
        }
        self.crc.update(&frame);
        self.len += frame.len() as u64;
        self.next += 1;
        Ok(())
    }

    fn sync_frame(&mut self) -> io::Result<()> {
        if planted!(NoSync) {
            return Ok(());
        }
        if planted!(AcknowledgedBeforeSync) {
            return Ok(());
        }
        self.file.sync().or_else(|error| if planted!(RetriedSync) { self.file.sync() } else { Err(error) })
    }

    /// Whether everything appended so far is durable.
    pub(crate) fn is_synced(&self) -> bool {
        self.synced + 1 == self.next
    }

    /// Makes everything appended so far durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.file.sync().map_err(StoreError::io("sync", &name(self.id)))?;
        self.synced = self.next - 1;
        Ok(())
    }

    /// Writes the header of a frame into its room.
    fn head(&self, frame: &mut [u8]) {
        let (room, payload) = frame.split_at_mut(FRAME_HEADER);
        let mut header = Vec::with_capacity(FRAME_HEADER);
        header.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
        header.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        header.extend_from_slice(&self.next.to_le_bytes());
        header.extend_from_slice(&self.synced.to_le_bytes());
        header.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
        let crc = bound_crc(&self.uuid, self.id, &[&header]);
        header.extend_from_slice(&crc.to_le_bytes());
        room.copy_from_slice(&header);
    }
}

/// What a log file holds.
#[derive(Debug)]
pub(crate) struct ReadLog {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// Bytes of sound frames; what lies beyond is a torn tail.
    pub(crate) len: u64,
    pub(crate) torn: u64,
    /// Sequence after the last sound frame.
    pub(crate) next: u64,
    pub(crate) crc: crc32fast::Hasher,
    /// The last of the sound frames, which no later one proves to have been synced.
    pub(crate) unproven: Vec<u8>,
    /// Where each sound frame's payload lies in the file.
    pub(crate) payloads: Vec<std::ops::Range<usize>>,
}

struct FrameHeader {
    len: usize,
    sequence: u64,
    synced: u64,
    crc: u32,
}

fn frame_header(bytes: &[u8], uuid: &Uuid, id: u64) -> Option<FrameHeader> {
    let mut reader = Reader::new(bytes);
    if reader.u32()? != FRAME_MAGIC {
        return None;
    }
    let len = reader.u32()? as usize;
    let (sequence, synced, crc, header_crc) = (reader.u64()?, reader.u64()?, reader.u32()?, reader.u32()?);
    let sound = bound_crc(uuid, id, &[bytes.get(..FRAME_HEADER - 4)?]) == header_crc && len <= MAX_PAYLOAD;
    let sound = sound && sequence <= MAX_NUMBER;
    sound.then_some(FrameHeader { len, sequence, synced, crc })
}

/// Reads a log: its sound frames, and whether what follows them is a torn tail or corruption.
///
/// `first` is the sequence the log must begin with, when it is known.
pub(crate) fn read(bytes: &[u8], uuid: &Uuid, id: u64, first: Option<u64>) -> Result<ReadLog, StoreError> {
    let name = name(id);
    let damaged =
        |offset: usize, what| StoreError::Corrupt { file: name.clone(), offset: offset as u64, what };
    let next = header(bytes, uuid, id).map_err(|error| match error {
        HeaderError::Damaged(offset, what) => damaged(offset, what),
        HeaderError::Newer(found) => StoreError::Format { file: name.clone(), found, known: FORMAT },
    })?;
    if next == 0 || next > MAX_NUMBER || first.is_some_and(|first| first != next) {
        return Err(damaged(40, "the sequence does not follow the log before"));
    }
    let (mut next, mut at, mut payloads) = (next, HEADER, Vec::new());
    let (mut synced, first) = (0, next);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let sound = frame_header(rest, uuid, id)
            .filter(|frame| frame.sequence == next && frame.synced < next)
            .and_then(|frame| {
                let payload = rest.get(FRAME_HEADER..FRAME_HEADER + frame.len)?;
                (crc32fast::hash(payload) == frame.crc || planted!(NoChecksum))
                    .then_some((frame.len, frame.synced))
            });
        let Some((len, its_synced)) = sound else {
            if later_frames_prove(rest, uuid, id, next) {
                return Err(damaged(at, "a frame that was on disk is not sound"));
            }
            break;
        };
        payloads.push(at + FRAME_HEADER..at + FRAME_HEADER + len);
        synced = its_synced.max(synced);
        at += FRAME_HEADER + len;
        next += 1;
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..at]);
    let proven = usize::try_from((synced + 1).saturating_sub(first)).unwrap_or(usize::MAX);
    let unproven = payloads.get(proven).map(|payload| bytes[payload.start - FRAME_HEADER..at].to_vec());
    Ok(ReadLog {
        id,
        name,
        len: at as u64,
        torn: (bytes.len() - at) as u64,
        next,
        crc,
        unproven: unproven.unwrap_or_default(),
        payloads,
    })
}

/// What can still be read of a damaged log.
#[derive(Debug, Default)]
pub(crate) struct SalvagedLog {
    /// Sound frames: the sequence of each, and where its payload lies.
    pub(crate) frames: Vec<(u64, std::ops::Range<usize>)>,
    /// What lies between them.
    pub(crate) lost: Vec<std::ops::Range<usize>>,
}

/// Finds the sound frames of a log, before any damage and after it.
pub(crate) fn salvage(bytes: &[u8], uuid: &Uuid, id: u64) -> SalvagedLog {
    let (mut found, mut at, mut last) = (SalvagedLog::default(), HEADER.min(bytes.len()), 0);
    let mut lost_from = at;
    while at < bytes.len() {
        let sound =
            frame_header(&bytes[at..], uuid, id).filter(|frame| frame.sequence > last).and_then(|frame| {
                let payload = at + FRAME_HEADER..at + FRAME_HEADER + frame.len;
                let bytes = bytes.get(payload.clone())?;
                (crc32fast::hash(bytes) == frame.crc).then_some((frame.sequence, payload))
            });
        let Some((sequence, payload)) = sound else {
            at += 1;
            continue;
        };
        if lost_from < at {
            found.lost.push(lost_from..at);
        }
        (at, lost_from, last) = (payload.end, payload.end, sequence);
        found.frames.push((sequence, payload));
    }
    if lost_from < at {
        found.lost.push(lost_from..at);
    }
    found
}

/// Where the payload of a frame would lie that is lost in `range`.
pub(crate) fn payload_of(range: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    (range.start + FRAME_HEADER).min(range.end)..range.end
}

/// A log whose checksums are made right, whatever it says.
#[cfg(feature = "fuzzing")]
pub(crate) fn reseal(bytes: &[u8], uuid: &Uuid, id: u64) -> Vec<u8> {
    let mut log = bytes.to_vec();
    if log.len() < HEADER {
        return log;
    }
    log[16..32].copy_from_slice(uuid);
    log[32..40].copy_from_slice(&id.to_le_bytes());
    let crc = bound_crc(uuid, id, &[&log[..12], &log[16..HEADER]]);
    log[12..16].copy_from_slice(&crc.to_le_bytes());
    let mut at = HEADER;
    while let Some(len) = log.get(at + 4..at + FRAME_HEADER).and_then(|header| Reader::new(header).u32()) {
        let payload = at + FRAME_HEADER..(at + FRAME_HEADER).saturating_add(len as usize);
        let Some(crc) = log.get(payload.clone()).map(crc32fast::hash) else { break };
        log[at + 24..at + 28].copy_from_slice(&crc.to_le_bytes());
        let crc = bound_crc(uuid, id, &[&log[at..at + 28]]);
        log[at + 28..at + 32].copy_from_slice(&crc.to_le_bytes());
        at = payload.end;
    }
    log
}

enum HeaderError {
    Damaged(usize, &'static str),
    Newer(u32),
}

/// The first sequence of a log.
fn header(bytes: &[u8], uuid: &Uuid, id: u64) -> Result<u64, HeaderError> {
    let cut = HeaderError::Damaged(0, "cut short");
    let mut reader = Reader::new(bytes);
    if reader.array::<8>().as_ref() != Some(MAGIC) {
        return Err(HeaderError::Damaged(0, "not a log"));
    }
    let (Some(format), Some(crc)) = (reader.u32(), reader.u32()) else { return Err(cut) };
    let (Some(head), Some(tail)) = (bytes.get(..12), bytes.get(16..HEADER)) else { return Err(cut) };
    if bound_crc(uuid, id, &[head, tail]) != crc {
        // A log of ours but for the number of its format is damaged, not newer.
        let ours = || bound_crc(uuid, id, &[&head[..8], &FORMAT.to_le_bytes(), tail]) == crc;
        return Err(if format > FORMAT && !ours() {
            HeaderError::Newer(format)
        } else {
            HeaderError::Damaged(12, "the checksum does not match, or it is another instance's log")
        });
    }
    if format != FORMAT {
        return Err(HeaderError::Newer(format));
    }
    let (Some(_), Some(_), Some(next)) = (reader.array::<16>(), reader.u64(), reader.u64()) else {
        return Err(cut);
    };
    Ok(next)
}

/// Whether a later frame says that `sequence` was on disk.
fn later_frames_prove(rest: &[u8], uuid: &Uuid, id: u64, sequence: u64) -> bool {
    let magic = FRAME_MAGIC.to_le_bytes();
    (1..rest.len())
        .filter(|&at| rest[at..].starts_with(&magic))
        .filter_map(|at| frame_header(&rest[at..], uuid, id))
        .any(|frame| frame.sequence > sequence && frame.synced >= sequence)
}

#[cfg(test)]
mod tests {
    use super::super::disk::RealDisk;
    use super::*;

    const UUID: Uuid = [3; 16];

    fn framed(payload: &[u8]) -> Vec<u8> {
        [&[0; FRAME_HEADER], payload].concat()
    }

    fn write(payloads: &[&[u8]], durability: Durability) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::create(&RealDisk, dir.path(), &UUID, 5, 10, durability).unwrap();
        payloads.iter().for_each(|payload| log.append(framed(payload)).unwrap());
        let bytes = std::fs::read(dir.path().join("log-00000005")).unwrap();
        assert_eq!((bytes.len() as u64, crc32fast::hash(&bytes)), (log.len(), log.crc()));
        bytes
    }

    #[test]
    fn comes_back() {
        let bytes = write(&[b"one", b"", b"three"], Durability::Sync);
        let log = read(&bytes, &UUID, 5, Some(10)).unwrap();
        let payloads: Vec<&[u8]> = log.payloads.iter().map(|r| &bytes[r.clone()]).collect();
        assert_eq!(payloads, [&b"one"[..], b"", b"three"]);
        assert_eq!((log.next, log.torn), (13, 0));
        assert!(read(&bytes, &UUID, 5, Some(9)).is_err());
        assert!(read(&bytes, &UUID, 6, None).is_err());
        assert!(read(&bytes, &[4; 16], 5, None).is_err());
    }

    #[test]
    fn a_salvage_finds_sound_frames_and_what_lies_between() {
        let bytes = write(&[b"one", b"two", b"three", b"four"], Durability::Sync);
        let frame = |n: usize| HEADER + [0, 3, 6, 11, 15][n] + n * FRAME_HEADER;
        let payload = |n: usize| frame(n) + FRAME_HEADER..frame(n + 1);
        let whole = salvage(&bytes, &UUID, 5);
        assert_eq!(whole.frames, [(10, payload(0)), (11, payload(1)), (12, payload(2)), (13, payload(3))]);
        assert!(whole.lost.is_empty());
        // The second frame damaged, the fourth cut.
        let mut damaged = bytes[..bytes.len() - 1].to_vec();
        damaged[payload(1).start] ^= 1;
        let salvaged = salvage(&damaged, &UUID, 5);
        assert_eq!(salvaged.frames, [(10, payload(0)), (12, payload(2))]);
        assert_eq!(salvaged.lost, [frame(1)..frame(2), frame(3)..damaged.len()]);
        assert_eq!(payload_of(&salvaged.lost[0]), payload(1));
        assert_eq!(payload_of(&(100..105)), 105..105);
    }

    #[cfg(feature = "fuzzing")]
    #[test]
    fn resealed_logs_are_read_whatever_they_say() {
        let sound = write(&[b"one", b"two", b"three"], Durability::Sync);
        let mut bytes = sound.clone();
        // The uuid, and a byte of two payloads.
        for at in [20, HEADER + FRAME_HEADER, sound.len() - 1] {
            bytes[at] ^= 1;
        }
        assert!(read(&bytes, &UUID, 5, None).is_err());
        let log = reseal(&bytes, &UUID, 5);
        let read = read(&log, &UUID, 5, Some(10)).unwrap();
        let payloads: Vec<&[u8]> = read.payloads.iter().map(|r| &log[r.clone()]).collect();
        assert_eq!(payloads, [&b"nne"[..], b"two", b"thred"]);
        assert_eq!(reseal(&sound, &UUID, 5), sound);
    }

    #[test]
    fn what_no_later_frame_proves_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log-00000005");
        for (durability, unproven) in [(Durability::Sync, 1), (Durability::Flush, 3)] {
            let mut log = LogWriter::create(&RealDisk, dir.path(), &UUID, 5, 10, durability).unwrap();
            [&b"one"[..], b"two", b"three"].iter().for_each(|payload| log.append(framed(payload)).unwrap());
            drop(log);
            let bytes = std::fs::read(&path).unwrap();
            let read_log = read(&bytes, &UUID, 5, None).unwrap();
            let first = read_log.payloads[3 - unproven].start - FRAME_HEADER;
            assert_eq!(read_log.unproven, &bytes[first..], "{durability:?}");
            let mut log =
                LogWriter::resume(&RealDisk, dir.path(), &UUID, &read_log, false, durability).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
            log.append(framed(b"four")).unwrap();
            let read_log = read(&std::fs::read(&path).unwrap(), &UUID, 5, None).unwrap();
            assert_eq!((read_log.payloads.len(), read_log.torn), (4, 0));
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_cut_tail_is_torn_at_any_length() {
        let bytes = write(&[b"one", b"two"], Durability::Sync);
        let second = HEADER + FRAME_HEADER + 3;
        for len in HEADER..bytes.len() {
            let log = read(&bytes[..len], &UUID, 5, None).unwrap();
            let sound = if len < second { HEADER } else { second };
            assert_eq!((log.len, log.torn), (sound as u64, (len - sound) as u64), "cut at {len}");
        }
        for len in 0..HEADER {
            assert!(read(&bytes[..len], &UUID, 5, None).is_err(), "a log is made whole: cut at {len}");
        }
    }

    #[test]
    fn damage_below_the_synced_mark_is_corruption() {
        let bytes = write(&[b"one", b"two", b"three"], Durability::Sync);
        let last = bytes.len() - FRAME_HEADER - 5;
        let mut seen = 0;
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let result = read(&flipped, &UUID, 5, None);
            if at < last {
                assert!(result.is_err(), "flip at {at}");
            } else {
                assert_eq!(
                    result.unwrap().len as usize,
                    last,
                    "the last frame alone looks torn: flip at {at}"
                );
            }
            seen += 1;
        }
        assert_eq!(seen, bytes.len());
    }

    /// Found by fuzzing: a checksum says nothing of sense.
    #[test]
    fn sequences_beyond_all_numbers_are_damage() {
        let mut bytes = write(&[b"one"], Durability::Sync);
        bytes[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
        let crc = bound_crc(&UUID, 5, &[&bytes[..12], &bytes[16..HEADER]]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(read(&bytes, &UUID, 5, None), Err(StoreError::Corrupt { offset: 40, .. })));
    }

    #[test]
    fn unsynced_frames_may_be_lost_from_the_middle() {
        let bytes = write(&[b"one", b"two", b"three"], Durability::Flush);
        let mut flipped = bytes.clone();
        flipped[HEADER + FRAME_HEADER] ^= 1;
        assert_eq!(read(&flipped, &UUID, 5, None).unwrap().len as usize, HEADER);
    }
}
