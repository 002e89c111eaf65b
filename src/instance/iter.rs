//! All images, one after another.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Instance, Reader};
use crate::error::{Cause, Operation, Result};
use crate::index::{ListedRows, Place};
use crate::store::StoreError;
use crate::tags::Tags;
use crate::trace::span;

/// An image as it is kept: what [`Instance::iter`] goes through. [`Reader::vector`] gives its vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stored {
    /// The image's key.
    pub path: String,
    /// Its tags.
    pub tags: Tags,
}

/// The images of one state of an instance, in the order they were added: see [`Instance::iter`].
///
/// After an error it ends.
#[derive(Debug)]
pub struct Images {
    reader: Reader,
    runs: BinaryHeap<Reverse<Run>>,
    left: u64,
}

/// Rows whose insertion numbers ascend, from the next live one on.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    order: u64,
    part: u32,
    position: u32,
    end: u32,
}

impl Instance {
    /// Every image with its tags, in the order they were added; one that was replaced keeps its place.
    ///
    /// What is seen is the state at the call, whatever is added or deleted meanwhile; that state's files are kept until
    /// the iterator drops. Memory does not grow with the number of images: 24 bytes for each
    /// list of the index, and for each of the newest images, which are not sealed yet.
    ///
    /// ```
    /// # use lookalike::{Add, CreateInstance, Gallery, Source};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let gallery = Gallery::open(dir.path())?;
    /// let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// for (path, album) in [("b.jpg", "cats"), ("a.jpg", "dogs")] {
    ///     let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + path.len() as f32).collect();
    ///     photos.add(&Add::new(path, Source::vector(vector)).tag("album", album))?;
    /// }
    /// let paths: Vec<String> = photos.iter()?.map(|image| Ok(image?.path)).collect::<lookalike::Result<_>>()?;
    /// assert_eq!(paths, ["b.jpg", "a.jpg"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.2019; IS.2102 when files cannot be read, also of the items; of these IS.0012 when it was called off.
    pub fn iter(&self) -> Result<Images> {
        self.reader_for(Operation::Search)?.iter()
    }
}

impl Reader {
    /// As [`Instance::iter`], of this reader's state.
    ///
    /// # Errors
    /// As [`Instance::iter`].
    pub fn iter(&self) -> Result<Images> {
        let span = span!("iter", self.instance.name());
        span.run(
            |images: &Images| images.left,
            || self.images().map_err(|error| self.failed(Operation::Search, error)),
        )
    }

    fn images(&self) -> Result<Images, StoreError> {
        let mut images = Images { reader: self.clone(), runs: BinaryHeap::new(), left: self.len() };
        for part in self.snapshot.parts() {
            let rows = self.snapshot.part(part).0;
            match self.snapshot.segment(part) {
                // Rows ascend within a list.
                Some(segment) if segment.lists() > 0 => {
                    for list in 0..segment.lists() as u32 {
                        images.begin(part, segment.list(list)?)?;
                    }
                }
                Some(_) => images.begin(part, 0..rows)?,
                // In memory rows lie as they came, and one that replaced another has the other's number.
                None => (0..rows).try_for_each(|row| images.begin(part, row..row + 1))?,
            }
        }
        Ok(images)
    }
}

impl Images {
    /// Takes up the live rows of a run.
    fn begin(&mut self, part: u32, rows: Range<u32>) -> Result<(), StoreError> {
        let dead = self.reader.snapshot.dead(part);
        if let Some(position) = rows.clone().find(|&position| !dead.contains(position)) {
            let order = self.reader.snapshot.order(Place { part, position })?;
            self.runs.push(Reverse(Run { order, part, position, end: rows.end }));
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Stored>, Cause> {
        let Some(Reverse(run)) = self.runs.pop() else { return Ok(None) };
        self.reader.instance.go_on()?;
        let (snapshot, place) = (&self.reader.snapshot, Place { part: run.part, position: run.position });
        let path = snapshot.path(place)?.to_owned();
        let tags = snapshot.named_tags(place)?;
        self.begin(run.part, run.position + 1..run.end)?;
        self.left = self.left.saturating_sub(1);
        Ok(Some(Stored { path, tags }))
    }
}

impl Iterator for Images {
    type Item = Result<Stored>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        step.map_err(|error| {
            self.runs.clear();
            self.left = 0;
            self.reader.failed(Operation::Search, error)
        })
        .transpose()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (0, Some(left))
    }
}
