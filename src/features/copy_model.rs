//! The copy score's side of a registered model: views checked and coded, and what a raw score means.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::embedder::CopyViews;
use super::model::{EmbedFault, Model};
use crate::region::View;
use crate::vector::{Layout, RowCode, VectorError};

/// The most that `copy` is for a pair of which one picture is flat: nothing in it could show a copy.
pub(crate) const FLAT_COPY: f32 = 0.25;

/// What a copy score compares rows with.
#[derive(Debug, Clone)]
pub(crate) struct CopyTarget {
    /// The picture itself, all blocks.
    pub(crate) row: RowCode,
    /// The copy block of each view, the picture itself first.
    pub(crate) views: Vec<TargetView>,
    /// Hashes that a copy may have; empty when the model makes none.
    pub(crate) hashes: Vec<[u8; 32]>,
    pub(crate) quality: Option<u8>,
    /// Whether the picture is flat: it has no copies.
    pub(crate) flat: bool,
}

/// One view: a block's values in 12 bits, one over their norm, and what is subtracted from its cosines.
#[derive(Debug, Clone)]
pub(crate) struct TargetView {
    pub(crate) values: Vec<i16>,
    pub(crate) inv_norm: f32,
    pub(crate) background: f32,
}

impl Model {
    /// Which block tells copies, if the model has a copy score.
    pub(crate) fn copy_block(&self) -> Option<usize> {
        self.embedder.copy_block()
    }

    /// Whether pictures have hashes; one of zeros then is a flat picture's.
    pub(crate) fn copy_hashed(&self) -> bool {
        self.embedder.copy_hashed()
    }

    /// The map of raw copy scores to `copy`.
    pub(crate) fn copy_curve(&self, robust: bool) -> CopyCurve {
        // Checked when the model was registered; a model that changes its mind gets the plain map.
        CopyCurve::new(self.embedder.copy_calibration(robust)).unwrap_or_default()
    }

    /// The target of a picture. `block` is the model's copy block.
    pub(crate) fn copy_views(
        &self,
        view: View<'_>,
        block: usize,
        robust: bool,
    ) -> Result<CopyTarget, EmbedFault> {
        let views = catch_unwind(AssertUnwindSafe(|| self.embedder.copy_views(view, robust)));
        let CopyViews { embedding, others, hashes, quality } = views.map_err(|_| EmbedFault::Panicked)??;
        let row = RowCode::encode(&self.layout, &embedding.vector)?;
        let mut target = self.copy_row(row, Some(embedding.hash.unwrap_or_default()), block)?;
        let dims = self.layout.ranges().nth(block).map_or(0, |range| range.len());
        let single = Layout::new(&[dims])?;
        for values in &others {
            target.views.push(self.target_view(&single, RowCode::encode(&single, values)?)?);
        }
        target.quality = quality;
        if self.copy_hashed() && !target.flat {
            target.hashes.extend(hashes);
        }
        Ok(target)
    }

    /// The target of a stored image: one view, one hash. A vector that is no picture's has none.
    pub(crate) fn copy_row(
        &self,
        row: RowCode,
        hash: Option<[u8; 32]>,
        block: usize,
    ) -> Result<CopyTarget, EmbedFault> {
        let own = row.block(&self.layout, block).ok_or(VectorError::Zero { block })?;
        let views = vec![self.target_view(&Layout::new(&[own.lower.len()])?, own)?];
        let hash = hash.filter(|_| self.copy_hashed());
        let flat = hash == Some([0; 32]);
        let hashes = hash.into_iter().filter(|_| !flat).collect();
        Ok(CopyTarget { row, views, hashes, quality: None, flat })
    }

    /// `block` is a row of its own, of the layout `single`.
    fn target_view(&self, single: &Layout, block: RowCode) -> Result<TargetView, EmbedFault> {
        let decoded = block.decode(single);
        let background = catch_unwind(AssertUnwindSafe(|| self.embedder.copy_background(&decoded)));
        let background = background.map_err(|_| EmbedFault::Panicked)?;
        if !background.is_finite() {
            return Err(VectorError::NotFinite { index: 0 }.into());
        }
        let inv_norm = block.inv_norms.first().copied().unwrap_or_default();
        Ok(TargetView { values: block.values(), inv_norm, background })
    }
}

/// A piecewise linear map from raw copy scores to `copy`, rising.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CopyCurve {
    points: Vec<(f32, f32)>,
}

impl Default for CopyCurve {
    fn default() -> Self {
        Self { points: vec![(0.0, 0.0), (1.75, 1.0)] }
    }
}

impl CopyCurve {
    /// `None` unless there are two points or more, rising strictly in both, `copy` within `0..=1`.
    pub(crate) fn new(points: &[(f32, f32)]) -> Option<Self> {
        let rises = points.windows(2).all(|p| p[0].0 < p[1].0 && p[0].1 < p[1].1);
        let inside = points.iter().all(|p| p.0.is_finite() && (0.0..=1.0).contains(&p.1));
        (rises && inside && points.len() >= 2).then(|| Self { points: points.to_vec() })
    }

    /// The `copy` of a raw score.
    pub(crate) fn copy(&self, raw: f32) -> f32 {
        between(self.points.iter().copied(), raw)
    }

    /// The raw score of a `copy`.
    pub(crate) fn raw(&self, copy: f32) -> f32 {
        between(self.points.iter().map(|&(raw, copy)| (copy, raw)), copy)
    }
}

/// Linear between points that rise, level outside.
fn between(points: impl Iterator<Item = (f32, f32)>, at: f32) -> f32 {
    let mut before: Option<(f32, f32)> = None;
    for (x1, y1) in points {
        if at < x1 {
            let Some((x0, y0)) = before else { return y1 };
            let [at, x0, x1, y, rise] = [at, x0, x1, y0, y1 - y0].map(f64::from);
            return ((y + (at - x0) / (x1 - x0) * rise) as f32).min(y1);
        }
        before = Some((x1, y1));
    }
    before.map_or(0.0, |(_, y)| y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::CommonSearch;
    use crate::features::embedder::Embedder;
    use proptest::prelude::*;

    #[test]
    fn anchors_and_ends() {
        let curve = CopyCurve::new(&[(-0.5, 0.1), (0.5, 0.5), (1.5, 1.0)]).unwrap();
        for (raw, copy) in
            [(-9.0, 0.1), (-0.5, 0.1), (0.0, 0.3), (0.5, 0.5), (1.0, 0.75), (1.5, 1.0), (2.0, 1.0)]
        {
            assert!((curve.copy(raw) - copy).abs() < 1e-6, "{raw}");
        }
        assert!((curve.raw(0.3)).abs() < 1e-6 && curve.raw(2.0) == 1.5);
        for bad in [&[][..], &[(1.0, 1.0)], &[(0.0, 0.0), (0.0, 1.0)], &[(0.0, 0.0), (1.0, 1.1)]] {
            assert_eq!(CopyCurve::new(bad), None);
        }
    }

    proptest! {
        #[test]
        fn rises(a in -1.5f32..2.0, b in -1.5f32..2.0, robust: bool) {
            let curve = CopyCurve::new(CommonSearch::new().copy_calibration(robust)).unwrap();
            let (low, high) = (curve.copy(a.min(b)), curve.copy(a.max(b)));
            prop_assert!(low <= high && (0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
            prop_assert!(curve.copy(curve.raw(FLAT_COPY)) < 0.5);
        }
    }
}
