//! The few transcendental functions the descriptors need, from additions, multiplications, divisions and square
//! roots alone.
//!
//! Those four are exact to the last bit under IEEE 754, so every machine gets the same values; `cbrt`, `atan2`,
//! `powf` and `cos` of the standard library are the platform's and differ between platforms.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

/// Cube root of `x >= 0` (finite), to about one unit in the last place of an f64.
///
/// A third of the exponent by integer division of the bits (Kahan's start, within 6 %), then three steps of
/// Halley's method, each of which triples the number of right digits.
pub(super) fn cbrt(x: f64) -> f64 {
    if x < f64::MIN_POSITIVE {
        return 0.0;
    }
    // 0x2A9F... is two thirds of the exponent bias, less the constant that centres the error.
    let mut y = f64::from_bits(x.to_bits() / 3 + 0x2A9F_7893_782D_A1CE);
    for _ in 0..3 {
        let cube = y * y * y;
        y *= (cube + 2.0 * x) / (2.0 * cube + x);
    }
    y
}

/// [`cbrt`] of each value, to the same bits: step by step over all of them, so that the divisions overlap.
pub(super) fn cbrts<const N: usize>(values: &mut [f64; N]) {
    let mut y = values.map(|x| f64::from_bits(x.to_bits() / 3 + 0x2A9F_7893_782D_A1CE));
    for _ in 0..3 {
        for (y, x) in y.iter_mut().zip(&*values) {
            let cube = *y * *y * *y;
            *y *= (cube + 2.0 * x) / (2.0 * cube + x);
        }
    }
    for (value, y) in values.iter_mut().zip(y) {
        *value = if *value < f64::MIN_POSITIVE { 0.0 } else { y };
    }
}

/// `x` to the power 2.4, for `x` in `0.05..=1`: `x^2 * (x^(1/5))^2`, the fifth root by Newton's method from above.
pub(super) fn pow_2_4(x: f64) -> f64 {
    let mut y = 1.0;
    for _ in 0..12 {
        let y4 = (y * y) * (y * y);
        y -= (y * y4 - x) / (5.0 * y4);
    }
    (x * x) * (y * y)
}

/// Arc tangent of `t` in `0..=1`, in radians, to 1e-10.
///
/// Above `tan(pi / 8)` by `atan(t) = pi / 4 + atan((t - 1) / (t + 1))`, then eleven terms of Gregory's series.
fn atan_unit(t: f64) -> f64 {
    const TAN_PI_8: f64 = 0.414_213_562_373_095_05;
    let (base, t) = if t > TAN_PI_8 { (FRAC_PI_4, (t - 1.0) / (t + 1.0)) } else { (0.0, t) };
    let square = t * t;
    let mut sum = 0.0;
    for term in (0..11_u32).rev() {
        sum = 1.0 / f64::from(2 * term + 1) - square * sum;
    }
    base + t * sum
}

/// Direction of the undirected line through the origin and `(x, y)`, in radians, in `0..pi` (`pi` only by rounding).
/// Zero for the origin itself.
pub(super) fn line_angle(y: f64, x: f64) -> f64 {
    let (ax, ay) = (x.abs(), y.abs());
    if ax + ay == 0.0 {
        return 0.0;
    }
    let acute = if ay <= ax { atan_unit(ay / ax) } else { FRAC_PI_2 - atan_unit(ax / ay) };
    let rising = (x >= 0.0) == (y >= 0.0);
    if rising || acute == 0.0 { acute } else { PI - acute }
}

/// Divides by the Euclidean norm. A vector of norm zero stays as it is.
pub(super) fn unit(values: &mut [f32]) {
    let norm = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    if norm > 0.0 {
        for v in values {
            *v = (f64::from(*v) / norm) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cube_root_is_that_of_std() {
        for i in 0..200_000_u32 {
            let x = f64::from(i) * 1.37e-3 + f64::from(i % 97) * 1e-7;
            assert!((cbrt(x) - x.cbrt()).abs() <= 5e-16 * x.cbrt(), "{x}");
        }
        for exponent in -300..300 {
            let x = 1.7 * 10_f64.powi(exponent);
            assert!((cbrt(x) / x.cbrt() - 1.0).abs() < 1e-15, "{x}");
        }
        assert_eq!(cbrt(0.0), 0.0);
        let values: [f64; 300] = std::array::from_fn(|i| i as f64 * 0.004);
        let mut roots = values;
        cbrts(&mut roots);
        assert_eq!(roots, values.map(cbrt));
    }

    #[test]
    fn power_is_that_of_std() {
        for i in 50..=1000_u32 {
            let x = f64::from(i) / 1000.0;
            assert!((pow_2_4(x) - x.powf(2.4)).abs() < 1e-14, "{x}");
        }
    }

    #[test]
    fn angle_is_that_of_std() {
        for y in -60..=60_i32 {
            for x in -60..=60_i32 {
                let (y, x) = (f64::from(y) * 1.3, f64::from(x) * 0.7);
                let want = y.atan2(x).rem_euclid(PI);
                let apart = (line_angle(y, x) - want).abs();
                assert!(apart.min(PI - apart) < 1e-9, "{y} {x}");
            }
        }
    }

    #[test]
    fn unit_vectors() {
        let mut v = [3.0, -4.0];
        unit(&mut v);
        assert_eq!(v, [0.6, -0.8]);
        let mut zero = [0.0; 3];
        unit(&mut zero);
        assert_eq!(zero, [0.0; 3]);
    }
}
