//! Colour conversion, with the arithmetic of the IJG library.

use super::plan::Plan;
use super::upsample::{Spread, spread_row};
use super::{Frame, scan};
use crate::kernel::image::{Avx2, Work, run};

/// What the components of a picture mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    Grey,
    YCbCr,
    Rgb,
    /// Inverted inks: 255 is no ink.
    Cmyk,
    /// Inverted inks, the first three as YCbCr.
    Ycck,
}

/// Turns what is shown of a frame whose scans are all read into RGB8 rows.
pub(super) fn to_rgb(frame: &mut Frame, plan: &Plan, colours: Colours, simd: Option<Avx2>) -> Vec<u8> {
    if frame.progressive {
        frame.components.iter_mut().for_each(|component| scan::finish(component, simd));
    }
    let mut rgb = vec![0; plan.shown.width as usize * plan.shown.height as usize * 3];
    run(simd, Rows { frame, plan, colours, simd, rgb: &mut rgb });
    rgb
}

/// The rows of a picture.
struct Rows<'a> {
    frame: &'a Frame,
    plan: &'a Plan,
    colours: Colours,
    simd: Option<Avx2>,
    rgb: &'a mut [u8],
}

impl Work for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { frame, plan, colours, simd, rgb } = self;
        let spreads: Vec<Spread> = frame.components.iter().map(|c| Spread::of(c, frame, plan)).collect();
        // A spread row may end a few samples past the picture.
        let room = frame.mcus_x * frame.h_max * plan.size + 8;
        let mut rows = [const { Vec::new() }; 4];
        rows.iter_mut().take(frame.components.len()).for_each(|row: &mut Vec<u8>| row.resize(room, 0));
        let mut sums = Vec::with_capacity(room);
        let skip = (plan.shown.left as usize).saturating_sub(plan.left);
        for (y, out) in (plan.shown.top as usize..).zip(rgb.chunks_exact_mut(plan.shown.width as usize * 3)) {
            let mut planes = [&[][..]; 4];
            for (((component, spread), room), plane) in
                frame.components.iter().zip(&spreads).zip(&mut rows).zip(&mut planes)
            {
                *plane = spread_row(component, *spread, y, &mut sums, room).get(skip..).unwrap_or(&[]);
            }
            let [a, b, c, d] = planes;
            convert(simd, colours, out, a, b, c, d);
        }
    }
}

#[inline(always)]
fn convert(simd: Option<Avx2>, colours: Colours, out: &mut [u8], a: &[u8], b: &[u8], c: &[u8], d: &[u8]) {
    let pixels = out.as_chunks_mut::<3>().0.iter_mut();
    match colours {
        Colours::Grey => pixels.zip(a).for_each(|(pixel, &grey)| *pixel = [grey; 3]),
        Colours::Rgb => {
            pixels.zip(a).zip(b).zip(c).for_each(|(((pixel, &r), &g), &b)| *pixel = [r, g, b]);
        }
        Colours::YCbCr => convert_ycbcr(simd, out, a, b, c),
        Colours::Cmyk => {
            for ((((pixel, &c), &m), &y), &k) in pixels.zip(a).zip(b).zip(c).zip(d) {
                *pixel = [c, m, y].map(|ink| multiply(ink, k));
            }
        }
        Colours::Ycck => {
            for ((((pixel, &y), &cb), &cr), &k) in pixels.zip(a).zip(b).zip(c).zip(d) {
                // The three are inks: what the conversion yields as RGB is 255 minus the inverted ink.
                *pixel = ycbcr(y, cb, cr).map(|paper| multiply(255 - paper, k));
            }
        }
    }
}

/// In groups, of which many pixels are computed at once; then one by one.
#[inline(always)]
fn convert_ycbcr(simd: Option<Avx2>, out: &mut [u8], y: &[u8], cb: &[u8], cr: &[u8]) {
    const GROUP: usize = 16;
    let (groups, rest) = out.as_chunks_mut::<{ 3 * GROUP }>();
    let done = groups.len() * GROUP;
    let planes =
        y.as_chunks::<GROUP>().0.iter().zip(cb.as_chunks::<GROUP>().0).zip(cr.as_chunks::<GROUP>().0);
    for (pixels, ((y, cb), cr)) in groups.iter_mut().zip(planes) {
        if let Some(simd) = simd {
            *pixels = simd.ycbcr(y, cb, cr);
            continue;
        }
        let mut rgb = [[0u8; GROUP]; 3];
        for i in 0..GROUP {
            [rgb[0][i], rgb[1][i], rgb[2][i]] = ycbcr(y[i], cb[i], cr[i]);
        }
        for (i, pixel) in pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *pixel = [rgb[0][i], rgb[1][i], rgb[2][i]];
        }
    }
    let tail = |plane| <[u8]>::get(plane, done..).unwrap_or(&[]).iter();
    let planes = tail(y).zip(tail(cb)).zip(tail(cr));
    for (pixel, ((&y, &cb), &cr)) in rest.as_chunks_mut::<3>().0.iter_mut().zip(planes) {
        *pixel = ycbcr(y, cb, cr);
    }
}

/// `a * b / 255`, rounded.
fn multiply(a: u8, b: u8) -> u8 {
    ((u32::from(a) * u32::from(b) + 127) / 255) as u8
}

/// JFIF's YCbCr to RGB. The constants (1.402, 0.34414, 0.71414, 1.772 times 2^16) are written as a whole part
/// and a rest that fits in 16 bits: products of 16 bits are what processors do many of at once.
#[inline(always)]
fn ycbcr(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let times = |a: i16, b: i16| i32::from(a) * i32::from(b);
    let (y, cb, cr) = (i16::from(y), i16::from(cb) - 128, i16::from(cr) - 128);
    let r = y + cr + ((times(26_345, cr) + HALF) >> 16) as i16;
    let g = y - cr + ((times(-22_554, cb) + times(18_734, cr) + HALF) >> 16) as i16;
    let b = y + 2 * cb + ((times(-14_942, cb) + HALF) >> 16) as i16;
    [r, g, b].map(|value| value.clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_split_constants_mean_the_same() {
        for y in [0, 1, 77, 128, 254, 255u8] {
            for cb in 0..=255u8 {
                for cr in 0..=255u8 {
                    let (luma, b, r) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
                    let want = [
                        luma + ((91_881 * r + 32_768) >> 16),
                        luma + ((-22_554 * b - 46_802 * r + 32_768) >> 16),
                        luma + ((116_130 * b + 32_768) >> 16),
                    ];
                    assert_eq!(super::ycbcr(y, cb, cr), want.map(|value| value.clamp(0, 255) as u8));
                }
            }
        }
    }

    /// On a processor without the instructions there is nothing to compare.
    #[test]
    fn wide_instructions_give_the_same() {
        let Some(simd) = super::Avx2::new() else { return };
        for y in [0, 1, 77, 128, 254, 255u8] {
            for cb in 0..=255u8 {
                for start in (0..=255u8).step_by(16) {
                    let cr = std::array::from_fn(|i| start + i as u8);
                    let want: Vec<u8> = cr.iter().flat_map(|&cr| super::ycbcr(y, cb, cr)).collect();
                    assert_eq!(simd.ycbcr(&[y; 16], &[cb; 16], &cr)[..], want);
                }
            }
        }
        let ramp = std::array::from_fn(|i| 15 * i as u8);
        let got = simd.ycbcr(&ramp, &[128; 16], &[128; 16]);
        assert!(got.as_chunks::<3>().0.iter().zip(ramp).all(|(pixel, y)| *pixel == [y; 3]));
    }
}
