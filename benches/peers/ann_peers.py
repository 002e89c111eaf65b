#!/usr/bin/env python3
"""faiss, usearch and qdrant-edge on the vectors of `ann_bench`, in turns with it: one thread, one query a call.

    ann_peers.py build DIR [--only faiss,usearch,qdrant]
    ann_peers.py run DIR [--only ...] [--rounds 3] [--filters] [--program PROGRAM ARGS...]

DIR holds base.npy, queries.npy, gt_ids.npy and the tags (see `examples/ann_bench.rs`). `build` makes each peer's index
once, in DIR/peers. `run` measures them. One round is: each peer with each of its settings, all queries, then PROGRAM,
which is `ann_bench` on an instance that is already built and prints its lines of JSON:

    target/release/examples/ann_bench --dir DIR --instance-dir INSTANCE --query-only [--filters]

Taking turns makes whatever else the machine does fall on all of them alike. The last lines are ratios at equal recall:
for each effort of PROGRAM the peer's time at that recall is read off its curve of settings, by straight lines between
log(1 - recall) and log(time). Where a curve does not reach the recall, that is said, and nothing is guessed.

How the peers are called, in their favour where there was a choice:

* The call alone is timed, with the query converted before; reading the ids out of its answer is not.
* faiss has OPENBLAS_CORETYPE=Haswell, because the OpenBLAS of its wheel does not know newer processors and falls back to
  code of 2007. `IVF4096,PQ128x4fs,Refine(SQ8)`, inner product; the lists are trained on 262,144 rows.
* usearch: HNSW of 8-bit values, connectivity 16, expansion_add 128, mapped by `view`.
* qdrant-edge: HNSW m 16, ef_construct 100, 8-bit values in memory, twice the hits scored again with f32 (which raises
  its recall by .02 and costs nothing); three keyword indexes, which also get edges of their own in the graph, so that a
  filtered search can walk it. One segment of rows. Its first queries after loading are slow, so every engine gets a
  whole untimed pass first.

Needs faiss-cpu, usearch, qdrant-edge-py and numpy.
"""
import argparse
import json
import math
import os
import resource
import shutil
import subprocess
import time
from pathlib import Path

# Before anything loads a BLAS.
os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")
for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(pool, "1")

import numpy as np

KEYS = ("color", "shop", "rare")


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def size_of(path):
    if path.is_file():
        return path.stat().st_size
    # What is on disk, not the nominal length: files with room at the end are sparse.
    return sum(f.stat().st_blocks * 512 for f in path.rglob("*") if f.is_file())


class Faiss:
    """An inverted file with product codes of 4 bits, its best rows scored again from 8 bits a value."""

    name = "faiss"
    # (lists probed, candidates scored again per hit)
    settings = [(32, 10), (64, 10), (128, 10), (256, 20), (512, 20), (512, 50), (1024, 20), (1024, 50)]
    filter_settings = []

    def __init__(self, home):
        import faiss

        faiss.omp_set_num_threads(1)
        self.faiss, self.file = faiss, home / "faiss.index"

    def build(self, base, tags):
        faiss = self.faiss
        lists = 4096 if len(base) >= 500_000 else 1024
        index = faiss.index_factory(base.shape[1], f"IVF{lists},PQ128x4fs,Refine(SQ8)", faiss.METRIC_INNER_PRODUCT)
        sample = np.random.default_rng(1).choice(len(base), min(len(base), 262_144), replace=False)
        index.train(np.ascontiguousarray(base[np.sort(sample)]))
        for start in range(0, len(base), 50_000):
            index.add(np.ascontiguousarray(base[start : start + 50_000]))
        faiss.write_index(index, str(self.file))

    def open(self, queries, filters):
        self.index = self.faiss.read_index(str(self.file))
        self.ivf = self.faiss.extract_index_ivf(self.index)
        self.queries = [q[None] for q in queries]

    def set(self, setting):
        self.ivf.nprobe, self.index.k_factor = setting

    def search(self, i):
        return self.index.search(self.queries[i], 10)[1]

    def ids(self, answer):
        return answer[0]


class Usearch:
    """A graph (HNSW) over 8-bit values."""

    name = "usearch"
    settings = [32, 64, 128, 256, 512, 1024]
    filter_settings = []

    def __init__(self, home):
        self.file = home / "usearch.index"

    def build(self, base, tags):
        from usearch.index import Index

        index = Index(ndim=base.shape[1], metric="cos", dtype="i8", connectivity=16, expansion_add=128)
        for start in range(0, len(base), 50_000):
            rows = np.ascontiguousarray(base[start : start + 50_000])
            index.add(np.arange(start, start + len(rows), dtype=np.uint64), rows, threads=1)
        index.save(str(self.file))

    def open(self, queries, filters):
        from usearch.index import Index

        self.index = Index.restore(str(self.file), view=True)
        self.queries = list(queries)

    def set(self, setting):
        self.index.expansion_search = setting

    def search(self, i):
        return self.index.search(self.queries[i], 10, threads=1)

    def ids(self, answer):
        return answer.keys.astype(np.int64)


