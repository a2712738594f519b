# SPDX-License-Identifier: Apache-2.0
"""The estimators against the formulas: what their attributes say is what their answers come from."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sparse = pytest.importorskip("scipy.sparse")
KMeans = pytest.importorskip("sklearn.cluster").KMeans

from fast_kmeans import (  # noqa: E402
    FastKMeansClassifier,
    FastKMeansClusterer,
    FastKMeansRegressor,
    FastMultiLabelKMeansClassifier,
)

import oracle  # noqa: E402
from oracle import tensor  # noqa: E402

N, DIM = 150, 4


def data(seed=0):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, N)
    return rng, rng.normal(size=(N, DIM)) + 1.5 * np.eye(3, DIM)[group], group


def scale_of(model):
    """s, from what similarities say: 1 / (1 + d / s)."""
    return model._model.describe()["scale"]


@pytest.mark.parametrize("passes", [1, 3, 300])
@pytest.mark.parametrize("form", [sparse.csr_array, np.asarray], ids=["csr", "dense"])
def test_clusterer_and_scikit_learn(passes, form):
    """Rows in CSR form take Lloyd's passes and nothing else; dense ones end no higher."""
    rng, x, _ = data()
    u = rng.choice([0.5, 1.0, 3.0], N)
    start = x[:5].astype(np.float32).astype(np.float64)
    theirs = KMeans(5, init=start, n_init=1, max_iter=passes, tol=0, algorithm="lloyd").fit(
        x, sample_weight=u
    )
    ours = FastKMeansClusterer(5, distance="euclidean", dtype="float64", init_mode=start)
    ours.fit(form(x), sample_weight=u, max_iters=passes, tol=0)
    if form is np.asarray:
        assert passes < 300 or ours.inertia_ <= theirs.inertia_ * (1 + 1e-9)
    else:
        np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-6, atol=1e-6)
        assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-6)
        assert (ours.labels_ == theirs.labels_).all()
        assert (ours.predict(x) == theirs.predict(x)).all()
    d = ((x[:, None] - ours.cluster_centers_) ** 2).sum(2)
    assert ours.inertia_ == pytest.approx((u * d.min(1)).sum(), rel=1e-9)
    np.testing.assert_allclose(ours.transform(x), 1 / (1 + d / scale_of(ours)), rtol=1e-5)


@pytest.mark.parametrize("kind", ["strings", "integers"])
def test_probabilities_follow_classes(kind):
    _, x, group = data(1)
    y = np.array(["pear", "apple", "fig"])[group] if kind == "strings" else np.array([7, -2, 3])[group]
    model = FastKMeansClassifier(4, distance="euclidean", dtype="float64", top_k=3).fit(x, y)
    d = oracle.distances("euclidean", tensor(x), tensor(model.centroids))
    r = oracle.shares("scaled", d, oracle.candidates(d, 3), scale=scale_of(model))
    column = np.searchsorted(model.classes_, model.centroid_labels)
    p = oracle.class_sums(r, column, 3).numpy()
    np.testing.assert_allclose(model.predict_proba(x), p, atol=1e-6)
    assert (model.predict(x) == model.classes_[p.argmax(1)]).all()
    assert model.score(x, y) == (model.classes_[p.argmax(1)] == y).mean()


def test_grad_is_that_of_autograd():
    rng, x, y = data(2)
    u = rng.choice([0.5, 1.0, 3.0], N)
    mask = rng.choice([0.0, 1.0], x.shape, p=[0.2, 0.8])
    model = FastKMeansClassifier(
        3, distance="euclidean", dtype="float64", soft_type="softmax_scaled", top_k=-1
    )
    given = {"sample_weight": torch.tensor(u), "feature_mask": torch.tensor(mask)}
    model.fit_batch(torch.tensor(x), torch.tensor(y), **given)
    c = model.centroids.detach().clone().requires_grad_()
    d = oracle.distances("euclidean", tensor(x), c, mask=mask)
    r = oracle.shares("softmax_scaled", d, oracle.candidates(d, -1), tau=scale_of(model))
    column = np.searchsorted(model.classes_, np.asarray(model.centroid_labels))
    loss = oracle.cross_entropy(oracle.class_sums(r, column, 3), y, u)
    loss.backward()
    found = model.fit_batch(torch.tensor(x), torch.tensor(y), **given, gradient_step=True)
    assert found == pytest.approx(loss.item(), rel=1e-9)
    torch.testing.assert_close(model.centroids.grad, c.grad, rtol=1e-9, atol=1e-12)


def test_importance_of_features():
    _, x, y = data(3)
    model = FastKMeansClassifier(distance="euclidean").fit(x, y)
    found = model.calculate_feature_importance(x, y)
    np.testing.assert_allclose(found, oracle.feature_importance(x, y), rtol=1e-5)
    weighed = FastKMeansClassifier(distance="euclidean", auto_feature_weights=True).fit(x, y)
    np.testing.assert_allclose(weighed.feature_weights, oracle.feature_importance(x, y), rtol=1e-5)


@pytest.mark.parametrize("soft", ["hard", "mean", "scaled", "softmax_scaled"])
@pytest.mark.parametrize("width", [0, 1, 2])
def test_values_are_blends_of_targets(soft, width):
    _, x, _ = data(4)
    y = x @ np.arange(1.0, 1 + DIM * max(width, 1)).reshape(DIM, -1)
    y = y[:, 0] if width == 0 else y
    model = FastKMeansRegressor(4, 3, distance="euclidean", dtype="float64", soft_type=soft).fit(x, y)
    d = oracle.distances("euclidean", tensor(x), tensor(model.centroids))
    r = oracle.shares(soft, d, oracle.candidates(d, 5), scale=scale_of(model), tau=0.25 * scale_of(model))
    expected = r.numpy() @ np.asarray(model.centroid_targets).reshape(len(model.centroids), -1)
    np.testing.assert_allclose(model.predict(x), expected[:, 0] if width == 0 else expected, rtol=1e-7)
    spread = ((y - y.mean(0)) ** 2).sum(0)
    r2 = np.mean(1 - ((y - model.predict(x)) ** 2).sum(0) / spread)
    assert model.score(x, y) == pytest.approx(r2)


def test_strategies_come_from_probabilities():
    rng, x, group = data(5)
    y = (rng.random((N, 5)) < 0.1 + 0.7 * np.eye(3, 5)[group]).astype(int)
    y[:, 4] = 0  # a tag that nobody has
    model = FastMultiLabelKMeansClassifier(distance="euclidean", dtype="float64").fit(x, y)
    p = np.asarray(model.predict_proba(x), dtype=np.float64)
    assert p.shape == y.shape and (p[:, 4] == 0).all()
    seen = p[:, :4]
    assert (model.predict(x, strategy="gap")[:, :4] == oracle.by_gap(seen)).all()
    assert (model.predict(x, strategy="top_k", top_k=2)[:, :4] == oracle.by_rank(seen, 2)).all()
    for strategy in ("adaptive", "gap", "top_k"):
        assert (model.predict(x, strategy=strategy)[:, 4] == 0).all()
