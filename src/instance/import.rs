//! Many images at once, from scratch or into an instance that has some.

use rayon::prelude::*;

use super::write::Prepared;
use super::{Add, Instance};
use crate::error::{Cause, Error, Operation, Result};
use crate::refusal::Refusal;
use crate::store::{Op, Outcome, StoreError};
use crate::trace::span;

/// Images that become one segment: more need more memory while it is made (some 1.5 KB each at 256 dimensions), fewer leave
/// more segments to merge.
const RUN: usize = 1 << 20;

/// Bytes of such a run, whatever its images: long paths, many tags, wide vectors.
const RUN_BYTES: usize = 1 << 30;

/// Images prepared at a time.
const BLOCK: usize = 4096;

/// Failures that are kept.
const FAILURES: usize = 1000;

/// What an import did: [`Instance::import`].
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Imported {
    /// Images that are new.
    pub added: u64,
    /// Images that replaced one of the same path.
    pub replaced: u64,
    /// Images that were kept as they are ([`OnExisting::Keep`](crate::OnExisting::Keep)).
    pub kept: u64,
    /// Images that were refused.
    pub failed: u64,
    /// The first thousand of these: their place in the order given, and why.
    pub failures: Vec<(u64, Error)>,
}

impl Imported {
    fn fail(&mut self, place: u64, error: Error) {
        self.failed += 1;
        if self.failures.len() < FAILURES {
            self.failures.push((place, error));
        }
    }
}

impl Instance {
    /// Adds many images without the log: the quickest way to fill an instance.
    ///
    /// Pictures are decoded and embedded in parallel, on rayon's pool of the calling thread. Each run of about a million
    /// images, or of a gigabyte, becomes a segment, durable and visible as a whole; all are when this returns `Ok`.
    /// An image that is refused leaves the others. The iterator's lower size hint is taken for the number of images to
    /// come: the lists of the index are made for that many. They are trained on the first run, so images should come in no
    /// order of likeness.
    ///
    /// Searches go on meanwhile. Changes by other callers wait while a run is written: some seconds each.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// let vectors = (0..500u16).map(|i| (0..256).map(|d| f32::from((i * 7 + d * 13) % 101) + 1.0).collect::<Vec<f32>>());
    /// let adds = (0..).zip(vectors).map(|(i, vector)| Add::new(format!("{i}.jpg"), Source::vector(vector)));
    /// let imported = photos.import(adds)?;
    /// assert_eq!((imported.added, imported.failed, photos.len()?), (500, 0, 500));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.2005 when files cannot be written, IS.2100 when those that are there cannot be read, IS.0012 when it was called off,
    /// IS.0014, IS.2019, IS.2105: runs before the one that failed are kept, nothing of that one. The same import
    /// with [`OnExisting::Keep`](crate::OnExisting::Keep) goes on from there.
    /// What is wrong with single images is in [`Imported::failures`], as [`add`](Self::add) would tell it.
    pub fn import<'a>(&self, adds: impl IntoIterator<Item = Add<'a>>) -> Result<Imported> {
        let added = |imported: &Imported| imported.added + imported.replaced;
        span!("import", self.name()).run(added, || self.import_runs(adds))
    }

    fn import_runs<'a>(&self, adds: impl IntoIterator<Item = Add<'a>>) -> Result<Imported> {
        let store = self.store(Operation::Add)?;
        let mut adds = adds.into_iter();
        let expected = store.snapshot().live().saturating_add(adds.size_hint().0 as u64);
        let (mut imported, mut place) = (Imported::default(), 0u64);
        let (mut ops, mut places): (Vec<Op>, Vec<u64>) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        loop {
            self.go_on().map_err(|refusal| self.failed(&store, Operation::Add, refusal))?;
            let block: Vec<Add<'_>> = adds.by_ref().take(BLOCK).collect();
            let last = block.is_empty();
            let prepared: Vec<_> = block.par_iter().map(|add| self.prepare(&store, add)).collect();
            for prepared in prepared {
                match prepared {
                    Ok(Prepared::Op(op)) => {
                        bytes += op.bytes();
                        ops.push(op);
                        places.push(place);
                    }
                    Ok(Prepared::Kept) => imported.kept += 1,
                    Err(cause) => imported.fail(place, self.failed(&store, Operation::Add, cause)),
                }
                place += 1;
            }
            if ops.len() >= RUN || bytes >= RUN_BYTES || (last && !ops.is_empty()) {
                bytes = 0;
                let results = store.import(std::mem::take(&mut ops), expected, self.cancel.as_ref());
                let results = results.map_err(|error| {
                    let failed = match &error {
                        _ if self.go_on().is_err() => Refusal::Cancelled.into(),
                        StoreError::Io { .. } => Cause::Seal(error.into()),
                        _ => Cause::Store(error.into()),
                    };
                    self.failed(&store, Operation::Add, failed)
                })?;
                for (place, result) in std::mem::take(&mut places).into_iter().zip(results) {
                    match self.outcome(&store, Operation::Add, Some(result)) {
                        Ok(Outcome::Replaced) => imported.replaced += 1,
                        Ok(Outcome::Kept) => imported.kept += 1,
                        Ok(_) => imported.added += 1,
                        Err(error) => imported.fail(place, error),
                    }
                }
            }
            if last {
                store.tend();
                return Ok(imported);
            }
        }
    }
}
