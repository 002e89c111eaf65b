//! Embeddable, in-process image similarity search.

mod code;
mod decode;
mod error;
mod features;
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
mod vector;

pub use code::{Code, Fault, RaisedBy, UnknownCode};
pub use error::{Error, ErrorKind, Operation, Result};
#[cfg(feature = "fit")]
#[doc(hidden)]
pub use features::fit;
pub use features::{CommonSearch, EmbedError, Embedder, Embedding, FittedSearch, Mode, UnknownMode};
pub use gallery::{CreateInstance, Gallery, GalleryBuilder, InstanceInfo, Status};
pub use image::{Pixels, PixelsError, SizeLimits};
pub use instance::{
    Add, Added, BatchOptions, Delete, Effort, Found, Hit, Instance, Page, Progress, Query, Reader, Resolver,
    Source, Update,
};
/// The thread pools of [`BatchOptions::pool`] are this crate's.
pub use rayon;
pub use region::{Region, View};
pub use store::{Durability, OnExisting};
pub use tags::Tags;

/// What tests of programs that must survive a failing disk need.
#[cfg(feature = "testing")]
pub mod testing {
    pub use crate::store::{DiskCall, FaultDisk};
}
