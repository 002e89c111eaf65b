//! PNG to RGB8, row by row: the only full-size buffer is the result.

use std::io::Cursor;

use ::png::{ColorType, DecodingError, Transformations};

use super::orient::Orientation;
use super::{PictureError, SizeLimits, check_sides, over_white};

/// What the decoder may allocate for metadata, in bytes. Rows are bounded by the sides.
const MAX_METADATA_BYTES: usize = 8 << 20;

/// First pixel and step of each Adam7 pass: x, y, step in x, step in y.
const PASSES: [(usize, usize, usize, usize); 7] =
    [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];

impl From<DecodingError> for PictureError {
    fn from(error: DecodingError) -> Self {
        Self::damaged(error)
    }
}

/// Decodes a PNG: width, height, RGB8 pixels and what to do to them to see them upright.
///
/// Every chunk up to the end chunk must be there, with a right checksum if it is critical.
pub(super) fn decode(
    bytes: &[u8],
    limits: &SizeLimits,
) -> Result<(u32, u32, Vec<u8>, Orientation), PictureError> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_limits(png::Limits { bytes: MAX_METADATA_BYTES });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // Palettes, tRNS and samples of 1, 2 and 4 bits become plain samples of 8 bits; 16 bits stay.
    decoder.set_transformations(Transformations::EXPAND);
    let (width, height) = decoder.read_header_info()?.size();
    check_sides(width, height, limits)?;
    let mut reader = decoder.read_info()?;
    // The decoder would panic on a palette that ends within a colour.
    let info = reader.info();
    let colours = info.palette.as_ref().map_or(0, |palette| palette.len());
    if info.color_type == ColorType::Indexed && (!colours.is_multiple_of(3) || !(3..=768).contains(&colours))
    {
        return Err(PictureError::damaged("PNG: bad palette"));
    }
    let (width_px, height_px) = (width as usize, height as usize);
    // The first frame of an animation covers the whole picture, or is the picture shown without animation.
    if reader.info().frame_control().is_some_and(|frame| (frame.width, frame.height) != (width, height)) {
        return Err(PictureError::damaged("PNG: the first frame does not cover the picture"));
    }
    let (colour, depth) = reader.output_color_type();
    let put = Put::new(colour, depth).ok_or_else(|| PictureError::damaged("PNG: bad colour type"))?;
    let mut rgb = vec![0u8; width_px * height_px * 3];
    if reader.info().interlaced {
        for (x0, y0, step_x, step_y) in PASSES {
            if x0 >= width_px {
                continue;
            }
            for y in (y0..height_px).step_by(step_y) {
                let row = reader.next_row()?.ok_or_else(cut)?;
                let out = rgb.chunks_exact_mut(width_px * 3).nth(y).unwrap_or_default();
                let pixels = out.as_chunks_mut::<3>().0;
                put.row(row.data(), pixels.iter_mut().skip(x0).step_by(step_x));
            }
        }
    } else {
        for out in rgb.chunks_exact_mut(width_px * 3) {
            let row = reader.next_row()?.ok_or_else(cut)?;
            put.row(row.data(), out.as_chunks_mut::<3>().0.iter_mut());
        }
    }
    reader.finish()?;
    let exif = reader.info().exif_metadata.as_deref();
    let orientation = exif.map_or(Orientation::Upright, Orientation::from_exif);
    Ok((width, height, rgb, orientation))
}

fn cut() -> PictureError {
    PictureError::damaged("PNG: a row is missing")
}

/// How the samples of a pixel become RGB8.
struct Put {
    channels: usize,
    wide: bool,
}

impl Put {
    fn new(colour: ColorType, depth: png::BitDepth) -> Option<Self> {
        let channels = match colour {
            ColorType::Grayscale => 1,
            ColorType::GrayscaleAlpha => 2,
            ColorType::Rgb => 3,
            ColorType::Rgba => 4,
            ColorType::Indexed => return None,
        };
        match depth {
            png::BitDepth::Eight => Some(Self { channels, wide: false }),
            png::BitDepth::Sixteen => Some(Self { channels, wide: true }),
            _ => None,
        }
    }

    /// Converts a row; `out` are the pixels it belongs to.
    fn row<'a>(&self, samples: &[u8], out: impl Iterator<Item = &'a mut [u8; 3]>) {
        match (self.channels, self.wide) {
            (1, false) => out.zip(samples).for_each(|(out, &grey)| *out = [grey; 3]),
            (2, false) => out.zip(samples.as_chunks::<2>().0).for_each(|(out, &[grey, alpha])| {
                *out = [over_white(grey, alpha); 3];
            }),
            (3, false) => out.zip(samples.as_chunks::<3>().0).for_each(|(out, rgb)| *out = *rgb),
            (4, false) => out.zip(samples.as_chunks::<4>().0).for_each(|(out, &[r, g, b, alpha])| {
                *out = [r, g, b].map(|value| over_white(value, alpha));
            }),
            (1, true) => out.zip(wide::<2, 1>(samples)).for_each(|(out, [grey])| *out = [narrow(grey); 3]),
            (2, true) => out.zip(wide::<4, 2>(samples)).for_each(|(out, [grey, alpha])| {
                *out = [wide_over_white(grey, alpha); 3];
            }),
            (3, true) => out.zip(wide::<6, 3>(samples)).for_each(|(out, rgb)| *out = rgb.map(narrow)),
            _ => out.zip(wide::<8, 4>(samples)).for_each(|(out, [r, g, b, alpha])| {
                *out = [r, g, b].map(|value| wide_over_white(value, alpha));
            }),
        }
    }
}

/// Pixels of `N` samples of 16 bits, `B = 2 * N` bytes.
fn wide<const B: usize, const N: usize>(samples: &[u8]) -> impl Iterator<Item = [u16; N]> {
    samples.as_chunks::<B>().0.iter().map(|pixel| {
        let mut values = [0; N];
        for (value, pair) in values.iter_mut().zip(pixel.as_chunks::<2>().0) {
            *value = u16::from_be_bytes(*pair);
        }
        values
    })
}

/// 16 bits to 8: the nearest of the 256 levels `0, 257, 514, ..., 65535`.
fn narrow(value: u16) -> u8 {
    ((u32::from(value) * 255 + 32_767) / 65_535) as u8
}

/// Like [`over_white`] for 16-bit samples, rounded once, at the end.
fn wide_over_white(value: u16, alpha: u16) -> u8 {
    const MAX: u64 = 65_535;
    let (value, alpha) = (u64::from(value), u64::from(alpha));
    let blend = value * alpha + MAX * (MAX - alpha);
    ((blend * 255 + MAX * MAX / 2) / (MAX * MAX)) as u8
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn rounds_16_bits_to_the_nearest_level() {
        for value in 0..=u16::MAX {
            let exact = f64::from(value) / 257.0;
            assert!((f64::from(narrow(value)) - exact).abs() <= 0.5, "{value}");
            assert_eq!(wide_over_white(value, u16::MAX), narrow(value));
            assert_eq!(wide_over_white(value, 0), 255);
        }
    }

    #[test]
    fn lays_transparency_over_white() {
        for value in 0..=255u8 {
            for alpha in 0..=255u8 {
                let exact =
                    (f64::from(value) * f64::from(alpha) + 255.0 * (255.0 - f64::from(alpha))) / 255.0;
                assert!((f64::from(over_white(value, alpha)) - exact).abs() <= 0.5);
                let wide = wide_over_white(u16::from(value) * 257, u16::from(alpha) * 257);
                assert_eq!(wide, over_white(value, alpha));
            }
        }
    }
}
