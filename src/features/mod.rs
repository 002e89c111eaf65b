//! Pictures to vectors: the built-in network with its perceptual half, and the trait for a host's own model.

mod bundle;
mod calibrate;
mod cnn;
mod common_search;
mod embedder;
mod fuse;
mod math;
mod perceptual;
#[cfg(test)]
mod tests;

pub use common_search::CommonSearch;
pub use embedder::{EmbedError, Embedder, Embedding, Mode};
