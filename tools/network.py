"""EfficientNet-Lite0 in numpy: the reference that the weights of the crate are made with and checked against.

Activations are [n, height, width, channels] float32. Layers are those of efficientnet-lite0.json, weights those of
efficientnet-lite0.npz (`NAME.weight` [out, in / groups, k, k], `NAME.bias` [out]).
"""
import json
import os

import numpy as np
from PIL import Image, ImageOps

TAP = "block11.expand"


def load(folder):
    """-> (layers, {name: weight}, {name: bias})"""
    layers = json.load(open(os.path.join(folder, "efficientnet-lite0.json"), encoding="utf8"))["layers"]
    z = np.load(os.path.join(folder, "efficientnet-lite0.npz"))
    return layers, {l["name"]: z[l["name"] + ".weight"] for l in layers}, {l["name"]: z[l["name"] + ".bias"] for l in layers}


def upright(file):
    """The picture as the eye sees it, RGB."""
    return ImageOps.exif_transpose(Image.open(file)).convert("RGB")


def plane(picture, side=224):
    """[side, side, 3] uint8, squashed by Pillow's antialiased bicubic filter."""
    return np.asarray(picture.resize((side, side), Image.BICUBIC))


def normalise(planes):
    """uint8 [..., 3] -> network input."""
    return (np.asarray(planes, np.float32) - 127) / 128


def patches(x, layer):
    """Yields (row, column, view [n, out, out, c]) of each kernel position."""
    k, s, o = layer["kernel"], layer["stride"], layer["out_side"]
    a, b = layer["pad_before"], layer["pad_after"]
    x = np.pad(x, ((0, 0), (a, b), (a, b), (0, 0)))
    for i in range(k):
        for j in range(k):
            yield i, j, x[:, i : i + s * (o - 1) + 1 : s, j : j + s * (o - 1) + 1 : s]


def columns(x, layer):
    """im2col: [n, out, out, k * k * c], kernel row, kernel column, then channel."""
    return np.concatenate([p for _, _, p in patches(x, layer)], axis=-1)


def linear(x, layer, w, b):
    """The convolution and its bias, before ReLU6 and the residual."""
    if layer["kind"] == "pointwise":
        return x @ np.ascontiguousarray(w[:, :, 0, 0].T) + b
    if layer["kind"] == "full":
        return columns(x, layer) @ np.ascontiguousarray(w.transpose(2, 3, 1, 0).reshape(-1, w.shape[0])) + b
    out = []
    for one in x:  # one picture at a time stays in cache
        acc = None
        for i, j, p in patches(one[None], layer):
            t = p * w[:, 0, i, j]
            if acc is None:
                acc = t
            else:
                acc += t
        out.append(acc)
    return np.concatenate(out) + b


def finish(y, layer, block_input):
    """ReLU6 and the block's input, as the layer says."""
    if layer["relu6"]:
        y = np.clip(y, 0, 6)
    if layer["adds_block_input"]:
        y = y + block_input
    return y


def opens_block(layer):
    """Whether the layer's input is the input of its block."""
    return layer["name"].endswith(".expand") or layer["name"] in ("block0.depthwise", "stem", "head")


def run(x, layers, weights, biases):
    """-> (last map [n, 7, 7, 1280], tap [n, 14, 14, 672])"""
    tap = block_input = None
    for layer in layers:
        name = layer["name"]
        if opens_block(layer):
            block_input = x
        x = finish(linear(x, layer, weights[name], biases[name]), layer, block_input)
        if name == TAP:
            tap = x
    return x, tap


def gem(x):
    """GeM pooling, p = 3: [n, h, w, c] -> [n, c]."""
    return np.cbrt((x.astype(np.float64) ** 3).mean((1, 2))).astype(np.float32)
