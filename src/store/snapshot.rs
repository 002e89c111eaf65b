//! The state of an instance at one moment: what a search reads.

use std::hash::Hasher;
use std::sync::Arc;

use roaring::RoaringBitmap;
use siphasher::sip::SipHasher13;

use super::error::StoreError;
use super::frame::Uuid;
use super::record::Hash;
use super::segment::Segment;
use super::tail::Tail;
use crate::index::{self, Place, RowRun, Rows, Scan, Score, Top};
use crate::tags::{Filter, Schema, TagSet};
use crate::vector::{Layout, RowCode};

/// A segment and its dead rows.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) segment: Arc<Segment>,
    pub(crate) dead: Arc<RoaringBitmap>,
}

/// Immutable: parts `0..sealed.len()` are segments, the last part is the tail.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) uuid: Uuid,
    pub(crate) layout: Arc<Layout>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) sealed: Vec<Sealed>,
    pub(crate) tail: Tail,
    pub(crate) tail_dead: Arc<RoaringBitmap>,
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
        self.sealed.len() as u32
    }

    /// Every part.
    pub(crate) fn parts(&self) -> std::ops::RangeInclusive<u32> {
        0..=self.tail_part()
    }

    /// Rows of a part, dead ones included, and which are dead.
    pub(crate) fn part(&self, part: u32) -> (u32, &RoaringBitmap) {
        match self.sealed.get(part as usize) {
            Some(sealed) => (sealed.segment.rows(), &sealed.dead),
            None => (self.tail.rows(), &self.tail_dead),
        }
    }

    /// Number of live images.
    pub(crate) fn live(&self) -> u64 {
        self.parts().map(|part| self.part(part)).map(|(rows, dead)| u64::from(rows) - dead.len()).sum()
    }

    /// Where the image of `path` is.
    pub(crate) fn locate(&self, path: &str) -> Result<Option<Place>, StoreError> {
        let hash = path_hash(&self.uuid, path);
        if let Some(position) = self.tail.find(path, hash, &self.tail_dead) {
            return Ok(Some(Place { part: self.tail_part(), position }));
        }
        for (part, sealed) in self.sealed.iter().enumerate().rev() {
            let part = part as u32;
            if let Some(position) = sealed.segment.find(path, hash, &sealed.dead)? {
                return Ok(Some(Place { part, position }));
            }
        }
        Ok(None)
    }

    /// Live rows of a part that pass a filter.
    pub(crate) fn matches(&self, part: u32, filter: &Filter) -> Result<RoaringBitmap, StoreError> {
        let found = match self.sealed.get(part as usize) {
            Some(sealed) => filter.matches(|term| sealed.segment.postings(term))?,
            None => filter.matches(|term| Ok::<_, StoreError>(self.tail.postings(term)))?,
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
        match self.sealed.get(scan.part as usize) {
            Some(sealed) => index::scan(&*sealed.segment, query, scan, dims, blocks, top),
            None => index::scan(&self.tail, query, scan, dims, blocks, top),
        }
    }

    /// Codes and norms of one row.
    pub(crate) fn row(&self, place: Place) -> Result<RowRun<'_>, StoreError> {
        let range = place.position..place.position + 1;
        match self.sealed.get(place.part as usize) {
            Some(sealed) => sealed.segment.run(range),
            None => self.tail.run(range),
        }
    }

    /// The fine plane of one row.
    pub(crate) fn fine(&self, place: Place) -> Result<&[u8], StoreError> {
        match self.sealed.get(place.part as usize) {
            Some(sealed) => sealed.segment.fine(place.position),
            None => self.tail.fine(place.position),
        }
    }

    /// One row, owned.
    pub(crate) fn code(&self, place: Place) -> Result<RowCode, StoreError> {
        let row = self.row(place)?;
        let inv_norms = row.inv_norms.iter().map(index::inv_norm).collect();
        Ok(RowCode { codes: row.codes.to_vec(), fine: self.fine(place)?.to_vec(), inv_norms })
    }

    pub(crate) fn order(&self, place: Place) -> Result<u64, StoreError> {
        match self.sealed.get(place.part as usize) {
            Some(sealed) => sealed.segment.order(place.position),
            None => self.tail.order(place.position),
        }
    }

    pub(crate) fn path(&self, place: Place) -> Result<&str, StoreError> {
        match self.sealed.get(place.part as usize) {
            Some(sealed) => sealed.segment.path(place.position),
            None => Ok(self.tail.path(place.position)),
        }
    }

    pub(crate) fn tags(&self, place: Place) -> Result<Arc<TagSet>, StoreError> {
        match self.sealed.get(place.part as usize) {
            Some(sealed) => sealed.segment.tags(place.position),
            None => Ok(self.tail.tags(place.position).clone()),
        }
    }

    pub(crate) fn hash(&self, place: Place) -> Result<Hash, StoreError> {
        match self.sealed.get(place.part as usize) {
            Some(sealed) => sealed.segment.hash(place.position),
            None => Ok(self.tail.hash(place.position)),
        }
    }
}
