//! What the copy score needs of a query picture: views of it, its hashes turned and mirrored, and how much there is
//! to see in it.

use super::common_search::{Parts, Planes};
use super::embedder::{CopyViews, EmbedError, Embedding};
use super::perceptual::{EDGE, Grey, Spectrum, content_box};
use crate::region::View;
use crate::resample::{NETWORK_SIDE_PX, ResampleError, TRIM_SIDE_PX};

/// Side of the crops of the robust views, as a share of the view's.
const CROP: f64 = 0.62;
/// Left and top of the crops of the robust views, as shares: the corners, then the centre.
const CORNERS: [[f64; 2]; 5] = [
    [0.0, 0.0],
    [1.0 - CROP, 0.0],
    [0.0, 1.0 - CROP],
    [1.0 - CROP, 1.0 - CROP],
    [(1.0 - CROP) / 2.0, (1.0 - CROP) / 2.0],
];
/// A picture of a lower quality is flat: its hash is noise, and none is made.
const FLAT_BELOW: u8 = 3;

/// Mirrorings and turns of the robust views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Mirror,
    Quarter,
    Half,
    ThreeQuarters,
}

impl Turn {
    const ALL: [Self; 4] = [Self::Mirror, Self::Quarter, Self::Half, Self::ThreeQuarters];

    /// The pixels `[side, side, 3]` of a square plane, mirrored left to right or turned clockwise.
    fn of(self, plane: &[u8], side: usize) -> Vec<u8> {
        let (pixels, _) = plane.as_chunks::<3>();
        let last = side - 1;
        let from = |y: usize, x: usize| match self {
            Self::Mirror => (y, last - x),
            Self::Quarter => (last - x, y),
            Self::Half => (last - y, last - x),
            Self::ThreeQuarters => (x, last - y),
        };
        let turned = (0..side * side).map(|i| from(i / side, i % side));
        turned.flat_map(|(y, x)| pixels[y * side + x]).collect()
    }
}

/// The hash of a plane; all zero, which stands for none, when the picture is flat.
pub(super) fn hash(grey: &Grey) -> [u8; 32] {
    if grey.quality() < FLAT_BELOW { [0; 32] } else { Spectrum::new(grey).hash() }
}

/// The views of a picture besides itself, whose `embedding` is known and begins with `semantic` values that are not of
/// the copy block.
pub(super) fn views(
    parts: &Parts,
    planes: &mut Planes,
    view: View<'_>,
    embedding: Embedding,
    semantic: usize,
    robust: bool,
) -> Result<CopyViews, EmbedError> {
    let failed = |refused: ResampleError| EmbedError::Failed(Box::new(refused));
    let mut others = Vec::new();
    let Planes { resampler, rgb224, rgb64 } = planes;
    resampler.small(view, rgb64).map_err(failed)?;
    let grey = Grey::new(rgb64);
    let quality = grey.quality();
    let flat = quality < FLAT_BELOW;
    let mut hashes = if flat { Vec::new() } else { Spectrum::new(&grey).hashes().to_vec() };
    // The semantic block of a view is not asked for, so its edges may be anything.
    let block = |rgb224: &[u8], hist: &[f32]| {
        parts.fusion.blocks(&parts.network.run(rgb224), hist, &[0.0; EDGE]).split_off(semantic)
    };
    if robust {
        // Turning the network's plane is turning the picture, and a histogram knows no directions.
        let hist = parts.histogram.of(rgb64);
        resampler.network(view, rgb224).map_err(failed)?;
        for turn in Turn::ALL {
            others.push(block(&turn.of(rgb224, NETWORK_SIDE_PX as usize), &hist));
        }
    }
    let mut plane = Vec::new();
    resampler.trim(view, &mut plane).map_err(failed)?;
    let content = content_box(&plane);
    let content = content.map(|cell| f64::from(cell) / f64::from(TRIM_SIDE_PX));
    let trim = (content != [0.0, 0.0, 1.0, 1.0]).then_some(content);
    let crops = CORNERS.map(|[x, y]| [x, y, (x + CROP).min(1.0), (y + CROP).min(1.0)]);
    let crops = crops.into_iter().filter(|_| robust);
    for [left, top, right, bottom] in trim.into_iter().chain(crops) {
        // A crop of a picture of a few pixels may be empty.
        let Some(part) = view.fraction(left, top, right, bottom) else { continue };
        resampler.network(part, rgb224).map_err(failed)?;
        resampler.small(part, rgb64).map_err(failed)?;
        others.push(block(rgb224, &parts.histogram.of(rgb64)));
        if trim == Some([left, top, right, bottom]) {
            let grey = Grey::new(rgb64);
            if !flat && grey.quality() >= FLAT_BELOW {
                hashes.extend(Spectrum::new(&grey).hashes());
            }
        }
    }
    Ok(CopyViews { embedding, others, hashes, quality: Some(quality) })
}

/// Points `(raw, copy)` of the map from raw copy scores to `copy`.
///
/// `copy` is how likely the best hit of a query is a copy, in an instance of 2,000 images, when every other query has
/// one; docs/model.md says how it was measured. More views find more that is not a copy: the robust map is lower.
pub(super) fn points(robust: bool) -> &'static [(f32, f32)] {
    if robust {
        &[
            (-0.1, 0.0),
            (0.12, 0.01),
            (0.24, 0.08),
            (0.345, 0.5),
            (0.44, 0.9),
            (0.62, 0.99),
            (1.0, 0.999),
            (1.75, 1.0),
        ]
    } else {
        &[
            (-0.1, 0.0),
            (0.1, 0.01),
            (0.2, 0.08),
            (0.32, 0.5),
            (0.42, 0.9),
            (0.6, 0.99),
            (1.0, 0.999),
            (1.75, 1.0),
        ]
    }
}
