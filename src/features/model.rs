//! A registered model, checked: what it promises is verified before anything is stored under its name.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use thiserror::Error;

use super::copy_model::CopyCurve;
use super::embedder::{EmbedError, Embedder, Mode};
use crate::region::View;
use crate::vector::{Layout, RowCode, VectorError};

/// Longest name of a model, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The largest `sim` of pictures that are not the same: the f32 before 1.
const BELOW_ONE: f32 = 1.0 - f32::EPSILON / 2.0;

/// A model whose declarations hold together.
#[derive(Clone)]
pub(crate) struct Model {
    pub(super) embedder: Arc<dyn Embedder>,
    pub(super) layout: Layout,
}

/// Why a model cannot be registered.
#[derive(Debug, Error)]
pub(crate) enum ModelError {
    #[error("a model's name has 1 to {MAX_NAME_BYTES} characters of a-z, 0-9, - and _; not {0:?}")]
    Name(String),
    #[error("{0}")]
    Layout(#[from] VectorError),
    #[error("the weights for mode {0:?} are not one a block, none negative and one above zero")]
    Weights(Mode),
    #[error(
        "the calibration for mode {0:?} does not rise from one (raw, sim) point to the next up to (1, 1)"
    )]
    Calibration(Mode),
    #[error(
        "the copy block is not one of the model's blocks, or the copy calibration does not rise within 0 to 1"
    )]
    Copy,
}

/// Why a model gave no row.
#[derive(Debug, Error)]
pub(crate) enum EmbedFault {
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error("the model gave a vector that cannot be used: {0}")]
    Vector(#[from] VectorError),
    #[error("the model panicked")]
    Panicked,
}

impl Model {
    pub(crate) fn new(embedder: Arc<dyn Embedder>) -> Result<Self, ModelError> {
        let name = embedder.name();
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(fits) {
            return Err(ModelError::Name(name.chars().take(MAX_NAME_BYTES).collect()));
        }
        let layout = Layout::new(embedder.blocks())?;
        for mode in Mode::ALL {
            let weights = embedder.weights(mode);
            let sound =
                weights.iter().all(|w| w.is_finite() && *w >= 0.0) && weights.iter().any(|w| *w > 0.0);
            if weights.len() != layout.blocks() || !sound {
                return Err(ModelError::Weights(mode));
            }
            Curve::new(embedder.calibration(mode)).ok_or(ModelError::Calibration(mode))?;
        }
        if let Some(block) = embedder.copy_block() {
            let sound = |robust| CopyCurve::new(embedder.copy_calibration(robust)).is_some();
            if block >= layout.blocks() || !sound(false) || !sound(true) {
                return Err(ModelError::Copy);
            }
        }
        Ok(Self { embedder, layout })
    }

    pub(crate) fn name(&self) -> &str {
        self.embedder.name()
    }

    pub(crate) fn version(&self) -> u32 {
        self.embedder.version()
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn input_side_px(&self) -> Option<u32> {
        self.embedder.input_side_px()
    }

    pub(crate) fn weights(&self, mode: Mode) -> Vec<f32> {
        self.embedder.weights(mode)
    }

    pub(crate) fn curve(&self, mode: Mode) -> Curve {
        // Checked when the model was registered; a model that changes its mind gets the plain map.
        Curve::new(self.embedder.calibration(mode)).unwrap_or_default()
    }

    pub(crate) fn ready(&self) -> Result<(), EmbedFault> {
        catch_unwind(AssertUnwindSafe(|| self.embedder.ready()))
            .map_err(|_| EmbedFault::Panicked)?
            .map_err(Into::into)
    }

    /// The row of a picture, and its hash (all zero when the model makes none).
    pub(crate) fn embed(&self, view: View<'_>) -> Result<(RowCode, [u8; 32]), EmbedFault> {
        let embedding = catch_unwind(AssertUnwindSafe(|| self.embedder.embed(view)));
        let embedding = embedding.map_err(|_| EmbedFault::Panicked)??;
        let row = RowCode::encode(&self.layout, &embedding.vector)?;
        Ok((row, embedding.hash.unwrap_or_default()))
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({} {})", self.name(), self.version())
    }
}

/// A piecewise linear map from raw scores to `sim`, rising to (1, 1).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    points: Vec<(f32, f32)>,
}

