# SPDX-License-Identifier: Apache-2.0
"""Small models of the C extension for the tests of the extension itself: any values do, shapes and errors matter."""

import pathlib
import subprocess
import sys
import textwrap

import numpy as np
from fast_kmeans import _core

TASKS = ("clusterer", "classifier", "multilabel", "regressor")
CONTEXT = _core.Context(n_threads=2)
HERE = pathlib.Path(__file__).parent


def rows(n=60, dim=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def targets(task, n=60, seed=0):
    """The keyword argument of Batch that the task learns from."""
    random = np.random.default_rng(seed + 1)
    if task == "classifier":
        return {"labels": np.arange(n, dtype=np.int64) % 3 * 10 - 10}
    if task == "multilabel":
        return {"tags": (np.arange(n + 1, dtype=np.int64), (np.arange(n) % 4).astype(np.int32), 4)}
    if task == "regressor":
        return {"targets": random.normal(size=(n, 2))}
    return {}


def batch(task, n=60, dim=4, **more):
    return _core.Batch(rows(n, dim), **targets(task, n), **more)


def unfitted(task, **params):
    return _core.Model(CONTEXT, {"task": task, "k_init": "2", "k_targets": "3", "k_features": "2"} | params)


def fitted(task, dim=4, **params):
    model = unfitted(task, **params)
    model.fit(batch(task, dim=dim), max_iters=5)
    return model


def answer(model, b):
    """One array that everything learned takes part in."""
    out = np.empty((b.n_rows, model.describe()["k"]), np.float32)
    model.transform(b, out)
    return out


def array(model, name):
    info = model.describe()
    k, dim = info["k"], info["dim"]
    shape, dtype = {
        "centroids": ((k, dim), float),
        "centroid_weights": ((k,), float),
        "centroid_ages": ((k, dim), float),
        "centroid_labels": ((k,), np.int64),
        "centroid_targets": ((k, info["n_targets"]), float),
        "centroid_gradients": ((k, dim), float),
        "centroid_routing": ((k, 2), float),
        "frozen": ((k,), np.uint8),
        "feature_weights": ((dim,), float),
        "classes": ((info["n_classes"],), np.int64),
        "tag_scores": ((info["n_classes"], 3), float),
    }[name]
    out = np.empty(shape, dtype)
    model.get(name, out)
    return out


def run_python(text, *arguments, timeout=120):
    """The text as a program of its own, with this folder on its path; gives what it printed."""
    program = f"import sys; sys.path[:0] = {sys.path!r}\n" + textwrap.dedent(text)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=timeout, cwd=HERE
    )
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
