//! The convolutions with AVX2: products of words summed in pairs, which cannot overflow (those of bytes, `maddubs`,
//! saturate).

use std::arch::x86_64::*;

use super::pack::{Panel, Panels, Rows, Taps};
use super::scalar::STRIP;
use super::{Output, Rounding, Stream, Window, sums};

/// Proof that the CPU has AVX2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx2(());

/// Positions of a tile: 4 x 3 sums leave four registers for inputs, weights and products.
const TILE: usize = 4;
/// Channels of a vector of sums.
const LANES: usize = 8;
/// Channels of a group of the depthwise kernel.
const GROUP: usize = 16;

impl Avx2 {
    pub(super) fn new() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// `input` is `[positions, panels.inputs]`; the caller has checked that the output has as many positions.
    pub(super) fn pointwise(
        self,
        input: &[u8],
        panels: &Panels<i16>,
        output: Output<'_>,
        wide: &mut Vec<i16>,
    ) {
        assert!(panels.inputs.is_multiple_of(2) && panels.outs.is_multiple_of(LANES));
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
        lines: &mut Vec<i32>,
    ) {
        let channels = rounding.bias.len();
        assert!(input.len() >= window.in_side * window.in_side * channels);
        assert!(output.len() >= window.out_side * window.out_side * channels);
        let needed = width(window) * rows(window).lines * GROUP;
        lines.resize((needed + LANES).max(lines.len()), 0);
        let from = lines.as_ptr().align_offset(32).min(LANES);
        let lines = &mut lines[from..from + needed];
        let run = match (window.kernel, window.stride) {
            (3, 1) => depthwise::<2, 2, 3, 1, 2>,
            (3, 2) => depthwise::<1, 2, 3, 2, 4>,
            (5, 1) => depthwise::<2, 3, 5, 1, 2>,
            _ => depthwise::<1, 3, 5, 2, 4>,
        };
        // SAFETY: `self` proves the CPU's features; the lengths are checked above and by the caller.
        unsafe { run(input, window, taps, rounding, output, lines) }
    }

    pub(super) fn cubes_of_bytes(self, map: &[u8], sums: &mut [u32]) {
        #[target_feature(enable = "avx2")]
        fn run(map: &[u8], sums: &mut [u32]) {
            sums::cubes_of_bytes(map, sums);
        }
        // SAFETY: `self` proves the CPU's features.
        unsafe { run(map, sums) }
    }

    pub(super) fn cubes_of_words(self, map: &[i16], sums: &mut [u64]) {
        #[target_feature(enable = "avx2")]
        fn run(map: &[i16], sums: &mut [u64]) {
            sums::cubes_of_words(map, sums);
        }
        // SAFETY: `self` proves the CPU's features.
        unsafe { run(map, sums) }
    }

    pub(super) fn add_rows(self, values: &[f32], codes: &[i16], sums: &mut [f32]) {
        #[target_feature(enable = "avx2")]
        fn run(values: &[f32], codes: &[i16], sums: &mut [f32]) {
            sums::add_rows(values, codes, sums);
        }
        // SAFETY: `self` proves the CPU's features.
        unsafe { run(values, codes, sums) }
    }
}

/// Output rows made at once, and pairs of input rows they need.
pub(super) fn rows(window: &Window) -> Rows {
    match (window.kernel, window.stride) {
        (3, 1) => Rows { outs: 2, lines: 2 },
        (3, _) => Rows { outs: 1, lines: 2 },
        (_, 1) => Rows { outs: 2, lines: 3 },
        _ => Rows { outs: 1, lines: 3 },
    }
}

/// Columns of the interleaved lines: those of the map and its padding, as far as windows reach.
fn width(window: &Window) -> usize {
    (window.out_side - 1) * window.stride + window.kernel
}

/// What becomes of eight values `v` of a position, whose output begins at index `at`, from `channel` on.
trait Sink {
    /// # Safety
    /// The lanes lie inside the position, and the position inside the output.
    unsafe fn put(&mut self, v: __m128i, at: usize, channel: usize);
}

struct Bytes(*mut u8);

struct Words(*mut i16, i16);

impl Sink for Bytes {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn put(&mut self, v: __m128i, at: usize, channel: usize) {
        // SAFETY: the caller's promise.
        unsafe { _mm_storel_epi64(self.0.add(at + channel).cast(), _mm_packus_epi16(v, v)) }
    }
}

impl Sink for Words {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn put(&mut self, v: __m128i, at: usize, channel: usize) {
        let v = _mm_min_epi16(_mm_max_epi16(v, _mm_setzero_si128()), _mm_set1_epi16(self.1));
        // SAFETY: the caller's promise.
        unsafe { _mm_storeu_si128(self.0.add(at + channel).cast(), v) }
    }
}

