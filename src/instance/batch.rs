//! Many adds at once: pictures in parallel, commits in groups.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::ThreadPool;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::write::{Prepared, added};
use super::{Add, Added, Instance, Source};
use crate::error::{Error, Operation, Result};
use crate::refusal::Refusal;
use crate::store::{Op, Store};
use crate::trace::span;

/// Adds between two commits: enough that a sync is cheap beside them, few enough that a crash costs little work.
const GROUP: usize = 1024;

/// Vectors that one thread takes at a time: a few hundred microseconds of work.
const VECTORS: usize = 64;

/// How far a batch is: [`BatchOptions::progress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// Adds that were worked on, refused ones included. They are durable once the batch returns, and in groups
    /// before.
    pub done: usize,
    /// Adds of the batch.
    pub total: usize,
}

/// How a batch is run.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let gallery = Gallery::open(dir.path())?;
/// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
/// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// // Two threads, so that the rest of the machine is free; and a button to stop.
/// let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
/// let stop = AtomicBool::new(false);
/// let options = BatchOptions::new().pool(&pool).cancel(&stop);
/// let adds = [Add::new("a.jpg", Source::vector(&vector))];
/// assert!(photos.add_batch(&adds, &options)[0].is_ok());
///
/// stop.store(true, Ordering::Relaxed);
/// let refused = photos.add_batch(&adds, &options).remove(0).unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::Cancelled);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Default)]
pub struct BatchOptions<'a> {
    progress: Option<&'a (dyn Fn(Progress) + Sync)>,
    cancel: Option<&'a AtomicBool>,
    pool: Option<&'a ThreadPool>,
}

impl<'a> BatchOptions<'a> {
    /// No progress, no cancelling. Pictures are worked on in the pool of the calling thread or rayon's global one, vectors by
    /// the calling thread and those of [`GalleryBuilder::search_threads`](crate::GalleryBuilder::search_threads).
    pub fn new() -> Self {
        Self::default()
    }

    /// Called after each picture, from the threads that work on them; after a panic in it nothing more is begun (IS.0009).
    #[must_use]
    pub fn progress(mut self, progress: &'a (dyn Fn(Progress) + Sync)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Once it is true, adds that were not begun are refused with IS.0012; those that were are finished.
    #[must_use]
    pub fn cancel(mut self, cancel: &'a AtomicBool) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Works in a pool of the host, on as many threads as it has.
    #[must_use]
    pub fn pool(mut self, pool: &'a ThreadPool) -> Self {
        self.pool = Some(pool);
        self
    }
}

impl std::fmt::Debug for BatchOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchOptions").field("pool", &self.pool.is_some()).finish_non_exhaustive()
    }
}

/// Stops a batch whose callback panicked.
#[derive(Default)]
struct Broken(AtomicBool);

