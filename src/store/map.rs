//! Sealed files in memory. One of the two places that hold `unsafe`.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use memmap2::{Mmap, MmapOptions};

/// Bytes of a large page.
#[cfg(target_os = "linux")]
const LARGE: usize = 2 << 20;

/// The bytes of a sealed file: mapped, or read whole where there is nothing to map.
pub(crate) enum Mapped {
    File(Mmap),
    #[cfg_attr(
        not(any(test, feature = "testing")),
        allow(dead_code, reason = "disks of tests have no files")
    )]
    Heap(Vec<u8>),
}

impl Mapped {
    /// Maps a whole file read-only.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self::Heap(Vec::new()));
        }
        // SAFETY: a map is undefined behaviour if the file changes under it. The store maps a file only after it
        // was sealed: written under another name, synced and renamed; nothing in this crate opens a sealed name
        // for writing (`Disk::create` and `Disk::append` are called with `tmp-*` and `log-*` names alone), and
        // sealed files are unlinked, never truncated. Another program that writes into an instance's directory
        // is outside this promise; the documentation says so.
        #[allow(unsafe_code, reason = "the one place that maps files")]
        let map = unsafe { MmapOptions::new().map(&file)? };
        Ok(Self::File(map))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::File(map) => map,
            Self::Heap(bytes) => bytes,
        }
    }

    /// Reads a range into memory, what is missing of it in large pages where the system has them: rows that lie anywhere
    /// in gigabytes are each in a small page of their own, and finding the page takes the processor longer than the row.
    /// From then on one missing byte reads two megabytes, so this is for what will be read whole. Small pages that are in memory
    /// stay what they are.
    pub(crate) fn read_ahead(&self, range: Range<usize>) {
        #[cfg(target_os = "linux")]
        if let Self::File(map) = self {
            use memmap2::Advice;
            let start = range.start.min(map.len()) / LARGE * LARGE;
            let end = range.end.min(map.len()).next_multiple_of(LARGE).min(map.len());
            // Where the system does neither, the first use of each small page reads it.
            for advice in [Advice::HugePage, Advice::PopulateRead] {
                let _ = map.advise_range(advice, start, end.saturating_sub(start));
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = range;
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapped({} bytes)", self.bytes().len())
    }
}
