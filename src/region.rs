//! Boxes inside a picture: integers, checked arithmetic, and the only maker of crops.

use crate::image::Pixels;

/// A part of a picture that is known to lie inside it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pixels: &'a Pixels,
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

impl<'a> View<'a> {
    /// The whole picture.
    pub fn whole(pixels: &'a Pixels) -> Self {
        Self { pixels, left: 0, top: 0, width: pixels.width(), height: pixels.height() }
    }
}
