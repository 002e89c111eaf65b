//! A perceptual hash of 256 bits, and the hashes the picture would have turned and mirrored.
//!
//! The signs of low DCT coefficients about their median, as in Meta's PDQ ("The TMK+PDQF Video-Hashing Algorithm and
//! the PDQ Image-Hashing Algorithm", 2019). All in exact integers: a plane that is mirrored or turned has exactly the
//! hash that is derived here from the plane itself.

use std::array::from_fn;

use super::{Grey, SIDE};

/// Coefficients 1 to 16 along each axis.
const KEPT: usize = 16;

/// `round(65536 cos(pi m / 128))` for `m` in `0..=64`. Sixteen bits: sums of 64 x 64 products of a luma below
/// 2^18 and two of these stay below 2^61.
#[rustfmt::skip]
const COSINE: [i64; 65] = [
    65536, 65516, 65457, 65358, 65220, 65043, 64827, 64571, 64277, 63944, 63572, 63162, 62714,
    62228, 61705, 61145, 60547, 59914, 59244, 58538, 57798, 57022, 56212, 55368, 54491, 53581,
    52639, 51665, 50660, 49624, 48559, 47464, 46341, 45190, 44011, 42806, 41576, 40320, 39040,
    37736, 36410, 35062, 33692, 32303, 30893, 29466, 28020, 26558, 25080, 23586, 22078, 20557,
    19024, 17479, 15924, 14359, 12785, 11204, 9616, 8022, 6424, 4821, 3216, 1608, 0,
];

/// `65536 cos(pi m / 128)` for any `m`.
fn cosine(m: usize) -> i64 {
    match m % 256 {
        m @ 0..=64 => COSINE[m],
        m @ 65..=128 => -COSINE[128 - m],
        m @ 129..=192 => -COSINE[m - 128],
        m => COSINE[256 - m],
    }
}

/// The coefficients of the hash, `[16, 16]`: row = vertical frequency from 1, column = horizontal frequency from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::features) struct Spectrum([[i64; KEPT]; KEPT]);

impl Spectrum {
    /// Two-dimensional DCT-II of the plane, up to a factor that all 256 coefficients share.
    pub(in crate::features) fn new(grey: &Grey) -> Self {
        // [frequency][position]
        let waves: [[i64; SIDE]; KEPT] = from_fn(|k| from_fn(|x| cosine((2 * x + 1) * (k + 1))));
        let dot = |wave: &[i64; SIDE], values: &[i64; SIDE]| {
            wave.iter().zip(values).map(|(w, v)| w * v).sum::<i64>()
        };
        let rows: [[i64; SIDE]; KEPT] = from_fn(|k| from_fn(|y| dot(&waves[k], &grey.0[y].map(i64::from))));
        Self(from_fn(|down| from_fn(|across| dot(&waves[down], &rows[across]))))
    }

    /// Bits of the coefficients row by row, the most significant bit of a byte first; set if above the median.
    pub(in crate::features) fn hash(&self) -> [u8; 32] {
        let flat = self.0.as_flattened();
        let mut sorted: Vec<i64> = flat.to_vec();
        sorted.sort_unstable();
        let middle = sorted[KEPT * KEPT / 2 - 1] + sorted[KEPT * KEPT / 2];
        from_fn(|byte| (0..8).fold(0, |bits, bit| bits << 1 | u8::from(2 * flat[byte * 8 + bit] > middle)))
    }

    /// The hashes of the picture as it is, mirrored left to right, top to bottom, both (half a turn), and of these
    /// four transposed.
    ///
    /// Mirroring an axis negates its odd frequencies; transposing the picture transposes the coefficients.
    pub(in crate::features) fn hashes(&self) -> [[u8; 32]; 8] {
        from_fn(|which| {
            let (across, down, transposed) = (which & 1 != 0, which & 2 != 0, which & 4 != 0);
            // Index 0 is frequency 1, so even indices are the odd frequencies.
            let sign = |on: bool, index: usize| if on && index.is_multiple_of(2) { -1 } else { 1 };
            let flipped = |y: usize, x: usize| self.0[y][x] * sign(down, y) * sign(across, x);
            Self(from_fn(|y| from_fn(|x| if transposed { flipped(x, y) } else { flipped(y, x) }))).hash()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane() -> Vec<[u8; 3]> {
        let mut state = 9_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..SIDE * SIDE).map(|_| [next(), next(), next()]).collect()
    }

    fn spectrum(plane: &[[u8; 3]]) -> Spectrum {
        Spectrum::new(&Grey::new(plane.as_flattened()))
    }

    #[test]
    fn table_is_the_cosine() {
        for m in 0..600_usize {
            let want = (65536.0 * (std::f64::consts::PI * m as f64 / 128.0).cos()).round() as i64;
            assert_eq!(cosine(m), want, "{m}");
        }
    }

    #[test]
    fn derived_hashes_are_those_of_the_turned_plane() {
        let plane = plane();
        let hashes = spectrum(&plane).hashes();
        for (which, hash) in hashes.iter().enumerate() {
            let turned: Vec<[u8; 3]> = (0..SIDE * SIDE)
                .map(|i| {
                    let (mut y, mut x) = (i / SIDE, i % SIDE);
                    if which & 4 != 0 {
                        (y, x) = (x, y);
                    }
                    if which & 2 != 0 {
                        y = SIDE - 1 - y;
                    }
                    if which & 1 != 0 {
                        x = SIDE - 1 - x;
                    }
                    plane[y * SIDE + x]
                })
                .collect();
            assert_eq!(spectrum(&turned).hash(), *hash, "{which}");
        }
        assert_eq!(hashes[0].iter().map(|b| b.count_ones()).sum::<u32>(), 128);
    }

    #[test]
    fn extremes_do_not_overflow_and_flat_is_empty() {
        for value in [0, 128, 255] {
            assert_eq!(spectrum(&[[value; 3]; SIDE * SIDE]), Spectrum([[0; KEPT]; KEPT]));
        }
        // The plane that makes coefficient (1, 1) as large as it can be.
        let worst: Vec<[u8; 3]> = (0..SIDE * SIDE)
            .map(|i| if (i / SIDE < 32) == (i % SIDE < 32) { [255; 3] } else { [0; 3] })
            .collect();
        assert!(spectrum(&worst).0[0][0] > 0);
    }
}
