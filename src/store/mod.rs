//! Durable state: a log, sealed segments, a manifest. Knows rows and records, not pictures.

mod bytes;
mod codec;
mod compact;
mod dead;
pub(crate) mod disk;
mod draft;
mod error;
#[cfg(feature = "testing")]
mod fault;
mod frame;
mod log;
mod manifest;
mod map;
mod record;
mod recover;
mod segment;
mod snapshot;
mod tail;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};

pub use draft::OnExisting;
pub(crate) use draft::{Op, OpError, Outcome};
pub(crate) use error::StoreError;
#[cfg(feature = "testing")]
pub use fault::{DiskCall, FaultDisk};
pub use log::Durability;
pub(crate) use manifest::{About, Manifest};
pub(crate) use record::Hash;
pub(crate) use recover::{CreateError, OpenError, Opening, create};
pub(crate) use snapshot::Snapshot;
pub(crate) use writer::Options;

use self::disk::DiskLock;
use self::recover::Opened;
use self::writer::{Results, Writer};
use crate::tags::Schema;

/// Held exclusively by the one writer of an instance, in whatever process.
pub(crate) const WRITER: &str = "WRITER";
/// Held by readers of other processes; exclusively, for a moment, while files are removed.
pub(crate) const READERS: &str = "READERS";

/// An open store: any number of readers of snapshots, one writer.
pub(crate) struct Store {
    snapshot: RwLock<Arc<Snapshot>>,
    /// None when the store was opened to be read only.
    writer: Option<Mutex<Writer>>,
    queue: Mutex<Queue>,
    /// Told when results are there, or the writer is free.
    turn: Condvar,
    abnormal: AtomicBool,
    capacity: u64,
    torn_bytes: u64,
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

/// A lock whatever happened to its last holder: the data behind ours is valid at every moment, and a writer that
/// panicked is stopped by its own mark.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub(crate) fn open(opening: Opening, options: Options) -> Result<Self, OpenError> {
        let capacity = opening.manifest().about.capacity;
        let (opened, found) = opening.finish(options)?;
        let (snapshot, writer, lock) = match opened {
            Opened::Writer(writer) => (writer.snapshot.clone(), Some(Mutex::new(*writer)), None),
            Opened::Reader { snapshot, lock } => (snapshot, None, Some(lock)),
        };
        let snapshot = RwLock::new(snapshot);
        let (queue, turn, abnormal) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        let torn_bytes = found.torn_bytes;
        Ok(Self { snapshot, writer, queue, turn, abnormal, capacity, torn_bytes, _lock: lock })
    }

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
            lock(writer).stop(&StoreError::Stopped("the instance was deleted".to_owned()));
        }
    }

    fn publish(&self, writer: &Writer) {
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = writer.snapshot.clone();
    }

    /// Notes that files are damaged: no more changes are taken.
    pub(crate) fn set_abnormal(&self) {
        self.abnormal.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_abnormal(&self) -> bool {
        self.abnormal.load(Ordering::Relaxed)
    }

    fn writer(&self) -> Result<&Mutex<Writer>, StoreError> {
        if self.is_abnormal() {
            return Err(StoreError::Abnormal);
        }
        self.writer.as_ref().ok_or(StoreError::ReadOnly)
    }

    /// Makes changes durable and visible; one result a change, in order.
    ///
    /// Callers that come while the writer is busy are committed together by the next one that gets it: one sync
    /// for all.
    pub(crate) fn commit(&self, ops: Vec<Op>) -> Results {
        let writer = match self.writer() {
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
            self.commit_waiting(&mut lock(writer), group);
            lock(&self.queue).busy = false;
            self.turn.notify_all();
        } else {
            drop(queue);
        }
        let results = lock(&results).take();
        results.unwrap_or_else(|| {
            let error = Arc::new(StoreError::Stopped("a commit gave no result".to_owned()));
            (0..count).map(|_| Err(OpError::Log(error.clone()))).collect()
        })
    }

    fn commit_waiting(&self, writer: &mut Writer, group: Vec<Waiting>) {
        let (mut ops, mut receivers) = (Vec::new(), Vec::new());
        for waiting in group {
            receivers.push((waiting.ops.len(), waiting.results));
            ops.extend(waiting.ops);
        }
        let committed = catch_unwind(AssertUnwindSafe(|| writer.commit(ops)));
        let mut all = match committed {
            Ok(results) => results.into_iter(),
            Err(_) => {
                let error = StoreError::Stopped("a commit panicked".to_owned());
                writer.stop(&error);
                let error = Arc::new(error);
                for (count, results) in receivers {
                    *lock(&results) = Some((0..count).map(|_| Err(OpError::Log(error.clone()))).collect());
                }
                return;
            }
        };
        self.publish(writer);
        for (count, results) in receivers {
            *lock(&results) = Some(all.by_ref().take(count).collect());
        }
        // Those who wait go on while segments are merged.
        self.turn.notify_all();
        // A merge that fails leaves the state as it was and is tried again after a later commit.
        if writer.stopped.is_none() {
            while let Ok(Ok(true)) = catch_unwind(AssertUnwindSafe(|| writer.merge_due())) {
                self.publish(writer);
            }
        }
    }

    /// Seals the tail and merges everything into one segment without dead rows.
    pub(crate) fn optimize(&self) -> Result<(), StoreError> {
        self.change(Writer::merge_all)
    }

    /// Replaces the tag keys by what `next` makes of them.
    pub(crate) fn change_schema<E: From<StoreError>>(
        &self,
        next: impl FnOnce(&Schema) -> Result<Schema, E>,
    ) -> Result<(), E> {
        let mut writer = lock(self.writer()?);
        let schema = next(&writer.snapshot.schema)?;
        writer.set_schema(schema)?;
        self.publish(&writer);
        Ok(())
    }

    fn change(&self, f: impl FnOnce(&mut Writer) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut writer = lock(self.writer()?);
        let result = catch_unwind(AssertUnwindSafe(|| f(&mut writer))).unwrap_or_else(|_| {
            let error = StoreError::Stopped("a merge panicked".to_owned());
            writer.stop(&error);
            Err(error)
        });
        self.publish(&writer);
        result
    }

    /// Reads and checks every byte of every sealed file.
    pub(crate) fn verify(&self) -> Result<(), StoreError> {
        self.snapshot().sealed.iter().try_for_each(|sealed| sealed.segment.verify())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(writer) = &self.writer {
            // Nothing is lost without the mark: the log has everything. It only lets the next opening see more.
            let _ = catch_unwind(AssertUnwindSafe(|| lock(writer).close()));
        }
    }
}
