# SPDX-License-Identifier: Apache-2.0
"""What is measured: shapes, data, engines, and how many times faster than each peer FastKMeans wants to be."""

import json
import os
import sys
from dataclasses import dataclass, field, replace

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import data  # noqa: E402

OURS = "fastkmeans"
FEWER = "fewer"  # FastKMeans again: only as many passes as it takes to be as good as the others


@dataclass(frozen=True)
class Workload:
    name: str
    what: str
    module: str  # of the engines' functions, which are called task_engine
    task: str
    n: int
    dim: int
    k: int
    peers: dict[str, float | None]  # engine: how many times faster than it, where a number was set
    kind: str = "hierarchical"  # of data.py, or a real set
    passes: int = 1  # iterations, epochs
    top: int = 1
    classes: int = 0
    asked: int = 0  # rows to answer for, or to look up
    per_row: float = 1.0  # share of the prototypes that a row must be compared with
    quick: dict[str, int] = field(default_factory=dict)

    @property
    def flops(self):
        """Of comparing each row with each prototype it must be compared with: one result, per pass."""
        rows = self.asked if self.task in ("search", "predict", "values") else self.n
        return 2.0 * rows * self.k * self.dim * self.per_row * (self.passes if self.task == "lloyd" else 1)


def clustering(name, what, task, n, dim, k, peers, **more):
    return Workload(name, what, "clustering", task, n, dim, k, peers, **more)


def model(name, what, task, n, dim, k, peers, **more):
    return Workload(name, what, "models", task, n, dim, k, peers, **more)


