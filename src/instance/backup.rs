//! Backups of an open instance.

use std::path::Path;

use super::Instance;
use crate::error::{Cause, Operation, Result};
use crate::refusal::Refusal;
use crate::store::BackUpError;
use crate::trace::span;

impl Instance {
    /// Puts a copy of the newest state into another gallery's directory, which is made if need be: it opens there as an
    /// instance of the same name, for reading or for writing, and goes its own way.
    ///
    /// The copy has what was acknowledged before the call, and is durable when this returns; until then nothing of that name
    /// is there. Sealed files are hard links where the file system has them (so a copy takes room only for what is not sealed
    /// yet, and later for what the two no longer share), else they are copied. Changes go on meanwhile. Where the two lie on
    /// one disk a copy guards against mistakes and not against the loss of the disk.
    ///
    /// ```
    /// # use lookalike::{Add, CreateInstance, Gallery, Source};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let gallery = Gallery::open(dir.path().join("gallery"))?;
    /// let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
    /// let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(vector)))?;
    ///
    /// photos.snapshot(dir.path().join("monday"))?;
    /// photos.delete("a.jpg")?;
    /// let monday = Gallery::open(dir.path().join("monday"))?.instance("photos")?;
    /// assert!(monday.check("a.jpg")? && !photos.check("a.jpg")?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.3000 when something of the instance's name is there; IS.2014 when the directory cannot be made; IS.2005 when files
    /// cannot be written; IS.0012 when it was called off; IS.0014, IS.2019, IS.2105. Nothing is left then but an empty directory;
    /// but if the last step alone failed, the sync of that directory, the copy is there and may be lost with the power.
    pub fn snapshot(&self, gallery: impl AsRef<Path>) -> Result<()> {
        span!("snapshot", self.name()).run(|()| 1, || self.back_up(gallery.as_ref()))
    }

    fn back_up(&self, gallery: &Path) -> Result<()> {
        let operation = Operation::Snapshot;
        let store = self.store(operation)?;
        self.go_on().map_err(|refusal| self.failed(&store, operation, refusal))?;
        store.back_up(gallery, self.name(), self.cancel.as_ref()).map_err(|error| {
            let cause = match error {
                BackUpError::Exists => Refusal::InstanceExists(self.name().to_owned()).into(),
                BackUpError::Cancelled => Refusal::Cancelled.into(),
                BackUpError::Directory(error) => Cause::Directory(error),
                BackUpError::Store(error) => error.into(),
            };
            self.failed(&store, operation, cause)
        })
    }
}
