//! The first convolution: windows of 3 x 3 RGB bytes are laid side by side and multiplied as positions.

use super::{Kernel, Output, Pointwise, Rounding, Window};

/// Side of the window.
const SIDE: usize = 3;
/// Bytes of one row of a window.
const ROW: usize = SIDE * 3;
/// Inputs of one position: the 27 bytes of a window, and what lies behind them, at weight zero.
const INPUTS: usize = 32;
/// What a window's row is copied as; the rows are copied in order, so what is too much is overwritten.
const COPIED: usize = 16;
/// Output rows whose windows are laid out together: 8 x 112 x 32 bytes stay in the second cache.
const STRIP: usize = 8;

/// A full 3 x 3 convolution of an RGB picture; outputs are clamped to `0..=255`.
#[derive(Debug)]
pub(crate) struct Stem {
    window: Window,
    /// What lies outside the picture.
    border: u8,
    conv: Pointwise,
}

/// What a pass writes over and over.
#[derive(Debug, Default)]
pub(crate) struct StemScratch {
    /// The picture with its border.
    picture: Vec<u8>,
    windows: Vec<u8>,
}

impl Stem {
    /// `codes` are `[outs, 3, 3, 3]`: row, column, channel.
    pub(crate) fn new(kernel: Kernel, window: Window, border: u8, codes: &[i8], rounding: Rounding) -> Self {
        assert!(window.kernel == SIDE && codes.len() == rounding.bias.len() * SIDE * ROW);
        let mut wide = Vec::new();
        for row in codes.chunks_exact(SIDE * ROW) {
            wide.extend_from_slice(row);
            wide.extend([0; INPUTS - SIDE * ROW]);
        }
        Self { window, border, conv: Pointwise::new(kernel, INPUTS, &wide, rounding) }
    }

    /// Length of the output.
    pub(crate) fn outputs(&self) -> usize {
        self.conv.outputs(self.window.out_side * self.window.out_side * INPUTS)
    }

    /// `picture` is `[in_side, in_side, 3]`, `output` `[out_side, out_side, outs]`.
    pub(crate) fn run(
        &self,
        picture: &[u8],
        output: &mut [u8],
        scratch: &mut StemScratch,
        wide: &mut Vec<i16>,
    ) {
        let Window { stride, in_side, out_side, pad, .. } = self.window;
        assert_eq!(picture.len(), in_side * in_side * 3);
        let side = ((out_side - 1) * stride + SIDE).max(in_side + pad);
        scratch.picture.clear();
        scratch.picture.resize(side * side * 3 + COPIED, self.border);
        for (row, from) in picture.chunks_exact(in_side * 3).enumerate() {
            let at = ((row + pad) * side + pad) * 3;
            scratch.picture[at..at + from.len()].copy_from_slice(from);
        }
        let outs = output.len() / (out_side * out_side);
        for (s, output) in output.chunks_mut(STRIP * out_side * outs).enumerate() {
            let positions = output.len() / outs;
            scratch.windows.resize(STRIP * out_side * INPUTS, 0);
            let windows = &mut scratch.windows[..positions * INPUTS];
            for (i, window) in windows.as_chunks_mut::<INPUTS>().0.iter_mut().enumerate() {
                let (y, x) = (s * STRIP + i / out_side, i % out_side);
                for row in 0..SIDE {
                    let from = ((y * stride + row) * side + x * stride) * 3;
                    let len = COPIED.min(INPUTS - row * ROW);
                    window[row * ROW..row * ROW + len].copy_from_slice(&scratch.picture[from..from + len]);
                }
            }
            self.conv.run(windows, Output::Bytes(output), wide);
        }
    }
}
