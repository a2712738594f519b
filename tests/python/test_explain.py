# SPDX-License-Identifier: Apache-2.0
"""Explanations agree with the answers they explain."""

import doctest
import json

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError

import fast_kmeans._explain as module
from fast_kmeans import (
    FastKMeansClassifier,
    FastKMeansClusterer,
    FastKMeansRegressor,
    FastMultiLabelKMeansClassifier,
)

IRIS = load_iris()
X, NAMES = IRIS.data, np.array(["setosa", "versicolor", "virginica"])[IRIS.target]


@pytest.fixture
def classifier():
    return FastKMeansClassifier(distance="euclidean", soft_type="softmax_scaled").fit(X, NAMES)


def test_shares_of_the_classes_are_the_probabilities(classifier):
    why = classifier.explain(X)
    proba = classifier.predict_proba(X)
    for c, name in enumerate(classifier.classes_):
        np.testing.assert_allclose((why.weights * (why.labels == name)).sum(axis=1), proba[:, c], atol=1e-6)
    ordered = np.sort(proba, axis=1)
    np.testing.assert_allclose(why.margin, ordered[:, -1] - ordered[:, -2], atol=1e-6)
    np.testing.assert_array_equal(why.prediction, classifier.predict(X))
    assert why.spread is None and why.targets is None
    assert len(why) == 150 and why.prototypes.shape == (150, 5)


def test_distances_and_masses_are_those_of_the_prototypes(classifier):
    why = classifier.explain(X)
    squared = ((X[:, None] - classifier.centroids[why.prototypes]) ** 2).sum(axis=2)
    np.testing.assert_allclose(why.distances, squared, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(why.masses, classifier.centroid_weights[why.prototypes])
    assert (np.diff(why.distances) >= 0).all()


def test_more_and_fewer_prototypes_than_answer(classifier):
    usual = classifier.explain(X)
    few, all_of_them = (classifier.explain(X, top_k=top_k) for top_k in (2, -1))
    np.testing.assert_array_equal(few.weights, usual.weights[:, :2])
    np.testing.assert_array_equal(all_of_them.weights[:, :5], usual.weights)
    assert all_of_them.prototypes.shape == (150, len(classifier.centroids))
    assert (all_of_them.weights[:, 5:] == 0).all() and np.isfinite(all_of_them.distances).all()
    np.testing.assert_array_equal(np.sort(all_of_them.prototypes[7]), np.arange(len(classifier.centroids)))
    for why in (few, all_of_them):
        np.testing.assert_array_equal(why.margin, usual.margin)


def test_hard_routing_has_one_prototype():
    model = FastKMeansClassifier(distance="euclidean", soft_type="hard").fit(X, NAMES)
    why = model.explain(X)
    assert (why.weights[:, 0] == 1).all() and (why.weights[:, 1:] == 0).all() and (why.margin == 1).all()
    assert (why.labels[:, 0] == model.predict(X)).all()


def test_many_prototypes_are_shown_in_part():
    model = FastKMeansClassifier(k_init=15, distance="euclidean", top_k=-1, min_weight=0).fit(X, NAMES)
    why = model.explain(X)
    assert why.prototypes.shape == (150, module.MOST_SHOWN) and len(model.centroids) > module.MOST_SHOWN
    assert (why.weights.sum(axis=1) < 1).any()
    proba = np.sort(model.predict_proba(X), axis=1)
    np.testing.assert_allclose(why.margin, proba[:, -1] - proba[:, -2], atol=1e-6)


@pytest.mark.parametrize("top_k", [5, -1])
def test_regressors(top_k):
    rows, y = load_diabetes(return_X_y=True)
    one = FastKMeansRegressor(distance="euclidean", top_k=top_k).fit(rows, y)
    two = FastKMeansRegressor(distance="euclidean", top_k=top_k).fit(rows, np.column_stack([y, -2 * y]))
    for model in (one, two):
        why = model.explain(rows, top_k=-1)
        targets = why.targets.reshape(*why.prototypes.shape, -1)
        mean = (why.weights[:, :, None] * targets).sum(axis=1)
        np.testing.assert_allclose(mean, model.predict(rows).reshape(mean.shape), rtol=1e-6)
        square = (why.weights[:, :, None] * targets**2).sum(axis=1)
        expected = np.sqrt(np.maximum(square - mean**2, 0))
        np.testing.assert_allclose(why.spread.reshape(mean.shape), expected, atol=1e-3)
        assert why.margin is None and why.labels is None and why.spread.shape == model.predict(rows).shape
        np.testing.assert_allclose(model.explain(rows).spread, why.spread)


def test_clusterers():
    model = FastKMeansClusterer(k_init=4, distance="euclidean").fit(X)
    why = model.explain(X)
    d = np.sort(((X[:, None] - model.centroids[None]) ** 2).sum(axis=2), axis=1)
    np.testing.assert_allclose(why.margin, (d[:, 1] - d[:, 0]) / (d[:, 1] + d[:, 0]), atol=1e-5)
    np.testing.assert_array_equal(why.prototypes[:, 0], model.predict(X))
    assert why.prototypes.shape == (150, 2) and why.labels is None
    single = FastKMeansClusterer(k_init=1, distance="euclidean").fit(X)
    assert (single.explain(X).margin == 1).all()
    two_alike = FastKMeansClusterer(k_init=1, init_mode=np.zeros((1, 4)), distance="euclidean").fit(
        np.zeros((3, 4))
    )
    assert (two_alike.explain(np.zeros((1, 4))).margin == 1).all()


def test_taggers():
    Y = np.column_stack([IRIS.target == 0, IRIS.target > 0, IRIS.target == 2]).astype(int)
    model = FastMultiLabelKMeansClassifier(distance="euclidean").fit(X, Y)
    why = model.explain(X)
    proba = np.sort(model.predict_proba(X).astype(float), axis=1)
    np.testing.assert_allclose(why.margin, np.diff(proba, axis=1).max(axis=1), atol=1e-6)
    np.testing.assert_array_equal(why.labels, model.centroid_labels[why.prototypes])
    assert "tags 1, 2" in why.describe(149) or "tag 1" in why.describe(149)


def test_blocks_of_rows_change_nothing(classifier, monkeypatch):
    whole = classifier.explain(X)
    in_csr = classifier.explain(sparse.csr_matrix(X))
    mask = np.random.default_rng(0).random(X.shape) < 0.8
    masked = classifier.explain(X, feature_mask=mask)
    monkeypatch.setattr(module, "BLOCK", 35)
    for name in ("prototypes", "weights", "distances", "margin"):
        np.testing.assert_array_equal(getattr(classifier.explain(X), name), getattr(whole, name))
        np.testing.assert_array_equal(
            getattr(classifier.explain(sparse.csr_matrix(X)), name), getattr(in_csr, name)
        )
        np.testing.assert_array_equal(
            getattr(classifier.explain(X, feature_mask=mask), name), getattr(masked, name)
        )
    np.testing.assert_allclose(in_csr.weights, whole.weights, atol=1e-4)
    np.testing.assert_allclose(np.sort(masked.margin), np.sort(masked.margin))
    np.testing.assert_array_equal(masked.prediction, classifier.predict(X, feature_mask=mask))


def test_tensors():
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.bfloat16):
        rows = torch.from_numpy(X).to(dtype)
        model = FastKMeansClassifier(distance="euclidean").fit(rows, torch.from_numpy(IRIS.target))
        why = model.explain(rows)
        assert why.labels.shape == why.prototypes.shape and isinstance(why.margin, np.ndarray)
        np.testing.assert_array_equal(why.prediction, model.predict(rows).numpy())


