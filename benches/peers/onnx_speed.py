#!/usr/bin/env python3
"""Times onnxruntime on this crate's network, one thread, in turns with this crate's own program.

  onnx_speed.py MODEL [--rounds 5] [--program PROGRAM ARGS...]

MODEL holds efficientnet-lite0.npz and .json (README of the model data).  From them two ONNX graphs are built: f32, and
the same with QuantizeLinear and DequantizeLinear (u8 activations, i8 weights by output channel, static ranges from the
pictures of examples/pictures).  PROGRAM is run once a round between the two, for example
`target/release/examples/embed_speed --threads 1 --pictures examples/pictures`, and its lines are printed as they are.
Needs the packages onnx, onnxruntime and numpy; Pillow for real pictures (else noise).
"""
import argparse
import glob
import json
import os
import subprocess
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper


def pictures():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/pictures")
    try:
        from PIL import Image

        planes = [Image.open(f).convert("RGB").resize((224, 224), Image.BICUBIC) for f in sorted(glob.glob(folder + "/*.jpg"))]
        planes = np.stack([np.asarray(p) for p in planes])
    except ImportError:
        planes = np.random.default_rng(1).integers(0, 256, (8, 224, 224, 3), np.uint8)
    return ((planes.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2)


def graph(layers, weights):
    """The f32 graph: Conv, Clip for ReLU6, Add for the block's input."""
    nodes, constants = [], [numpy_helper.from_array(np.float32(0), "zero"), numpy_helper.from_array(np.float32(6), "six")]
    x, block = "input", None
    for layer in layers:
        name = layer["name"]
        if name.endswith(".expand") or name in ("block0.depthwise", "stem", "head"):
            block = x
        for part in ("weight", "bias"):
            constants.append(numpy_helper.from_array(weights[f"{name}.{part}"].astype(np.float32), f"{name}.{part}"))
        before, after, k, s = layer["pad_before"], layer["pad_after"], layer["kernel"], layer["stride"]
        group = layer["in_channels"] if layer["kind"] == "depthwise" else 1
        shape = {"kernel_shape": [k, k], "strides": [s, s], "pads": [before, before, after, after], "group": group}
        nodes.append(helper.make_node("Conv", [x, name + ".weight", name + ".bias"], [name], name=name, **shape))
        x = name
        if layer["relu6"]:
            nodes.append(helper.make_node("Clip", [x, "zero", "six"], [name + ".relu6"]))
            x = name + ".relu6"
        if layer["adds_block_input"]:
            nodes.append(helper.make_node("Add", [x, block], [name + ".sum"]))
            x = name + ".sum"
        if name == "block11.expand":
            tap = x
    value = lambda n, shape: helper.make_tensor_value_info(n, TensorProto.FLOAT, shape)
    outputs = [value(x, [1, 1280, 7, 7]), value(tap, [1, 672, 14, 14])]
    body = helper.make_graph(nodes, "lite0", [value("input", [1, 3, 224, 224])], outputs, constants)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def quantised(f32, out, planes):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = iter([{"input": p[None]} for p in planes])

        def get_next(self):
            return next(self.rest, None)

    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(f32, out, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, **types)


def session(file):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--passes", type=int, default=40)
    ap.add_argument("--scratch", default="/tmp")
    ap.add_argument("--program", nargs=argparse.REMAINDER, default=[])
    a = ap.parse_args()
    layers = json.load(open(os.path.join(a.model, "efficientnet-lite0.json"), encoding="utf8"))["layers"]
    weights = np.load(os.path.join(a.model, "efficientnet-lite0.npz"))
    planes = pictures()
    files = [os.path.join(a.scratch, f"lite0-{kind}.onnx") for kind in ("f32", "qdq")]
    onnx.save(graph(layers, weights), files[0])
    quantised(files[0], files[1], planes)
    sessions = [session(f) for f in files]
    times = [[], []]
    for _ in range(a.rounds):
        for which, s in enumerate(sessions):
            for i in range(a.passes):
                x = {"input": planes[i % len(planes)][None]}
                begun, cpu = time.perf_counter(), time.process_time()
                s.run(None, x)
                times[which].append(((time.perf_counter() - begun) * 1e3, (time.process_time() - cpu) * 1e3))
        if a.program:
            print(subprocess.run(a.program, capture_output=True, text=True, check=True).stdout, end="")
    for kind, t in zip(("f32", "QDQ int8"), times):
        (least, least_cpu), (middle, middle_cpu) = np.min(t, 0), np.median(t, 0)
        print(f"onnxruntime {ort.__version__} {kind}: min {least:.3f} ms, median {middle:.3f} ms; CPU min {least_cpu:.3f} ms, median {middle_cpu:.3f} ms")


if __name__ == "__main__":
    main()
