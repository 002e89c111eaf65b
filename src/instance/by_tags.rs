//! Counting and deleting images by their tags.

use std::sync::Arc;

use super::{Instance, Reader};
use crate::error::{Cause, Operation, Result};
use crate::index::Place;
use crate::refusal::Refusal;
use crate::store::{Op, OpError, Outcome, Store};
use crate::tags::{Filter, TagSet, Tags};
use crate::trace::span;

/// Images deleted in one step: enough that a sync is cheap beside them.
const GROUP: usize = 4096;

impl Instance {
    /// How many images have these tags: for each key one of its values.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// for (path, album) in [("a.jpg", "cats"), ("b.jpg", "dogs"), ("c.jpg", "trees")] {
    ///     photos.add(&Add::new(path, Source::vector(&vector)).tag("album", album))?;
    /// }
    /// let animals = Tags::new().with_values("album", ["cats", "dogs"]);
    /// assert_eq!(photos.count_where(&animals)?, 2);
    /// assert_eq!(photos.count_where(&Tags::new()).unwrap_err().code(), Code::PathOrFileRequired);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.2015 without tags; IS.1002, IS.1003, IS.1004 for tags; IS.2102 when files cannot be read; IS.2019.
    pub fn count_where(&self, tags: &Tags) -> Result<u64> {
        self.reader_for(Operation::Search)?.count_where(tags)
    }

    /// Deletes the images that have these tags: for each key one of its values. Gives how many.
    ///
    /// What had the tags at the call is deleted, in groups of some thousand, each in one step: durable, and seen by every
    /// later search. An image that is given other tags meanwhile stays; one that is given these meanwhile may stay. When it
    /// fails or is called off in the middle, the groups before are deleted, durably, and the rest is there:
    /// [`count_where`](Self::count_where) tells how many, and the same call goes on.
    ///
    /// ```
    /// # use lookalike::{Add, CreateInstance, Gallery, Source, Tags};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)).tag("album", "old"))?;
    /// photos.add(&Add::new("b.jpg", Source::vector(&vector)).tag("album", "new"))?;
    ///
    /// let old = Tags::from([("album", "old")]);
    /// assert_eq!(photos.count_where(&old)?, 1);
    /// assert_eq!(photos.delete_where(&old)?, 1);
    /// assert_eq!((photos.count_where(&old)?, photos.len()?), (0, 1));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.2015 without tags, for that would be all images; IS.1002, IS.1003, IS.1004 for tags; IS.2101 when files cannot be
    /// read or written; IS.0012 when it was called off; IS.0014, IS.2019, IS.2105.
    pub fn delete_where(&self, tags: &Tags) -> Result<u64> {
        span!("delete_where", self.name()).run(|&deleted| deleted, || self.delete_tagged(tags))
    }

    fn delete_tagged(&self, tags: &Tags) -> Result<u64> {
        let operation = Operation::Delete;
        let reader = self.reader_for(operation)?;
        let store = &reader.store;
        let fail = |cause: Cause| self.failed(store, operation, cause);
        self.go_on().map_err(|refusal| fail(refusal.into()))?;
        let filter = Arc::new(reader.filter(tags).map_err(fail)?);
        let (mut deleted, mut group) = (0, Vec::with_capacity(GROUP));
        // A part at a time: memory is a bitmap of its rows and one group.
        for part in reader.snapshot.parts() {
            let matching = reader.snapshot.matches(part, &filter).map_err(|e| fail(e.into()))?;
            for position in matching {
                let path = reader.snapshot.path(Place { part, position }).map_err(|e| fail(e.into()))?;
                group.push(Op::Delete { path: Arc::from(path), only: Some(filter.clone()) });
                if group.len() == GROUP {
                    deleted += self.delete_group(store, std::mem::take(&mut group))?;
                }
            }
        }
        Ok(deleted + self.delete_group(store, group)?)
    }

    fn delete_group(&self, store: &Store, group: Vec<Op>) -> Result<u64> {
        if group.is_empty() {
            return Ok(0);
        }
        self.go_on().map_err(|refusal| self.failed(store, Operation::Delete, refusal))?;
        let mut deleted = 0;
        for result in store.commit(group) {
            match result {
                // Somebody else deleted it meanwhile.
                Err(OpError::Missing) => {}
                result => {
                    let outcome = self.outcome(store, Operation::Delete, Some(result))?;
                    deleted += u64::from(outcome == Outcome::Deleted);
                }
            }
        }
        Ok(deleted)
    }
}

impl Reader {
    /// As [`Instance::count_where`], of this reader's state.
    ///
    /// # Errors
    /// As [`Instance::count_where`].
    pub fn count_where(&self, tags: &Tags) -> Result<u64> {
        span!("count_where", self.instance.name()).run(
            |&count| count,
            || {
                let count = || Ok(self.passing(Some(&self.filter(tags)?))?.count());
                count().map_err(|cause: Cause| self.failed(Operation::Search, cause))
            },
        )
    }

    /// The filter that tags are; there must be some.
    fn filter(&self, tags: &Tags) -> Result<Filter, Cause> {
        let wanted = TagSet::check(tags, &self.snapshot.schema)?;
        Ok(Filter::new(wanted).ok_or(Refusal::NothingAsked)?)
    }
}
