//! The convolutions without any instruction set of their own: what the others are compared with.

use std::array::from_fn;

use super::pack::Taps;
#[cfg(target_arch = "x86_64")]
use super::sse2::dots;
use super::{Output, Rounding, Stream, Window, scaled};

/// Positions whose inputs are widened together: 64 x 1152 words fit the second cache.
pub(super) const STRIP: usize = 64;
/// Output channels of a tile; every layer's count is a multiple.
pub(super) const OUTS: usize = 4;

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
        let positions = strip.len() / inputs;
        for (o, weights) in weights.chunks_exact(inputs * OUTS).enumerate() {
            let first = o * OUTS;
            let lanes = Lanes::new(rounding, first);
            let mut finish =
                |p: usize, sums| put(&mut output, (s * STRIP + p) * outs, first, lanes.round(sums));
            let mut pairs = wide.chunks_exact(inputs * 2);
            for (pair, x) in pairs.by_ref().enumerate() {
                let [a, b] = dots([&x[..inputs], &x[inputs..]], weights);
                finish(2 * pair, a);
                finish(2 * pair + 1, b);
            }
            if !pairs.remainder().is_empty() {
                let [a] = dots([pairs.remainder()], weights);
                finish(positions - 1, a);
            }
        }
    }
}

/// The rounding of the channels of a tile.
struct Lanes {
    bias: [i32; OUTS],
    mult: [i32; OUTS],
    shift: [u8; OUTS],
}

impl Lanes {
    fn new(rounding: &Rounding, first: usize) -> Self {
        Self {
            bias: from_fn(|lane| rounding.bias[first + lane]),
            mult: from_fn(|lane| i32::from(rounding.mult[first + lane])),
            shift: from_fn(|lane| rounding.shift[first + lane]),
        }
    }

    /// As `Rounding::round`, of sums without their bias.
    #[inline]
    fn round(&self, sums: [i32; OUTS]) -> [i16; OUTS] {
        from_fn(|lane| {
            // Shifts below 32 are checked when the layer is made; the mask spares a check here.
            let t = ((sums[lane] + self.bias[lane]) >> (self.shift[lane] & 31)).clamp(-32768, 32767);
            ((t * self.mult[lane] + (1 << 14)) >> 15) as i16
        })
    }
}

/// `v` clamped to the output whose position begins at `at`, from channel `first` on, with what is added there.
#[inline]
fn put(output: &mut Output<'_>, at: usize, first: usize, v: [i16; OUTS]) {
    let to = at + first..at + first + OUTS;
    match output {
        Output::Bytes(out) => out[to].copy_from_slice(&v.map(|v| v.clamp(0, 255) as u8)),
        Output::Words(out, top) => out[to].copy_from_slice(&v.map(|v| v.clamp(0, *top))),
        Output::Stream(Stream { words, added, bytes, entry }) => {
            for (lane, at) in to.enumerate() {
                let y = v[lane].saturating_add(added.get(at).copied().unwrap_or(0));
                words[at] = y;
                let scaled = i32::from(scaled(y, entry.mult[first + lane]));
                bytes[at] = (scaled + i32::from(entry.zero[first + lane])).clamp(0, 255) as u8;
            }
        }
    }
}

/// Each row of `x` times each of the rows of `weights`, whose length is a multiple of 8.
#[cfg(not(target_arch = "x86_64"))]
fn dots<const P: usize>(x: [&[i16]; P], weights: &[i16]) -> [[i32; OUTS]; P] {
    let mut rows = weights.chunks_exact(weights.len() / OUTS);
    let rows: [&[i16]; OUTS] = from_fn(|_| rows.next().unwrap_or_default());
    let dot = |x: &[i16], w: &[i16]| x.iter().zip(w).map(|(&x, &w)| i32::from(x) * i32::from(w)).sum();
    x.map(|x| rows.map(|row| dot(x, row)))
}

/// Channels of the depthwise kernel summed together.
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
                let mut sums: [i32; LANES] = from_fn(|lane| rounding.bias[c + lane]);
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
