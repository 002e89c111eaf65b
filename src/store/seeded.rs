//! Bugs that can be planted in the store, to see whether the crash simulator finds them. They are in builds with the
//! feature `seeded-bugs` alone.

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    static PLANTED: Cell<Option<SeededBug>> = const { Cell::new(None) };
}

/// A bug of the kind that stores have had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeededBug {
    /// A frame of the log is not synced.
    NoSync,
    /// A frame is synced after it was acknowledged: when the next is written.
    AcknowledgedBeforeSync,
    /// Directories are not synced after a manifest or a log got its name.
    NoDirectorySync,
    /// A manifest is synced after it got its final name.
    RenameBeforeSync,
    /// The checksum of a frame's records is not looked at.
    NoChecksum,
    /// An opening leaves the torn tail in the log, and writes on after it.
    TornTailKept,
    /// Frames written after an opening have the wrong sequence.
    WrongSequence,
    /// A segment is synced after the manifest that names it.
    ManifestBeforeSegment,
    /// A sealed log is removed before the manifest that does without it is written.
    UnlinkTooEarly,
    /// Dead rows of older segments are not written when a log that says so is sealed.
    TombstonesLost,
    /// The log is applied twice, and the second time without looking for the row that is there. (Here every record is a
    /// whole row, and replacing it by itself changes nothing: doing that alone twice does no harm.)
    ReplayedTwice,
    /// A sync that failed is tried again, and believed.
    RetriedSync,
}

impl SeededBug {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::NoSync,
        Self::AcknowledgedBeforeSync,
        Self::NoDirectorySync,
        Self::RenameBeforeSync,
        Self::NoChecksum,
        Self::TornTailKept,
        Self::WrongSequence,
        Self::ManifestBeforeSegment,
        Self::UnlinkTooEarly,
        Self::TombstonesLost,
        Self::ReplayedTwice,
        Self::RetriedSync,
    ];

    /// Plants the bug in whatever this thread does until the guard drops.
    #[must_use]
    pub fn plant(self) -> Planted {
        PLANTED.set(Some(self));
        Planted(PhantomData)
    }
}

/// Takes the bug away when it drops.
#[derive(Debug)]
pub struct Planted(PhantomData<*const ()>);

impl Drop for Planted {
    fn drop(&mut self) {
        PLANTED.set(None);
    }
}

pub(crate) fn is_planted(bug: SeededBug) -> bool {
    PLANTED.get() == Some(bug)
}
