"""The integer network: eight-bit weights and activations, a sixteen-bit residual stream, and how they are fitted.

What a layer computes, in integers alone (features/cnn and docs/model.md have the same definition):

    acc = bias[c] + sum of x * code                     x in 0..255, code in -127..127, i32
    t   = clamp(acc >> shift[c], -32768, 32767)         bias holds the half that makes this a rounding shift
    v   = (t * mult[c] + 16384) >> 15
    ReLU6 layers:    clamp(v, 0, 255)                   a step of its own for each channel
    linear layers:   clamp(v + block input, -32768, 32767)
    the last layer:  clamp(v, 0, TOP)                   TOP is 6.0
    a linear map as input of the next layer:  clamp(((y * mult[c] + 16384) >> 15) + zero[c], 0, 255)

(Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
arXiv 1712.05877, section 2.2, with a multiplier of sixteen bits after the shift.)  A channel's own step costs nothing:
the next layer's weights take it up.  The picture's bytes are the first input, with 127 as zero.

Weights are rounded layer by layer, in the order of the network, with the output of the already integer layers as input:

1. The target is what the f32 network puts out, so the f32 weights are first moved by a ridge regression that undoes,
   as far as a linear map can, the error the layers before have left in the input.
2. GPTQ (Frantar et al., "GPTQ: Accurate Post-Training Quantization", arXiv 2210.17323, section 3): weights are
   rounded one input at a time, and the error is spread over the inputs not yet rounded by the inverse of the second
   moment of the inputs.
3. The second moment is taken about the mean and the bias is what makes the mean output right (the "bias correction"
   of Nagel et al., arXiv 1906.04721, section 4.2).
"""
from dataclasses import dataclass, field

import numpy as np

import network

DAMP = 0.01  # of the mean diagonal of the second moment, as in the GPTQ paper
RIDGE = 0.02  # of the mean diagonal, in step 1
TOP = 16383  # 6.0 in the last map
STREAM = 8192  # the largest magnitude of a channel of the residual stream seen in calibration
LEAST = 1e-7  # smallest scale of a channel: its bias must fit 32 bits even when its weights are all but zero
PICTURE_ZERO = 127  # of the bytes of a picture
PICTURE_STEP = 1 / 128


@dataclass
class Options:
    """What the ablation of docs/model.md varies."""

    even: float = 0.0  # 1: every channel of a ReLU6 layer has a step as fine as its range lets it; 0: all share one
    stream_even: float = 0.0  # the same for the input of a block
    even_blocks: int = 0  # the first blocks, for which the two are .5
    stream_bytes: bool = False  # the residual stream at eight bits instead of sixteen
    clip: float = 1.0  # of the largest value seen
    plain: bool = False  # nearest rounding of the weights instead of GPTQ


@dataclass
class Layer:
    """One integer layer."""

    shape: dict
    codes: np.ndarray  # i8, as the f32 weight
    bias: np.ndarray  # i32 [out]
    mult: np.ndarray  # i16 [out]
    shift: np.ndarray  # u8 [out]
    step: np.ndarray  # f64 [out]: what one step of the output is worth
    entry: tuple = field(default=None)  # (mult i16 [in], zero i16 [in]) if the input is a linear map


def gptq(w, h):
    """w [out, in], h [in, in] -> (int8 codes [out, in], scale [out]); most excited inputs first."""
    scale = np.maximum(np.abs(w).max(1) / 127, LEAST)
    order = np.argsort(-np.diag(h), kind="stable")
    w, h = w[:, order].copy(), h[np.ix_(order, order)].copy()
    h[np.diag_indices_from(h)] += DAMP * np.diag(h).mean() + 1e-9
    upper = np.linalg.cholesky(np.linalg.inv(h)).T
    codes = np.zeros(w.shape, np.int8)
    for i in range(w.shape[1]):
        q = np.clip(np.rint(w[:, i] / scale), -127, 127)
        codes[:, i] = q
        error = (w[:, i] - q * scale) / upper[i, i]
        w[:, i:] -= np.outer(error, upper[i, i:])
    back = np.empty_like(codes)
    back[:, order] = codes
    return back, scale


def moments(a, b):
    """Centred second moments of a with itself and a with b - a (f64), and the means; a, b [rows, in]."""
    ma, mb = a.mean(0, dtype=np.float64), b.mean(0, dtype=np.float64)
    a, d = a - ma.astype(np.float32), (b - a) - (mb - ma).astype(np.float32)
    return (a.T @ a).astype(np.float64) / len(a), (a.T @ d).astype(np.float64) / len(a), ma, mb


def dense(w, bias, aq, af, plain):
    """w [out, in]; aq, af [rows, in] inputs of the integer and of the f32 network, both in steps of the input
    -> (codes, scale, bias)."""
    w = w.astype(np.float64)
    if plain:
        scale = np.maximum(np.abs(w).max(1) / 127, LEAST)
        return np.clip(np.rint(w / scale[:, None]), -127, 127).astype(np.int8), scale, bias.astype(np.float64)
    h, cross, mq, mf = moments(aq, af)
    ridge = h + np.eye(len(h)) * (RIDGE * np.diag(h).mean() + 1e-9)
    moved = w + (np.linalg.solve(ridge, cross) @ w.T).T
    codes, scale = gptq(moved, h)
    return codes, scale, bias + w @ mf - (codes * scale[:, None]) @ mq


