//! A grid of orientation histograms.
//!
//! Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection" (CVPR 2005), without block normalisation.

use super::{Grey, SIDE};
use crate::features::math::line_angle;

/// Cells a side.
const CELLS: usize = 4;
/// Orientations, over half a turn.
const TURNS: usize = 8;
/// Values of the descriptor.
pub(in crate::features) const EDGE: usize = CELLS * CELLS * TURNS;

/// Square roots of the gradient magnitude by cell and orientation, `[4, 4, 8]` (row, column, orientation), of an
/// arbitrary scale.
///
/// Gradients are central differences, zero at the border; an orientation `angle / pi * 8` is shared by the two
/// bins around it, modulo 8.
pub(in crate::features) fn edges(grey: &Grey) -> Vec<f32> {
    let grey = &grey.0;
    let mut bins = [0.0_f64; EDGE];
    for y in 0..SIDE {
        for x in 0..SIDE {
            let inside = |v: usize| (1..SIDE - 1).contains(&v);
            let dx = if inside(x) { grey[y][x + 1] - grey[y][x - 1] } else { 0 };
            let dy = if inside(y) { grey[y + 1][x] - grey[y - 1][x] } else { 0 };
            let (dx, dy) = (f64::from(dx), f64::from(dy));
            let strength = (dx * dx + dy * dy).sqrt();
            let position = line_angle(dy, dx) / std::f64::consts::PI * TURNS as f64;
            let bin = position as usize;
            let part = position - bin as f64;
            let cell = (y * CELLS / SIDE * CELLS + x * CELLS / SIDE) * TURNS;
            bins[cell + bin % TURNS] += strength * (1.0 - part);
            bins[cell + (bin + 1) % TURNS] += strength * part;
        }
    }
    // Thousandths of luma and doubled distances, brought back to grey levels in 0..1; only tidiness.
    bins.iter().map(|bin| (bin / 510_000.0).sqrt() as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_has_one_orientation() {
        let right: Vec<u8> = (0..SIDE * SIDE).flat_map(|i| [(i % SIDE * 4) as u8; 3]).collect();
        let down: Vec<u8> = (0..SIDE * SIDE).flat_map(|i| [(i / SIDE * 4) as u8; 3]).collect();
        for (rgb, turn) in [(right, 0), (down, 4)] {
            let found = edges(&Grey::new(&rgb));
            for (i, value) in found.iter().enumerate() {
                assert_eq!(*value > 0.0, i % TURNS == turn, "{i}");
            }
        }
        assert!(edges(&Grey::new(&[7; SIDE * SIDE * 3])).iter().all(|v| *v == 0.0));
    }
}
