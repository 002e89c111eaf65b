//! Which segments to merge, and the rows that a new segment is made of.

use std::sync::Arc;

use super::error::StoreError;
use super::record::Hash;
use super::segment::RowSource;
use super::snapshot::{Snapshot, path_hash};
use crate::index::Place;
use crate::tags::TagSet;

/// Segments of one size class that are merged: a row is rewritten once for each time the instance grows so many
/// times larger.
const FAN_IN: usize = 4;
/// Smallest size class, in rows.
const SMALLEST: u32 = 1 << 14;
/// A segment with more than one dead row in so many is rewritten.
const DEAD_SHARE: u64 = 4;

/// Live rows of parts of a snapshot, by insertion number.
pub(crate) struct LiveRows<'a> {
    snapshot: &'a Snapshot,
    rows: Vec<(u64, Place)>,
}

impl<'a> LiveRows<'a> {
    pub(crate) fn of(snapshot: &'a Snapshot, parts: &[u32]) -> Result<Self, StoreError> {
        let mut rows = Vec::new();
        for &part in parts {
            let (count, dead) = snapshot.part(part);
            for position in (0..count).filter(|&position| !dead.contains(position)) {
                let place = Place { part, position };
                rows.push((snapshot.order(place)?, place));
            }
        }
        rows.sort_unstable();
        Ok(Self { snapshot, rows })
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    fn place(&self, row: u32) -> Place {
        self.rows[row as usize].1
    }
}

impl RowSource for LiveRows<'_> {
    fn rows(&self) -> u32 {
        self.rows.len() as u32
    }

    fn codes(&self, row: u32) -> Result<&[i8], StoreError> {
        Ok(self.snapshot.row(self.place(row))?.codes)
    }

    fn fine(&self, row: u32) -> Result<&[u8], StoreError> {
        self.snapshot.fine(self.place(row))
    }

    fn inv_norms(&self, row: u32) -> Result<&[[u8; 4]], StoreError> {
        Ok(self.snapshot.row(self.place(row))?.inv_norms)
    }

    fn order(&self, row: u32) -> Result<u64, StoreError> {
        Ok(self.rows[row as usize].0)
    }

    fn hash(&self, row: u32) -> Result<Hash, StoreError> {
        self.snapshot.hash(self.place(row))
    }

    fn path(&self, row: u32) -> Result<&str, StoreError> {
        self.snapshot.path(self.place(row))
    }

    fn path_hash(&self, row: u32) -> Result<u64, StoreError> {
        Ok(path_hash(&self.snapshot.uuid, self.path(row)?))
    }

    fn tags(&self, row: u32) -> Result<Arc<TagSet>, StoreError> {
        self.snapshot.tags(self.place(row))
    }
}

/// Parts that should be merged now: [`FAN_IN`] segments of one size class, or one that is mostly dead weight;
/// none when nothing is due.
pub(crate) fn due(snapshot: &Snapshot) -> Vec<u32> {
    let sizes = (0u32..).zip(snapshot.sealed.iter().map(|s| (u64::from(s.segment.rows()), s.dead.len())));
    let class = |live: u64| (live / u64::from(SMALLEST)).max(1).ilog(FAN_IN as u64);
    let mut classes: Vec<Vec<u32>> = Vec::new();
    for (part, (rows, dead)) in sizes {
        if dead * DEAD_SHARE > rows {
            return vec![part];
        }
        let class = class(rows - dead) as usize;
        classes.resize_with(classes.len().max(class + 1), Vec::new);
        classes[class].push(part);
    }
    classes.into_iter().find(|parts| parts.len() >= FAN_IN).unwrap_or_default()
}
