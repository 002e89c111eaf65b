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
#[allow(clippy::indexing_slicing, reason = "an encoder for tests")]
#[path = "../tests/fixtures/encode.rs"]
mod encode;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::path::Path;

    use fast_image_resize::CpuExtensions;

    use super::*;
    use crate::features::{CommonSearch, Embedder};
    use crate::image::{Pixels, SizeLimits, decode};
    use crate::region::{Picture, Region};

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

    /// A picture enlarged, sharpened by grain of a fixed seed, as a JPEG.
    fn large_jpeg(pixels: &Pixels, width: u32, height: u32) -> Vec<u8> {
        let source =
            ImageRef::new(pixels.width(), pixels.height(), pixels.as_rgb8(), PixelType::U8x3).unwrap();
        let mut rgb = vec![0; width as usize * height as usize * 3];
        let mut large = Image::from_slice_u8(width, height, &mut rgb, PixelType::U8x3).unwrap();
        let filter = ResizeAlg::Convolution(FilterType::Lanczos3);
        let options = ResizeOptions::new().resize_alg(filter).use_alpha(false);
        Resizer::new().resize(&source, &mut large, &options).unwrap();
        let mut state = 1u32;
        for pixel in rgb.as_chunks_mut::<3>().0 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let grain = (state >> 24) as i16 / 16 - 8;
            *pixel = pixel.map(|value| (i16::from(value) + grain).clamp(0, 255) as u8);
        }
        encode::jpeg_420(width as usize, height as usize, &rgb, 88)
    }

    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    /// What decoding for `target_px` changes: cosines of the two blocks, bits of the hash, largest mean difference of a
    /// plane in levels.
    fn change(bytes: &[u8], region: Option<&Region>, target_px: u32) -> (f64, f64, u32, f64) {
        let limits = SizeLimits::any();
        let full = Picture::decode(bytes, &limits, region, None).unwrap();
        let scaled = Picture::decode(bytes, &limits, region, Some(target_px)).unwrap();
        let (full, scaled) = (full.view().unwrap(), scaled.view().unwrap());
        let mut resampler = Resampler::new();
        let mut worst = 0.0f64;
        for (a, b) in planes(&mut resampler, full).iter().zip(&planes(&mut resampler, scaled)) {
            let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            worst = worst.max(sum as f64 / a.len() as f64);
        }
        let model = CommonSearch::new();
        let (a, b) = (model.embed(full).unwrap(), model.embed(scaled).unwrap());
        let bits = a.hash.unwrap().iter().zip(b.hash.unwrap()).map(|(a, b)| (a ^ b).count_ones()).sum();
        let (s, c) = (cosine(&a.vector[..160], &b.vector[..160]), cosine(&a.vector[160..], &b.vector[160..]));
        println!("{:?} {:?} {s:.5} {c:.5} {bits} {worst:.2}", full.pixels(), scaled.pixels());
        (s, c, bits, worst)
    }

    #[test]
    fn decoding_shrunk_changes_little() {
        let examples = examples();
        let (mut s, mut c, mut bits, mut level) = (1.0f64, 1.0f64, 0, 0.0f64);
        for (index, pixels) in examples.iter().enumerate() {
            let (width, height) = [(1280, 960), (901, 1200), (2048, 1536)][index % 3];
            let bytes = large_jpeg(pixels, width, height);
            let region = (index % 5 == 2).then(|| Region::new(100, 50, 1013, 900));
            let got = change(&bytes, region.as_ref().filter(|_| width > 1200), NETWORK_SIDE_PX);
            (s, c, bits, level) = (s.min(got.0), c.min(got.1), bits.max(got.2), level.max(got.3));
        }
        println!("worst: S {s:.5} C {c:.5} hash {bits} plane {level:.2}");
        assert!(
            s >= 0.995 && c >= 0.995 && bits <= 8 && level <= 4.0,
            "S {s} C {c} hash {bits} plane {level}"
        );
    }

    /// With LOOKALIKE_LIST = a file of JPEG paths, one a line, and LOOKALIKE_TARGET = pixels.
    #[test]
    #[ignore = "a tool for evaluations"]
    fn changes_of_a_list() {
        let list = std::fs::read_to_string(std::env::var_os("LOOKALIKE_LIST").unwrap()).unwrap();
        let target: u32 = std::env::var("LOOKALIKE_TARGET").unwrap().parse().unwrap();
        let all: Vec<_> = list.lines().map(|f| change(&std::fs::read(f).unwrap(), None, target)).collect();
        let mean =
            |value: fn(&(f64, f64, u32, f64)) -> f64| all.iter().map(value).sum::<f64>() / all.len() as f64;
        println!(
            "mean: S {:.5} C {:.5} hash {:.2} plane {:.2}",
            mean(|v| v.0),
            mean(|v| v.1),
            mean(|v| v.2.into()),
            mean(|v| v.3)
        );
    }
}
