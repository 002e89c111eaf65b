//! The built-in models: EfficientNet-Lite0 and perceptual descriptors in a vector of 160 + 96 or of 256 + 256 values.

use std::cell::RefCell;
use std::sync::OnceLock;

use super::background::Background;
use super::bundle::BundleError;
use super::calibrate;
use super::cnn::{LAST, MIDDLE, Network, Taps};
use super::copies;
use super::embedder::{CopyViews, EmbedError, Embedder, Embedding, Mode};
use super::fuse::Fusion;
use super::perceptual::{EDGE, Grey, HIST, Histogram, Spectrum, edges};
use crate::kernel::Kernel;
use crate::region::View;
use crate::resample::{NETWORK_SIDE_PX, Resampler};

/// Which of the blocks is the copy block.
const COPY: usize = 1;

/// A built-in model: how much of the projections it keeps, and what its scores mean.
#[derive(Debug)]
struct Size {
    name: &'static str,
    /// Values of the semantic block (what is shown) and of the copy block (this very picture).
    blocks: [usize; 2],
    points: fn(Mode) -> &'static [(f32, f32)],
}

static SMALL: Size = Size { name: "common-search", blocks: [160, 96], points: calibrate::points };
static LARGE: Size = Size { name: "common-search-512", blocks: [256, 256], points: calibrate::points_512 };

/// The model instances use unless they name another: `common-search`, 256 values; or [`large`](Self::large)
/// `common-search-512`, 512 values from the same pass over the picture, for twice the memory and a little more found.
///
/// The same picture through the same decoder gets the same bits on every machine, whatever instructions it has: the network
/// is exact in integers, other sums run in a fixed order, and nothing depends on the platform's mathematical library.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
/// # let gallery = Gallery::open(dir.path())?;
/// let (small, large) = (CommonSearch::new(), CommonSearch::large());
/// assert_eq!((small.name(), small.blocks()), ("common-search", &[160, 96][..]));
/// assert_eq!((large.name(), large.blocks()), ("common-search-512", &[256, 256][..]));
///
/// // Instances have it by its name; without a gallery it gives vectors all the same.
/// let pixels = Pixels::decode(&picture, &SizeLimits::default())?;
/// let vector = small.embed(View::whole(&pixels))?.vector;
/// let photos = gallery.open_or_create(&CreateInstance::new("photos", small.name()))?;
/// photos.add(&Add::new("cat.jpg", Source::bytes(&picture)))?;
/// assert_eq!(photos.search(&Query::vector(vector))?.hits[0].sim, Some(1.0));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct CommonSearch {
    size: &'static Size,
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

impl Planes {
    fn fill(&mut self, view: View<'_>) -> Result<(), EmbedError> {
        let failed = |refused| EmbedError::Failed(Box::new(refused));
        self.resampler.network(view, &mut self.rgb224).map_err(failed)?;
        self.resampler.small(view, &mut self.rgb64).map_err(failed)
    }
}

impl Parts {
    /// With blocks of so many values.
    pub(super) fn load(kernel: Kernel, [semantic, copy]: [usize; 2]) -> Result<Self, BundleError> {
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

impl Default for CommonSearch {
    fn default() -> Self {
        Self::new()
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
        planes.fill(view)?;
        Ok(make(&planes.rgb224, &planes.rgb64))
    })
}

impl CommonSearch {
    /// The model, its weights not yet unpacked: [`ready`](Embedder::ready) or the first picture does that.
    pub const fn new() -> Self {
        Self::of(&SMALL)
    }

    /// `common-search-512`.
    pub const fn large() -> Self {
        Self::of(&LARGE)
    }

    const fn of(size: &'static Size) -> Self {
        Self { size, kernel: None, parts: OnceLock::new() }
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

    /// The two planes that the descriptors read, for measurements.
    #[doc(hidden)]
    pub fn planes(&self, view: View<'_>) -> Result<[Vec<u8>; 2], EmbedError> {
        PLANES.with_borrow_mut(|planes| {
            planes.fill(view)?;
            Ok([planes.rgb224.clone(), planes.rgb64.clone()])
        })
    }

    /// Colours, edges and hash of `rgb64 [64, 64, 3]`, for measurements; gives a value that depends on them.
    #[doc(hidden)]
    pub fn perceptual_pass(&self, rgb64: &[u8]) -> Result<f32, EmbedError> {
        let grey = Grey::new(rgb64);
        let sum: f32 = self.parts()?.histogram.of(rgb64).iter().chain(&edges(&grey)).sum();
        Ok(sum + f32::from(Spectrum::new(&grey).hash()[0]))
    }

    /// Descriptors to the two blocks, for measurements.
    #[doc(hidden)]
    pub fn projection_pass(&self) -> Result<Vec<f32>, EmbedError> {
        let ramp = |len: usize| (0..len).map(|i| (i % 7) as f32).collect::<Vec<_>>();
        let taps = Taps { last: ramp(LAST), middle: ramp(MIDDLE) };
        Ok(self.parts()?.fusion.blocks(&taps, &ramp(HIST), &ramp(EDGE)))
    }

    fn parts(&self) -> Result<&Parts, EmbedError> {
        let load = || Parts::load(self.kernel.unwrap_or_else(Kernel::best), self.size.blocks);
        self.parts.get_or_init(load).as_ref().map_err(|damage| EmbedError::Unusable(Box::new(*damage)))
    }
}

impl Embedder for CommonSearch {
    fn name(&self) -> &str {
        self.size.name
    }

    fn version(&self) -> u32 {
        2
    }

    fn blocks(&self) -> &[usize] {
        &self.size.blocks
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
        (self.size.points)(mode)
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
            copies::views(self.parts()?, planes, view, embedding, self.size.blocks[0], robust)
        })
    }

    fn copy_background(&self, block: &[f32]) -> f32 {
        self.parts().map_or(0.0, |parts| parts.background.nearest(block))
    }

    fn copy_calibration(&self, robust: bool) -> &[(f32, f32)] {
        copies::points(robust)
    }
}
