//! Upsampling and colour conversion, with the arithmetic of the IJG library.

use super::scan;
use super::{Component, Frame, JpegError};

/// What the components of a picture mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    Grey,
    YCbCr,
    Rgb,
    /// Inks; `inverted` if 255 is no ink.
    Cmyk {
        inverted: bool,
    },
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
    let mut rgb = vec![0; frame.width * frame.height * 3];
    for (y, out) in rgb.chunks_exact_mut(frame.width * 3).enumerate() {
        for ((component, spread), row) in frame.components.iter().zip(&spreads).zip(&mut rows) {
            spread_row(component, *spread, y, row);
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
fn spread_row(component: &Component, spread: Spread, y: usize, out: &mut [u8]) {
    match spread {
        Spread::Same => {
            let samples = line(component, y);
            out[..samples.len()].copy_from_slice(samples);
        }
        Spread::Wide => triangle(out, line(component, y).iter().map(|&s| u16::from(s)), 2, [1, 2]),
        Spread::Tall => {
            let (near, far) = near_and_far(component, y);
            let bias = if y.is_multiple_of(2) { 1 } else { 2 };
            for ((out, &near), &far) in out.iter_mut().zip(near).zip(far) {
                *out = ((u16::from(near) * 3 + u16::from(far) + bias) >> 2) as u8;
            }
        }
        Spread::Both => {
            let (near, far) = near_and_far(component, y);
            let sums = near.iter().zip(far).map(|(&near, &far)| u16::from(near) * 3 + u16::from(far));
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
fn triangle(out: &mut [u8], mut values: impl Iterator<Item = u16>, shift: u32, bias: [u16; 2]) {
    let Some(mut this) = values.next() else { return };
    let mut before = this;
    let mut pairs = out.as_chunks_mut::<2>().0.iter_mut();
    let mut put = |before: u16, this: u16, after: u16| {
        if let Some(pair) = pairs.next() {
            *pair = [
                ((this * 3 + before + bias[0]) >> shift) as u8,
                ((this * 3 + after + bias[1]) >> shift) as u8,
            ];
        }
    };
    for after in values {
        put(before, this, after);
        (before, this) = (this, after);
    }
    put(before, this, this);
}

fn convert(colours: Colours, out: &mut [u8], a: &[u8], b: &[u8], c: &[u8], d: &[u8]) {
    let pixels = out.as_chunks_mut::<3>().0.iter_mut();
    match colours {
        Colours::Grey => pixels.zip(a).for_each(|(pixel, &grey)| *pixel = [grey; 3]),
        Colours::Rgb => {
            pixels.zip(a).zip(b).zip(c).for_each(|(((pixel, &r), &g), &b)| *pixel = [r, g, b]);
        }
        Colours::YCbCr => {
            pixels.zip(a).zip(b).zip(c).for_each(|(((pixel, &y), &cb), &cr)| *pixel = ycbcr(y, cb, cr));
        }
        Colours::Cmyk { inverted } => {
            let flip = if inverted { 0 } else { 255 };
            for ((((pixel, &c), &m), &y), &k) in pixels.zip(a).zip(b).zip(c).zip(d) {
                *pixel = [c, m, y].map(|ink| multiply(ink ^ flip, k ^ flip));
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

/// JFIF's YCbCr to RGB, constants times 2^16.
#[inline(always)]
fn ycbcr(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let r = y + ((91_881 * cr + HALF) >> 16);
    let g = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let b = y + ((116_130 * cb + HALF) >> 16);
    [r, g, b].map(|value| value.clamp(0, 255) as u8)
}
