//! The built-in model: EfficientNet-Lite0 and perceptual descriptors in a vector of 160 + 96 values.

use std::cell::RefCell;
use std::sync::OnceLock;

use super::background::Background;
use super::bundle::BundleError;
use super::calibrate;
use super::cnn::Network;
use super::copies;
use super::embedder::{CopyViews, EmbedError, Embedder, Embedding, Mode};
use super::fuse::Fusion;
use super::perceptual::{Grey, Histogram, edges};
use crate::kernel::Kernel;
use crate::region::View;
use crate::resample::{NETWORK_SIDE_PX, Resampler};

/// Values of the semantic block (what is shown) and of the copy block (this very picture).
const BLOCKS: [usize; 2] = [160, 96];
/// Which of them is the copy block.
const COPY: usize = 1;

/// The model instances use unless they name another: `common-search`.
///
/// The same picture through the same decoder gets the same bits on every machine: sums run in a fixed order and
/// nothing depends on the platform's mathematical library.
#[derive(Debug, Default)]
pub struct CommonSearch {
    /// The fastest unless set.
    kernel: Option<Kernel>,
    parts: OnceLock<Result<Parts, BundleError>>,
}

#[derive(Debug)]
pub(super) struct Parts {
    pub(super) network: Network,
    pub(super) histogram: Histogram,
    pub(super) fusion: Fusion,
    pub(super) background: Background,
}

/// The planes of one picture and the memory to make them; kept by each thread.
#[derive(Default)]
pub(super) struct Planes {
    pub(super) resampler: Resampler,
    pub(super) rgb224: Vec<u8>,
    pub(super) rgb64: Vec<u8>,
}

thread_local! {
    static PLANES: RefCell<Planes> = RefCell::default();
}

impl Parts {
    fn load(kernel: Kernel) -> Result<Self, BundleError> {
        Self::load_columns(kernel, BLOCKS[0], BLOCKS[1])
    }

    /// With blocks of so many values.
    pub(super) fn load_columns(kernel: Kernel, semantic: usize, copy: usize) -> Result<Self, BundleError> {
        let fusion = Fusion::load(kernel, semantic, copy)?;
        let background = Background::load(copy)?;
        Ok(Self { network: Network::load(kernel)?, histogram: Histogram::new(), fusion, background })
    }

    /// The embedding of a picture that is already scaled: `rgb224 [224, 224, 3]` for the network and
    /// `rgb64 [64, 64, 3]` for the rest.
    pub(super) fn embed(&self, rgb224: &[u8], rgb64: &[u8]) -> Embedding {
        embedding(&self.network, &self.histogram, &self.fusion, rgb224, rgb64)
    }
}

/// The embedding of a picture that is already scaled, under any projection.
pub(super) fn embedding(
    network: &Network,
    histogram: &Histogram,
    fusion: &Fusion,
    rgb224: &[u8],
    rgb64: &[u8],
) -> Embedding {
    let taps = network.run(rgb224);
    let grey = Grey::new(rgb64);
    let vector = fusion.blocks(&taps, &histogram.of(rgb64), &edges(&grey));
    Embedding { vector, hash: Some(copies::hash(&grey)) }
}

/// What `make` makes of a view scaled to `rgb224 [224, 224, 3]` and `rgb64 [64, 64, 3]`.
pub(super) fn scaled<T>(view: View<'_>, make: impl FnOnce(&[u8], &[u8]) -> T) -> Result<T, EmbedError> {
    PLANES.with_borrow_mut(|planes| {
        let Planes { resampler, rgb224, rgb64 } = planes;
        resampler.network(view, rgb224).map_err(|refused| EmbedError::Failed(Box::new(refused)))?;
        resampler.small(view, rgb64).map_err(|refused| EmbedError::Failed(Box::new(refused)))?;
        Ok(make(rgb224, rgb64))
    })
}

impl CommonSearch {
    /// The model, its weights not yet unpacked: [`ready`](Embedder::ready) or the first picture does that.
    pub const fn new() -> Self {
        Self { kernel: None, parts: OnceLock::new() }
    }

    /// The model with one kind of kernel, for measurements: `scalar`, `avx2`, `avx512`, `neon` or `auto` (the fastest).
    /// All give the same bits. `None` if the CPU has no such kernel.
    #[doc(hidden)]
    pub fn with_kernel(name: &str) -> Option<Self> {
        let known = |kernel: &Kernel| kernel.name() == name;
        let kernel = if name == "auto" { Kernel::best() } else { Kernel::all().into_iter().find(known)? };
        Some(Self { kernel: Some(kernel), ..Self::new() })
    }

    /// One pass of the network over `rgb224 [224, 224, 3]`, for measurements; gives a value that depends on it.
    #[doc(hidden)]
    pub fn network_pass(&self, rgb224: &[u8]) -> Result<f32, EmbedError> {
        Ok(self.parts()?.network.run(rgb224).last.iter().sum())
    }

    fn parts(&self) -> Result<&Parts, EmbedError> {
        let load = || Parts::load(self.kernel.unwrap_or_else(Kernel::best));
        self.parts.get_or_init(load).as_ref().map_err(|damage| EmbedError::Unusable(Box::new(*damage)))
    }
}

impl Embedder for CommonSearch {
    fn name(&self) -> &str {
        "common-search"
    }

    fn version(&self) -> u32 {
        2
    }

    fn blocks(&self) -> &[usize] {
        &BLOCKS
    }

    fn ready(&self) -> Result<(), EmbedError> {
        self.parts().map(|_| ())
    }

    fn input_side_px(&self) -> Option<u32> {
        Some(NETWORK_SIDE_PX)
    }

    fn embed(&self, view: View<'_>) -> Result<Embedding, EmbedError> {
        let parts = self.parts()?;
        scaled(view, |rgb224, rgb64| parts.embed(rgb224, rgb64))
    }

    fn weights(&self, mode: Mode) -> Vec<f32> {
        calibrate::weights(mode).to_vec()
    }

    fn calibration(&self, mode: Mode) -> &[(f32, f32)] {
        calibrate::points(mode)
    }

    fn copy_block(&self) -> Option<usize> {
        Some(COPY)
    }

    fn copy_hashed(&self) -> bool {
        true
    }

    fn copy_views(&self, view: View<'_>, robust: bool) -> Result<CopyViews, EmbedError> {
        let embedding = self.embed(view)?;
        PLANES.with_borrow_mut(|planes| {
            copies::views(self.parts()?, planes, view, embedding, BLOCKS[0], robust)
        })
    }

    fn copy_background(&self, block: &[f32]) -> f32 {
        self.parts().map_or(0.0, |parts| parts.background.nearest(block))
    }

    fn copy_calibration(&self, robust: bool) -> &[(f32, f32)] {
        copies::points(robust)
    }
}
