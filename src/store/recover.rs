//! Opening: locks, the manifest, the segments, the log; and making a new store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::centres::{self, Centres};
use super::dead;
use super::disk::{Disk, DiskLock};
use super::error::StoreError;
use super::frame::Uuid;
use super::log::{self, LogWriter};
use super::manifest::{About, CleanMark, LogEntry, Manifest, number};
use super::segment::{self, Segment};
use super::snapshot::{Sealed, Snapshot};
use super::writer::{self, Options, Writer};
use super::{READERS, WRITER};
use crate::tags::Schema;
use crate::vector::Layout;

/// A store whose lock is held and whose manifest was read.
pub(crate) struct Opening {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    lock: Box<dyn DiskLock>,
    writable: bool,
    uuid: Uuid,
    manifest: Manifest,
}

/// What an opening found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Bytes of a torn tail that were cut from the log: changes that were never acknowledged.
    pub(crate) torn_bytes: u64,
}

/// Where an opening failed.
#[derive(Debug)]
pub(crate) enum OpenError {
    Lock(StoreError),
    Manifest(StoreError),
    Files(StoreError),
}

/// Where making a store failed.
#[derive(Debug)]
pub(crate) enum CreateError {
    Log(StoreError),
    Manifest(StoreError),
}

/// An opened store.
pub(crate) enum Opened {
    Writer(Box<Writer>),
    Reader { snapshot: Arc<Snapshot>, lock: Box<dyn DiskLock>, files: Box<Files> },
}

/// Which files make a state.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) manifest: Manifest,
    /// Length and checksum of the last log, as far as it is part of the state.
    pub(crate) log: CleanMark,
}

