//! EfficientNet-Lite0 from a 224 x 224 picture to the two pooled layers the vector is made of.

#[cfg(test)]
mod conv;
mod graph;
mod weights;

use std::cell::RefCell;

use self::graph::{INPUT_SIDE, Role};
use super::bundle::BundleError;
use super::math::cbrt;
use crate::kernel::{Depthwise, Entry, Kernel, Output, Pointwise, Stem, StemScratch, Stream};

/// Bytes of the network's input: `[224, 224, 3]`.
pub(super) const INPUT_BYTES: usize = INPUT_SIDE * INPUT_SIDE * 3;
/// Channels of the last map.
pub(super) const LAST: usize = 1280;
/// Channels of the middle layer that copies are told by.
pub(super) const MIDDLE: usize = 672;
/// The byte of a picture that is zero to the network, `(x - 127) / 128`; its padding.
const BORDER: u8 = 127;
/// What 6 is in the last map.
const TOP: i16 = 16383;

/// The loaded network: integers from the bytes of the picture to the sums that are pooled, so that every CPU has the
/// same taps.
#[derive(Debug)]
pub(super) struct Network {
    kernel: Kernel,
    stem: Stem,
    steps: Vec<Step>,
    /// What a step of each channel of the middle layer is worth.
    tap_step: Vec<f32>,
}

/// A layer after the stem. Maps between them are bytes; the residual stream is kept in words beside them.
#[derive(Debug)]
enum Step {
    /// To a block's wide map; the middle layer is one of them.
    Expand(Pointwise, bool),
    Depthwise(Depthwise),
    /// To the residual stream, and as bytes to what reads it.
    Project(Pointwise, Role, Entry),
    /// To the last map, in words.
    Head(Pointwise),
}

/// What a pass over the network leaves behind, GeM pooled over positions; every value in `0..=6`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taps {
    /// The last map after ReLU6, `[1280]`.
    pub(super) last: Vec<f32>,
    /// `block11.expand` after ReLU6, `[672]`.
    pub(super) middle: Vec<f32>,
}

/// What a pass writes over and over; kept by each thread, about 3 MB.
#[derive(Debug, Default)]
struct Maps {
    stem: StemScratch,
    now: Vec<u8>,
    next: Vec<u8>,
    stream: Vec<i16>,
    next_stream: Vec<i16>,
    wide: Vec<i16>,
    lines: Vec<i32>,
}

thread_local! {
    static MAPS: RefCell<Maps> = RefCell::default();
}

impl Network {
    /// The network with the weights inside this crate.
    pub(super) fn load(kernel: Kernel) -> Result<Self, BundleError> {
        weights::load(weights::NETWORK, kernel)
    }

    /// One pass. `rgb` is `[224, 224, 3]`, read as `(x - 127) / 128`.
    pub(super) fn run(&self, rgb: &[u8]) -> Taps {
        assert_eq!(rgb.len(), INPUT_BYTES);
        MAPS.with_borrow_mut(|maps| self.pass(rgb, maps))
    }

    fn pass(&self, rgb: &[u8], maps: &mut Maps) -> Taps {
        let Maps { stem, now, next, stream, next_stream, wide, lines } = maps;
        let mut taps = Taps { last: Vec::new(), middle: Vec::new() };
        // Lengths of the map in `now` and of the stream.
        let mut len = self.stem.outputs();
        let mut stream_len = 0;
        self.stem.run(rgb, room(now, len), stem, wide);
        for step in &self.steps {
            match step {
                Step::Expand(conv, tap) => {
                    let out = conv.outputs(len);
                    conv.run(&now[..len], Output::Bytes(room(next, out)), wide);
                    if *tap {
                        taps.middle = self.middle(&next[..out]);
                    }
                    len = out;
                }
                Step::Depthwise(conv) => {
                    let out = conv.outputs();
                    conv.run(&now[..len], room(next, out), lines);
                    len = out;
                }
                Step::Project(conv, role, entry) => {
                    let out = conv.outputs(len);
                    let added = if *role == Role::Closes { &stream[..stream_len] } else { &[] };
                    let (words, bytes) = (room(next_stream, out), room(next, out));
                    conv.run(&now[..len], Output::Stream(Stream { words, added, bytes, entry }), wide);
                    std::mem::swap(stream, next_stream);
                    (len, stream_len) = (out, out);
                }
                Step::Head(conv) => {
                    let out = conv.outputs(len);
                    conv.run(&now[..len], Output::Words(room(next_stream, out), TOP), wide);
                    taps.last = self.last(&next_stream[..out]);
                }
            }
            std::mem::swap(now, next);
        }
        taps
    }