class Qdrant:
    """A graph (HNSW) over 8-bit values, with an index of the tags; the best rows scored again from f32."""

    name = "qdrant"
    settings = [16, 32, 64, 128, 256, 512]
    filter_settings = [64, 128, 256, 512]

    def __init__(self, home):
        import qdrant_edge

        self.edge, self.dir = qdrant_edge, home / "qdrant-edge"

    def config(self, dims):
        edge = self.edge
        return edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(size=dims, distance=edge.Distance.Dot),
            hnsw_config=edge.HnswIndexConfig(
                m=16, ef_construct=100, full_scan_threshold=10_000, max_indexing_threads=1
            ),
            quantization_config=edge.ScalarQuantizationConfig(
                type=edge.ScalarType.Int8, quantile=0.99, memory=edge.Memory.Pinned
            ),
            # One segment however many rows: more would be searched one after another on one thread.
            optimizers=edge.EdgeOptimizersConfig(default_segment_number=1, max_segment_size=1 << 30),
            max_search_threads=1,
        )

    def build(self, base, tags):
        edge = self.edge
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        shard = edge.EdgeShard.create(str(self.dir), self.config(base.shape[1]))
        for key in tags:
            shard.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Keyword))
        for start in range(0, len(base), 1_000):
            points = [
                edge.Point(i, base[i].tolist(), {key: str(values[i]) for key, values in tags.items()})
                for i in range(start, min(start + 1_000, len(base)))
            ]
            shard.update(edge.UpdateOperation.upsert_points(points))
        shard.flush()
        print(f"qdrant: rows are in after {cpu_seconds():.0f} CPU s", flush=True)
        shard.optimize()
        shard.flush()
        print(f"qdrant: {shard.info().segments_count} segments", flush=True)
        shard.close()

    def open(self, queries, filters):
        edge = self.edge
        self.shard = edge.EdgeShard.load(str(self.dir))
        self.lists = [q.tolist() for q in queries]
        self.filters = {
            key: [
                edge.Filter(must=[edge.FieldCondition(key=key, match=edge.MatchValue(value=str(v)))]) for v in values
            ]
            for key, values in filters.items()
        }

    def set(self, setting, key=None):
        edge = self.edge
        again = edge.QuantizationSearchParams(rescore=True, oversampling=2.0)
        params = edge.SearchParams(hnsw_ef=setting, quantization=again)
        self.requests = [
            edge.SearchRequest(
                query=edge.Query.Nearest(q), limit=10, params=params, filter=self.filters[key][i] if key else None
            )
            for i, q in enumerate(self.lists)
        ]

    def search(self, i):
        return self.shard.search(self.requests[i])

    def ids(self, answer):
        return [point.id for point in answer]


ENGINES = {engine.name: engine for engine in (Faiss, Usearch, Qdrant)}


def build(a):
    base = np.load(a.dir / "base.npy", mmap_mode="r")
    tags = {key: np.load(a.dir / f"tags_{key}.npy") for key in KEYS if (a.dir / f"tags_{key}.npy").exists()}
    home = a.dir / "peers"
    home.mkdir(exist_ok=True)
    for name in a.only:
        engine = ENGINES[name](home)
        wall, cpu = time.time(), cpu_seconds()
        engine.build(base, tags)
        wall, cpu = time.time() - wall, cpu_seconds() - cpu
        path = getattr(engine, "file", None) or engine.dir
        line = {"figure": "peer_build", "engine": name, "rows": len(base), "wall_seconds": round(wall, 1)}
        line |= {"cpu_seconds": round(cpu, 1), "bytes_per_vector": round(size_of(path) / len(base), 1)}
        print(json.dumps(line), flush=True)


def one_pass(engine, truth):
    """Milliseconds of each query, and the share of the true hits that were found."""
    count, clock = len(truth), time.perf_counter_ns
    times, answers = np.empty(count), []
    for i in range(count):
        begun = clock()
        answer = engine.search(i)
        times[i] = (clock() - begun) / 1e6
        answers.append(answer)
    found = wanted = 0
    for answer, true in zip(answers, truth):
        true = set(true[true >= 0].tolist())
        wanted += len(true)
        found += len(true & set(int(i) for i in engine.ids(answer)))
    return times, found / wanted