impl Sink for Stream<'_> {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn put(&mut self, mut v: __m128i, at: usize, channel: usize) {
        let to = at + channel;
        // SAFETY: the caller's promise; all maps are as long as the output, and the entry has a value for each channel.
        unsafe {
            if !self.added.is_empty() {
                v = _mm_adds_epi16(v, _mm_loadu_si128(self.added.as_ptr().add(to).cast()));
            }
            _mm_storeu_si128(self.words.as_mut_ptr().add(to).cast(), v);
            let mult = _mm_loadu_si128(self.entry.mult.as_ptr().add(channel).cast());
            let zero = _mm_loadu_si128(self.entry.zero.as_ptr().add(channel).cast());
            let v = _mm_adds_epi16(_mm_mulhrs_epi16(v, mult), zero);
            _mm_storel_epi64(self.bytes.as_mut_ptr().add(to).cast(), _mm_packus_epi16(v, v));
        }
    }
}

/// Eight sums to eight words, shifted, clamped and scaled.
#[inline]
#[target_feature(enable = "avx2")]
fn round(sums: __m256i, shift: __m256i, mult: __m128i) -> __m128i {
    let t = _mm256_srav_epi32(sums, shift);
    let words = _mm_packs_epi32(_mm256_castsi256_si128(t), _mm256_extracti128_si256::<1>(t));
    _mm_mulhrs_epi16(words, mult)
}

#[target_feature(enable = "avx2")]
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
            let run = match panel.vectors {
                1 => (tile::<S, TILE, 1> as TileFn<S>, tile::<S, 1, 1> as TileFn<S>),
                2 => (tile::<S, TILE, 2> as TileFn<S>, tile::<S, 1, 2> as TileFn<S>),
                _ => (tile::<S, TILE, 3> as TileFn<S>, tile::<S, 1, 3> as TileFn<S>),
            };
            // SAFETY: this function is only called where the CPU has AVX2.
            unsafe {
                for p in (0..whole).step_by(TILE) {
                    run.0(&wide[p * inputs..], panels, &panel, weights, s * STRIP + p, sink);
                }
                for p in whole..positions {
                    run.1(&wide[p * inputs..], panels, &panel, weights, s * STRIP + p, sink);
                }
            }
        }
    }
}

type TileFn<S> = unsafe fn(&[i16], &Panels<i16>, &Panel, &[i16], usize, &mut S);

/// `P` positions by `N` vectors of channels; `x` begins with the first position, which is `at` in the output.
#[target_feature(enable = "avx2")]
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
    // SAFETY: `bias`, `shift` and `mult` have N vectors, `weights` N vectors for each two inputs, and `x` has P times
    // `inputs` words. A row of the output has `outs` channels, a multiple of a vector, and the output has a row for
    // each position of the input.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); N]; P];
        for v in 0..N {
            let bias = _mm256_loadu_si256(bias.as_ptr().add(v * LANES).cast());
            for row in &mut sums {
                row[v] = bias;
            }
        }
        let mut w = weights.as_ptr();
        for k in (0..inputs).step_by(2) {
            let vectors: [__m256i; N] =
                std::array::from_fn(|v| _mm256_loadu_si256(w.add(v * LANES * 2).cast()));
            w = w.add(N * LANES * 2);
            for (p, row) in sums.iter_mut().enumerate() {
                let two = _mm256_set1_epi32(x.as_ptr().add(p * inputs + k).cast::<i32>().read_unaligned());
                for v in 0..N {
                    row[v] = _mm256_add_epi32(row[v], _mm256_madd_epi16(two, vectors[v]));
                }
            }
        }
        for v in 0..N {
            let shift = _mm256_loadu_si256(shift.as_ptr().add(v * LANES).cast());
            let mult = _mm_loadu_si128(mult.as_ptr().add(v * LANES).cast());
            for (p, row) in sums.iter().enumerate() {
                sink.put(round(row[v], shift, mult), (at + p) * panels.outs, panel.first + v * LANES);
            }
        }
    }
}

/// `R` output rows at once from `G` pairs of input rows, windows of `K` at steps of `S`, `T` columns at once.
#[target_feature(enable = "avx2")]
fn depthwise<const R: usize, const G: usize, const K: usize, const S: usize, const T: usize>(
    input: &[u8],
    window: &Window,
    taps: &Taps,
    rounding: &Rounding,
    output: &mut [u8],
    lines: &mut [i32],
) {
    let side = window.out_side;
    let line = width(window) * GROUP;
    for (group, taps) in taps.0.as_slice().chunks_exact(2 * G * K * R * GROUP).enumerate() {
        let rounding = Group::new(rounding, group * GROUP);
        for y in (0..side).step_by(R) {
            for g in 0..G {
                interleave(input, window, &rounding, y * S + g * 2, &mut lines[g * line..(g + 1) * line]);
            }
            let whole = side / T * T;
            for x in (0..whole).step_by(T) {
                columns::<R, G, K, S, T>(window, &rounding, taps, lines, (y, x), output);
            }
            for x in whole..side {
                columns::<R, G, K, S, 1>(window, &rounding, taps, lines, (y, x), output);
            }
        }
    }
}

