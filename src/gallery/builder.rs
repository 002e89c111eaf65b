//! How a gallery is opened.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::{Core, Gallery, dir_error};
use crate::error::{Cause, Error, Operation, Result};
use crate::features::{Embedder, Model};
use crate::image::SizeLimits;
use crate::instance::{Crew, Resolver};
use crate::store::disk::{Disk, RealDisk};
use crate::store::{Durability, Options};

/// Rows that are kept in memory before they are sealed, unless the host sets another number.
const TAIL_ROWS: u32 = 1 << 16;

/// Images from which an instance's segments get lists, unless the host sets another number.
const TRAIN_ROWS: u64 = 50_000;

/// How a gallery is opened; see [`Gallery::builder`].
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # Gallery::open(dir.path())?.create(&CreateInstance::new("photos", "common-search"))?;
/// let limits = SizeLimits { max_side_px: 8000, ..SizeLimits::default() };
/// let gallery = Gallery::builder(dir.path()).size_limits(limits).preload(true).search_threads(1).read_only().open()?;
/// assert_eq!(gallery.instance("photos")?.len()?, 0);
/// let refused = gallery.instance("photos")?.delete("cat.jpg").unwrap_err();
/// assert_eq!(refused.code(), Code::ServiceNotRunning);
/// # Ok(()) }
/// ```
pub struct GalleryBuilder {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    models: Vec<Arc<dyn Embedder>>,
    resolver: Option<Arc<dyn Resolver>>,
    limits: SizeLimits,
    search_threads: Option<usize>,
    options: Options,
    read_only: bool,
}

