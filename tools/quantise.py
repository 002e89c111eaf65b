"""Eight-bit weights by output channel, rounded so that what one weight loses the next ones make up for.

Layer by layer, in the order of the network, with the activations of the already rounded layers as input:

1. The target is what the f32 network puts out, so the f32 weights are first moved by a ridge regression that undoes,
   as far as a linear map can, the error the rounded layers before have left in the input.
2. GPTQ (Frantar et al., "GPTQ: Accurate Post-Training Quantization", arXiv 2210.17323, section 3): weights are
   rounded one input at a time, and the error is spread over the inputs not yet rounded by the inverse of the second
   moment of the inputs.
3. The second moment is taken about the mean and the bias is what makes the mean output right (the "bias correction"
   of Nagel et al., arXiv 1906.04721, section 4.2).

The scale of an output channel is its largest magnitude / 127.
"""
import numpy as np

import network

DAMP = 0.01  # of the mean diagonal of the second moment, as in the GPTQ paper
RIDGE = 0.02  # of the mean diagonal, in step 1


def gptq(w, h):
    """w [out, in], h [in, in] -> (int8 codes [out, in], scale [out]); most excited inputs first."""
    scale = np.maximum(np.abs(w).max(1), 1e-8) / 127
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


def dense(w, bias, aq, af):
    """w [out, in]; aq, af [rows, in] inputs of the rounded and of the f32 network -> (codes, scale, bias)."""
    h, cross, mq, mf = moments(aq, af)
    w = w.astype(np.float64)
    ridge = h + np.eye(len(h)) * (RIDGE * np.diag(h).mean() + 1e-9)
    moved = w + (np.linalg.solve(ridge, cross) @ w.T).T
    codes, scale = gptq(moved, h)
    scale = scale.astype(np.float32)
    return codes, scale, (bias + w @ mf - (codes * scale[:, None].astype(np.float64)) @ mq).astype(np.float32)


def round_layer(layer, w, bias, xq, xf):
    """One layer -> (codes shaped as w, scale [out], bias [out])."""
    if layer["kind"] == "depthwise":
        k, c = layer["kernel"], layer["out_channels"]
        aq = np.stack([p for _, _, p in network.patches(xq, layer)], -1).reshape(-1, c, k * k)
        af = np.stack([p for _, _, p in network.patches(xf, layer)], -1).reshape(-1, c, k * k)
        parts = [
            dense(w[i].reshape(1, -1), bias[i : i + 1], np.ascontiguousarray(aq[:, i]), np.ascontiguousarray(af[:, i]))
            for i in range(c)
        ]
        codes, scale, bias = (np.concatenate(p) for p in zip(*parts))
        return codes.reshape(w.shape), scale, bias
    if layer["kind"] == "full":
        flat, aq, af = w.transpose(0, 2, 3, 1).reshape(len(w), -1), network.columns(xq, layer), network.columns(xf, layer)
    else:
        flat, aq, af = w[:, :, 0, 0], xq, xf
    codes, scale, bias = dense(flat, bias, aq.reshape(-1, flat.shape[1]), af.reshape(-1, flat.shape[1]))
    if layer["kind"] == "full":
        k, cin = layer["kernel"], layer["in_channels"]
        codes = codes.reshape(len(w), k, k, cin).transpose(0, 3, 1, 2)
    return codes.reshape(w.shape), scale, bias


def widen(codes, scale):
    """What the codes stand for, f32."""
    return codes.astype(np.float32) * scale.reshape(-1, 1, 1, 1)


def plain(w):
    """Nearest rounding without any input: (codes, scale)."""
    scale = (np.maximum(np.abs(w).reshape(len(w), -1).max(1), 1e-8) / 127).astype(np.float32)
    return np.clip(np.rint(w / scale.reshape(-1, 1, 1, 1)), -127, 127).astype(np.int8), scale


def few(x, rows):
    """As many whole pictures as make about `rows` positions of a layer's input, at least 8."""
    n = max(8, int(np.ceil(rows / (x.shape[1] * x.shape[2]))))
    return x[:n]


def quantise(planes, layers, weights, biases, say=lambda text: None):
    """planes [n, 224, 224, 3] uint8 -> {name: (codes, scale, bias)} for every layer."""
    xf = network.normalise(planes)
    xq = xf
    out = {}
    bq = bf = None
    for layer in layers:
        name = layer["name"]
        if network.opens_block(layer):
            bq, bf = xq, xf
        rows = 60_000 if layer["kind"] == "depthwise" else 400_000
        codes, scale, bias = round_layer(layer, weights[name], biases[name], few(xq, rows), few(xf, rows))
        out[name] = codes, scale, bias
        xf = network.finish(network.linear(xf, layer, weights[name], biases[name]), layer, bf)
        xq = network.finish(network.linear(xq, layer, widen(codes, scale), bias), layer, bq)
        noise = float(((xq - xf) ** 2).mean() / xf.var())
        say(f"{name:18s} noise to signal {noise:.2e}")
    return out
