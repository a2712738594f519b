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
