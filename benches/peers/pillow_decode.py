"""Pillow on the pictures of `cargo bench --bench decode`: decoding in full, with draft, and scaling to 224 x 224.

    pillow_decode.py DIR/decode-*.jpg [--rounds 30]

One thread. Prints for each picture the best of all rounds in milliseconds; the pictures take turns, so that whatever
else the machine does falls on all of them alike.
"""

import argparse
import io
import time
from pathlib import Path

from PIL import Image


def draft(data):
    im = Image.open(io.BytesIO(data))
    im.draft("RGB", (448, 448))
    im.load()
    return im


def full(data):
    im = Image.open(io.BytesIO(data))
    im.load()
    return im


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    pictures = {path: path.read_bytes() for path in arguments.pictures}
    best = {}
    for _ in range(arguments.rounds):
        for path, data in pictures.items():
            marks = [time.perf_counter()]
            full(data)
            marks.append(time.perf_counter())
            im = draft(data)
            marks.append(time.perf_counter())
            im.resize((224, 224), Image.BICUBIC)
            marks.append(time.perf_counter())
            taken = [(b - a) * 1e3 for a, b in zip(marks, marks[1:])]
            best[path] = [min(pair) for pair in zip(best.get(path, taken), taken)]
    for path, (in_full, drafted, resize) in best.items():
        print(f"{path.name}: full {in_full:.2f} ms, draft {drafted:.2f} ms, resize {resize:.2f} ms")


if __name__ == "__main__":
    main()
