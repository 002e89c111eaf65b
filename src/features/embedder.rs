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
///
/// ```
/// use lookalike::{Mode, UnknownMode};
///
/// assert_eq!(Mode::Copy.to_string(), "copy");
/// assert!(Mode::ALL.iter().all(|mode| mode.as_str().parse() == Ok(*mode)));
/// assert_eq!("exact".parse::<Mode>(), Err(UnknownMode));
/// ```
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

/// What a model makes of one picture: [`Embedder`] has an example.
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
///
/// ```
/// # use lookalike::*;
/// # struct Network;
/// impl Embedder for Network {
/// #     fn name(&self) -> &str { "network" }
/// #     fn version(&self) -> u32 { 1 }
/// #     fn blocks(&self) -> &[usize] { &[4] }
///     fn ready(&self) -> Result<(), EmbedError> {
///         Err(EmbedError::FileMissing("network.onnx".into()))
///     }
///     // ...
/// #     fn embed(&self, _view: View<'_>) -> Result<Embedding, EmbedError> { Err(EmbedError::Failed("never".into())) }
/// }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let gallery = Gallery::builder(dir.path()).model(Network).open()?;
/// let refused = gallery.create(&CreateInstance::new("photos", "network")).unwrap_err();
/// assert_eq!((refused.code(), refused.kind()), (Code::ModelFileMissing, ErrorKind::Host));
/// # Ok(()) }
/// ```
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
/// A host registers its own with [`GalleryBuilder::model`](crate::GalleryBuilder::model); instances name it at their
/// creation and refuse to open without it. The library calls it from any of its threads, catches its panics (IS.2108),
/// and checks what it gives.
///
/// ```
/// use lookalike::{Add, CreateInstance, EmbedError, Embedder, Embedding, Gallery, Mode, Pixels, Query, Source, View};
///
/// /// The mean colour of a picture, and its shape.
/// struct ColourAndShape;
///
/// impl Embedder for ColourAndShape {
///     fn name(&self) -> &str { "colour-shape" }
///     fn version(&self) -> u32 { 1 }
///     fn blocks(&self) -> &[usize] { &[3, 2] }
///
///     fn embed(&self, view: View<'_>) -> Result<Embedding, EmbedError> {
///         // No block may be all zero, so a black picture begins at 1.
///         let mut vector = vec![1.0, 1.0, 1.0, view.width() as f32, view.height() as f32];
///         for pixel in view.rows().flat_map(|row| row.chunks_exact(3)) {
///             (0..3).for_each(|c| vector[c] += f32::from(pixel[c]));
///         }
///         Ok(Embedding { vector, hash: None })
///     }
///
///     fn weights(&self, mode: Mode) -> Vec<f32> {
///         if mode == Mode::Semantic { vec![1.0, 0.0] } else { vec![1.0, 1.0] }
///     }
///
///     // Colours are all alike: cosines below .5 mean nothing.
///     fn calibration(&self, _mode: Mode) -> &[(f32, f32)] { &[(0.5, 0.0), (1.0, 1.0)] }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let plain = |w: u32, h: u32, rgb: [u8; 3]| Pixels::from_rgb8(w, h, rgb.repeat((w * h) as usize));
/// let gallery = Gallery::builder(dir.path()).model(ColourAndShape).open()?;
/// let cards = gallery.open_or_create(&CreateInstance::new("cards", "colour-shape"))?;
/// cards.add(&Add::new("red", Source::pixels(plain(300, 100, [200, 10, 10])?)))?;
/// cards.add(&Add::new("green", Source::pixels(plain(100, 300, [10, 200, 10])?)))?;
/// let page = cards.search(&Query::pixels(plain(100, 300, [220, 20, 20])?).mode(Mode::Semantic))?;
/// assert_eq!(page.hits[0].path, "red");
/// # Ok(()) }
/// ```
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
    ///
    /// ```
    /// use lookalike::{CommonSearch, Embedder};
    /// assert_eq!(CommonSearch::new().input_side_px(), Some(224));
    /// ```
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
    /// [`EmbedError`], whose variants name their codes; a panic, a value that is not finite, a block that is all zero or a
    /// vector of another length is reported as IS.2108.
    fn embed(&self, view: View<'_>) -> Result<Embedding, EmbedError>;

    /// Weight of each block for a query's mode, as long as [`blocks`](Self::blocks), none negative, one above
    /// zero. The raw score of a pair is the weighted mean of the blocks' cosines.
    ///
    /// ```
    /// use lookalike::{CommonSearch, Embedder, Mode};
    /// // The semantic block counts four times as much as the copy block.
    /// assert_eq!(CommonSearch::new().weights(Mode::Default), [1.0, 0.25]);
    /// assert_eq!(CommonSearch::new().weights(Mode::Semantic), [1.0, 0.0]);
    /// ```
    fn weights(&self, _mode: Mode) -> Vec<f32> {
        vec![1.0; self.blocks().len()]
    }

    /// Points `(raw, sim)` of the piecewise linear map from raw scores to `sim` in `0..=1`, both rising strictly,
    /// the last `(1, 1)`. Below the first point `sim` is that point's.
    ///
    /// ```
    /// use lookalike::{CommonSearch, Embedder, Mode};
    /// let model = CommonSearch::new();
    /// let points = model.calibration(Mode::Default);
    /// assert!(points.windows(2).all(|p| p[0].0 < p[1].0 && p[0].1 < p[1].1));
    /// assert_eq!(points.last(), Some(&(1.0, 1.0)));
    /// ```
    fn calibration(&self, _mode: Mode) -> &[(f32, f32)] {
        &[(0.0, 0.0), (1.0, 1.0)]
    }

    /// Which of the [`blocks`](Self::blocks) tells copies, counted from 0. `None`, as here, for a model without a copy
    /// score: [`find_copies`](crate::Instance::find_copies) is then refused with IS.1008.
    ///
    /// ```
    /// # use lookalike::*;
    /// # struct Colours;
    /// impl Embedder for Colours {
    /// #     fn name(&self) -> &str { "colours" }
    /// #     fn version(&self) -> u32 { 1 }
    ///     fn blocks(&self) -> &[usize] { &[2] }
    ///     fn copy_block(&self) -> Option<usize> { Some(0) }
    ///     // All pictures share some of it.
    ///     fn copy_background(&self, _block: &[f32]) -> f32 { 0.25 }
    ///     // ...
    /// #     fn embed(&self, _view: View<'_>) -> Result<Embedding, EmbedError> { Err(EmbedError::Failed("never".into())) }
    /// }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let gallery = Gallery::builder(dir.path()).model(Colours).open()?;
    /// let cards = gallery.open_or_create(&CreateInstance::new("cards", "colours"))?;
    /// cards.add(&Add::new("red", Source::vector(vec![1.0, 0.0])))?;
    /// let copies = cards.find_copies(&CopyQuery::source(Source::vector(vec![1.0, 0.0])))?;
    /// // The raw score is the cosine of the block less the background here, for there are no hashes.
    /// assert_eq!((copies.hits[0].path.as_str(), copies.hits[0].raw), ("red", 0.75));
    /// # Ok(()) }
    /// ```
    fn copy_block(&self) -> Option<usize> {
        None
    }

    /// Whether [`embed`](Self::embed) gives a hash of every picture in which there is something to see. An image whose
    /// hash is of zeros, or that was added by a vector alone, is then never called a copy.
    ///
    /// ```
    /// use lookalike::{CommonSearch, Embedder};
    /// assert!(CommonSearch::new().copy_hashed());
    /// ```
    fn copy_hashed(&self) -> bool {
        false
    }

    /// The views of a query picture that the copy score compares; more of them when it shall be `robust` against
    /// mirroring, turning and cropping. Here the picture itself.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// let pixels = Pixels::decode(&picture, &SizeLimits::default())?;
    /// let views = CommonSearch::new().copy_views(View::whole(&pixels), false)?;
    /// assert_eq!(views.embedding, CommonSearch::new().embed(View::whole(&pixels))?);
    /// assert!(views.others.iter().all(|block| block.len() == 96) && views.quality > Some(10));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn copy_views(&self, view: View<'_>, _robust: bool) -> Result<CopyViews, EmbedError> {
        Ok(CopyViews { embedding: self.embed(view)?, others: Vec::new(), hashes: Vec::new(), quality: None })
    }

    /// What a view shares with anything: a cosine that is subtracted from those of its copy block, which is `block`.
    /// [`copy_block`](Self::copy_block) has an example.
    fn copy_background(&self, _block: &[f32]) -> f32 {
        0.0
    }

    /// Points `(raw, copy)` of the piecewise linear map from raw copy scores to `copy` in `0..=1`, both rising
    /// strictly. Below the first and above the last point `copy` is theirs.
    ///
    /// ```
    /// use lookalike::{CommonSearch, Embedder};
    /// let model = CommonSearch::new();
    /// // With more views a chance likeness is likelier: the same raw score says less.
    /// assert_ne!(model.copy_calibration(false), model.copy_calibration(true));
    /// ```
    fn copy_calibration(&self, _robust: bool) -> &[(f32, f32)] {
        &[(0.0, 0.0), (1.75, 1.0)]
    }
}