def round_layer(layer, w, bias, step, xq, xf, plain):
    """xq in steps, xf in values, step [in] -> (codes shaped as w, scale [out], bias [out])."""
    xf = xf / step.astype(np.float32)
    if layer["kind"] == "depthwise":
        k, c = layer["kernel"], layer["out_channels"]
        aq = np.stack([p for _, _, p in network.patches(xq, layer)], -1).reshape(-1, c, k * k)
        af = np.stack([p for _, _, p in network.patches(xf, layer)], -1).reshape(-1, c, k * k)
        parts = []
        for i in range(c):
            inputs = np.ascontiguousarray(aq[:, i]), np.ascontiguousarray(af[:, i])
            parts.append(dense(w[i].reshape(1, -1) * step[i], bias[i : i + 1], *inputs, plain))
        codes, scale, bias = (np.concatenate(p) for p in zip(*parts))
        return codes.reshape(w.shape), scale, bias
    if layer["kind"] == "full":
        flat, aq, af = w.transpose(0, 2, 3, 1).reshape(len(w), -1), network.columns(xq, layer), network.columns(xf, layer)
        step = np.tile(step, layer["kernel"] ** 2)
    else:
        flat, aq, af = w[:, :, 0, 0], xq, xf
    codes, scale, bias = dense(flat * step, bias, aq.reshape(-1, flat.shape[1]), af.reshape(-1, flat.shape[1]), plain)
    if layer["kind"] == "full":
        k, cin = layer["kernel"], layer["in_channels"]
        codes = codes.reshape(len(w), k, k, cin).transpose(0, 3, 1, 2)
    return codes.reshape(w.shape), scale, bias


def multiplier(unit, step, low):
    """acc in units of `unit` to steps of `step`: (mult in low..2 low, shift) of each channel."""
    ratio = unit / step
    shift = np.maximum(np.ceil(np.log2(low / ratio) - 15), 0)
    return np.clip(np.rint(ratio * 2.0 ** (15 + shift)), 1, 32767).astype(np.int16), shift.astype(np.uint8)


def requantise(acc, mult, shift):
    """The definition at the top, up to v."""
    t = np.clip(acc >> shift.astype(np.int32), -32768, 32767)
    return (t * mult.astype(np.int32) + 16384) >> 15


def entered(y, entry):
    """A linear map (i16) as the bytes that the next layer reads."""
    mult, zero = (e.astype(np.int32) for e in entry)
    return np.clip(((y.astype(np.int32) * mult + 16384) >> 15) + zero, 0, 255).astype(np.uint8)


def accumulate(x, layer, codes, bias, wide):
    """The sums of one layer, i32; `wide` (f64) makes them exact, f32 may be off by one in 2^24."""
    zero = PICTURE_ZERO if layer["name"] == "stem" else 0
    kind = np.float64 if wide else np.float32
    out = []
    for one in x:
        a = one[None].astype(kind) - zero
        out.append(np.rint(network.linear(a, layer, codes.astype(kind), kind(0))).astype(np.int32))
    return np.concatenate(out) + (bias + zero * codes.reshape(len(codes), -1).sum(1, dtype=np.int32))


def output(acc, layer, q, block_input):
    """Sums to the layer's output map: u8, or i16 for linear layers and the last."""
    out = np.empty(acc.shape, np.uint8 if layer["relu6"] and layer["name"] != "head" else np.int16)
    for i, one in enumerate(acc):
        v = requantise(one, q.mult, q.shift)
        if layer["name"] == "head":
            v = np.clip(v, 0, TOP)
        elif layer["relu6"]:
            v = np.clip(v, 0, 255)
        else:
            v = np.clip(v + (block_input[i] if layer["adds_block_input"] else 0), -32768, 32767)
        out[i] = v
    return out


def run(planes, net, wide=True):
    """planes [n, 224, 224, 3] uint8 -> the last map i16 [n, 7, 7, 1280] and the tap u8 [n, 14, 14, 672]."""
    x, block_input, tap = planes, None, None
    for q in net:
        if network.opens_block(q.shape):
            block_input = x
        if q.entry is not None:
            x = entered(x, q.entry)
        x = output(accumulate(x, q.shape, q.codes, q.bias, wide), q.shape, q, block_input)
        if q.shape["name"] == network.TAP:
            tap = x
    return x, tap


def pooled(last, tap, net):
    """GeM of the two maps in values: (last [n, 1280], tap [n, 672]) f32."""
    step = next(q.step for q in net if q.shape["name"] == network.TAP)
    mean = lambda m: np.cbrt((m.astype(np.int64) ** 3).sum((1, 2)) / (m.shape[1] * m.shape[2]))
    return (mean(last) * (6 / TOP)).astype(np.float32), (mean(tap) * step).astype(np.float32)


