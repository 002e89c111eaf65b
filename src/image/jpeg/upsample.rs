//! Upsampling, with the arithmetic of the IJG library.

use super::plan::Plan;
use super::{Component, Frame};

/// How a component's samples are spread over the picture's pixels.
#[derive(Clone, Copy)]
pub(super) enum Spread {
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
    pub(super) fn of(component: &Component, frame: &Frame, plan: &Plan) -> Self {
        let ratio = |most: usize, own: usize| most * plan.size / (own * component.size);
        match (ratio(frame.h_max, component.h), ratio(frame.v_max, component.v)) {
            (1, 1) => Self::Same,
            // The filter needs neighbours.
            (2, 1) if component.width > 2 => Self::Wide,
            (2, 2) if component.width > 2 => Self::Both,
            (1, 2) => Self::Tall,
            (x, y) => Self::Repeat { x, y },
        }
    }
}

/// Line `y` of the component, as much as was made of it and without padding; the nearest line if there is none.
fn line(component: &Component, y: usize) -> &[u8] {
    let y = y.min(component.height.saturating_sub(1)).saturating_sub(component.kept.y0 * component.size);
    let start = y * component.line_len();
    let length = component.width.saturating_sub(component.kept.x0 * component.size).min(component.line_len());
    component.plane.get(start..start + length).unwrap_or(&[])
}

/// The two lines of the component that line `y` of a picture twice as tall lies between, the nearer first.
fn near_and_far(component: &Component, y: usize) -> (&[u8], &[u8]) {
    let far = if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { y / 2 + 1 };
    (line(component, y / 2), line(component, far))
}

/// The component's samples for line `y` of the picture; `sums` and `out` are room to make them in.
#[inline(always)]
pub(super) fn spread_row<'a>(
    component: &'a Component,
    spread: Spread,
    y: usize,
    sums: &mut Vec<u16>,
    out: &'a mut [u8],
) -> &'a [u8] {
    match spread {
        Spread::Same => return line(component, y),
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
    out
}

/// Each sample becomes two: three quarters of itself, one of the neighbour on that side. `shift` is log2 of
/// the weight of the values, the biases make rounding errors even out.
#[inline(always)]
fn triangle(out: &mut [u8], values: &[u16], shift: u32, bias: [u16; 2]) {
    // The pair as one number, so that the compiler need not shuffle bytes.
    let spread = |before: u16, this: u16, after: u16| {
        let (left, right) = ((this * 3 + before + bias[0]) >> shift, (this * 3 + after + bias[1]) >> shift);
        (left & 255 | right << 8).to_le_bytes()
    };
    let (&[first, second, ..], &[.., last_but_one, last]) = (values, values) else { return };
    let Some(pairs) = out.as_chunks_mut::<2>().0.get_mut(..values.len()) else { return };
    let [start, inner @ .., end] = pairs else { return };
    *start = spread(first, first, second);
    for (pair, (before, (this, after))) in
        inner.iter_mut().zip(values.iter().zip(values[1..].iter().zip(&values[2..])))
    {
        *pair = spread(*before, *this, *after);
    }
    *end = spread(last_but_one, last, last);
}
