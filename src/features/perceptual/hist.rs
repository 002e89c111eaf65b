//! A soft colour histogram in CIE Lab.

use std::array::from_fn;

use super::{PLANE_BYTES, SIDE};
use crate::features::math::{cbrts, pow_2_4};

/// Bins of lightness, of a and of b.
const BINS: [usize; 3] = [4, 6, 6];
/// What the bins of each axis span: L in `0..=100`, a and b in `-60..=60`.
const SPAN: [(f64, f64); 3] = [(0.0, 100.0), (-60.0, 60.0), (-60.0, 60.0)];
/// Side of the plane the histogram is made of: pixels are means of 2 x 2.
const HALF: usize = SIDE / 2;
/// Values of the histogram.
pub(in crate::features) const HIST: usize = BINS[0] * BINS[1] * BINS[2];

/// Linear sRGB to XYZ (IEC 61966-2-1), each row divided by the D65 white `(0.95047, 1, 1.08883)`.
const XYZ: [[f64; 3]; 3] = [
    [0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047],
    [0.212671, 0.715160, 0.072169],
    [0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883],
];

/// Makes histograms; holds the table from sums of four bytes to linear light.
#[derive(Debug)]
pub(in crate::features) struct Histogram {
    linear: Vec<f64>,
}

impl Histogram {
    /// Fills the table: sRGB's curve (IEC 61966-2-1) at every quarter of a byte.
    pub(in crate::features) fn new() -> Self {
        let curve = |sum: u32| {
            let c = f64::from(sum) / 1020.0;
            if c <= 0.04045 { c / 12.92 } else { pow_2_4((c + 0.055) / 1.055) }
        };
        Self { linear: (0..=1020).map(curve).collect() }
    }

    /// Square roots of the shares of the bins `[4, 6, 6]` of L, a and b; `rgb` is `[64, 64, 3]`.
    ///
    /// Pixels are means of 2 x 2. A pixel lies at `(v - lo) / (hi - lo) * n - 0.5`, clamped to `0..=n - 1`, on each
    /// axis and is shared by the two bins around it; eight bins in all. The square root makes the dot product of two
    /// histograms the Bhattacharyya coefficient.
    pub(in crate::features) fn of(&self, rgb: &[u8]) -> Vec<f32> {
        assert_eq!(rgb.len(), PLANE_BYTES);
        let mut bins = [0.0_f64; HIST];
        for y in (0..SIDE).step_by(2) {
            let linear: [[f64; HALF]; 3] = from_fn(|c| {
                from_fn(|x| {
                    let at = |dy: usize, dx: usize| usize::from(rgb[((y + dy) * SIDE + 2 * x + dx) * 3 + c]);
                    self.linear[at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)]
                })
            });
            let [l, a, b] = lab(&linear);
            for ((l, a), b) in l.into_iter().zip(a).zip(b) {
                let [l, a, b] = [share(l, 0), share(a, 1), share(b, 2)];
                for (l, l_part) in l {
                    for (a, a_part) in a {
                        for (b, b_part) in b {
                            bins[(l * BINS[1] + a) * BINS[2] + b] += l_part * a_part * b_part;
                        }
                    }
                }
            }
        }
        let pixels = (SIDE * SIDE / 4) as f64;
        bins.iter().map(|bin| (bin / pixels).sqrt() as f32).collect()
    }
}

/// CIE Lab of linear sRGB (CIE 15:2004, section 8.2.1), planes of `N` pixels.
fn lab<const N: usize>(linear: &[[f64; N]; 3]) -> [[f64; N]; 3] {
    const KNEE: f64 = (6.0 / 29.0) * (6.0 / 29.0) * (6.0 / 29.0);
    const SLOPE: f64 = (29.0 / 6.0) * (29.0 / 6.0) / 3.0;
    let [x, y, z] = XYZ.map(|row| {
        let t: [f64; N] = from_fn(|i| row[0] * linear[0][i] + row[1] * linear[1][i] + row[2] * linear[2][i]);
        let mut roots = t;
        cbrts(&mut roots);
        from_fn(|i| if t[i] > KNEE { roots[i] } else { t[i] * SLOPE + 4.0 / 29.0 })
    });
    [
        y.map(|y| 116.0 * y - 16.0),
        from_fn(|i: usize| 500.0 * (x[i] - y[i])),
        from_fn(|i: usize| 200.0 * (y[i] - z[i])),
    ]
}

/// The two bins of an axis that share `value`, and their parts, which sum to 1.
fn share(value: f64, axis: usize) -> [(usize, f64); 2] {
    let (n, (low, high)) = (BINS[axis], SPAN[axis]);
    let position = ((value - low) / (high - low) * n as f64 - 0.5).clamp(0.0, (n - 1) as f64);
    let bin = position as usize;
    let part = position - bin as f64;
    [(bin, 1.0 - part), ((bin + 1).min(n - 1), part)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lab_of_known_colours() {
        let table = Histogram::new();
        let of = |rgb: [usize; 3]| lab(&rgb.map(|v| [table.linear[v * 4]])).map(|[v]| v);
        // Lindbloom's calculator for sRGB and D65, to its two decimals.
        let known = [
            ([255, 0, 0], [53.24, 80.09, 67.20]),
            ([0, 0, 255], [32.30, 79.19, -107.86]),
            ([255; 3], [100.0, 0.0, 0.0]),
        ];
        for (rgb, want) in known {
            for (have, want) in of(rgb).iter().zip(want) {
                assert!((have - want).abs() < 0.02, "{rgb:?}: {have} {want}");
            }
        }
        assert!(of([0; 3]).iter().all(|v| v.abs() < 1e-12));
    }

    #[test]
    fn shares_of_a_plane_sum_to_one() {
        let rgb: Vec<u8> = (0..PLANE_BYTES).map(|i| (i * i % 251) as u8).collect();
        let total: f32 = Histogram::new().of(&rgb).iter().map(|v| v * v).sum();
        assert!((total - 1.0).abs() < 1e-5);
        assert_eq!(Histogram::new().of(&vec![0; PLANE_BYTES]).iter().filter(|v| **v > 0.0).count(), 4);
    }
}
