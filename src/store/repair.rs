//! Making a damaged store whole again from what is sound in it.
//!
//! Sound segments stay as they are. Sound rows of damaged segments and sound frames of damaged logs go, in the order in which
//! they count, into new segments; then a new manifest names these, and an empty log. Damaged files are kept under
//! `damaged-*`. They are renamed before anything else, and looked for under both names: so a repair that was cut short
//! is begun again and comes to the same end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use roaring::RoaringBitmap;

use super::centres::{self, Centres};
use super::compact::LiveRows;
use super::dead;
use super::disk::{Disk, DiskLock};
use super::draft::Draft;
use super::error::StoreError;
use super::frame::Uuid;
use super::log::{self, LogWriter};
use super::manifest::{self, CleanMark, LogEntry, Manifest, SegmentEntry};
use super::record::{self, Record};
use super::recover::OpenError;
use super::segment::{self, Salvage, Segment};
use super::snapshot::{Sealed, Snapshot, path_hash};
use super::{READERS, WRITER};
use crate::cancel::Stop;
use crate::vector::Layout;

/// Rows gathered in memory before they become a segment.
const RUN: u32 = 1 << 18;

/// What a repair did; see [`Gallery::repair`](crate::Gallery::repair).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// Images of the instance now.
    pub images: u64,
    /// The damaged files; empty when nothing was damaged, and then nothing was changed.
    pub damaged: Vec<DamagedFile>,
    /// Images of segments that could not be read whole, and are gone.
    pub lost_images: u64,
    /// The paths of these images that could be read.
    pub lost_paths: Vec<String>,
    /// Bytes of logs that could not be read, those included that a crash tore from the end; of a log that ends
    /// early nobody knows how many are missing, unless the instance was closed. What they changed did not happen: an image
    /// that they added is gone, one that they replaced or deleted is what it was before.
    pub lost_log_bytes: u64,
    /// Commits that are missing between others. Those lost at the end of the log are not counted, for nobody knows
    /// how many there were.
    pub lost_commits: u64,
    /// Paths that the unreadable part of a log seems to name.
    pub lost_log_paths: Vec<String>,
    /// Images that may have been deleted or replaced earlier: the list of what was deleted in their segment is lost.
    pub uncertain_paths: Vec<String>,
}

/// A damaged file, and what became of it: [`Repaired::damaged`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedFile {
    /// Its name.
    pub file: String,
    /// The name it has now, in the same directory; none when it was missing.
    pub kept_as: Option<String>,
    /// What is wrong with it.
    pub damage: String,
}

impl Repaired {
    /// Whether nothing was damaged.
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty()
    }
}

/// A store that nobody has open, whose manifest was read.
pub(crate) struct Repairing {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    names: Vec<String>,
    uuid: Uuid,
    manifest: Manifest,
    /// The manifest's file, and what was wrong with it.
    mended: Option<(String, StoreError)>,
    _locks: [Box<dyn DiskLock>; 2],
}

/// A segment of the manifest as it was found.
struct Found {
    entry: SegmentEntry,
    /// None when it is not sound as a whole.
    segment: Option<Segment>,
    /// None when the list of dead rows is lost.
    dead: Option<RoaringBitmap>,
}

