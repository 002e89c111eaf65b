//! Decoding as hosts need it: for their own models, and to place boxes.

use crate::error::{Error, Operation, Result};
use crate::image::{self, Pixels, SizeLimits};

impl Pixels {
    /// Decodes a JPEG, PNG or BMP file to upright pixels, as the library itself does: told apart by content,
    /// EXIF orientation applied, transparency laid over white, 16 bits rounded to 8, colour profiles ignored.
    ///
    /// The sides of the result are what a [`Region`](crate::Region) is placed in.
    ///
    /// # Errors
    /// IS.2106, IS.2107 for the limits, IS.2001 for the format, IS.2002 for damage.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lookalike::{Pixels, SizeLimits};
    /// let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// let pixels = Pixels::decode(&file, &SizeLimits::default())?;
    /// assert_eq!((pixels.width(), pixels.height()), (451, 300));
    /// assert!(Pixels::decode(&file[..1000], &SizeLimits::default()).is_err());
    /// # Ok(()) }
    /// ```
    pub fn decode(bytes: &[u8], limits: &SizeLimits) -> Result<Self> {
        image::decode(bytes, limits).map_err(|error| Error::new(Operation::Decode, error))
    }
}
