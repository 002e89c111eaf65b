#!/usr/bin/env python3
"""Makes src/features/weights/background.bin (docs/model.md describes it byte by byte).

  make_background.py VIEWS.bin LIST.txt OUT/background.bin [--rows 2700]

LIST.txt names pictures, one a line; VIEWS.bin is what the crate itself sees in them:

  LOOKALIKE_LIST=LIST.txt LOOKALIKE_ROBUST=0 LOOKALIKE_OUT=VIEWS.bin \\
      cargo test --release --lib extract_copy_views -- --ignored

Of each picture the first view (the picture itself) is kept.  When there are more than --rows, those whose names have the
smallest SHA-256 are: any of them is as good as another.
"""
import argparse
import hashlib
import struct

import numpy as np

from make_weights import bundle, padded

COLUMNS = 256


def first_views(file, count):
    """-> f32 [count, 256]"""
    raw, at, views = open(file, "rb").read(), 0, []
    for _ in range(count):
        number, hashes, _quality = struct.unpack_from("<III", raw, at)
        views.append(np.frombuffer(raw, "<f4", COLUMNS, at + 12))
        at += 12 + number * COLUMNS * 4 + hashes * 32
    assert at == len(raw), "the list is not that of the views"
    return np.array(views)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views")
    parser.add_argument("list")
    parser.add_argument("out")
    parser.add_argument("--rows", type=int, default=2700)
    parser.add_argument("--strip", default="", help="what the names begin with on this machine only")
    options = parser.parse_args()
    names = open(options.list, encoding="utf8").read().splitlines()
    views = first_views(options.views, len(names))
    key = lambda i: hashlib.sha256(names[i].removeprefix(options.strip).encode()).digest()
    kept = sorted(sorted(range(len(names)), key=key)[: options.rows])
    rows = views[kept]
    codes = np.rint(rows / np.abs(rows).max(1, keepdims=True) * 127).astype(np.int8)
    payload = struct.pack("<II", *codes.shape) + padded(codes.tobytes())
    open(options.out, "wb").write(bundle(b"lkl-back", payload))
    print(f"{len(kept)} of {len(names)} pictures")


if __name__ == "__main__":
    main()
