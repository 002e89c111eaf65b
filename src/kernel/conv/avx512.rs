//! The convolutions with AVX-512 and its dot products of four bytes (VNNI), which do not saturate.

use std::arch::x86_64::*;

use super::pack::{Depthwise64, Panel, Panels, Rows};
use super::{Output, Stream, Window, sums};

/// Proof that the CPU has AVX-512 F, BW, VL and VNNI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx512(());

/// Positions of a tile: every map of the network has a multiple of 7, and 7 x 3 sums leave registers for the rest.
const TILE: usize = 7;
/// Channels of a vector of sums.
const LANES: usize = 16;
/// Channels of a group of the depthwise kernel.
const GROUP: usize = 64;

impl Avx512 {
    pub(super) fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        has.then_some(Self(()))
    }

    /// `input` is `[positions, panels.inputs]`; the caller has checked that the output has as many positions.
    pub(super) fn pointwise(self, input: &[u8], panels: &Panels<i8>, output: Output<'_>) {
        assert!(panels.inputs.is_multiple_of(4));
        let len = input.len() / panels.inputs * panels.outs;
        // SAFETY: `self` proves the CPU's features.
        unsafe {
            match output {
                Output::Bytes(out) => {
                    assert_eq!(out.len(), len);
                    pointwise(input, panels, &mut Bytes(out.as_mut_ptr()));
                }
                Output::Words(out, top) => {
                    assert_eq!(out.len(), len);
                    pointwise(input, panels, &mut Words(out.as_mut_ptr(), top));
                }
                Output::Stream(mut stream) => {
                    let Stream { words, added, bytes, entry } = &stream;
                    assert!(words.len() == len && bytes.len() == len);
                    assert!(added.is_empty() || added.len() == len);
                    assert!(entry.mult.len() == panels.outs && entry.zero.len() == panels.outs);
                    pointwise(input, panels, &mut stream);
                }
            }
        }
    }

    /// The caller has checked the lengths of the maps.
    pub(super) fn depthwise(
        self,
        input: &[u8],
        window: &Window,
        weights: &Depthwise64,
        output: &mut [u8],
        lines: &mut Vec<i32>,
    ) {
        assert!(input.len() >= window.in_side * window.in_side * weights.channels);
        assert!(output.len() >= window.out_side * window.out_side * weights.channels);
        let needed = width(window) * weights.rows.lines * GROUP;
        lines.resize((needed + LANES).max(lines.len()), 0);
        let from = lines.as_ptr().align_offset(64).min(LANES);
        let lines = &mut lines[from..from + needed];
        let run = match (window.kernel, window.stride) {
            (3, 1) => depthwise::<2, 1, 3, 1, 2>,
            (3, 2) => depthwise::<1, 1, 3, 2, 4>,
            (5, 1) => depthwise::<2, 2, 5, 1, 2>,
            _ => depthwise::<2, 2, 5, 2, 2>,
        };
        // SAFETY: `self` proves the CPU's features; the lengths are checked above and by the caller.
        unsafe { run(input, window, weights, output, lines) }
    }

    pub(super) fn cubes_of_bytes(self, map: &[u8], sums: &mut [u32]) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        fn run(map: &[u8], sums: &mut [u32]) {
            sums::cubes_of_bytes(map, sums);
        }
        // SAFETY: `self` proves the CPU's features.
        unsafe { run(map, sums) }
    }

    pub(super) fn cubes_of_words(self, map: &[i16], sums: &mut [u64]) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        fn run(map: &[i16], sums: &mut [u64]) {
            sums::cubes_of_words(map, sums);
        }
        // SAFETY: `self` proves the CPU's features.
        unsafe { run(map, sums) }
    }

    pub(super) fn add_rows(self, values: &[f32], codes: &[i16], sums: &mut [f32]) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        fn run(values: &[f32], codes: &[i16], sums: &mut [f32]) {
            sums::add_rows(values, codes, sums);
        }
        // SAFETY: `self` proves the CPU's features.
        unsafe { run(values, codes, sums) }
    }
}

/// Output rows made at once, and groups of four input rows they need.
pub(super) fn rows(window: &Window) -> Rows {
    match (window.kernel, window.stride) {
        (3, 1) => Rows { outs: 2, lines: 1 },
        (3, _) => Rows { outs: 1, lines: 1 },
        _ => Rows { outs: 2, lines: 2 },
    }
}

