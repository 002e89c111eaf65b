//! Search, check, and reading vectors: over one state of the instance.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use roaring::RoaringBitmap;

use super::{Effort, Found, Hit, Instance, Page, Query, Source, check_path};
use crate::cancel::CancelToken;
use crate::error::{Cause, Error, Operation, Result};
use crate::features::Mode;
use crate::index::{Gaps, Locator, Place, QueryCode, Ranked, Reach, Scan, Score, SharedBar, Top};
use crate::limits::MAX_LIMIT;
use crate::refusal::{Refusal, shown};
use crate::region::Region;
use crate::store::{Look, Snapshot, Store, StoreError};
use crate::tags::{Filter, TagSet};
use crate::trace::span;
use crate::vector::RowCode;

/// Filters that so many images pass at most are answered by reading those.
const FEW_MATCHES: u64 = 2_000;

/// And those that so many pass, if they are sparse, or if that costs less than searching lists.
const EXACT_MATCHES: u64 = 50_000;

/// A filter that fewer than one image in so many passes is sparse: the nearest lists may hold few of its best matches.
const SPARSE: u64 = 50;

/// Rows of lists whose codes are looked at in the time that one image that passes is read in, which lies anywhere.
const ROWS_FOR_ONE: u64 = 20;

/// Images that a thread scores at a time when several search together, some milliseconds of work; when they lie one after
/// another.
const PIECE: u32 = 1 << 16;

/// And how many times fewer when they lie anywhere.
const APART: u32 = 32;

/// Pages that begin later are found by counting, so that memory does not grow with the offset.
const DEEP: u64 = 20_000;

/// Rows that are held to find where such a page begins.
const HELD: u64 = 50_000;

/// What the depth of a search under a filter is multiplied by: images that pass are not spread evenly over the lists.
const UNEVEN: f64 = 1.25;

/// A search where only so much of the usual share of images passes is far from most of those that do.
const APART_SHARE: f64 = 0.7;

/// Lengths of the prefixes that a ranking by lists is put together of; one more than pages end at, for the image itself.
/// The first serves searches for few hits alone.
const PREFIXES: [usize; 4] = [17, 129, 1025, 8193];

/// One state of an instance: [`Instance::reader`]. Searches of the same reader agree with each other. The files of that
/// state are kept until it drops, also those that were merged or deleted meanwhile.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let gallery = Gallery::open(dir.path())?;
/// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
/// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
/// # let other: Vec<f32> = (0..256).map(|i| (i % 11) as f32 - 5.0).collect();
/// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
/// photos.add(&Add::new("b.jpg", Source::vector(&other)))?;
/// let reader = photos.reader()?;
/// let page = |offset| reader.search(&Query::vector(&vector).limit(1).offset(offset));
/// assert_eq!(page(0)?.hits[0].path, "a.jpg");
/// // Whatever happens between two pages.
/// photos.delete("a.jpg")?;
/// assert_eq!(page(1)?.hits[0].path, "b.jpg");
/// assert_eq!(page(2)?.hits, []);
/// assert_eq!((reader.len(), reader.is_empty(), photos.len()?), (2, false, 1));
/// assert_eq!(reader.vector("a.jpg")?.len(), 256);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Reader {
    pub(super) instance: Instance,
    pub(super) store: Arc<Store>,
    pub(super) snapshot: Arc<Snapshot>,
}

/// What to rank by.
enum By {
    /// Tags alone.
    Order,
    /// A vector that is no image's.
    Row(RowCode),
    /// An image of the instance.
    Image(RowCode, Place),
}

/// The first rows of a ranking, how many count, and how they were found.
#[derive(Default)]
struct Ranking {
    rows: Vec<Ranked>,
    count: u64,
    found: Found,
}

/// Images that pass the tags, by part of the snapshot; all of them when there is no filter.
pub(super) struct Passing {
    parts: Option<Vec<RoaringBitmap>>,
    count: u64,
}

impl Passing {
    /// Images by part of the snapshot.
    pub(super) fn of(parts: Vec<RoaringBitmap>) -> Self {
        let count = parts.iter().map(RoaringBitmap::len).sum();
        Self { parts: Some(parts), count }
    }

    pub(super) fn parts(&self) -> Option<&[RoaringBitmap]> {
        self.parts.as_deref()
    }

