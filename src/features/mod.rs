//! Pictures to vectors: the built-in network with its perceptual half, and the trait for a host's own model.

mod embedder;

pub use embedder::{EmbedError, Embedder, Embedding, Mode};
