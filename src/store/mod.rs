//! Durable state: a log, sealed segments, a manifest. Knows rows and records, not pictures.

/// Whether a bug is planted: never, but in builds for the crash simulator.
#[cfg(feature = "seeded-bugs")]
macro_rules! planted {
    ($bug:ident) => {
        crate::store::seeded::is_planted(crate::store::seeded::SeededBug::$bug)
    };
}
#[cfg(not(feature = "seeded-bugs"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

mod backup;
mod bytes;
mod centres;
mod codec;
mod compact;
mod dead;
pub(crate) mod disk;
mod draft;
mod error;
#[cfg(feature = "testing")]
mod fault;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod import;
#[cfg(all(test, lookalike_shuttle))]
mod interleaving;
mod log;
mod lookup;
mod manifest;
mod map;
#[cfg(any(feature = "testing", all(test, lookalike_shuttle)))]
#[cfg_attr(not(feature = "testing"), allow(dead_code, unreachable_pub, reason = "only some of it"))]
mod memory;
mod mend;
mod record;
mod recover;
mod repair;
mod runs;
#[cfg(feature = "seeded-bugs")]
mod seeded;
mod segment;
mod snapshot;
mod sync;
mod tail;
mod training;
mod upkeep;
mod verify;
mod writer;

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

pub(crate) use backup::{BackUpError, MAKING, remove_tree};
pub use draft::OnExisting;
pub(crate) use draft::{Op, OpError, Outcome};
pub(crate) use error::StoreError;
#[cfg(feature = "testing")]
pub use fault::{DiskCall, FaultDisk};
pub use log::Durability;
pub(crate) use lookup::{Look, Looked};
pub(crate) use manifest::{About, Manifest};
#[cfg(feature = "testing")]
pub use memory::{Cuts, DiskFault, MemoryDisk, Survivors};
pub(crate) use record::Hash;
pub(crate) use recover::{CreateError, OpenError, Opening, create};
pub(crate) use repair::Repairing;
pub use repair::{DamagedFile, Repaired};
#[cfg(feature = "seeded-bugs")]
pub use seeded::{Planted, SeededBug};
pub(crate) use snapshot::Snapshot;
pub(crate) use writer::Options;

use self::disk::{Disk, DiskLock};
use self::recover::{Files, Opened};
use self::sync::thread::{self, JoinHandle};
use self::sync::{Condvar, Mutex, MutexGuard, RwLock};
use self::upkeep::Upkeep;
use self::writer::{Results, Writer};
use crate::tags::Schema;

/// Held exclusively by the one writer of an instance, in whatever process.
pub(crate) const WRITER: &str = "WRITER";
/// Held by readers of other processes; exclusively, for a moment, while files are removed.
pub(crate) const READERS: &str = "READERS";

/// An open store: any number of readers of snapshots, one writer, and the threads that build segments beside it.
pub(crate) struct Store {
    core: Arc<Core>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads of a store share with its callers.
///
/// Locks are taken in this order: `merging`, the turn to commit, `sealing`, the writer, `upkeep`.
pub(crate) struct Core {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    snapshot: RwLock<Arc<Snapshot>>,
    /// None when the store was opened to be read only.
    writer: Option<Mutex<Writer>>,
    queue: Mutex<Queue>,
    /// Told when results are there, or the writer is free.
    turn: Condvar,
    /// Held by whoever seals, and by whoever merges.
    sealing: Mutex<()>,
    merging: Mutex<()>,
    upkeep: Mutex<Upkeep>,
    /// Told when something is to be built, or was.
    wake: Condvar,
    /// The store is being closed: what is being built is not wanted any more.
    closing: AtomicBool,
    /// Everything is being merged: merges of parts would be in vain.
    optimizing: AtomicBool,
    /// Whether there are threads that seal and merge.
    background: bool,
    abnormal: AtomicBool,
    /// The files of a store that was opened to be read only.
    files: Option<Box<Files>>,
    /// The writer stopped: what of its last changes is on disk is unknown.
    halted: Arc<AtomicBool>,
    capacity: u64,
    torn_bytes: u64,
    weights: Arc<[Vec<f32>]>,
    _lock: Option<Box<dyn DiskLock>>,
}

/// Changes that wait for the writer. The first caller that finds the writer free commits them all in one group.
#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    busy: bool,
}