def test_one_row_as_a_dict(classifier):
    why = classifier.explain(X)
    out = why.to_dict(0)
    assert json.loads(json.dumps(out)) == out
    assert out["prediction"] == "setosa" and out["margin"] == why.margin[0]
    assert [entry["prototype"] for entry in out["prototypes"]] == why.prototypes[0].tolist()
    assert out["prototypes"][0].keys() == {"prototype", "weight", "label", "mass", "distance"}
    rows, y = load_diabetes(return_X_y=True)
    out = FastKMeansRegressor(distance="euclidean").fit(rows, y).explain(rows[:3]).to_dict(2)
    assert out["spread"] >= 0 and "target" in out["prototypes"][0] and "label" not in out["prototypes"][0]


def test_text_for_people(classifier):
    why = classifier.explain(X)
    lines = why.describe(120).splitlines()
    assert lines[0].startswith("row 120: class virginica, margin ")
    assert lines[1].split() == ["share", "class", "mass", "distance", "prototype"]
    assert len(lines) == 7 and lines[2].split()[-1] == str(why.prototypes[120, 0])
    assert len({len(line) for line in lines[1:]}) == 1
    text = str(why)
    assert text.startswith(why.describe(0)) and text.endswith("... and 147 rows more")
    assert repr(why) == "Explanation(classifier, 150 rows, 5 prototypes each)"
    assert "more" not in str(classifier.explain(X[:3]))


def test_an_explanation_does_not_change(classifier):
    with pytest.raises(AttributeError):
        classifier.explain(X[:1]).margin = None


def test_mistakes_are_named(classifier):
    with pytest.raises(NotFittedError):
        FastKMeansClassifier().explain(X)
    for top_k in (0, -2, 1.5, True):
        with pytest.raises((ValueError, TypeError), match="top_k is"):
            classifier.explain(X, top_k=top_k)
    with pytest.raises(ValueError, match="3 features"):
        classifier.explain(X[:, :3])


def test_examples():
    assert doctest.testmod(module).failed == 0
