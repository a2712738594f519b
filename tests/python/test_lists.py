# SPDX-License-Identifier: Apache-2.0
"""Fits to large sparse rows, whose prototypes are lists inside, beside the same steps in scipy."""

import pickle

import numpy as np
import pytest

sp = pytest.importorskip("scipy.sparse")

from fast_kmeans import FastKMeansClassifier, FastKMeansClusterer  # noqa: E402

N, DIM, CLASSES, K = 300, 60000, 12, 2


@pytest.fixture(scope="module")
def text():
    random = np.random.default_rng(3)
    y = np.arange(N) % CLASSES
    parts = []
    for label in y:
        own = label * 400 + random.choice(400, 12, replace=False)
        some = 10000 + (random.pareto(1.0, 20) * 50).astype(int) % 50000
        columns = np.unique(np.concatenate([own, some]))
        parts.append(
            sp.csr_matrix((random.uniform(0.2, 1, len(columns)), ([0] * len(columns), columns)), shape=(1, DIM))
        )
    x = sp.vstack(parts).tocsr().astype(np.float32)
    x = sp.diags(1 / np.sqrt(x.multiply(x).sum(1).A1)) @ x
    return x.tocsr().astype(np.float32), y


def fitted(text, **parameters):
    x, y = text
    return FastKMeansClassifier(k_init=K, distance="cosine", repulsion_factor=0, **parameters).fit(x, y)


def test_prototypes_are_the_directions_of_their_rows(text):
    x, y = text
    model = fitted(text)
    centres, label = np.asarray(model.centroids), np.asarray(model.centroid_labels)
    score = x @ centres.T
    own = np.where(label[None, :] == y[:, None], score, -np.inf).argmax(1)
    for j in range(len(centres)):
        mean = np.asarray(x[own == j].sum(0)).ravel()
        np.testing.assert_allclose(centres[j], mean / np.linalg.norm(mean), atol=2e-6)
    assert centres.shape == (CLASSES * K, DIM)


def test_answers_are_those_of_products(text):
    x, _ = text
    model = fitted(text, top_k=1)
    score = x @ np.asarray(model.centroids).T
    np.testing.assert_array_equal(model.predict(x), np.asarray(model.centroid_labels)[score.argmax(1)])


def test_dense_rows_get_the_same_answers(text):
    x, _ = text
    model = fitted(text)
    np.testing.assert_array_equal(model.predict(x[:40]), model.predict(x[:40].toarray()))


def test_pickles_are_small_and_come_back(text):
    x, _ = text
    model = fitted(text)
    data = pickle.dumps(model)
    assert len(data) < CLASSES * K * DIM
    np.testing.assert_array_equal(pickle.loads(data).predict(x), model.predict(x))


def test_a_stream_goes_on_from_a_fit(text):
    x, y = text
    model = fitted(text)
    model.fit_batch(x[:50], y[:50])
    assert (model.predict(x) == y).mean() > 0.9


def test_clusters_of_sparse_rows(text):
    x, _ = text
    model = FastKMeansClusterer(k_init=20, distance="cosine").fit(x)
    score = x @ np.asarray(model.centroids).T
    np.testing.assert_array_equal(model.predict(x), score.argmax(1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_prototypes_without_zeros(text, dtype):
    x, y = text
    model = fitted(text, dtype=dtype)
    found = model.centroids_csr
    assert found.shape == (CLASSES * K, DIM) and found.has_sorted_indices
    assert found.dtype == (np.float64 if dtype == "float64" else np.float32)
    assert found.nnz < x.nnz + 1 and (found.data != 0).all()
    np.testing.assert_array_equal(found.toarray(), np.asarray(model.centroids))
    assert model.centroids_csr is found  # until the model changes
    model.fit_batch(x[:50], y[:50])
    np.testing.assert_array_equal(model.centroids_csr.toarray(), np.asarray(model.centroids))


def test_whole_prototypes_without_zeros():
    x = np.array([[1.0, 0, 2], [1, 0, 2], [0, 3, 0]])
    model = FastKMeansClusterer(k_init=2, distance="euclidean").fit(x)
    np.testing.assert_array_equal(model.centroids_csr.toarray(), model.centroids)
    assert model.centroids_csr.nnz == 3


def test_arrays_of_the_wrong_size_are_refused(text):
    core, k = fitted(text)._model, CLASSES * K
    indptr = np.empty(k + 1, np.int64)
    core.centroids_csr(indptr)
    n = indptr[-1]
    with pytest.raises(ValueError, match="indptr"):
        core.centroids_csr(np.empty(k, np.int64))
    with pytest.raises(ValueError, match="not 0"):
        core.centroids_csr(indptr, np.empty(n - 1, np.int32), np.empty(n - 1))
    with pytest.raises(ValueError, match="length"):
        core.centroids_csr(indptr, np.empty(n, np.int32), np.empty(n - 1))
    with pytest.raises(ValueError, match="NULL"):
        core.centroids_csr(indptr, np.empty(n, np.int32))
    with pytest.raises(TypeError):
        core.centroids_csr(indptr, np.empty(n, np.int64), np.empty(n))