/// Changes of one caller, and where their results go.
struct Waiting {
    ops: Vec<Op>,
    results: Arc<Mutex<Option<Results>>>,
}

/// The right to commit, until it drops, however it drops: others wait.
struct Turn<'a>(&'a Core);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.0.queue).busy = false;
        self.0.turn.notify_all();
    }
}

/// A lock whatever happened to its last holder: the data behind ours is valid at every moment, but for the writer's, see
/// [`lock_writer`].
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writer. One that panicked may not know which manifest stands on the disk: it takes no more changes.
fn lock_writer(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(|poisoned| {
        let mut writer = poisoned.into_inner();
        writer.stop(&StoreError::Stopped("a change panicked".to_owned()));
        writer
    })
}

impl Store {
    pub(crate) fn open(opening: Opening, options: Options) -> Result<Self, OpenError> {
        let capacity = opening.manifest().about.capacity;
        let (disk, dir) = (opening.disk(), opening.dir().to_owned());
        let (background, preload) = (options.background, options.preload);
        let weights = options.weights.clone();
        let (opened, found) = opening.finish(options)?;
        let mut halted = Arc::default();
        let (snapshot, writer, lock, files) = match opened {
            Opened::Writer(writer) => {
                halted = writer.halted.clone();
                (writer.snapshot.clone(), Some(Mutex::new(*writer)), None, None)
            }
            Opened::Reader { snapshot, lock, files } => (snapshot, None, Some(lock), Some(files)),
        };
        let core = Arc::new(Core {
            disk,
            dir,
            snapshot: RwLock::new(snapshot),
            writer,
            queue: Mutex::default(),
            turn: Condvar::new(),
            sealing: Mutex::default(),
            merging: Mutex::default(),
            upkeep: Mutex::new(Upkeep::at_opening()),
            wake: Condvar::new(),
            closing: AtomicBool::new(false),
            optimizing: AtomicBool::new(false),
            background,
            abnormal: AtomicBool::new(false),
            files,
            halted,
            capacity,
            torn_bytes: found.torn_bytes,
            weights,
            _lock: lock,
        });
        let mut store = Self { core, threads: Vec::new() };
        if background && store.core.writer.is_some() {
            store.spawn("lookalike-seal", Core::seal_loop).map_err(OpenError::Files)?;
            store.spawn("lookalike-merge", Core::merge_loop).map_err(OpenError::Files)?;
        }
        if preload {
            store.spawn("lookalike-preload", Core::preload_once).map_err(OpenError::Files)?;
        }
        Ok(store)
    }

    fn spawn(&mut self, name: &str, run: fn(&Core)) -> Result<(), StoreError> {
        let core = self.core.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || run(&core));
        self.threads.push(thread.map_err(StoreError::io("start the threads of", "the instance"))?);
        Ok(())
    }
}

impl Deref for Store {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl Core {
    /// The newest state. Whatever returned `Ok` before is in it.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Images the instance takes.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes of unacknowledged changes that the opening cut.
    pub(crate) fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Takes no more changes, not even the mark of a clean close: the instance is being deleted. Waits for the
    /// change that is under way.
    pub(crate) fn abandon(&self) {
        if let Some(writer) = &self.writer {
            self.closing.store(true, Ordering::Relaxed);
            lock_writer(writer).stop(&StoreError::Stopped("the instance was deleted".to_owned()));
        }
    }

    fn publish(&self, writer: &Writer) {
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = writer.snapshot.clone();
    }

    /// Notes that files are damaged: no more changes are taken.
    pub(crate) fn set_abnormal(&self) {
        self.abnormal.store(true, Ordering::Relaxed);
    }

    /// Whether writing stopped after a failure: what is there now is what the next opening finds, but for the last change
    /// that failed.
    pub(crate) fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    pub(crate) fn is_abnormal(&self) -> bool {
        self.abnormal.load(Ordering::Relaxed)
    }

