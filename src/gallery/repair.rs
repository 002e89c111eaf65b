//! Repairing an instance that nobody has open.

use super::{Core, Entry, EntryGuard, Gallery, open_cause, weights};
use crate::error::{Cause, Error, Operation, Result};
use crate::refusal::{Refusal, check_name};
use crate::store::{Repaired, Repairing, StoreError};

impl Gallery {
    /// Makes a damaged instance whole again from what is sound in it, and says what is not.
    ///
    /// For an instance whose opening, calls or [`verify`](crate::Instance::verify) tell of damage. Sound segments stay as
    /// they are; of damaged ones the rows stay whose every part is sound; of damaged logs the commits before the
    /// damage stay, and those after it. Damaged files are not deleted but renamed to `damaged-*` in the instance's
    /// directory, where they lie until the instance is deleted. What is not told as lost or uncertain is unchanged, but
    /// that segments whose centres are lost are searched whole until they are merged. An instance in which nothing is
    /// damaged is not changed.
    ///
    /// Durable when it returns. If it is interrupted the instance is as damaged as before, and the next repair comes to
    /// the same end. Time and memory: everything is read once; up to some 260,000 rows, and the largest log, are held.
    ///
    /// What cannot be repaired: a manifest that is missing, or damaged in more than one byte. Without it nothing says what
    /// the other files mean; keep a copy of it with your backups.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// # let other: Vec<f32> = (0..256).map(|i| (i % 11) as f32 - 5.0).collect();
    /// for (path, vector) in [("a.jpg", &vector), ("b.jpg", &other)] {
    ///     photos.add(&Add::new(path, Source::vector(vector)))?;
    /// }
    /// photos.optimize()?;
    /// drop(photos);
    /// # let file = std::fs::read_dir(dir.path().join("photos"))?.flatten().map(|file| file.path());
    /// # let segment = { file }.find(|file| file.to_string_lossy().contains("seg-")).ok_or("a segment")?;
    /// // A byte in the middle of a file flips.
    /// let mut bytes = std::fs::read(&segment)?;
    /// let middle = bytes.len() / 2;
    /// bytes[middle] ^= 1;
    /// std::fs::write(&segment, bytes)?;
    /// let told = gallery.instance("photos").and_then(|photos| photos.verify()).unwrap_err();
    /// assert!(told.is_corruption());
    ///
    /// let repaired = gallery.repair("photos")?;
    /// assert_eq!(repaired.images + repaired.lost_images, 2);
    /// assert!(repaired.damaged[0].kept_as.as_deref().is_some_and(|name| name.starts_with("damaged-")));
    /// gallery.instance("photos")?.verify()?;
    /// assert!(gallery.repair("photos")?.is_whole());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.0001, IS.0007 for the name; IS.3005 when there is none; IS.2105 while anybody has it open, readers in
    /// other processes included, and in a read-only gallery; IS.0014, IS.3032 while it is being created or deleted;
    /// IS.3011 when the manifest cannot be read; IS.3029, IS.3004, IS.0015, IS.2108 for the model; IS.2005 when files
    /// cannot be read or written for another reason than damage.
    pub fn repair(&self, name: &str) -> Result<Repaired> {
        self.core.repair(name).map_err(|cause| Error::new(Operation::Repair, cause))
    }
}

impl Core {
    fn repair(&self, name: &str) -> Result<Repaired, Cause> {
        if self.read_only {
            return Err(StoreError::ReadOnly.into());
        }
        check_name(name)?;
        {
            let mut entries = self.entries();
            match entries.get(name) {
                Some(Entry::Creating(_)) => return Err(Refusal::NotYetNormal(name.to_owned()).into()),
                Some(Entry::Deleting(_)) => return Err(Refusal::BeingDeleted(name.to_owned()).into()),
                Some(Entry::Repairing) => return Err(Cause::OpenLock(StoreError::Locked)),
                // Closed by somebody's hand while others still hold handles: it can be repaired.
                Some(Entry::Open(inner)) if inner.upgrade().is_none_or(|inner| inner.store().is_some()) => {
                    return Err(Cause::OpenLock(StoreError::Locked));
                }
                Some(Entry::Open(_)) | None => {}
            }
            if !self.exists(name)? {
                return Err(Refusal::InstanceUnknown(name.to_owned()).into());
            }
            entries.insert(name.to_owned(), Entry::Repairing);
        }
        let _entry = EntryGuard { core: self, name };
        let repairing = Repairing::begin(self.disk.clone(), &self.dir.join(name)).map_err(open_cause)?;
        let model = self.model_of(repairing.manifest())?;
        model.ready()?;
        let weights = weights(&model);
        Ok(repairing.finish(weights.first().map(Vec::as_slice).unwrap_or_default())?)
    }
}
