//! The one writer of an instance: commits, seals, merges.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::compact::{self, LiveRows};
use super::dead;
use super::disk::{Disk, DiskLock};
use super::draft::{Draft, Op, OpError, Outcome};
use super::error::StoreError;
use super::frame::Uuid;
use super::log::{self, AppendError, Durability, LogWriter, MAX_PAYLOAD};
use super::manifest::{self, CleanMark, Manifest, SegmentEntry, SwapError};
use super::record::{self, Record};
use super::segment::{self, Segment};
use super::snapshot::{Sealed, Snapshot};
use crate::tags::Schema;

/// How a store behaves; all of it may differ from one opening to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) durability: Durability,
    /// Rows of the tail at which it is sealed.
    pub(crate) tail_rows: u32,
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
    pub(crate) snapshot: Arc<Snapshot>,
    /// Files that are no part of the state any more.
    pub(crate) garbage: Vec<String>,
    /// Why writing stopped, if it did.
    pub(crate) stopped: Option<String>,
    pub(crate) _lock: Box<dyn DiskLock>,
}

/// What a commit gave for each change, in order.
pub(crate) type Results = Vec<Result<Outcome, OpError>>;

impl Writer {
    fn ready(&self) -> Result<(), StoreError> {
        match &self.stopped {
            Some(why) => Err(StoreError::Stopped(why.clone())),
            None => Ok(()),
        }
    }

    /// Stops writing until the next opening.
    pub(crate) fn stop(&mut self, why: &StoreError) {
        self.stopped.get_or_insert_with(|| why.to_string());
    }

    /// Makes changes durable, in order, in as many frames as they need, and applies them. A change that is
    /// refused leaves the others.
    pub(crate) fn commit(&mut self, ops: Vec<Op>) -> Results {
        let mut results = Vec::with_capacity(ops.len());
        let (mut group, mut bytes) = (Vec::new(), 0);
        for op in ops {
            if !group.is_empty() && (bytes + op.bytes() > MAX_PAYLOAD / 2 || group.len() == MAX_GROUP) {
                results.extend(self.commit_group(std::mem::take(&mut group)));
                bytes = 0;
            }
            bytes += op.bytes();
            group.push(op);
        }
        if !group.is_empty() {
            results.extend(self.commit_group(group));
        }
        results
    }