/// Columns of the interleaved lines: those of the map and its padding, as far as windows reach.
fn width(window: &Window) -> usize {
    (window.out_side - 1) * window.stride + window.kernel
}

/// What becomes of sixteen values `v` of a position, whose output begins at index `at`, from `channel` on.
trait Sink {
    /// # Safety
    /// The lanes that `mask` has bits for lie inside the position, and the position inside the output.
    unsafe fn put(&mut self, v: __m256i, at: usize, channel: usize, mask: __mmask16);
}

struct Bytes(*mut u8);

struct Words(*mut i16, i16);

impl Sink for Bytes {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn put(&mut self, v: __m256i, at: usize, channel: usize, mask: __mmask16) {
        // SAFETY: the caller's promise.
        unsafe { store_bytes(self.0.add(at + channel), v, mask) }
    }
}

impl Sink for Words {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn put(&mut self, v: __m256i, at: usize, channel: usize, mask: __mmask16) {
        let v = _mm256_min_epi16(_mm256_max_epi16(v, _mm256_setzero_si256()), _mm256_set1_epi16(self.1));
        // SAFETY: the caller's promise.
        unsafe { store_words(self.0.add(at + channel), v, mask) }
    }
}

impl Sink for Stream<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn put(&mut self, mut v: __m256i, at: usize, channel: usize, mask: __mmask16) {
        let to = at + channel;
        // SAFETY: the caller's promise; all maps are as long as the output, the entry has a value for each channel, and
        // masked lanes are neither read nor written.
        unsafe {
            if !self.added.is_empty() {
                v = _mm256_adds_epi16(v, _mm256_maskz_loadu_epi16(mask, self.added.as_ptr().add(to)));
            }
            store_words(self.words.as_mut_ptr().add(to), v, mask);
            let mult = _mm256_maskz_loadu_epi16(mask, self.entry.mult.as_ptr().add(channel));
            let zero = _mm256_maskz_loadu_epi16(mask, self.entry.zero.as_ptr().add(channel));
            let v = _mm256_adds_epi16(_mm256_mulhrs_epi16(v, mult), zero);
            store_bytes(self.bytes.as_mut_ptr().add(to), v, mask);
        }
    }
}

/// Stores lanes clamped to `0..=255`.
///
/// # Safety
/// The lanes that `mask` has bits for can be written at `to`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store_bytes(to: *mut u8, v: __m256i, mask: __mmask16) {
    let bytes = _mm256_cvtusepi16_epi8(_mm256_max_epi16(v, _mm256_setzero_si256()));
    // SAFETY: the caller's promise.
    unsafe {
        if mask == u16::MAX {
            _mm_storeu_si128(to.cast(), bytes);
        } else {
            _mm_mask_storeu_epi8(to.cast(), mask, bytes);
        }
    }
}

