//! The built-in model: EfficientNet-Lite0 and perceptual descriptors in a vector of 160 + 96 values.

use std::sync::OnceLock;

use super::bundle::BundleError;
use super::calibrate;
use super::cnn::Network;
use super::embedder::{EmbedError, Embedder, Embedding, Mode};
use super::fuse::Fusion;
use super::perceptual::{Grey, Histogram, Spectrum, edges};

/// Values of the semantic block (what is shown) and of the copy block (this very picture).
const BLOCKS: [usize; 2] = [160, 96];

/// The model instances use unless they name another: `common-search`.
///
/// The same picture through the same decoder gets the same bits on every machine: sums run in a fixed order and
/// nothing depends on the platform's mathematical library.
#[derive(Debug, Default)]
pub struct CommonSearch {
    parts: OnceLock<Result<Parts, BundleError>>,
}

#[derive(Debug)]
struct Parts {
    network: Network,
    histogram: Histogram,
    fusion: Fusion,
}

impl Parts {
    fn load() -> Result<Self, BundleError> {
        let fusion = Fusion::load(BLOCKS[0], BLOCKS[1])?;
        Ok(Self { network: Network::load()?, histogram: Histogram::new(), fusion })
    }
}

impl CommonSearch {
    /// The model, its weights not yet unpacked: [`ready`](Embedder::ready) or the first picture does that.
    pub const fn new() -> Self {
        Self { parts: OnceLock::new() }
    }

    fn parts(&self) -> Result<&Parts, EmbedError> {
        self.parts.get_or_init(Parts::load).as_ref().map_err(|damage| EmbedError::Unusable(Box::new(*damage)))
    }

    /// The embedding of a picture that is already scaled: `rgb224 [224, 224, 3]` for the network and
    /// `rgb64 [64, 64, 3]` for the rest.
    pub(super) fn from_planes(&self, rgb224: &[u8], rgb64: &[u8]) -> Result<Embedding, EmbedError> {
        let parts = self.parts()?;
        let taps = parts.network.run(rgb224);
        let grey = Grey::new(rgb64);
        let vector = parts.fusion.blocks(&taps, &parts.histogram.of(rgb64), &edges(&grey));
        Ok(Embedding { vector, hash: Some(Spectrum::new(&grey).hash()) })
    }
}
