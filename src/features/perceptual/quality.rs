//! How much there is to see in a picture.

use super::{Grey, SIDE};

/// One hundredth of the range of luma.
const HUNDREDTH: i32 = 2550;
/// Steps of a hundredth, summed over the plane, that make one point of quality.
const STEPS_A_POINT: i32 = 90;

impl Grey {
    /// Contrast of neighbouring pixels, 0 (flat) to 100: PDQ's quality metric ("The TMK+PDQF Video-Hashing Algorithm and
    /// the PDQ Image-Hashing Algorithm", 2019, "Image-quality metric").
    ///
    /// Differences of luma between neighbours along both axes, in whole hundredths of its range (so that noise and
    /// compression of a flat picture count nothing), their sum over 90, at most 100.
    pub(in crate::features) fn quality(&self) -> u8 {
        let step = |a: i32, b: i32| ((a - b) / HUNDREDTH).abs();
        let mut steps = 0;
        for y in 0..SIDE {
            for x in 0..SIDE {
                let here = self.0[y][x];
                steps += if x > 0 { step(here, self.0[y][x - 1]) } else { 0 };
                steps += if y > 0 { step(here, self.0[y - 1][x]) } else { 0 };
            }
        }
        (steps / STEPS_A_POINT).clamp(0, 100) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality(pixel: impl Fn(usize, usize) -> u8) -> u8 {
        let rgb: Vec<u8> = (0..SIDE * SIDE).flat_map(|i| [pixel(i % SIDE, i / SIDE); 3]).collect();
        Grey::new(&rgb).quality()
    }

    #[test]
    fn flat_noise_and_contrast() {
        assert_eq!(quality(|_, _| 200), 0);
        assert_eq!(quality(|x, y| 100 + ((x * 7 + y * 13) % 3) as u8), 0, "noise below a hundredth");
        assert_eq!(quality(|x, y| if (x + y) % 2 == 0 { 0 } else { 255 }), 100);
        // One edge of full contrast: 64 steps of 100.
        assert_eq!(quality(|x, _| if x < 20 { 0 } else { 255 }), 71);
    }
}
