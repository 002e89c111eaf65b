//! EfficientNet-Lite0 from a 224 x 224 picture to the two pooled layers the vector is made of.

mod conv;
mod graph;
mod weights;

use std::cell::RefCell;

use self::conv::{Conv, Scratch};
use self::graph::{COPY_TAP, INPUT_SIDE, Role};
use super::bundle::BundleError;
use super::math::cbrt;

/// Bytes of the network's input: `[224, 224, 3]`.
pub(super) const INPUT_BYTES: usize = INPUT_SIDE * INPUT_SIDE * 3;
/// Channels of the last map.
pub(super) const LAST: usize = 1280;
/// Channels of the middle layer that copies are told by.
pub(super) const MIDDLE: usize = 672;

/// The loaded network.
#[derive(Debug)]
pub(super) struct Network {
    convs: Vec<Conv>,
}

/// What a pass over the network leaves behind, GeM pooled over positions; every value in `0..=6`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taps {
    /// The last map after ReLU6, `[1280]`.
    pub(super) last: Vec<f32>,
    /// `block11.expand` after ReLU6, `[672]`.
    pub(super) middle: Vec<f32>,
}

/// The maps a pass goes through; kept by each thread, about 12 MB.
#[derive(Debug, Default)]
struct Maps {
    now: Vec<f32>,
    next: Vec<f32>,
    block_input: Vec<f32>,
    scratch: Scratch,
}

thread_local! {
    static MAPS: RefCell<Maps> = RefCell::default();
}

impl Network {
    /// The network with the weights inside this crate.
    pub(super) fn load() -> Result<Self, BundleError> {
        Ok(Self { convs: weights::load(weights::NETWORK)? })
    }

    /// One pass. `rgb` is `[224, 224, 3]`, normalised here as `(x - 127) / 128`.
    pub(super) fn run(&self, rgb: &[u8]) -> Taps {
        assert_eq!(rgb.len(), INPUT_BYTES);
        MAPS.with_borrow_mut(|maps| {
            maps.now.clear();
            maps.now.extend(rgb.iter().map(|&v| (f32::from(v) - 127.0) / 128.0));
            let middle = self.pass(maps);
            Taps { last: gem(&maps.now, LAST), middle }
        })
    }

    /// From `maps.now` to the last map in `maps.now`; gives the pooled middle layer.
    fn pass(&self, maps: &mut Maps) -> Vec<f32> {
        let Maps { now, next, block_input, scratch } = maps;
        let mut middle = Vec::new();
        for (i, conv) in self.convs.iter().enumerate() {
            let role = conv.role();
            if role == Role::Opens {
                block_input.clone_from(now);
            }
            let added = (role == Role::Closes).then_some(block_input.as_slice());
            conv.run(now, added, next, scratch);
            std::mem::swap(now, next);
            if i == COPY_TAP {
                middle = gem(now, MIDDLE);
            }
        }
        middle
    }
}

/// Generalised mean over positions with p = 3: `[positions, channels]` to `[channels]`, values not negative.
///
/// Radenovic, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (arXiv 1711.02512), eq. 3.
fn gem(map: &[f32], channels: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; channels];
    for position in map.chunks_exact(channels) {
        for (sum, &value) in sums.iter_mut().zip(position) {
            let value = f64::from(value);
            *sum += value * value * value;
        }
    }
    let positions = (map.len() / channels) as f64;
    sums.iter().map(|&sum| cbrt(sum / positions) as f32).collect()
}
