# SPDX-License-Identifier: Apache-2.0
"""Models of the C core as the oracle tests use them: parameters by name, float64, arrays out."""

import numpy as np
from fast_kmeans import _core

import oracle

CONTEXT = _core.Context(n_threads=2)


def text(value):
    return str(value).lower() if isinstance(value, bool) else "none" if value is None else str(value)


def make(task, **params):
    params = {"task": task, "dtype": "float64"} | params
    return _core.Model(CONTEXT, {name: text(value) for name, value in params.items()})


def batch(x, weight=None, mask=None, labels=None, tags=None, targets=None):
    """x: an array or a scipy CSR matrix; tags: n x L of 0 and 1."""
    given = {}
    if weight is not None:
        given["weight"] = np.ascontiguousarray(weight, dtype=np.float32)
    if mask is not None:
        given["mask"] = np.ascontiguousarray(mask, dtype=np.float32)
    if labels is not None:
        given["labels"] = np.ascontiguousarray(labels, dtype=np.int64)
    if targets is not None:
        given["targets"] = np.ascontiguousarray(targets, dtype=np.float64)
    if tags is not None:
        rows, columns = np.nonzero(tags)
        indptr = np.searchsorted(rows, np.arange(len(tags) + 1)).astype(np.int64)
        given["tags"] = (indptr, columns.astype(np.int32), tags.shape[1])
    if hasattr(x, "indptr"):
        csr = (x.data, x.indptr.astype(np.int64), x.indices.astype(np.int32), x.shape[1])
        return _core.Batch(csr=csr, **given)
    return _core.Batch(np.ascontiguousarray(x), **given)


def get(model, name):
    facts = model.describe()
    k, dim = facts["k"], facts["dim"]
    shape, dtype = {
        "centroids": ((k, dim), np.float64),
        "centroid_ages": ((k, dim), np.float64),
        "centroid_gradients": ((k, dim), np.float64),
        "centroid_weights": ((k,), np.float64),
        "centroid_labels": ((k,), np.int64),
        "centroid_targets": ((k, facts["n_targets"]), np.float64),
        "frozen": ((k,), np.uint8),
        "feature_weights": ((dim,), np.float64),
        "classes": ((facts["n_classes"],), np.int64),
    }[name]
    out = np.empty(shape, dtype=dtype)
    model.get(name, out)
    return out


def inside(model):
    """Every tensor of the model's file, by the names of docs/model-file.md."""
    return oracle.tensors_of(model.to_bytes())


def answer(method, rows, n, width=None, dtype=np.float64, before=()):
    out = np.empty(n if width is None else (n, width), dtype=dtype)
    method(rows, *before, out)
    return out


def labels_of(model, rows):
    return answer(model.predict_labels, rows, rows.n_rows, dtype=np.int64)


def proba_of(model, rows):
    return answer(model.predict_proba, rows, rows.n_rows, model.describe()["n_classes"], np.float32)


def values_of(model, rows):
    return answer(model.predict_values, rows, rows.n_rows, model.describe()["n_targets"])


def tags_of(model, rows, strategy, top_k=1):
    width = model.describe()["n_classes"]
    return answer(model.predict_tags, rows, rows.n_rows, width, np.uint8, (strategy, top_k))


def similarities_of(model, rows):
    return answer(model.transform, rows, rows.n_rows, model.describe()["k"], np.float32)


def nearest_of(model, rows, top_k):
    index = np.empty((rows.n_rows, top_k), dtype=np.int64)
    distance = np.empty((rows.n_rows, top_k))
    routing = np.empty((rows.n_rows, top_k))
    model.nearest(rows, top_k, index=index, distance=distance, routing=routing)
    return index, distance, routing
