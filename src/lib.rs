//! Embeddable, in-process image similarity search.

mod code;
mod features;
mod image;
pub mod limits;
mod index;
mod kernel;
mod region;
mod resample;
mod store;
mod tags;
mod vector;

pub use code::{Code, Fault, RaisedBy, UnknownCode};
pub use features::{EmbedError, Embedder, Embedding, Mode};
pub use image::{Pixels, PixelsError, SizeLimits};
pub use region::{Region, View};
pub use store::{Durability, OnExisting};
pub use tags::Tags;
