# SPDX-License-Identifier: Apache-2.0
"""One model whatever holds the rows; answers in the kind that was given; no copy of the rows on the way."""

import tracemalloc

import numpy as np
import pytest
from fast_kmeans import FastKMeansClassifier, FastKMeansClusterer, FastKMeansRegressor
from scipy import sparse

rng = np.random.default_rng(3)
X = np.concatenate([rng.normal(centre, 1, (40, 4)) for centre in (-2, 0, 3)]).astype("float32")
LABELS = np.repeat([5, 2, 9], 40)
NAMES = ["a", "b", "c", "d"]


def tables():
    """(name, rows, one column of labels) of whoever is installed; their columns have the values of X."""
    torch, pandas, polars, pyarrow = (importable(name) for name in ("torch", "pandas", "polars", "pyarrow"))
    if torch:
        yield "torch", torch.from_numpy(X), torch.from_numpy(LABELS)
    if pandas:
        yield "pandas", pandas.DataFrame(X, columns=NAMES), pandas.Series(LABELS)
    if polars:
        yield "polars", polars.from_numpy(X, schema=NAMES), polars.Series(LABELS)
    if pyarrow:
        table = pyarrow.table(dict(zip(NAMES, X.T, strict=True)))
        yield "pyarrow", table, pyarrow.array(LABELS)
        yield (
            "chunks",
            pyarrow.concat_tables([table[:7], table[7:50], table[50:]]),
            pyarrow.chunked_array([LABELS]),
        )
        lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(X.reshape(-1)), 4)
        yield "lists", pyarrow.table({"embedding": lists}), pyarrow.array(LABELS)


def importable(name):
    try:
        return __import__(name)
    except ImportError:
        return None


def as_numpy(answer):
    return answer.numpy() if hasattr(answer, "numpy") else answer


@pytest.mark.parametrize(
    "estimator", [FastKMeansClassifier(), FastKMeansRegressor(k_targets=3, k_features=2)]
)
def test_the_same_model_from_every_kind_of_array(estimator):
    wanted = estimator.fit(X, LABELS)
    centroids, answers = wanted.centroids.copy(), wanted.predict(X)
    for name, rows, labels in tables():
        model = type(estimator)(**estimator.get_params()).fit(rows, labels)
        np.testing.assert_array_equal(as_numpy(model.centroids), centroids, name)
        found = as_numpy(model.predict(rows))
        np.testing.assert_array_equal(found, answers.astype(found.dtype), name)
        assert (
            hasattr(model.centroids, "data_ptr")
            == hasattr(model.predict(rows), "data_ptr")
            == (name == "torch")
        )
        assert model.n_features_in_ == 4, name
        assert (list(getattr(model, "feature_names_in_", [])) == NAMES) == (name not in ("torch", "lists")), (
            name
        )
        wanted_width = "X has 3 features, but .* is expecting 4 features as input"
        with pytest.raises(ValueError, match=wanted_width):
            type(estimator)(**estimator.get_params()).fit(X, LABELS).predict(X[:, :3])


@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_rows_of_scipy_and_torch_are_one_model():
    torch = pytest.importorskip("torch")
    dense = np.where(X > 0.5, X, 0)
    rows = sparse.csr_array(dense)
    wanted = FastKMeansClassifier().fit(rows, LABELS)
    found = FastKMeansClassifier().fit(torch.from_numpy(dense).to_sparse_csr(), torch.from_numpy(LABELS))
    np.testing.assert_array_equal(found.centroids.numpy(), wanted.centroids)
    np.testing.assert_array_equal(
        found.predict(torch.from_numpy(dense).to_sparse_coo()).numpy(), wanted.predict(rows)
    )
    with pytest.raises(
        ValueError, match="X has 3 features, but FastKMeansClassifier is expecting 4 features"
    ):
        wanted.predict(rows[:, :3])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("kind", ["numpy", "torch", "rows apart"])
def test_rows_are_not_copied(kind, dtype):
    n_rows, n_cols = 20_000, 64
    values = np.zeros((n_rows, n_cols), "float32")
    values[:, :3] = rng.normal(size=(n_rows, 3))
    if dtype == "bfloat16":
        torch = pytest.importorskip("torch")
        values = torch.from_numpy(values).bfloat16()
        kind = "tensor"
    else:
        values = values.astype(dtype)
    if kind == "torch":
        values = pytest.importorskip("torch").from_numpy(values)
    if kind == "rows apart":
        values = values[::2]
    model = FastKMeansClusterer(k_init=2, dtype="float32", n_threads=1)
    tracemalloc.start()
    try:
        model.fit(values, max_iters=1)
        model.predict(values)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < n_rows * n_cols  # bytes: half of the smallest copy there could be
