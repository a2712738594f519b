# SPDX-License-Identifier: Apache-2.0
"""Rows in CSR form teach and answer as the same rows dense do, and distances are those of scipy and scikit-
learn."""

from itertools import product

import numpy as np
import pytest

sparse = pytest.importorskip("scipy.sparse")
spatial = pytest.importorskip("scipy.spatial.distance")
pairwise = pytest.importorskip("sklearn.metrics.pairwise")
pytest.importorskip("torch")

from core_model import (  # noqa: E402
    batch,
    get,
    inside,
    labels_of,
    make,
    nearest_of,
    proba_of,
    similarities_of,
    tags_of,
    values_of,
)

METRICS = ("cosine", "euclidean", "l1")
DTYPES = ("float32", "float64")
N, DIM = 120, 60


def rows(seed=0, n=N, density=0.15):
    rng = np.random.default_rng(seed)
    x = np.where(rng.random((n, DIM)) < density, rng.normal(size=(n, DIM)) + 1, 0)
    x[3] = 0  # a row without entries
    y = rng.integers(0, 3, n)
    x[np.arange(n), 10 * y] += 2
    x[3] = 0
    return x, y


def targets_of(task, x, y):
    if task == "classifier":
        return {"labels": y}
    if task == "multilabel":
        return {"tags": np.c_[y == 0, y != 1, x[:, 0] > 0].astype(int)}
    if task == "regressor":
        return {"targets": np.c_[x[:, 0] - 2 * y, x.sum(1)]}
    return {}


def pair(x, dtype, **given):
    x = x.astype(dtype)
    return batch(x, **given), batch(sparse.csr_array(x), **given)


def close(a, b, tolerance=1e-5):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1e-30, np.abs(b).max(initial=0)))


TASKS = ("clusterer", "classifier", "multilabel", "regressor")


def fitted(task, metric, dtype, x, y, **params):
    model = make(task, distance=metric, dtype=dtype, k_targets=3, k_features=3, **params)
    model.fit(batch(x.astype(dtype), **targets_of(task, x, y)), max_iters=3)
    return model


@pytest.mark.parametrize("task, metric, dtype", product(TASKS, METRICS, DTYPES))
def test_answers(task, metric, dtype):
    x, y = rows()
    model = fitted(task, metric, dtype, x, y)
    dense, csr = pair(rows(seed=1)[0], dtype)
    near, far = nearest_of(model, dense, 4), nearest_of(model, csr, 4)
    close(far[1], near[1])
    close(far[2], near[2])
    close(similarities_of(model, csr), similarities_of(model, dense))
    if task == "regressor":
        close(values_of(model, csr), values_of(model, dense))
        return
    if task == "clusterer":
        assert (labels_of(model, csr) == labels_of(model, dense)).all()
        return
    close(proba_of(model, csr), proba_of(model, dense))
    if task == "classifier":
        assert (labels_of(model, csr) == labels_of(model, dense)).all()
        return
    for strategy in ("adaptive", "gap", "top_k"):
        assert (tags_of(model, csr, strategy, 2) == tags_of(model, dense, strategy, 2)).all()


@pytest.mark.parametrize("task, metric, dtype", product(TASKS, METRICS, DTYPES))
def test_batches(task, metric, dtype):
    x, y = rows()
    weight = np.random.default_rng(2).choice([0.5, 1.0, 2.0], N)
    models = [make(task, distance=metric, dtype=dtype, k_targets=3, k_features=3) for _ in range(2)]
    for part in np.array_split(np.arange(N), 3):
        given = targets_of(task, x[part], y[part])
        shifts = [
            model.fit_batch(form)
            for model, form in zip(models, pair(x[part], dtype, weight=weight[part], **given), strict=True)
        ]
        close(shifts[1], shifts[0])
        for name in ("centroids", "centroid_weights"):
            close(get(models[1], name), get(models[0], name))


@pytest.mark.parametrize("task, metric", product(("classifier", "multilabel", "regressor"), METRICS))
def test_fits(task, metric):
    x, y = rows()
    models = [make(task, distance=metric, k_targets=3, k_features=3) for _ in range(2)]
    for model, form in zip(models, pair(x, "float64", **targets_of(task, x, y)), strict=True):
        model.fit(form, max_iters=4)
    for name in ("centroids", "centroid_weights"):
        close(get(models[1], name), get(models[0], name), 1e-8)


@pytest.mark.parametrize("task, metric, dtype", product(TASKS, METRICS, DTYPES))
@pytest.mark.parametrize("soft", ["scaled", "softmax_scaled"])
def test_gradients(task, metric, dtype, soft):
    x, y = rows()
    model = fitted(task, metric, dtype, x, y, soft_type=soft)
    other = model.copy()
    weight = np.random.default_rng(2).choice([0.0, 0.5, 1.0, 2.0], N)
    dense, csr = pair(x, dtype, weight=weight, **targets_of(task, x, y))
    close(other.gradient_step(csr), model.gradient_step(dense))
    close(
        get(other, "centroid_gradients"),
        get(model, "centroid_gradients"),
        1e-5 if dtype == "float32" else 1e-9,
    )
    if dtype == "float64":
        a, b = inside(other), inside(model)
        for name in ("centroids", "adam.targets.m", "adam.theta.m", "adam.alpha.m", "adam.beta.m"):
            if name in b:
                close(a[name], b[name], 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_distances_are_those_of_others(dtype):
    x, y = rows()
    query = rows(seed=1)[0].astype(dtype)
    query = query[np.abs(query).sum(1) > 0]
    for metric, theirs in {
        "cosine": lambda c: pairwise.cosine_distances(query, c),
        "euclidean": lambda c: spatial.cdist(query, c, "sqeuclidean"),
        "l1": lambda c: pairwise.manhattan_distances(query, c),
    }.items():
        model = fitted("classifier", metric, dtype, x, y)
        k = model.describe()["k"]
        expected = theirs(get(model, "centroids"))
        for form in (query, sparse.csr_array(query)):
            index, distance, _ = nearest_of(model, batch(form), k)
            close(distance, np.take_along_axis(expected, index, 1), 1e-5 if dtype == "float32" else 1e-9)
            assert (np.diff(distance, axis=1) >= 0).all()
            assert (np.sort(index, 1) == np.arange(k)).all()
        scale = model.describe()["scale"]
        similarity = 1 - expected if metric == "cosine" else 1 / (1 + expected / scale)
        close(similarities_of(model, batch(query)), similarity)


@pytest.mark.parametrize("form", ["dense", "csr"])
def test_far_rows_keep_their_digits(form):
    """|x|^2 + |c|^2 - 2 x c would lose the distances of rows far from the origin."""
    rng = np.random.default_rng(3)
    x = (rng.normal(size=(200, 8)) + 3000).astype(np.float32)
    model = make("clusterer", distance="euclidean", dtype="float32", k_init=6)
    model.fit(batch(x))
    index, distance, _ = nearest_of(model, batch(sparse.csr_array(x) if form == "csr" else x), 6)
    expected = spatial.cdist(x.astype(np.float64), get(model, "centroids"), "sqeuclidean")
    close(distance, np.take_along_axis(expected, index, 1), 1e-5)
