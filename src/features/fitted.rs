//! A model of the host's own: the built-in network under a projection that the host fitted.

use super::calibrate;
use super::cnn::Network;
use super::common_search::{CommonSearch, embedding, scaled};
use super::embedder::{EmbedError, Embedder, Embedding, Mode};
use super::fuse::{COLUMNS, Fusion};
use super::perceptual::Histogram;
use crate::kernel::Kernel;
use crate::region::View;
use crate::resample::NETWORK_SIDE_PX;

/// The built-in network with another projection, for example one fitted on the host's own pictures by
/// `cargo xtask fit-projection` (docs/model.md, "Fitting the projection again").
///
/// Register it with [`GalleryBuilder::model`](crate::GalleryBuilder::model) and create instances by its name.
/// [`Mode::Copy`] weighs its copy block as the built-in model's; it has no copy score, whose background and calibration
/// belong to the built-in projection: [`find_copies`](crate::Instance::find_copies) is refused (IS.1008).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lookalike::{CreateInstance, Embedder, FittedSearch, Gallery, Mode};
///
/// # let dir = tempfile::tempdir()?;
/// let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/src/features/weights/projection.bin"))?;
/// let curve = vec![(0.2, 0.0), (0.7, 0.5), (1.0, 1.0)];
/// let model = FittedSearch::new("my-search", &file, [160, 96])?.with_calibration(Mode::Copy, curve.clone());
/// assert_eq!(model.calibration(Mode::Copy), curve);
/// let gallery = Gallery::builder(dir.path()).model(model).open()?;
/// let info = gallery.create(&CreateInstance::new("shoes", "my-search"))?;
/// assert_eq!(info.domain, "my-search");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct FittedSearch {
    name: String,
    version: u32,
    blocks: [usize; 2],
    network: Network,
    histogram: Histogram,
    fusion: Fusion,
    /// In the order of [`Mode::ALL`].
    calibration: [Vec<(f32, f32)>; 4],
}

impl FittedSearch {
    /// The model `name` with the projection in the bytes of a file that `fit-projection` wrote, and `blocks` values of
    /// its semantic and its copy block, 1 to 256 each: `[160, 96]` as in `common-search`, `[256, 256]` for more quality
    /// in twice the space.
    ///
    /// Its version is derived from the projection and from the built-in model's version: an instance made with
    /// another projection is refused (IS.3004), as its vectors mean something else.
    ///
    /// # Errors
    /// [`EmbedError::Unusable`] when the file is damaged or of another kind, or a block is empty or too long.
    pub fn new(name: impl Into<String>, projection: &[u8], blocks: [usize; 2]) -> Result<Self, EmbedError> {
        if !blocks.iter().all(|len| (1..=COLUMNS).contains(len)) {
            return Err(EmbedError::Unusable(format!("a block has 1 to {COLUMNS} values").into()));
        }
        let unusable = |damage| EmbedError::Unusable(Box::new(damage));
        let kernel = Kernel::best();
        let fusion = Fusion::parse(kernel, projection, blocks[0], blocks[1]).map_err(unusable)?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&CommonSearch::new().version().to_le_bytes());
        checksum.update(projection);
        Ok(Self {
            name: name.into(),
            version: checksum.finalize(),
            blocks,
            network: Network::load(kernel).map_err(unusable)?,
            histogram: Histogram::new(),
            fusion,
            calibration: Mode::ALL.map(|mode| calibrate::points(mode).to_vec()),
        })
    }

    /// With another map from raw scores to `sim` for a mode: see [`Embedder::calibration`]. Without it the built-in
    /// model's holds, which is a good first guess for pictures of all kinds and no more than that for special ones.
    #[must_use]
    pub fn with_calibration(mut self, mode: Mode, points: Vec<(f32, f32)>) -> Self {
        self.calibration[index(mode)] = points;
        self
    }
}

/// The place of a mode in [`Mode::ALL`].
fn index(mode: Mode) -> usize {
    Mode::ALL.iter().position(|other| *other == mode).unwrap_or(0)
}

impl Embedder for FittedSearch {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn blocks(&self) -> &[usize] {
        &self.blocks
    }

    fn input_side_px(&self) -> Option<u32> {
        Some(NETWORK_SIDE_PX)
    }

    fn embed(&self, view: View<'_>) -> Result<Embedding, EmbedError> {
        let Self { network, histogram, fusion, .. } = self;
        scaled(view, |rgb224, rgb64| embedding(network, histogram, fusion, rgb224, rgb64))
    }

    fn weights(&self, mode: Mode) -> Vec<f32> {
        calibrate::weights(mode).to_vec()
    }

    fn calibration(&self, mode: Mode) -> &[(f32, f32)] {
        &self.calibration[index(mode)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuse::PROJECTION;
    use super::*;
    use crate::image::Pixels;

    fn pixels() -> Pixels {
        let rgb = (0..120 * 100 * 3_usize).map(|i| (i * i / 7 % 253) as u8).collect();
        Pixels::from_rgb8(120, 100, rgb).unwrap()
    }

    #[test]
    fn with_the_built_in_projection_it_is_the_built_in_model() {
        let fitted = FittedSearch::new("mine", PROJECTION, [160, 96]).unwrap();
        let pixels = pixels();
        let (have, want) = (
            fitted.embed(View::whole(&pixels)).unwrap(),
            CommonSearch::new().embed(View::whole(&pixels)).unwrap(),
        );
        assert_eq!(have, want);
        assert_ne!(fitted.version(), CommonSearch::new().version());
    }

    #[test]
    fn its_version_follows_the_projection() {
        let mut other = PROJECTION.to_vec();
        // A code of the last matrix; then the checksum of the header again.
        let at = other.len() - 2000;
        other[at] ^= 1;
        let checksum = crc32fast::hash(&other[20..]);
        other[16..20].copy_from_slice(&checksum.to_le_bytes());
        let version = |raw: &[u8]| FittedSearch::new("mine", raw, [256, 256]).unwrap().version();
        assert_ne!(version(&other), version(PROJECTION));
        assert_eq!(version(PROJECTION), version(PROJECTION));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for blocks in [[0, 96], [160, 0], [257, 1], [1, usize::MAX]] {
            assert!(matches!(FittedSearch::new("m", PROJECTION, blocks), Err(EmbedError::Unusable(_))));
        }
        let mut damaged = PROJECTION.to_vec();
        damaged[600_000] ^= 4;
        for raw in [&damaged[..], &PROJECTION[..PROJECTION.len() - 1], b"", b"lkl-proj"] {
            assert!(matches!(FittedSearch::new("m", raw, [160, 96]), Err(EmbedError::Unusable(_))));
        }
    }

    #[test]
    fn a_mode_can_be_calibrated() {
        let points = vec![(0.0, 0.0), (0.5, 0.9), (1.0, 1.0)];
        let model =
            FittedSearch::new("m", PROJECTION, [1, 1]).unwrap().with_calibration(Mode::Copy, points.clone());
        assert_eq!(model.calibration(Mode::Copy), points);
        assert_eq!(model.calibration(Mode::Default), CommonSearch::new().calibration(Mode::Default));
    }
}