impl GalleryBuilder {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            disk: Arc::new(RealDisk),
            models: crate::features::built_in(),
            resolver: None,
            limits: SizeLimits::default(),
            search_threads: None,
            options: Options {
                durability: Durability::Sync,
                tail_rows: TAIL_ROWS,
                background: true,
                train_rows: TRAIN_ROWS,
                preload: false,
                // Each model has its own.
                weights: Arc::default(),
            },
            read_only: false,
        }
    }

    /// Registers a model of the host under its name. The built-in ones are always there; one of the same name
    /// replaces it. [`Embedder`] has an example.
    #[must_use]
    pub fn model(mut self, model: impl Embedder + 'static) -> Self {
        self.models.push(Arc::new(model));
        self
    }

    /// Installs what gives pictures for paths; without it an add without a picture gives IS.2000. [`Resolver`] has an
    /// example.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolver + 'static) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Other limits for pictures than the service's, for those that are added and those that are searched by (IS.2106,
    /// IS.2107).
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// # let dir = tempfile::tempdir()?;
    /// let limits = SizeLimits { min_side_px: 400, ..SizeLimits::default() };
    /// let gallery = Gallery::builder(dir.path()).size_limits(limits).open()?;
    /// let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
    /// // It has 451 x 300 pixels.
    /// let refused = photos.add(&Add::new("cat.jpg", Source::bytes(&picture))).unwrap_err();
    /// assert_eq!(refused.code(), Code::PictureTooSmall);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn size_limits(mut self, limits: SizeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// What `Ok` from a change means; [`Durability::Sync`] unless it is set.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.options.durability = durability;
        self
    }

    /// Rows an instance keeps in memory before it seals them into a segment: at least 1, and 65,536 unless it is set. They
    /// are durable all the same, in the log; fewer take less memory and leave more segments to merge.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// # let other: Vec<f32> = (0..256).map(|i| (i % 11) as f32 - 5.0).collect();
    /// let gallery = Gallery::builder(dir.path()).tail_rows(2).background(false).open()?;
    /// let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
    /// assert_eq!((photos.stats()?.segments, photos.stats()?.tail_rows), (0, 1));
    /// photos.add(&Add::new("b.jpg", Source::vector(&other)))?;
    /// // The next finds the tail full.
    /// photos.add(&Add::new("c.jpg", Source::vector(&other)))?;
    /// assert_eq!((photos.stats()?.segments, photos.stats()?.tail_rows), (1, 1));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn tail_rows(mut self, rows: u32) -> Self {
        self.options.tail_rows = rows.max(1);
        self
    }

    /// Images from which an instance's segments get lists, so that searches need not read every row; 50,000 unless it is
    /// set, and at least 1. Below it every search is exhaustive, and exact.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let gallery = Gallery::builder(dir.path()).train_rows(400).open()?;
    /// let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
    /// # let vector = |i: u32| (0..256).map(|d| ((i * (d + 3) * 7919) % 1009) as f32 - 504.0).collect::<Vec<f32>>();
    /// photos.import((0..500).map(|i| Add::new(format!("{i}.jpg"), Source::vector(vector(i)))))?;
    /// assert!(photos.stats()?.lists > 0);
    /// let page = photos.search(&Query::vector(vector(42)))?;
    /// assert_eq!(page.hits[0].path, "42.jpg");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn train_rows(mut self, rows: u64) -> Self {
        self.options.train_rows = rows.max(1);
        self
    }

    /// Whether an instance that is open for writing has two threads of its own, which seal and merge beside the callers;
    /// so it is unless this is set to false. Without them whoever commits does that work, and the time of a commit varies
    /// more.
    #[must_use]
    pub fn background(mut self, background: bool) -> Self {
        self.options.background = background;
        self
    }

    /// Whether a thread does what [`Instance::preload`](crate::Instance::preload) does, right after an opening, so that the first
    /// searches wait less for the disk. Not done unless it is set.
    #[must_use]
    pub fn preload(mut self, preload: bool) -> Self {
        self.options.preload = preload;
        self
    }

    /// Threads that one search may take, its caller's included; as many as the machine has cores unless it is set. Only
    /// searches that read very many images take more than one: those that score more than 65,536 one after another, or more
    /// than 4,096 that pass a filter. [`Instance::add_batch`](crate::Instance::add_batch) takes them for more than 64 vectors.
    /// All calls of the gallery at once take at most one less beside those of their callers.
    #[must_use]
    pub fn search_threads(mut self, threads: usize) -> Self {
        self.search_threads = Some(threads);
        self
    }

    /// Opens instances without their lock, beside a writer in another process: changes give IS.2105, and what
    /// is read is the state at the opening.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Puts a disk under the gallery that fails on demand.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn fault_disk(mut self, disk: crate::store::FaultDisk) -> Self {
        self.disk = Arc::new(disk);
        self
    }

    /// Puts a disk in memory under the gallery: its directory is a path there.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn memory_disk(mut self, disk: crate::store::MemoryDisk) -> Self {
        self.disk = Arc::new(disk);
        self
    }

    /// Opens the gallery; its directory is made if need be.
    ///
    /// # Errors
    /// IS.2014 when the directory cannot be made; IS.3004 for a model whose declarations do not hold together.
    pub fn open(self) -> Result<Gallery> {
        let operation = Operation::OpenGallery;
        let mut models = HashMap::new();
        for embedder in self.models {
            let model = Model::new(embedder).map_err(|e| Error::new(operation, e))?;
            models.insert(model.name().to_owned(), model);
        }
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        let search_threads = self.search_threads.unwrap_or_else(cores);
        if !self.read_only {
            let made = self.disk.create_dirs(&self.dir);
            made.map_err(|e| Error::new(operation, Cause::Directory(dir_error("create", &self.dir)(e))))?;
        }
        let gallery = Gallery {
            core: Arc::new(Core {
                dir: self.dir,
                disk: self.disk,
                models,
                resolver: self.resolver,
                limits: self.limits,
                crew: Arc::new(Crew::new(search_threads)),
                options: self.options,
                read_only: self.read_only,
                entries: Mutex::default(),
                changed: Condvar::new(),
            }),
        };
        gallery.core.remove_leftovers();
        Ok(gallery)
    }
}

impl std::fmt::Debug for GalleryBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GalleryBuilder({:?})", self.dir)
    }
}
