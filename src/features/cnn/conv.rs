//! Convolutions in f32: channels last, plain loops over fixed-size arrays that the compiler turns into vector code.
//!
//! Sums run over the inputs in one fixed order and no product is fused with its sum, so the result is the same on
//! every machine.

use std::ops::Range;

use super::graph::{Kind, Layer, Role};

/// Output channels of one tile of a pointwise or full convolution; every layer's count is a multiple.
const PANEL: usize = 8;
/// Positions of one tile: 4 x 8 sums, two vectors of weights and one of inputs fit the 16 registers of SSE2.
const TILE: usize = 4;
/// Positions that share one pass over the weights; 32 x 1152 inputs are 147 kB and stay in the second cache.
const STRIP: usize = 32;
/// Channels of one tile of a depthwise convolution; every layer's count is a multiple.
const LANES: usize = 16;
/// Upper end of ReLU6.
const SIX: f32 = 6.0;

/// The weights of one layer in the order its kernel reads them.
#[derive(Debug)]
pub(super) struct Conv {
    layer: Layer,
    /// Full and pointwise: `[out / 8, k * k * in, 8]`; depthwise: `[channels / 16, k * k, 16]`.
    weights: Vec<f32>,
    /// `[out]`.
    bias: Vec<f32>,
}

/// Buffers a pass over the network writes over and over.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Inputs of one strip: `[STRIP / TILE, k * k * in, TILE]`.
    packed: Vec<f32>,
    /// The stem's windows: `[positions, 27]`.
    windows: Vec<f32>,
}

impl Conv {
    /// `weights` are `[out, k, k, in]`, for a depthwise layer `[k, k, channels]`; `bias` is `[out]`.
    pub(super) fn new(layer: Layer, weights: &[f32], bias: Vec<f32>) -> Self {
        assert!(weights.len() == layer.weights() && bias.len() == layer.out_channels);
        let group = if layer.kind == Kind::Depthwise { LANES } else { PANEL };
        assert!(layer.out_channels.is_multiple_of(group));
        let inputs = layer.weights() / layer.out_channels;
        let mut sorted = Vec::with_capacity(weights.len());
        for first in (0..layer.out_channels).step_by(group) {
            for input in 0..inputs {
                sorted.extend((first..first + group).map(|out| match layer.kind {
                    Kind::Depthwise => weights[input * layer.out_channels + out],
                    Kind::Full | Kind::Pointwise => weights[out * inputs + input],
                }));
            }
        }
        Self { layer, weights: sorted, bias }
    }

    /// What the layer's input is to its block.
    pub(super) fn role(&self) -> Role {
        self.layer.role
    }

    /// `input [in_side, in_side, in]` to `output [out_side, out_side, out]`, with bias, ReLU6 and `added`
    /// (same shape as the output) if the layer says so. `output` is resized to fit.
    pub(super) fn run(
        &self,
        input: &[f32],
        added: Option<&[f32]>,
        output: &mut Vec<f32>,
        scratch: &mut Scratch,
    ) {
        let layer = &self.layer;
        let positions = layer.out_side() * layer.out_side();
        assert_eq!(input.len(), layer.in_side * layer.in_side * layer.in_channels);
        output.resize(positions * layer.out_channels, 0.0);
        match layer.kind {
            Kind::Depthwise => match layer.kernel {
                3 => self.depthwise::<3>(input, output),
                5 => self.depthwise::<5>(input, output),
                other => unreachable!("no depthwise layer has a window of {other}"),
            },
            Kind::Pointwise => self.pointwise(input, layer.in_channels, output, &mut scratch.packed),
            Kind::Full => {
                let mut windows = std::mem::take(&mut scratch.windows);
                self.gather(input, &mut windows);
                self.pointwise(
                    &windows,
                    self.weights.len() / layer.out_channels,
                    output,
                    &mut scratch.packed,
                );
                scratch.windows = windows;
            }
        }
        if let Some(added) = added {
            assert_eq!(added.len(), output.len());
            output.iter_mut().zip(added).for_each(|(o, a)| *o += a);
        }
    }

    /// Positions of the window that lie inside the map, for output position `at` along one axis, and where the
    /// window begins (in input positions, before clipping, plus the padding).
    fn window(&self, at: usize) -> (usize, Range<usize>) {
        let (start, pad) = (at * self.layer.stride, self.layer.pad_before());
        let first = pad.saturating_sub(start);
        let last = (self.layer.in_side + pad - start).min(self.layer.kernel);
        (start, first..last)
    }