impl Opening {
    /// Locks a store and reads its manifest.
    pub(crate) fn begin(disk: Arc<dyn Disk>, dir: &Path, writable: bool) -> Result<Self, OpenError> {
        let file = if writable { WRITER } else { READERS };
        let lock = disk.lock(&dir.join(file), writable);
        let lock = lock.map_err(|e| OpenError::Lock(StoreError::io("lock", file)(e)))?;
        let lock = lock.ok_or(OpenError::Lock(StoreError::Locked))?;
        let (uuid, manifest) = Manifest::read(&*disk, dir).map_err(OpenError::Manifest)?;
        Ok(Self { disk, dir: dir.to_owned(), lock, writable, uuid, manifest })
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Maps the segments and replays the logs.
    pub(crate) fn finish(mut self, options: Options) -> Result<(Opened, Found), OpenError> {
        loop {
            match self.state(&options) {
                Ok((snapshot, next_order, log)) => {
                    let found = Found { torn_bytes: log.torn };
                    if self.writable {
                        let writer = self.writer(snapshot, next_order, &log, options);
                        return Ok((Opened::Writer(Box::new(writer.map_err(OpenError::Files)?)), found));
                    }
                    let log = CleanMark { len: log.len, crc: log.crc.finalize() };
                    let (snapshot, files) =
                        (Arc::new(snapshot), Box::new(Files { manifest: self.manifest, log }));
                    return Ok((Opened::Reader { snapshot, lock: self.lock, files }, Found::default()));
                }
                Err(error) => {
                    // A writer may have moved on between the manifest and the files: read its newer state.
                    let (_, newer) = Manifest::read(&*self.disk, &self.dir).map_err(OpenError::Manifest)?;
                    if self.writable || newer.generation == self.manifest.generation {
                        return Err(OpenError::Files(error));
                    }
                    self.manifest = newer;
                }
            }
        }
    }

    fn state(&self, options: &Options) -> Result<(Snapshot, u64, log::ReadLog), StoreError> {
        let (disk, dir, uuid, manifest) = (&*self.disk, self.dir.as_path(), &self.uuid, &self.manifest);
        let layout = Arc::new(manifest.layout.clone());
        let assigned_by = options.weights.first().map(Vec::as_slice).unwrap_or_default();
        let known = manifest.centres.iter().map(|e| centres::read(disk, dir, uuid, e, &layout, assigned_by));
        let known: Vec<Centres> = known.collect::<Result<_, _>>()?;
        let mut sealed = Vec::with_capacity(manifest.segments.len());
        for entry in &manifest.segments {
            let segment = Segment::open(disk, dir, uuid, entry.id, &layout, entry.file(), entry.centres)?;
            let own = known.iter().find(|known| Some(known.entry.id) == entry.centres);
            if own.is_some_and(|own| own.centroids.lists() != segment.lists()) {
                let what = "not as many lists as there are centres";
                return Err(StoreError::Corrupt { file: segment::name(entry.id), offset: 0, what });
            }
            let dead = match entry.dead {
                Some(generation) => dead::read(disk, dir, uuid, (entry.id, generation), entry.rows)?,
                None => Default::default(),
            };
            sealed.push(Sealed { segment: Arc::new(segment), dead: Arc::new(dead) });
        }
        let base = Snapshot {
            uuid: *uuid,
            layout,
            schema: Arc::new(manifest.schema.clone()),
            centres: known,
            sealed,
            frozen: Vec::new(),
            tail: Default::default(),
            tail_dead: Default::default(),
        };
        let (mut snapshot, mut next_order, mut first) = (base, manifest.next_order, None);
        for entry in &manifest.logs {
            let log = self.read_log(entry, first.unwrap_or(entry.first_sequence))?;
            let (replayed, order) = writer::replay(&snapshot, next_order, &log.0, &log.1)?;
            (snapshot, next_order, first) = (replayed, order, Some(log.1.next));
            match entry.ended {
                Some(_) => snapshot.freeze(entry.id),
                None => return Ok((snapshot, next_order, log.1)),
            }
        }
        // A sound manifest ends with a log that grows.
        Err(StoreError::Missing { file: "log".to_owned() })
    }

    /// Reads a log of the manifest and checks it against what the manifest knows of it.
    fn read_log(&self, entry: &LogEntry, first: u64) -> Result<(Vec<u8>, log::ReadLog), StoreError> {
        let name = log::name(entry.id);
        let bytes = self.disk.read(&self.dir.join(&name)).map_err(StoreError::io("read", &name))?;
        let log = log::read(&bytes, &self.uuid, entry.id, Some(first))?;
        let (mark, what) = match entry.ended {
            Some(mark) => (Some(mark), "the log is not what it was when it ended"),
            None => (self.manifest.clean, "the log is not what it was when the instance was closed"),
        };
        if let Some(mark) = mark {
            let same = bytes.len() as u64 == mark.len && crc32fast::hash(&bytes) == mark.crc;
            if !same || log.torn > 0 {
                return Err(StoreError::Corrupt { file: name, offset: log.len, what });
            }
        }
        Ok((bytes, log))
    }

    fn writer(
        self,
        snapshot: Snapshot,
        next_order: u64,
        log: &log::ReadLog,
        options: Options,
    ) -> Result<Writer, StoreError> {
        // Names that were read may be in the system's memory alone, if the process that made them was killed before it
        // synced them. What is done from here on rests on them: this first.
        self.disk.sync_dir(&self.dir).map_err(StoreError::io("sync", "the instance's directory"))?;
        let mut garbage = self.garbage()?;
        // Older manifests at once, readers or not: nothing may pass one for the state.
        garbage.retain(|name| {
            number(name, "manifest").is_none() || self.disk.remove_file(&self.dir.join(name)).is_err()
        });
        let proven = self.manifest.clean.is_some();
        let log = LogWriter::resume(&*self.disk, &self.dir, &self.uuid, log, proven, options.durability)?;
        let mut writer = Writer {
            disk: self.disk,
            dir: self.dir,
            uuid: self.uuid,
            options,
            next_segment: self.manifest.next_segment,
            manifest: self.manifest,
            log,
            next_order,
            snapshot: Arc::new(snapshot),
            garbage,
            stopped: None,
            halted: Arc::default(),
            _lock: self.lock,
        };
        writer.collect_garbage();
        Ok(writer)
    }

    /// Files of the directory that the manifest does not name: left by a crash, or not removed for a reader.
    fn garbage(&self) -> Result<Vec<String>, StoreError> {
        let manifest = &self.manifest;
        let names = self.disk.list(&self.dir).map_err(StoreError::io("list", "the instance's directory"))?;
        let mut keep: Vec<String> = vec![super::manifest::name(manifest.generation)];
        keep.extend(manifest.logs.iter().map(|log| log::name(log.id)));
        keep.extend(manifest.centres.iter().map(|centres| centres::name(centres.id)));
        for entry in &manifest.segments {
            keep.push(segment::name(entry.id));
            keep.extend(entry.dead.map(|generation| dead::name(entry.id, generation)));
        }
        let ours = |name: &String| {
            name.starts_with("tmp-")
                || name.starts_with("dead-")
                || ["manifest", "log", "seg", "cent"].iter().any(|prefix| number(name, prefix).is_some())
        };
        Ok(names.into_iter().filter(|name| ours(name) && !keep.contains(name)).collect())
    }
}

/// Writes the files of a new, empty store into an existing directory that nobody else knows of yet.
pub(crate) fn create(
    disk: &dyn Disk,
    dir: &Path,
    about: About,
    schema: Schema,
    layout: Layout,
) -> Result<(), CreateError> {
    let mut uuid: Uuid = [0; 16];
    let random = disk.random(&mut uuid);
    random.map_err(|e| CreateError::Log(StoreError::io("draw an identity for", "the instance")(e)))?;
    let log = LogWriter::create(disk, dir, &uuid, 1, 1, Default::default()).map_err(CreateError::Log)?;
    let manifest = Manifest {
        generation: 1,
        about,
        schema,
        layout,
        segments: Vec::new(),
        logs: vec![LogEntry { id: 1, first_sequence: 1, ended: None }],
        centres: Vec::new(),
        next_segment: 1,
        next_order: 1,
        clean: Some(CleanMark { len: log.len(), crc: log.crc() }),
    };
    manifest.write(disk, dir, &uuid).map_err(|error| CreateError::Manifest(error.into_inner()))
}
