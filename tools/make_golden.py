#!/usr/bin/env python3
"""Makes tests/fixtures/golden.bin: what the reference gives for the pictures of examples/pictures.

  make_golden.py GOLDEN.npz OUT [--all]

For each picture, little-endian: u8 length of the path and the path (below the folder of the pictures' parent);
S [160] and C [96] f32 of unit norm; hash [32] bytes; hist [144] f32; edge [128] f32; trim [4] f32.
Without --all only paths that begin with `pictures/`; with it also the plane of 64 x 64 x 3 bytes after them.
"""
import struct
import sys

import numpy as np


def unit(x):
    return x / np.linalg.norm(x)


def main():
    everything = "--all" in sys.argv
    z = np.load(sys.argv[1])
    with open(sys.argv[2], "wb") as out:
        for i, path in enumerate(map(str, z["paths"])):
            if not everything and not path.startswith("pictures/"):
                continue
            name = path.encode()
            out.write(struct.pack("<B", len(name)) + name)
            for values in (unit(z["S"][i, :160]), unit(z["C"][i, :96])):
                out.write(values.astype("<f4").tobytes())
            out.write(z["hash"][i].tobytes())
            for values in (z["hist"][i], z["edge"][i], z["trim"][i]):
                out.write(values.astype("<f4").tobytes())
            if everything:
                out.write(z["input64"][i].tobytes())


if __name__ == "__main__":
    main()
