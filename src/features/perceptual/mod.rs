//! What the network is blind to: colour, exact structure, and a hash of the picture; all from a 64 x 64 plane.
//!
//! Everything here is integers, or additions, multiplications, divisions and square roots in a fixed order: the
//! same plane gives the same bits on every machine.

mod edge;
mod hash;
mod hist;
mod quality;
mod trim;

pub(super) use edge::{EDGE, edges};
pub(super) use hash::Spectrum;
pub(super) use hist::{HIST, Histogram};
pub(super) use trim::content_box;

/// Side of the plane, in pixels.
const SIDE: usize = 64;
/// Bytes of the plane: `[64, 64, 3]`.
pub(super) const PLANE_BYTES: usize = SIDE * SIDE * 3;

/// Thousandths of luma in `0..=255_000`, `[64, 64]`: .299 red, .587 green, .114 blue (ITU-R BT.601, section 2.5.1).
#[derive(Debug)]
pub(super) struct Grey(Box<[[i32; SIDE]; SIDE]>);

impl Grey {
    /// `rgb` is `[64, 64, 3]`.
    pub(super) fn new(rgb: &[u8]) -> Self {
        assert_eq!(rgb.len(), PLANE_BYTES);
        let mut grey = Box::new([[0; SIDE]; SIDE]);
        for (to, pixel) in grey.as_flattened_mut().iter_mut().zip(rgb.as_chunks::<3>().0) {
            let [r, g, b] = pixel.map(i32::from);
            *to = 299 * r + 587 * g + 114 * b;
        }
        Self(grey)
    }
}
