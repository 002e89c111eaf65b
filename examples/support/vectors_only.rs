//! A gallery for vectors that were made elsewhere, compared by their cosine.
//!
//! The built-in models keep two blocks and weigh them by the mode of a search. A benchmark whose true answers were
//! computed as plain cosines needs a model with a single block, and any program may register one.

use std::path::Path;

use lookalike::{EmbedError, Embedder, Embedding, Gallery, GalleryBuilder, Result, View};

/// The name that instances are created with.
pub(crate) const MODEL: &str = "vectors-only";

struct VectorsOnly {
    blocks: [usize; 1],
}

impl Embedder for VectorsOnly {
    fn name(&self) -> &str {
        MODEL
    }

    fn version(&self) -> u32 {
        1
    }

    fn blocks(&self) -> &[usize] {
        &self.blocks
    }

    fn embed(&self, _view: View<'_>) -> Result<Embedding, EmbedError> {
        Err(EmbedError::Unusable("this model takes vectors, not pictures".into()))
    }
}

/// A gallery in a directory, with a model for vectors of `dims` values.
pub(crate) fn builder(dir: &Path, dims: usize) -> GalleryBuilder {
    Gallery::builder(dir).model(VectorsOnly { blocks: [dims] })
}

/// Opens the gallery of a directory with a model for vectors of `dims` values. One search takes at most so many threads.
#[allow(dead_code, reason = "some examples have options of their own")]
pub(crate) fn gallery(dir: &Path, dims: usize, search_threads: usize) -> Result<Gallery> {
    builder(dir, dims).search_threads(search_threads).open()
}

/// The cosine of two vectors of the same length.
#[allow(dead_code, reason = "some examples compare nothing")]
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
