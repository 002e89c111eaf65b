//! Centres of lists: when they are trained, when single lists are divided, and how deep a search has to look.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::Core;
use super::centres::{self, Centres};
use super::error::StoreError;
use super::lookup::Look;
use super::manifest::CentresEntry;
use super::snapshot::Snapshot;
use crate::cancel::Stop;
use crate::index::{
    Centroids, DEPTHS, Gaps, ListQuery, ListedRows, OVERLONG, Place, QueryCode, Reach, Sample, Threads, Top,
    divide, inv_norm, train, upper_factor,
};
use crate::vector::eights;

/// Centres are trained again when the instance has so many times the images that it had.
const GROWTH: u64 = 4;
/// Overlong lists are divided when the instance has so many times the images of its largest segment, in percent: what is
/// sealed is written anew then, and so that is done seldom.
const REWRITTEN_PERCENT: u64 = 150;
/// Then lists of more than so many times the mean are divided, so that none of them is overlong soon.
const LONG: u64 = 2;
/// Parts that one list is divided into, at most.
const PARTS: u64 = 256;
/// Lists of an instance, at most.
const MOST_LISTS: u64 = 1 << 16;
/// With fewer rows than so many a list the longest one says little.
const FEW: u64 = 16;
/// Rows of a training sample for each list.
const SAMPLE_PER_LIST: u64 = 48;
/// In the place of a dead row one of so many behind it is taken.
const NEXT: u32 = 64;
/// Rows that gaps are measured with.
const MEASURED: u64 = 400;
/// One of so many of them meets all lists, the others those as near as any that held one of its best rows.
const EVERY: usize = 4;
/// What share of the best rows lies in the lists that are searched, for each reach: the share that is found is smaller
/// by less than .003.
const SHARES: [f32; 3] = [0.955, 0.989, 0.996];

/// Lists for so many images: about four times the root, in powers of two.
fn lists_for(images: u64) -> usize {
    let exponent = (4.0 * (images as f64).sqrt()).log2().round();
    1 << (exponent as u32).clamp(6, 15)
}

impl Core {
    /// Trains centres when the instance has grown enough; says whether it did. `soon`: also when it grew by less, for
    /// everything is written anew anyway.
    pub(super) fn train_due(
        &self,
        snapshot: &Snapshot,
        soon: bool,
        stop: Stop<'_>,
    ) -> Result<bool, StoreError> {
        let options = self.open_writer()?.options.clone();
        let sealed: u64 = snapshot.sealed.iter().map(|s| u64::from(s.segment.rows()) - s.dead.len()).sum();
        let at = match snapshot.centres.last() {
            None => options.train_rows,
            Some(centres) if soon => centres.entry.trained_at.saturating_mul(GROWTH / 2),
            Some(centres) => centres.entry.trained_at.saturating_mul(GROWTH),
        };
        if sealed == 0 || sealed < at {
            return Ok(false);
        }
        self.train(snapshot, sealed, lists_for(sealed), stop)
    }

    /// Divides lists that have come to far more than their share of the images, when there are any; says whether it did.
    /// `soon`: even if everything was written anew not long ago.
    ///
    /// The centres of all other lists stay, so a merge copies these.
    pub(super) fn divide_due(
        &self,
        snapshot: &Snapshot,
        soon: bool,
        stop: Stop<'_>,
    ) -> Result<bool, StoreError> {
        let Some(centres) = snapshot.centres.last() else { return Ok(false) };
        let live = snapshot.sealed.iter().map(|s| u64::from(s.segment.rows()) - s.dead.len());
        let largest = live.clone().max().unwrap_or_default();
        if !soon && live.sum::<u64>() * 100 < largest * REWRITTEN_PERCENT {
            return Ok(false);
        }
        let long = long_lists(snapshot, centres)?;
        let weights = self.open_writer()?.options.weights.first().cloned().unwrap_or_default();
        let mut pieces = Vec::new();
        for (list, parts, overlong) in long {
            // The longest come first: if centres tell none of the overlong apart, the others are no reason to write all anew.
            if !overlong && pieces.is_empty() {
                break;
            }
            let mut ranges = Vec::new();
            for (part, sealed) in (0..).zip(&snapshot.sealed) {
                if sealed.segment.centres() == Some(centres.entry.id) {
                    ranges.push((part, sealed.segment.list(list)?));
                }
            }
            let rows = TrainingRows::read(snapshot, evenly(&ranges, parts * SAMPLE_PER_LIST))?;
            if let Some(divided) = divide(&rows.sample(), parts as usize, &weights, stop) {
                pieces.push((list, divided));
            }
        }
        if pieces.is_empty() || stop.asked() {
            return Ok(false);
        }
        let divided = centres.centroids.divided(&pieces);
        self.publish_new_centres(snapshot, divided, centres.entry.trained_at).map(|()| true)
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
        self.train(first, expected, lists_for(expected), stop).map(drop)
    }

