# SPDX-License-Identifier: Apache-2.0
"""Text in CSR rows: bench_sparse beside the same steps in scipy, and beside scikit-learn's linear classifiers.

    python bench/sparse_peers.py PROGRAM [--big | --quick] [--threads N] [--only NAME] [--limit SECONDS]
        [--memory GIB]

PROGRAM is build/bench/bench/bench_sparse. Every engine runs in a process of its own on the same rows and prints one
JSON line: seconds to fit (all passes) and to predict, documents a second, accuracy, peak memory; a table comes last.
Needs numpy, scipy and scikit-learn. OPENBLAS_CORETYPE is left to the caller: no matrix product of these peers is dense.
`make bench-peers` installs what is needed and runs it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

SHAPES = {
    "S1": {"rows": 16000, "dim": 50000, "words": 100, "classes": 500, "k": 3, "asked": 4000, "iters": 5},
    "big": {"rows": 500000, "dim": 100000, "words": 105, "classes": 5000, "k": 3, "asked": 20000, "iters": 10},
    "quick": {"rows": 600, "dim": 2000, "words": 40, "classes": 20, "k": 2, "asked": 100, "iters": 3},
}
OURS = {
    "hard": {"repulsion": 0},
    "hard-push": {"repulsion": 0.05},
    "soft": {"repulsion": 0, "assignment": "linear"},
    "bfloat16": {"repulsion": 0, "dtype": "bfloat16"},
}
PEERS = ("scipy-hard", "scipy-soft", "NearestCentroid", "SGDClassifier", "LinearSVC")
BATCH = 10240
LAMBDA = 0.1


def read(prefix, shape):
    import numpy as np
    import scipy.sparse as sp

    def array(name, dtype):
        return np.fromfile(f"{prefix}.{name}", dtype)

    indptr = array("indptr", np.int64)
    rows = sp.csr_matrix(
        (array("values", np.float32), array("indices", np.int32), indptr), shape=(len(indptr) - 1, shape["dim"])
    )
    return rows, array("labels", np.int64)


class Scipy:
    """Prototypes as one dense matrix; products of CSR rows with it, in batches; unit rows, so cosines."""

    def __init__(self, shape, soft):
        self.shape, self.soft = shape, soft

    def fit(self, x, y):
        import numpy as np
        import scipy.sparse as sp

        k, classes = self.shape["k"], self.shape["classes"]
        random = np.random.default_rng(0)
        order = np.argsort(y, kind="stable")
        begin = np.searchsorted(y[order], np.arange(classes + 1))
        seeds = [
            random.choice(order[begin[c] : begin[c + 1]], k, replace=begin[c + 1] - begin[c] < k)
            for c in range(classes)
        ]
        self.label = np.repeat(np.arange(classes), k)
        self.centres = x[np.concatenate(seeds)].toarray()
        for _ in range(self.shape["iters"]):
            sums, mass = np.zeros_like(self.centres), np.zeros(len(self.centres))
            for at in range(0, x.shape[0], BATCH):
                rows, labels = x[at : at + BATCH], y[at : at + BATCH]
                score = rows @ self.centres.T
                other = self.label[None, :] != labels[:, None]
                if self.soft:
                    share = np.maximum(score - LAMBDA * other, 0)
                    share /= np.maximum(share.sum(1, keepdims=True), 1e-12)
                    sums += (rows.T @ share).T
                    mass += share.sum(0)
                else:
                    score[other] = -np.inf
                    nearest = score.argmax(1)
                    assign = sp.csr_matrix(
                        (np.ones(len(nearest), np.float32), (nearest, np.arange(len(nearest)))),
                        shape=(len(self.centres), len(nearest)),
                    )
                    sums += (assign @ rows).toarray()
                    mass += np.bincount(nearest, minlength=len(mass))
            moved = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
            self.centres = np.where(mass[:, None] > 0, moved, self.centres)
        return self

    def predict(self, x):
        import numpy as np

        parts = [self.label[(x[at : at + BATCH] @ self.centres.T).argmax(1)] for at in range(0, x.shape[0], BATCH)]
        return np.concatenate(parts)


def peer(name, shape):
    if name.startswith("scipy"):
        return Scipy(shape, name == "scipy-soft")
    if name == "NearestCentroid":
        from sklearn.neighbors import NearestCentroid

        return NearestCentroid()
    if name == "SGDClassifier":
        from sklearn.linear_model import SGDClassifier

        return SGDClassifier(max_iter=5, tol=None, n_jobs=shape["threads"])
    from sklearn.svm import LinearSVC

    return LinearSVC()


def resident_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1000


def work(name, prefix, shape):
    x, y = read(prefix, shape)
    asked, labels = read(prefix + ".asked", shape)
    model = peer(name, shape)
    begun = time.perf_counter()
    model.fit(x, y)
    fit = time.perf_counter() - begun
    times = []
    while len(times) < 5 and sum(times) < 10:
        begun = time.perf_counter()
        answer = model.predict(asked)
        times.append(time.perf_counter() - begun)
    times.sort()
    accuracy = float((answer == labels).mean())
    print(json.dumps(line_of(name, shape, fit, times[len(times) // 2], accuracy, resident_mb())))


def line_of(name, shape, fit, predict, accuracy, peak):
    return {
        "bench": "sparse-peers", "engine": name, "shape": shape["name"], "fit_s": round(fit, 4),
        "predict_s": round(predict, 5), "documents_per_s": round(shape["asked"] / max(predict, 1e-6)),
        "accuracy": round(accuracy, 4), "peak_mb": round(peak),
    }  # fmt: skip


def ours(program, name, shape):
    options = {key: shape[key] for key in ("rows", "dim", "words", "classes", "k", "asked", "iters", "threads")}
    options.update(OURS[name])
    arguments = [text for key, value in options.items() for text in ("--" + key, str(value))]
    out = subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout
    steps = {line["step"]: line for line in map(json.loads, out.splitlines())}
    return line_of("FastKMeans " + name, shape, steps["fit"]["seconds"], steps["predict"]["seconds"],
                   steps["predict"]["quality"], steps["predict"]["peak_mb"])  # fmt: skip


def least_gib(engine, shape):
    """The arrays that a peer holds at the same time, whatever the rows are."""
    points = shape["classes"] * shape["k"] * shape["dim"]
    held = {
        "scipy-hard": 4 * 4 * points,  # centres, sums, the same of length 1, what becomes of both
        "scipy-soft": 4 * 4 * points,
        "NearestCentroid": 20 * shape["rows"] * shape["dim"],  # rows less their class's mean are dense
    }
    return held.get(engine, 8 * shape["classes"] * shape["dim"]) / 2**30


def theirs(engine, prefix, given, environment, shape):
    """What a process of its own prints, or why it did not."""
    if least_gib(engine, shape) > given.memory:
        return {"bench": "sparse-peers", "engine": engine, "needs_gib": round(least_gib(engine, shape), 1)}
    command = [sys.executable, *sys.argv, "--work", prefix, *([] if given.only else ["--only", engine])]
    line = {"bench": "sparse-peers", "engine": engine}
    try:
        done = subprocess.run(
            command, env=environment, timeout=given.limit, stdout=subprocess.PIPE, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return line | {"more_than_s": given.limit}
    return json.loads(done.stdout) if done.returncode == 0 else line | {"failed": done.returncode}


def table(lines, asked):
    yield f"| engine | fit, s | predict {asked:,} rows, s | accuracy | peak, MB |"
    yield "| --- | --- | --- | --- | --- |"
    for line in lines:
        if "fit_s" in line:
            yield (
                f"| {line['engine']} | {line['fit_s']:.3g} | {line['predict_s']:.2g} | {line['accuracy']:.3f} |"
                f" {line['peak_mb']:,} |"
            )
        else:
            why = (
                f"exit status {line['failed']}"
                if "failed" in line
                else f"does not fit: {line['needs_gib']:g} GiB"
                if "needs_gib" in line
                else f"more than {line['more_than_s']:g} s"
            )
            yield f"| {line['engine']} | {why} | | | |"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("program")
    arguments.add_argument("--big", action="store_true", help="500,000 documents instead of 16,000")
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--only", help="one engine")
    arguments.add_argument("--limit", type=float, default=3600, help="seconds for each peer")
    arguments.add_argument("--memory", type=float, default=20, help="GiB that a peer may take")
    arguments.add_argument("--work", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    name = "big" if given.big else "quick" if given.quick else "S1"
    shape = SHAPES[name] | {"name": name, "threads": given.threads}
    if given.work:
        work(given.only, given.work, shape)
        return
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(given.threads))
    with tempfile.TemporaryDirectory() as folder:
        prefix = os.path.join(folder, "rows")
        sizes = ("rows", "dim", "words", "classes", "asked")
        options = [text for key in sizes for text in ("--" + key, str(shape[key]))]
        subprocess.run([given.program, *options, "--write", prefix], check=True)
        lines = []
        for engine in (*OURS, *PEERS):
            if given.only not in (None, engine):
                continue
            if engine in OURS:
                lines.append(ours(given.program, engine, shape))
            else:
                lines.append(theirs(engine, prefix, given, environment, shape))
            print(json.dumps(lines[-1]), flush=True)
    print("", *table(lines, shape["asked"]), sep="\n")


if __name__ == "__main__":
    main()
