//! Embeddable, in-process image similarity search.

mod features;
mod image;
pub mod limits;
mod region;
mod resample;

pub use features::{CommonSearch, EmbedError, Embedder, Embedding, Mode};
pub use image::{Pixels, PixelsError, SizeLimits};
pub use region::{Region, View};
