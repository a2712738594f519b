"""test_classifier_document.py — the second document: its examples as they stand, its table of parameters, its promises.

SPDX-License-Identifier: Apache-2.0"""

import copy
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

import fast_kmeans
import fast_kmeans.sparse
from FastKMeansClassifier import FastKMeansClassifier

DEFAULTS = {
    "k_init": 3,
    "k_list": None,
    "init_method": "kmeans++",
    "distance": "cosine",
    "dtype": "float32",
    "soft": True,
    "soft_type": "linear",
    "temperature": 1.0,
    "lambda_penalty": 0.1,
    "merge_threshold": None,
    "relative_merge": False,
    "percentile_threshold": None,
    "batch_size": 10240,
    "n_threads": -1,
}


def texts(n, seed, n_classes=4, dim=300):
    """Rows like TF-IDF: each class prefers words of its own, two dialects in each."""
    draw = np.random.default_rng(seed)
    y = draw.integers(n_classes, size=n)
    dialect = draw.integers(2, size=n)
    X = sp.lil_matrix((n, dim), dtype=np.float32)
    for i in range(n):
        own = (y[i] * 2 + dialect[i]) * 30 + draw.integers(30, size=8)
        X[i, own] = draw.random(8) + 0.5
        X[i, draw.integers(dim, size=4)] = 0.5
    return sp.csr_matrix(X), y


@pytest.fixture(scope="module")
def data():
    return texts(600, 0), texts(200, 1)


def test_the_parameters_are_those_of_the_table_in_its_order():
    given = inspect.signature(FastKMeansClassifier).parameters
    assert {name: p.default for name, p in list(given.items())[: len(DEFAULTS)]} == DEFAULTS
    assert list(given)[: len(DEFAULTS)] == list(DEFAULTS)


def test_both_names_are_one_class():
    assert FastKMeansClassifier is fast_kmeans.sparse.FastKMeansClassifier
    assert FastKMeansClassifier is not fast_kmeans.FastKMeansClassifier


