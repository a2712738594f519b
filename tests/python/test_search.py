"""use_faiss: answers by an index of faiss are those of the scan, but for what it does not find; when it is made
anew, when it is not asked, and what happens when it fails."""

import copy
import pickle

import numpy as np
import pytest
from fast_kmeans import FastKMeansClassifier, FastKMeansClusterer, FastKMeansRegressor, _core, load
from fast_kmeans import _search

random = np.random.default_rng(3)
POINTS = random.normal(size=(400, 12)).astype(np.float32)
X = random.normal(size=(600, 12)).astype(np.float32)
PARAMS = {"task": "clusterer", "k_init": "400", "distance": "euclidean", "use_faiss": "true"}


class Plain:
    """A search that looks at everything, and counts its calls."""

    def __init__(self):
        self.built, self.found, self.threads = 0, 0, set()

    def build(self, points, k, dim):
        self.built += 1
        return np.frombuffer(points, np.float32).reshape(k, dim).copy()

    def find(self, index, rows, n_rows, dim, n_wanted, n_threads, numbers):
        self.found += n_rows
        rows = np.frombuffer(rows, np.float32).reshape(n_rows, dim)
        distance = ((rows[:, None] - index[None]) ** 2).sum(-1)
        np.frombuffer(numbers, np.int64).reshape(n_rows, n_wanted)[:] = distance.argsort(1)[:, :n_wanted]


def model_of(search, points=POINTS, **params):
    model = _core.Model(_core.Context(2, search=search), PARAMS | params)
    model.set_start(points)
    model.fit(_core.Batch(points), max_iters=1)
    return model


def nearest(model, top_k):
    out = np.empty((len(X), top_k), np.int64), np.empty((len(X), top_k)), np.empty((len(X), top_k))
    model.nearest(_core.Batch(X), top_k, *out)
    return out


def labels(model, batch=None, n=len(X)):
    out = np.empty(n, np.int64)
    model.predict_labels(batch or _core.Batch(X), out)
    return out


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_candidates_are_ranked_by_the_distances_of_scans(distance, weighted, dtype):
    answers = []
    for search in (Plain(), None):
        params = {"distance": distance, "dtype": dtype} | ({} if search else {"use_faiss": "false"})
        model = _core.Model(_core.Context(2, search=search), PARAMS | params)
        model.set_start(POINTS)
        if weighted:
            model.set_feature_weights(np.arange(1.0, 13))
        model.fit(_core.Batch(POINTS), max_iters=1)
        for top_k in (1, 7):
            answers.append(nearest(model, top_k))
        if search:
            assert search.built == 1 and search.found == 2 * len(X)
    for one, other in zip(answers[:2], answers[2:]):
        for a, b in zip(one, other):
            np.testing.assert_array_equal(a, b)


def test_the_index_is_made_anew_when_prototypes_have_moved():
    search = Plain()
    model = model_of(search)
    assert search.built == 0  # learning does not ask
    for turn in (1, 1):
        labels(model)
        assert search.built == turn
    model.fit_batch(_core.Batch(X))
    assert search.built == 1
    exact = model_of(None, use_faiss="false")
    exact.fit_batch(_core.Batch(X))
    np.testing.assert_array_equal(labels(model), labels(exact))
    assert search.built == 2


def test_what_is_not_searched():
    search = Plain()
    model = model_of(search)
    mask = np.ones_like(X)
    mask[:, 0] = 0
    labels(model, _core.Batch(X, mask=mask))
    assert search.found == 0
    nearest(model, 100)  # a quarter of the prototypes
    assert search.found == 0
    csr = X[0, :1].copy(), np.array([0, 1]), np.zeros(1, np.int32), 12
    labels(model, _core.Batch(None, csr=csr), 1)
    assert search.found == 0


def test_poor_candidates_do_no_harm():
    class Poor(Plain):
        def find(self, index, rows, n_rows, dim, n_wanted, n_threads, numbers):
            super().find(index, rows, n_rows, dim, n_wanted, n_threads, numbers)
            found = np.frombuffer(numbers, np.int64).reshape(n_rows, n_wanted)
            found[0], found[1], found[2, 1:] = -1, 10**15, found[2, 0]

    exact = nearest(model_of(None, use_faiss="false"), 3)
    for a, b in zip(exact, nearest(model_of(Poor()), 3)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("where", ["build", "find"])
def test_exceptions_come_through(where):
    class Failing(Plain):
        def fails(self, *args):
            raise ZeroDivisionError(where)

    search = Failing()
    model = model_of(search)
    setattr(search, where, search.fails)
    with pytest.raises(ZeroDivisionError, match=where):
        labels(model)
    delattr(search, where)
    assert len(labels(model)) == len(X)


def test_without_a_search_it_is_refused_but_files_are_read():
    with pytest.raises(NotImplementedError, match="use_faiss is true, and no approximate search is there"):
        _core.Model(_core.Context(1), PARAMS)
    with pytest.raises(ValueError, match="it does not go with distance 'l1'"):
        _core.Model(_core.Context(1, search=Plain()), PARAMS | {"distance": "l1"})
    data = model_of(Plain()).to_bytes()
    model = _core.Model.from_bytes(_core.Context(1), data)
    exact = model_of(None, use_faiss="false")
    np.testing.assert_array_equal(labels(model), labels(exact))


def test_what_to_install_is_said(monkeypatch):
    monkeypatch.setattr("fast_kmeans._lessons.is_installed", lambda: False)
    with pytest.raises(ImportError, match=r"pip install 'fast-kmeans-suite\[faiss\]'"):
        FastKMeansClusterer(use_faiss=True).fit(X)


# ---- with faiss itself


def test_answers_of_faiss_are_nearly_always_those_of_the_scan(tmp_path):
    pytest.importorskip("faiss")
    y = (X[:, 0] > 0).astype(int)
    for exact, targets in (
        (FastKMeansClusterer(k_init=250, distance="euclidean"), ()),
        (FastKMeansClassifier(k_init=250), (y,)),
        (FastKMeansRegressor(k_features=40), (X[:, 1],)),
    ):
        asked = copy.deepcopy(exact).set_params(use_faiss=True)
        wanted = exact.fit(X, *targets).predict(X)
        found = asked.fit(X, *targets).predict(X)
        assert np.mean(np.isclose(found, wanted)) > 0.99, exact
        np.testing.assert_array_equal(found, asked.predict(X))
        np.testing.assert_array_equal(found[5:9], asked.predict(X[5:9]))
        np.testing.assert_array_equal(found, pickle.loads(pickle.dumps(asked)).predict(X))
        asked.save(tmp_path / "model.fkm")
        np.testing.assert_array_equal(found, load(tmp_path / "model.fkm").predict(X))


def test_an_index_is_the_same_each_time():
    faiss = pytest.importorskip("faiss")
    before = faiss.omp_get_max_threads()
    search = _search.FaissSearch()
    numbers = np.empty((2, len(X), 9), np.int64)
    for turn in range(2):
        index = search.build(memoryview(POINTS).cast("B"), *POINTS.shape)
        out = memoryview(numbers[turn]).cast("B")
        search.find(index, memoryview(X).cast("B"), *X.shape, 9, 1 + turn, out)
    np.testing.assert_array_equal(*numbers)
    assert faiss.omp_get_max_threads() == before
