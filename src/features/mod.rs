//! Pictures to vectors: the built-in network with its perceptual half, and the trait for a host's own model.

mod background;
mod bundle;
mod calibrate;
mod cnn;
mod common_search;
mod copies;
mod copy_model;
mod embedder;
#[cfg(feature = "fit")]
pub mod fit;
mod fitted;
mod fuse;
mod math;
mod model;
mod perceptual;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use common_search::CommonSearch;
pub(crate) use copy_model::{CopyTarget, FLAT_COPY, TargetView};
pub use embedder::{CopyViews, EmbedError, Embedder, Embedding, Mode, UnknownMode};
pub use fitted::FittedSearch;
pub(crate) use model::{EmbedFault, Model, ModelError};

/// The models that every gallery has.
pub(crate) fn built_in() -> Vec<Arc<dyn Embedder>> {
    // One for the whole process: its weights are unpacked once.
    static COMMON_SEARCH: std::sync::LazyLock<Arc<CommonSearch>> = std::sync::LazyLock::new(Arc::default);
    vec![COMMON_SEARCH.clone()]
}
