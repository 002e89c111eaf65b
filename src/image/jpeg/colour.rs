//! Upsampling and colour conversion, with the arithmetic of the IJG library.

use super::scan;
use super::{Component, Frame, JpegError};

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

/// How a component's samples are spread over the picture's pixels.
#[derive(Clone, Copy)]
enum Spread {
    Same,
    /// Twice in x, by a triangle filter.
    Wide,
    /// Twice in y, by a triangle filter.
    Tall,
    /// Twice in both, by a triangle filter.
    Both,
    /// By repeating.
    Repeat {
        x: usize,
        y: usize,
    },
}

impl Spread {
    fn of(component: &Component, frame: &Frame) -> Self {
        match (frame.h_max / component.h, frame.v_max / component.v) {
            (1, 1) => Self::Same,
            // The filter needs neighbours.
            (2, 1) if component.width > 2 => Self::Wide,
            (2, 2) if component.width > 2 => Self::Both,
            (1, 2) => Self::Tall,
            (x, y) => Self::Repeat { x, y },
        }
    }
}

/// Turns a frame whose scans are all read into RGB8 rows. Frees each buffer as soon as it can.
pub(super) fn to_rgb(frame: &mut Frame, colours: Colours) -> Result<Vec<u8>, JpegError> {
    if frame.progressive {
        frame.components.iter_mut().for_each(scan::finish);
    }
    let spreads: Vec<Spread> = frame.components.iter().map(|c| Spread::of(c, frame)).collect();
    let mut rows = [const { Vec::new() }; 4];
    // A spread row may end a few samples past the picture.
    let room = frame.mcus_x * 8 * frame.h_max + 8;
    rows.iter_mut().take(frame.components.len()).for_each(|row: &mut Vec<u8>| row.resize(room, 0));
    let mut sums = Vec::with_capacity(room);
    let mut rgb = vec![0; frame.width * frame.height * 3];
    for (y, out) in rgb.chunks_exact_mut(frame.width * 3).enumerate() {
        for ((component, spread), row) in frame.components.iter().zip(&spreads).zip(&mut rows) {
            spread_row(component, *spread, y, &mut sums, row);
        }
        let [a, b, c, d] = &rows;
        convert(colours, out, a, b, c, d);
    }
    Ok(rgb)
}

/// Line `y` of the component, without padding; the nearest line if there is none.
fn line(component: &Component, y: usize) -> &[u8] {
    let start = y.min(component.height.saturating_sub(1)) * component.stride * 8;
    component.plane.get(start..start + component.width).unwrap_or(&[])
}

/// The two lines of the component that line `y` of a picture twice as tall lies between, the nearer first.
fn near_and_far(component: &Component, y: usize) -> (&[u8], &[u8]) {
    let far = if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { y / 2 + 1 };
    (line(component, y / 2), line(component, far))
}

/// Writes the component's samples for line `y` of the picture.
fn spread_row(component: &Component, spread: Spread, y: usize, sums: &mut Vec<u16>, out: &mut [u8]) {
    match spread {
        Spread::Same => {
            let samples = line(component, y);
            out[..samples.len()].copy_from_slice(samples);
        }
        Spread::Wide => {
            sums.clear();
            sums.extend(line(component, y).iter().map(|&sample| u16::from(sample)));
            triangle(out, sums, 2, [1, 2]);
        }
        Spread::Tall => {
            let (near, far) = near_and_far(component, y);
            let bias = if y.is_multiple_of(2) { 1 } else { 2 };
            for ((out, &near), &far) in out.iter_mut().zip(near).zip(far) {
                *out = ((u16::from(near) * 3 + u16::from(far) + bias) >> 2) as u8;
            }
        }
        Spread::Both => {
            let (near, far) = near_and_far(component, y);
            sums.clear();
            sums.extend(near.iter().zip(far).map(|(&near, &far)| u16::from(near) * 3 + u16::from(far)));
            triangle(out, sums, 4, [8, 7]);
        }
        Spread::Repeat { x, y: ratio } => {
            for (out, &sample) in out.chunks_exact_mut(x).zip(line(component, y / ratio)) {
                out.fill(sample);
            }
        }
    }
}

/// Each sample becomes two: three quarters of itself, one of the neighbour on that side. `shift` is log2 of
/// the weight of the values, the biases make rounding errors even out.
fn triangle(out: &mut [u8], values: &[u16], shift: u32, bias: [u16; 2]) {
    let spread = |before: u16, this: u16, after: u16| {
        [((this * 3 + before + bias[0]) >> shift) as u8, ((this * 3 + after + bias[1]) >> shift) as u8]
    };
    let (&[first, second, ..], &[.., last_but_one, last]) = (values, values) else { return };
    let pairs = out.as_chunks_mut::<2>().0;
    let Some(pairs) = pairs.get_mut(..values.len()) else { return };
    let [start, inner @ .., end] = pairs else { return };
    *start = spread(first, first, second);
    for (pair, window) in inner.iter_mut().zip(values.windows(3)) {
        if let &[before, this, after] = window {
            *pair = spread(before, this, after);
        }
    }
    *end = spread(last_but_one, last, last);
}

fn convert<'a>(colours: Colours, out: &mut [u8], a: &'a [u8], b: &'a [u8], c: &'a [u8], d: &[u8]) {
    let pixels = out.as_chunks_mut::<3>().0.iter_mut();
    match colours {
        Colours::Grey => pixels.zip(a).for_each(|(pixel, &grey)| *pixel = [grey; 3]),
        Colours::Rgb => {
            pixels.zip(a).zip(b).zip(c).for_each(|(((pixel, &r), &g), &b)| *pixel = [r, g, b]);
        }
        Colours::YCbCr => {
            // In groups, so that the compiler computes many at once; then one by one.
            const GROUP: usize = 16;
            let (groups, rest) = out.as_chunks_mut::<3>().0.as_chunks_mut::<GROUP>();
            let done = groups.len() * GROUP;
            let planes =
                a.as_chunks::<GROUP>().0.iter().zip(b.as_chunks::<GROUP>().0).zip(c.as_chunks::<GROUP>().0);
            for (pixels, ((y, cb), cr)) in groups.iter_mut().zip(planes) {
                let mut rgb = [[0u8; GROUP]; 3];
                for i in 0..GROUP {
                    [rgb[0][i], rgb[1][i], rgb[2][i]] = ycbcr(y[i], cb[i], cr[i]);
                }
                for (i, pixel) in pixels.iter_mut().enumerate() {
                    *pixel = [rgb[0][i], rgb[1][i], rgb[2][i]];
                }
            }
            let tail = |plane: &'a [u8]| plane.get(done..).unwrap_or(&[]).iter();
            for (((pixel, &y), &cb), &cr) in rest.iter_mut().zip(tail(a)).zip(tail(b)).zip(tail(c)) {
                *pixel = ycbcr(y, cb, cr);
            }
        }
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
}