    /// The middle layer pooled.
    fn middle(&self, map: &[u8]) -> Vec<f32> {
        let sums = self.kernel.cubes_of_bytes(map, MIDDLE);
        gem(&sums, map.len() / MIDDLE)
            .zip(&self.tap_step)
            .map(|(mean, step)| (mean * f64::from(*step)) as f32)
            .collect()
    }

    /// The last map pooled.
    fn last(&self, map: &[i16]) -> Vec<f32> {
        let sums = self.kernel.cubes_of_words(map, LAST);
        gem(&sums, map.len() / LAST).map(|mean| (mean * (6.0 / f64::from(TOP))) as f32).collect()
    }
}

/// The first `len` elements, which are not cleared.
fn room<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
    &mut buffer[..len]
}

/// Generalised mean with p = 3 from sums of cubes over `positions`; the sums are exact, so it has the same bits everywhere.
///
/// Radenovic, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation" (arXiv 1711.02512), eq. 3.
fn gem(sums: &[u64], positions: usize) -> impl Iterator<Item = f64> {
    sums.iter().map(move |&sum| cbrt(sum as f64 / positions as f64))
}

#[cfg(test)]
mod tests {
    use super::conv::{Conv, Scratch};
    use super::graph::layers;
    use super::*;

    #[test]
    fn gem_of_one_position_is_itself() {
        let sums: Vec<u64> = (0..300).map(|v: u64| v.pow(3)).collect();
        assert!(gem(&sums, 1).enumerate().all(|(v, mean)| (mean - v as f64).abs() < 1e-12));
        assert_eq!(gem(&[28], 2).next().map(|v| v as f32), Some(14.0_f64.cbrt() as f32));
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
        for _ in 0..2 {
            let (input, last_map, pooled) = (take(INPUT_BYTES), take(49 * LAST), take(LAST));
            let map = float_pass(&convs, input);
            let apart =
                |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let mean: Vec<f32> =
                (0..LAST).map(|c| map.iter().skip(c).step_by(LAST).sum::<f32>() / 49.0).collect();
            println!("last map {:e}, pooled {:e}", apart(&map, &last_map), apart(&mean, &pooled));
            assert!(map.len() == last_map.len() && apart(&map, &last_map) < 1e-3);
            assert!(apart(&mean, &pooled) < 1e-4);
        }
        assert!(take(1).is_empty());
    }

    /// The last map of the f32 network.
    fn float_pass(convs: &[Conv], input: Vec<f32>) -> Vec<f32> {
        let (mut now, mut next, mut block_input) = (input, Vec::new(), Vec::new());
        let mut scratch = Scratch::default();
        for conv in convs {
            if conv.role() == Role::Opens {
                block_input.clone_from(&now);
            }
            let added = (conv.role() == Role::Closes).then_some(block_input.as_slice());
            conv.run(&now, added, &mut next, &mut scratch);
            std::mem::swap(&mut now, &mut next);
        }
        now
    }

    fn noise() -> Vec<u8> {
        (0..INPUT_BYTES).map(|i| ((i * 7919) >> 5) as u8).collect()
    }

    #[test]
    fn taps_are_the_same_on_every_kernel() {
        let mut planes = vec![noise(), vec![0; INPUT_BYTES], vec![255; INPUT_BYTES]];
        planes.push((0..INPUT_BYTES).map(|i| if i / 1000 % 2 == 0 { 0 } else { 255 }).collect());
        let networks: Vec<Network> =
            Kernel::all().into_iter().map(|kernel| Network::load(kernel).unwrap()).collect();
        for plane in &planes {
            let want = networks[0].run(plane);
            for network in &networks[1..] {
                assert!(network.run(plane) == want, "{:?}", network.kernel);
            }
        }
    }

    /// Prints the time of one pass on each kernel, best and median of many, taken in turns.
    #[test]
    #[ignore = "a measurement"]
    fn time_of_a_pass() {
        let networks: Vec<Network> =
            Kernel::all().into_iter().map(|kernel| Network::load(kernel).unwrap()).collect();
        let mut times = vec![Vec::new(); networks.len()];
        for _ in 0..60 {
            for (network, times) in networks.iter().zip(&mut times) {
                let begun = std::time::Instant::now();
                std::hint::black_box(network.run(&noise()));
                times.push(begun.elapsed());
            }
        }
        for (network, mut times) in networks.iter().zip(times) {
            times.sort_unstable();
            println!("{:8} best {:?}, median {:?}", network.kernel.name(), times[0], times[30]);
        }
    }
}
