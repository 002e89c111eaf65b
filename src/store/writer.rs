//! The one writer of an instance: commits changes, begins logs, publishes what was built beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roaring::RoaringBitmap;

use super::centres::{self, Centres};
use super::dead;
use super::disk::{Disk, DiskLock};
use super::draft::{Change, Draft, Op, OpError, Outcome};
use super::error::StoreError;
use super::frame::Uuid;
use super::log::{self, AppendError, Durability, FRAME_HEADER, LogWriter, MAX_PAYLOAD};
use super::manifest::{self, CleanMark, LogEntry, Manifest, SegmentEntry, SwapError};
use super::record::{self, Payload, Record};
use super::segment;
use super::snapshot::{Sealed, Snapshot, path_hash};
use crate::index::Place;
use crate::tags::Schema;

/// How a store behaves; all of it may differ from one opening to the next.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) durability: Durability,
    /// Rows of the tail at which it is sealed.
    pub(crate) tail_rows: u32,
    /// Whether threads of the store seal and merge; if not, whoever commits does.
    pub(crate) background: bool,
    /// Images from which segments get lists.
    pub(crate) train_rows: u64,
    /// Whether a thread reads the planes that searches read of many rows, right after the opening.
    pub(crate) preload: bool,
    /// The weights of the blocks in each mode, each with a sum of 1; rows are assigned by the first.
    pub(crate) weights: Arc<[Vec<f32>]>,
}

/// Bytes of the log at which the tail is sealed, however few rows it has: bounds the time of an opening.
const MAX_LOG_BYTES: u64 = 256 << 20;

/// Most changes of one frame.
const MAX_GROUP: usize = 8192;

pub(crate) struct Writer {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) uuid: Uuid,
    pub(crate) options: Options,
    /// The durable manifest.
    pub(crate) manifest: Manifest,
    pub(crate) log: LogWriter,
    pub(crate) next_order: u64,
    /// Number of the next segment, and of the next file of centres: those being built have theirs already.
    pub(crate) next_segment: u64,
    pub(crate) snapshot: Arc<Snapshot>,
    /// Files that are no part of the state any more.
    pub(crate) garbage: Vec<String>,
    /// Why writing stopped, if it did.
    pub(crate) stopped: Option<String>,
    /// Whether it did, for those who do not hold the writer.
    pub(crate) halted: Arc<AtomicBool>,
    pub(crate) _lock: Box<dyn DiskLock>,
}

/// What a commit gave for each change, in order.
pub(crate) type Results = Vec<Result<Outcome, OpError>>;

/// A segment that was written and is no part of the state yet.
pub(crate) struct Built {
    pub(crate) entry: SegmentEntry,
    pub(crate) sealed: Sealed,
}

