//! The integer network from `weights/network.bin`.

use super::graph::{COPY_TAP, Kind, Layer, layers};
use super::{BORDER, Network, Step};
use crate::features::bundle::{Bundle, BundleError};
use crate::kernel::{Depthwise, Entry, Kernel, Pointwise, Rounding, Stem, Window};

/// Made by `tools/make_weights.py`; Apache-2.0, see the licence beside it.
pub(super) static NETWORK: &[u8] = include_bytes!("../weights/network.bin");

/// The network from a file laid out as docs/model.md says.
pub(super) fn load(raw: &[u8], kernel: Kernel) -> Result<Network, BundleError> {
    let mut bundle = Bundle::open("network.bin", b"lkl-net\0", 2, raw)?;
    let file = &mut bundle;
    let graph = layers();
    file.expect(graph.len())?;
    let mut stem = None;
    let mut steps = Vec::with_capacity(graph.len());
    for (i, layer) in graph.iter().enumerate() {
        let (rounding, entry, codes) = read(file, layer)?;
        match layer.kind {
            Kind::Full => stem = Some(Stem::new(kernel, window(layer), BORDER, codes, rounding)),
            Kind::Depthwise => {
                steps.push(Step::Depthwise(Depthwise::new(kernel, window(layer), codes, rounding)));
            }
            Kind::Pointwise => {
                let conv = Pointwise::new(kernel, layer.in_channels, codes, rounding);
                steps.push(match entry {
                    Some(entry) => Step::Project(conv, layer.role, entry),
                    None if i + 1 == graph.len() => Step::Head(conv),
                    None => Step::Expand(conv, i == COPY_TAP),
                });
            }
        }
    }
    let tap_step = file.f32s(graph[COPY_TAP].out_channels)?;
    let stem = stem.ok_or(file.misfit())?;
    bundle.finish()?;
    Ok(Network { kernel, stem, steps, tap_step })
}

/// Rounding, the entry of the next layer if this one is linear, and the codes.
fn read<'a>(
    file: &mut Bundle<'a>,
    layer: &Layer,
) -> Result<(Rounding, Option<Entry>, &'a [i8]), BundleError> {
    let outs = layer.out_channels;
    if file.u16x4()?.map(usize::from) != [outs, layer.fan_in(), layer.kernel, usize::from(!layer.relu6)] {
        return Err(file.misfit());
    }
    let (bias, mult) = (file.i32s(outs)?, file.i16s(outs)?);
    let entry =
        if layer.relu6 { None } else { Some(Entry { mult: file.i16s(outs)?, zero: file.i16s(outs)? }) };
    let rounding = Rounding { bias, mult, shift: file.bytes(outs)?.to_vec() };
    let codes: &[i8] = bytemuck::cast_slice(file.bytes(layer.weights())?);
    let sound = rounding.is_sound(outs, layer.weights() / outs)
        && entry.as_ref().is_none_or(|entry| entry.mult.iter().all(|&m| m > 0));
    if sound { Ok((rounding, entry, codes)) } else { Err(file.misfit()) }
}

fn window(layer: &Layer) -> Window {
    Window {
        kernel: layer.kernel,
        stride: layer.stride,
        in_side: layer.in_side,
        out_side: layer.out_side(),
        pad: layer.pad_before(),
    }
}
