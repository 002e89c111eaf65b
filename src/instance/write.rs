//! Add, update, delete.

use std::sync::Arc;

use super::{Add, Added, Delete, Instance, Update, check_path};
use crate::error::{Cause, Error, Operation, Result};
use crate::refusal::Refusal;
use crate::store::{OnExisting, Op, OpError, Outcome, Snapshot, Store, StoreError};
use crate::tags::TagSet;
use crate::trace::span;

impl Instance {
    /// Adds an image, or replaces the one of the same path in one step.
    ///
    /// Durable when it returns `Ok`, and seen by every later search. Checked in this order: path, tags, capacity,
    /// picture.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// let add = Add::new("cat.jpg", Source::bytes(&picture)).tag("album", "pets");
    /// assert_eq!(photos.add(&add)?, Added::New);
    /// assert_eq!(photos.add(&add)?, Added::Replaced);
    /// let refused = photos.add(&Add::new("cut.jpg", Source::bytes(&picture[..9000]))).unwrap_err();
    /// assert_eq!(refused.code(), Code::PictureDamaged);
    /// let refused = photos.add(&Add::new("cat.jpg", Source::bytes(&picture)).tag("colour", "red")).unwrap_err();
    /// assert_eq!(refused.code(), Code::TagUnknown);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.2012 and IS.0016 for the path; IS.1003, IS.1004, IS.1002 for tags; IS.1015 when the instance is full;
    /// IS.2000 when there is no picture; IS.2001, IS.2002, IS.2106, IS.2107 for the picture; IS.1005 for a vector
    /// that does not fit, or a path that exists under [`OnExisting::Fail`]; IS.2108, IS.3004 and IS.0015 for the model;
    /// IS.2005 and IS.2100 when it cannot be saved; IS.0012 when it was called off; IS.0014, IS.2019, IS.2105. The instance
    /// is then as it was.
    pub fn add(&self, add: &Add<'_>) -> Result<Added> {
        span!("add", self.name()).run(|_| 1, || self.add_one(add))
    }

    fn add_one(&self, add: &Add<'_>) -> Result<Added> {
        let store = self.store(Operation::Add)?;
        match self.prepare(&store, add).map_err(|cause| self.failed(&store, Operation::Add, cause))? {
            Prepared::Kept => Ok(Added::Kept),
            Prepared::Op(op) => self.commit_one(&store, Operation::Add, op).map(added),
        }
    }

    /// Replaces the tags of an image, or merges them ([`Update::merge`]); its vector stays.
    ///
    /// Durable when it returns `Ok`, and seen by every later search.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)).tag("album", "pets"))?;
    /// let tags = Tags::new().with_values("album", ["garden", "2026"]);
    /// photos.update(&Update::new("a.jpg", tags.clone()))?;
    /// assert_eq!((photos.count_where(&tags)?, photos.count_where(&Tags::from([("album", "pets")]))?), (1, 0));
    /// let refused = photos.update(&Update::new("b.jpg", tags)).unwrap_err();
    /// assert_eq!((refused.code(), refused.kind()), (Code::UpdateRefused, ErrorKind::NotFound));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.2012 and IS.0016 for the path; IS.2009 without tags; IS.1003, IS.1004, IS.1002 for tags; IS.1007 when
    /// the image is not there; IS.2005 and IS.2104 when it cannot be saved; IS.0014, IS.2019, IS.2105.
    pub fn update(&self, update: &Update<'_>) -> Result<()> {
        let operation = Operation::Update;
        let store = self.store(operation)?;
        let prepare = || -> Result<Op, Cause> {
            check_path(&update.path)?;
            if update.tags.is_empty() {
                return Err(Refusal::TagsRequired.into());
            }
            let tags = TagSet::check(&update.tags, &store.snapshot().schema)?;
            Ok(Op::Retag { path: Arc::from(&*update.path), tags: Arc::new(tags), merge: update.merge })
        };
        let update = || {
            let op = prepare().map_err(|cause| Error::new(operation, cause))?;
            self.commit_one(&store, operation, op).map(|_| ())
        };
        span!("update", self.name()).run(|()| 1, update)
    }

