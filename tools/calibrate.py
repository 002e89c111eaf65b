#!/usr/bin/env python3
"""Measures the points of src/features/calibrate.rs on labelled pictures.

  calibrate.py FEATURES.npz CATEGORY.tsv INSTANCE.tsv COPIES.tsv QUERIES.tsv

FEATURES.npz: `paths` and `emb` [n, 256] or [n, 512], the two blocks (160 and 96, or 256 and 256 values) each of unit norm.  The tables have the
columns path, label, role; that of the queries (made copies) also positive.  For each mode:

* .2: the 95th percentile over pairs of category pictures of one source with different labels, averaged over sources;
* .5: the median over pairs of category pictures of one source with the same label, averaged over sources;
* .9: the lowest score at and above which .99 of the pairs of a query and a picture of COPIES are a copy and its
  original; and, for comparison, the same with the category and instance pictures added to the gallery.
"""
import csv
import sys

import numpy as np

MODES = (("Semantic", 0.0), ("Default", 0.25), ("Balanced", 1.0), ("Copy", 4.0))


def rows(file):
    return list(csv.DictReader(open(file, encoding="utf8"), delimiter="\t", quoting=csv.QUOTE_NONE))


def column(table, name):
    return np.array([row[name] for row in table])


def threshold(score, right, precision=0.99):
    """-> (lowest score that holds the precision, share of the right pairs at or above it)"""
    order = np.argsort(-score)
    good = np.cumsum(right[order])
    held = np.flatnonzero(good >= precision * np.arange(1, len(good) + 1))[-1]
    return score[order][held], good[held] / right.sum()


def main():
    z = np.load(sys.argv[1])
    at = {str(p): i for i, p in enumerate(z["paths"])}
    category, instance, copies, queries = map(rows, sys.argv[2:6])
    source = np.array([p.split("/")[1] for p in column(category, "path")])
    originals = [row for row in copies if row["role"] in ("both", "gallery")]
    positive = column(queries, "positive") == "1"
    blocks = {256: (160, 96), 512: (256, 256)}[z["emb"].shape[1]]
    for mode, w in MODES:
        emb = z["emb"].astype(np.float32) * np.repeat(np.sqrt([1 / (1 + w), w / (1 + w)]), blocks).astype(np.float32)
        vectors = lambda table: emb[[at[p] for p in column(table, "path")]]
        low, half = [], []
        for name in sorted(set(source)):
            mine = [row for row, s in zip(category, source) if s == name]
            score, label = vectors(mine) @ vectors(mine).T, column(mine, "label")
            upper = np.triu(np.ones(score.shape, bool), 1)
            same = label[:, None] == label[None]
            low.append(np.percentile(score[upper & ~same], 95))
            half.append(np.median(score[upper & same]))
        high = []
        for gallery in (originals, originals + category + instance):
            right = (column(queries, "label")[:, None] == column(gallery, "label")[None]) & positive[:, None]
            high += threshold((vectors(queries) @ vectors(gallery).T).ravel(), right.ravel())
        print(f"{mode:9s} w {w:4.2f}   .2: {np.mean(low):.3f}   .5: {np.mean(half):.3f}   "
              f".9: {high[0]:.3f} (recall {high[1]:.2f}), in the larger gallery {high[2]:.3f} ({high[3]:.2f})")


if __name__ == "__main__":
    main()