class Curve:
    """What each setting of one engine gave, round after round."""

    def __init__(self):
        self.points = {}

    def add(self, setting, recall, p50, p99, mean):
        self.points.setdefault(str(setting), []).append((recall, p50, p99, mean))

    def rows(self):
        """(setting, recall, p50, p99, mean): medians of the rounds."""
        return [(setting, *np.median(np.array(rounds), axis=0)) for setting, rounds in self.points.items()]

    def at(self, recall, column):
        """The time at a recall, or why there is none."""
        points = sorted((row[1], row[column]) for row in self.rows())
        # A setting that is both slower and worse than another is nobody's choice.
        best, least = [], math.inf
        for found, taken in reversed(points):
            if taken < least:
                best.append((found, taken))
                least = taken
        best.reverse()
        if recall > best[-1][0]:
            return None, f"its best is {best[-1][0]:.4f}, in {best[-1][1]:.3f} ms"
        if recall <= best[0][0]:
            return best[0][1], f"its lowest setting, {best[0][0]:.4f}"
        for (low, fast), (high, slow) in zip(best, best[1:]):
            if recall <= high:
                scale = lambda r: math.log(max(1 - r, 1e-5))
                share = (scale(recall) - scale(low)) / (scale(high) - scale(low))
                return math.exp(math.log(fast) + share * (math.log(slow) - math.log(fast))), ""


def run(a):
    queries = np.load(a.dir / "queries.npy")
    truth = np.load(a.dir / "gt_ids.npy")[:, :10]
    keys = [key for key in KEYS if a.filters and (a.dir / f"fvals_{key}.npy").exists()]
    values = {key: np.load(a.dir / f"fvals_{key}.npy") for key in keys}
    truths = {key: np.load(a.dir / f"fgt_{key}.npy") for key in keys}
    engines = [ENGINES[name](a.dir / "peers") for name in a.only]
    # Measurements: no filter under None, else the tag's key.
    curves = {(engine.name, key): Curve() for engine in engines for key in [None, *keys]}
    ours = {key: Curve() for key in [None, *keys]}
    for engine in engines:
        begun = time.time()
        engine.open(queries, values)
        print(f"{engine.name}: opened in {time.time() - begun:.2f} s", flush=True)
        engine.set(engine.settings[-1])
        one_pass(engine, truth)
    for number in range(a.rounds):
        for engine in engines:
            for setting in engine.settings:
                engine.set(setting)
                if number == 0:
                    one_pass(engine, truth)
                measure(curves[engine.name, None], setting, *one_pass(engine, truth))
            for key in keys:
                for setting in engine.filter_settings:
                    engine.set(setting, key)
                    if number == 0:
                        one_pass(engine, truths[key])
                    measure(curves[engine.name, key], setting, *one_pass(engine, truths[key]))
        if a.program:
            done = subprocess.run(a.program, stdout=subprocess.PIPE, text=True, check=True)
            for line in done.stdout.splitlines():
                read_ours(ours, json.loads(line))
        print(f"round {number + 1} of {a.rounds} is done", flush=True)
    report(a, curves, ours, keys)


def measure(curve, setting, times, recall):
    p50, p99 = np.percentile(times, [50, 99])
    curve.add(setting, recall, p50, p99, times.mean())


def read_ours(ours, line):
    """A line of `ann_bench`: the searches of an effort, without a filter or under one, on one thread."""
    if line.get("figure") in ("search", "filter") and line.get("threads", 1) == 1 and line.get("filter") in ours:
        ours[line.get("filter")].add(
            line["effort"], line["recall_at_10"], line["p50_ms"], line["p99_ms"], line["mean_ms"]
        )


def report(a, curves, ours, keys):
    everyone = [*curves.items(), *((("ours", key), curve) for key, curve in ours.items())]
    for key in [None, *keys]:
        print(f"\n{'filter ' + key if key else 'no filter'}: medians of {a.rounds} rounds")
        print("| engine | setting | recall@10 | p50 ms | p99 ms | mean ms |\n| --- | --- | --- | --- | --- | --- |")
        for (name, other), curve in everyone:
            for setting, recall, p50, p99, mean in curve.rows() if other == key else []:
                print(f"| {name} | {setting} | {recall:.4f} | {p50:.3f} | {p99:.3f} | {mean:.3f} |")
    for key in [None, *keys]:
        for effort, recall, p50, _, mean in ours[key].rows():
            for (name, other), curve in curves.items():
                if other != key or not curve.points:
                    continue
                line = {"figure": "ratio", "peer": name, "filter": key, "effort": effort, "recall": round(recall, 4)}
                for what, mine, column in (("p50", p50, 2), ("mean", mean, 4)):
                    theirs, note = curve.at(recall, column)
                    line[f"{what}_ms"] = round(mine, 4)
                    line[f"peer_{what}_ms"] = theirs and round(theirs, 4)
                    line[f"{what}_ratio"] = theirs and round(mine / theirs, 3)
                    if note:
                        line[f"{what}_note"] = note
                print(json.dumps(line))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["build", "run"])
    parser.add_argument("dir", type=Path)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(ENGINES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--filters", action="store_true")
    parser.add_argument("--program", nargs=argparse.REMAINDER, default=[])
    a = parser.parse_args()
    (build if a.task == "build" else run)(a)


if __name__ == "__main__":
    main()