/// # Safety
/// As [`store_bytes`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store_words(to: *mut i16, v: __m256i, mask: __mmask16) {
    // SAFETY: the caller's promise.
    unsafe {
        if mask == u16::MAX {
            _mm256_storeu_si256(to.cast(), v);
        } else {
            _mm256_mask_storeu_epi16(to, mask, v);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn pointwise<S: Sink>(input: &[u8], panels: &Panels<i8>, sink: &mut S) {
    let mut at = 0;
    for panel in panels.panels() {
        let len = panel.vectors * LANES * panels.inputs;
        let weights = &panels.weights.as_slice()[at..at + len];
        at += len;
        match panel.vectors {
            1 => strip::<S, 1>(input, panels, &panel, weights, sink),
            2 => strip::<S, 2>(input, panels, &panel, weights, sink),
            _ => strip::<S, 3>(input, panels, &panel, weights, sink),
        }
    }
}

/// All positions of one panel.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn strip<S: Sink, const N: usize>(
    input: &[u8],
    panels: &Panels<i8>,
    panel: &Panel,
    weights: &[i8],
    sink: &mut S,
) {
    let positions = input.len() / panels.inputs;
    let whole = positions / TILE * TILE;
    for at in (0..whole).step_by(TILE) {
        tile::<S, TILE, N>(input, panels, panel, weights, at, sink);
    }
    for at in whole..positions {
        tile::<S, 1, N>(input, panels, panel, weights, at, sink);
    }
}

/// `P` positions by `N` vectors of channels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn tile<S: Sink, const P: usize, const N: usize>(
    input: &[u8],
    panels: &Panels<i8>,
    panel: &Panel,
    weights: &[i8],
    at: usize,
    sink: &mut S,
) {
    let inputs = panels.inputs;
    let end = panel.first + N * LANES;
    let x = &input[at * inputs..(at + P) * inputs];
    let bias = &panels.bias.as_slice()[panel.first..end];
    let shift = &panels.shift.as_slice()[panel.first..end];
    let mult = &panels.mult.as_slice()[panel.first..end];
    assert_eq!(weights.len(), N * LANES * inputs);
    // SAFETY: `bias`, `shift` and `mult` have N vectors, `weights` N vectors for each four inputs, and `x` has P times
    // `inputs` bytes. A row of the output has `outs` channels, of which `mask` leaves those there are, and the output
    // has a row for each position of the input.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); N]; P];
        for v in 0..N {
            let bias = _mm512_loadu_si512(bias.as_ptr().add(v * LANES).cast());
            for row in &mut sums {
                row[v] = bias;
            }
        }
        let mut w = weights.as_ptr();
        for k in (0..inputs).step_by(4) {
            let vectors: [__m512i; N] =
                std::array::from_fn(|v| _mm512_loadu_si512(w.add(v * LANES * 4).cast()));
            w = w.add(N * LANES * 4);
            for (p, row) in sums.iter_mut().enumerate() {
                let four = _mm512_set1_epi32(x.as_ptr().add(p * inputs + k).cast::<i32>().read_unaligned());
                for v in 0..N {
                    row[v] = _mm512_dpbusd_epi32(row[v], four, vectors[v]);
                }
            }
        }
        for v in 0..N {
            let shift = _mm512_loadu_si512(shift.as_ptr().add(v * LANES).cast());
            let mult = _mm256_loadu_si256(mult.as_ptr().add(v * LANES).cast());
            let first = panel.first + v * LANES;
            let mask = if panels.outs - first >= LANES { u16::MAX } else { (1 << (panels.outs - first)) - 1 };
            for (p, row) in sums.iter().enumerate() {
                let words = _mm512_cvtsepi32_epi16(_mm512_srav_epi32(row[v], shift));
                sink.put(_mm256_mulhrs_epi16(words, mult), (at + p) * panels.outs, first, mask);
            }
        }
    }
}

/// `R` output rows at once from `G` groups of four input rows, windows of `K` at steps of `S`, `T` columns at once.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn depthwise<const R: usize, const G: usize, const K: usize, const S: usize, const T: usize>(
    input: &[u8],
    window: &Window,
    weights: &Depthwise64,
    output: &mut [u8],
    lines: &mut [i32],
) {
    let channels = weights.channels;
    let side = window.out_side;
    let taps = weights.weights.as_slice().chunks_exact(4 * G * K * R * GROUP);
    for (group, taps) in taps.enumerate() {
        let first = group * GROUP;
        let mask = u64::MAX >> (GROUP - (channels - first).min(GROUP));
        for y in (0..side).step_by(R) {
            for g in 0..G {
                let line = &mut lines[g * width(window) * GROUP..][..width(window) * GROUP];
                interleave(input, window, channels, first, mask, (y * S + g * 4, R.min(side - y)), line);
            }
            let whole = side / T * T;
            for x in (0..whole).step_by(T) {
                columns::<R, G, K, S, T>(weights, window, group, taps, lines, (y, x), output);
            }
            for x in whole..side {
                columns::<R, G, K, S, 1>(weights, window, group, taps, lines, (y, x), output);
            }
        }
    }
}

