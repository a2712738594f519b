#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where approximate search begins to pay: answers of the exact scan and of use_faiss, the same prototypes and rows.

    bench/search.py [--sizes 10000 100000] [--kinds hierarchical isotropic] [--dim 128] [--rows 20000] [--threads 2]

One JSON line a case: rows a second of both, the time the index takes, how many rows got the same nearest prototype
(recall), and after how many rows the index has paid for itself (null: never). Needs the package fast_kmeans and faiss."""

import argparse
import json
import time

import numpy as np

import data
from fast_kmeans import _core
from fast_kmeans._search import FaissSearch


class Timed(FaissSearch):
    """Knows how long the index took."""

    def build(self, *arguments):
        begin = time.perf_counter()
        index = super().build(*arguments)
        self.seconds = time.perf_counter() - begin
        return index


def model_of(points, threads, search):
    """A clusterer whose prototypes are the points, but for one that a row has moved."""
    params = {"task": "clusterer", "distance": "euclidean", "k_init": str(len(points)), "top_k": "1"}
    if search:
        params["use_faiss"] = "true"
    model = _core.Model(_core.Context(threads, search=search), params)
    model.set_start(points)
    model.fit_batch(_core.Batch(points[:1]))
    return model


def ask(model, rows, repeats):
    """The nearest prototypes, and the median of the seconds; the first answer, which prepares, is not among them."""
    labels = np.empty(len(rows), np.int64)
    model.predict_labels(_core.Batch(rows[:256]), np.empty(256, np.int64))
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        model.predict_labels(_core.Batch(rows), labels)
        seconds.append(time.perf_counter() - begin)
    return labels, float(np.median(seconds))


def measure(kind, k, arguments):
    points = data.make(kind, k, arguments.dim, 1)
    rows = data.make(kind, arguments.rows, arguments.dim, 2)
    exact, exact_seconds = ask(model_of(points, arguments.threads, None), rows, arguments.repeats)
    search = Timed()
    found, found_seconds = ask(model_of(points, arguments.threads, search), rows, arguments.repeats)
    gain = (exact_seconds - found_seconds) / len(rows)
    return {
        "kind": kind,
        "k": k,
        "dim": arguments.dim,
        "rows": len(rows),
        "threads": arguments.threads,
        "isa": _core.isa(),
        "exact_rows_per_s": round(len(rows) / exact_seconds),
        "faiss_rows_per_s": round(len(rows) / found_seconds),
        "ratio": round(exact_seconds / found_seconds, 3),
        "index_s": round(search.seconds, 2),
        "recall": round(float(np.mean(exact == found)), 5),
        "pays_after_rows": round(search.seconds / gain) if gain > 0 else None,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--kinds", nargs="+", default=["hierarchical", "isotropic"])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    for k in arguments.sizes:
        for kind in arguments.kinds:
            print(json.dumps(measure(kind, k, arguments)), flush=True)


if __name__ == "__main__":
    main()
