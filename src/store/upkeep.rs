//! What is built beside the writer: segments of frozen tails, and merged segments. Each is made from a snapshot without a
//! lock, and then published by the writer, which accounts for what changed meanwhile. `training.rs` does so for centres.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use roaring::RoaringBitmap;

use super::compact::{self, LiveRows};
use super::error::StoreError;
use super::manifest::SegmentEntry;
use super::segment::{self, Segment};
use super::snapshot::{Sealed, Snapshot};
use super::sync::{self, MutexGuard};
use super::writer::{Built, Writer};
use super::{Core, lock, lock_writer};
use crate::cancel::{CancelToken, Stop};

/// Frozen tails that may wait; the commit that would make another waits itself.
pub(super) const MAX_FROZEN: usize = 2;
/// After a failure the threads wait so long, unless somebody asks.
const PAUSE: Duration = Duration::from_secs(1);

/// Segments are read whole ahead of searches if they take no more than so much of the memory that is free, in percent.
const PRELOADED_PERCENT: u64 = 75;

/// How long a thread sleeps when nothing is due and nobody wakes it.
const IDLE: Duration = Duration::from_secs(3600);

/// What the threads and those who wait for them tell each other.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    /// The store is being closed.
    stop: bool,
    /// Somebody waits for the next seal.
    asked: bool,
    /// Attempts to seal that ended.
    sealed: u64,
    /// How the last one failed, if it did.
    failed: Option<Arc<StoreError>>,
    /// There may be something to merge.
    merge: bool,
}

impl Upkeep {
    /// What an earlier opening left to be done is looked for.
    pub(crate) fn at_opening() -> Self {
        Self { merge: true, ..Self::default() }
    }
}

