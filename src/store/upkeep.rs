//! What is built beside the writer: segments of frozen tails, merged segments, centres of lists. Each is made from a
//! snapshot without a lock, and then published by the writer, which accounts for what changed meanwhile.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::centres::{self, Centres};
use super::compact::{self, LiveRows};
use super::error::StoreError;
use super::lookup::Look;
use super::manifest::{CentresEntry, SegmentEntry};
use super::segment::{self, Segment};
use super::snapshot::{Sealed, Snapshot};
use super::sync::{self, MutexGuard};
use super::writer::{Built, Writer};
use super::{Core, lock, lock_writer};
use crate::cancel::{CancelToken, Stop};
use crate::index::{
    DEPTHS, Gaps, ListQuery, ListedRows, OVERLONG, Place, QueryCode, Reach, Sample, Threads, Top, train,
};

/// Frozen tails that may wait; the commit that would make another waits itself.
pub(super) const MAX_FROZEN: usize = 2;
/// Centres are trained again when the instance has so many times the images that it had.
const GROWTH: u64 = 4;
/// Or only half as many more, in percent, when the images that came since lie in few lists: when one of those is overlong.
const UNEVEN_PERCENT: u64 = 150;
/// Rows of a training sample for each list.
const SAMPLE_PER_LIST: u64 = 48;
/// Rows that gaps are measured with.
const MEASURED: u64 = 400;
/// What share of the best rows lies in the lists that are searched, for each reach: the share that is found is smaller
/// by less than .003.
const SHARES: [f32; 3] = [0.955, 0.987, 0.996];
/// After a failure the threads wait so long, unless somebody asks.
const PAUSE: Duration = Duration::from_secs(1);

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

/// Lists for so many images: about four times the root, in powers of two.
fn lists_for(images: u64) -> usize {
    let exponent = (4.0 * (images as f64).sqrt()).log2().round();
    1 << (exponent as u32).clamp(6, 15)
}

