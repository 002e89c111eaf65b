//! Picture bytes to upright RGB pixels. The only place that names the `image` crate.

mod pixels;

pub use pixels::{Pixels, PixelsError};