impl Instance {
    /// Adds many images: one result each, in order. One that is refused leaves the others.
    ///
    /// They are decoded and embedded in parallel; about a thousand of them are committed in one group. Each
    /// `Ok` is durable when the batch returns. Of the same path twice the later wins.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// let adds = [Add::new("cat.jpg", Source::bytes(&picture)), Add::new("cut.jpg", Source::bytes(&picture[..9000]))];
    /// let done = std::sync::atomic::AtomicUsize::new(0);
    /// let progress = |now: Progress| drop(done.fetch_max(now.done, std::sync::atomic::Ordering::Relaxed));
    /// let results = photos.add_batch(&adds, &BatchOptions::new().progress(&progress));
    /// assert_eq!(results[0].as_ref().ok(), Some(&Added::New));
    /// assert_eq!(results[1].as_ref().unwrap_err().code(), Code::PictureDamaged);
    /// assert_eq!(done.into_inner(), 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Each result is that of [`add`](Self::add); IS.0012 for adds that were cancelled, IS.0009 for those after a
    /// progress callback that panicked.
    pub fn add_batch(&self, adds: &[Add<'_>], options: &BatchOptions<'_>) -> Vec<Result<Added>> {
        let work = || match options.pool {
            Some(pool) => pool.install(|| self.add_groups(adds, options)),
            None => self.add_groups(adds, options),
        };
        let added =
            |results: &Vec<Result<Added>>| results.iter().filter(|added| added.is_ok()).count() as u64;
        span!("add_batch", self.name()).run_all(added, work)
    }

    fn add_groups(&self, adds: &[Add<'_>], options: &BatchOptions<'_>) -> Vec<Result<Added>> {
        let (done, broken) = (AtomicUsize::new(0), Broken::default());
        let one = |store: &Store, add: &Add<'_>| {
            if broken.0.load(Ordering::Relaxed) {
                return Err(Error::new(Operation::Add, Refusal::CallbackPanicked));
            }
            if options.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                return Err(Error::new(Operation::Add, Refusal::Cancelled));
            }
            let prepared =
                self.prepare(store, add).map_err(|cause| self.failed(store, Operation::Add, cause));
            if let Some(progress) = options.progress {
                let now = Progress { done: done.fetch_add(1, Ordering::Relaxed) + 1, total: adds.len() };
                if catch_unwind(AssertUnwindSafe(|| progress(now))).is_err() {
                    broken.0.store(true, Ordering::Relaxed);
                }
            }
            prepared
        };
        let mut results = Vec::with_capacity(adds.len());
        for group in adds.chunks(GROUP) {
            match self.store(Operation::Add) {
                Ok(store) => {
                    let vectors = group.iter().all(|add| matches!(add.source, Source::Vector(_)));
                    let prepared = if vectors && options.pool.is_none() {
                        self.of_pieces(group, |add| one(&store, add))
                    } else {
                        group.par_iter().map(|add| one(&store, add)).collect()
                    };
                    self.commit_group(&store, prepared, &mut results);
                }
                Err(_) => {
                    results.extend(group.iter().map(|_| self.store(Operation::Add).map(|_| Added::Kept)))
                }
            }
        }
        results
    }

    /// What `one` makes of each add, in order, by this thread and threads of the gallery. A pool may be busy for seconds, with
    /// training among other things, and vectors take a thousand times less.
    fn of_pieces<T: Send>(&self, adds: &[Add<'_>], one: impl Fn(&Add<'_>) -> T + Sync) -> Vec<T> {
        let pieces: Vec<(usize, &[Add<'_>])> = adds.chunks(VECTORS).enumerate().collect();
        let work = |made: &mut Vec<(usize, Vec<T>)>, &(at, piece): &(usize, &[Add<'_>])| {
            made.push((at, piece.iter().map(&one).collect()));
            Ok::<_, Infallible>(())
        };
        let Ok(shares) = self.inner.crew.share(&pieces, usize::MAX, Vec::new, work);
        let mut made: Vec<(usize, Vec<T>)> = shares.into_iter().flatten().collect();
        made.sort_unstable_by_key(|(at, _)| *at);
        made.into_iter().flat_map(|(_, made)| made).collect()
    }

    fn commit_group(&self, store: &Store, prepared: Vec<Result<Prepared>>, results: &mut Vec<Result<Added>>) {
        let mut ops: Vec<Op> = Vec::with_capacity(prepared.len());
        let waiting: Vec<Option<Result<Added>>> = prepared
            .into_iter()
            .map(|prepared| match prepared {
                Ok(Prepared::Op(op)) => {
                    ops.push(op);
                    None
                }
                Ok(Prepared::Kept) => Some(Ok(Added::Kept)),
                Err(error) => Some(Err(error)),
            })
            .collect();
        let mut committed = store.commit(ops).into_iter();
        results.extend(waiting.into_iter().map(|known| {
            known.unwrap_or_else(|| self.outcome(store, Operation::Add, committed.next()).map(added))
        }));
    }
}
