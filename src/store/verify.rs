//! Checking every byte of every file of an open store.

use super::error::StoreError;
use super::frame::Uuid;
use super::manifest::{CleanMark, LogEntry, Manifest};
use super::recover::Files;
use super::{Core, centres, dead, lock, log};

impl Core {
    /// Reads and checks every byte of the state's files. Segments are checked as they are mapped, the others are read
    /// again from the disk.
    pub(crate) fn verify(&self) -> Result<(), StoreError> {
        let segments = self.files()?;
        let snapshot = self.snapshot();
        for sealed in &snapshot.sealed {
            let id = sealed.segment.id();
            // One that was sealed or merged in between was written a moment ago.
            if let Some(entry) = segments.manifest.segments.iter().find(|entry| entry.id == id) {
                sealed.segment.verify(&snapshot.uuid, id, &snapshot.layout, entry.crc)?;
            }
        }
        // While these are held no file of the state is removed.
        let _held = (lock(&self.merging), lock(&self.sealing));
        let files = self.files()?;
        let snapshot = self.snapshot();
        let (disk, dir, uuid) = (&*self.disk, &*self.dir, &snapshot.uuid);
        let assigned_by = self.weights.first().map(Vec::as_slice).unwrap_or_default();
        self.verify_manifest(uuid)?;
        for entry in &files.manifest.centres {
            centres::read(disk, dir, uuid, entry, &snapshot.layout, assigned_by)?;
        }
        for entry in &files.manifest.segments {
            if let Some(generation) = entry.dead {
                dead::read(disk, dir, uuid, (entry.id, generation), entry.rows)?;
            }
        }
        files.manifest.logs.iter().try_for_each(|entry| self.verify_log(uuid, entry, files.log))
    }

    /// The files of the state at this moment.
    fn files(&self) -> Result<Files, StoreError> {
        let opened = self.files.as_deref().cloned();
        let of_writer = self.writer.as_ref().map(|writer| {
            let writer = lock(writer);
            let log = CleanMark { len: writer.log.len(), crc: writer.log.crc() };
            Files { manifest: writer.manifest.clone(), log }
        });
        of_writer.or(opened).ok_or(StoreError::ReadOnly)
    }

    /// The manifest on the disk is the state's; beside a writer of another process it may be a newer one.
    fn verify_manifest(&self, uuid: &Uuid) -> Result<(), StoreError> {
        // No other manifest takes its place while the writer is held.
        let writer = self.writer.as_ref().map(lock);
        let (its_uuid, manifest) = Manifest::read(&*self.disk, &self.dir)?;
        let same = writer.is_none_or(|writer| writer.stopped.is_some() || writer.manifest == manifest);
        if same && its_uuid == *uuid {
            return Ok(());
        }
        let file = super::manifest::name(manifest.generation);
        Err(StoreError::Corrupt { file, offset: 0, what: "not the manifest of the state" })
    }

    fn verify_log(&self, uuid: &Uuid, entry: &LogEntry, last: CleanMark) -> Result<(), StoreError> {
        let name = log::name(entry.id);
        let bytes = self.disk.read(&self.dir.join(&name)).map_err(StoreError::io("read", &name))?;
        let mark = entry.ended.unwrap_or(last);
        let what = "the log is not what was written";
        let short = || StoreError::Corrupt { file: name.clone(), offset: bytes.len() as u64, what };
        // What was appended meanwhile is not looked at.
        let len = usize::try_from(mark.len).ok();
        let known = len.and_then(|len| bytes.get(..len)).ok_or_else(short)?;
        let read = log::read(known, uuid, entry.id, Some(entry.first_sequence))?;
        if read.len == mark.len && crc32fast::hash(known) == mark.crc {
            return Ok(());
        }
        Err(StoreError::Corrupt { file: name, offset: read.len.min(mark.len), what })
    }
}
