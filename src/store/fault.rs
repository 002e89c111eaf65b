//! A disk that fails on demand, for tests.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::disk::{Disk, DiskFile, DiskLock, RealDisk};
use super::map::Mapped;

/// A kind of call to the disk: what [`FaultDisk`]'s rules name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiskCall {
    /// Make a directory.
    CreateDirs,
    /// List a directory.
    List,
    /// Read a whole file.
    Read,
    /// Map a sealed file.
    Map,
    /// Make a file.
    Create,
    /// Open a file to write on.
    Append,
    /// Write to a file.
    Write,
    /// Sync a file.
    Sync,
    /// Cut a file.
    Cut,
    /// Rename a file or directory; the name is the new one.
    Rename,
    /// Remove a file.
    RemoveFile,
    /// Remove a directory.
    RemoveDir,
    /// Sync a directory.
    SyncDir,
    /// Lock a file.
    Lock,
}

/// The real file system with faults: hand it to [`GalleryBuilder::fault_disk`](crate::GalleryBuilder::fault_disk). Clones
/// share their rules.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
/// use std::io::ErrorKind::StorageFull;
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use lookalike::testing::{DiskCall, FaultDisk};
///
/// let disk = FaultDisk::new();
/// let gallery = Gallery::builder(dir.path()).fault_disk(disk.clone()).background(false).open()?;
/// let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
/// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
///
/// disk.fail(DiskCall::Create, "tmp-seg", StorageFull);
/// let refused = photos.optimize().unwrap_err();
/// assert_eq!((refused.code(), refused.kind()), (Code::TemporaryFileNotSaved, ErrorKind::DiskFull));
///
/// disk.heal();
/// static SYNCS: AtomicU32 = AtomicU32::new(0);
/// disk.before(DiskCall::Sync, "tmp-seg", || drop(SYNCS.fetch_add(1, Relaxed)));
/// photos.optimize()?;
/// assert!(SYNCS.load(Relaxed) > 0);
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct FaultDisk {
    shared: Arc<Mutex<Vec<Rule>>>,
}

#[derive(Clone)]
struct Rule {
    call: DiskCall,
    name: String,
    action: Action,
}

#[derive(Clone)]
enum Action {
    Fail(io::ErrorKind),
    Run(Arc<dyn Fn() + Send + Sync>),
}

impl FaultDisk {
    /// A disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on every `call` on a file whose path contains `name` fails with `error`.
    pub fn fail(&self, call: DiskCall, name: &str, error: io::ErrorKind) {
        self.rules().push(Rule { call, name: name.to_owned(), action: Action::Fail(error) });
    }

    /// From now on `run` is called before every `call` on a file whose path contains `name`.
    pub fn before(&self, call: DiskCall, name: &str, run: impl Fn() + Send + Sync + 'static) {
        self.rules().push(Rule { call, name: name.to_owned(), action: Action::Run(Arc::new(run)) });
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.rules().clear();
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Vec<Rule>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, call: DiskCall, path: &Path) -> io::Result<()> {
        let path = path.to_string_lossy();
        let due: Vec<Action> = self
            .rules()
            .iter()
            .filter(|rule| rule.call == call && path.contains(&rule.name))
            .map(|rule| rule.action.clone())
            .collect();
        for action in due {
            match action {
                Action::Fail(kind) => return Err(io::Error::new(kind, "injected fault")),
                Action::Run(run) => run(),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for FaultDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultDisk({} rules)", self.rules().len())
    }
}

impl Disk for FaultDisk {
    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        self.pass(DiskCall::CreateDirs, dir)?;
        RealDisk.create_dirs(dir)
    }

    fn free_memory(&self) -> Option<u64> {
        RealDisk.free_memory()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.pass(DiskCall::List, dir)?;
        RealDisk.list(dir)
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        self.pass(DiskCall::Read, file)?;
        RealDisk.read(file)
    }

    fn map(&self, file: &Path) -> io::Result<Mapped> {
        self.pass(DiskCall::Map, file)?;
        RealDisk.map(file)
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.pass(DiskCall::Create, file)?;
        let inner = RealDisk.create(file)?;
        Ok(Box::new(FaultFile { disk: self.clone(), path: file.into(), inner }))
    }

    fn append(&self, file: &Path, len: u64) -> io::Result<Box<dyn DiskFile>> {
        self.pass(DiskCall::Append, file)?;
        let inner = RealDisk.append(file, len)?;
        Ok(Box::new(FaultFile { disk: self.clone(), path: file.into(), inner }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(DiskCall::Rename, to)?;
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, file: &Path) -> io::Result<()> {
        self.pass(DiskCall::RemoveFile, file)?;
        RealDisk.remove_file(file)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass(DiskCall::RemoveDir, dir)?;
        RealDisk.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass(DiskCall::SyncDir, dir)?;
        RealDisk.sync_dir(dir)
    }

    fn lock(&self, file: &Path, exclusive: bool) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.pass(DiskCall::Lock, file)?;
        RealDisk.lock(file, exclusive)
    }
}

struct FaultFile {
    disk: FaultDisk,
    path: Box<Path>,
    inner: Box<dyn DiskFile>,
}

impl DiskFile for FaultFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.disk.pass(DiskCall::Write, &self.path) {
            // What a full disk does: half of it is written.
            self.inner.write(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.pass(DiskCall::Sync, &self.path)?;
        self.inner.sync()
    }

    fn rewrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.pass(DiskCall::Write, &self.path)?;
        self.inner.rewrite(at, bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.disk.pass(DiskCall::Cut, &self.path)?;
        self.inner.cut(len)
    }
}