    /// Deletes an image; says whether it was there. That it was not is an error unless [`Delete::if_exists`] allows it.
    ///
    /// Durable when it returns `Ok`, and seen by every later search.
    ///
    /// [`Delete`] has an example of what is refused.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
    /// assert!(photos.delete("a.jpg")?);
    /// assert!(photos.is_empty()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.2012 and IS.0016 for the path; IS.1006 when the image is not there; IS.2101 when it cannot be saved;
    /// IS.0014, IS.2019, IS.2105.
    pub fn delete<'a>(&self, delete: impl Into<Delete<'a>>) -> Result<bool> {
        let (delete, operation) = (delete.into(), Operation::Delete);
        span!("delete", self.name()).run(|&there| u64::from(there), || self.delete_one(&delete, operation))
    }

    fn delete_one(&self, delete: &Delete<'_>, operation: Operation) -> Result<bool> {
        let store = self.store(operation)?;
        check_path(&delete.path).map_err(|refusal| Error::new(operation, refusal))?;
        let op = Op::Delete { path: Arc::from(&*delete.path), only: None };
        match store.commit(vec![op]).pop() {
            Some(Err(OpError::Missing)) if delete.if_exists => Ok(false),
            result => self.outcome(&store, operation, result).map(|_| true),
        }
    }

    /// Checks an add and makes its row; what is cheap first.
    pub(super) fn prepare(&self, store: &Store, add: &Add<'_>) -> Result<Prepared, Cause> {
        self.go_on()?;
        check_path(&add.path)?;
        if store.is_abnormal() {
            return Err(StoreError::Abnormal.into());
        }
        let snapshot = store.snapshot();
        let tags = TagSet::check(&add.tags, &snapshot.schema)?;
        // What the commit will decide, seen early: a full instance or an existing path costs no decoding.
        if self.keeps(store, &snapshot, add)? {
            return Ok(Prepared::Kept);
        }
        drop(snapshot);
        let (code, hash) = self.embed(&add.source, &add.path, None)?;
        let path = Arc::from(&*add.path);
        Ok(Prepared::Op(Op::Put { path, tags: Arc::new(tags), code, hash, on_existing: add.on_existing }))
    }

    /// Whether the image that is there is kept; refused adds are errors.
    fn keeps(&self, store: &Store, snapshot: &Snapshot, add: &Add<'_>) -> Result<bool, Cause> {
        let full = snapshot.live() >= store.capacity();
        if !full && add.on_existing == OnExisting::Replace {
            return Ok(false);
        }
        match (snapshot.locate(&add.path)?, add.on_existing) {
            // After a failure nobody knows whether it stays; the commit says so.
            (Some(_), OnExisting::Keep) => Ok(!store.is_halted()),
            (Some(_), OnExisting::Fail) => Err(Refusal::ImageExists.into()),
            (None, _) if full => Err(Refusal::Full(store.capacity()).into()),
            (Some(_), OnExisting::Replace) | (None, _) => Ok(false),
        }
    }

    fn commit_one(&self, store: &Store, operation: Operation, op: Op) -> Result<Outcome> {
        let result = store.commit(vec![op]).pop();
        self.outcome(store, operation, result)
    }

    /// The caller's view of what became of a change.
    pub(super) fn outcome(
        &self,
        store: &Store,
        operation: Operation,
        result: Option<Result<Outcome, OpError>>,
    ) -> Result<Outcome> {
        let error = match result {
            Some(Ok(outcome)) => return Ok(outcome),
            Some(Err(error)) => error,
            None => OpError::Log(Arc::new(StoreError::Stopped("a change got no answer".to_owned()))),
        };
        let cause = match error {
            OpError::Exists => Refusal::ImageExists.into(),
            OpError::Missing => Refusal::ImageMissing.into(),
            OpError::Full { capacity } => Refusal::Full(capacity).into(),
            OpError::Seal(error) => Cause::Seal(error),
            OpError::Read(error) | OpError::Log(error) => Cause::Store(error),
        };
        Err(self.failed(store, operation, cause))
    }
}

/// An add that was checked.
pub(super) enum Prepared {
    /// Nothing is to be done.
    Kept,
    Op(Op),
}

pub(super) fn added(outcome: Outcome) -> Added {
    match outcome {
        Outcome::Replaced => Added::Replaced,
        Outcome::Kept => Added::Kept,
        Outcome::Added | Outcome::Updated | Outcome::Deleted => Added::New,
    }
}
