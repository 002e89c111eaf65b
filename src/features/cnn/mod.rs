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

#[cfg(test)]
mod tests {
    use super::graph::layers;
    use super::*;

    #[test]
    fn gem_of_one_position_is_itself() {
        let map: Vec<f32> = (0..8).map(|i| i as f32 * 0.75).collect();
        assert_eq!(gem(&map, 8), map);
        assert_eq!(gem(&[1.0, 3.0], 1), [14.0_f64.cbrt() as f32]);
    }

    /// With LOOKALIKE_F32 = f32 values: for each layer weights (as `Conv::new` takes them) and bias, then twice input
    /// `[224, 224, 3]`, last map `[7, 7, 1280]` and its mean `[1280]` of the original framework.
    #[test]
    #[ignore = "needs the f32 weights, which are not in the repository"]
    fn f32_weights_give_the_reference_maps() {
        let raw = std::fs::read(std::env::var_os("LOOKALIKE_F32").unwrap()).unwrap();
        let mut values = raw.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
        let mut take = |len: usize| values.by_ref().take(len).collect::<Vec<f32>>();
        let convs = layers().map(|layer| Conv::new(layer, &take(layer.weights()), take(layer.out_channels)));
        let network = Network { convs: convs.into() };
        for _ in 0..2 {
            let (input, last_map, pooled) = (take(INPUT_BYTES), take(49 * LAST), take(LAST));
            let mut maps = Maps { now: input, ..Maps::default() };
            network.pass(&mut maps);
            let apart =
                |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let mean: Vec<f32> =
                (0..LAST).map(|c| maps.now.iter().skip(c).step_by(LAST).sum::<f32>() / 49.0).collect();
            println!("last map {:e}, pooled {:e}", apart(&maps.now, &last_map), apart(&mean, &pooled));
            assert!(maps.now.len() == last_map.len() && apart(&maps.now, &last_map) < 1e-3);
            assert!(apart(&mean, &pooled) < 1e-4);
        }
        assert!(take(1).is_empty());
    }

    /// Prints the time of one pass, best of many.
    #[test]
    #[ignore = "a measurement"]
    fn time_of_a_pass() {
        let network = Network::load().unwrap();
        let rgb: Vec<u8> = (0..INPUT_BYTES).map(|i| ((i * 7919) >> 5) as u8).collect();
        let pass = || {
            let begun = std::time::Instant::now();
            std::hint::black_box(network.run(&rgb));
            begun.elapsed()
        };
        let mut times: Vec<_> = (0..60).map(|_| pass()).collect();
        times.sort_unstable();
        println!("best {:?}, median {:?}", times[0], times[30]);
    }
}
