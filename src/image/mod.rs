//! Picture bytes to upright RGB8 pixels. The only place that names a decoder crate.
//!
//! Order of the checks: length of the file, format by content, sides from the header (too big first, then too
//! small), and only then pixels. Until the sides are known nothing is allocated that depends on the file.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]

mod bmp;
mod jpeg;
mod orient;
mod part;
mod pixels;
mod png;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{MAX_ANY_SIDE_PX, MAX_ENCODED_BYTES, MAX_SIDE_PX, MIN_SIDE_PX};
pub(crate) use part::{Decoded, Part, Wish};
pub use pixels::{Pixels, PixelsError};

/// What pictures are accepted, by their sides and the length of their file.
///
/// ```
/// use lookalike::SizeLimits;
///
/// let service = SizeLimits::default();
/// assert_eq!((service.min_side_px, service.max_side_px), (100, 2048));
/// let larger = SizeLimits { max_side_px: 4096, ..service };
/// assert!(larger.max_side_px < SizeLimits::any().max_side_px);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeLimits {
    /// Shortest allowed side, in pixels (IS.2107); 0 means 1.
    pub min_side_px: u32,
    /// Longest allowed side, in pixels (IS.2106); [`MAX_ANY_SIDE_PX`] holds as well, whatever stands here.
    pub max_side_px: u32,
    /// Largest allowed file, in bytes (IS.2106).
    pub max_encoded_bytes: usize,
}

impl Default for SizeLimits {
    /// The limits of the ImageSearch service: sides of 100 to 2048 pixels, files of 34 MiB.
    fn default() -> Self {
        Self { min_side_px: MIN_SIDE_PX, max_side_px: MAX_SIDE_PX, max_encoded_bytes: MAX_ENCODED_BYTES }
    }
}

impl SizeLimits {
    /// The widest limits there are: sides of 1 to [`MAX_ANY_SIDE_PX`] pixels, and files in proportion.
    ///
    /// A picture of the largest size takes some 400 MB while it is decoded.
    pub const fn any() -> Self {
        let ratio = (MAX_ANY_SIDE_PX / MAX_SIDE_PX) as usize;
        Self {
            min_side_px: 1,
            max_side_px: MAX_ANY_SIDE_PX,
            max_encoded_bytes: MAX_ENCODED_BYTES * ratio * ratio,
        }
    }

    fn max_side(&self) -> u32 {
        self.max_side_px.min(MAX_ANY_SIDE_PX)
    }

    fn min_side(&self) -> u32 {
        self.min_side_px.max(1)
    }
}

/// Why bytes are no picture to the library. The code of each is picked in `error.rs`.
#[derive(Debug, Error)]
pub(crate) enum PictureError {
    /// IS.2106.
    #[error("a file of {bytes} bytes is longer than {max}")]
    TooManyBytes { bytes: usize, max: usize },
    /// IS.2001.
    #[error("neither JPEG, PNG nor BMP, or of a kind that is not supported{0}")]
    UnsupportedFormat(Detail),
    /// IS.2106.
    #[error("{width} x {height} pixels are too many: no side may be longer than {max}")]
    TooLarge { width: u32, height: u32, max: u32 },
    /// IS.2107.
    #[error("{width} x {height} pixels are too few: no side may be shorter than {min}")]
    TooSmall { width: u32, height: u32, min: u32 },
    /// IS.2002.
    #[error("the picture is damaged")]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What of a known format is not supported; empty if the format itself is not known.
#[derive(Debug, Default)]
pub(crate) struct Detail(Option<String>);

impl std::fmt::Display for Detail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_deref().map_or(Ok(()), |detail| write!(f, " ({detail})"))
    }
}

impl PictureError {
    fn damaged(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Damaged(source.into())
    }

    fn unsupported(detail: impl std::fmt::Display) -> Self {
        Self::UnsupportedFormat(Detail(Some(detail.to_string())))
    }
}

impl From<jpeg::JpegError> for PictureError {
    fn from(error: jpeg::JpegError) -> Self {
        match error {
            jpeg::JpegError::Unsupported(_) => Self::unsupported(error),
            jpeg::JpegError::Damaged(_) => Self::damaged(error),
        }
    }
}

/// The formats that are read, told apart by their first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Jpeg,
    Png,
    Bmp,
}

