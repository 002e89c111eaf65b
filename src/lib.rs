//! Image similarity search inside your program: a picture in, its look-alikes out.
//!
//! Link the crate, open a directory, and find pictures by a picture, by a part of one, by one that is stored, and by
//! tags. No server, no download, no C: the network's weights are inside the crate. The operations, their rules and
//! their error codes are those of the ImageSearch cloud service.
//!
//! ```
//! use lookalike::{Add, CreateInstance, Gallery, Query, Region, Source};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temporary = tempfile::tempdir()?;
//! # let dir = temporary.path();
//! // A directory of yours, which is made if need be. In it a set of pictures that are searched together, with a model
//! // (`common-search` is built in) and the keys of the tags that they may carry.
//! let gallery = Gallery::open(dir)?;
//! let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
//!
//! // A JPEG, PNG or BMP file, under a name that searches give back.
//! let picture = std::fs::read("examples/pictures/cat.jpg")?;
//! photos.add(&Add::new("2026/cat.jpg", Source::bytes(&picture)).tag("album", "pets"))?;
//!
//! let page = photos.search(&Query::image(&picture).tag("album", "pets").limit(5))?;
//! assert_eq!(page.count, 1);
//! assert_eq!((page.hits[0].path.as_str(), page.hits[0].sim), ("2026/cat.jpg", Some(1.0)));
//!
//! // By a part of the picture: 200 x 150 of its upright pixels, from (40, 30) on.
//! let page = photos.search(&Query::image(&picture).region(Region::new(40, 30, 200, 150)))?;
//! assert_eq!(page.hits[0].path, "2026/cat.jpg");
//! # Ok(()) }
//! ```
//!
//! # The words
//!
//! A [`Gallery`] is a directory of [`Instance`]s. An instance holds *images*: each has a *path* (your key for it; the
//! library never opens it), *tags*, and a *vector* that a model, an [`Embedder`], made of its pixels. A [`Query`] gives
//! a [`Page`] of [`Hit`]s, each with a `sim` from 0 to 1. An [`Error`] has the service's [`Code`].
//!
//! # Before the first run
//!
//! * **Pictures of 100 to 2048 pixels a side are taken**, as the service takes them; others are refused (IS.2106, IS.2107).
//!   For photographs as cameras make them open with [`GalleryBuilder::size_limits`] and [`SizeLimits::any`]: 1 to 8192.
//! * **Calls block**: an add until its picture is decoded and embedded and the change synced, a search until the picture that
//!   it brings is decoded and embedded and the best are found. In asynchronous programs call from a thread for blocking
//!   work. For many pictures [`add_batch`](Instance::add_batch) uses all cores and shares the syncs.
//! * **Builds without optimisation are slow**: most of a second a picture. `[profile.dev.package."*"]` with `opt-level = 3`
//!   in your `Cargo.toml`, or `--release`, mends it.
//!
//! # What is promised
//!
//! (Files named `docs/` are in the crate's package.)
//!
//! * `Ok` from a change means that it is synced to disk ([`Durability`] tells the exception), and that every later
//!   search sees it; `docs/durability.md` says so case by case. Of changes that were acknowledged before a `SIGKILL` or a
//!   simulated power cut none was lost, in any run.
//! * `sim` is 1 for the same picture and for no other; 95 % of unrelated pictures are at or under .2; from .9 on it is a
//!   copy or the same object in the same view, nearly always. `docs/model.md` has the figures.
//! * Tags filter first: under any tags the best matches are found, and `count` is exact.
//! * The same file gives the same vector, bit for bit, on every machine.
//! * Damaged files of an instance give an error that names file and place, not a wrong answer.
//! * Pictures are decoded within bounds: sides are read from the header first, and damage is refused.
//! * An image takes some 450 bytes, a picture some milliseconds of one core. Of a million vectors the ten nearest are found with
//!   .98 of recall in .1 ms, of thirty million with .99 in .7 ms (medians, one thread; `docs/scale.md` says on what machine).
//! * No operation panics on what it is given, and a panic of a model, a resolver or a callback ends in an error to its caller.
//!
//! # What it does not do
//!
//! It keeps no pictures, opens no network, detects no objects, reads no text. One process writes an instance at a time.
//! Mapped files must not be changed by other programs. From 50,000 images on ([`GalleryBuilder::train_rows`]) a search reads
//! the lists of an index that are nearest, as [`Effort`] says; below, every image.
//!
//! # Where to go from here
//!
//! | you want to | see |
//! | --- | --- |
//! | open, with options | [`Gallery::builder`] |
//! | add one picture, many, very many | [`Instance::add`], [`add_batch`](Instance::add_batch), [`import`](Instance::import) |
//! | go over the same pictures again without the work | [`OnExisting::Keep`] |
//! | search; find copies | [`Instance::search`] with a [`Query`]; [`find_copies`](Instance::find_copies) with a [`CopyQuery`] |
//! | go through all, count, delete by tags | [`Instance::iter`], [`count_where`](Instance::count_where), [`delete_where`](Instance::delete_where) |
//! | back up, check, tidy, mend | [`Instance::snapshot`], [`verify`](Instance::verify), [`optimize`](Instance::optimize), [`Gallery::repair`] |
//! | bring a model of your own | [`Embedder`] |
//! | call work off | [`CancelToken`] |
//! | know what a code means and what helps | [`Code`] |
//!
//! Those who come from the service, from fastembed and Qdrant Edge or from imagededup find their calls in `docs/from-*.md`.
//!
//! # Features
//!
//! None is on by default.
//!
//! * `wire`: the service's requests and answers in JSON, for servers and for programs that were written against the
//!   service: module `wire`. Brings `serde_json` and `base64`.
//! * `tracing`: a span of each public operation, of the target `lookalike` and the level DEBUG, with the fields `instance`, `count`
//!   (hits, images: what came of it) and, of a refused one, `code`. Brings `tracing`; without it nothing is left of them.
//! * `testing`: a disk that fails on demand, and a disk in memory that knows what a power cut leaves of it, for tests of
//!   programs that must survive both.
//! * `seeded-bugs`: bugs to be planted in the store, for tests of those tests. Never for programs.
//! * `fit`: raw descriptors, for `cargo xtask fit-projection`; without promises about versions.
//!
//! Requests and answers are serde types without any feature. Rust 1.95 is the least that is tested; it rises in minor
//! versions only.

