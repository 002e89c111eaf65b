//! All file work goes through here, so that a test can put a disk under the store that fails.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::map::Mapped;

/// A file system as the store needs it. Errors are the operating system's.
pub(crate) trait Disk: Send + Sync {
    /// Makes a directory and its parents, durably. The name of one that is there is made durable, if its parent may be
    /// opened: whoever made it may have died before.
    fn create_dirs(&self, dir: &Path) -> io::Result<()>;
    /// Names in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// A whole small file.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>>;
    /// A sealed file that nobody changes while it is mapped.
    fn map(&self, file: &Path) -> io::Result<Mapped>;
    /// A new file; one of that name is emptied.
    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// An existing file, cut to `len` bytes, to be written on from there.
    fn append(&self, file: &Path, len: u64) -> io::Result<Box<dyn DiskFile>>;
    /// Moves a file or a directory within one parent directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// A second name for a file that nobody changes any more, or a copy of it under that name, durable but for the name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let bytes = self.read(from)?;
        let mut copy = self.create(to)?;
        copy.write(&bytes)?;
        copy.sync()
    }
    fn remove_file(&self, file: &Path) -> io::Result<()>;
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes names made, moved or removed in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// A lock of the operating system on a file, which is made if need be; none when somebody else has it. It
    /// ends with the guard, or with the process.
    fn lock(&self, file: &Path, exclusive: bool) -> io::Result<Option<Box<dyn DiskLock>>>;
    /// Bytes of memory that files may take without anything else having to leave it; none where nobody knows.
    fn free_memory(&self) -> Option<u64> {
        None
    }
    /// Bytes that nobody else draws: for identities and for names that must differ.
    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::from)
    }
}

/// A file open for writing at its end.
pub(crate) trait DiskFile: Send {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written so far durable, the length included.
    fn sync(&mut self) -> io::Result<()>;
    /// Writes again, at `at`, bytes that are there, so that the next sync writes them whatever became of an earlier one;
    /// goes on at the end of the file.
    fn rewrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file to `len` bytes and goes on from there.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

/// Holds a lock until it drops.
pub(crate) trait DiskLock: Send + Sync {}

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        // The name of a directory lies in its parent, and is durable when the parent was synced: before anything is made in
        // it, so that of all that are there only the last can be without.
        let parent = |dir: &Path| match dir.parent() {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            parent => parent.unwrap_or(dir).to_owned(),
        };
        let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
        for dir in missing.iter().rev().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::create_dir_all(dir)?;
            self.sync_dir(&parent(dir))?;
        }
        fs::create_dir_all(dir)?;
        match self.sync_dir(&parent(dir)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // A name that is not UTF-8 is not one of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        fs::read(file)
    }

    fn map(&self, file: &Path) -> io::Result<Mapped> {
        Mapped::open(file)
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(File::create(file)?)))
    }

    fn append(&self, file: &Path, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut file = RealFile(OpenOptions::new().write(true).open(file)?);
        if file.0.metadata()?.len() != len {
            file.cut(len)?;
            file.sync()?;
        } else {
            io::Seek::seek(&mut file.0, io::SeekFrom::Start(len))?;
        }
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::hard_link(from, to) {
            // Never onto a file that is there: it might be a link to another store's.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let mut copy = OpenOptions::new().write(true).create_new(true).open(to)?;
                io::copy(&mut File::open(from)?, &mut copy)?;
                copy.sync_all()
            }
            linked => linked,
        }
    }

    fn remove_file(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Windows has no such call: a rename there is durable with the file system's own journal.
        if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
    }

    fn lock(&self, file: &Path, exclusive: bool) -> io::Result<Option<Box<dyn DiskLock>>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file)?;
        match if exclusive { file.try_lock() } else { file.try_lock_shared() } {
            Ok(()) => Ok(Some(Box::new(RealLock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_memory(&self) -> Option<u64> {
        if cfg!(target_os = "linux") { available(&fs::read_to_string("/proc/meminfo").ok()?) } else { None }
    }
}

/// What Linux says of its memory: the line `MemAvailable:  1234 kB`.
fn available(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn rewrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        io::Seek::seek(&mut self.0, io::SeekFrom::Start(at))?;
        self.0.write_all(bytes)?;
        io::Seek::seek(&mut self.0, io::SeekFrom::End(0)).map(|_| ())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)?;
        io::Seek::seek(&mut self.0, io::SeekFrom::Start(len)).map(|_| ())
    }
}

/// The lock is the open file's: closing it lets go.
struct RealLock(#[allow(dead_code, reason = "held, not read")] File);

impl DiskLock for RealLock {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_never_made_onto_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("from"), b"new").unwrap();
        RealDisk.link(&path("from"), &path("to")).unwrap();
        assert_eq!(fs::read(path("to")).unwrap(), b"new");
        fs::write(path("there"), b"old").unwrap();
        let refused = RealDisk.link(&path("from"), &path("there")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(path("there")).unwrap(), b"old");
    }

    #[test]
    fn free_memory_is_read() {
        let meminfo = "MemTotal:       24637412 kB\nMemAvailable:   22890428 kB\nBuffers: 1 kB\n";
        assert_eq!(available(meminfo), Some(22_890_428 << 10));
        for unknown in [
            "",
            "MemTotal: 5 kB",
            "MemAvailable: 5 MB",
            "MemAvailable: -5 kB",
            "MemAvailable: 18014398509481984 kB",
        ] {
            assert_eq!(available(unknown), None, "{unknown:?}");
        }
        if cfg!(target_os = "linux") {
            assert!(RealDisk.free_memory().is_some_and(|bytes| bytes > 1 << 20));
        }
    }

    #[test]
    fn random_bytes_differ() {
        let draw = || {
            let mut bytes = [0; 16];
            RealDisk.random(&mut bytes).map(|()| bytes).unwrap()
        };
        assert_ne!(draw(), draw());
    }
}
