//! Weights in the order that each kernel reads them.

use super::{Rounding, Window};

/// Numbers whose first lies at a multiple of 64 bytes, so that no vector of them straddles two cache lines.
#[derive(Debug)]
pub(super) struct Aligned<T> {
    raw: Vec<T>,
    from: usize,
}

impl<T: Copy + Default> Aligned<T> {
    fn new(values: &[T]) -> Self {
        let mut raw = vec![T::default(); values.len() + 64 / size_of::<T>()];
        let from = raw.as_ptr().align_offset(64).min(64 / size_of::<T>());
        raw[from..from + values.len()].copy_from_slice(values);
        Self { raw, from }
    }

    pub(super) fn as_slice(&self) -> &[T] {
        &self.raw[self.from..self.from + self.raw.len() - 64 / size_of::<T>()]
    }
}

/// Weights widened to 16 bits: `[outs, inputs]`.
#[derive(Debug)]
pub(super) struct Words(pub(super) Vec<i16>);

impl Words {
    pub(super) fn new(codes: &[i8]) -> Self {
        Self(codes.iter().map(|&c| i16::from(c)).collect())
    }
}

/// Pointwise weights in panels of one to three vectors of output channels, `[panel][inputs / together][vector][lane]
/// [together]`; channels are filled up with zeros to whole vectors.
#[derive(Debug)]
pub(super) struct Panels<T> {
    pub(super) inputs: usize,
    pub(super) outs: usize,
    pub(super) weights: Aligned<T>,
    pub(super) bias: Aligned<i32>,
    pub(super) shift: Aligned<i32>,
    pub(super) mult: Aligned<i16>,
    lanes: usize,
}

/// A panel: the first of its output channels, and how many vectors it has.
pub(super) struct Panel {
    pub(super) first: usize,
    pub(super) vectors: usize,
}

impl<T: Copy + Default + From<i8>> Panels<T> {
    /// `lanes` channels make a vector, `together` inputs of a channel lie side by side.
    pub(super) fn new(
        codes: &[i8],
        inputs: usize,
        rounding: &Rounding,
        [lanes, together]: [usize; 2],
    ) -> Self {
        let outs = codes.len() / inputs;
        let mut weights = Vec::new();
        for Panel { first, vectors } in panels(outs, lanes) {
            for input in (0..inputs).step_by(together) {
                for out in first..first + vectors * lanes {
                    let code = |i: usize| if out < outs { codes[out * inputs + i] } else { 0 };
                    weights.extend((input..input + together).map(|i| T::from(code(i))));
                }
            }
        }
        let whole = outs.next_multiple_of(lanes);
        Self {
            inputs,
            outs,
            weights: Aligned::new(&weights),
            bias: Aligned::new(&filled(rounding.bias.iter().copied(), whole)),
            shift: Aligned::new(&filled(rounding.shift.iter().map(|&s| i32::from(s)), whole)),
            mult: Aligned::new(&filled(rounding.mult.iter().copied(), whole)),
            lanes,
        }
    }

    /// The panels in the order of their weights.
    pub(super) fn panels(&self) -> impl Iterator<Item = Panel> {
        panels(self.outs, self.lanes)
    }
}

fn panels(outs: usize, lanes: usize) -> impl Iterator<Item = Panel> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let vectors = match outs.saturating_sub(first).div_ceil(lanes) {
            0 => return None,
            // Two of two are faster than three and one.
            2 | 4 => 2,
            left => left.min(3),
        };
        let panel = Panel { first, vectors };
        first += vectors * lanes;
        Some(panel)
    })
}

fn filled<T: Default + Clone>(values: impl Iterator<Item = T>, len: usize) -> Vec<T> {
    let mut all: Vec<T> = values.collect();
    all.resize(len, T::default());
    all
}

/// How rows of a depthwise window are taken together: `outs` output rows at once, from `lines` groups of input rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) outs: usize,
    pub(super) lines: usize,
}

/// Depthwise weights in 16 bits.
#[derive(Debug)]
pub(super) struct Taps(pub(super) Aligned<i16>);

