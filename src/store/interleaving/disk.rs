//! A disk that lets others run before each call.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use super::{Row, layout, options, rows};
use crate::store::Store;
use crate::store::disk::{Disk, DiskFile, DiskLock};
use crate::store::manifest::About;
use crate::store::map::Mapped;
use crate::store::memory::{MemoryDisk, Survivors};
use crate::store::recover::{Opened, Opening, create};
use crate::store::sync::thread;
use crate::store::writer::Options;
use crate::tags::Schema;

pub(super) const DIR: &str = "/store";

/// What a disk that is to panic panics with: not a message, for it is met thousands of times.
pub(super) struct Planned;

/// The memory disk with a choice of the scheduler before each call, while nothing of it is locked.
#[derive(Clone)]
pub(super) struct TurnDisk {
    pub(super) inner: MemoryDisk,
    plan: Arc<std::sync::Mutex<Plan>>,
}

#[derive(Default)]
pub(super) struct Plan {
    pub(super) calls: u64,
    pub(super) panic_at: Option<u64>,
    /// Segments that cannot be made.
    pub(super) refused: u64,
    /// Frames written to logs, centres made, segments removed.
    pub(super) frames: u64,
    pub(super) centres: u64,
    pub(super) removed: u64,
}

impl TurnDisk {
    /// A disk with an empty store.
    pub(super) fn new() -> Self {
        static EMPTY: OnceLock<MemoryDisk> = OnceLock::new();
        let empty = EMPTY.get_or_init(|| {
            let disk = MemoryDisk::new(1);
            disk.create_dirs(Path::new(DIR)).unwrap();
            let about = About {
                name: "store".to_owned(),
                model: "model".to_owned(),
                model_version: 1,
                description: String::new(),
                level: 1000,
                capacity: 1000,
                registered_ms: 0,
            };
            assert!(create(&disk, Path::new(DIR), about, Schema::default(), layout()).is_ok());
            disk
        });
        Self { inner: empty.restart(), plan: Arc::default() }
    }

    pub(super) fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self, options: Options) -> Store {
        let opening = Opening::begin(Arc::new(self.clone()), Path::new(DIR), true).unwrap();
        Store::open(opening, options).unwrap()
    }

    fn turn(&self) {
        thread::sleep(Duration::ZERO);
        let mut plan = self.plan();
        plan.calls += 1;
        if plan.panic_at == Some(plan.calls) {
            drop(plan);
            std::panic::resume_unwind(Box::new(Planned));
        }
    }

    /// What the next process finds if this one is killed now, and if the power is cut.
    pub(super) fn recovered(&self) -> [Vec<Row>; 2] {
        let mut cuts = self.inner.cuts();
        while cuts.advance() {}
        [self.inner.restart(), cuts.cut(Survivors::Nothing, 1)].map(|disk| {
            let opening = Opening::begin(Arc::new(disk), Path::new(DIR), true).unwrap();
            match opening.finish(options(false, 100)).unwrap() {
                (Opened::Writer(writer), _) => rows(&writer.snapshot),
                (Opened::Reader { .. }, _) => unreachable!("it was opened to be written"),
            }
        })
    }
}

impl Disk for TurnDisk {
    fn create_dirs(&self, dir: &Path) -> io::Result<()> {
        self.turn();
        self.inner.create_dirs(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.turn();
        self.inner.list(dir)
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        self.turn();
        self.inner.read(file)
    }

    fn map(&self, file: &Path) -> io::Result<Mapped> {
        self.turn();
        self.inner.map(file)
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.turn();
        let name = file.to_string_lossy();
        let is_log = name.contains("log-");
        {
            let mut plan = self.plan();
            if name.contains("seg-") && plan.refused > 0 {
                plan.refused -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            plan.centres += u64::from(name.contains("cent-"));
        }
        Ok(Box::new(TurnFile { disk: self.clone(), is_log, inner: self.inner.create(file)? }))
    }

    fn append(&self, file: &Path, len: u64) -> io::Result<Box<dyn DiskFile>> {
        self.turn();
        let is_log = file.to_string_lossy().contains("log-");
        Ok(Box::new(TurnFile { disk: self.clone(), is_log, inner: self.inner.append(file, len)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.turn();
        self.inner.rename(from, to)
    }

    fn remove_file(&self, file: &Path) -> io::Result<()> {
        self.turn();
        self.plan().removed += u64::from(file.to_string_lossy().contains("/seg-"));
        self.inner.remove_file(file)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.turn();
        self.inner.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.turn();
        self.inner.sync_dir(dir)
    }

    fn lock(&self, file: &Path, exclusive: bool) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.turn();
        self.inner.lock(file, exclusive)
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.random(bytes)
    }
}

struct TurnFile {
    disk: TurnDisk,
    is_log: bool,
    inner: Box<dyn DiskFile>,
}

impl DiskFile for TurnFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.turn();
        self.disk.plan().frames += u64::from(self.is_log);
        self.inner.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.turn();
        self.inner.sync()
    }

    fn rewrite(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.turn();
        self.inner.rewrite(at, bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.disk.turn();
        self.inner.cut(len)
    }
}
