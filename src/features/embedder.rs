//! What a model is to the library: a name, a version, blocks of dimensions, and a way from pixels to a vector.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::region::View;

/// What a query asks of the two blocks of a vector.
///
/// The stored vector does not depend on the mode: the query weighs its blocks (see [`Embedder::weights`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// Pictures of the same kind first, copies of the query before them.
    #[default]
    Default,
    /// What is shown, and nothing else.
    Semantic,
    /// The same picture, edited: scaled, cropped, recompressed, overlaid.
    Copy,
    /// Both in equal parts; the mode of a search by a box unless the query names one.
    Balanced,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Default, Self::Semantic, Self::Copy, Self::Balanced];
}

impl Mode {
    /// Its name in lower case: `default`, `semantic`, `copy`, `balanced`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Semantic => "semantic",
            Self::Copy => "copy",
            Self::Balanced => "balanced",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a mode.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the modes are default, semantic, copy and balanced")]
pub struct UnknownMode;

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or(UnknownMode)
    }
}

/// What a model makes of one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The blocks one after another, [`Embedder::blocks`] values each. Every value finite, every block of a
    /// norm above zero; the library scales each block to unit norm.
    pub vector: Vec<f32>,
    /// A perceptual hash of 256 bits, if the model makes one; kept with the image for copy scores.
    pub hash: Option<[u8; 32]>,
}

/// A query picture as the copy score sees it: the picture, and what of it may be in another.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyViews {
    /// What [`Embedder::embed`] gives for the picture itself, its first view.
    pub embedding: Embedding,
    /// Copy blocks of other views: without its border, mirrored, turned, parts of it.
    pub others: Vec<Vec<f32>>,
    /// Hashes that a copy of it may have besides the embedding's: mirrored, turned, without its border. They count
    /// if [`Embedder::copy_hashed`] says so.
    pub hashes: Vec<[u8; 32]>,
    /// How much there is to see in it, 0 (one colour) to 100; `None` if the model cannot tell.
    pub quality: Option<u8>,
}

/// Why a model gave no vector.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// A file the model needs is not there (IS.0015).
    #[error("the model's file {0:?} does not exist")]
    FileMissing(PathBuf),
    /// The model cannot be used at all, for example because its weights are damaged (IS.3004).
    #[error("the model cannot be used: {0}")]
    Unusable(Box<dyn std::error::Error + Send + Sync>),
    /// This picture could not be embedded (IS.2108).
    #[error("no features could be extracted: {0}")]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// A model that turns pictures into vectors.
///
/// A host registers its own with `GalleryBuilder::model`; instances name it at
/// their creation and refuse to open without it.
pub trait Embedder: Send + Sync {
    /// The name instances are created with: 1 to 64 characters of `a-z`, `0-9`, `-`, `_`.
    fn name(&self) -> &str;

    /// Raised whenever the same picture would get another vector. Vectors of different versions are never
    /// compared: an instance made with another version is refused (IS.3004).
    fn version(&self) -> u32;

    /// Dimensions of each block of the vector, 1 to 4 blocks, 4096 dimensions at most in all.
    fn blocks(&self) -> &[usize];

    /// Side, in pixels, of the square that the model scales its view to. A JPEG that is much larger is then decoded
    /// shrunk, to a view of not less than twice that side, which costs a fraction of the time. `None`, as here, for
    /// views in full size.
    fn input_side_px(&self) -> Option<u32> {
        None
    }

    /// Called when an instance of this model is created or opened, before the first picture.
    ///
    /// # Errors
    /// [`EmbedError::FileMissing`] or [`EmbedError::Unusable`]; the instance is then not created or opened.
    fn ready(&self) -> Result<(), EmbedError> {
        Ok(())
    }

    /// The vector of a picture, or of the part of it that `view` names.
    ///
    /// # Errors
    /// [`EmbedError`]; a panic is caught and reported as IS.2108.
    fn embed(&self, view: View<'_>) -> Result<Embedding, EmbedError>;

    /// Weight of each block for a query's mode, as long as [`blocks`](Self::blocks), none negative, one above
    /// zero. The raw score of a pair is the weighted mean of the blocks' cosines.
    fn weights(&self, _mode: Mode) -> Vec<f32> {
        vec![1.0; self.blocks().len()]
    }

    /// Points `(raw, sim)` of the piecewise linear map from raw scores to `sim` in `0..=1`, both rising strictly,
    /// the last `(1, 1)`. Below the first point `sim` is that point's.
    fn calibration(&self, _mode: Mode) -> &[(f32, f32)] {
        &[(0.0, 0.0), (1.0, 1.0)]
    }

    /// Which of the [`blocks`](Self::blocks) tells copies, counted from 0. `None`, as here, for a model without a copy
    /// score: `Instance::find_copies` is then refused with IS.1008.
    fn copy_block(&self) -> Option<usize> {
        None
    }

    /// Whether [`embed`](Self::embed) gives a hash of every picture in which there is something to see. An image whose
    /// hash is of zeros, or that was added by a vector alone, is then never called a copy.
    fn copy_hashed(&self) -> bool {
        false
    }

    /// The views of a query picture that the copy score compares; more of them when it shall be `robust` against
    /// mirroring, turning and cropping. Here the picture itself.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn copy_views(&self, view: View<'_>, _robust: bool) -> Result<CopyViews, EmbedError> {
        Ok(CopyViews { embedding: self.embed(view)?, others: Vec::new(), hashes: Vec::new(), quality: None })
    }

    /// What a view shares with anything: a cosine that is subtracted from those of its copy block, which is `block`.
    fn copy_background(&self, _block: &[f32]) -> f32 {
        0.0
    }

    /// Points `(raw, copy)` of the piecewise linear map from raw copy scores to `copy` in `0..=1`, both rising
    /// strictly. Below the first and above the last point `copy` is theirs.
    fn copy_calibration(&self, _robust: bool) -> &[(f32, f32)] {
        &[(0.0, 0.0), (1.75, 1.0)]
    }
}