impl Taps {
    /// `[k * k, channels]`.
    pub(super) fn plain(codes: &[i8], taps: usize, channels: usize) -> Self {
        debug_assert_eq!(codes.len(), taps * channels);
        Self(Aligned::new(&Words::new(codes).0))
    }

    /// Pairs of rows for 16 channels in two vectors: see [`lines`].
    pub(super) fn pairs(codes: &[i8], window: &Window, channels: usize, rows: Rows) -> Self {
        // What interleaving the low and high halves of two vectors of 16 words leaves in their two 128-bit lanes.
        let channel = |vector: usize, lane: usize| lane / 4 * 8 + vector * 4 + lane % 4;
        Self(Aligned::new(&Words::new(&lines(codes, window, channels, rows, [2, 8, 2], channel)).0))
    }
}

/// Weights of groups of `[vectors, lanes, together]`: `[group][vector][line][column][output row][lane][together]`.
///
/// A dword of input holds `together` rows of one channel; for output row `r` of those made at once, row `i` of the
/// lines is row `i - r * stride` of the window, and its weight zero if there is no such row.
fn lines(
    codes: &[i8],
    window: &Window,
    channels: usize,
    rows: Rows,
    [vectors, lanes, together]: [usize; 3],
    channel: impl Fn(usize, usize) -> usize,
) -> Vec<i8> {
    let size = window.kernel;
    let mut all = Vec::new();
    for group in (0..channels).step_by(vectors * lanes) {
        for vector in 0..vectors {
            for (line, column) in (0..rows.lines).flat_map(|l| (0..size).map(move |c| (l, c))) {
                for (out, lane) in (0..rows.outs).flat_map(|o| (0..lanes).map(move |l| (o, l))) {
                    let channel = group + channel(vector, lane);
                    all.extend((0..together).map(|row| {
                        let row = (line * together + row).wrapping_sub(out * window.stride);
                        let inside = row < size && channel < channels;
                        if inside { codes[(row * size + column) * channels + channel] } else { 0 }
                    }));
                }
            }
        }
    }
    all
}

/// Depthwise weights for groups of 64 channels in four vectors, four rows side by side; and their rounding in the
/// order the sums come in.
#[derive(Debug)]
pub(super) struct Depthwise64 {
    pub(super) channels: usize,
    pub(super) rows: Rows,
    pub(super) weights: Aligned<i8>,
    /// `[group][vector][lane]`.
    pub(super) bias: Aligned<i32>,
    /// `[group][vector][lane]`.
    pub(super) shift: Aligned<i32>,
    /// `[group]`, then as two vectors of words pack the sums.
    pub(super) mult: Aligned<i16>,
}

impl Depthwise64 {
    pub(super) fn new(codes: &[i8], window: &Window, rounding: &Rounding, rows: Rows) -> Self {
        let channels = rounding.bias.len();
        // What interleaving bytes, then words, leaves in the four 128-bit lanes of each of four vectors.
        let channel = |vector: usize, lane: usize| lane / 4 * 16 + vector * 4 + lane % 4;
        // Two of those packed to words.
        let word = |i: usize| i % 32 / 8 * 16 + i / 32 * 8 + i % 8;
        let whole = channels.next_multiple_of(64);
        let order = |at: usize| at / 64 * 64 + channel(at % 64 / 16, at % 16);
        let bias = |at: usize| rounding.bias.get(order(at)).copied().unwrap_or(0);
        let shift = |at: usize| rounding.shift.get(order(at)).map_or(0, |&s| i32::from(s));
        let mult = |at: usize| rounding.mult.get(at / 64 * 64 + word(at % 64)).copied().unwrap_or(0);
        Self {
            channels,
            rows,
            weights: Aligned::new(&lines(codes, window, channels, rows, [4, 16, 4], channel)),
            bias: Aligned::new(&(0..whole).map(bias).collect::<Vec<_>>()),
            shift: Aligned::new(&(0..whole).map(shift).collect::<Vec<_>>()),
            mult: Aligned::new(&(0..whole).map(mult).collect::<Vec<_>>()),
        }
    }
}