/// Four rows of a group of channels as `[column][vector][lane][row]`, from row `start - pad` on; zeros outside the map.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn interleave(
    input: &[u8],
    window: &Window,
    channels: usize,
    first: usize,
    mask: u64,
    (start, _): (usize, usize),
    line: &mut [i32],
) {
    let (side, pad) = (window.in_side, window.pad);
    // A row outside the map is read through an empty mask.
    let rows: [(usize, u64); 4] = std::array::from_fn(|r| match (start + r).checked_sub(pad) {
        Some(row) if row < side => (row * side * channels + first, mask),
        _ => (first, 0),
    });
    line[..pad * GROUP].fill(0);
    let inside = (width(window) - pad).min(side);
    line[(pad + inside) * GROUP..].fill(0);
    assert!(input.len() >= side * side * channels);
    let line = &mut line[pad * GROUP..(pad + inside) * GROUP];
    // SAFETY: the rows begin inside the map, a masked load reads the channels that are left of a position, and `line` has
    // four vectors for each column.
    unsafe {
        let mut to = line.as_mut_ptr();
        for column in 0..inside {
            let from = input.as_ptr().add(column * channels);
            let a = _mm512_maskz_loadu_epi8(rows[0].1, from.add(rows[0].0).cast());
            let b = _mm512_maskz_loadu_epi8(rows[1].1, from.add(rows[1].0).cast());
            let c = _mm512_maskz_loadu_epi8(rows[2].1, from.add(rows[2].0).cast());
            let d = _mm512_maskz_loadu_epi8(rows[3].1, from.add(rows[3].0).cast());
            let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
            let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
            let four = [
                _mm512_unpacklo_epi16(ab_low, cd_low),
                _mm512_unpackhi_epi16(ab_low, cd_low),
                _mm512_unpacklo_epi16(ab_high, cd_high),
                _mm512_unpackhi_epi16(ab_high, cd_high),
            ];
            for (v, vector) in four.into_iter().enumerate() {
                _mm512_storeu_si512(to.add(v * LANES).cast(), vector);
            }
            to = to.add(GROUP);
        }
    }
}

/// `T` columns of `R` output rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn columns<const R: usize, const G: usize, const K: usize, const S: usize, const T: usize>(
    weights: &Depthwise64,
    window: &Window,
    group: usize,
    taps: &[i8],
    lines: &[i32],
    (y, x): (usize, usize),
    output: &mut [u8],
) {
    let first = group * GROUP;
    let bias = &weights.bias.as_slice()[first..first + GROUP];
    let shift = &weights.shift.as_slice()[first..first + GROUP];
    let mult = &weights.mult.as_slice()[first..first + GROUP];
    let line = width(window) * GROUP;
    assert!(taps.len() == 4 * G * K * R * GROUP && lines.len() == G * line);
    assert!(((x + T - 1) * S + K) * GROUP <= line && x + T <= window.out_side);
    // SAFETY: checked above: `taps` has four vectors for each line, column of the window and output row, `lines` four
    // for each line and column that the windows of these outputs cover. The output has `channels` bytes for each
    // position, the store's mask leaves those there are, and rows below the last are not stored.
    unsafe {
        let mut sums = [[[_mm512_setzero_si512(); 4]; T]; R];
        let from = lines.as_ptr().add(x * S * GROUP);
        for v in 0..4 {
            let bias = _mm512_loadu_si512(bias.as_ptr().add(v * LANES).cast());
            let mut now = [[bias; T]; R];
            for g in 0..G {
                for k in 0..K {
                    let w: [__m512i; R] = std::array::from_fn(|r| {
                        _mm512_loadu_si512(taps.as_ptr().add((((v * G + g) * K + k) * R + r) * GROUP).cast())
                    });
                    for t in 0..T {
                        let four =
                            _mm512_loadu_si512(from.add(g * line + (t * S + k) * GROUP + v * LANES).cast());
                        for r in 0..R {
                            now[r][t] = _mm512_dpbusd_epi32(now[r][t], four, w[r]);
                        }
                    }
                }
            }
            let shift = _mm512_loadu_si512(shift.as_ptr().add(v * LANES).cast());
            for (sums, now) in sums.iter_mut().zip(now) {
                for (sums, now) in sums.iter_mut().zip(now) {
                    sums[v] = _mm512_srav_epi32(now, shift);
                }
            }
        }
        let mult: [__m512i; 2] =
            std::array::from_fn(|h| _mm512_loadu_si512(mult.as_ptr().add(h * 2 * LANES).cast()));
        let mask = u64::MAX >> (GROUP - (weights.channels - first).min(GROUP));
        for (r, sums) in sums.iter().enumerate().take(window.out_side - y) {
            for (t, sums) in sums.iter().enumerate() {
                let low = _mm512_mulhrs_epi16(_mm512_packs_epi32(sums[0], sums[1]), mult[0]);
                let high = _mm512_mulhrs_epi16(_mm512_packs_epi32(sums[2], sums[3]), mult[1]);
                let at = ((y + r) * window.out_side + x + t) * weights.channels + first;
                let to = output.as_mut_ptr().add(at);
                let bytes = _mm512_packus_epi16(low, high);
                if mask == u64::MAX {
                    _mm512_storeu_si512(to.cast(), bytes);
                } else {
                    _mm512_mask_storeu_epi8(to.cast(), mask, bytes);
                }
            }
        }
    }
}