    /// The windows of a full convolution side by side: `[positions, k * k * in]`, zeros outside the map.
    fn gather(&self, input: &[f32], windows: &mut Vec<f32>) {
        let Layer { kernel, in_side, in_channels, .. } = self.layer;
        let (side, pad) = (self.layer.out_side(), self.layer.pad_before());
        let row = kernel * in_channels;
        windows.clear();
        windows.resize(side * side * kernel * row, 0.0);
        for (i, window) in windows.chunks_exact_mut(kernel * row).enumerate() {
            let (top, rows) = self.window(i / side);
            let (left, columns) = self.window(i % side);
            for ky in rows {
                let from = ((top + ky - pad) * in_side + left + columns.start - pad) * in_channels;
                let span = columns.len() * in_channels;
                let to = ky * row + columns.start * in_channels;
                window[to..to + span].copy_from_slice(&input[from..from + span]);
            }
        }
    }

    /// `input [positions, inputs]` times the weights, plus bias: a matrix product in tiles of 4 positions by 8 channels.
    fn pointwise(&self, input: &[f32], inputs: usize, output: &mut [f32], packed: &mut Vec<f32>) {
        let outs = self.layer.out_channels;
        for (strip, output) in input.chunks(STRIP * inputs).zip(output.chunks_mut(STRIP * outs)) {
            pack(strip, inputs, packed);
            let panels = self.weights.chunks_exact(inputs * PANEL).zip(self.bias.chunks_exact(PANEL));
            for (p, (panel, bias)) in panels.enumerate() {
                for (tile, rows) in packed.chunks_exact(inputs * TILE).zip(output.chunks_mut(TILE * outs)) {
                    let sums = tile_product(tile, panel);
                    for (sums, row) in sums.iter().zip(rows.chunks_exact_mut(outs)) {
                        let row = &mut row[p * PANEL..(p + 1) * PANEL];
                        for ((to, sum), bias) in row.iter_mut().zip(sums).zip(bias) {
                            *to = if self.layer.relu6 { (sum + bias).clamp(0.0, SIX) } else { sum + bias };
                        }
                    }
                }
            }
        }
    }

    /// Each channel with its own `K x K` window.
    fn depthwise<const K: usize>(&self, input: &[f32], output: &mut [f32]) {
        let Layer { in_side, in_channels: channels, .. } = self.layer;
        let (side, pad) = (self.layer.out_side(), self.layer.pad_before());
        for (y, output) in output.chunks_exact_mut(side * channels).enumerate() {
            let (top, rows) = self.window(y);
            let groups = self.weights.chunks_exact(K * K * LANES).zip(self.bias.chunks_exact(LANES));
            for (g, (weights, bias)) in groups.enumerate() {
                let (weights, _) = weights.as_chunks::<LANES>();
                for (x, output) in output.chunks_exact_mut(channels).enumerate() {
                    let (left, columns) = self.window(x);
                    let mut sums = [0.0; LANES];
                    for ky in rows.clone() {
                        let from =
                            ((top + ky - pad) * in_side + left + columns.start - pad) * channels + g * LANES;
                        let weights = &weights[ky * K..(ky + 1) * K];
                        if columns.len() == K {
                            accumulate(&mut sums, &input[from..], channels, &weights[..K]);
                        } else {
                            accumulate(&mut sums, &input[from..], channels, &weights[columns.clone()]);
                        }
                    }
                    let output = &mut output[g * LANES..(g + 1) * LANES];
                    for ((to, sum), bias) in output.iter_mut().zip(sums).zip(bias) {
                        *to = (sum + bias).clamp(0.0, SIX);
                    }
                }
            }
        }
    }
}

/// Adds one row of a window: position `i` of it begins at `input[i * step]`.
#[inline(always)]
fn accumulate(sums: &mut [f32; LANES], input: &[f32], step: usize, weights: &[[f32; LANES]]) {
    for (position, weights) in input.chunks(step).zip(weights) {
        let position = &position[..LANES];
        for lane in 0..LANES {
            sums[lane] += position[lane] * weights[lane];
        }
    }
}

/// `[positions, inputs]` to `[tiles, inputs, TILE]`; the last tile is filled up with zeros.
fn pack(strip: &[f32], inputs: usize, packed: &mut Vec<f32>) {
    let tiles = (strip.len() / inputs).div_ceil(TILE);
    packed.resize(tiles * inputs * TILE, 0.0);
    for (rows, tile) in strip.chunks(TILE * inputs).zip(packed.chunks_exact_mut(TILE * inputs)) {
        if rows.len() < tile.len() {
            tile.fill(0.0);
        }
        let (columns, _) = tile.as_chunks_mut::<TILE>();
        for (position, row) in rows.chunks_exact(inputs).enumerate() {
            for (column, value) in columns.iter_mut().zip(row) {
                column[position] = *value;
            }
        }
    }
}