impl Core {
    fn upkeep(&self) -> MutexGuard<'_, Upkeep> {
        lock(&self.upkeep)
    }

    fn open_writer(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
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

    /// Reads and checks the planes that searches read of many rows. Damage is told by the search that meets it.
    pub(crate) fn preload(&self) {
        for sealed in &self.snapshot().sealed {
            let _ = sealed.segment.preload(&self.closing);
        }
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
        if self.train_due(&snapshot, false, self.stop(None))? {
            return Ok(true);
        }
        let parts = compact::due(&snapshot);
        if !parts.is_empty() {
            self.merge(&snapshot, &parts, self.stop(None))?;
            return Ok(true);
        }
        self.measure_due(&snapshot, self.stop(None))
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
            self.train_due(&self.snapshot(), true, stop)?;
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

    /// Trains centres when the instance has grown enough; says whether it did. `soon`: also when it grew by less, for
    /// everything is written anew anyway.
    fn train_due(&self, snapshot: &Snapshot, soon: bool, stop: Stop<'_>) -> Result<bool, StoreError> {
        let options = self.open_writer()?.options.clone();
        let sealed: u64 = snapshot.sealed.iter().map(|s| u64::from(s.segment.rows()) - s.dead.len()).sum();
        let at = match snapshot.centres.last() {
            None => options.train_rows,
            Some(centres) if is_uneven(snapshot, centres)? => {
                centres.entry.trained_at.saturating_mul(UNEVEN_PERCENT) / 100
            }
            Some(centres) if soon => centres.entry.trained_at.saturating_mul(GROWTH / 2),
            Some(centres) => centres.entry.trained_at.saturating_mul(GROWTH),
        };
        if sealed == 0 || sealed < at {
            return Ok(false);
        }
        self.train(snapshot, sealed, lists_for(sealed), stop).map(|()| true)
    }

    /// Trains centres on the first of many images that are being added, if there are none or if those there are were
    /// for far fewer.
    pub(crate) fn train_for_import(
        &self,
        first: &Snapshot,
        expected: u64,
        stop: Stop<'_>,
    ) -> Result<(), StoreError> {
        let snapshot = self.snapshot();
        let at = match snapshot.centres.last() {
            None => self.open_writer()?.options.train_rows,
            Some(centres) => centres.entry.trained_at.saturating_mul(GROWTH),
        };
        // A run that is small beside what is there says little of the whole.
        if expected < at || first.live() < snapshot.live() {
            return Ok(());
        }
        self.train(first, expected, lists_for(expected), stop)
    }

    fn train(
        &self,
        snapshot: &Snapshot,
        images: u64,
        lists: usize,
        stop: Stop<'_>,
    ) -> Result<(), StoreError> {
        let weights = self.open_writer()?.options.weights.clone();
        let first = weights.first().cloned().unwrap_or_default();
        let blocks: Vec<usize> = snapshot.layout.ranges().map(|range| range.len()).collect();
        let (mut codes, mut inv_norms) = (Vec::new(), Vec::new());
        let there = images.min(snapshot.live());
        for place in every(snapshot, there / (lists as u64 * SAMPLE_PER_LIST)) {
            let row = snapshot.row(place)?;
            codes.extend_from_slice(row.codes);
            // Of the upper eight bits alone: sixteen times as much as of the whole values.
            inv_norms.extend(row.inv_norms.iter().map(|inv| 16.0 * crate::index::inv_norm(inv)));
        }
        let sample = Sample { blocks: &blocks, codes: &codes, inv_norms: &inv_norms };
        let centroids = train(&sample, lists, &first, stop, Threads::Pool);
        let centroids =
            centroids.ok_or_else(|| StoreError::Stopped("the instance is being closed".to_owned()))?;
        let id = self.open_writer()?.take_number()?;
        let crc = centres::write(&*self.disk, &self.dir, &snapshot.uuid, id, &centroids)?;
        let entry = CentresEntry { id, crc, trained_at: images, gaps: None };
        let mut writer = self.open_writer()?;
        let published = writer.publish_centres(Centres { entry, centroids: Arc::new(centroids) });
        self.publish(&writer);
        published
    }

    /// Measures how far below the best list the best rows lie, when all segments have lists around the newest centres
    /// and nothing was measured yet; says whether it did.
    fn measure_due(&self, snapshot: &Snapshot, stop: Stop<'_>) -> Result<bool, StoreError> {
        let Some(centres) = snapshot.centres.last() else { return Ok(false) };
        let newest = Some(centres.entry.id);
        let listed = snapshot.sealed.iter().all(|sealed| sealed.segment.centres() == newest);
        if centres.entry.gaps.is_some() || !listed || snapshot.sealed.is_empty() {
            return Ok(false);
        }
        let weights = self.open_writer()?.options.weights.clone();
        let mut of_modes: Vec<[[f32; 3]; 3]> = Vec::new();
        for (mode, own) in weights.iter().enumerate() {
            // Modes of equal weights, such as all of a model with one block, have equal gaps.
            let known = weights[..mode].iter().position(|other| other == own);
            let gaps = match known {
                Some(other) => of_modes[other],
                None => self.measure(snapshot, centres, own, stop)?,
            };
            of_modes.push(gaps);
        }
        let mut measured = centres.clone();
        measured.entry.gaps = Some(Gaps { of_modes });
        let mut writer = self.open_writer()?;
        let published = writer.publish_centres(measured);
        self.publish(&writer);
        published.map(|()| true)
    }

    /// For each depth and reach, the gap within which the wanted share of the best rows lies, of rows of the instance
    /// as queries (which are not counted themselves).
    fn measure(
        &self,
        snapshot: &Snapshot,
        centres: &Centres,
        weights: &[f32],
        stop: Stop<'_>,
    ) -> Result<[[f32; 3]; 3], StoreError> {
        let sealed: u64 = snapshot.sealed.iter().map(|s| u64::from(s.segment.rows())).sum();
        let queries: Vec<Place> = every(snapshot, sealed.div_ceil(MEASURED))
            .filter(|place| snapshot.segment(place.part).is_some())
            .collect();
        let deepest = *DEPTHS.last().unwrap_or(&10) as usize;
        let below: Vec<Vec<f32>> = queries
            .par_iter()
            .map(|&place| {
                if stop.asked() {
                    return Err(StoreError::Stopped("the instance is being closed".to_owned()));
                }
                let row = snapshot.code(place)?;
                let query = QueryCode::new(&snapshot.layout, &row, weights);
                let mut lists = ListQuery::new(&centres.centroids, &snapshot.layout, &row, weights);
                let mut top = Top::new(deepest + 1);
                let all =
                    Look { only: None, share: 1.0, min_score: f32::NEG_INFINITY, until: None, stop: None };
                snapshot.probe_band(centres.entry.id, &query, &mut lists, f32::INFINITY, &all, &mut top)?;
                let mut below = Vec::with_capacity(deepest);
                for ranked in top.into_sorted().into_iter().filter(|ranked| ranked.place != place) {
                    below.push(lists.below_best(snapshot.list_of(ranked.place)?));
                }
                Ok(below)
            })
            .collect::<Result<_, _>>()?;
        let mut gaps = [[0.0; 3]; 3];
        for (depth, gaps) in DEPTHS.iter().zip(&mut gaps) {
            let mut all: Vec<f32> =
                below.iter().flat_map(|below| below.iter().take(*depth as usize)).copied().collect();
            all.sort_unstable_by(f32::total_cmp);
            for reach in Reach::ALL {
                let at = (all.len() as f32 * SHARES[reach as usize]).ceil() as usize;
                gaps[reach as usize] = all.get(at.clamp(1, all.len().max(1)) - 1).copied().unwrap_or(1.0);
            }
        }
        Ok(gaps)
    }
}

/// Whether one of the lists around some centres has more than its share of the rows by far.
fn is_uneven(snapshot: &Snapshot, centres: &Centres) -> Result<bool, StoreError> {
    let mut lengths = vec![0u64; centres.centroids.lists()];
    for sealed in snapshot.sealed.iter().filter(|s| s.segment.centres() == Some(centres.entry.id)) {
        for (list, length) in (0..).zip(&mut lengths) {
            let range = sealed.segment.list(list)?;
            *length += u64::from(range.end - range.start);
        }
    }
    let (longest, rows) = (lengths.iter().max().copied().unwrap_or_default(), lengths.iter().sum::<u64>());
    // Of few rows the longest list says little.
    Ok(rows >= 16 * lengths.len() as u64 && longest > OVERLONG as u64 * rows / lengths.len() as u64)
}

/// Every `step`-th row that is not dead.
fn every(snapshot: &Snapshot, step: u64) -> impl Iterator<Item = Place> + '_ {
    let step = usize::try_from(step.max(1)).unwrap_or(usize::MAX);
    snapshot.parts().flat_map(move |part| {
        let (rows, dead) = snapshot.part(part);
        let positions = (0..rows).step_by(step);
        positions.filter(|&p| !dead.contains(p)).map(move |position| Place { part, position })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_with_the_root() {
        let of = [
            (1, 64),
            (50_000, 1024),
            (200_000, 2048),
            (1_000_000, 4096),
            (30_000_000, 16_384),
            (u64::MAX, 32_768),
        ];
        for (images, lists) in of {
            assert_eq!(lists_for(images), lists, "{images}");
        }
    }
}
