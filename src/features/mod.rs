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

use std::sync::{Arc, LazyLock};

pub use common_search::CommonSearch;
pub(crate) use copy_model::{CopyTarget, FLAT_COPY, TargetView};
pub use embedder::{CopyViews, EmbedError, Embedder, Embedding, Mode, UnknownMode};
pub use fitted::FittedSearch;
pub(crate) use model::{EmbedFault, Model, ModelError};

/// The models that every gallery has.
pub(crate) fn built_in() -> Vec<Arc<dyn Embedder>> {
    // One of each for the whole process: weights are unpacked once, when a model is first used.
    static SMALL: LazyLock<Arc<CommonSearch>> = LazyLock::new(|| Arc::new(CommonSearch::new()));
    static LARGE: LazyLock<Arc<CommonSearch>> = LazyLock::new(|| Arc::new(CommonSearch::large()));
    vec![SMALL.clone(), LARGE.clone()]
}
