//! A disk in memory that knows what a power cut would leave of it.
//!
//! It keeps what was written apart from what was synced, for the bytes of each file and for the names in each
//! directory, and a journal of everything that changed it. From the journal the disk can be had as a power cut
//! after any of these events could leave it, without doing the work again: [`MemoryDisk::cuts`].
//!
//! What it assumes of disks: a sync that returned `Ok` holds; a rename is one step; bytes that a write leaves as they
//! were, and bytes beside it, do not change ("powersafe overwrite"). What it does not assume: any order between two
//! syncs, of bytes or of names; that a sync of a file makes its name durable; that a failed sync can be tried again.

mod calls;
mod node;
mod tree;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::node::Number;
use self::tree::{Event, Tree};

/// A disk in memory that knows what a power cut would leave of it: hand it to
/// [`GalleryBuilder::memory_disk`](crate::GalleryBuilder::memory_disk). Clones are the same disk.
///
/// It keeps what was written apart from what was synced, and a journal of everything that changed it; from that
/// [`cuts`](Self::cuts) gives the disk as a power cut after any of these events could leave it.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
/// use lookalike::testing::{MemoryDisk, Survivors};
///
/// let disk = MemoryDisk::new(1);
/// let open = |disk: &MemoryDisk| Gallery::builder("/gallery").memory_disk(disk.clone()).background(false).open();
/// let photos = open(&disk)?.open_or_create(&CreateInstance::new("photos", "common-search"))?;
/// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
/// let acknowledged = disk.position();
/// photos.delete("a.jpg")?;
///
/// // Wherever the power goes after an add returned `Ok`, and before the next change, the image is there.
/// let mut cuts = disk.cuts();
/// while cuts.position() < acknowledged {
///     assert!(cuts.advance());
/// }
/// for survivors in [Survivors::Nothing, Survivors::Everything, Survivors::Some] {
///     assert!(open(&cuts.cut(survivors, 42))?.instance("photos")?.check("a.jpg")?);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryDisk {
    shared: Arc<Mutex<State>>,
}

struct State {
    tree: Tree,
    /// The disk when its journal began.
    begun: Tree,
    journal: Vec<Event>,
    /// Holders of locks: none for an exclusive one, else how many share it.
    locks: HashMap<Number, Option<u32>>,
    calls: u64,
    fault: Option<(u64, DiskFault, bool)>,
    /// Calls that met it.
    faults: u64,
    quota: Option<usize>,
    chance: Chance,
}

/// How a call to a [`MemoryDisk`] fails: [`MemoryDisk::fail`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiskFault {
    /// Any call, with an input/output error. Of a write some bytes are done.
    Io,
    /// A call that needs room, for there is none. Of a write some bytes are done.
    Full,
    /// A sync of a file or of a directory. As on Linux the bytes that it was to write may be lost, and no later sync
    /// writes them.
    Sync,
}

/// What survives a power cut, of what was not synced: [`Cuts::cut`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Survivors {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// Names in directories, and no bytes.
    Names,
    /// Bytes of files, and no names.
    Data,
    /// Everything, but of the write under way only so many bytes.
    Torn(usize),
    /// Names and lengths; what was not synced is zeros.
    Zeros,
    /// Any of it: some sectors new, some old, zero or junk, and any of the names.
    Some,
}

/// Numbers that look random, from a seed.
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood, 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(super) fn byte(&mut self) -> u8 {
        (self.next() >> 56) as u8
    }
}

