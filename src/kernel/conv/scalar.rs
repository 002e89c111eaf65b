//! The convolutions without any instruction set of their own: what the others are compared with.

use super::pack::Taps;
use super::{Output, Rounding, Stream, Window, scaled};

/// Positions whose inputs are widened together: 64 x 1152 words fit the second cache.
pub(super) const STRIP: usize = 64;

/// `input [positions, inputs]` by `weights [outs, inputs]`.
pub(super) fn pointwise(
    input: &[u8],
    inputs: usize,
    weights: &[i16],
    rounding: &Rounding,
    mut output: Output<'_>,
    wide: &mut Vec<i16>,
) {
    let outs = rounding.bias.len();
    for (s, strip) in input.chunks(STRIP * inputs).enumerate() {
        wide.clear();
        wide.extend(strip.iter().map(|&x| i16::from(x)));
        for (o, weights) in weights.chunks_exact(inputs * 4).enumerate() {
            for (p, x) in wide.chunks_exact(inputs).enumerate() {
                let sums = four_dots(x, weights);
                for (lane, sum) in sums.into_iter().enumerate() {
                    let c = o * 4 + lane;
                    let v = rounding.round(c, rounding.bias[c] + sum);
                    put(&mut output, (s * STRIP + p) * outs + c, v);
                }
            }
        }
    }
}

/// `v` clamped to output `at`, with what is added there.
fn put(output: &mut Output<'_>, at: usize, v: i16) {
    match output {
        Output::Bytes(out) => out[at] = v.clamp(0, 255) as u8,
        Output::Words(out, top) => out[at] = v.clamp(0, *top),
        Output::Stream(Stream { words, added, bytes, entry }) => {
            let y = v.saturating_add(added.get(at).copied().unwrap_or(0));
            words[at] = y;
            let c = at % entry.mult.len();
            bytes[at] = (i32::from(scaled(y, entry.mult[c])) + i32::from(entry.zero[c])).clamp(0, 255) as u8;
        }
    }
}

/// `x` times each of the four rows of `weights`.
#[inline]
fn four_dots(x: &[i16], weights: &[i16]) -> [i32; 4] {
    let mut rows = weights.chunks_exact(x.len());
    let rows: [&[i16]; 4] = std::array::from_fn(|_| rows.next().unwrap_or_default());
    rows.map(|row| x.iter().zip(row).map(|(&x, &w)| i32::from(x) * i32::from(w)).sum())
}

/// Channels summed together.
const LANES: usize = 16;

pub(super) fn depthwise(input: &[u8], window: &Window, taps: &Taps, rounding: &Rounding, output: &mut [u8]) {
    let channels = rounding.bias.len();
    let taps = taps.0.as_slice();
    for (y, output) in output.chunks_exact_mut(window.out_side * channels).enumerate() {
        let (rows, ky) = window.span(y);
        for (x, output) in output.chunks_exact_mut(channels).enumerate() {
            let (columns, kx) = window.span(x);
            for (c, output) in output.chunks_exact_mut(LANES).enumerate() {
                let c = c * LANES;
                let mut sums: [i32; LANES] = std::array::from_fn(|lane| rounding.bias[c + lane]);
                for (row, ky) in rows.clone().zip(ky..) {
                    for (column, kx) in columns.clone().zip(kx..) {
                        let at = (row * window.in_side + column) * channels + c;
                        let tap = (ky * window.kernel + kx) * channels + c;
                        let (x, w) = (&input[at..at + LANES], &taps[tap..tap + LANES]);
                        for lane in 0..LANES {
                            // 255 x -127 fits 16 bits.
                            sums[lane] += i32::from(i16::from(x[lane]) * w[lane]);
                        }
                    }
                }
                for (lane, to) in output.iter_mut().enumerate() {
                    *to = rounding.round(c + lane, sums[lane]).clamp(0, 255) as u8;
                }
            }
        }
    }
}