def lloyd(name, n, dim, k, superkmeans, sklearn, kind="hierarchical", what=""):
    few = {"n": n // 20, "k": k // 5, "passes": 5}
    return clustering(
        f"lloyd-{name}",
        f"{what or n} x {dim}, K = {k}, 20 passes from the same start",
        "lloyd",
        n,
        dim,
        k,
        {"superkmeans": superkmeans, "sklearn": sklearn, FEWER: None, "faiss": None},
        kind=kind,
        passes=20,
        quick=few,
    )


def search(name, dim, k, asked, top, peers, kind="hierarchical"):
    rows = "" if kind == "hierarchical" else f", {kind}"
    what = f"{asked} rows among {k} points, {dim} columns{rows}, top {top}"
    few = {"asked": asked // 20, "k": k // 10}
    return clustering(name, what, "search", 0, dim, k, peers, kind=kind, top=top, asked=asked, quick=few)


SMALL_CLASSES = {"n": 2000, "classes": 10, "k": 30, "asked": 500}
F1 = {"n": 50000, "dim": 784, "k": 200, "classes": 10, "quick": {"n": 3000, "asked": 1000}}
F2 = {"n": 20000, "dim": 128, "k": 15000, "classes": 5000, "quick": SMALL_CLASSES}
F3 = {"n": 20000, "dim": 128, "k": 1500, "classes": 500, "quick": SMALL_CLASSES}
MNIST = F1 | {"kind": "mnist"}

WORKLOADS = [
    lloyd("C1", 100_000, 128, 1000, 8, 20),
    lloyd("C2", 1_000_000, 64, 100, 8, 8),
    lloyd("C3", 50_000, 768, 1000, 5, 15),
    lloyd("C4", 100_000, 1024, 300, 4, 10),
    lloyd("mnist", 60_000, 784, 1000, None, None, "mnist", "MNIST"),
    search("top1-128", 128, 10_000, 100_000, 1, {"faiss": 12, "sklearn": None}),
    search("top1-768", 768, 10_000, 20_000, 1, {"faiss": 6, "sklearn": None}),
    search("top5-128", 128, 10_000, 100_000, 5, {"faiss": 10}),
    search("top5-768", 768, 10_000, 20_000, 5, {"faiss": 5}),
    search("top1-100k", 128, 100_000, 10_000, 1, {"hnsw": 8, "faiss": None}),
    *(search(f"top1-{kind}", 128, 1000, 100_000, 1, {"faiss": None}, kind) for kind in data.KINDS),
    clustering("seed", "k-means++, 100000 x 128, K = 1000", "seed", 100_000, 128, 1000, {"sklearn": 60},
               quick={"n": 5000, "k": 100}),
    model("F1.fit", "classifier, 10 classes x 20, fit, one epoch", "fit", peers={"torch": 20}, passes=5, per_row=0.1, **F1),
    model("F1.finetune", "the same, fine-tuning, one epoch", "finetune", peers={"torch": 30}, passes=2, **F1),
    model("F1.predict", "the same, 10000 answers", "predict", peers={"torch": 40}, asked=10_000, **F1),
    model("F1m.fit", "MNIST, 10 classes x 20, fit, one epoch", "fit", peers={"torch": None}, passes=5, per_row=0.1, **MNIST),
    model("F1m.finetune", "the same, fine-tuning, one epoch", "finetune", peers={"torch": None}, passes=2, **MNIST),
    model("F1m.predict", "the same, 10000 answers", "predict", peers={"torch": None}, asked=10_000, **MNIST),
    model("F2.fit", "classifier, 5000 classes x 3, fit, one epoch", "fit", peers={"torch": 100}, passes=5, per_row=1 / 5000,
          **F2),
    model("F2.predict", "the same, 4000 answers", "predict", peers={"torch": 5000}, asked=4000, **F2),
    model("F3.finetune", "classifier, 500 classes x 3, fine-tuning, one epoch", "finetune", peers={"torch": 300}, passes=2,
          **F3),
    model("M1.fit", "multi-label, 500 tags x 3, fit, one epoch", "tags", 20_000, 128, 1500, {"torch": 30}, passes=5,
          classes=500, per_row=3 / 500, quick={"n": 2000, "classes": 50, "k": 150}),
    model("R1.predict", "regressor, 20 x 20 prototypes, 50000 answers", "values", 50_000, 128, 400, {"torch": 40},
          classes=20, asked=50_000, quick={"n": 3000, "asked": 2000}),
]  # fmt: skip


class Case:
    """A workload on this machine: its numbers as attributes, its arrays as files of a folder."""

    def __init__(self, workload, folder, **settings):
        self.__dict__.update(vars(workload) | settings)
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def array(self, name):
        return np.load(self.path(name + ".npy"))

    def input_mb(self):
        """Of what the measured call is given."""
        given = {
            "search": ("queries",),
            "predict": ("x_test",),
            "values": ("x_test",),
            "seed": ("x",),
            "lloyd": ("x",),
        }
        return sum(self.array(name).nbytes for name in given.get(self.task, ("x", "y"))) / 1e6


def sized(workload, quick):
    return replace(workload, **workload.quick) if quick else workload


def prepare(workload, folder, real):
    """Writes the arrays of a workload, unless they are there; False when its real set is not."""
    complete = os.path.join(folder, "complete.json")
    if os.path.exists(complete):
        return True
    arrays = made(workload, real)
    if arrays is None:
        return False
    os.makedirs(folder, exist_ok=True)
    for name, values in arrays.items():
        np.save(os.path.join(folder, name), values)
    with open(complete, "w") as file:
        json.dump({name: values.shape for name, values in arrays.items()}, file)
    return True


def made(workload, real):
    w, random = workload, np.random.default_rng(11)
    if w.task == "search":
        return {
            "points": data.make(w.kind, w.k, w.dim, seed=1),
            "queries": data.make(w.kind, w.asked, w.dim, seed=2),
        }
    if w.kind in data.KINDS:
        read = None
    else:
        read = data.real(real, w.kind)
        if read is None:
            return None
    if w.task in ("lloyd", "seed"):
        x = read[0][: w.n] if read else data.make(w.kind, w.n, w.dim)
        return (
            {"x": x} if w.task == "seed" else {"x": x, "start": x[random.choice(len(x), w.k, replace=False)]}
        )
    if w.task == "values":
        x, y = data.targets(w.n + w.asked, w.dim)
        return {"x": x[: w.n], "y": y[: w.n], "x_test": x[w.n :], "y_test": y[w.n :]}
    if w.task == "tags":
        x, y = data.tags(w.n, w.dim, w.classes, w.k // w.classes)
        start, label = start_of(x, [np.flatnonzero(column) for column in y.T], w.k // w.classes, random)
        return {"x": x, "y": y, "start": start, "start_label": label}
    asked = w.asked or min(w.n, 10_000)
    if read:
        x, y, x_test, y_test = read
        x, y, x_test, y_test = x[: w.n], y[: w.n], x_test[:asked], y_test[:asked]
    else:
        x, y = data.classes(w.n + asked, w.dim, w.classes, w.k // w.classes)
        x, y, x_test, y_test = x[: w.n], y[: w.n], x[w.n :], y[w.n :]
    start, label = start_of(x, [np.flatnonzero(y == c) for c in range(w.classes)], w.k // w.classes, random)
    return {"x": x, "y": y, "x_test": x_test, "y_test": y_test, "start": start, "start_label": label}


def start_of(x, rows_of, each, random):
    """Rows of each class at random, and their classes."""
    rows = [random.choice(rows, min(each, len(rows)), replace=False) for rows in rows_of]
    return x[np.concatenate(rows)], np.repeat(np.arange(len(rows)), [len(chosen) for chosen in rows]).astype(
        np.int64
    )
