//! The convolutions with NEON: products of words added to sums of 32 bits.

use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

use super::pack::{Panel, Panels, Taps};
use super::scalar::STRIP;
use super::{Output, Rounding, Stream, Window};

/// Proof that the CPU has NEON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Neon(());

/// Positions of a tile: 4 x 3 sums.
const TILE: usize = 4;
/// Channels of a vector of sums.
const LANES: usize = 4;
/// Channels of a group of the depthwise kernel.
const GROUP: usize = 16;

impl Neon {
    pub(super) fn new() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    /// `input` is `[positions, panels.inputs]`; the caller has checked that the output has as many positions.
    pub(super) fn pointwise(
        self,
        input: &[u8],
        panels: &Panels<i16>,
        output: Output<'_>,
        wide: &mut Vec<i16>,
    ) {
        assert!(panels.outs.is_multiple_of(LANES));
        let len = input.len() / panels.inputs * panels.outs;
        // SAFETY: `self` proves the CPU's features.
        unsafe {
            match output {
                Output::Bytes(out) => {
                    assert_eq!(out.len(), len);
                    pointwise(input, panels, &mut Bytes(out.as_mut_ptr()), wide);
                }
                Output::Words(out, top) => {
                    assert_eq!(out.len(), len);
                    pointwise(input, panels, &mut Words(out.as_mut_ptr(), top), wide);
                }
                Output::Stream(mut stream) => {
                    let Stream { words, added, bytes, entry } = &stream;
                    assert!(words.len() == len && bytes.len() == len);
                    assert!(added.is_empty() || added.len() == len);
                    assert!(entry.mult.len() == panels.outs && entry.zero.len() == panels.outs);
                    pointwise(input, panels, &mut stream, wide);
                }
            }
        }
    }

    /// The caller has checked the lengths of the maps.
    pub(super) fn depthwise(
        self,
        input: &[u8],
        window: &Window,
        taps: &Taps,
        rounding: &Rounding,
        output: &mut [u8],
    ) {
        // SAFETY: `self` proves the CPU's features.
        unsafe { depthwise(input, window, taps, rounding, output) }
    }
}

/// What becomes of four values `v` of a position, whose output begins at index `at`, from `channel` on.
trait Sink {
    /// # Safety
    /// The lanes lie inside the position, and the position inside the output.
    unsafe fn put(&mut self, v: int16x4_t, at: usize, channel: usize);
}

struct Bytes(*mut u8);

struct Words(*mut i16, i16);

impl Sink for Bytes {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn put(&mut self, v: int16x4_t, at: usize, channel: usize) {
        // SAFETY: the caller's promise.
        unsafe { store_bytes(self.0.add(at + channel), v) }
    }
}

impl Sink for Words {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn put(&mut self, v: int16x4_t, at: usize, channel: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            vst1_s16(self.0.add(at + channel), vmin_s16(vmax_s16(v, vdup_n_s16(0)), vdup_n_s16(self.1)));
        }
    }
}

impl Sink for Stream<'_> {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn put(&mut self, mut v: int16x4_t, at: usize, channel: usize) {
        let to = at + channel;
        // SAFETY: the caller's promise; all maps are as long as the output, and the entry has a value for each channel.
        unsafe {
            if !self.added.is_empty() {
                v = vqadd_s16(v, vld1_s16(self.added.as_ptr().add(to)));
            }
            vst1_s16(self.words.as_mut_ptr().add(to), v);
            let mult = vld1_s16(self.entry.mult.as_ptr().add(channel));
            let zero = vld1_s16(self.entry.zero.as_ptr().add(channel));
            store_bytes(self.bytes.as_mut_ptr().add(to), vqadd_s16(vqrdmulh_s16(v, mult), zero));
        }
    }
}

/// Stores four lanes clamped to `0..=255`.
///
/// # Safety
/// Four bytes can be written at `to`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store_bytes(to: *mut u8, v: int16x4_t) {
    let bytes = vreinterpret_u32_u8(vqmovun_s16(vcombine_s16(v, v)));
    // SAFETY: the caller's promise.
    unsafe { to.cast::<u32>().write_unaligned(vget_lane_u32::<0>(bytes)) }
}

/// Four sums to words, shifted, clamped and scaled.
#[inline]
#[target_feature(enable = "neon")]
fn round(sums: int32x4_t, shift: int32x4_t, mult: int16x4_t) -> int16x4_t {
    // A shift to the left by a negative count is one to the right; the doubling high product that rounds is
    // (2 t mult + 2^15) >> 16.
    vqrdmulh_s16(vqmovn_s32(vshlq_s32(sums, vnegq_s32(shift))), mult)
}