impl MemoryDisk {
    /// An empty disk. Identities that the store draws on it follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::of(Tree::new(), seed)
    }

    fn of(tree: Tree, seed: u64) -> Self {
        let state = State {
            begun: tree.clone(),
            tree,
            journal: Vec::new(),
            locks: HashMap::new(),
            calls: 0,
            fault: None,
            faults: 0,
            quota: None,
            chance: Chance(seed),
        };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Events in the journal: everything so far that changed the disk.
    pub fn position(&self) -> usize {
        self.state().journal.len()
    }

    /// Calls to the disk so far, those that read included.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Makes the `n`-th call from now fail, counted from 1, or the first call after it that such a fault can meet; and
    /// all that follow it when it is `persistent`, until [`heal`](Self::heal).
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// # use lookalike::testing::{DiskFault, MemoryDisk};
    /// let disk = MemoryDisk::new(1);
    /// let gallery = Gallery::builder("/gallery").memory_disk(disk.clone()).background(false).open()?;
    /// let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
    /// let add = Add::new("a.jpg", Source::vector(&vector));
    /// let before = disk.calls();
    /// disk.fail(1, DiskFault::Io, true);
    /// assert_eq!(photos.add(&add).unwrap_err().kind(), ErrorKind::Io);
    /// assert!(disk.faults() > 0 && disk.calls() > before);
    /// disk.heal();
    /// drop(photos);
    /// gallery.instance("photos")?.add(&add)?;
    /// # Ok(()) }
    /// ```
    pub fn fail(&self, n: u64, fault: DiskFault, persistent: bool) {
        let mut state = self.state();
        state.fault = Some((state.calls + n, fault, persistent));
    }

    /// Takes the fault away. One that is not persistent goes when it has met a call.
    pub fn heal(&self) {
        self.state().fault = None;
    }

    /// Calls that met a fault so far.
    pub fn faults(&self) -> u64 {
        self.state().faults
    }

    /// Bytes of all files.
    pub fn used(&self) -> usize {
        self.state().tree.used()
    }

    /// How many bytes all files may have: beyond it writes fail for lack of room, after as many bytes as there was room for.
    /// A full disk makes no new files either.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// # use lookalike::testing::{DiskFault, MemoryDisk};
    /// let disk = MemoryDisk::new(1);
    /// let gallery = Gallery::builder("/gallery").memory_disk(disk.clone()).background(false).open()?;
    /// let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
    /// disk.set_quota(Some(disk.used()));
    /// let add = Add::new("a.jpg", Source::vector(&vector));
    /// assert_eq!(photos.add(&add).unwrap_err().kind(), ErrorKind::DiskFull);
    /// disk.set_quota(None);
    /// assert_eq!(photos.add(&add)?, Added::New);
    /// # Ok(()) }
    /// ```
    pub fn set_quota(&self, bytes: Option<usize>) {
        self.state().quota = bytes;
    }

    /// A hash of all names and bytes.
    ///
    /// ```
    /// use lookalike::testing::MemoryDisk;
    /// // Empty disks are all the same, whatever their seeds.
    /// assert_eq!(MemoryDisk::new(1).hash(), MemoryDisk::new(2).hash());
    /// ```
    pub fn hash(&self) -> u128 {
        self.state().tree.hash()
    }

    /// The disk as the next process finds it when this one is killed: as it is seen now, without locks; what was not
    /// synced is still not. Its journal begins anew.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// # use lookalike::testing::{DiskFault, MemoryDisk};
    /// let disk = MemoryDisk::new(1);
    /// let gallery = Gallery::builder("/gallery").memory_disk(disk.clone()).background(false).open()?;
    /// let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
    /// let disk = disk.restart();
    /// assert_eq!(disk.position(), 0);
    /// // The killed process's lock is gone.
    /// let gallery = Gallery::builder("/gallery").memory_disk(disk).open()?;
    /// assert!(gallery.instance("photos")?.check("a.jpg")?);
    /// # Ok(()) }
    /// ```
    pub fn restart(&self) -> Self {
        let state = self.state();
        Self::of(state.tree.clone(), state.chance.0)
    }

    /// Goes through the journal, from where it began.
    pub fn cuts(&self) -> Cuts {
        let state = self.state();
        Cuts { tree: state.begun.clone(), events: state.journal.as_slice().into(), at: 0 }
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryDisk({} events)", self.position())
    }
}

/// Moments of a disk's past at which the power may have been cut, or the process killed. [`MemoryDisk`] shows a cut.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
/// # use lookalike::testing::MemoryDisk;
/// # let disk = MemoryDisk::new(1);
/// # let gallery = Gallery::builder("/gallery").memory_disk(disk.clone()).background(false).open()?;
/// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
/// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
/// let (mut cuts, mut last_write) = (disk.cuts(), None);
/// assert!(!cuts.pending());
/// while cuts.advance() {
///     last_write = cuts.written().or(last_write);
/// }
/// // The last that was written is the frame of the add.
/// assert!(last_write > Some(300));
/// assert_eq!(cuts.kill(7).hash(), disk.hash());
/// # Ok(()) }
/// ```
pub struct Cuts {
    tree: Tree,
    events: Arc<[Event]>,
    at: usize,
}

impl Cuts {
    /// Goes on by one event; false at the end of the journal.
    pub fn advance(&mut self) -> bool {
        let Some(event) = self.events.get(self.at) else { return false };
        self.tree.apply(event);
        self.at += 1;
        true
    }

    /// Events that happened so far.
    pub fn position(&self) -> usize {
        self.at
    }

    fn last(&self) -> Option<&Event> {
        self.events.get(self.at.checked_sub(1)?)
    }

    /// Bytes of the last event, if that was a write.
    pub fn written(&self) -> Option<usize> {
        match self.last() {
            Some(Event::Write { bytes, .. }) => Some(bytes.len()),
            _ => None,
        }
    }

    /// Whether anything is not synced: if not, every cut here leaves the same.
    pub fn pending(&self) -> bool {
        self.tree.pending()
    }

    /// The disk after a power cut at this moment. Where chance decides what survives it follows from `seed`.
    pub fn cut(&self, survivors: Survivors, seed: u64) -> MemoryDisk {
        let tree = self.tree.cut(survivors, self.last(), &mut Chance(seed));
        MemoryDisk::of(tree, seed)
    }

    /// The disk after the process was killed at this moment, and the power stayed on.
    pub fn kill(&self, seed: u64) -> MemoryDisk {
        MemoryDisk::of(self.tree.clone(), seed)
    }
}

impl fmt::Debug for Cuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.last() {
            Some(Event::Write { file, at, bytes }) => {
                format!("write of {} to file {file} at {at}", bytes.len())
            }
            Some(other) => format!("{other:?}"),
            None => "nothing".to_owned(),
        };
        write!(f, "event {} of {}: {name}", self.at, self.events.len())
    }
}
