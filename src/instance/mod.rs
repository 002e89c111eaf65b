//! Instances: images under paths, with tags, and searches over them.

mod backup;
mod batch;
mod by_tags;
mod copies;
mod crew;
mod import;
mod iter;
mod reply;
mod request;
mod search;
mod stats;
mod write;

use std::sync::{Arc, PoisonError, RwLock};

pub use batch::{BatchOptions, Progress};
pub use copies::{Copies, CopyHit, CopyQuery};
pub(crate) use crew::Crew;
pub use import::Imported;
pub use iter::{Images, Stored};
pub use reply::{Added, Found, Hit, Page};
pub use request::{Add, Delete, Effort, Query, Source, Update};
pub use search::Reader;
pub use stats::Stats;

use crate::cancel::CancelToken;
use crate::error::{Cause, Error, Operation, Result};
use crate::features::{EmbedFault, Mode, Model};
use crate::image::{self, SizeLimits};
use crate::refusal::{BoxError, Refusal, check_path, shown};
use crate::region::{Picture, Region, View};
use crate::store::{Hash, Store};
use crate::trace::span;
use crate::vector::RowCode;

/// Gives the bytes of a picture for a path: what the service does when it downloads from its object store.
///
/// Closures are resolvers. The library calls one from any of its threads, and catches its panics.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/");
/// let resolver = move |path: &str| match path {
///     "cat.jpg" => Ok(std::fs::read(folder.to_owned() + path)?),
///     _ => Err("not one of ours".into()),
/// };
/// let gallery = Gallery::builder(dir.path()).resolver(resolver).open()?;
/// let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
/// photos.add(&Add::new("cat.jpg", Source::Resolve))?;
/// // A part of a stored image: its pixels come from the resolver, too.
/// let part = Query::path("cat.jpg").region(Region::new(40, 30, 200, 150));
/// assert_eq!(photos.search(&part)?.hits[0].path, "cat.jpg");
/// let refused = photos.add(&Add::new("/etc/passwd", Source::Resolve)).unwrap_err();
/// assert_eq!(refused.code(), Code::PictureUnavailable);
/// # Ok(()) }
/// ```
pub trait Resolver: Send + Sync {
    /// The bytes of a JPEG, PNG or BMP file.
    ///
    /// # Errors
    /// Whatever stands in the way; the caller of the library gets IS.2000 with it as the source.
    fn resolve(&self, path: &str) -> Result<Vec<u8>, BoxError>;
}

impl<F> Resolver for F
where
    F: Fn(&str) -> Result<Vec<u8>, BoxError> + Send + Sync,
{
    fn resolve(&self, path: &str) -> Result<Vec<u8>, BoxError> {
        self(path)
    }
}

/// An open instance: a cheap handle, to be cloned into as many threads as there are.
///
/// Searches go on while images are added and each sees one consistent state; what a change that returned `Ok`
/// made is seen by every later search. The instance closes, and lets go of its lock, when the last handle drops.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let gallery = Gallery::open(dir.path())?;
/// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
/// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
/// std::thread::scope(|scope| {
///     for n in 0..4 {
///         let (photos, add) = (photos.clone(), Add::new(format!("{n}.jpg"), Source::vector(&vector)));
///         scope.spawn(move || photos.add(&add).map(|added| assert_eq!(added, Added::New)));
///     }
/// });
/// assert_eq!((photos.name(), photos.len()?, photos.is_empty()?), ("photos", 4, false));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Instance {
    inner: Arc<Inner>,
    /// Calls off what is done through this handle.
    cancel: Option<CancelToken>,
}

/// What the handles of one instance share.
pub(crate) struct Inner {
    name: String,
    model: Model,
    resolver: Option<Arc<dyn Resolver>>,
    limits: SizeLimits,
    crew: Arc<Crew>,
    /// None once the instance was closed or deleted.
    store: RwLock<Option<Arc<Store>>>,
    /// Told when the store is closed.
    on_close: Box<dyn Fn() + Send + Sync>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.store.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        (self.on_close)();
    }
}

