//! Search, check, and reading vectors: over one state of the instance.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::{Found, Hit, Instance, Page, Query, Source, check_path};
use crate::error::{Cause, Error, Operation, Result};
use crate::features::Mode;
use crate::index::{Place, QueryCode, Ranked, Scan, Score, Top};
use crate::limits::MAX_LIMIT;
use crate::refusal::{Refusal, shown};
use crate::region::Region;
use crate::store::{Snapshot, Store, StoreError};
use crate::tags::{Filter, TagSet};
use crate::vector::RowCode;

/// One state of an instance. Searches of the same reader agree with each other.
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

/// Images that pass the tags, by part of the snapshot; all of them when there is no filter.
pub(super) struct Passing {
    parts: Option<Vec<RoaringBitmap>>,
    count: u64,
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

    /// As [`Instance::check`].
    ///
    /// # Errors
    /// As [`Instance::check`].
    pub fn check(&self, path: &str) -> Result<bool> {
        let operation = Operation::Check;
        check_path(path).map_err(|refusal| Error::new(operation, refusal))?;
        let located = self.snapshot.locate(path).map_err(|e| self.failed(operation, e))?;
        Ok(located.is_some())
    }

    /// As [`Instance::vector`].
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
        let row = read().map_err(|cause| self.failed(operation, cause))?;
        Ok(row.decode(&self.snapshot.layout))
    }

    /// As [`Instance::weighted_vector`].
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

    /// As [`Instance::search`].
    ///
    /// # Errors
    /// As [`Instance::search`].
    pub fn search(&self, query: &Query<'_>) -> Result<Page> {
        self.answer(query).map_err(|cause| self.failed(Operation::Search, cause))
    }

    pub(super) fn failed(&self, operation: Operation, cause: impl Into<Cause>) -> Error {
        self.instance.failed(&self.store, operation, cause)
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
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let count = parts.iter().map(RoaringBitmap::len).sum();
        Ok(Passing { parts: Some(parts), count })
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
        let hits = self.page(query, top.into_sorted(), |_| None)?;
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
        let code = QueryCode::new(&self.snapshot.layout, row, &model.weights(mode));
        let curve = model.curve(mode);
        let min_score = query.min_sim.map_or(f32::NEG_INFINITY, |min| curve.raw_for(min));
        // One more than the page needs, for the image itself takes the first place and may leave another.
        let mut top = Top::new(keep(query, passing.count).saturating_add(1));
        let (scanned, mut count) = self.scan_all(&code, passing, min_score, &mut top)?;
        let mut ranking = top.into_sorted();
        if let Some(place) = itself {
            let passes = match &passing.parts {
                Some(parts) => parts.get(place.part as usize).is_some_and(|p| p.contains(place.position)),
                None => true,
            };
            ranking.retain(|ranked| ranked.place != place);
            if passes && query.exclude_self {
                count -= 1;
            } else if passes {
                ranking.insert(0, Ranked { score: 1.0, order: self.snapshot.order(place)?, place });
            }
        }
        let found = Found { rows_scanned: scanned, lists_probed: 0, exact: true };
        let hits = self.page(query, ranking, |score| Some(curve.sim(score)))?;
        Ok(Page { count, hits, found })
    }

    /// Scores every image that passes; gives how many were scored, and how many of them are at or above the minimum.
    pub(super) fn scan_all(
        &self,
        code: &impl Score,
        passing: &Passing,
        min_score: f32,
        top: &mut Top,
    ) -> Result<(u64, u64), StoreError> {
        let (mut scanned, mut count) = (0, 0);
        for part in self.snapshot.parts() {
            let (rows, dead) = self.snapshot.part(part);
            let only = passing.parts.as_ref().and_then(|parts| parts.get(part as usize));
            let scan = Scan { part, rows, only, dead, min_score };
            let (scored, counted) = self.snapshot.scan(code, &scan, top)?;
            scanned += scored;
            count += counted;
        }
        Ok((scanned, count))
    }

    fn page(
        &self,
        query: &Query<'_>,
        ranking: Vec<Ranked>,
        sim: impl Fn(f32) -> Option<f32>,
    ) -> Result<Vec<Hit>, StoreError> {
        let skip = usize::try_from(query.offset).unwrap_or(usize::MAX);
        let page = ranking.into_iter().skip(skip).take(query.limit as usize);
        page.map(|ranked| {
            Ok(Hit {
                path: self.snapshot.path(ranked.place)?.to_owned(),
                sim: sim(ranked.score),
                tags: self.snapshot.tags(ranked.place)?.to_tags(&self.snapshot.schema),
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