    fn commit_group(&mut self, ops: Vec<Op>) -> Results {
        let failed = |error: StoreError| {
            let error = Arc::new(error);
            move |_: &Op| Err(OpError::Log(error.clone()))
        };
        if let Err(error) = self.ready().and_then(|()| self.mark_dirty()) {
            return ops.iter().map(failed(error)).collect();
        }
        let mut seal_error = None;
        if self.snapshot.tail.rows() >= self.options.tail_rows || self.log.len() >= MAX_LOG_BYTES {
            // What the group adds must not outgrow memory; what it deletes makes room and goes on.
            seal_error = self.seal().err().map(Arc::new);
            if let Err(error) = self.ready() {
                return ops.iter().map(failed(error)).collect();
            }
        }
        let base = self.snapshot.clone();
        let mut draft = Draft::new(&base, self.next_order, self.manifest.about.capacity);
        let mut records = Vec::new();
        let mut results: Results = Vec::with_capacity(ops.len());
        for op in ops {
            results.push(match &seal_error {
                Some(error) if op.adds_row() => Err(OpError::Seal(error.clone())),
                _ => draft.apply(op).map(|(outcome, record)| {
                    records.extend(record);
                    outcome
                }),
            });
        }
        if records.is_empty() {
            return results;
        }
        match self.log.append(&record::encode(&records)) {
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
    fn mark_dirty(&mut self) -> Result<(), StoreError> {
        if self.manifest.clean.is_none() {
            return Ok(());
        }
        self.swap(Manifest { clean: None, ..self.manifest.clone() })
    }

    /// Writes `next` as the newest manifest and makes it the state.
    fn swap(&mut self, mut next: Manifest) -> Result<(), StoreError> {
        next.generation = self.manifest.generation + 1;
        match next.write(&*self.disk, &self.dir, &self.uuid) {
            Ok(()) => {
                self.garbage.push(manifest::name(self.manifest.generation));
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

    /// Turns the live rows of the tail into a segment and begins a new log.
    pub(crate) fn seal(&mut self) -> Result<(), StoreError> {
        let snapshot = self.snapshot.clone();
        let tail = snapshot.tail_part();
        let rows = LiveRows::of(&snapshot, &[tail])?;
        let mut next = Manifest { clean: None, next_order: self.next_order, ..self.manifest.clone() };
        let mut sealed = snapshot.sealed.clone();
        if rows.len() > 0 {
            let (entry, segment) = self.write_segment(&rows, &mut next)?;
            next.segments.push(entry);
            sealed.push(segment);
        }
        let log_id = self.manifest.log + 1;
        let durability = self.options.durability;
        let log = LogWriter::create(&*self.disk, &self.dir, &self.uuid, log_id, self.log.next(), durability)?;
        (next.log, next.first_sequence) = (log_id, log.next());
        let old_log = log::name(self.log.id());
        self.replace(
            next,
            Snapshot {
                sealed,
                tail: Default::default(),
                tail_dead: Default::default(),
                ..(*snapshot).clone()
            },
        )?;
        self.log = log;
        self.garbage.push(old_log);
        self.collect_garbage();
        Ok(())
    }

    /// Merges segments, if a merge is due: see [`compact::due`].
    pub(crate) fn merge_due(&mut self) -> Result<bool, StoreError> {
        let parts = compact::due(&self.snapshot);
        if parts.is_empty() {
            return Ok(false);
        }
        self.merge(&parts).map(|()| true)
    }

    /// Everything into one segment, without dead rows.
    pub(crate) fn merge_all(&mut self) -> Result<(), StoreError> {
        let snapshot = self.snapshot.clone();
        if snapshot.tail.rows() > 0 {
            self.seal()?;
        }
        let parts: Vec<u32> = (0..self.snapshot.tail_part()).collect();
        let any_dead = self.snapshot.sealed.iter().any(|s| !s.dead.is_empty());
        if parts.len() > 1 || any_dead { self.merge(&parts) } else { Ok(()) }
    }

    fn merge(&mut self, parts: &[u32]) -> Result<(), StoreError> {
        let snapshot = self.snapshot.clone();
        let rows = LiveRows::of(&snapshot, parts)?;
        let mut next = Manifest { clean: None, ..self.manifest.clone() };
        let merged = if rows.len() > 0 { Some(self.write_segment(&rows, &mut next)?) } else { None };
        let goes = |part: usize| parts.contains(&(part as u32));
        let gone: Vec<SegmentEntry> = next
            .segments
            .iter()
            .enumerate()
            .filter(|(part, _)| goes(*part))
            .map(|(_, s)| s.clone())
            .collect();
        let mut part = 0..;
        next.segments.retain(|_| !part.next().is_some_and(goes));
        let mut part = 0..;
        let mut sealed = snapshot.sealed.clone();
        sealed.retain(|_| !part.next().is_some_and(goes));
        if let Some((entry, segment)) = merged {
            next.segments.push(entry);
            sealed.push(segment);
        }
        self.replace(next, Snapshot { sealed, ..(*snapshot).clone() })?;
        for entry in gone {
            self.garbage.push(segment::name(entry.id));
            self.garbage.extend(entry.dead.map(|generation| dead::name(entry.id, generation)));
        }
        self.collect_garbage();
        Ok(())
    }

    /// Writes the next segment and opens it.
    fn write_segment(
        &self,
        rows: &LiveRows<'_>,
        next: &mut Manifest,
    ) -> Result<(SegmentEntry, Sealed), StoreError> {
        let (disk, dir, layout) = (&*self.disk, self.dir.as_path(), &*self.snapshot.layout);
        let id = next.next_segment;
        next.next_segment += 1;
        let file = segment::write(disk, dir, &self.uuid, id, layout, rows)?;
        let segment = Segment::open(disk, dir, &self.uuid, id, layout, file)?;
        let entry = SegmentEntry { id, len: file.len, rows: file.rows, crc: file.crc, dead: None };
        Ok((entry, Sealed { segment: Arc::new(segment), dead: Arc::default() }))
    }

    /// Makes `snapshot`, whose segments are those of `next`, the state: writes what dead rows are not on disk
    /// yet, then the manifest.
    fn replace(&mut self, mut next: Manifest, snapshot: Snapshot) -> Result<(), StoreError> {
        let mut outdated = Vec::new();
        let generation = self.manifest.generation + 1;
        for (entry, sealed) in next.segments.iter_mut().zip(&snapshot.sealed) {
            let kept = match entry.dead {
                Some(old) => dead::read(&*self.disk, &self.dir, &self.uuid, (entry.id, old), entry.rows)?,
                None => RoaringBitmap::new(),
            };
            if kept != *sealed.dead {
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
    let mut draft = Draft::new(base, next_order, u64::MAX);
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
    Ok(draft.finish())
}