impl Default for Curve {
    fn default() -> Self {
        Self { points: vec![(0.0, 0.0), (1.0, 1.0)] }
    }
}

impl Curve {
    pub(crate) fn new(points: &[(f32, f32)]) -> Option<Self> {
        let rises = points.windows(2).all(|p| p[0].0 < p[1].0 && p[0].1 < p[1].1);
        let inside = points.iter().all(|p| p.0.is_finite() && (0.0..=1.0).contains(&p.1));
        let ends = points.len() >= 2 && points.last() == Some(&(1.0, 1.0));
        (rises && inside && ends).then(|| Self { points: points.to_vec() })
    }

    /// The `sim` of a raw score: 1 for a raw score of 1 and for no other.
    pub(crate) fn sim(&self, raw: f32) -> f32 {
        if raw >= 1.0 {
            return 1.0;
        }
        let above = self.points.partition_point(|&(x, _)| x <= raw);
        let (Some(&(x0, y0)), Some(&(x1, y1))) =
            (above.checked_sub(1).and_then(|i| self.points.get(i)), self.points.get(above))
        else {
            return self.points.first().map_or(0.0, |p| p.1);
        };
        let [x, x0, x1, y0, y1] = [raw, x0, x1, y0, y1].map(f64::from);
        (((y0 + (x - x0) / (x1 - x0) * (y1 - y0)) as f32).min(y1 as f32)).min(BELOW_ONE)
    }

    /// The smallest raw score whose `sim` is at least `sim`; minus infinity when all are.
    pub(crate) fn raw_for(&self, sim: f32) -> f32 {
        if self.sim(f32::NEG_INFINITY) >= sim {
            return f32::NEG_INFINITY;
        }
        // The map rises, so the bits of a score, in their order as numbers, can be halved down to the one.
        let (mut low, mut high) = (rank(self.points.first().map_or(0.0, |p| p.0)), rank(1.0));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.sim(unrank(middle)) >= sim { high = middle } else { low = middle + 1 }
        }
        unrank(low)
    }
}

/// The place of a finite f32 among all of them.
fn rank(value: f32) -> i64 {
    let bits = i64::from(value.to_bits() & 0x7fff_ffff);
    if value.is_sign_negative() { -bits } else { bits }
}

fn unrank(rank: i64) -> f32 {
    let magnitude = f32::from_bits(rank.unsigned_abs() as u32);
    if rank < 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn curve() -> Curve {
        Curve::new(&[(-0.1, 0.0), (0.19, 0.2), (0.42, 0.5), (0.83, 0.9), (1.0, 1.0)]).unwrap()
    }

    #[test]
    fn anchors_and_ends() {
        let curve = curve();
        for (raw, sim) in [(-1.0, 0.0), (-0.1, 0.0), (0.19, 0.2), (0.42, 0.5), (0.83, 0.9), (1.0, 1.0)] {
            assert!((curve.sim(raw) - sim).abs() < 1e-6, "{raw}");
        }
        assert_eq!((curve.sim(1.0), curve.sim(BELOW_ONE) < 1.0), (1.0, true));
        for bad in [&[][..], &[(1.0, 1.0)], &[(0.0, 0.0), (0.9, 1.0)], &[(0.5, 0.5), (0.2, 0.9), (1.0, 1.0)]]
        {
            assert_eq!(Curve::new(bad), None);
        }
    }

    proptest! {
        #[test]
        fn rises_and_inverts(a in -1.0f32..1.0, b in -1.0f32..1.0, sim in 0.0f32..=1.0) {
            let curve = curve();
            prop_assert!((curve.sim(a.min(b)) <= curve.sim(a.max(b))) && (0.0..1.0).contains(&curve.sim(a)));
            let raw = curve.raw_for(sim);
            prop_assert!(curve.sim(raw) >= sim);
            prop_assert_eq!(a >= raw, curve.sim(a) >= sim);
        }
    }
}
