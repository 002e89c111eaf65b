//! The state of an instance at one moment: what a search reads.

use std::hash::Hasher;
use std::sync::Arc;

use roaring::RoaringBitmap;
use siphasher::sip::SipHasher13;

use super::centres::Centres;
use super::error::StoreError;
use super::frame::Uuid;
use super::record::Hash;
use super::segment::{Segment, Step};
use super::tail::Tail;
use crate::index::{self, Place, Ranked, RowRun, Rows, Scan, Score, Top};
use crate::tags::{Filter, Schema, TagSet, Tags};
use crate::vector::{Layout, RowCode};

/// A segment and its dead rows.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) segment: Arc<Segment>,
    pub(crate) dead: Arc<RoaringBitmap>,
}

/// A tail that is full and takes no more rows: it waits to be sealed.
#[derive(Debug, Clone)]
pub(crate) struct Frozen {
    pub(crate) tail: Tail,
    pub(crate) dead: Arc<RoaringBitmap>,
    /// The log that its rows are in.
    pub(crate) log: u64,
}

/// Immutable. Its parts are, in this order: segments, frozen tails, the tail.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) uuid: Uuid,
    pub(crate) layout: Arc<Layout>,
    pub(crate) schema: Arc<Schema>,
    /// Centres of lists, oldest first.
    pub(crate) centres: Vec<Centres>,
    pub(crate) sealed: Vec<Sealed>,
    pub(crate) frozen: Vec<Frozen>,
    pub(crate) tail: Tail,
    pub(crate) tail_dead: Arc<RoaringBitmap>,
}