def few(x, rows):
    """As many whole pictures as make about `rows` positions of a layer's input, at least 8."""
    n = max(8, int(np.ceil(rows / (x.shape[1] * x.shape[2]))))
    return x[:n]


def evenness(layer, options, otherwise):
    """How much the steps of a layer's channels may differ: .5 in the first blocks."""
    block = {"stem": 0, "head": 99}.get(layer["name"]) if "." not in layer["name"] else int(layer["name"].split(".")[0][5:])
    return 0.5 if block < options.even_blocks else otherwise


def stream_steps(planes, layers, weights, biases, options):
    """{name of a linear layer: step [out]}: one for all layers that are added to each other."""
    largest, chain, x, block_input = {}, [], network.normalise(planes), None
    steps = {}

    def close():
        top = np.max([largest[n] for n in chain], 0)
        top = np.maximum(top, top.max() / 64)
        for n in chain:
            steps[n] = top / (127 if options.stream_bytes else STREAM)

    for layer in layers:
        if network.opens_block(layer):
            block_input = x
        y = network.linear(x, layer, weights[layer["name"]], biases[layer["name"]])
        x = network.finish(y, layer, block_input)
        if not layer["relu6"]:
            if not layer["adds_block_input"] and chain:
                close()
                chain = []
            chain.append(layer["name"])
            largest[layer["name"]] = np.maximum(np.abs(y).max((0, 1, 2)), np.abs(x).max((0, 1, 2))).astype(np.float64)
    close()
    return steps


def entry_of(layer, y, step, options):
    """How a linear map i16 becomes bytes: ((mult, zero), step of the bytes [in])."""
    low, high = y.min((0, 1, 2)) * step, y.max((0, 1, 2)) * step
    span = np.maximum((high - low) * options.clip, 1e-6)
    even = evenness(layer, options, options.stream_even)
    span = span**even * span.max() ** (1 - even)
    mult = np.clip(np.rint(step / (span / 255) * 32768), 1, 32767).astype(np.int16)
    step = step * 32768 / mult
    middle = (high + low) / 2 / step
    return (mult, np.rint(127.5 - middle).astype(np.int16)), step


def fit_layer(layer, w, bias, step_in, zero, xq, xf, stream, options):
    """-> (the integer layer, sums of all pictures)"""
    rows = 60_000 if layer["kind"] == "depthwise" else 400_000
    some = few(xq, rows).astype(np.float32) - zero
    codes, scale, bias = round_layer(layer, w, bias, step_in, some, few(xf, rows), options.plain)
    flat = codes.astype(np.int64).sum((2, 3))
    from_zero = flat[:, 0] * 0 if layer["kind"] == "depthwise" else flat @ np.broadcast_to(zero, flat.shape[1]).astype(np.int64)
    exact = np.rint(bias / scale) - from_zero
    assert np.abs(exact).max() < 2**30
    acc = accumulate(xq, layer, codes, exact.astype(np.int32), False)
    if layer["name"] == "head":
        wanted, low = np.full(len(scale), 6 / TOP), 16384
    elif layer["relu6"]:
        top = np.clip(acc.max((0, 1, 2)) * scale * options.clip, 1e-6, 6)
        top = np.maximum(top, top.max() / 256)
        even = evenness(layer, options, options.even)
        wanted, low = top**even * top.max() ** (1 - even) / 255, 1024
    else:
        wanted, low = stream, 16384
    mult, shift = multiplier(scale, wanted, low)
    step = scale / (mult / 2.0 ** (15 + shift.astype(np.float64)))
    if not (layer["relu6"] and layer["name"] != "head"):
        assert np.abs(step / wanted - 1).max() < 1e-3, "sums are coarser than the stream"
        step = wanted
    half = np.where(shift > 0, 2 ** np.maximum(shift.astype(np.int32) - 1, 0), 0).astype(np.int32)
    return Layer(layer, codes, exact.astype(np.int32) + half, mult, shift, step), acc + half


def quantise(planes, layers, weights, biases, say=lambda text: None, options=Options()):
    """planes [n, 224, 224, 3] uint8 -> the integer layers in order."""
    streams = stream_steps(planes, layers, weights, biases, options)
    xf, xq, step = network.normalise(planes), planes, np.full(3, PICTURE_STEP)
    net, bq, bf, linear = [], None, None, False
    for layer in layers:
        name = layer["name"]
        if network.opens_block(layer):
            bq, bf = xq, xf
        zero, entry = (PICTURE_ZERO if name == "stem" else 0), None
        if linear:
            entry, step = entry_of(layer, xq, step, options)
            xq, zero = entered(xq, entry), entry[1].astype(np.float32)
        q, acc = fit_layer(layer, weights[name], biases[name], step, zero, xq, xf, streams.get(name), options)
        q.entry, step, linear = entry, q.step, not layer["relu6"]
        net.append(q)
        xf = network.finish(network.linear(xf, layer, weights[name], biases[name]), layer, bf)
        xq = output(acc, layer, q, bq)
        noise = float(np.mean([((a * step - b) ** 2).mean() for a, b in zip(xq, xf)]) / xf.var())
        say(f"{name:18s} noise to signal {noise:.2e}")
    return net