impl Inner {
    pub(crate) fn new(
        name: String,
        model: Model,
        resolver: Option<Arc<dyn Resolver>>,
        limits: SizeLimits,
        crew: Arc<Crew>,
        store: Store,
        on_close: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self { name, model, resolver, limits, crew, store: RwLock::new(Some(Arc::new(store))), on_close }
    }

    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        self.store.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the instance for every handle.
    pub(crate) fn take_store(&self) -> Option<Arc<Store>> {
        self.store.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Instance {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, cancel: None }
    }

    /// The same instance through a handle whose operations can be called off: searches, adds and batches, imports, `optimize`, `preload`,
    /// `delete_where`, `snapshot`, and readers and iterators that are made through it. They then end with IS.0012. A search
    /// gives nothing; a change that was begun is made wholly or not at all, and of a batch, an import or a `delete_where`
    /// what was done before stays, durably.
    ///
    /// ```
    /// # use lookalike::{Add, CancelToken, CreateInstance, Gallery, Query, Source};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
    /// let token = CancelToken::new();
    /// let patient = photos.cancelled_by(&token);
    /// // Somebody closes the window, on another thread:
    /// token.cancel();
    /// let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// let refused = patient.search(&Query::vector(&vector)).unwrap_err();
    /// assert_eq!(refused.code().as_str(), "IS.0012");
    /// // Other handles do not care.
    /// assert_eq!(photos.search(&Query::vector(&vector))?.count, 0);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cancelled_by(&self, token: &CancelToken) -> Self {
        Self { inner: self.inner.clone(), cancel: Some(token.clone()) }
    }

    /// Refuses to go on once it was called off.
    fn go_on(&self) -> Result<(), Refusal> {
        match &self.cancel {
            Some(token) if token.is_cancelled() => Err(Refusal::Cancelled),
            _ => Ok(()),
        }
    }

    /// The instance's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    fn store(&self, operation: Operation) -> Result<Arc<Store>> {
        self.inner.store().ok_or_else(|| self.gone(operation))
    }

    #[cold]
    fn gone(&self, operation: Operation) -> Error {
        Error::new(operation, Refusal::InstanceGone(self.inner.name.clone()))
    }

    /// The error for a fault of the store. Damage is noted: an instance with damaged files takes no changes.
    fn failed(&self, store: &Store, operation: Operation, cause: impl Into<Cause>) -> Error {
        let cause = cause.into();
        if cause.is_damage() {
            store.set_abnormal();
        }
        let error = Error::new(operation, cause);
        if self.inner.store().is_none() {
            return self.gone(operation);
        }
        error
    }

    /// Whether an image of that path is there.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
    /// // A path is a key: nothing is looked up on the disk, and letter case counts.
    /// assert!(photos.check("a.jpg")? && !photos.check("A.jpg")?);
    /// assert_eq!(photos.check("").unwrap_err().code(), Code::PathEmpty);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.2012 and IS.0016 for a path that cannot be one; IS.2103 when files cannot be read; IS.2019.
    pub fn check(&self, path: &str) -> Result<bool> {
        self.reader_for(Operation::Check)?.check(path)
    }

    /// The images that are most like a picture, or a part of it, or a stored image, or a vector; under tags only those that
    /// have them. [`Query`] says what can be asked, [`Page`] what is answered. It sees every change that returned `Ok`
    /// before, and does not wait for changes under way.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let coffee = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/coffee.jpg"))?;
    /// photos.add(&Add::new("cat.jpg", Source::bytes(&picture)))?;
    /// photos.add(&Add::new("coffee.jpg", Source::bytes(&coffee)))?;
    /// let page = photos.search(&Query::image(&picture))?;
    /// assert_eq!((page.hits[0].path.as_str(), page.hits[0].sim), ("cat.jpg", Some(1.0)));
    /// // The other is no more like it than pictures mostly are.
    /// assert!(page.hits[1].sim < Some(0.3));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.1010 for the limit; IS.1002, IS.1003, IS.1004 for tags; IS.0016 for the path; IS.2013, IS.2015 when nothing is
    /// asked, IS.0001 when [`is_crop`](Query::is_crop) demands a box and there is none; IS.2000 when no picture can be
    /// had; IS.2001, IS.2002, IS.2106, IS.2107 for the picture; IS.1008 for a box, a vector or a `min_sim`; IS.2108,
    /// IS.3004, IS.0015 for the model; IS.2006 when the row of the image that is searched by is damaged; IS.2102 when files
    /// cannot be read; IS.0012 when it was called off; IS.2019.
    pub fn search(&self, query: &Query<'_>) -> Result<Page> {
        self.reader_for(Operation::Search)?.search(query)
    }

    /// One state of the instance, for several searches that must agree: the pages of one query never overlap or
    /// skip within it, whatever is added or deleted meanwhile.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// photos.add(&Add::new("cat.jpg", Source::bytes(&picture)))?;
    /// let reader = photos.reader()?;
    /// photos.delete("cat.jpg")?;
    /// assert!(reader.check("cat.jpg")? && !photos.check("cat.jpg")?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.2019.
    pub fn reader(&self) -> Result<Reader> {
        self.reader_for(Operation::Search)
    }

    fn reader_for(&self, operation: Operation) -> Result<Reader> {
        let store = self.store(operation)?;
        let snapshot = store.snapshot();
        Ok(Reader { instance: self.clone(), store, snapshot })
    }

    /// The stored vector of an image: its blocks one after another, each of unit norm, as they were kept in 12
    /// bits a value.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// photos.add(&Add::new("cat.jpg", Source::bytes(&picture)))?;
    /// let vector = photos.vector("cat.jpg")?;
    /// assert_eq!(vector.len(), photos.blocks().iter().sum::<usize>());
    /// // It finds the image that it is of.
    /// assert_eq!(photos.search(&Query::vector(vector))?.hits[0].sim, Some(1.0));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.2012, IS.0016 for the path; IS.2006 when the image is not there or its row cannot be read; IS.2019.
    pub fn vector(&self, path: &str) -> Result<Vec<f32>> {
        self.reader_for(Operation::Vector)?.vector(path)
    }

    /// The stored vector of an image, of unit norm, with its blocks weighed for `mode`: the dot product of two of
    /// these is the raw score that `sim` is calibrated from.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
    /// let weighted = photos.weighted_vector("a.jpg", Mode::Semantic)?;
    /// let norm: f32 = weighted.iter().map(|value| value * value).sum();
    /// assert!((norm - 1.0).abs() < 1e-4);
    /// // Of the copy block nothing counts in this mode.
    /// assert!(weighted[160..].iter().all(|value| *value == 0.0));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn weighted_vector(&self, path: &str, mode: Mode) -> Result<Vec<f32>> {
        self.reader_for(Operation::Vector)?.weighted_vector(path, mode)
    }

    /// Dimensions of each block of the instance's vectors; their sum is the length of a vector ([`Embedder::blocks`]).
    ///
    /// [`Embedder::blocks`]: crate::Embedder::blocks
    pub fn blocks(&self) -> Vec<usize> {
        self.inner.model.layout().ranges().map(|range| range.len()).collect()
    }

    /// Number of images.
    ///
    /// # Errors
    /// IS.2019.
    pub fn len(&self) -> Result<u64> {
        Ok(self.store(Operation::Search)?.snapshot().live())
    }

    /// Whether there is no image.
    ///
    /// # Errors
    /// IS.2019.
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|count| count == 0)
    }

    /// The tag keys, in the order they were added.
    ///
    /// # Errors
    /// IS.2019.
    pub fn tag_keys(&self) -> Result<Vec<String>> {
        Ok(self
            .store(Operation::ChangeTagKeys)?
            .snapshot()
            .schema
            .keys()
            .iter()
            .map(|key| key.to_string())
            .collect())
    }

    /// Adds tag keys, durably; there are at most ten in all.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// photos.add_tag_keys(&["year"])?;
    /// assert_eq!(photos.tag_keys()?, ["album", "year"]);
    /// assert_eq!(photos.remove_tag_key("year").unwrap_err().code(), Code::InstanceTagNotDeletable);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.3024 for too many, IS.3026 for an empty, repeated or overlong one or one with a Latin capital,
    /// IS.3001 when they cannot be saved; IS.0014, IS.2019, IS.2105.
    pub fn add_tag_keys<S: AsRef<str>>(&self, keys: &[S]) -> Result<()> {
        let operation = Operation::ChangeTagKeys;
        let store = self.store(operation)?;
        let change = || {
            let changed = store.change_schema(|schema| schema.with_keys(keys).map_err(Cause::from));
            changed.map_err(|cause| self.failed(&store, operation, cause))
        };
        span!("add_tag_keys", self.name()).run(|()| keys.len() as u64, change)
    }

    /// Tag keys cannot be removed; the service refuses it, and so does the library.
    ///
    /// # Errors
    /// IS.3025, always.
    pub fn remove_tag_key(&self, _key: &str) -> Result<()> {
        Err(Error::new(Operation::ChangeTagKeys, Refusal::TagNotDeletable))
    }

    /// Bytes that the opening cut from the end of the log: changes that a crash interrupted before they were
    /// acknowledged. 0 when there was nothing to cut.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
    /// # let left = dir.path().join("left/photos");
    /// # std::fs::create_dir_all(&left)?;
    /// # for file in std::fs::read_dir(dir.path().join("photos"))?.flatten() {
    /// #     std::fs::copy(file.path(), left.join(file.file_name()))?;
    /// # }
    /// # let mut log = std::fs::OpenOptions::new().append(true).open(left.join("log-00000001"))?;
    /// // A crash in the middle of a write leaves a part of it at the end of the log.
    /// std::io::Write::write_all(&mut log, b"LKFR and no more")?;
    /// # let gallery = Gallery::open(dir.path().join("left"))?;
    /// let photos = gallery.instance("photos")?;
    /// assert_eq!((photos.torn_bytes()?, photos.len()?), (16, 1));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.2019.
    pub fn torn_bytes(&self) -> Result<u64> {
        Ok(self.store(Operation::Open)?.torn_bytes())
    }

    /// Seals what is in memory and merges everything into one segment without deleted images, durably.
    /// Searches and readers go on; changes wait.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// photos.add(&Add::new("cat.jpg", Source::bytes(&picture)))?;
    /// photos.optimize()?;
    /// photos.verify()?;
    /// let stats = photos.stats()?;
    /// assert_eq!((stats.images, stats.segments, stats.tail_rows), (1, 1, 0));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.2005 when the files cannot be written, IS.0012 when it was called off (the instance is then as it was, or sealed),
    /// IS.0014, IS.2019, IS.2105.
    pub fn optimize(&self) -> Result<()> {
        let store = self.store(Operation::Optimize)?;
        let work = || {
            self.go_on()?;
            let optimized = store.optimize(self.cancel.as_ref());
            // Work that is given up says so in the store's words.
            optimized.map_err(|error| self.go_on().err().map_or(error.into(), Cause::from))?;
            // Called off between two steps: then it did less than was asked.
            Ok(self.go_on()?)
        };
        let optimize = || work().map_err(|cause: Cause| self.failed(&store, Operation::Optimize, cause));
        span!("optimize", self.name()).run(|_| 1, optimize)
    }

    /// Reads and checks every byte of every file of the instance. Searches and changes go on meanwhile; seals and merges
    /// wait at the end, while the small files and the log are read.
    ///
    /// [`Gallery::repair`](crate::Gallery::repair) makes an instance whole again in which it finds damage, and has an
    /// example.
    ///
    /// # Errors
    /// IS.0009 naming the file and the place of the first damage, IS.2019.
    pub fn verify(&self) -> Result<()> {
        let store = self.store(Operation::Verify)?;
        let verify = || store.verify().map_err(|e| self.failed(&store, Operation::Verify, e));
        span!("verify", self.name()).run(|_| 1, verify)
    }

    /// Reads into memory what searches read of the files, and returns when it is there: for a program that must answer
    /// quickly from its first search on. First come the planes that searches read of many rows, some 36 bytes an
    /// image at 256 dimensions; then everything, if the files take at most three quarters of the memory that is free. Says whether
    /// they do; where the system does not tell (it does on Linux), they do not. A limit of a container is not known.
    ///
    /// On Linux what has to be read comes in large pages, which make filters quicker once an instance has gigabytes. What is
    /// read later, because the system took memory back, then comes in pieces of two megabytes, too.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
    /// photos.optimize()?;
    /// let all_fits = photos.preload()?;
    /// assert!(all_fits || cfg!(not(target_os = "linux")));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.0009 naming the file and the place of the first damage, IS.0012 when it was called off, IS.2019.
    pub fn preload(&self) -> Result<bool> {
        let store = self.store(Operation::Preload)?;
        let work = || {
            self.go_on()?;
            let preloaded = store.preload(self.cancel.as_ref());
            // As in `optimize`.
            preloaded.map_err(|error| self.go_on().err().map_or(error.into(), Cause::from))
        };
        let preload = || work().map_err(|cause: Cause| self.failed(&store, Operation::Preload, cause));
        span!("preload", self.name()).run(|_| 1, preload)
    }

    /// Closes the instance for every handle: image operations on it give IS.2019 from here on. Work under way
    /// is finished first, and the lock is let go with the last of it. There is no need to close for what was acknowledged
    /// to be kept.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// let other = photos.clone();
    /// photos.close();
    /// assert_eq!(other.len().unwrap_err().code(), Code::InstanceMissing);
    /// assert_eq!(gallery.instance("photos")?.len()?, 0);
    /// # Ok(()) }
    /// ```
    pub fn close(&self) {
        drop(self.inner.take_store());
    }

    /// The bytes of a picture that was not handed over.
    fn resolve(&self, path: &str) -> Result<Vec<u8>, Refusal> {
        let resolver = self.inner.resolver.as_ref().ok_or_else(|| Refusal::NoResolver(shown(path)))?;
        let resolved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| resolver.resolve(path)));
        let resolved = resolved.unwrap_or_else(|_| Err("the resolver panicked".into()));
        resolved.map_err(|source| Refusal::ResolverFailed { path: shown(path), source })
    }

    /// The row of a picture or of a part of it.
    fn embed(
        &self,
        source: &Source<'_>,
        path: &str,
        region: Option<&Region>,
    ) -> Result<(RowCode, Hash), Cause> {
        if let Source::Vector(values) = source {
            if region.is_some() {
                return Err(Refusal::BoxWithoutPicture.into());
            }
            return Ok((RowCode::encode(self.inner.model.layout(), values)?, Hash::default()));
        }
        self.with_view(source, path, region, |view| self.inner.model.embed(view))
    }

    /// What `look` makes of a picture or of a part of it. A vector is no picture: IS.2000.
    fn with_view<T>(
        &self,
        source: &Source<'_>,
        path: &str,
        region: Option<&Region>,
        look: impl FnOnce(View<'_>) -> Result<T, EmbedFault>,
    ) -> Result<T, Cause> {
        let limits = &self.inner.limits;
        let decode = |bytes: &[u8]| Picture::decode(bytes, limits, region, self.inner.model.input_side_px());
        let picture = match source {
            Source::Vector(_) => return Err(Refusal::BoxWithoutPicture.into()),
            Source::Pixels(pixels) => {
                image::check_sides(pixels.width(), pixels.height(), limits)?;
                let view = match region {
                    Some(region) => region.fit(pixels)?,
                    None => View::whole(pixels),
                };
                return Ok(look(view)?);
            }
            Source::Bytes(bytes) if !bytes.is_empty() => decode(bytes)?,
            Source::Bytes(_) | Source::Resolve => decode(&self.resolve(path)?)?,
        };
        let view = picture.view()?;
        Ok(look(view)?)
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Instance({})", self.inner.name)
    }
}