    /// The writer, for a caller: not when files are damaged.
    fn writer_for_changes(&self) -> Result<&Mutex<Writer>, StoreError> {
        if self.is_abnormal() {
            return Err(StoreError::Abnormal);
        }
        self.writer.as_ref().ok_or(StoreError::ReadOnly)
    }

    fn writable(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
        self.writer_for_changes().map(lock_writer)
    }

    /// The weights of the blocks in each mode, each with a sum of 1.
    pub(crate) fn weights(&self) -> &[Vec<f32>] {
        &self.weights
    }

    /// Makes changes durable and visible; one result a change, in order.
    ///
    /// Callers that come while the writer is busy are committed together by the next one that gets it: one sync
    /// for all.
    pub(crate) fn commit(&self, ops: Vec<Op>) -> Results {
        let writer = match self.writer_for_changes() {
            Ok(writer) => writer,
            Err(error) => {
                let error = Arc::new(error);
                return ops.iter().map(|_| Err(OpError::Log(error.clone()))).collect();
            }
        };
        let count = ops.len();
        let results = Arc::new(Mutex::new(None));
        let mut queue = lock(&self.queue);
        queue.waiting.push(Waiting { ops, results: results.clone() });
        while queue.busy && lock(&results).is_none() {
            queue = self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if lock(&results).is_none() {
            queue.busy = true;
            let group = std::mem::take(&mut queue.waiting);
            drop(queue);
            let turn = Turn(self);
            self.commit_waiting(writer, group);
            // Others commit while segments are merged; and whoever imports holds the lock of merges and waits for its turn.
            drop(turn);
            if !self.background || !compact::due(&self.snapshot()).is_empty() {
                self.tend();
            }
        } else {
            drop(queue);
        }
        let results = lock(&results).take();
        results.unwrap_or_else(|| {
            let error = Arc::new(StoreError::Stopped("a commit gave no result".to_owned()));
            (0..count).map(|_| Err(OpError::Log(error.clone()))).collect()
        })
    }

    fn commit_waiting(&self, writer: &Mutex<Writer>, group: Vec<Waiting>) {
        let (mut ops, mut receivers) = (Vec::new(), Vec::new());
        for waiting in group {
            receivers.push((waiting.ops.len(), waiting.results));
            ops.extend(waiting.ops);
        }
        let mut all: Results = Vec::with_capacity(ops.len());
        for ops in writer::groups(ops) {
            // A panic while room is made is why there is none.
            let no_room = self.guarded(|| Ok(self.make_room())).unwrap_or_else(|error| Some(Arc::new(error)));
            let mut writer = lock_writer(writer);
            let count = ops.len();
            match catch_unwind(AssertUnwindSafe(|| writer.commit(ops, no_room))) {
                Ok(results) => all.extend(results),
                Err(_) => {
                    let error = StoreError::Stopped("a commit panicked".to_owned());
                    writer.stop(&error);
                    let error = Arc::new(error);
                    all.extend((0..count).map(|_| Err(OpError::Log(error.clone()))));
                }
            }
            self.publish(&writer);
        }
        let mut all = all.into_iter();
        for (count, results) in receivers {
            *lock(&results) = Some(all.by_ref().take(count).collect());
        }
    }

    /// Replaces the tag keys by what `next` makes of them.
    pub(crate) fn change_schema<E: From<StoreError>>(
        &self,
        next: impl FnOnce(&Schema) -> Result<Schema, E>,
    ) -> Result<(), E> {
        let mut writer = self.writable()?;
        let schema = next(&writer.snapshot.schema)?;
        writer.set_schema(schema)?;
        self.publish(&writer);
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.core.stop_threads();
        for thread in self.threads.drain(..) {
            // A panic in it was caught; whatever it was building is no part of the state.
            let _ = thread.join();
        }
        if let Some(writer) = &self.core.writer {
            // Nothing is lost without the mark: the log has everything. It only lets the next opening see more.
            let _ = catch_unwind(AssertUnwindSafe(|| lock_writer(writer).close()));
        }
    }
}
