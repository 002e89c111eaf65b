//! What an instance is made of.

use serde::{Deserialize, Serialize};

use super::Instance;
use crate::error::{Operation, Result};

/// What an instance is made of at one moment: [`Instance::stats`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// Images.
    pub images: u64,
    /// Images that were replaced or deleted and still take room.
    pub dead: u64,
    /// Sealed segments.
    pub segments: u64,
    /// Rows in memory that are in no segment yet.
    pub tail_rows: u64,
    /// Lists around the newest centres; 0 when there are none.
    pub lists: u64,
    /// Bytes of the segments' files.
    pub disk_bytes: u64,
    /// Bytes on the heap: rows of the tail, centres, and which blocks of the files were checked; an estimate.
    pub heap_bytes: u64,
    /// Bytes of the mapped planes: codes of one bit with factors and lists, which a search reads of many rows; upper
    /// planes, norms and insertion numbers, of some hundreds; lower planes, of those that may still be hits.
    pub plane_bytes: [u64; 3],
}

impl Instance {
    /// What the instance is made of now. Costs no reading of files.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
    /// photos.optimize()?;
    /// photos.delete("a.jpg")?;
    /// let stats = photos.stats()?;
    /// // The deleted image takes room until its segment is merged.
    /// assert_eq!((stats.images, stats.dead, stats.segments, stats.lists), (0, 1, 1, 0));
    /// assert!(stats.disk_bytes > 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.2019.
    pub fn stats(&self) -> Result<Stats> {
        let snapshot = self.store(Operation::Search)?.snapshot();
        let mut stats = Stats {
            images: snapshot.live(),
            dead: snapshot.parts().map(|part| snapshot.dead(part).len()).sum(),
            segments: snapshot.sealed.len() as u64,
            tail_rows: 0,
            lists: snapshot.centres.last().map_or(0, |centres| centres.centroids.lists() as u64),
            disk_bytes: 0,
            heap_bytes: 0,
            plane_bytes: [0; 3],
        };
        for part in snapshot.parts() {
            match snapshot.segment(part) {
                Some(segment) => {
                    stats.disk_bytes += segment.file_bytes();
                    stats.heap_bytes += segment.heap_bytes();
                    let planes = segment.plane_bytes();
                    stats.plane_bytes.iter_mut().zip(planes).for_each(|(sum, bytes)| *sum += bytes);
                }
                None => stats.tail_rows += u64::from(snapshot.part(part).0),
            }
            stats.heap_bytes += snapshot.dead(part).serialized_size() as u64;
        }
        // Codes, norm, hash, order, hash of the path; the path and the tags with what points to them.
        let row = snapshot.layout.dims() as u64 * 3 / 2 + 4 + 32 + 8 + 16 + 200;
        stats.heap_bytes += stats.tail_rows * row;
        let centres = snapshot.centres.iter().map(|centres| centres.centroids.heap_bytes() as u64);
        stats.heap_bytes += centres.sum::<u64>();
        Ok(stats)
    }
}