impl Repairing {
    /// Locks a store against everybody, and reads its manifest. One damaged byte in that is mended by its checksum.
    pub(crate) fn begin(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, OpenError> {
        let lock = |file: &str| {
            let lock = disk.lock(&dir.join(file), true);
            let lock = lock.map_err(|e| OpenError::Lock(StoreError::io("lock", file)(e)))?;
            lock.ok_or(OpenError::Lock(StoreError::Locked))
        };
        let locks = [lock(WRITER)?, lock(READERS)?];
        let list = || disk.list(dir).map_err(StoreError::io("list", "the instance's directory"));
        let names = list().map_err(OpenError::Manifest)?;
        let (uuid, manifest, mended) = match Manifest::read(&*disk, dir) {
            Ok((uuid, manifest)) => (uuid, manifest, None),
            Err(error) => {
                let found = Manifest::mend(&*disk, dir);
                let Some((uuid, manifest)) = found else { return Err(OpenError::Manifest(error)) };
                let file = manifest::name(manifest.generation);
                (uuid, manifest, Some((file, error)))
            }
        };
        Ok(Self { disk, dir: dir.to_owned(), names, uuid, manifest, mended, _locks: locks })
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Finds what is damaged, and if anything is, makes a state of the rest. `weights` are those of the default mode.
    pub(crate) fn finish(mut self, weights: &[f32]) -> Result<Repaired, StoreError> {
        let mut report = Repaired::default();
        if let Some((file, error)) = self.mended.take() {
            note(&mut report, &file, &error);
        }
        let centres = self.sound_centres(weights, &mut report)?;
        let found = self.segments(&centres, &mut report)?;
        let logs = self.logs(&mut report)?;
        if report.is_whole() {
            let mut state = self.base(centres);
            let sealed = found.into_iter().filter_map(|found| {
                Some(Sealed { segment: Arc::new(found.segment?), dead: Arc::new(found.dead?) })
            });
            state.sealed.extend(sealed);
            for log in &logs {
                (state, _) = self.replay(&state, log)?;
            }
            report.images = state.live();
            return Ok(report);
        }
        for damaged in &mut report.damaged {
            // The manifest stays until another takes its place.
            if number_of(&damaged.file).is_none() {
                damaged.kept_as = self.put_aside(&damaged.file)?;
            }
        }
        self.rebuild(centres, found, &logs, &mut report)?;
        Ok(report)
    }

    /// The name that a file has now: a repair that was cut short may have put it aside.
    fn name_of(&self, file: &str) -> String {
        let aside = aside(file);
        let there = |name: &str| self.names.iter().any(|n| n == name);
        if !there(file) && there(&aside) { aside } else { file.to_owned() }
    }

    fn put_aside(&mut self, file: &str) -> Result<Option<String>, StoreError> {
        let (now, aside) = (self.name_of(file), aside(file));
        if !self.names.contains(&now) {
            return Ok(None);
        }
        if now != aside {
            let moved = self.disk.rename(&self.dir.join(file), &self.dir.join(&aside));
            moved.and_then(|()| self.disk.sync_dir(&self.dir)).map_err(StoreError::io("rename", file))?;
            self.names.retain(|name| name != file);
            self.names.push(aside.clone());
        }
        Ok(Some(aside))
    }

    fn sound_centres(&self, weights: &[f32], report: &mut Repaired) -> Result<Vec<Centres>, StoreError> {
        let (disk, dir) = (&*self.disk, self.dir.as_path());
        let mut sound = Vec::new();
        for entry in &self.manifest.centres {
            match centres::read(disk, dir, &self.uuid, entry, &self.manifest.layout, weights) {
                Ok(centres) => sound.push(centres),
                Err(error) => damaged(report, &centres::name(entry.id), error)?,
            }
        }
        Ok(sound)
    }

    fn segments(&self, centres: &[Centres], report: &mut Repaired) -> Result<Vec<Found>, StoreError> {
        let (disk, dir, uuid) = (&*self.disk, self.dir.as_path(), &self.uuid);
        let mut found = Vec::new();
        for entry in &self.manifest.segments {
            let layout = &self.manifest.layout;
            let opened = Segment::open(disk, dir, uuid, entry.id, layout, entry.file(), entry.centres)
                .and_then(|segment| segment.verify(uuid, entry.id, layout, entry.crc).map(|()| segment));
            let segment = match opened {
                Ok(segment) => {
                    // Lists without their centres are of no use, but its rows are.
                    let own = |id: u64| {
                        let lists = |c: &Centres| c.entry.id == id && c.centroids.lists() == segment.lists();
                        centres.iter().any(lists)
                    };
                    Some(entry.centres.is_none_or(own)).filter(|&listed| listed).map(|_| segment)
                }
                Err(error) => {
                    damaged(report, &segment::name(entry.id), error)?;
                    None
                }
            };
            let dead = match entry.dead {
                None => Some(RoaringBitmap::new()),
                Some(generation) => match dead::read(disk, dir, uuid, (entry.id, generation), entry.rows) {
                    Ok(dead) => Some(dead),
                    Err(error) => {
                        damaged(report, &dead::name(entry.id, generation), error)?;
                        None
                    }
                },
            };
            found.push(Found { entry: entry.clone(), segment, dead });
        }
        Ok(found)
    }

    /// The bytes of each log, with its sound frames.
    fn logs(&self, report: &mut Repaired) -> Result<Vec<ReadLog>, StoreError> {
        let (mut logs, mut first) = (Vec::new(), None);
        for entry in &self.manifest.logs {
            let name = log::name(entry.id);
            let first_sequence = first.unwrap_or(entry.first_sequence);
            let read =
                self.disk.read(&self.dir.join(self.name_of(&name))).map_err(StoreError::io("read", &name));
            let (bytes, missing) = match read {
                Ok(bytes) => (bytes, false),
                Err(error) => {
                    damaged(report, &name, error)?;
                    (Vec::new(), true)
                }
            };
            let mark = entry.ended.or(self.manifest.clean);
            let whole = log::read(&bytes, &self.uuid, entry.id, Some(first_sequence)).and_then(|log| {
                let same = |mark: CleanMark| {
                    bytes.len() as u64 == mark.len && crc32fast::hash(&bytes) == mark.crc && log.torn == 0
                };
                let what = "the log is not what it was when it was closed";
                let changed = || StoreError::Corrupt { file: name.clone(), offset: log.len, what };
                if mark.is_none_or(same) { Ok(log.torn) } else { Err(changed()) }
            });
            let salvaged = log::salvage(&bytes, &self.uuid, entry.id);
            first = Some(salvaged.frames.last().map_or(first_sequence, |(last, _)| last + 1));
            match whole {
                // What a crash tore was never acknowledged, and is no damage.
                Ok(torn) => report.lost_log_bytes += torn,
                Err(error) => {
                    if !missing {
                        damaged(report, &name, error)?;
                    }
                    self.note_lost(&bytes, &salvaged, mark, first_sequence, report);
                }
            }
            logs.push(ReadLog { bytes, frames: salvaged.frames, next: first.unwrap_or(first_sequence) });
        }
        Ok(logs)
    }

    /// Notes what cannot be read of a log.
    fn note_lost(
        &self,
        bytes: &[u8],
        salvaged: &log::SalvagedLog,
        mark: Option<CleanMark>,
        mut expected: u64,
        report: &mut Repaired,
    ) {
        let lost = salvaged.lost.iter().map(|range| range.len() as u64).sum::<u64>();
        let short = mark.map_or(0, |mark| mark.len.saturating_sub(bytes.len() as u64));
        report.lost_log_bytes += lost + short;
        let named = |lost| record::named(&bytes[log::payload_of(lost)], &self.manifest.layout);
        report.lost_log_paths.extend(salvaged.lost.iter().flat_map(named).map(|path| path.to_string()));
        for (sequence, _) in &salvaged.frames {
            report.lost_commits += sequence.saturating_sub(expected);
            expected = sequence + 1;
        }
    }

    /// A state without images.
    fn base(&self, centres: Vec<Centres>) -> Snapshot {
        Snapshot {
            uuid: self.uuid,
            layout: Arc::new(self.manifest.layout.clone()),
            schema: Arc::new(self.manifest.schema.clone()),
            centres,
            sealed: Vec::new(),
            frozen: Vec::new(),
            tail: Default::default(),
            tail_dead: Default::default(),
        }
    }

    fn rebuild(
        &self,
        centres: Vec<Centres>,
        found: Vec<Found>,
        logs: &[ReadLog],
        report: &mut Repaired,
    ) -> Result<(), StoreError> {
        let mut state = self.base(centres);
        let mut next = self.manifest.clone();
        next.segments.clear();
        let (mut unknown, mut broken) = (Vec::new(), Vec::new());
        for Found { entry, segment, dead } in found {
            match segment {
                Some(segment) => {
                    if dead.is_none() {
                        unknown.push(next.segments.len() as u32);
                    }
                    let (segment, dead) = (Arc::new(segment), Arc::new(dead.unwrap_or_default()));
                    state.sealed.push(Sealed { segment, dead });
                    next.segments.push(entry);
                }
                None => broken.push((entry, dead)),
            }
        }
        for part in unknown {
            self.guess_dead(&mut state, part, report)?;
        }
        for (entry, dead) in broken {
            state = self.salvage(state, &mut next, &entry, dead.as_ref(), report)?;
        }
        let mut sequence = 1;
        for log in logs {
            let (replayed, next_order) = self.replay(&state, log)?;
            (state, sequence) = (replayed, log.next);
            next.next_order = next.next_order.max(next_order);
            if state.tail.rows() >= RUN {
                self.settle(&mut state, &mut next)?;
            }
        }
        self.settle(&mut state, &mut next)?;
        self.publish(&state, next, sequence, report)?;
        report.images = state.live();
        Ok(())
    }

    /// Takes rows of a segment whose list of dead rows is lost for dead when their paths live elsewhere.
    fn guess_dead(&self, state: &mut Snapshot, part: u32, report: &mut Repaired) -> Result<(), StoreError> {
        let Some(own) = state.sealed.get(part as usize).map(|sealed| sealed.segment.clone()) else {
            return Ok(());
        };
        let mut dead = RoaringBitmap::new();
        for position in 0..own.rows() {
            let path = own.path(position)?;
            let hash = path_hash(&self.uuid, path);
            let others = state.sealed.iter().filter(|other| !Arc::ptr_eq(&other.segment, &own));
            let mut elsewhere = false;
            for other in others {
                elsewhere = elsewhere || other.segment.find(path, hash, &other.dead)?.is_some();
            }
            if elsewhere {
                dead.insert(position);
            } else {
                report.uncertain_paths.push(path.to_owned());
            }
        }
        if let Some(sealed) = state.sealed.get_mut(part as usize) {
            sealed.dead = Arc::new(dead);
        }
        Ok(())
    }

    /// Takes the sound rows of a damaged segment into the state.
    fn salvage(
        &self,
        mut state: Snapshot,
        next: &mut Manifest,
        entry: &SegmentEntry,
        dead: Option<&RoaringBitmap>,
        report: &mut Repaired,
    ) -> Result<Snapshot, StoreError> {
        let layout: &Layout = &self.manifest.layout;
        let name = self.name_of(&segment::name(entry.id));
        let opened = match self.names.contains(&name) {
            true => {
                Salvage::open(&*self.disk, &self.dir, &name, (&self.uuid, entry.id), layout, entry.file())?
            }
            false => None,
        };
        let Some(salvage) = opened else {
            report.lost_images += u64::from(entry.rows) - dead.map_or(0, RoaringBitmap::len);
            return Ok(state);
        };
        let mut position = 0;
        while position < entry.rows {
            let end = entry.rows.min(position.saturating_add(RUN));
            let mut draft = Draft::new(&state, next.next_order, u64::MAX, (end - position) as usize);
            for position in (position..end).filter(|&at| dead.is_none_or(|dead| !dead.contains(at))) {
                let Some(row) = salvage.row(position, layout) else {
                    report.lost_images += 1;
                    report.lost_paths.extend(salvage.path(position).map(str::to_owned));
                    continue;
                };
                if dead.is_none() {
                    // What lives elsewhere is newer.
                    if state.locate(&row.path)?.is_some() {
                        continue;
                    }
                    report.uncertain_paths.push(row.path.to_string());
                }
                draft.replay(Record::Put(row)).map_err(|_| unreadable(&name))?;
            }
            (state, next.next_order) = draft.finish();
            self.settle(&mut state, next)?;
            position = end;
        }
        Ok(state)
    }

    fn replay(&self, base: &Snapshot, log: &ReadLog) -> Result<(Snapshot, u64), StoreError> {
        let mut draft = Draft::new(base, self.manifest.next_order, u64::MAX, 0);
        for (_, payload) in &log.frames {
            // A frame whose checksum is right and that holds no records was never written by this version.
            let records = record::decode(&log.bytes[payload.clone()], &base.layout).unwrap_or_default();
            for record in records {
                draft.replay(record).map_err(|_| unreadable("a segment"))?;
            }
        }
        Ok(draft.finish())
    }

    /// Makes a segment of what is in memory.
    fn settle(&self, state: &mut Snapshot, next: &mut Manifest) -> Result<(), StoreError> {
        let rows = LiveRows::of(state, &[state.tail_part()], None)?;
        if rows.len() > 0 {
            let (disk, dir, layout) = (&*self.disk, self.dir.as_path(), &self.manifest.layout);
            let id = next.next_segment;
            next.next_segment += 1;
            let file = segment::write(
                disk,
                dir,
                &self.uuid,
                id,
                layout,
                &rows,
                Stop::either(&AtomicBool::new(false), None),
            )?;
            drop(rows);
            let segment = Segment::open(disk, dir, &self.uuid, id, layout, file, None)?;
            state.sealed.push(Sealed { segment: Arc::new(segment), dead: Arc::default() });
            let (len, rows, crc) = (file.len, file.rows, file.crc);
            next.segments.push(SegmentEntry { id, len, rows, crc, dead: None, centres: None });
        }
        (state.tail, state.tail_dead) = Default::default();
        Ok(())
    }

    /// Writes what dead rows are not on disk yet, a log, and the manifest; then removes what that does not name.
    fn publish(
        &self,
        state: &Snapshot,
        mut next: Manifest,
        sequence: u64,
        report: &mut Repaired,
    ) -> Result<(), StoreError> {
        let (disk, dir, uuid) = (&*self.disk, self.dir.as_path(), &self.uuid);
        next.generation = self.manifest.generation + 1;
        for (entry, sealed) in next.segments.iter_mut().zip(&state.sealed) {
            let kept = match entry.dead {
                Some(generation) => dead::read(disk, dir, uuid, (entry.id, generation), entry.rows).ok(),
                None => Some(RoaringBitmap::new()),
            };
            if kept.as_ref() != Some(&*sealed.dead) {
                dead::write(disk, dir, uuid, (entry.id, next.generation), &sealed.dead)?;
                entry.dead = Some(next.generation);
            }
        }
        let id = self.manifest.logs.last().map_or(1, |log| log.id + 1);
        let log = LogWriter::create(disk, dir, uuid, id, sequence, Default::default())?;
        next.logs = vec![LogEntry { id, first_sequence: sequence, ended: None }];
        next.centres = state.centres.iter().map(|centres| centres.entry.clone()).collect();
        next.clean = Some(CleanMark { len: log.len(), crc: log.crc() });
        next.write(disk, dir, uuid).map_err(manifest::SwapError::into_inner)?;
        // From here on the instance is whole; an opening for writing removes what is left over.
        for damaged in report.damaged.iter_mut().filter(|damaged| number_of(&damaged.file).is_some()) {
            let aside = aside(&damaged.file);
            let moved = disk.rename(&dir.join(&damaged.file), &dir.join(&aside));
            damaged.kept_as = moved.is_ok().then_some(aside);
        }
        let _ = disk.remove_file(&dir.join(manifest::name(self.manifest.generation)));
        for entry in &self.manifest.logs {
            let _ = disk.remove_file(&dir.join(log::name(entry.id)));
        }
        disk.sync_dir(dir).map_err(StoreError::io("sync the directory of", "the instance"))
    }
}

/// A log's bytes and sound frames.
struct ReadLog {
    bytes: Vec<u8>,
    frames: Vec<(u64, std::ops::Range<usize>)>,
    /// Sequence after the last frame.
    next: u64,
}

/// The name that a damaged file is kept under; no opening removes it.
fn aside(file: &str) -> String {
    format!("damaged-{file}")
}

/// The generation that a manifest's file has.
fn number_of(file: &str) -> Option<u64> {
    manifest::number(file, "manifest")
}

fn note(report: &mut Repaired, file: &str, error: &StoreError) {
    report.damaged.push(DamagedFile { file: file.to_owned(), kept_as: None, damage: error.to_string() });
}

/// Notes damage; any other fault ends the repair.
fn damaged(report: &mut Repaired, file: &str, error: StoreError) -> Result<(), StoreError> {
    // The manifest is of this format, and what it names was.
    if !error.is_corruption() && !matches!(error, StoreError::Format { .. }) {
        return Err(error);
    }
    note(report, file, &error);
    Ok(())
}

fn unreadable(file: &str) -> StoreError {
    StoreError::Corrupt { file: file.to_owned(), offset: 0, what: "unreadable state" }
}
