//! How much of a JPEG is turned into samples: at which size, and which blocks. All of it is decoded, and so
//! checked, all the same.

use super::super::part::{Part, shrink_ratio};
use super::{Component, Frame};

/// Blocks of a component, from the first to before the last on each axis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) x0: usize,
    pub(super) x1: usize,
    pub(super) y0: usize,
    pub(super) y1: usize,
}

/// What is made of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// The picture is shrunk 8 times by the number of samples that the side of a block yields: 1, 2, 4 or 8.
    pub(super) size: usize,
    /// What is shown, in pixels of the shrunk picture as it is stored.
    pub(super) shown: Part,
    /// Where the samples that are made begin, in the same pixels.
    pub(super) left: usize,
    pub(super) top: usize,
}

/// Sets what the components of `frame` make so that `part` of the stored picture can be shown for a target of
/// `target_px`.
///
/// A margin of an MCU around the part gives the filters of [`upsample`](super::upsample) the neighbours they have in
/// the whole picture.
pub(super) fn plan(frame: &mut Frame, part: Part, target_px: Option<u32>) -> Plan {
    let ratio = shrink_ratio(part, target_px);
    let shown = part.shrunk(ratio);
    let size = 8 / ratio as usize;
    let around = |start: u32, length: u32, unit: usize, count: usize| {
        let (start, end) = (start as usize, (start + length) as usize);
        ((start / unit).saturating_sub(1), (end.div_ceil(unit) + 1).min(count))
    };
    let (x0, x1) = around(shown.left, shown.width, frame.h_max * size, frame.mcus_x);
    let (y0, y1) = around(shown.top, shown.height, frame.v_max * size, frame.mcus_y);
    let (width, height, h_max, v_max) = (frame.width, frame.height, frame.h_max, frame.v_max);
    for component in &mut frame.components {
        let Component { h, v, .. } = *component;
        // A component that is stored at less than the size of the picture need not be shrunk as much: so its samples
        // are transformed to their places and not spread.
        component.size = size;
        while component.size < 8
            && (h_max * size).is_multiple_of(h * component.size * 2)
            && (v_max * size).is_multiple_of(v * component.size * 2)
        {
            component.size *= 2;
        }
        component.width = (width * h * component.size).div_ceil(h_max * 8);
        component.height = (height * v * component.size).div_ceil(v_max * 8);
        component.kept = Kept { x0: x0 * h, x1: x1 * h, y0: y0 * v, y1: y1 * v };
    }
    Plan { size, shown, left: x0 * h_max * size, top: y0 * v_max * size }
}