def test_the_first_example(data, capfd):
    (X_train, y_train), (X_test, y_test) = data
    clf = FastKMeansClassifier(
        k_init=5,
        distance="cosine",
        dtype="bfloat16",
        soft_type="softmax",
        merge_threshold=0.15,
        relative_merge=True,
    )
    with pytest.raises(RuntimeError, match="CUDA"):  # as long as there is no such backend
        clf.to(device="cuda")
    clf = clf.to(device="cpu")
    clf.fit(X_train, y_train, verbose=True)
    assert "fit" in capfd.readouterr().err  # the bar
    predictions = clf.predict(X_test)
    probabilities = clf.predict_proba(X_test)
    assert type(predictions) is np.ndarray and type(probabilities) is np.ndarray
    assert probabilities.shape == (200, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (predictions == y_test).mean() > 0.95


def test_the_streaming_example_discovers_classes_and_says_what_it_did(data):
    (X, y), (X_test, y_test) = data
    order = np.argsort(y, kind="stable")  # one class after the other
    data_stream = [(X[order[i : i + 100]], y[order[i : i + 100]]) for i in range(0, 600, 100)]
    stream_clf = FastKMeansClassifier(k_init=3)
    seen = []
    for X_batch, y_batch in data_stream:
        logs = stream_clf.fit_batch(X_batch, y_batch, verbose=False)
        print(f"Shift: {logs['shift']:.4f} | Centroids: {logs['active_centroids']}")
        assert set(logs) == {"shift", "num_merged", "active_centroids"}
        seen.append(len(stream_clf.classes_))
        assert logs["active_centroids"] == len(stream_clf.centroids)
    assert seen == sorted(seen) and seen[0] < 4 == seen[-1]
    assert (stream_clf.predict(X_test) == y_test).mean() > 0.9


def test_merging_is_counted(data):
    (X, y), _ = data
    clf = FastKMeansClassifier(k_init=8, merge_threshold=0.9, soft=False)
    logs = clf.fit_batch(X, y)
    assert logs["num_merged"] > 0
    assert logs["num_merged"] + logs["active_centroids"] == 4 * 8


@pytest.mark.parametrize("k_list", [{0: 20, 1: 2, 2: 5}, [20, 2, 5, 3]])
def test_k_list_overrides_k_init(data, k_list):
    (X, y), _ = data
    clf = FastKMeansClassifier(k_list=k_list, soft=False, min_weight=0).fit(X, y)
    assert np.bincount(clf.centroid_labels).tolist() == [20, 2, 5, 3]


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_every_storage_learns_sparse_as_dense(data, soft, dtype, distance):
    (X, y), (X_test, y_test) = data
    clf = FastKMeansClassifier(soft=soft, dtype=dtype, distance=distance).fit(X, y)
    dense = FastKMeansClassifier(soft=soft, dtype=dtype, distance=distance).fit(X.toarray(), y)
    assert (clf.predict(X_test) == y_test).mean() > 0.85
    assert (clf.predict(X_test) == dense.predict(X_test.toarray())).mean() > 0.97


def test_predict_is_the_label_of_the_nearest_prototype(data):
    (X, y), (X_test, _) = data
    clf = FastKMeansClassifier(soft=False).fit(X, y)
    rows = X_test.toarray()
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    points = clf.centroids / np.linalg.norm(clf.centroids, axis=1, keepdims=True)
    nearest = (rows @ points.T).argmax(axis=1)
    np.testing.assert_array_equal(clf.predict(X_test), clf.centroid_labels[nearest])


@pytest.mark.parametrize(
    "y, words",
    [
        (np.eye(4)[np.arange(600) % 4], "shape"),
        (np.linspace(0, 1, 600), "continuous"),
        (np.zeros(599, int), "599"),
        (np.full(600, np.nan), "NaN"),
    ],
)
def test_labels_that_are_none_are_refused(data, y, words):
    (X, y_good), _ = data
    clf = FastKMeansClassifier().fit(X, y_good)
    before = clf.centroids
    with pytest.raises(ValueError, match=words):
        clf.fit(X, y)
    with pytest.raises(ValueError, match=words):
        clf.fit_batch(X, y)
    np.testing.assert_array_equal(clf.centroids, before)


def test_string_labels(data):
    (X, y), _ = data
    names = np.array(["general chat", "strict FAQ", "b", "a"])[y]
    clf = FastKMeansClassifier(k_list={"general chat": 6}, soft=False, min_weight=0).fit(X, names)
    assert clf.classes_.tolist() == ["a", "b", "general chat", "strict FAQ"]
    assert (clf.centroid_labels == "general chat").sum() == 6
    assert (clf.predict(X) == names).mean() > 0.95


@pytest.mark.parametrize(
    "name, value",
    [
        ("init_method", "best"),
        ("distance", "l1"),
        ("dtype", "int8"),
        ("soft_type", "scaled"),
        ("soft", "yes"),
        ("k_init", "many"),
    ],
)
def test_wrong_words_are_refused_at_once(name, value):
    with pytest.raises(ValueError, match=name):
        FastKMeansClassifier(**{name: value})


@pytest.mark.parametrize(
    "name, value",
    [("k_init", 0), ("temperature", 0.0), ("merge_threshold", -1.0), ("percentile_threshold", 2.0), ("batch_size", 0)],
)
def test_wrong_numbers_are_refused_in_fit(data, name, value):
    (X, y), _ = data
    with pytest.raises(ValueError, match=name):
        FastKMeansClassifier(**{name: value}).fit(X, y)


def test_the_model_outlives_files_pickles_and_copies(data, tmp_path):
    (X, y), (X_test, _) = data
    clf = FastKMeansClassifier(soft_type="softmax", temperature=0.2, k_init=2).fit(X, y)
    clf.save(tmp_path / "text.fkm")
    for again in (
        FastKMeansClassifier.load(tmp_path / "text.fkm"),
        pickle.loads(pickle.dumps(clf)),
        copy.deepcopy(clf),
    ):
        np.testing.assert_array_equal(again.predict_proba(X_test), clf.predict_proba(X_test))
        assert again.soft_type == "softmax" and again.temperature == 0.2 and again.k_init == 2
    assert clone(clf).get_params() == clf.get_params()


def test_a_copy_learns_by_itself(data):
    (X, y), _ = data
    clf = FastKMeansClassifier().fit(X, y)
    before, twin = clf.centroids, copy.copy(clf)
    np.testing.assert_array_equal(twin.centroids, before)
    twin.fit_batch(X, np.roll(y, 1))
    np.testing.assert_array_equal(clf.centroids, before)
    assert not np.array_equal(twin.centroids, before)
    assert not hasattr(copy.copy(FastKMeansClassifier()), "centroids")


def test_torch_rows_give_numpy_answers(data):
    torch = pytest.importorskip("torch")
    (X, y), (X_test, _) = data
    clf = FastKMeansClassifier(soft=False).fit(torch.from_numpy(X.toarray()), torch.from_numpy(y))
    assert type(clf.predict(torch.from_numpy(X_test.toarray()))) is np.ndarray
    assert type(clf.centroids) is np.ndarray


def test_the_module_is_there_without_an_import_of_its_own():
    code = "import fast_kmeans; print(fast_kmeans.sparse.FastKMeansClassifier.__name__)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said == "FastKMeansClassifier\n"


def test_what_is_said_of_a_nan_is_possible_here():
    X, y = np.eye(4, dtype=np.float32), np.arange(4) % 2
    bad = X.copy()
    bad[2, 1] = np.nan
    model = FastKMeansClassifier(k_init=1).fit(X, y)
    for ask in (model.fit, model.fit_batch, lambda X, y: model.predict(X), lambda X, y: model.predict_proba(X)):
        with pytest.raises(ValueError, match="NaN") as told:
            ask(bad, y)
        assert "row 2" in str(told.value) and "missing=" not in str(told.value)
