//! Convolutions of 8-bit maps by 8-bit weights, channels last, exact in integers: every instruction set gives the
//! same bits.
//!
//! `sum[c] = bias[c] + x . w[c]` in 32 bits, then fixed point (arXiv 1712.05877, section 2.2, with 16-bit multipliers):
//! `v = (clamp16(sum >> shift[c]) * mult[c] + 2^14) >> 15`, clamped to what the output holds. The bias holds the half
//! that makes the shift a rounding one.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "instructions of one kind of CPU, and loads without bounds checks")]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "instructions of one kind of CPU, and loads without bounds checks")]
mod avx512;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "instructions of one kind of CPU, and loads without bounds checks")]
mod neon;
mod pack;
mod scalar;
mod stem;
mod sums;
#[cfg(test)]
mod tests;

use std::ops::Range;

use pack::{Depthwise64, Panels, Taps, Words};
pub(crate) use stem::{Stem, StemScratch};

/// The instructions that the convolutions use. A value of this type proves that the CPU has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernel(Isa);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Isa {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
}

impl Kernel {
    /// All that this CPU has, the slowest first.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self(Isa::Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(avx2::Avx2::new().map(|isa| Self(Isa::Avx2(isa))));
            all.extend(avx512::Avx512::new().map(|isa| Self(Isa::Avx512(isa))));
        }
        #[cfg(target_arch = "aarch64")]
        all.extend(neon::Neon::new().map(|isa| Self(Isa::Neon(isa))));
        all
    }

    /// The fastest that this CPU has.
    pub(crate) fn best() -> Self {
        Self::all().pop().unwrap_or(Self(Isa::Scalar))
    }

    /// Sums over positions of the cubes of a map `[positions, channels]`, at most 256 positions.
    pub(crate) fn cubes_of_bytes(self, map: &[u8], channels: usize) -> Vec<u64> {
        assert!(map.len() <= 256 * channels, "sums of 32 bits");
        let mut sums = vec![0; channels];
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => isa.cubes_of_bytes(map, &mut sums),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(isa) => isa.cubes_of_bytes(map, &mut sums),
            _ => sums::cubes_of_bytes(map, &mut sums),
        }
        sums.into_iter().map(u64::from).collect()
    }

    /// The same of a map of words that are not negative.
    pub(crate) fn cubes_of_words(self, map: &[i16], channels: usize) -> Vec<u64> {
        let mut sums = vec![0; channels];
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => isa.cubes_of_words(map, &mut sums),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(isa) => isa.cubes_of_words(map, &mut sums),
            _ => sums::cubes_of_words(map, &mut sums),
        }
        sums
    }

    /// Adds `values [rows]` times `codes [rows, columns]` to `sums [columns]`, row after row, without fusing products
    /// and sums.
    pub(crate) fn add_rows(self, values: &[f32], codes: &[i16], sums: &mut [f32]) {
        assert_eq!(values.len() * sums.len(), codes.len());
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => isa.add_rows(values, codes, sums),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(isa) => isa.add_rows(values, codes, sums),
            _ => sums::add_rows(values, codes, sums),
        }
    }

    /// `scalar`, `avx2`, `avx512` or `neon`.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Isa::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => "neon",
        }
    }
}

/// How sums become the output, by output channel.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rounding {
    pub(crate) bias: Vec<i32>,
    /// Above zero.
    pub(crate) mult: Vec<i16>,
    /// Below 32.
    pub(crate) shift: Vec<u8>,
}

impl Rounding {
    /// Whether all three are of `outs` channels and in their ranges, and no sum of `inputs` products can overflow.
    pub(crate) fn is_sound(&self, outs: usize, inputs: usize) -> bool {
        let headroom = i32::MAX - i32::try_from(inputs).map_or(i32::MAX, |n| n.saturating_mul(255 * 128));
        [self.bias.len(), self.mult.len(), self.shift.len()] == [outs; 3]
            && self.mult.iter().all(|&m| m > 0)
            && self.shift.iter().all(|&s| s < 32)
            && self.bias.iter().all(|&b| b.unsigned_abs() <= headroom.max(0).unsigned_abs())
    }