mod cancel;
mod code;
mod decode;
mod error;
mod features;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gallery;
mod image;
mod index;
mod instance;
mod kernel;
pub mod limits;
mod refusal;
mod region;
mod resample;
mod store;
mod tags;
mod trace;
mod vector;
#[cfg(feature = "wire")]
pub mod wire;

pub use cancel::CancelToken;
pub use code::{Code, Fault, RaisedBy, UnknownCode};
pub use error::{Error, ErrorKind, Operation, Result};
#[cfg(feature = "fit")]
#[doc(hidden)]
pub use features::fit;
pub use features::{
    CommonSearch, CopyViews, EmbedError, Embedder, Embedding, FittedSearch, Mode, UnknownMode,
};
pub use gallery::{CreateInstance, Gallery, GalleryBuilder, InstanceInfo, Status};
pub use image::{Pixels, PixelsError, SizeLimits};
pub use instance::{
    Add, Added, BatchOptions, Copies, CopyHit, CopyQuery, Delete, Effort, Found, Hit, Images, Imported,
    Instance, Page, Progress, Query, Reader, Resolver, Source, Stats, Stored, Update,
};
/// The thread pools of [`BatchOptions::pool`] are this crate's.
pub use rayon;
pub use region::{Region, View};
pub use store::{DamagedFile, Durability, OnExisting, Repaired};
pub use tags::Tags;

/// What tests of programs that must survive a failing disk need.
#[cfg(feature = "testing")]
pub mod testing {
    pub use crate::store::{Cuts, DiskCall, DiskFault, FaultDisk, MemoryDisk, Survivors};
    #[cfg(feature = "seeded-bugs")]
    pub use crate::store::{Planted, SeededBug};
}
