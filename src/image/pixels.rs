//! Upright RGB pixels, checked on construction.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An upright picture: `height` rows of `width` RGB pixels of 8 bits each, row-major, without padding.
///
/// Kept and sent (serde) as its fields `width`, `height` and `rgb`; what does not fit together is refused when it is read.
///
/// ```
/// use lookalike::Pixels;
///
/// // Two rows of three pixels: a red column, a green one, a blue one.
/// let rgb = [[200, 0, 0], [0, 200, 0], [0, 0, 200]].concat().repeat(2);
/// let pixels = Pixels::from_rgb8(3, 2, rgb)?;
/// assert_eq!((pixels.width(), pixels.height()), (3, 2));
/// assert_eq!(pixels.as_rgb8()[3..6], [0, 200, 0]);
///
/// let refused = Pixels::from_rgb8(3, 2, vec![0; 17]).unwrap_err();
/// assert_eq!(refused.to_string(), "3 x 2 RGB pixels do not fill 17 bytes");
/// # Ok::<(), lookalike::PixelsError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Pixels {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

/// What somebody says that pixels are.
#[derive(Deserialize)]
struct Unchecked {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl TryFrom<Unchecked> for Pixels {
    type Error = PixelsError;

    fn try_from(given: Unchecked) -> Result<Self, PixelsError> {
        Self::from_rgb8(given.width, given.height, given.rgb)
    }
}

/// The bytes given to [`Pixels::from_rgb8`] are not `width * height * 3`, or a side is zero.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{width} x {height} RGB pixels do not fill {len} bytes")]
pub struct PixelsError {
    width: u32,
    height: u32,
    len: usize,
}

impl Pixels {
    /// Wraps `rgb`, `height` rows of `width` pixels of three bytes (red, green, blue).
    ///
    /// # Errors
    /// [`PixelsError`] when a side is zero or `rgb` is not exactly `width * height * 3` bytes long.
    pub fn from_rgb8(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, PixelsError> {
        let want = u64::from(width).checked_mul(u64::from(height)).and_then(|n| n.checked_mul(3));
        if width == 0 || height == 0 || want != Some(rgb.len() as u64) {
            return Err(PixelsError { width, height, len: rgb.len() });
        }
        Ok(Self { width, height, rgb })
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels, row-major, three bytes each.
    pub fn as_rgb8(&self) -> &[u8] {
        &self.rgb
    }
}

impl std::fmt::Debug for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pixels({} x {})", self.width, self.height)
    }
}
