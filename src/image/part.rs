//! What is wanted of a picture, and what came of it.

use super::Pixels;

/// A box of pixels that is known to lie inside its picture and to hold at least one pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Part {
    /// A whole picture.
    pub(crate) fn whole(width: u32, height: u32) -> Self {
        Self { left: 0, top: 0, width, height }
    }

    /// The box in the same picture shrunk `ratio` times: each edge goes to the nearest edge of a small pixel (from
    /// the middle to the right and downwards), and at least one pixel is kept.
    ///
    /// A last column or row that belongs to the picture by less than half is left out: the rest of it is what an
    /// encoder filled its blocks up with.
    pub(super) fn shrunk(self, ratio: u32) -> Self {
        let edges = |start: u32, length: u32| {
            let near = |edge: u32| (edge + ratio / 2) / ratio;
            // The last pixel of the box lies in this one, so it exists.
            let start_px = near(start).min((start + length - 1) / ratio);
            (start_px, near(start + length).max(start_px + 1) - start_px)
        };
        let ((left, width), (top, height)) = (edges(self.left, self.width), edges(self.top, self.height));
        Self { left, top, width, height }
    }
}

/// What is wanted of a picture.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The sides of the plane that the pixels will be scaled to. A JPEG much larger than that is decoded at a half,
    /// a quarter or an eighth of its size, and only the part that is wanted; `None` decodes all of it in full.
    pub(crate) target_px: Option<u32>,
    /// The part that is wanted of an upright picture of so many pixels; `None` if there is none, and then only
    /// damage is looked for.
    pub(crate) part: &'a dyn Fn(u32, u32) -> Option<Part>,
}

/// The pixels of a picture, or of as much of it as was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Upright and perhaps shrunk.
    pub(crate) pixels: Pixels,
    /// Where the wanted part lies in `pixels`.
    pub(crate) part: Part,
}

/// How much larger than the target the wanted part must be on both axes after it was shrunk, in halves.
///
/// Twice is what the cosines of scaled and full decoding ask for: `cargo test scaled` prints them.
const MARGIN_HALVES: u32 = 4;

/// How many times a picture may be shrunk, 1, 2, 4 or 8, if `part` of it is to be scaled to `target_px`.
pub(super) fn shrink_ratio(part: Part, target_px: Option<u32>) -> u32 {
    let Some(target_px) = target_px else { return 1 };
    let least = u64::from(target_px.max(1)) * u64::from(MARGIN_HALVES);
    let fits = |ratio: &u32| {
        let small = part.shrunk(*ratio);
        u64::from(small.width.min(small.height)) * 2 >= least
    };
    [8, 4, 2].into_iter().find(fits).unwrap_or(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn small_boxes_keep_a_pixel_inside() {
        for ratio in [1, 2, 4, 8] {
            for picture in 1..40u32 {
                for start in 0..picture {
                    for length in 1..=picture - start {
                        let part = Part { left: start, top: 0, width: length, height: picture };
                        let small = part.shrunk(ratio);
                        assert!(small.width >= 1 && small.height >= 1);
                        assert!(small.left + small.width <= picture.div_ceil(ratio));
                        // No edge moves by more than half a small pixel, unless that left nothing.
                        let moved = |edge: u32, small: u32| (small * ratio).abs_diff(edge) * 2 <= ratio;
                        let whole =
                            moved(start, small.left) && moved(start + length, small.left + small.width);
                        assert!(whole || small.width == 1);
                    }
                }
            }
        }
    }

    #[test]
    fn tiny_boxes_are_not_shrunk() {
        let whole = |width, height| shrink_ratio(Part::whole(width, height), Some(224));
        assert_eq!([whole(640, 480), whole(894, 2048), whole(1280, 960), whole(2048, 2048)], [1, 1, 2, 4]);
        assert_eq!([whole(8192, 8192), whole(4096, 1000), whole(1, 8192)], [8, 2, 1]);
        let part = Part { left: 1000, top: 900, width: 300, height: 8 };
        assert_eq!(shrink_ratio(part, Some(224)), 1);
        assert_eq!(shrink_ratio(Part::whole(8192, 8192), None), 1);
        assert_eq!(shrink_ratio(Part::whole(8192, 8192), Some(u32::MAX)), 1);
        assert_eq!(shrink_ratio(Part::whole(8, 8), Some(0)), 4);
    }
}