/// One part of a snapshot.
enum Part<'a> {
    Segment(&'a Segment),
    Tail(&'a Tail),
}

/// The hash of a path: keyed by the instance, so that nobody can choose paths that collide.
pub(crate) fn path_hash(uuid: &Uuid, path: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_key(uuid);
    hasher.write(path.as_bytes());
    hasher.finish()
}

impl Snapshot {
    /// Number of the part that is the tail.
    pub(crate) fn tail_part(&self) -> u32 {
        (self.sealed.len() + self.frozen.len()) as u32
    }

    /// Every part.
    pub(crate) fn parts(&self) -> std::ops::RangeInclusive<u32> {
        0..=self.tail_part()
    }

    fn at(&self, part: u32) -> Part<'_> {
        let part = part as usize;
        match self.sealed.get(part) {
            Some(sealed) => Part::Segment(&sealed.segment),
            None => Part::Tail(self.frozen.get(part - self.sealed.len()).map_or(&self.tail, |f| &f.tail)),
        }
    }

    /// The segment that a part is, if it is one.
    pub(crate) fn segment(&self, part: u32) -> Option<&Segment> {
        self.sealed.get(part as usize).map(|sealed| &*sealed.segment)
    }

    /// Which rows of a part are dead.
    pub(crate) fn dead(&self, part: u32) -> &Arc<RoaringBitmap> {
        let part = part as usize;
        match self.sealed.get(part) {
            Some(sealed) => &sealed.dead,
            None => self.frozen.get(part - self.sealed.len()).map_or(&self.tail_dead, |f| &f.dead),
        }
    }

    /// Rows of a part, dead ones included, and which are dead.
    pub(crate) fn part(&self, part: u32) -> (u32, &RoaringBitmap) {
        let rows = match self.at(part) {
            Part::Segment(segment) => segment.rows(),
            Part::Tail(tail) => tail.rows(),
        };
        (rows, self.dead(part))
    }

    /// Number of live images.
    pub(crate) fn live(&self) -> u64 {
        self.parts().map(|part| self.part(part)).map(|(rows, dead)| u64::from(rows) - dead.len()).sum()
    }

    /// Says that images will be looked for soon whose paths have these hashes.
    pub(crate) fn soon_paths(&self, hashes: &[u64]) {
        self.parts().for_each(|part| match self.at(part) {
            Part::Segment(segment) => segment.soon_paths(hashes),
            Part::Tail(tail) => tail.soon_paths(hashes),
        });
    }

    /// Where the image of `path` is.
    pub(crate) fn locate(&self, path: &str) -> Result<Option<Place>, StoreError> {
        self.locate_hashed(path, path_hash(&self.uuid, path))
    }

    /// Where the image of `path` is, whose hash is known.
    pub(crate) fn locate_hashed(&self, path: &str, hash: u64) -> Result<Option<Place>, StoreError> {
        for part in self.parts().rev() {
            let dead = self.dead(part);
            let found = match self.at(part) {
                Part::Segment(segment) => segment.find(path, hash, dead)?,
                Part::Tail(tail) => tail.find(path, hash, dead),
            };
            if let Some(position) = found {
                return Ok(Some(Place { part, position }));
            }
        }
        Ok(None)
    }

    /// Live rows of a part that pass a filter.
    pub(crate) fn matches(&self, part: u32, filter: &Filter) -> Result<RoaringBitmap, StoreError> {
        let found = match self.at(part) {
            Part::Segment(segment) => filter.matches(|term| segment.postings(term))?,
            Part::Tail(tail) => filter.matches(|term| Ok::<_, StoreError>(tail.postings(term)))?,
        };
        Ok(found - self.part(part).1)
    }

    /// Scores rows of a part; see [`index::scan`].
    pub(crate) fn scan(
        &self,
        query: &impl Score,
        scan: &Scan<'_>,
        top: &mut Top,
    ) -> Result<(u64, u64), StoreError> {
        let (dims, blocks) = (self.layout.dims(), self.layout.blocks());
        match self.at(scan.part) {
            Part::Segment(segment) => index::scan(segment, query, scan, dims, blocks, top),
            Part::Tail(tail) => index::scan(tail, query, scan, dims, blocks, top),
        }
    }

    /// Calls `each` with every row of a part that counts; see [`index::visit`].
    pub(crate) fn visit(
        &self,
        query: &impl Score,
        scan: &Scan<'_>,
        each: impl FnMut(Ranked),
    ) -> Result<(), StoreError> {
        match self.at(scan.part) {
            Part::Segment(segment) => index::visit(segment, query, scan, each),
            Part::Tail(tail) => index::visit(tail, query, scan, each),
        }
    }

    /// The upper plane and the norms of one row.
    pub(crate) fn row(&self, place: Place) -> Result<RowRun<'_>, StoreError> {
        let range = place.position..place.position + 1;
        match self.at(place.part) {
            Part::Segment(segment) => segment.run(range),
            Part::Tail(tail) => tail.run(range),
        }
    }

    /// The lower plane of one row.
    pub(crate) fn lower(&self, place: Place) -> Result<&[i8], StoreError> {
        match self.at(place.part) {
            Part::Segment(segment) => segment.lower(place.position),
            Part::Tail(tail) => tail.lower(place.position),
        }
    }

    /// One row, owned.
    pub(crate) fn code(&self, place: Place) -> Result<RowCode, StoreError> {
        let row = self.row(place)?;
        let inv_norms = row.inv_norms.iter().map(index::inv_norm).collect();
        Ok(RowCode { upper: row.upper.to_vec(), lower: self.lower(place)?.to_vec(), inv_norms })
    }

    pub(crate) fn order(&self, place: Place) -> Result<u64, StoreError> {
        match self.at(place.part) {
            Part::Segment(segment) => segment.order(place.position),
            Part::Tail(tail) => tail.order(place.position),
        }
    }

    /// Says that the paths and tags of these rows will be read soon.
    pub(crate) fn soon_hits(&self, places: impl Iterator<Item = Place> + Clone) {
        for step in Step::ALL {
            for place in places.clone() {
                if let Part::Segment(segment) = self.at(place.part) {
                    segment.soon_hit(place.position, step);
                }
            }
        }
    }

    pub(crate) fn path(&self, place: Place) -> Result<&str, StoreError> {
        match self.at(place.part) {
            Part::Segment(segment) => segment.path(place.position),
            Part::Tail(tail) => Ok(tail.path(place.position)),
        }
    }

    /// The tags of a row, under their names.
    pub(crate) fn named_tags(&self, place: Place) -> Result<Tags, StoreError> {
        match self.at(place.part) {
            Part::Segment(segment) => segment.named_tags(place.position, &self.schema),
            Part::Tail(tail) => Ok(tail.tags(place.position).to_tags(&self.schema)),
        }
    }

    pub(crate) fn tags(&self, place: Place) -> Result<Arc<TagSet>, StoreError> {
        match self.at(place.part) {
            Part::Segment(segment) => segment.tags(place.position),
            Part::Tail(tail) => Ok(tail.tags(place.position).clone()),
        }
    }

    /// The tags of a row that is in no segment.
    pub(crate) fn tail_tags(&self, place: Place) -> Option<&TagSet> {
        match self.at(place.part) {
            Part::Segment(_) => None,
            Part::Tail(tail) => Some(tail.tags(place.position)),
        }
    }

    pub(crate) fn hash(&self, place: Place) -> Result<Hash, StoreError> {
        match self.at(place.part) {
            Part::Segment(segment) => segment.hash(place.position),
            Part::Tail(tail) => Ok(tail.hash(place.position)),
        }
    }

    /// Moves the tail to the frozen ones, as that of `log`.
    pub(crate) fn freeze(&mut self, log: u64) {
        let (tail, dead) = (std::mem::take(&mut self.tail), std::mem::take(&mut self.tail_dead));
        self.frozen.push(Frozen { tail, dead, log });
    }
}