/// The rounding of sixteen channels, sums in the order that interleaved words come in.
struct Group {
    channels: usize,
    first: usize,
    bias: [__m256i; 2],
    shift: [__m256i; 2],
    mult: __m256i,
}

impl Group {
    #[target_feature(enable = "avx2")]
    fn new(rounding: &Rounding, first: usize) -> Self {
        let order = |v: usize, lane: usize| first + lane / 4 * 8 + v * 4 + lane % 4;
        let vector = |value: &dyn Fn(usize) -> i32, v: usize| {
            let lanes: [i32; LANES] = std::array::from_fn(|lane| value(order(v, lane)));
            // SAFETY: the array is one vector.
            unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
        };
        let mult = &rounding.mult[first..first + GROUP];
        let shift = |c: usize| i32::from(rounding.shift[c]);
        let bias = |c: usize| rounding.bias[c];
        Self {
            channels: rounding.bias.len(),
            first,
            bias: [vector(&bias, 0), vector(&bias, 1)],
            shift: [vector(&shift, 0), vector(&shift, 1)],
            // SAFETY: sixteen words are one vector.
            mult: unsafe { _mm256_loadu_si256(mult.as_ptr().cast()) },
        }
    }
}

/// Two rows of sixteen channels as `[column][vector][lane][row]`, from row `start - pad` on; zeros outside the map.
#[inline]
#[target_feature(enable = "avx2")]
fn interleave(input: &[u8], window: &Window, group: &Group, start: usize, line: &mut [i32]) {
    let (side, pad, channels) = (window.in_side, window.pad, group.channels);
    let row = |r: usize| {
        let row = (start + r).checked_sub(pad).filter(|row| *row < side);
        row.map(|row| &input[row * side * channels + group.first..(row + 1) * side * channels])
    };
    let (a, b) = (row(0), row(1));
    line[..pad * GROUP].fill(0);
    let inside = (width(window) - pad).min(side);
    line[(pad + inside) * GROUP..].fill(0);
    let line = &mut line[pad * GROUP..(pad + inside) * GROUP];
    for (column, to) in line.chunks_exact_mut(GROUP).enumerate() {
        let (a, b) = (words(a, column * channels), words(b, column * channels));
        // SAFETY: `to` has sixteen dwords, two vectors.
        unsafe {
            _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm256_unpacklo_epi16(a, b));
            _mm256_storeu_si256(to.as_mut_ptr().add(LANES).cast(), _mm256_unpackhi_epi16(a, b));
        }
    }
}

/// Sixteen bytes of a row from `at` on, widened; zeros if there is no row.
#[inline]
#[target_feature(enable = "avx2")]
fn words(row: Option<&[u8]>, at: usize) -> __m256i {
    match row {
        None => _mm256_setzero_si256(),
        Some(row) => {
            let bytes = &row[at..at + GROUP];
            // SAFETY: sixteen bytes.
            _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
        }
    }
}

/// `T` columns of `R` output rows.
#[inline]
#[target_feature(enable = "avx2")]
fn columns<const R: usize, const G: usize, const K: usize, const S: usize, const T: usize>(
    window: &Window,
    group: &Group,
    taps: &[i16],
    lines: &[i32],
    (y, x): (usize, usize),
    output: &mut [u8],
) {
    let line = width(window) * GROUP;
    assert!(taps.len() == 2 * G * K * R * GROUP && lines.len() == G * line);
    assert!(((x + T - 1) * S + K) * GROUP <= line && x + T <= window.out_side);
    let mut sums = [[group.bias; T]; R];
    // SAFETY: checked above: `taps` has two vectors for each line, column of the window and output row, `lines` two
    // for each line and column that the windows of these outputs cover.
    unsafe {
        let from = lines.as_ptr().add(x * S * GROUP);
        for v in 0..2 {
            for g in 0..G {
                for k in 0..K {
                    let w: [__m256i; R] = std::array::from_fn(|r| {
                        _mm256_loadu_si256(taps.as_ptr().add((((v * G + g) * K + k) * R + r) * GROUP).cast())
                    });
                    for t in 0..T {
                        let at = g * line + (t * S + k) * GROUP + v * LANES;
                        let two = _mm256_loadu_si256(from.add(at).cast());
                        for r in 0..R {
                            let product = _mm256_madd_epi16(two, w[r]);
                            sums[r][t][v] = _mm256_add_epi32(sums[r][t][v], product);
                        }
                    }
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate().take(window.out_side - y) {
        for (t, sums) in sums.iter().enumerate() {
            let [a, b] = [0, 1].map(|v| _mm256_srav_epi32(sums[v], group.shift[v]));
            let words = _mm256_mulhrs_epi16(_mm256_packs_epi32(a, b), group.mult);
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            let at = ((y + r) * window.out_side + x + t) * group.channels + group.first;
            let to = &mut output[at..at + GROUP];
            // SAFETY: sixteen bytes.
            unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), bytes) }
        }
    }
}