    /// Says whether it did: of dead rows alone nothing is trained.
    fn train(
        &self,
        snapshot: &Snapshot,
        images: u64,
        lists: usize,
        stop: Stop<'_>,
    ) -> Result<bool, StoreError> {
        let weights = self.open_writer()?.options.weights.first().cloned().unwrap_or_default();
        let all: Vec<_> = snapshot.parts().map(|part| (part, 0..snapshot.part(part).0)).collect();
        let rows = TrainingRows::read(snapshot, evenly(&all, lists as u64 * SAMPLE_PER_LIST))?;
        if rows.inv_norms.is_empty() {
            return Ok(false);
        }
        let centroids = train(&rows.sample(), lists, &weights, stop, Threads::Pool);
        let centroids =
            centroids.ok_or_else(|| StoreError::Stopped("the instance is being closed".to_owned()))?;
        self.publish_new_centres(snapshot, centroids, images).map(|()| true)
    }

    fn publish_new_centres(
        &self,
        snapshot: &Snapshot,
        centroids: Centroids,
        trained_at: u64,
    ) -> Result<(), StoreError> {
        let id = self.open_writer()?.take_number()?;
        let crc = centres::write(&*self.disk, &self.dir, &snapshot.uuid, id, &centroids)?;
        let entry = CentresEntry { id, crc, trained_at, gaps: None };
        let mut writer = self.open_writer()?;
        let published = writer.publish_centres(Centres { entry, centroids: Arc::new(centroids) });
        self.publish(&writer);
        published
    }