impl Core {
    fn upkeep(&self) -> MutexGuard<'_, Upkeep> {
        lock(&self.upkeep)
    }

    pub(super) fn open_writer(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
        self.writer.as_ref().map(lock_writer).ok_or(StoreError::ReadOnly)
    }

    /// Sees to it that the tail takes more rows; gives why it does not, if so.
    pub(crate) fn make_room(&self) -> Option<Arc<StoreError>> {
        loop {
            let writer = self.open_writer().ok()?;
            if writer.stopped.is_some() {
                // The commit says so.
                return None;
            }
            let waiting = writer.snapshot.frozen.len();
            if !self.background && waiting > 0 {
                drop(writer);
                match self.seal_next() {
                    Ok(_) => continue,
                    Err(error) => return Some(Arc::new(error)),
                }
            }
            if !writer.is_full() {
                return None;
            }
            if waiting < MAX_FROZEN {
                if let Err(error) = self.freeze(writer) {
                    return Some(Arc::new(error));
                }
                continue;
            }
            drop(writer);
            if let Some(error) = self.await_seal() {
                return Some(error);
            }
        }
    }

    /// Freezes the tail, and tells the thread that seals.
    pub(crate) fn freeze(&self, mut writer: MutexGuard<'_, Writer>) -> Result<(), StoreError> {
        writer.freeze()?;
        self.publish(&writer);
        drop(writer);
        if self.background {
            // Under the lock, so that a thread about to sleep hears it.
            let _upkeep = self.upkeep();
            self.wake.notify_all();
        }
        Ok(())
    }

    /// Waits for the next seal of the thread that seals, and gives how it failed, if it did.
    fn await_seal(&self) -> Option<Arc<StoreError>> {
        let mut upkeep = self.upkeep();
        let before = upkeep.sealed;
        upkeep.asked = true;
        self.wake.notify_all();
        while upkeep.sealed == before && !upkeep.stop {
            upkeep = self.wake.wait(upkeep).unwrap_or_else(PoisonError::into_inner);
        }
        upkeep.failed.clone()
    }

    /// The thread that seals: until the store is closed.
    pub(crate) fn seal_loop(&self) {
        loop {
            let mut upkeep = self.upkeep();
            while !upkeep.stop
                && !upkeep.asked
                && (self.snapshot().frozen.is_empty() || upkeep.failed.is_some())
            {
                let pause = if upkeep.failed.is_some() { PAUSE } else { IDLE };
                let (guard, is_over) = sync::wait_for(&self.wake, &self.upkeep, upkeep, pause);
                upkeep = guard;
                if is_over {
                    upkeep.failed = None;
                }
            }
            if upkeep.stop {
                return;
            }
            upkeep.asked = false;
            drop(upkeep);
            let result = self.guarded(|| self.seal_next());
            let mut upkeep = self.upkeep();
            upkeep.sealed += 1;
            upkeep.failed = result.err().map(Arc::new);
            upkeep.merge = true;
            drop(upkeep);
            self.wake.notify_all();
        }
    }

    /// The thread that merges and trains: until the store is closed.
    pub(crate) fn merge_loop(&self) {
        loop {
            let mut upkeep = self.upkeep();
            while !upkeep.stop && !upkeep.merge {
                upkeep = self.wake.wait(upkeep).unwrap_or_else(PoisonError::into_inner);
            }
            if upkeep.stop {
                return;
            }
            upkeep.merge = false;
            drop(upkeep);
            // What fails leaves the state as it was and is tried again after a later seal.
            let unwanted = || self.closing.load(Ordering::Relaxed) || self.optimizing.load(Ordering::Relaxed);
            while !unwanted() && matches!(self.guarded(|| self.merge_next()), Ok(true)) {}
        }
    }

    /// Merges, trains and measures what is due: here, or by the thread that does.
    pub(crate) fn tend(&self) {
        if self.background {
            self.upkeep().merge = true;
            self.wake.notify_all();
        } else {
            // What fails leaves the state as it was and is tried again after a later commit.
            while let Ok(true) = self.guarded(|| self.merge_next()) {}
        }
    }

    /// Reads and checks the planes that searches read of many rows, and then whole segments if they fit into memory; says
    /// whether they do.
    pub(crate) fn preload(&self, cancel: Option<&CancelToken>) -> Result<bool, StoreError> {
        let (snapshot, stop) = (self.snapshot(), self.stop(cancel));
        let segments = || snapshot.sealed.iter().map(|sealed| &sealed.segment);
        let bytes: u64 = segments().map(|segment| segment.file_bytes()).sum();
        let fits = self.disk.free_memory().is_some_and(|free| bytes <= free / 100 * PRELOADED_PERCENT);
        segments().try_for_each(|segment| segment.preload(false, stop))?;
        if fits {
            segments().try_for_each(|segment| segment.preload(true, stop))?;
        }
        if stop.asked() {
            return Err(StoreError::Stopped("the instance is being closed".to_owned()));
        }
        Ok(fits)
    }

    /// The thread that preloads. Damage is told by the search that meets it.
    pub(crate) fn preload_once(&self) {
        let _ = self.preload(None);
    }

    /// Why long work here is given up: the store is being closed, or whoever wanted it calls it off.
    pub(crate) fn stop<'a>(&'a self, cancel: Option<&'a CancelToken>) -> Stop<'a> {
        Stop::either(&self.closing, cancel.map(CancelToken::flag))
    }

    /// Ends the threads; what they are building is given up.
    pub(crate) fn stop_threads(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.upkeep().stop = true;
        self.wake.notify_all();
    }

    /// A panic is an error to whoever asked, and leaves the state as it was.
    pub(crate) fn guarded<T>(&self, f: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(f))
            .unwrap_or_else(|_| Err(StoreError::Stopped("building a segment panicked".to_owned())))
    }

    /// Seals the oldest frozen tail; false when there is none.
    pub(crate) fn seal_next(&self) -> Result<bool, StoreError> {
        let _one = lock(&self.sealing);
        let snapshot = self.snapshot();
        let Some(frozen) = snapshot.frozen.first() else { return Ok(false) };
        let part = snapshot.sealed.len() as u32;
        let built = self.build(&snapshot, &[part], self.stop(None))?;
        let mut writer = self.open_writer()?;
        let published = writer.publish_sealed(built, &frozen.dead);
        self.publish(&writer);
        published.map(|()| true)
    }

    /// Trains centres, merges or measures, whichever is due; false when nothing is.
    pub(crate) fn merge_next(&self) -> Result<bool, StoreError> {
        let _one = lock(&self.merging);
        let snapshot = self.snapshot();
        let stop = self.stop(None);
        if self.train_due(&snapshot, false, stop)? || self.divide_due(&snapshot, false, stop)? {
            return Ok(true);
        }
        let parts = compact::due(&snapshot);
        if !parts.is_empty() {
            self.merge(&snapshot, &parts, self.stop(None))?;
            return Ok(true);
        }
        self.measure_due(&snapshot, stop)
    }

    /// Seals everything, and merges it into one segment without dead rows.
    pub(crate) fn optimize(&self, cancel: Option<&CancelToken>) -> Result<(), StoreError> {
        let stop = self.stop(cancel);
        {
            let writer = self.writable()?;
            writer.ready()?;
            if writer.snapshot.tail.rows() > 0 {
                self.freeze(writer)?;
            }
        }
        while !stop.asked() && self.guarded(|| self.seal_next())? {}
        self.optimizing.store(true, Ordering::Relaxed);
        let optimized = self.guarded(|| {
            let _one = lock(&self.merging);
            if !self.train_due(&self.snapshot(), true, stop)? {
                self.divide_due(&self.snapshot(), true, stop)?;
            }
            let snapshot = self.snapshot();
            let parts: Vec<u32> = (0..snapshot.sealed.len() as u32).collect();
            let any_dead = snapshot.sealed.iter().any(|sealed| !sealed.dead.is_empty());
            if parts.len() > 1 || any_dead || !compact::due(&snapshot).is_empty() {
                self.merge(&snapshot, &parts, stop)?;
            }
            self.measure_due(&self.snapshot(), stop).map(drop)
        });
        self.optimizing.store(false, Ordering::Relaxed);
        if self.background {
            // What was sealed meanwhile was not merged; nor was anything if this was called off.
            self.tend();
        }
        optimized
    }

    fn merge(&self, snapshot: &Snapshot, parts: &[u32], stop: Stop<'_>) -> Result<(), StoreError> {
        let sources = {
            let writer = self.open_writer()?;
            let ids = |part: &u32| {
                let sealed = snapshot.sealed.get(*part as usize)?;
                let at =
                    writer.snapshot.sealed.iter().position(|s| Arc::ptr_eq(&s.segment, &sealed.segment))?;
                Some((writer.manifest.segments.get(at)?.id, sealed.dead.clone()))
            };
            parts.iter().filter_map(ids).collect::<Vec<(u64, Arc<RoaringBitmap>)>>()
        };
        if sources.len() < parts.len() {
            // Only merges take segments away, and this is the only one.
            return Err(StoreError::Stopped("a segment went away while it was merged".to_owned()));
        }
        let built = self.build(snapshot, parts, stop)?;
        let mut writer = self.open_writer()?;
        let published = writer.publish_merged(built, &sources);
        self.publish(&writer);
        published
    }

    /// Writes a segment of the live rows of parts and opens it; none when there are no rows.
    fn build(&self, snapshot: &Snapshot, parts: &[u32], stop: Stop<'_>) -> Result<Option<Built>, StoreError> {
        let rows = LiveRows::of(snapshot, parts, snapshot.centres.last())?;
        self.write(snapshot, &rows, stop)
    }

    /// Writes a segment of rows and opens it; none when there are no rows.
    pub(crate) fn write(
        &self,
        snapshot: &Snapshot,
        rows: &LiveRows<'_>,
        stop: Stop<'_>,
    ) -> Result<Option<Built>, StoreError> {
        if rows.len() == 0 {
            return Ok(None);
        }
        let (disk, dir, uuid, layout) = (&*self.disk, &*self.dir, &snapshot.uuid, &*snapshot.layout);
        let id = self.open_writer()?.take_number()?;
        let file = segment::write(disk, dir, uuid, id, layout, rows, stop)?;
        let centres = rows.centres();
        let segment = Segment::open(disk, dir, uuid, id, layout, file, centres);
        let segment = segment.inspect_err(|_| {
            let _ = disk.remove_file(&dir.join(segment::name(id)));
        })?;
        let entry = SegmentEntry { id, len: file.len, rows: file.rows, crc: file.crc, dead: None, centres };
        Ok(Some(Built { entry, sealed: Sealed { segment: Arc::new(segment), dead: Arc::default() } }))
    }
}