    /// The definition: `sum` (with its bias) of channel `c` to `v`.
    fn round(&self, c: usize, sum: i32) -> i16 {
        let t = (sum >> self.shift[c]).clamp(-32768, 32767) as i16;
        scaled(t, self.mult[c])
    }
}

/// `(t * mult + 2^14) >> 15`, for `mult` above zero.
fn scaled(t: i16, mult: i16) -> i16 {
    ((i32::from(t) * i32::from(mult) + (1 << 14)) >> 15) as i16
}

/// A convolution of one position: `[positions, inputs]` to `[positions, outs]`.
#[derive(Debug)]
pub(crate) struct Pointwise {
    inputs: usize,
    outs: usize,
    weights: Packed,
}

/// Weights in the order that a kernel reads them.
#[derive(Debug)]
enum Packed {
    Scalar(Words, Rounding),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2, Panels<i16>),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512, Panels<i8>),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon, Panels<i16>),
}

/// Where a pointwise convolution writes.
pub(crate) enum Output<'a> {
    /// Clamped to `0..=255`.
    Bytes(&'a mut [u8]),
    /// Clamped to `0..=top`.
    Words(&'a mut [i16], i16),
    /// The residual stream.
    Stream(Stream<'a>),
}

/// What a linear layer makes.
pub(crate) struct Stream<'a> {
    /// The sums themselves.
    pub(crate) words: &'a mut [i16],
    /// Added to them, saturating, unless it is empty.
    pub(crate) added: &'a [i16],
    /// The sums as the next layer reads them.
    pub(crate) bytes: &'a mut [u8],
    pub(crate) entry: &'a Entry,
}

/// How words become bytes, by channel: `(y * mult + 2^14) >> 15`, plus `zero`, clamped to `0..=255`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    /// Above zero.
    pub(crate) mult: Vec<i16>,
    pub(crate) zero: Vec<i16>,
}

impl Output<'_> {
    fn check(&self, len: usize, outs: usize) {
        match self {
            Output::Bytes(out) => assert_eq!(out.len(), len),
            Output::Words(out, _) => assert_eq!(out.len(), len),
            Output::Stream(Stream { words, added, bytes, entry }) => {
                assert!(words.len() == len && bytes.len() == len && (added.is_empty() || added.len() == len));
                assert!(entry.mult.len() == outs && entry.zero.len() == outs);
            }
        }
    }
}

impl Pointwise {
    /// `codes` are `[outs, inputs]`, `inputs` a multiple of 8 and so is `outs`.
    pub(crate) fn new(kernel: Kernel, inputs: usize, codes: &[i8], rounding: Rounding) -> Self {
        let outs = rounding.bias.len();
        assert!(inputs.is_multiple_of(8) && outs.is_multiple_of(8) && codes.len() == inputs * outs);
        assert!(rounding.is_sound(outs, inputs));
        let weights = match kernel.0 {
            Isa::Scalar => Packed::Scalar(Words::new(codes), rounding),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => Packed::Avx2(isa, Panels::new(codes, inputs, &rounding, [8, 2])),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(isa) => Packed::Avx512(isa, Panels::new(codes, inputs, &rounding, [16, 4])),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(isa) => Packed::Neon(isa, Panels::new(codes, inputs, &rounding, [4, 1])),
        };
        Self { inputs, outs, weights }
    }

    /// Length of the output for an input of `len`.
    pub(crate) fn outputs(&self, len: usize) -> usize {
        len / self.inputs * self.outs
    }

    /// `input` is `[positions, inputs]`, the output as many positions; `wide` is scratch memory.
    pub(crate) fn run(&self, input: &[u8], output: Output<'_>, wide: &mut Vec<i16>) {
        assert!(input.len().is_multiple_of(self.inputs));
        output.check(input.len() / self.inputs * self.outs, self.outs);
        match &self.weights {
            Packed::Scalar(weights, rounding) => {
                scalar::pointwise(input, self.inputs, &weights.0, rounding, output, wide);
            }
            #[cfg(target_arch = "x86_64")]
            Packed::Avx2(isa, panels) => isa.pointwise(input, panels, output, wide),
            #[cfg(target_arch = "x86_64")]
            Packed::Avx512(isa, panels) => isa.pointwise(input, panels, output),
            #[cfg(target_arch = "aarch64")]
            Packed::Neon(isa, panels) => isa.pointwise(input, panels, output, wide),
        }
    }
}

