//! Pictures to vectors: the built-in network with its perceptual half, and the trait for a host's own model.

mod embedder;
mod model;

pub use embedder::{EmbedError, Embedder, Embedding, Mode};
pub(crate) use model::{EmbedFault, Model, ModelError};