/// `[inputs, TILE]` transposed times `[inputs, PANEL]`.
#[inline]
fn tile_product(tile: &[f32], panel: &[f32]) -> [[f32; PANEL]; TILE] {
    let mut sums = [[0.0; PANEL]; TILE];
    for (values, weights) in tile.as_chunks::<TILE>().0.iter().zip(panel.as_chunks::<PANEL>().0) {
        for (sums, value) in sums.iter_mut().zip(values) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += value * weight;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in `-1..1`, the same in every run.
    fn noise(seed: u64, len: usize) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    /// The definition, in f64: `weights [out, k, k, in]` or `[k, k, channels]`.
    fn direct(layer: &Layer, weights: &[f32], bias: &[f32], input: &[f32]) -> Vec<f64> {
        let (side, out_side, k) = (layer.in_side, layer.out_side(), layer.kernel);
        let total = ((out_side - 1) * layer.stride + k).saturating_sub(side);
        let pad = (total / 2) as isize;
        let mut output = Vec::new();
        for y in 0..out_side {
            for x in 0..out_side {
                for out in 0..layer.out_channels {
                    let mut sum = f64::from(bias[out]);
                    for ky in 0..k {
                        for kx in 0..k {
                            let iy = (y * layer.stride + ky) as isize - pad;
                            let ix = (x * layer.stride + kx) as isize - pad;
                            if iy < 0 || ix < 0 || iy >= side as isize || ix >= side as isize {
                                continue;
                            }
                            let at = (iy as usize * side + ix as usize) * layer.in_channels;
                            sum += if layer.kind == Kind::Depthwise {
                                let w = weights[(ky * k + kx) * layer.out_channels + out];
                                f64::from(w) * f64::from(input[at + out])
                            } else {
                                let w = &weights[((out * k + ky) * k + kx) * layer.in_channels..];
                                let values = &input[at..at + layer.in_channels];
                                values.iter().zip(w).map(|(v, w)| f64::from(*v) * f64::from(*w)).sum()
                            };
                        }
                    }
                    output.push(if layer.relu6 { sum.clamp(0.0, 6.0) } else { sum });
                }
            }
        }
        output
    }

    fn check(layer: Layer) {
        let input = noise(1, layer.in_side * layer.in_side * layer.in_channels);
        let weights: Vec<f32> = noise(2, layer.weights()).iter().map(|w| w * 3.0).collect();
        let bias = noise(3, layer.out_channels);
        let conv = Conv::new(layer, &weights, bias.clone());
        let want = direct(&layer, &weights, &bias, &input);
        let (mut output, mut scratch) = (vec![9.0; 5], Scratch::default());
        conv.run(&input, None, &mut output, &mut scratch);
        assert_eq!(output.len(), want.len());
        for (have, want) in output.iter().zip(&want) {
            assert!((f64::from(*have) - want).abs() < 1e-4, "{layer:?}: {have} {want}");
        }
        let added = noise(4, want.len());
        let mut sum = Vec::new();
        conv.run(&input, Some(&added), &mut sum, &mut scratch);
        assert!(sum.iter().zip(output.iter().zip(&added)).all(|(s, (o, a))| *s == o + a));
    }

    const BASE: Layer = Layer {
        kind: Kind::Depthwise,
        kernel: 3,
        stride: 1,
        in_side: 9,
        in_channels: 32,
        out_channels: 32,
        relu6: true,
        role: Role::Plain,
    };

    #[test]
    fn depthwise_is_the_definition() {
        for kernel in [3, 5] {
            for stride in [1, 2] {
                for in_side in [3, 5, 7, 8, 9, 14] {
                    check(Layer { kernel, stride, in_side, ..BASE });
                }
            }
        }
    }

    #[test]
    fn full_is_the_definition() {
        for (stride, in_side) in [(1, 5), (2, 5), (2, 8), (1, 11), (2, 11)] {
            for relu6 in [false, true] {
                check(Layer { kind: Kind::Full, stride, in_side, in_channels: 3, relu6, ..BASE });
            }
        }
    }

    #[test]
    fn pointwise_is_the_definition() {
        for in_side in [1, 3, 8, 9] {
            for (in_channels, out_channels) in [(1, 8), (7, 16), (40, 24), (33, 104)] {
                let shape = Layer { in_side, in_channels, out_channels, ..BASE };
                check(Layer { kind: Kind::Pointwise, kernel: 1, relu6: out_channels != 24, ..shape });
            }
        }
    }
}
