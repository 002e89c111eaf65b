//! BMP to RGB8, by the `image` crate.

use std::io::Cursor;

use ::image::codecs::bmp::BmpDecoder;
use ::image::{ColorType, ImageDecoder, ImageError};

use super::orient::Orientation;
use super::{PictureError, SizeLimits, check_sides, over_white};

impl From<ImageError> for PictureError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Unsupported(_) => Self::unsupported(error),
            _ => Self::damaged(error),
        }
    }
}

/// Decodes a BMP: width, height, RGB8 pixels (a BMP has no orientation).
pub(super) fn decode(
    bytes: &[u8],
    limits: &SizeLimits,
) -> Result<(u32, u32, Vec<u8>, Orientation), PictureError> {
    let decoder = BmpDecoder::new(Cursor::new(bytes))?;
    let (width, height) = decoder.dimensions();
    check_sides(width, height, limits)?;
    let length = width as usize * height as usize;
    let rgb = match decoder.color_type() {
        ColorType::Rgb8 => {
            let mut rgb = vec![0; length * 3];
            decoder.read_image(&mut rgb)?;
            rgb
        }
        ColorType::Rgba8 => {
            let mut rgba = vec![0; length * 4];
            decoder.read_image(&mut rgba)?;
            let pixels = rgba.as_chunks::<4>().0;
            // Many programs leave the fourth byte at zero and mean an opaque picture.
            let opaque = pixels.iter().all(|pixel| pixel[3] == 0);
            let mut rgb = Vec::with_capacity(length * 3);
            for &[r, g, b, alpha] in pixels {
                let alpha = if opaque { 255 } else { alpha };
                rgb.extend([r, g, b].map(|value| over_white(value, alpha)));
            }
            rgb
        }
        other => return Err(PictureError::unsupported(format_args!("BMP: {other:?}"))),
    };
    Ok((width, height, rgb, Orientation::Upright))
}