/// Divides changes into groups of at most one frame each.
pub(crate) fn groups(ops: Vec<Op>) -> Vec<Vec<Op>> {
    let (mut groups, mut group, mut bytes) = (Vec::new(), Vec::new(), 0);
    for op in ops {
        if !group.is_empty() && (bytes + op.bytes() > MAX_PAYLOAD / 2 || group.len() == MAX_GROUP) {
            groups.push(std::mem::take(&mut group));
            bytes = 0;
        }
        bytes += op.bytes();
        group.push(op);
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

impl Writer {
    pub(crate) fn ready(&self) -> Result<(), StoreError> {
        match &self.stopped {
            Some(why) => Err(StoreError::Stopped(why.clone())),
            None => Ok(()),
        }
    }

    /// Stops writing until the next opening.
    pub(crate) fn stop(&mut self, why: &StoreError) {
        self.stopped.get_or_insert_with(|| why.to_string());
        self.halted.store(true, Ordering::Relaxed);
    }

    /// Whether the tail should be sealed before it takes more.
    pub(crate) fn is_full(&self) -> bool {
        self.snapshot.tail.rows() >= self.options.tail_rows || self.log.len() >= MAX_LOG_BYTES
    }

    /// Makes the changes of one group durable in one frame, and applies them. A change that is refused leaves the
    /// others. With `no_room` whatever would add a row is refused for that reason.
    pub(crate) fn commit(&mut self, ops: Vec<Op>, no_room: Option<Arc<StoreError>>) -> Results {
        if let Err(error) = self.ready().and_then(|()| self.mark_dirty()) {
            let error = Arc::new(error);
            return ops.iter().map(|_| Err(OpError::Log(error.clone()))).collect();
        }
        let base = self.snapshot.clone();
        let hashes: Vec<u64> = ops.iter().map(|op| path_hash(&base.uuid, op.path())).collect();
        if hashes.len() > 1 {
            base.soon_paths(&hashes);
        }
        let mut draft = Draft::new(&base, self.next_order, self.manifest.about.capacity, ops.len());
        let mut payload = Payload::with_room(FRAME_HEADER);
        let mut results: Results = Vec::with_capacity(ops.len());
        for (op, hash) in ops.into_iter().zip(hashes) {
            results.push(match &no_room {
                // What it deletes makes room and goes on.
                Some(error) if op.adds_row() => Err(OpError::Seal(error.clone())),
                _ => draft.apply(op, hash).map(|(outcome, change)| {
                    match change {
                        Some(Change::Put) => draft.last().iter().for_each(|row| payload.put(row)),
                        Some(Change::Delete(path)) => payload.delete(&path),
                        None => {}
                    }
                    outcome
                }),
            });
        }
        if payload.is_empty() {
            return results;
        }
        match self.log.append(payload.finish()) {
            Ok(()) => {
                let (snapshot, next_order) = draft.finish();
                self.next_order = next_order;
                self.snapshot = Arc::new(snapshot);
                results
            }
            Err(AppendError::Undone(error)) => Self::without_log(results, error),
            Err(AppendError::Unknown(error)) => {
                self.stop(&error);
                Self::without_log(results, error)
            }
        }
    }

    /// Results when the frame could not be written: what would have changed something failed.
    fn without_log(results: Results, error: StoreError) -> Results {
        let error = Arc::new(error);
        let fail = |result| match result {
            Ok(Outcome::Kept) => Ok(Outcome::Kept),
            Ok(_) => Err(OpError::Log(error.clone())),
            Err(refused) => Err(refused),
        };
        results.into_iter().map(fail).collect()
    }

    /// Before the first change after an opening: from here on the log may be longer than the manifest says.
    pub(crate) fn mark_dirty(&mut self) -> Result<(), StoreError> {
        if self.manifest.clean.is_none() {
            return Ok(());
        }
        self.swap(Manifest { clean: None, ..self.manifest.clone() })
    }

    /// Makes every change durable that was only flushed, before a manifest says something that rests on it: rows that died
    /// by it, or tag keys that came after it.
    fn settle(&mut self) -> Result<(), StoreError> {
        if self.log.is_synced() {
            return Ok(());
        }
        self.log.sync().inspect_err(|error| self.stop(error))
    }

    /// Writes `next` as the newest manifest and makes it the state.
    fn swap(&mut self, mut next: Manifest) -> Result<(), StoreError> {
        next.generation = self.manifest.generation + 1;
        next.next_segment = self.next_segment;
        match next.write(&*self.disk, &self.dir, &self.uuid) {
            Ok(()) => {
                // At once, readers or not: if the new one were lost, nothing may pass the old one for the state.
                let old = manifest::name(self.manifest.generation);
                if self.disk.remove_file(&self.dir.join(&old)).is_err() {
                    self.garbage.push(old);
                }
                self.manifest = next;
                Ok(())
            }
            Err(error) => {
                if let SwapError::Unknown(error) = &error {
                    self.stop(error);
                }
                Err(error.into_inner())
            }
        }
    }

    /// Makes the tail one of those that wait to be sealed, and begins a new log. The rows stay in the old log until
    /// they are in a segment.
    pub(crate) fn freeze(&mut self) -> Result<(), StoreError> {
        self.ready()?;
        // With a durability that does not sync: later frames must not outlive these. A failed sync is never retried: the
        // next would prove nothing.
        if let Err(error) = self.log.sync() {
            self.stop(&error);
            return Err(error);
        }
        let id = self.log.id() + 1;
        let (next, durability) = (self.log.next(), self.options.durability);
        let log = LogWriter::create(&*self.disk, &self.dir, &self.uuid, id, next, durability)?;
        let mut manifest = Manifest { clean: None, next_order: self.next_order, ..self.manifest.clone() };
        if let Some(last) = manifest.logs.last_mut() {
            last.ended = Some(CleanMark { len: self.log.len(), crc: self.log.crc() });
        }
        manifest.logs.push(LogEntry { id, first_sequence: next, ended: None });
        self.swap(manifest)?;
        let mut snapshot = (*self.snapshot).clone();
        snapshot.freeze(self.log.id());
        self.snapshot = Arc::new(snapshot);
        self.log = log;
        Ok(())
    }

    /// A number for a file that is about to be built.
    pub(crate) fn take_number(&mut self) -> Result<u64, StoreError> {
        self.ready()?;
        self.next_segment += 1;
        Ok(self.next_segment - 1)
    }

    /// Publishes what was built as `file`. If that fails the file is no part of the state and goes, unless nobody knows which
    /// state stands: attempts are repeated, and would fill the disk.
    fn publish(
        &mut self,
        file: Option<String>,
        publish: impl FnOnce(&mut Self) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let published = self.ready().and_then(|()| publish(self));
        #[cfg(feature = "seeded-bugs")]
        if planted!(ManifestBeforeSegment) && published.is_ok() {
            self.sync_late(file.as_deref());
        }
        if self.stopped.is_none() {
            self.garbage.extend(file.filter(|_| published.is_err()));
            self.collect_garbage();
        }
        published
    }

    /// Syncs a segment that the manifest names already: a seeded bug.
    #[cfg(feature = "seeded-bugs")]
    fn sync_late(&self, file: Option<&str>) {
        let file = file.map(|file| self.dir.join(file));
        let sync = |file: PathBuf| {
            let len = self.disk.read(&file)?.len() as u64;
            self.disk.append(&file, len)?.sync()
        };
        let _ = file.map(sync);
    }

    /// Puts `built` in the place of the oldest frozen tail, which it was made of when `dead` of its rows were dead.
    pub(crate) fn publish_sealed(
        &mut self,
        built: Option<Built>,
        dead: &RoaringBitmap,
    ) -> Result<(), StoreError> {
        let file = built.as_ref().map(|built| segment::name(built.entry.id));
        self.publish(file, |writer| {
            let mut snapshot = (*writer.snapshot).clone();
            let mut next = Manifest { clean: None, next_order: writer.next_order, ..writer.manifest.clone() };
            let frozen = snapshot.frozen.remove(0);
            next.logs.retain(|log| log.id != frozen.log);
            let part = snapshot.sealed.len() as u32;
            let died = (&*frozen.dead - dead).into_iter().map(|position| Place { part, position });
            writer.add_built(&mut snapshot, &mut next, built, died)?;
            if planted!(UnlinkTooEarly) {
                let _ = writer.disk.remove_file(&writer.dir.join(log::name(frozen.log)));
            }
            writer.replace(next, snapshot)?;
            writer.garbage.push(log::name(frozen.log));
            Ok(())
        })
    }

    /// Puts `built` in the place of the segments it was made of, each given with the rows that were dead then.
    pub(crate) fn publish_merged(
        &mut self,
        built: Option<Built>,
        sources: &[(u64, Arc<RoaringBitmap>)],
    ) -> Result<(), StoreError> {
        let file = built.as_ref().map(|built| segment::name(built.entry.id));
        self.publish(file, |writer| {
            let mut snapshot = (*writer.snapshot).clone();
            let mut next = Manifest { clean: None, next_order: writer.next_order, ..writer.manifest.clone() };
            let dead_then = |id: u64| sources.iter().find(|(source, _)| *source == id).map(|(_, dead)| dead);
            let mut died = Vec::new();
            for (part, (entry, sealed)) in (0..).zip(next.segments.iter().zip(&snapshot.sealed)) {
                if let Some(dead) = dead_then(entry.id) {
                    let newly = &*sealed.dead - &**dead;
                    died.extend(newly.into_iter().map(|position| Place { part, position }));
                }
            }
            let goes: Vec<bool> = next.segments.iter().map(|entry| dead_then(entry.id).is_some()).collect();
            let gone: Vec<SegmentEntry> =
                next.segments.iter().filter(|entry| dead_then(entry.id).is_some()).cloned().collect();
            let mut flags = goes.iter();
            next.segments.retain(|_| flags.next() == Some(&false));
            let mut flags = goes.iter();
            snapshot.sealed.retain(|_| flags.next() == Some(&false));
            writer.add_built(&mut snapshot, &mut next, built, died)?;
            // Centres that no segment has lists around any more, but for those that new segments will.
            let last = next.centres.last().map(|centres| centres.id);
            let used: Vec<u64> = next.segments.iter().filter_map(|entry| entry.centres).chain(last).collect();
            let (kept, unused): (Vec<_>, Vec<_>) =
                std::mem::take(&mut next.centres).into_iter().partition(|centres| used.contains(&centres.id));
            next.centres = kept;
            snapshot.centres.retain(|centres| used.contains(&centres.entry.id));
            writer.replace(next, snapshot)?;
            for entry in gone {
                writer.garbage.push(segment::name(entry.id));
                writer.garbage.extend(entry.dead.map(|generation| dead::name(entry.id, generation)));
            }
            writer.garbage.extend(unused.iter().map(|centres| centres::name(centres.id)));
            Ok(())
        })
    }

    /// Adds a segment of new images; those of the paths `replaced` that are there die.
    pub(crate) fn publish_imported(
        &mut self,
        built: Option<Built>,
        replaced: &[String],
    ) -> Result<(), StoreError> {
        let file = built.as_ref().map(|built| segment::name(built.entry.id));
        self.publish(file, |writer| {
            let mut snapshot = (*writer.snapshot).clone();
            let mut next = Manifest { clean: None, next_order: writer.next_order, ..writer.manifest.clone() };
            for path in replaced {
                if let Some(place) = writer.snapshot.locate(path)?
                    && let Some(sealed) = snapshot.sealed.get_mut(place.part as usize)
                {
                    Arc::make_mut(&mut sealed.dead).insert(place.position);
                }
            }
            writer.add_built(&mut snapshot, &mut next, built, [])?;
            writer.replace(next, snapshot)?;
            Ok(())
        })
    }

    /// Adds a built segment to a state that is being made. Rows of its sources that `died` meanwhile are found in it by
    /// their paths: of each path it has one row.
    fn add_built(
        &self,
        snapshot: &mut Snapshot,
        next: &mut Manifest,
        built: Option<Built>,
        died: impl IntoIterator<Item = Place>,
    ) -> Result<(), StoreError> {
        let Some(mut built) = built else { return Ok(()) };
        let mut dead = RoaringBitmap::new();
        for place in died {
            let path = self.snapshot.path(place)?;
            let found = built.sealed.segment.find(path, path_hash(&self.uuid, path), &dead)?;
            dead.extend(found);
        }
        built.sealed.dead = Arc::new(dead);
        next.segments.push(built.entry);
        snapshot.sealed.push(built.sealed);
        Ok(())
    }

    /// Makes centres the ones that new segments get lists around, or notes what was measured of their gaps.
    pub(crate) fn publish_centres(&mut self, centres: Centres) -> Result<(), StoreError> {
        let known = self.manifest.centres.iter().any(|known| known.id == centres.entry.id);
        let file = (!known).then(|| centres::name(centres.entry.id));
        self.publish(file, |writer| {
            let mut next = Manifest { clean: None, next_order: writer.next_order, ..writer.manifest.clone() };
            let mut snapshot = (*writer.snapshot).clone();
            next.centres.retain(|known| known.id != centres.entry.id);
            next.centres.push(centres.entry.clone());
            snapshot.centres.retain(|known| known.entry.id != centres.entry.id);
            snapshot.centres.push(centres);
            writer.swap(next)?;
            writer.snapshot = Arc::new(snapshot);
            Ok(())
        })
    }

    /// Makes `snapshot`, whose segments are those of `next`, the state: writes what dead rows are not on disk
    /// yet, then the manifest.
    fn replace(&mut self, mut next: Manifest, snapshot: Snapshot) -> Result<(), StoreError> {
        self.settle()?;
        let mut outdated = Vec::new();
        let generation = self.manifest.generation + 1;
        for (entry, sealed) in next.segments.iter_mut().zip(&snapshot.sealed) {
            let kept = match entry.dead {
                Some(old) => dead::read(&*self.disk, &self.dir, &self.uuid, (entry.id, old), entry.rows)?,
                None => RoaringBitmap::new(),
            };
            if kept != *sealed.dead && !planted!(TombstonesLost) {
                let name = (entry.id, generation);
                dead::write(&*self.disk, &self.dir, &self.uuid, name, &sealed.dead)?;
                outdated.extend(entry.dead.map(|old| dead::name(entry.id, old)));
                entry.dead = Some(generation);
            }
        }
        self.swap(next)?;
        self.garbage.extend(outdated);
        self.snapshot = Arc::new(snapshot);
        Ok(())
    }

    /// Adds tag keys to the instance.
    pub(crate) fn set_schema(&mut self, schema: Schema) -> Result<(), StoreError> {
        self.ready()?;
        self.settle()?;
        self.swap(Manifest { schema: schema.clone(), clean: None, ..self.manifest.clone() })?;
        self.snapshot = Arc::new(Snapshot { schema: Arc::new(schema), ..(*self.snapshot).clone() });
        Ok(())
    }

    /// Removes files that are no part of the state, unless another process may be reading them; what stays is
    /// removed later, at the latest by the next opening.
    pub(crate) fn collect_garbage(&mut self) {
        collect(&*self.disk, &self.dir, &mut self.garbage);
    }

    /// Leaves a mark of what the log is, so that the next opening sees a log that lost its end.
    pub(crate) fn close(&mut self) -> Result<(), StoreError> {
        self.ready()?;
        if self.manifest.clean.is_none() {
            self.log.sync()?;
            let clean = Some(CleanMark { len: self.log.len(), crc: self.log.crc() });
            self.swap(Manifest { clean, ..self.manifest.clone() })?;
        }
        self.collect_garbage();
        Ok(())
    }
}

/// Removes `files` while no reader in another process holds them.
pub(crate) fn collect(disk: &dyn Disk, dir: &Path, files: &mut Vec<String>) {
    if files.is_empty() {
        return;
    }
    if let Ok(Some(_readers)) = disk.lock(&dir.join(super::READERS), true) {
        files.retain(|file| match disk.remove_file(&dir.join(file)) {
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
            Ok(()) => false,
        });
    }
}

/// Replays the payloads of a log over a snapshot.
pub(crate) fn replay(
    base: &Snapshot,
    next_order: u64,
    bytes: &[u8],
    log: &log::ReadLog,
) -> Result<(Snapshot, u64), StoreError> {
    let mut draft = Draft::new(base, next_order, u64::MAX, 0);
    for payload in &log.payloads {
        let damaged =
            |what| StoreError::Corrupt { file: log.name.clone(), offset: payload.start as u64, what };
        let records: Vec<Record> = record::decode(&bytes[payload.clone()], &base.layout)
            .ok_or_else(|| damaged("a frame does not hold records"))?;
        for record in records {
            draft.replay(record).map_err(|error| match error {
                OpError::Read(error) => Arc::into_inner(error).unwrap_or_else(|| damaged("unreadable state")),
                _ => damaged("a record does not apply"),
            })?;
        }
    }
    #[cfg(feature = "seeded-bugs")]
    if planted!(ReplayedTwice) {
        let all =
            log.payloads.iter().filter_map(|payload| record::decode(&bytes[payload.clone()], &base.layout));
        all.flatten().for_each(|record| draft.replay_blindly(record));
    }
    Ok(draft.finish())
}

#[cfg(test)]
mod tests {
    use super::super::draft::OnExisting;
    use super::super::record::{Hash, TailRow};
    use super::*;
    use crate::limits::MAX_DIMS;
    use crate::tags::{TagSet, Term};
    use crate::vector::RowCode;

    #[test]
    fn groups_are_full_and_fit_a_frame() {
        assert!(groups(Vec::new()).is_empty());
        let delete =
            |i: usize, len| Op::Delete { path: format!("{}{i}", "0".repeat(len)).into(), only: None };
        let name = |op: &Op| match op {
            Op::Delete { path, .. } => path.trim_start_matches('0').to_owned(),
            _ => unreachable!("only deletes are grouped here"),
        };
        // Small ones are divided by their number, large ones by their bytes.
        for (count, len, most) in
            [(2 * MAX_GROUP + 5, 5, MAX_GROUP), (1000, 100_000, MAX_PAYLOAD / 2 / 100_000)]
        {
            let divided = groups((1..=count).map(|i| delete(i, len)).collect());
            let names: Vec<String> = divided.iter().flatten().map(name).collect();
            assert!(names.iter().eq(&(1..=count).map(|i| i.to_string()).collect::<Vec<_>>()));
            let (last, full) = divided.split_last().unwrap();
            assert!(full.iter().all(|group| group.len().abs_diff(most) <= 1), "{:?}", full[0].len());
            assert!(!last.is_empty() && last.len() <= most);
            for group in &divided {
                assert!(group.iter().map(Op::bytes).sum::<usize>() <= MAX_PAYLOAD / 2);
            }
        }
        // One that is too large for company goes alone.
        let sizes: Vec<usize> =
            groups(vec![delete(1, 9), delete(2, MAX_PAYLOAD), delete(3, 9)]).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 1, 1]);
    }

    #[test]
    fn no_record_is_larger_than_its_change_says() {
        let layout = crate::vector::Layout::new(&[MAX_DIMS]).unwrap();
        let code = RowCode::encode(&layout, &[0.5; MAX_DIMS]).unwrap();
        let terms = (0..10).map(|key| Term::new(key, "a value of some length")).collect();
        let (tags, path): (_, Arc<str>) = (Arc::new(TagSet::from_terms(terms)), "p".repeat(300).into());
        let hash: Hash = [7; 32];
        let row = TailRow { path: path.clone(), order: 1, tags: tags.clone(), code: code.clone(), hash };
        let put =
            Op::Put { path: path.clone(), tags: tags.clone(), code, hash, on_existing: OnExisting::Replace };
        let put_bytes = record::encode(&[Record::Put(row)]).len();
        assert!((put_bytes..put_bytes + 64).contains(&put.bytes()), "{} for {put_bytes}", put.bytes());
        let delete_bytes = record::encode(&[Record::Delete { path: path.clone() }]).len();
        assert!(Op::Delete { path: path.clone(), only: None }.bytes() >= delete_bytes);
        // A retag writes a row whose vector it does not know, and with merged tags those that it does not know.
        let retag = |merge| Op::Retag { path: path.clone(), tags: tags.clone(), merge }.bytes();
        assert!(retag(false) >= put_bytes && retag(true) > retag(false) + 10_000);
    }
}
