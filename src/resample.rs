//! A view of a picture to the fixed-size planes that the descriptors read. The only file that names
//! `fast_image_resize`.
//!
//! The filters see the view and nothing around it: a box gives the same plane as a picture cut out along it.
//! All arithmetic is in fixed point, with the same result on every machine.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use thiserror::Error;

use crate::region::View;

/// Side of the plane that the network reads, in pixels.
pub(crate) const NETWORK_SIDE_PX: u32 = 224;
/// Side of the plane that the colour, edge and hash descriptors read, in pixels.
pub(crate) const SMALL_SIDE_PX: u32 = 64;
/// Side of the plane in which the border of a picture is looked for, in pixels.
pub(crate) const TRIM_SIDE_PX: u32 = 128;

/// The resizing crate refused; it has no reason to.
#[derive(Debug, Error)]
#[error("resampling failed")]
pub(crate) struct ResampleError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl ResampleError {
    fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// Makes planes; keeps its scratch memory from one picture to the next.
#[derive(Default)]
pub(crate) struct Resampler {
    resizer: Resizer,
}

impl Resampler {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The network's input: the view squashed to [`NETWORK_SIDE_PX`] on each side by an antialiased bicubic
    /// filter (a = -0.5, support scaled when shrinking), rounded to 8 bits.
    ///
    /// `out` becomes `side * side` RGB pixels, row-major.
    pub(crate) fn network(&mut self, view: View<'_>, out: &mut Vec<u8>) -> Result<(), ResampleError> {
        self.plane(view, NETWORK_SIDE_PX, FilterType::CatmullRom, out)
    }

    /// [`SMALL_SIDE_PX`] on each side by a box filter; bilinear if a side of the view is shorter than that.
    pub(crate) fn small(&mut self, view: View<'_>, out: &mut Vec<u8>) -> Result<(), ResampleError> {
        let short = view.width().min(view.height());
        let filter = if short < SMALL_SIDE_PX { FilterType::Bilinear } else { FilterType::Box };
        self.plane(view, SMALL_SIDE_PX, filter, out)
    }

    /// [`TRIM_SIDE_PX`] on each side by a box filter (which repeats pixels when it enlarges).
    pub(crate) fn trim(&mut self, view: View<'_>, out: &mut Vec<u8>) -> Result<(), ResampleError> {
        self.plane(view, TRIM_SIDE_PX, FilterType::Box, out)
    }

    fn plane(
        &mut self,
        view: View<'_>,
        side: u32,
        filter: FilterType,
        out: &mut Vec<u8>,
    ) -> Result<(), ResampleError> {
        out.resize(side as usize * side as usize * 3, 0);
        let pixels = view.pixels();
        let whole = ImageRef::new(pixels.width(), pixels.height(), pixels.as_rgb8(), PixelType::U8x3)
            .map_err(ResampleError::new)?;
        let mut plane = Image::from_slice_u8(side, side, out, PixelType::U8x3).map_err(ResampleError::new)?;
        // The crate's own crop box is in floating point and lets negative numbers and NaN through; a cropped
        // image takes integers, and those of a view are proved.
        let source = CroppedImage::new(&whole, view.left(), view.top(), view.width(), view.height())
            .map_err(ResampleError::new)?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
        self.resizer.resize(&source, &mut plane, &options).map_err(ResampleError::new)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::path::Path;

    use fast_image_resize::CpuExtensions;

    use super::*;
    use crate::image::{Pixels, SizeLimits, decode};

    fn examples() -> Vec<Pixels> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pictures");
        let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "jpg"));
        files.sort();
        assert_eq!(files.len(), 15);
        files
            .iter()
            .map(|file| decode(&std::fs::read(file).unwrap(), &SizeLimits::default()).unwrap())
            .collect()
    }

    /// The planes of a view: network, small, trim.
    fn planes(resampler: &mut Resampler, view: View<'_>) -> [Vec<u8>; 3] {
        let mut planes = [const { Vec::new() }; 3];
        resampler.network(view, &mut planes[0]).unwrap();
        resampler.small(view, &mut planes[1]).unwrap();
        resampler.trim(view, &mut planes[2]).unwrap();
        planes
    }

    /// Parts of a picture of many shapes, single pixels and single lines among them.
    fn parts(pixels: &Pixels) -> Vec<View<'_>> {
        let whole = View::whole(pixels);
        let (w, h) = (whole.width(), whole.height());
        let boxes = [
            (0, 0, w, h),
            (1, 1, w - 2, h - 2),
            (w / 3, h / 5, w / 2, h / 3),
            (7, 11, 63, 65),
            (3, 5, 64, 64),
            (w - 1, h - 1, 1, 1),
            (0, 0, 1, h),
            (0, h / 2, w, 1),
            (2, 3, 224, 50),
            (5, 5, 17, 13),
        ];
        boxes.iter().filter_map(|&(x, y, w, h)| whole.part(x, y, w, h)).collect()
    }

    #[test]
    fn every_processor_gives_the_same_bytes() {
        let mut plain = Resampler::new();
        // SAFETY: no extension at all is supported everywhere.
        #[allow(unsafe_code)]
        unsafe {
            plain.resizer.set_cpu_extensions(CpuExtensions::None);
        }
        let mut best = Resampler::new();
        let mut seen = 0;
        for pixels in &examples() {
            for view in parts(pixels) {
                assert_eq!(planes(&mut plain, view), planes(&mut best, view), "{view:?}");
                seen += 1;
            }
        }
        assert!(seen >= 140, "{seen}");
    }

    #[test]
    fn a_view_gives_the_planes_of_its_copy() {
        let mut resampler = Resampler::new();
        for pixels in &examples()[..3] {
            for view in parts(pixels) {
                let copy = view.to_pixels();
                let planes_of_copy = planes(&mut resampler, View::whole(&copy));
                assert_eq!(planes(&mut resampler, view), planes_of_copy, "{view:?}");
            }
        }
    }

    #[test]
    fn flat_colours_stay_as_they_are() {
        let mut resampler = Resampler::new();
        for (w, h) in [(1, 1), (100, 100), (2048, 3), (64, 64), (301, 1999)] {
            for colour in [[0, 0, 0], [255, 255, 255], [12, 128, 254]] {
                let pixels = Pixels::from_rgb8(w, h, colour.repeat((w * h) as usize)).unwrap();
                for plane in planes(&mut resampler, View::whole(&pixels)) {
                    assert!(plane.chunks_exact(3).all(|pixel| pixel == colour), "{w}x{h} {colour:?}");
                }
            }
        }
    }

    #[test]
    fn planes_have_their_size() {
        let pixels = Pixels::from_rgb8(2, 1, vec![9; 6]).unwrap();
        let lengths = planes(&mut Resampler::new(), View::whole(&pixels)).map(|plane| plane.len());
        assert_eq!(lengths, [224 * 224 * 3, 64 * 64 * 3, 128 * 128 * 3]);
    }
}