    /// Whether a live image passes.
    fn contains(&self, place: Place) -> bool {
        match &self.parts {
            Some(parts) => parts.get(place.part as usize).is_some_and(|part| part.contains(place.position)),
            None => true,
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// What share of all `live` images these are.
    pub(super) fn share(&self, live: u64) -> f64 {
        match self.parts {
            Some(_) => self.count as f64 / live.max(1) as f64,
            None => 1.0,
        }
    }
}

impl Reader {
    /// Number of images.
    pub fn len(&self) -> u64 {
        self.snapshot.live()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As [`Instance::check`], of this state.
    ///
    /// # Errors
    /// As [`Instance::check`].
    pub fn check(&self, path: &str) -> Result<bool> {
        let operation = Operation::Check;
        check_path(path).map_err(|refusal| Error::new(operation, refusal))?;
        let located = || Ok(self.snapshot.locate(path).map_err(|e| self.failed(operation, e))?.is_some());
        span!("check", self.instance.name()).run(|&there| u64::from(there), located)
    }

    /// As [`Instance::vector`], of this state.
    ///
    /// # Errors
    /// As [`Instance::vector`].
    pub fn vector(&self, path: &str) -> Result<Vec<f32>> {
        let operation = Operation::Vector;
        let read = || -> Result<RowCode, Cause> {
            check_path(path)?;
            let place = self.snapshot.locate(path)?.ok_or(Refusal::ImageMissing)?;
            self.snapshot.code(place).map_err(Cause::Row)
        };
        let span = span!("vector", self.instance.name());
        let row = span.run(|_| 1, || read().map_err(|cause| self.failed(operation, cause)))?;
        Ok(row.decode(&self.snapshot.layout))
    }

    /// As [`Instance::weighted_vector`], of this state.
    ///
    /// # Errors
    /// As [`Instance::weighted_vector`].
    pub fn weighted_vector(&self, path: &str, mode: Mode) -> Result<Vec<f32>> {
        let mut values = self.vector(path)?;
        let weights = self.instance.inner.model.weights(mode);
        let total: f32 = weights.iter().sum();
        for (range, weight) in self.snapshot.layout.ranges().zip(weights) {
            values[range].iter_mut().for_each(|v| *v *= (weight / total).sqrt());
        }
        Ok(values)
    }

    /// As [`Instance::search`], of this state.
    ///
    /// # Errors
    /// As [`Instance::search`].
    pub fn search(&self, query: &Query<'_>) -> Result<Page> {
        let answer = || -> Result<Page, Cause> {
            self.instance.go_on()?;
            let page = self.answer(query)?;
            // Called off meanwhile: it may have passed over rows.
            self.instance.go_on()?;
            Ok(page)
        };
        let span = span!("search", self.instance.name());
        span.run(
            |page: &Page| page.hits.len() as u64,
            || answer().map_err(|cause| self.failed(Operation::Search, cause)),
        )
    }

    pub(super) fn failed(&self, operation: Operation, cause: impl Into<Cause>) -> Error {
        self.instance.failed(&self.store, operation, cause)
    }

    /// Set once the search is not wanted any more.
    pub(super) fn stop(&self) -> Option<&AtomicBool> {
        self.instance.cancel.as_ref().map(CancelToken::flag)
    }

    fn answer(&self, query: &Query<'_>) -> Result<Page, Cause> {
        if !(1..=MAX_LIMIT).contains(&query.limit) {
            return Err(Refusal::LimitInvalid(query.limit).into());
        }
        if let Some(min) = query.min_sim.filter(|min| !(0.0..=1.0).contains(min)) {
            return Err(Refusal::MinSimInvalid(min).into());
        }
        let filter = Filter::new(TagSet::check(&query.tags, &self.snapshot.schema)?);
        let region = region(query)?;
        let by = self.by(query, region)?;
        let passing = self.passing(filter.as_ref())?;
        match by {
            By::Order => self.in_order(query, &passing),
            By::Row(row) => self.ranked(query, &passing, &row, None, region),
            By::Image(row, place) => self.ranked(query, &passing, &row, Some(place), region),
        }
    }

    /// What the query ranks by: a picture, a stored image, or nothing but the order of insertion.
    fn by(&self, query: &Query<'_>, region: Option<&Region>) -> Result<By, Cause> {
        let path = query.path.as_deref();
        let source = query.source.as_ref().filter(|source| match source {
            Source::Bytes(bytes) => !bytes.is_empty(),
            Source::Resolve => path.is_some_and(|path| !path.is_empty()),
            Source::Pixels(_) | Source::Vector(_) => true,
        });
        if let Some(source) = source {
            let (row, _) = self.instance.embed(source, path.unwrap_or_default(), region)?;
            return Ok(By::Row(row));
        }
        match path.filter(|path| !path.is_empty()) {
            Some(path) => self.by_path(path, region),
            None if query.tags.is_empty() && (query.source.is_some() || query.path.is_some()) => {
                Err(Refusal::EmptyAsked.into())
            }
            None if query.tags.is_empty() => Err(Refusal::NothingAsked.into()),
            None if region.is_some() => Err(Refusal::BoxWithoutPicture.into()),
            None => Ok(By::Order),
        }
    }

    fn by_path(&self, path: &str, region: Option<&Region>) -> Result<By, Cause> {
        check_path(path)?;
        // A part of a stored image needs its pixels: its vector alone cannot be cropped.
        if region.is_none()
            && let Some(place) = self.snapshot.locate(path)?
        {
            let row = self.snapshot.code(place).map_err(Cause::Row)?;
            return Ok(By::Image(row, place));
        }
        let (row, _) = self.instance.embed(&Source::Resolve, path, region).map_err(|cause| match cause {
            Cause::Refusal(Refusal::NoResolver(_)) => Refusal::NoResolver(shown(path)).into(),
            other => other,
        })?;
        Ok(By::Row(row))
    }

    pub(super) fn passing(&self, filter: Option<&Filter>) -> Result<Passing, StoreError> {
        let Some(filter) = filter else {
            return Ok(Passing { parts: None, count: self.snapshot.live() });
        };
        let parts = self.snapshot.parts().map(|part| self.snapshot.matches(part, filter));
        Ok(Passing::of(parts.collect::<Result<Vec<_>, _>>()?))
    }

    fn in_order(&self, query: &Query<'_>, passing: &Passing) -> Result<Page, Cause> {
        let mut top = Top::new(keep(query, passing.count));
        for (part, positions) in (0..).zip(passing.parts.iter().flatten()) {
            for position in positions {
                let place = Place { part, position };
                top.offer(Ranked { score: 0.0, order: self.snapshot.order(place)?, place });
            }
        }
        let found = Found { rows_scanned: 0, lists_probed: 0, exact: true };
        let hits = self.page(query, &top.into_sorted(), |_| None)?;
        Ok(Page { count: passing.count, hits, found })
    }

    fn ranked(
        &self,
        query: &Query<'_>,
        passing: &Passing,
        row: &RowCode,
        itself: Option<Place>,
        region: Option<&Region>,
    ) -> Result<Page, Cause> {
        let model = &self.instance.inner.model;
        let mode = query.mode.unwrap_or(if region.is_some() { Mode::Balanced } else { Mode::Default });
        let curve = model.curve(mode);
        let min_score = query.min_sim.map_or(f32::NEG_INFINITY, |min| curve.raw_for(min));
        let gap = |share: f64| self.gap(query, passing, mode, share);
        let exact = query.effort == Effort::Exact
            || !self.snapshot.has_lists()
            || passing.parts.is_some() && self.few_pass(passing, row, mode, gap(passing.share(self.len())));
        if query.offset > DEEP && (exact || min_score == f32::NEG_INFINITY) {
            let before = if exact {
                Ranking::default()
            } else {
                self.prefixes(query, passing, row, (mode, &gap), usize::MAX)?
            };
            return self.deep_page(query, passing, row, (mode, min_score), itself, before);
        }
        let Ranking { mut rows, mut count, found } = if exact {
            self.by_all(query, passing, row, mode, min_score)?
        } else {
            self.by_lists(query, passing, row, (mode, &gap), min_score)?
        };
        if let Some(place) = itself {
            let passes = passing.contains(place);
            let before = rows.len();
            rows.retain(|ranked| ranked.place != place);
            // A search of lists may have missed it among those that it counted; without a minimum all are counted.
            let counted = rows.len() < before || min_score == f32::NEG_INFINITY || exact;
            if passes && query.exclude_self {
                count -= u64::from(counted);
            } else if passes {
                count += u64::from(!counted);
                rows.insert(0, Ranked { score: 1.0, order: self.snapshot.order(place)?, place });
            }
        }
        let hits = self.page(query, &rows, |score| Some(curve.sim(score)))?;
        Ok(Page { count, hits, found })
    }

    /// Ranks by reading every image that passes.
    fn by_all(
        &self,
        query: &Query<'_>,
        passing: &Passing,
        row: &RowCode,
        mode: Mode,
        min_score: f32,
    ) -> Result<Ranking, StoreError> {
        let code = QueryCode::new(&self.snapshot.layout, row, self.weights(mode));
        // One more than the page needs, for the image itself takes the first place and may leave another.
        let mut top = Top::new(keep(query, passing.count).saturating_add(1));
        let (scanned, count) = self.scan_all(&code, passing, min_score, &mut top)?;
        let found = Found { rows_scanned: scanned, lists_probed: 0, exact: true };
        Ok(Ranking { rows: top.into_sorted(), count, found })
    }

    /// A page far down: behind the rows that stand `before`, all that pass are ranked, and only those of the page are held.
    fn deep_page(
        &self,
        query: &Query<'_>,
        passing: &Passing,
        row: &RowCode,
        (mode, min_score): (Mode, f32),
        itself: Option<Place>,
        before: Ranking,
    ) -> Result<Page, Cause> {
        let code = QueryCode::new(&self.snapshot.layout, row, self.weights(mode));
        let itself = itself.filter(|&place| passing.contains(place));
        // The image itself is first, wherever it would be ranked.
        let pinned = u64::from(itself.is_some() && !query.exclude_self);
        let mut placed: HashSet<Place> = before.rows.iter().map(|ranked| ranked.place).collect();
        placed.extend(itself);
        let standing = placed.len() as u64 - u64::from(itself.is_some());
        let mut found = Found { exact: before.rows.is_empty(), ..before.found };
        let mut visit = |each: &mut dyn FnMut(Ranked)| -> Result<(), StoreError> {
            for part in self.snapshot.parts() {
                let (rows, dead) = self.snapshot.part(part);
                let only = passing.parts.as_ref().and_then(|parts| parts.get(part as usize));
                self.snapshot.visit(
                    &code,
                    &Scan { part, rows: 0..rows, only, dead, min_score, bar: None, stop: self.stop() },
                    &mut *each,
                )?;
            }
            found.rows_scanned += passing.count;
            Ok(())
        };
        let mut locator = Locator::new(query.offset.saturating_sub(pinned + standing));
        let (mut count, mut left) = (0, Some(u64::MAX));
        while left.is_some_and(|left| left > HELD) && !locator.is_done() {
            count = 0;
            visit(&mut |ranked| {
                count += 1;
                if !placed.contains(&ranked.place) {
                    locator.count(ranked.key());
                }
            })?;
            left = locator.narrow();
        }
        let mut top = Top::new(query.limit as usize);
        if left.is_some() {
            let mut keys = Vec::new();
            visit(&mut |ranked| {
                if locator.takes(ranked.key()) && !placed.contains(&ranked.place) {
                    keys.push(ranked.key());
                }
            })?;
            if let Some(start) = locator.pick(keys) {
                visit(&mut |ranked| {
                    if ranked.key() >= start && !placed.contains(&ranked.place) {
                        top.offer(ranked);
                    }
                })?;
            }
        }
        count -= u64::from(itself.is_some() && query.exclude_self);
        let curve = self.instance.inner.model.curve(mode);
        let page = Query { offset: 0, ..query.clone() };
        let hits = self.page(&page, &top.into_sorted(), |score| Some(curve.sim(score)))?;
        Ok(Page { count, hits, found })
    }

    /// Ranks by searching lists.
    ///
    /// The ranking of a query is one, whatever page of it is asked for: it is put together of prefixes of fixed lengths, each
    /// the best of a search for so many, less those that stand before. So pages neither overlap nor skip, though
    /// a search for more rows may find one that a search for fewer had missed. Beyond the last prefix all that pass are
    /// read.
    fn by_lists(
        &self,
        query: &Query<'_>,
        passing: &Passing,
        row: &RowCode,
        (mode, gap): (Mode, &dyn Fn(f64) -> f32),
        min_score: f32,
    ) -> Result<Ranking, StoreError> {
        let until = query.budget.and_then(|budget| Instant::now().checked_add(budget));
        let share = passing.share(self.len());
        let look = Look { only: passing.parts.as_deref(), share, min_score, until, stop: self.stop() };
        let wanted = keep(query, passing.count).saturating_add(1);
        if min_score > f32::NEG_INFINITY {
            // Every row at or above the minimum is looked for, so there is but one ranking.
            let mut top = Top::new(wanted);
            let looked = self.snapshot.look((row, self.weights(mode)), gap, 0, &look, &mut top)?;
            let found = Found { rows_scanned: looked.scanned, lists_probed: looked.lists, exact: false };
            return Ok(Ranking { rows: top.into_sorted(), count: looked.counted, found });
        }
        let Ranking { mut rows, found, .. } = self.prefixes(query, passing, row, (mode, gap), wanted)?;
        // Fewer than the last prefix has: there are no more, or time ran out.
        if rows.len() >= wanted || rows.len() < PREFIXES[PREFIXES.len() - 1] {
            return Ok(Ranking { rows, count: passing.count, found });
        }
        let placed: HashSet<Place> = rows.iter().map(|ranked| ranked.place).collect();
        let rest = self.by_all(query, passing, row, mode, min_score)?;
        rows.extend(rest.rows.into_iter().filter(|ranked| !placed.contains(&ranked.place)));
        let rows_scanned = found.rows_scanned + rest.found.rows_scanned;
        Ok(Ranking { rows, count: passing.count, found: Found { rows_scanned, ..found } })
    }

    /// The prefixes of a ranking by lists, up to the one that has `wanted` rows, or all of them.
    fn prefixes(
        &self,
        query: &Query<'_>,
        passing: &Passing,
        row: &RowCode,
        (mode, gap): (Mode, &dyn Fn(f64) -> f32),
        wanted: usize,
    ) -> Result<Ranking, StoreError> {
        let until = query.budget.and_then(|budget| Instant::now().checked_add(budget));
        let (only, share) = (passing.parts.as_deref(), passing.share(self.len()));
        let look = Look { only, share, min_score: f32::NEG_INFINITY, until, stop: self.stop() };
        let mut found = Found { rows_scanned: 0, lists_probed: 0, exact: false };
        let (mut rows, mut placed) = (Vec::new(), HashSet::new());
        let prefixes = if query.limit < PREFIXES[0] as u32 { &PREFIXES[..] } else { &PREFIXES[1..] };
        for &prefix in prefixes {
            let mut top = Top::new(prefix);
            let looked = self.snapshot.look((row, self.weights(mode)), gap, prefix, &look, &mut top)?;
            found.rows_scanned += looked.scanned;
            found.lists_probed += looked.lists;
            let best = top.into_sorted();
            let new = best.into_iter().filter(|ranked| !placed.contains(&ranked.place));
            rows.extend(new.take(prefix - rows.len()).collect::<Vec<_>>());
            placed = rows.iter().map(|ranked: &Ranked| ranked.place).collect();
            if rows.len() >= wanted || rows.len() < prefix {
                break;
            }
        }
        Ok(Ranking { rows, count: passing.count, found })
    }

    /// How far below the best list a search looks: by the limit and not by the offset, so that all pages of a query
    /// look equally far.
    fn gap(&self, query: &Query<'_>, passing: &Passing, mode: Mode, share: f64) -> f32 {
        let reach = match query.effort {
            Effort::Fast => Reach::Fast,
            Effort::High => Reach::High,
            _ => Reach::Default,
        };
        self.reach(reach, mode, query.limit as usize, passing, share)
    }

    /// The gap for so many hits when `share` of the images near the query pass: the best ten of one image in twelve lie as deep
    /// as the best 120 of all, and less evenly.
    pub(super) fn reach(&self, reach: Reach, mode: Mode, hits: usize, passing: &Passing, share: f64) -> f32 {
        let deeper = if passing.parts.is_some() { UNEVEN / share } else { 1.0 };
        // Far from most images that pass nothing lies as what was measured, so rather more is searched.
        let apart = share < APART_SHARE * passing.share(self.len());
        let reach = match reach {
            Reach::Fast if apart => Reach::Default,
            Reach::Default if apart => Reach::High,
            reach => reach,
        };
        let gaps = self.snapshot.centres.last().and_then(|centres| centres.entry.gaps.as_ref());
        Gaps::of(gaps, mode as usize, reach, hits as f64 * deeper)
    }

    /// Whether reading the images that pass a filter costs less than searching lists.
    fn few_pass(&self, passing: &Passing, row: &RowCode, mode: Mode, gap: f32) -> bool {
        let sparse = passing.count * SPARSE < self.snapshot.live();
        passing.count <= FEW_MATCHES
            || passing.count <= EXACT_MATCHES && sparse
            || passing.count <= EXACT_MATCHES
                && self.snapshot.rows_within((row, self.weights(mode)), gap) > passing.count * ROWS_FOR_ONE
    }

    fn weights(&self, mode: Mode) -> &[f32] {
        self.store.weights().get(mode as usize).map(Vec::as_slice).unwrap_or_default()
    }

    /// Scores every image that passes; gives how many were scored, and how many of them are at or above the minimum.
    ///
    /// Many are shared among threads. The answer is the same on any number of them.
    pub(super) fn scan_all(
        &self,
        code: &(impl Score + Sync),
        passing: &Passing,
        min_score: f32,
        top: &mut Top,
    ) -> Result<(u64, u64), StoreError> {
        let bar = SharedBar::new();
        let scans: Vec<Scan<'_>> = self
            .snapshot
            .parts()
            .map(|part| {
                let (rows, dead) = self.snapshot.part(part);
                let only = passing.parts.as_ref().and_then(|parts| parts.get(part as usize));
                Scan { part, rows: 0..rows, only, dead, min_score, bar: Some(&bar), stop: self.stop() }
            })
            .collect();
        // Rows that lie anywhere take so much longer than those that lie one after another.
        let piece = if passing.parts.is_some() { PIECE / APART } else { PIECE };
        let helpers = usize::try_from(passing.count / u64::from(piece)).unwrap_or(usize::MAX);
        let pieces =
            if helpers == 0 { scans } else { scans.iter().flat_map(|scan| scan.pieces(piece)).collect() };
        let keep = top.keep();
        let start = || (Top::new(keep), (0, 0));
        let shares = self.instance.inner.crew.share(&pieces, helpers, start, |(top, sums), piece| {
            let (scored, counted) = self.snapshot.scan(code, piece, top)?;
            *sums = (sums.0 + scored, sums.1 + counted);
            Ok(())
        });
        let mut all = (0, 0);
        for (own, sums) in shares? {
            top.join(own);
            all = (all.0 + sums.0, all.1 + sums.1);
        }
        Ok(all)
    }

    fn page(
        &self,
        query: &Query<'_>,
        ranking: &[Ranked],
        sim: impl Fn(f32) -> Option<f32>,
    ) -> Result<Vec<Hit>, StoreError> {
        let skip = usize::try_from(query.offset).unwrap_or(usize::MAX);
        let page = ranking.iter().skip(skip).take(query.limit as usize);
        self.snapshot.soon_hits(page.clone().map(|ranked| ranked.place));
        page.map(|ranked| {
            Ok(Hit {
                path: self.snapshot.path(ranked.place)?.to_owned(),
                sim: sim(ranked.score),
                tags: self.snapshot.named_tags(ranked.place)?,
            })
        })
        .collect()
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({}, {} images)", self.instance.name(), self.len())
    }
}

/// The box to search by: `is_crop` is tri-state.
fn region<'q>(query: &'q Query<'_>) -> Result<Option<&'q Region>, Refusal> {
    match (query.is_crop, &query.region) {
        (Some(true), None) => Err(Refusal::BoxMissing),
        (Some(false), _) => Ok(None),
        (_, region) => Ok(region.as_ref()),
    }
}

/// How many of the best a page needs: never more than there are.
fn keep(query: &Query<'_>, count: u64) -> usize {
    let wanted = query.offset.saturating_add(u64::from(query.limit)).min(count);
    usize::try_from(wanted).unwrap_or(usize::MAX - 1)
}