/// The window of a convolution over a square map, with TensorFlow's SAME padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Side of the window, in positions.
    pub(crate) kernel: usize,
    /// Step of the window, in positions.
    pub(crate) stride: usize,
    /// Side of the input map, in positions.
    pub(crate) in_side: usize,
    /// Side of the output map, in positions.
    pub(crate) out_side: usize,
    /// Positions of padding before the first row and column.
    pub(crate) pad: usize,
}

impl Window {
    /// The input positions along one axis that output position `at` sees, and which of the window's own these are.
    fn span(&self, at: usize) -> (Range<usize>, usize) {
        let start = at * self.stride;
        let first = self.pad.saturating_sub(start);
        let last = (self.in_side + self.pad - start).min(self.kernel);
        (start + first - self.pad..start + last - self.pad, first)
    }
}

/// Each channel with its own `k x k` window; outputs are clamped to `0..=255`.
#[derive(Debug)]
pub(crate) struct Depthwise {
    window: Window,
    channels: usize,
    weights: PackedTaps,
}

#[derive(Debug)]
enum PackedTaps {
    Scalar(Taps, Rounding),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2, Taps, Rounding),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512, Depthwise64),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon, Taps, Rounding),
}

impl Depthwise {
    /// `codes` are `[k, k, channels]`, the window's side 3 or 5 and its step 1 or 2; `channels` is a multiple of 16.
    pub(crate) fn new(kernel: Kernel, window: Window, codes: &[i8], rounding: Rounding) -> Self {
        let channels = rounding.bias.len();
        let size = window.kernel;
        assert!(matches!((size, window.stride), (3 | 5, 1 | 2)) && channels.is_multiple_of(16));
        assert!(window.pad < size && (window.out_side - 1) * window.stride < window.in_side + window.pad);
        assert!(codes.len() == size * size * channels && rounding.is_sound(channels, size * size));
        let weights = match kernel.0 {
            Isa::Scalar => PackedTaps::Scalar(Taps::plain(codes, size * size, channels), rounding),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => {
                PackedTaps::Avx2(isa, Taps::pairs(codes, &window, channels, avx2::rows(&window)), rounding)
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(isa) => {
                PackedTaps::Avx512(isa, Depthwise64::new(codes, &window, &rounding, avx512::rows(&window)))
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(isa) => PackedTaps::Neon(isa, Taps::plain(codes, size * size, channels), rounding),
        };
        Self { window, channels, weights }
    }

    /// Length of the output.
    pub(crate) fn outputs(&self) -> usize {
        self.window.out_side * self.window.out_side * self.channels
    }

    /// `input` is `[in_side, in_side, channels]`, `output` `[out_side, out_side, channels]`; `lines` is scratch memory.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(unused_variables, reason = "only the kernels of x86 use scratch memory")
    )]
    pub(crate) fn run(&self, input: &[u8], output: &mut [u8], lines: &mut Vec<i32>) {
        let (window, channels) = (&self.window, self.channels);
        assert_eq!(input.len(), window.in_side * window.in_side * channels);
        assert_eq!(output.len(), window.out_side * window.out_side * channels);
        match &self.weights {
            PackedTaps::Scalar(taps, rounding) => {
                scalar::depthwise(input, window, taps, rounding, output);
            }
            #[cfg(target_arch = "x86_64")]
            PackedTaps::Avx2(isa, taps, rounding) => {
                isa.depthwise(input, window, taps, rounding, output, lines);
            }
            #[cfg(target_arch = "x86_64")]
            PackedTaps::Avx512(isa, weights) => isa.depthwise(input, window, weights, output, lines),
            #[cfg(target_arch = "aarch64")]
            PackedTaps::Neon(isa, taps, rounding) => isa.depthwise(input, window, taps, rounding, output),
        }
    }
}
