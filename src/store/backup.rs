//! A copy of the newest state in another directory, which opens as a store of its own.

use std::io;
use std::path::Path;

use super::disk::Disk;
use super::error::StoreError;
use super::manifest::{CleanMark, Manifest};
use super::{Core, READERS, WRITER, centres, dead, log, segment};
use crate::cancel::CancelToken;

/// Directories that are being made begin with this, and no instance's name does.
pub(crate) const MAKING: &str = ".tmp-create-";

/// Why there is no copy.
#[derive(Debug)]
pub(crate) enum BackUpError {
    /// Something of that name is there already.
    Exists,
    /// It was called off.
    Cancelled,
    /// The directory could not be made.
    Directory(StoreError),
    Store(StoreError),
}

impl From<StoreError> for BackUpError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Core {
    /// Puts a copy of the newest state into the directory `name` of `gallery`; durable when it returns. Files that nobody
    /// changes any more are linked if the file system can, and copied else.
    pub(crate) fn back_up(
        &self,
        gallery: &Path,
        name: &str,
        cancel: Option<&CancelToken>,
    ) -> Result<(), BackUpError> {
        let disk = &*self.disk;
        drop(self.writable()?);
        let (making, made) = (gallery.join(format!("{MAKING}{name}")), gallery.join(name));
        disk.create_dirs(gallery).map_err(|e| BackUpError::Directory(io("create", gallery)(e)))?;
        let there = disk.list(gallery).map_err(io("list", gallery))?;
        if there.iter().any(|other| other == name) {
            return Err(BackUpError::Exists);
        }
        disk.create_dirs(&making).map_err(|e| BackUpError::Directory(io("create", &making)(e)))?;
        // Another copy at work there, or an opening of that gallery that clears up, has it.
        let lock = disk.lock(&making.join(WRITER), true).map_err(io("lock", &making))?;
        let _lock = lock.ok_or(BackUpError::Exists)?;
        let copied = (|| {
            // What an interrupted copy left may be links to files of this store: they go, and are never written to.
            for file in disk.list(&making).map_err(io("list", &making))? {
                if file != WRITER {
                    disk.remove_file(&making.join(&file)).map_err(io("remove the files of", &making))?;
                }
            }
            self.copy_state(&making, cancel)?;
            disk.rename(&making, &made).map_err(|error| match error.kind() {
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => BackUpError::Exists,
                _ => io("rename", &making)(error).into(),
            })?;
            Ok(disk.sync_dir(gallery).map_err(io("sync", gallery))?)
        })();
        if copied.is_err() {
            let _ = remove_tree(disk, &making);
        }
        copied
    }

    fn copy_state(&self, to: &Path, cancel: Option<&CancelToken>) -> Result<(), BackUpError> {
        let disk = &*self.disk;
        // The state: the durable manifest, and the log as long as it is now. Both are of one moment under the writer's lock;
        // after it the log only grows behind that length, and while the readers' lock is held no file is removed.
        let (mut manifest, uuid, log_id, mark, _readers) = {
            let writer = self.writable()?;
            writer.ready()?;
            let readers =
                disk.lock(&self.dir.join(READERS), false).map_err(StoreError::io("lock", READERS))?;
            let readers = readers.ok_or(StoreError::Locked)?;
            let mark = CleanMark { len: writer.log.len(), crc: writer.log.crc() };
            (writer.manifest.clone(), writer.uuid, writer.log.id(), mark, readers)
        };
        for file in sealed_files(&manifest) {
            if cancel.is_some_and(CancelToken::is_cancelled) {
                return Err(BackUpError::Cancelled);
            }
            disk.link(&self.dir.join(&file), &to.join(&file)).map_err(StoreError::io("copy", &file))?;
        }
        let name = log::name(log_id);
        let bytes = disk.read(&self.dir.join(&name)).map_err(StoreError::io("read", &name))?;
        let bytes = usize::try_from(mark.len).ok().and_then(|len| bytes.get(..len));
        let bytes = bytes.filter(|bytes| crc32fast::hash(bytes) == mark.crc);
        let what = "the log is not what was written to it";
        let bytes = bytes.ok_or(StoreError::Corrupt { file: name.clone(), offset: 0, what })?;
        let copy = || {
            let mut file = disk.create(&to.join(&name))?;
            file.write(bytes)?;
            file.sync()
        };
        copy().map_err(StoreError::io("copy", &name))?;
        // As after a close: the log must be just this.
        manifest.clean = Some(mark);
        Ok(manifest.write(disk, to, &uuid).map_err(|error| error.into_inner())?)
    }
}

/// The error for a fault of a directory.
fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let file = path.display().to_string();
    move |source| StoreError::Io { action, file, source }
}

/// Files of a state that nobody changes any more: all but the manifest and the last log.
fn sealed_files(manifest: &Manifest) -> Vec<String> {
    let mut files = Vec::new();
    for entry in &manifest.segments {
        files.push(segment::name(entry.id));
        files.extend(entry.dead.map(|generation| dead::name(entry.id, generation)));
    }
    files.extend(manifest.centres.iter().map(|centres| centres::name(centres.id)));
    files.extend(manifest.logs.iter().filter(|log| log.ended.is_some()).map(|log| log::name(log.id)));
    files
}

/// Removes a directory and the files in it; instances hold no directories.
pub(crate) fn remove_tree(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    for name in disk.list(dir)? {
        disk.remove_file(&dir.join(name))?;
    }
    disk.remove_dir(dir)
}
