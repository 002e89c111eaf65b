//! The network's weights: eight bits by output channel in `weights/network.bin`, widened to f32 when loaded.

use super::conv::Conv;
use super::graph::{Kind, layers};
use crate::features::bundle::{Bundle, BundleError};

/// Made by `tools/make_weights.py`; Apache-2.0, see the licence beside it.
pub(super) static NETWORK: &[u8] = include_bytes!("../weights/network.bin");

/// The layers of the network from a file laid out as docs/model.md says.
pub(super) fn load(raw: &[u8]) -> Result<Vec<Conv>, BundleError> {
    let mut file = Bundle::open("network.bin", b"lkl-net\0", raw)?;
    let graph = layers();
    file.expect(graph.len())?;
    let mut convs = Vec::with_capacity(graph.len());
    for layer in graph {
        let outs = layer.out_channels;
        if file.u16x4()?.map(usize::from) != [outs, layer.fan_in(), layer.kernel, 0] {
            return Err(file.misfit());
        }
        let scale = file.f32s(outs)?;
        let bias = file.f32s(outs)?;
        let inputs = layer.weights() / outs;
        let codes = file.bytes(layer.weights())?;
        let channel = |i: usize| if layer.kind == Kind::Depthwise { i % outs } else { i / inputs };
        let wide = |(i, &code): (usize, &u8)| f32::from(code as i8) * scale[channel(i)];
        let weights: Vec<f32> = codes.iter().enumerate().map(wide).collect();
        convs.push(Conv::new(layer, &weights, bias));
    }
    file.finish()?;
    Ok(convs)
}
