//! The layers of EfficientNet-Lite0 without its classifier, as data.
//!
//! Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (arXiv 1905.11946),
//! table 1, in the Lite variant: no squeeze-and-excitation, ReLU6 for swish, stem and head not scaled.

/// How a convolution connects its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Every output channel sees every input channel in a `k x k` window.
    Full,
    /// Every channel sees itself alone in a `k x k` window.
    Depthwise,
    /// Every output channel sees every input channel of one position.
    Pointwise,
}

/// What a layer's input is to its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing in particular.
    Plain,
    /// Its input is the input of the block, which a later layer adds.
    Opens,
    /// Adds the input of the block to its output.
    Closes,
}

/// One convolution with its bias; TensorFlow's SAME padding, which at stride 2 is not symmetric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) kind: Kind,
    /// Side of the window, in positions.
    pub(super) kernel: usize,
    /// Step of the window, in positions.
    pub(super) stride: usize,
    /// Side of the input map, in positions.
    pub(super) in_side: usize,
    pub(super) in_channels: usize,
    pub(super) out_channels: usize,
    /// Whether the output is clamped to `0..=6`.
    pub(super) relu6: bool,
    pub(super) role: Role,
}

impl Layer {
    /// Side of the output map, in positions.
    pub(super) const fn out_side(&self) -> usize {
        self.in_side.div_ceil(self.stride)
    }

    /// Zeros before the first row and column (SAME: half of what is missing, rounded down).
    pub(super) const fn pad_before(&self) -> usize {
        let span = (self.out_side() - 1) * self.stride + self.kernel;
        span.saturating_sub(self.in_side) / 2
    }

    /// Input channels that one output channel sees.
    pub(super) const fn fan_in(&self) -> usize {
        if matches!(self.kind, Kind::Depthwise) { 1 } else { self.in_channels }
    }

    /// Number of weights.
    pub(super) const fn weights(&self) -> usize {
        self.kernel * self.kernel * self.fan_in() * self.out_channels
    }
}

/// Layers of the network.
pub(super) const LAYERS: usize = 49;
/// Side of the network's input, in pixels.
pub(super) const INPUT_SIDE: usize = 224;
/// `block11.expand`, the layer whose output the copy block is made of: `[14, 14, 672]`.
pub(super) const COPY_TAP: usize = 33;

/// Kernel, stride, channels out, expansion and repeats of the seven stages of blocks.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (3, 1, 16, 1, 1),  // [112, 112, 32] -> [112, 112, 16]
    (3, 2, 24, 6, 2),  //                -> [56, 56, 24]
    (5, 2, 40, 6, 2),  //                -> [28, 28, 40]
    (3, 2, 80, 6, 3),  //                -> [14, 14, 80]
    (5, 1, 112, 6, 3), //                -> [14, 14, 112]
    (5, 2, 192, 6, 4), //                -> [7, 7, 192]
    (3, 1, 320, 6, 1), //                -> [7, 7, 320]
];

/// The layers in order: stem, sixteen blocks of (expand,) depthwise and project, head.
pub(super) const fn layers() -> [Layer; LAYERS] {
    let stem = Layer {
        kind: Kind::Full,
        kernel: 3,
        stride: 2,
        in_side: INPUT_SIDE,
        in_channels: 3,
        out_channels: 32,
        relu6: true,
        role: Role::Plain,
    };
    let mut all = [stem; LAYERS];
    let (mut at, mut side, mut channels) = (1, 112, 32);
    let mut stage = 0;
    while stage < STAGES.len() {
        let (kernel, first_stride, out, expansion, repeats) = STAGES[stage];
        let mut repeat = 0;
        while repeat < repeats {
            let stride = if repeat == 0 { first_stride } else { 1 };
            let adds = stride == 1 && channels == out;
            let wide = channels * expansion;
            let plain = Layer { in_side: side, in_channels: channels, role: Role::Plain, ..stem };
            if expansion > 1 {
                let expand =
                    Layer { kind: Kind::Pointwise, kernel: 1, stride: 1, out_channels: wide, ..plain };
                all[at] = Layer { role: if adds { Role::Opens } else { Role::Plain }, ..expand };
                at += 1;
            }
            let depthwise = Layer { kind: Kind::Depthwise, kernel, stride, in_channels: wide, ..plain };
            all[at] = Layer { out_channels: wide, ..depthwise };
            side = all[at].out_side();
            let project = Layer { kind: Kind::Pointwise, kernel: 1, stride: 1, in_side: side, ..plain };
            let role = if adds { Role::Closes } else { Role::Plain };
            all[at + 1] = Layer { in_channels: wide, out_channels: out, relu6: false, role, ..project };
            at += 2;
            channels = out;
            repeat += 1;
        }
        stage += 1;
    }
    let head =
        Layer { kind: Kind::Pointwise, kernel: 1, stride: 1, in_side: side, in_channels: channels, ..stem };
    all[at] = Layer { out_channels: 1280, ..head };
    assert!(at + 1 == LAYERS);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_follow_each_other() {
        let all = layers();
        for pair in all.windows(2) {
            assert_eq!(pair[0].out_side(), pair[1].in_side);
            assert_eq!(pair[0].out_channels, pair[1].in_channels);
        }
        let weights: usize = all.iter().map(Layer::weights).sum();
        let biases: usize = all.iter().map(|l| l.out_channels).sum();
        assert_eq!(weights + biases, 3_350_000);
        assert_eq!((all[48].out_side(), all[48].out_channels), (7, 1280));
        let tap = all[COPY_TAP];
        assert_eq!((tap.kind, tap.out_side(), tap.out_channels, tap.relu6), (Kind::Pointwise, 14, 672, true));
        assert_eq!(all[COPY_TAP + 1].stride, 2);
        assert_eq!(all.iter().filter(|l| l.role == Role::Closes).count(), 9);
    }

    #[test]
    fn same_padding_is_that_of_tensorflow() {
        let pads: Vec<_> = layers().iter().map(|l| (l.kernel, l.stride, l.in_side, l.pad_before())).collect();
        for expected in
            [(3, 2, 224, 0), (3, 1, 112, 1), (3, 2, 112, 0), (5, 2, 56, 1), (5, 1, 28, 2), (5, 2, 14, 1)]
        {
            assert!(pads.contains(&expected), "{expected:?}");
        }
    }
}