impl Format {
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\xFF\xD8\xFF") {
            return Some(Self::Jpeg);
        }
        if bytes.starts_with(b"\x89PNG\r\n\x1A\n") {
            return Some(Self::Png);
        }
        // Two letters are too few to tell: the length of the second header must be one of those in use.
        let header = bytes.strip_prefix(b"BM")?.get(12..16)?;
        matches!(header, [12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]).then_some(Self::Bmp)
    }
}

/// Checks the sides of a picture: of a file's header, or of [`Pixels`] that a host hands over.
pub(crate) fn check_sides(width: u32, height: u32, limits: &SizeLimits) -> Result<(), PictureError> {
    let (max, min) = (limits.max_side(), limits.min_side());
    if width.max(height) > max {
        return Err(PictureError::TooLarge { width, height, max });
    }
    if width.min(height) < min {
        return Err(PictureError::TooSmall { width, height, min });
    }
    Ok(())
}

/// Decodes a JPEG, PNG or BMP file to upright RGB8 pixels.
///
/// Transparency is laid over white, 16-bit samples are rounded to 8, colour profiles are ignored, an EXIF
/// orientation is applied. Of an animation the first frame is taken.
///
/// Deterministic: integer arithmetic, the same on every machine. A panic of a decoder is caught and reported
/// as [`PictureError::Damaged`].
pub(crate) fn decode(bytes: &[u8], limits: &SizeLimits) -> Result<Pixels, PictureError> {
    let whole = |width, height| Some(Part::whole(width, height));
    let decoded = decode_for(bytes, limits, Wish { target_px: None, part: &whole })?;
    // A wish for all of it is granted.
    decoded.map(|decoded| decoded.pixels).ok_or_else(|| PictureError::damaged("no pixels"))
}

/// Like [`decode`], but only as far as `wish` asks for pixels: `None` if it asks for none. The file is read to its
/// end and checked all the same.
///
/// With a target the pixels of a JPEG are those of the part alone, and perhaps shrunk; else they are the whole
/// picture's, in full.
pub(crate) fn decode_for(
    bytes: &[u8],
    limits: &SizeLimits,
    wish: Wish<'_>,
) -> Result<Option<Decoded>, PictureError> {
    if bytes.len() > limits.max_encoded_bytes {
        return Err(PictureError::TooManyBytes { bytes: bytes.len(), max: limits.max_encoded_bytes });
    }
    let format = Format::of(bytes).ok_or(PictureError::UnsupportedFormat(Detail::default()))?;
    fence(|| decode_format(format, bytes, limits, wish))
}

fn decode_format(
    format: Format,
    bytes: &[u8],
    limits: &SizeLimits,
    wish: Wish<'_>,
) -> Result<Option<Decoded>, PictureError> {
    let (width, height, rgb, orientation) = match format {
        Format::Jpeg if wish.target_px.is_some() => {
            let Some(stored) = jpeg::decode(bytes, limits, wish)? else { return Ok(None) };
            let pixels = Pixels::from_rgb8(stored.width, stored.height, stored.rgb);
            let pixels = stored.orientation.apply(pixels.map_err(PictureError::damaged)?);
            let part = Part::whole(pixels.width(), pixels.height());
            return Ok(Some(Decoded { pixels, part }));
        }
        Format::Jpeg => {
            let whole = |width, height| Some(Part::whole(width, height));
            let stored = jpeg::decode(bytes, limits, Wish { target_px: None, part: &whole })?;
            let stored = stored.ok_or_else(|| PictureError::damaged("no pixels"))?;
            (stored.width, stored.height, stored.rgb, stored.orientation)
        }
        Format::Png => png::decode(bytes, limits)?,
        Format::Bmp => bmp::decode(bytes, limits)?,
    };
    let pixels = orientation.apply(Pixels::from_rgb8(width, height, rgb).map_err(PictureError::damaged)?);
    let part = (wish.part)(pixels.width(), pixels.height());
    Ok(part.map(|part| Decoded { pixels, part }))
}

/// Runs a decoder; a panic in it is the picture's fault.
fn fence<T>(decoder: impl FnOnce() -> Result<T, PictureError>) -> Result<T, PictureError> {
    // Nothing outlives the closure but its result, so no broken state can be seen afterwards.
    catch_unwind(AssertUnwindSafe(decoder))
        .unwrap_or_else(|_| Err(PictureError::damaged("the decoder panicked")))
}

/// `value` of `alpha` over white, all of 8 bits, rounded to nearest.
fn over_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests;
