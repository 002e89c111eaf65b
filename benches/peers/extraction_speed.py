#!/usr/bin/env python3
"""Whole extraction, one thread: Pillow (with draft) and onnxruntime f32, in turns with this crate's own program.

    extraction_speed.py MODEL PICTURES [--rounds 5] [--program PROGRAM ARGS...]

MODEL is that of onnx_speed.py; PICTURES is a folder of JPEG files. The peer reads a file from memory, decodes it with
draft('RGB', (448, 448)), scales it to 224 x 224 by BICUBIC, runs the f32 network and averages its last map: less than
this crate does, which also makes colours, edges, a hash and the projection. PROGRAM is run once a round, for example
`target/release/examples/embed_speed --threads 1 --pictures PICTURES`, and its lines are printed as they are.
Needs the packages of onnx_speed.py and Pillow.
"""
import argparse
import glob
import io
import json
import os
import subprocess
import tempfile
import time

import numpy as np
import onnx
from PIL import Image

import onnx_speed


def extract(session, data):
    im = Image.open(io.BytesIO(data))
    im.draft("RGB", (448, 448))
    plane = np.asarray(im.convert("RGB").resize((224, 224), Image.BICUBIC), np.float32)
    return session.run(None, {"input": ((plane - 127) / 128).transpose(2, 0, 1)[None]})[0].mean(axis=(2, 3))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model")
    ap.add_argument("pictures")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--program", nargs=argparse.REMAINDER)
    a = ap.parse_args()
    layers = json.load(open(os.path.join(a.model, "efficientnet-lite0.json")))["layers"]
    weights = dict(np.load(os.path.join(a.model, "efficientnet-lite0.npz")))
    with tempfile.TemporaryDirectory() as d:
        file = os.path.join(d, "f32.onnx")
        onnx.save(onnx_speed.graph(layers, weights), file)
        session = onnx_speed.session(file)
    files = [open(f, "rb").read() for f in sorted(glob.glob(os.path.join(a.pictures, "*.jp*g")))]
    assert files, "no JPEG files"
    for data in files:
        extract(session, data)
    for r in range(a.rounds):
        t = time.perf_counter()
        for data in files * 3:
            extract(session, data)
        ms = (time.perf_counter() - t) / (3 * len(files)) * 1e3
        print(f"round {r}: Pillow + onnxruntime f32 {ms:.2f} ms a picture, {1e3 / ms:.1f} pictures/s", flush=True)
        if a.program:
            print(subprocess.run(a.program, capture_output=True, text=True, check=True).stdout, flush=True)


if __name__ == "__main__":
    main()