#[target_feature(enable = "neon")]
fn pointwise<S: Sink>(input: &[u8], panels: &Panels<i16>, sink: &mut S, wide: &mut Vec<i16>) {
    let inputs = panels.inputs;
    for (s, strip) in input.chunks(STRIP * inputs).enumerate() {
        wide.clear();
        wide.extend(strip.iter().map(|&x| i16::from(x)));
        let positions = strip.len() / inputs;
        let whole = positions / TILE * TILE;
        let mut at = 0;
        for panel in panels.panels() {
            let len = panel.vectors * LANES * inputs;
            let weights = &panels.weights.as_slice()[at..at + len];
            at += len;
            for p in (0..whole).step_by(TILE) {
                let x = &wide[p * inputs..];
                match panel.vectors {
                    1 => tile::<S, TILE, 1>(x, panels, &panel, weights, s * STRIP + p, sink),
                    2 => tile::<S, TILE, 2>(x, panels, &panel, weights, s * STRIP + p, sink),
                    _ => tile::<S, TILE, 3>(x, panels, &panel, weights, s * STRIP + p, sink),
                }
            }
            for p in whole..positions {
                let x = &wide[p * inputs..];
                match panel.vectors {
                    1 => tile::<S, 1, 1>(x, panels, &panel, weights, s * STRIP + p, sink),
                    2 => tile::<S, 1, 2>(x, panels, &panel, weights, s * STRIP + p, sink),
                    _ => tile::<S, 1, 3>(x, panels, &panel, weights, s * STRIP + p, sink),
                }
            }
        }
    }
}

/// `P` positions by `N` vectors of channels; `x` begins with the first position, which is `at` in the output.
#[target_feature(enable = "neon")]
fn tile<S: Sink, const P: usize, const N: usize>(
    x: &[i16],
    panels: &Panels<i16>,
    panel: &Panel,
    weights: &[i16],
    at: usize,
    sink: &mut S,
) {
    let inputs = panels.inputs;
    let end = panel.first + N * LANES;
    let x = &x[..P * inputs];
    let bias = &panels.bias.as_slice()[panel.first..end];
    let shift = &panels.shift.as_slice()[panel.first..end];
    let mult = &panels.mult.as_slice()[panel.first..end];
    assert_eq!(weights.len(), N * LANES * inputs);
    // SAFETY: `bias`, `shift` and `mult` have N vectors, `weights` N vectors for each input, and `x` has P times
    // `inputs` words. A row of the output has `outs` channels, a multiple of a vector, and the output has a row for
    // each position of the input.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); N]; P];
        for v in 0..N {
            let bias = vld1q_s32(bias.as_ptr().add(v * LANES));
            for row in &mut sums {
                row[v] = bias;
            }
        }
        for k in 0..inputs {
            let w = weights.as_ptr().add(k * N * LANES);
            let mut vectors = [vdup_n_s16(0); N];
            for (v, vector) in vectors.iter_mut().enumerate() {
                *vector = vld1_s16(w.add(v * LANES));
            }
            for (p, row) in sums.iter_mut().enumerate() {
                let one = *x.as_ptr().add(p * inputs + k);
                for v in 0..N {
                    row[v] = vmlal_n_s16(row[v], vectors[v], one);
                }
            }
        }
        for v in 0..N {
            let shift = vld1q_s32(shift.as_ptr().add(v * LANES));
            let mult = vld1_s16(mult.as_ptr().add(v * LANES));
            for (p, row) in sums.iter().enumerate() {
                sink.put(round(row[v], shift, mult), (at + p) * panels.outs, panel.first + v * LANES);
            }
        }
    }
}

#[target_feature(enable = "neon")]
fn depthwise(input: &[u8], window: &Window, taps: &Taps, rounding: &Rounding, output: &mut [u8]) {
    let channels = rounding.bias.len();
    let taps = taps.0.as_slice();
    let shift: Vec<i32> = rounding.shift.iter().map(|&s| i32::from(s)).collect();
    for (y, output) in output.chunks_exact_mut(window.out_side * channels).enumerate() {
        let (rows, ky) = window.span(y);
        for (x, output) in output.chunks_exact_mut(channels).enumerate() {
            let (columns, kx) = window.span(x);
            for (c, output) in output.chunks_exact_mut(GROUP).enumerate() {
                let c = c * GROUP;
                let bias = &rounding.bias[c..c + GROUP];
                let shift = &shift[c..c + GROUP];
                let mult = &rounding.mult[c..c + GROUP];
                // SAFETY: every slice that is read or written has sixteen elements.
                unsafe {
                    let mut sums = [vdupq_n_s32(0); 4];
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = vld1q_s32(bias.as_ptr().add(v * LANES));
                    }
                    for (row, ky) in rows.clone().zip(ky..) {
                        for (column, kx) in columns.clone().zip(kx..) {
                            let at = (row * window.in_side + column) * channels + c;
                            let tap = (ky * window.kernel + kx) * channels + c;
                            let (x, w) = (&input[at..at + GROUP], &taps[tap..tap + GROUP]);
                            let x = vld1q_u8(x.as_ptr());
                            let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x)));
                            let high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(x)));
                            let (a, b) = (vld1q_s16(w.as_ptr()), vld1q_s16(w.as_ptr().add(8)));
                            sums[0] = vmlal_s16(sums[0], vget_low_s16(low), vget_low_s16(a));
                            sums[1] = vmlal_s16(sums[1], vget_high_s16(low), vget_high_s16(a));
                            sums[2] = vmlal_s16(sums[2], vget_low_s16(high), vget_low_s16(b));
                            sums[3] = vmlal_s16(sums[3], vget_high_s16(high), vget_high_s16(b));
                        }
                    }
                    for (v, sum) in sums.iter().enumerate() {
                        let shift = vld1q_s32(shift.as_ptr().add(v * LANES));
                        let mult = vld1_s16(mult.as_ptr().add(v * LANES));
                        store_bytes(output.as_mut_ptr().add(v * LANES), round(*sum, shift, mult));
                    }
                }
            }
        }
    }
}