    /// Measures how far below the best list the best rows lie, when all segments have lists around the newest centres
    /// and nothing was measured yet; says whether it did.
    pub(super) fn measure_due(&self, snapshot: &Snapshot, stop: Stop<'_>) -> Result<bool, StoreError> {
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
        let all: Vec<_> = (0..).zip(&snapshot.sealed).map(|(part, s)| (part, 0..s.segment.rows())).collect();
        let alive = |place: &Place| !snapshot.dead(place.part).contains(place.position);
        let queries: Vec<Place> = evenly(&all, MEASURED).filter(alive).collect();
        let deepest = *DEPTHS.last().unwrap_or(&10) as usize;
        let below = |&place: &Place, gap: f32| {
            if stop.asked() {
                return Err(StoreError::Stopped("the instance is being closed".to_owned()));
            }
            let row = snapshot.code(place)?;
            let query = QueryCode::new(&snapshot.layout, &row, weights);
            let mut lists = ListQuery::new(&centres.centroids, &snapshot.layout, &row, weights);
            let mut top = Top::new(deepest + 1);
            let all = Look { only: None, share: 1.0, min_score: f32::NEG_INFINITY, until: None, stop: None };
            snapshot.probe_band(centres.entry.id, &query, &mut lists, gap, &all, &mut top)?;
            let mut below = Vec::with_capacity(deepest);
            for ranked in top.into_sorted().into_iter().filter(|ranked| ranked.place != place) {
                below.push(lists.below_best(snapshot.list_of(ranked.place)?));
            }
            Ok(below)
        };
        let below_within = |queries: &[Place], gap: f32| -> Result<Vec<Vec<f32>>, StoreError> {
            queries.par_iter().map(|place| below(place, gap)).collect()
        };
        let first: Vec<Place> = queries.iter().copied().step_by(EVERY).collect();
        let others: Vec<Place> = queries.chunks(EVERY).flat_map(|some| &some[1..]).copied().collect();
        let mut below = below_within(&first, f32::INFINITY)?;
        let widest = below.iter().flatten().copied().fold(0.0, f32::max);
        below.extend(below_within(&others, widest)?);
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

/// Lists around some centres that should be divided, the longest first, into how many parts each, and whether it is one of
/// those with far more than their share of the rows; none where there is no such list.
fn long_lists(snapshot: &Snapshot, centres: &Centres) -> Result<Vec<(u32, u64, bool)>, StoreError> {
    let mut lengths = vec![0u64; centres.centroids.lists()];
    for sealed in snapshot.sealed.iter().filter(|s| s.segment.centres() == Some(centres.entry.id)) {
        for (list, length) in (0..).zip(&mut lengths) {
            let range = sealed.segment.list(list)?;
            *length += u64::from(range.end - range.start);
        }
    }
    let (lists, rows) = (lengths.len() as u64, lengths.iter().sum::<u64>());
    let longest = lengths.iter().max().copied().unwrap_or_default();
    if rows < FEW * lists || longest * lists <= OVERLONG as u64 * rows {
        return Ok(Vec::new());
    }
    let mut long: Vec<(u32, u64)> =
        (0..).zip(lengths).filter(|(_, length)| length * lists > LONG * rows).collect();
    long.sort_unstable_by_key(|(list, length)| (std::cmp::Reverse(*length), *list));
    let mut room = MOST_LISTS.saturating_sub(lists);
    let into = |(list, length): (u32, u64)| {
        let parts = (length * lists / rows).min(PARTS).min(room + 1);
        room -= parts.saturating_sub(1);
        (list, parts, length * lists > OVERLONG as u64 * rows)
    };
    Ok(long.into_iter().map(into).filter(|(_, parts, _)| *parts > 1).collect())
}

/// So many rows of some ranges of parts, as far from each other as they can be.
fn evenly(ranges: &[(u32, Range<u32>)], wanted: u64) -> impl Iterator<Item = Place> {
    let all: u64 = ranges.iter().map(|(_, range)| range.len() as u64).sum();
    let (wanted, mut first) = (wanted.min(all), 0);
    ranges.iter().flat_map(move |(part, range)| {
        let last = first + range.len() as u64;
        // The number `k` of those wanted is at `k * all / wanted`.
        let numbers = (first * wanted).div_ceil(all.max(1))..(last * wanted).div_ceil(all.max(1));
        let (start, part, before) = (range.start, *part, first);
        first = last;
        numbers.map(move |number| Place { part, position: start + (number * all / wanted - before) as u32 })
    })
}

/// Rows to train with.
struct TrainingRows {
    blocks: Vec<usize>,
    /// The upper eight bits of the values.
    eights: Vec<i8>,
    inv_norms: Vec<f32>,
}

impl TrainingRows {
    /// Those of some places; of a dead row the next that is alive, unless that is far.
    fn read(snapshot: &Snapshot, places: impl Iterator<Item = Place>) -> Result<Self, StoreError> {
        let blocks = snapshot.layout.ranges().map(|range| range.len()).collect();
        let (mut rounded, mut inv_norms) = (Vec::new(), Vec::new());
        let alive = |Place { part, position }| {
            let (rows, dead) = snapshot.part(part);
            let mut near = position..rows.min(position.saturating_add(NEXT));
            near.find(|&position| !dead.contains(position)).map(|position| Place { part, position })
        };
        for place in places.filter_map(alive) {
            let row = snapshot.row(place)?;
            eights(row.upper, snapshot.lower(place)?, &mut rounded);
            inv_norms.extend(row.inv_norms.iter().map(|inv| upper_factor(inv_norm(inv))));
        }
        Ok(Self { blocks, eights: rounded, inv_norms })
    }

    fn sample(&self) -> Sample<'_> {
        Sample { blocks: &self.blocks, codes: &self.eights, inv_norms: &self.inv_norms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_taken_evenly() {
        let ranges = [(0, 5..10), (1, 0..0), (3, 2..3), (4, 0..94)];
        let all: Vec<Place> = ranges
            .iter()
            .flat_map(|(part, range)| range.clone().map(|position| Place { part: *part, position }))
            .collect();
        for wanted in [0, 1, 2, 7, 50, 99, 100, 101, 1000] {
            let taken: Vec<Place> = evenly(&ranges, wanted).collect();
            assert_eq!(taken.len() as u64, wanted.min(100), "{wanted}");
            let at: Vec<usize> =
                taken.iter().map(|place| all.iter().position(|p| p == place).unwrap()).collect();
            let (least, most) = (100 / wanted.max(1) as usize, 100usize.div_ceil(wanted.max(1) as usize));
            assert!(
                at.windows(2).all(|w| (least.max(1)..=most).contains(&(w[1] - w[0]))),
                "{wanted}: {at:?}"
            );
        }
        assert_eq!(evenly(&[], 5).count(), 0);
    }

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
