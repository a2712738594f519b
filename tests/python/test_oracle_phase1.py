# SPDX-License-Identifier: Apache-2.0
"""Phase 1 against scikit-learn's k-means and against moving averages, importances and seeds written down in
numpy."""

from itertools import product

import numpy as np
import pytest

sparse = pytest.importorskip("scipy.sparse")
KMeans = pytest.importorskip("sklearn.cluster").KMeans
pytest.importorskip("torch")

import oracle  # noqa: E402
from core_model import batch, get, labels_of, make  # noqa: E402

METRICS = ("cosine", "euclidean", "l1")
DIM = 5


def blobs(rng, n=300, k=6, spread=1.0):
    return rng.normal(size=(n, DIM)) * spread + 3 * rng.normal(size=(k, DIM))[rng.integers(0, k, n)]


def started(task, points, labels=None, **params):
    """A model with these starting prototypes (float32 is exact for them)."""
    model = make(task, **params)
    model.set_start(points.astype(np.float32), labels)
    return model


def inertia(x, c, u=None):
    d = ((x[:, None] - c[None]) ** 2).sum(2).min(1)
    return d.sum() if u is None else (u * d).sum()


# ---- fit: Lloyd --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passes", [1, 2, 7])
@pytest.mark.parametrize("weighted", [False, True])
def test_passes_are_those_of_scikit_learn(passes, weighted):
    """Rows in CSR form: the clusterer's swaps and single moves are for dense rows only."""
    rng = np.random.default_rng(passes)
    x, k = blobs(rng), 6
    u = rng.choice([0.5, 1.0, 2.0], len(x)) if weighted else None
    start = x[rng.choice(len(x), k, replace=False)].astype(np.float32).astype(np.float64)
    theirs = KMeans(k, init=start, n_init=1, max_iter=passes, tol=0, algorithm="lloyd").fit(
        x, sample_weight=u
    )
    model = started("clusterer", start, distance="euclidean", k_init=k)
    model.fit(batch(sparse.csr_array(x), weight=u), max_iters=passes, tol=0)
    found = get(model, "centroids")
    if theirs.n_iter_ == passes:  # else both stand still; ours may have stopped as well
        assert model.describe()["iterations"] == passes
    np.testing.assert_allclose(found, theirs.cluster_centers_, rtol=1e-6, atol=1e-6)
    assert inertia(x, found, u) == pytest.approx(theirs.inertia_, rel=1e-6)
    assert (labels_of(model, batch(x)) == theirs.predict(x)).all()


@pytest.mark.parametrize("seed", range(8))
def test_swaps_and_moves_never_end_above_lloyd(seed):
    rng = np.random.default_rng(seed)
    x, k = blobs(rng, k=8), 8
    start = x[:k].astype(np.float32).astype(np.float64)
    theirs = KMeans(k, init=start, n_init=1, max_iter=300, tol=0, algorithm="lloyd").fit(x)
    model = started("clusterer", start, distance="euclidean", k_init=k)
    model.fit(batch(x), max_iters=300, tol=0)
    assert inertia(x, get(model, "centroids")) <= theirs.inertia_ * (1 + 1e-9)


def lloyd(metric, x, y, c, class_of, passes, u=None, mask=None, weights=None):
    """Rows go to the nearest prototype of their own class; a coordinate without mass stays. (c, mass,
    scale)"""
    u = np.ones(len(x)) if u is None else u
    mask = np.ones_like(x) if mask is None else mask
    same = y[:, None] == class_of
    rows = oracle.directions(x, weights, mask) if metric == "cosine" else x
    for _ in range(passes):
        index, distance = oracle.own_nearest(metric, x, c, same, weights, mask)
        n, mean = oracle.sums(rows, u, mask, index, len(c))
        c = np.where(n > 0, mean, c)
        if metric == "cosine":
            c = unit(c, weights)
    mass = np.bincount(index, weights=u, minlength=len(c))
    return c, mass, (u * distance).sum() / u.sum()


def unit(c, weights=None):
    w = np.ones(c.shape[1]) if weights is None else weights
    return c / np.sqrt((w * c * c).sum(1, keepdims=True))


def near(found, expected, tolerance=1e-6):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def classes(rng, n=240, apart=2.0):
    y = np.r_[
        0, 1, 2, rng.integers(0, 3, n - 3)
    ]  # prototypes lie by class, in the order in which classes appear
    x = rng.normal(size=(n, DIM)) + apart * rng.normal(size=(3, DIM))[y]
    chosen = np.concatenate([np.flatnonzero(y == c)[:2] for c in range(3)])
    return x, y, x[chosen].astype(np.float32).astype(np.float64), y[chosen]


def masks(rng, shape):
    """Two features at least are there: of one alone every cosine is 1 or -1, and rounding would decide."""
    mask = rng.choice([0.0, 0.5, 1.0], shape)
    mask[:, [0, 2]] = np.maximum(mask[:, [0, 2]], 0.5)
    mask[:3] = 0  # rows without anything go to the first prototype
    return mask


@pytest.mark.parametrize("metric, rows", product(METRICS, ("plain", "weights", "masks", "features")))
def test_each_class_is_clustered_on_its_own(metric, rows):
    rng = np.random.default_rng(5)
    x, y, start, class_of = classes(rng)
    u = rng.choice([0.5, 1.0, 3.0], len(x)) if rows in ("weights", "masks") else None
    mask = masks(rng, x.shape) if rows == "masks" else None
    weights = None
    model = started("classifier", start, class_of, distance=metric, repulsion_factor=0)
    if rows == "features":
        weights = np.arange(1.0, DIM + 1) * DIM / 15
        model.set_feature_weights(weights)
    model.fit(batch(x, weight=u, mask=mask, labels=y), max_iters=3, tol=0)
    start = unit(start, weights) if metric == "cosine" else start
    c, mass, scale = lloyd(metric, x, y, start, class_of, 3, u, mask, weights)
    near(get(model, "centroids"), c)
    near(get(model, "centroid_weights"), mass)
    assert model.describe()["scale"] == pytest.approx(scale, rel=1e-6)


def test_cosine_counts_directions_not_lengths():
    """Rows of any length move a prototype as their unit rows do."""
    rng = np.random.default_rng(6)
    x, y, start, class_of = classes(rng)
    far, near_by = (started("classifier", start, class_of, repulsion_factor=0) for _ in range(2))
    far.fit(batch(x * rng.uniform(0.1, 10, (len(x), 1)), labels=y), max_iters=2, tol=0)
    near_by.fit(batch(oracle.unit_rows(x), labels=y), max_iters=2, tol=0)
    near(get(far, "centroids"), get(near_by, "centroids"), 1e-12)
    c, _, _ = lloyd("cosine", x, y, unit(start), class_of, 2)
    near(get(far, "centroids"), c)


def test_features_that_every_row_shows_do_not_grow():
    """Four rows of five show 3 of 20 features: the prototype still points where whole rows do."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=20) + 0.3 * rng.normal(size=(2000, 20))
    mask = np.ones_like(x)
    mask[rng.random(len(x)) < 0.8, 3:] = 0
    model = make("clusterer", k_init=1)
    model.fit(batch(x, mask=mask), max_iters=2)
    whole = oracle.unit_rows(x).mean(0, keepdims=True)
    assert (get(model, "centroids") @ oracle.unit_rows(whole)[0])[0] > 0.99


# ---- fit_batch: moving averages ----------------------------------------------------------------------------


class Stream:
    """fit_batch in numpy. age K x D: each seed has mass 1."""

    def __init__(self, metric, c, class_of, decay=1.0, repulsion=0.0, weights=None):
        self.metric, self.c, self.class_of = metric, c.copy(), class_of
        self.decay, self.repulsion, self.weights = decay, repulsion, weights
        self.mass, self.age = np.ones(len(c)), np.ones_like(c)
        self.pushed = 0

    def learn(self, x, y, u=None, mask=None):
        u = np.ones(len(x)) if u is None else u
        mask = np.ones_like(x) if mask is None else mask
        before, k = self.c, len(self.c)
        same = y[:, None] == self.class_of
        rows = oracle.directions(x, self.weights, mask) if self.metric == "cosine" else x
        own, d_own = oracle.own_nearest(self.metric, x, before, same, self.weights, mask)
        n, mean = oracle.sums(rows, u, mask, own, k)
        self.c, self.age = oracle.ema(before, self.age, n, mean, self.decay)
        self.mass = self.mass * self.decay + np.bincount(own, weights=u, minlength=k)
        if self.repulsion:
            other, d_other = oracle.own_nearest(self.metric, x, before, ~same, self.weights, mask)
            inside = oracle.inside_window(d_own, d_other)
            self.pushed += inside.sum()
            n, mean = oracle.sums(rows[inside], u[inside], mask[inside], other[inside], k)
            weight = np.bincount(other[inside], weights=u[inside], minlength=k)
            mean = np.where(n > 0, mean, self.c)
            self.c = oracle.push(self.c, self.mass, weight, mean, self.repulsion)
        if self.metric == "cosine":
            self.c = unit(self.c, self.weights)
        return np.sqrt(((self.c - before) ** 2).sum(1)).max()


def follow(metric, seed=0, masked=False, weighted=False, features=False, batches=4, **params):
    rng = np.random.default_rng(seed)
    x, y, start, class_of = classes(rng, apart=0.5 if "repulsion_factor" in params else 2)
    weights = np.arange(1.0, DIM + 1) * DIM / 15 if features else None
    model = started("classifier", start, class_of, distance=metric, **{"repulsion_factor": 0, **params})
    if features:
        model.set_feature_weights(weights)
    start = unit(start, weights) if metric == "cosine" else start
    stream = Stream(
        metric, start, class_of, params.get("decay", 1.0), params.get("repulsion_factor", 0), weights
    )
    for part in np.array_split(np.arange(len(x)), batches):
        rows = x[part]
        u = rng.choice([0.0, 0.5, 1.0, 3.0], len(part)) if weighted else None
        mask = masks(rng, rows.shape) if masked else None
        if masked:
            mask[:, 1] *= part % 3 == 0
        shift = model.fit_batch(batch(rows, weight=u, mask=mask, labels=y[part]))
        expected = stream.learn(rows, y[part], u, mask)
        near(get(model, "centroids"), stream.c)
        near(get(model, "centroid_weights"), stream.mass)
        if masked:
            near(get(model, "centroid_ages"), stream.age)
        assert shift == pytest.approx(expected, rel=1e-6)
    return model, stream


@pytest.mark.parametrize("metric, weighted, decay", product(METRICS, (False, True), (1, 0.7)))
def test_batches_are_moving_averages(metric, weighted, decay):
    follow(metric, weighted=weighted, decay=decay)


@pytest.mark.parametrize("metric, decay", product(METRICS, (1, 0.7)))
def test_each_coordinate_has_an_age_of_its_own(metric, decay):
    model, _ = follow(metric, masked=True, weighted=True, decay=decay)
    ages = get(model, "centroid_ages")
    assert (ages.max(1) > 1.5 * ages.min(1)).any()


@pytest.mark.parametrize("metric", METRICS)
def test_feature_weights_in_a_stream(metric):
    follow(metric, features=True, weighted=True)


@pytest.mark.parametrize("metric, factor", product(METRICS, (0.05, 0.8)))
def test_repulsion_inside_the_window(metric, factor):
    _, stream = follow(metric, repulsion_factor=factor, weighted=True)
    assert stream.pushed > 20


@pytest.mark.parametrize("metric", METRICS)
def test_repulsion_with_masks_and_feature_weights(metric):
    _, stream = follow(metric, repulsion_factor=0.5, weighted=True, masked=True, features=True)
    assert stream.pushed > 20


def test_a_step_back_is_bounded():
    """However many rows push, eta is at most 1/2."""
    start, labels = np.array([[0.0], [1.0]]), np.array([0, 1])
    model = started("classifier", start, labels, distance="euclidean", repulsion_factor=1.0)
    x, y = np.r_[np.full(100, 0.45), 1.0][:, None], np.r_[np.zeros(100, dtype=int), 1]
    model.fit_batch(batch(x, labels=y))
    # prototype 1 (mass 2) is pushed by 100 rows at .45: 1 + .5 (1 - .45)
    near(get(model, "centroids")[1], np.array([1.275]))


def test_a_stream_goes_on_from_the_masses_of_fit():
    rng = np.random.default_rng(2)
    x, y, start, class_of = classes(rng)
    model = started("classifier", start, class_of, distance="euclidean", repulsion_factor=0)
    model.fit(batch(x[:120], labels=y[:120]), max_iters=2, tol=0)
    c, mass, _ = lloyd("euclidean", x[:120], y[:120], start, class_of, 2)
    stream = Stream("euclidean", c, class_of)
    stream.mass, stream.age = mass, np.repeat(mass[:, None], DIM, 1)
    model.fit_batch(batch(x[120:], labels=y[120:]))
    stream.learn(x[120:], y[120:])
    near(get(model, "centroids"), stream.c)
    near(get(model, "centroid_weights"), stream.mass)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_of_weight_0_change_nothing(metric):
    rng = np.random.default_rng(2)
    x, y, start, class_of = classes(rng)
    u = (rng.random(len(x)) < 0.5).astype(float)
    with_them, without = (started("classifier", start, class_of, distance=metric) for _ in range(2))
    with_them.fit_batch(batch(x, weight=u, labels=y))
    without.fit_batch(batch(x[u > 0], labels=y[u > 0]))
    for name in ("centroids", "centroid_weights"):
        near(get(with_them, name), get(without, name), 1e-12)


def test_a_clusterer_streams_too():
    rng = np.random.default_rng(4)
    x = blobs(rng)
    start = x[:6].astype(np.float32).astype(np.float64)
    model = started("clusterer", start, distance="euclidean", k_init=6)
    stream = Stream("euclidean", start, np.zeros(6, dtype=int))
    for part in np.array_split(x, 3):
        model.fit_batch(batch(part))
        stream.learn(part, np.zeros(len(part), dtype=int))
    near(get(model, "centroids"), stream.c)


# ---- soft assignment ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how, metric, weighted", product(("linear", "softmax"), METRICS, (False, True)))
def test_every_prototype_takes_its_share(how, metric, weighted):
    """Scores: similarity less lambda for prototypes of other classes; linear: what is above 0, softmax:
    exp(score / T)."""
    rng = np.random.default_rng(19)
    x, y, start, class_of = classes(rng)
    u = rng.choice([0.0, 0.5, 2.0], len(x)) if weighted else np.ones(len(x))
    start = unit(start) if metric == "cosine" else start
    params = {"assignment": how, "lambda_penalty": 0.3, "temperature": 0.2, "repulsion_factor": 0}
    model = started("classifier", start, class_of, distance=metric, **params)
    model.fit_batch(batch(x, weight=u, labels=y))

    d = oracle.distances(metric, oracle.tensor(x), oracle.tensor(start)).numpy()
    same = y[:, None] == class_of
    # s: of this batch, the mean distance to the nearest prototype of the own class
    scale = (u * np.where(same, d, np.inf).min(1)).sum() / u.sum()
    score = oracle.similarity(metric, d, scale) - 0.3 * ~same
    share = np.maximum(score, 0) if how == "linear" else np.exp(score / 0.2)
    share = u[:, None] * share / share.sum(1, keepdims=True)
    rows = oracle.directions(x) if metric == "cosine" else x
    n = share.sum(0)
    c = start + (share.T @ rows - n[:, None] * start) / (1 + n)[:, None]
    near(get(model, "centroid_weights"), 1 + n)
    near(get(model, "centroids"), unit(c) if metric == "cosine" else c)


# ---- importance --------------------------------------------------------------------------------------------


def graded(rng, n=200):
    """Features from telling to noise."""
    y = rng.integers(0, 3, n)
    return rng.normal(size=(n, DIM)) + np.linspace(3, 0, DIM) * rng.normal(size=(3, 1))[y], y


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rows", ["plain", "weights", "masks", "far"])
def test_importance_is_the_analysis_of_variance(metric, rows):
    rng = np.random.default_rng(7)
    x, y = graded(rng)
    if rows == "far":  # a naive sum of squares would lose all digits
        x = x + 1e7
    u = rng.choice([0.5, 1.0, 3.0], len(x)) if rows == "weights" else None
    mask = rng.choice([0.0, 0.5, 1.0], x.shape) if rows == "masks" else None
    given = batch(x, weight=u, mask=mask, labels=y)
    model = make("classifier", distance=metric)
    model.fit(given, max_iters=1)
    found = np.empty(DIM)
    model.feature_importance(given, found)
    near(found, oracle.feature_importance(x, y, u, mask), 1e-7 if rows == "far" else 1e-9)
    np.testing.assert_array_equal(get(model, "feature_weights"), np.ones(DIM))


def test_features_that_say_nothing_keep_a_thousandth():
    rng = np.random.default_rng(20)
    y = np.repeat([0, 1], 10)
    x = np.c_[2 * y + rng.normal(size=20), np.tile([1.0, -1.0], 10), np.full(20, 3.0)]
    model = make("classifier", distance="euclidean", auto_feature_weights=True)
    model.fit(batch(x, labels=y), max_iters=1)
    weights = get(model, "feature_weights")
    near(weights, oracle.feature_importance(x, y), 1e-9)
    assert weights[1] == weights[2] < 0.01


def test_importance_of_a_clusterer_is_by_nearest_prototype():
    rng = np.random.default_rng(8)
    x, _ = graded(rng)
    model = make("clusterer", distance="euclidean", k_init=3)
    model.fit(batch(x))
    found = np.empty(DIM)
    model.feature_importance(batch(x), found)
    near(found, oracle.feature_importance(x, labels_of(model, batch(x))), 1e-9)


@pytest.mark.parametrize("masked", [False, True])
def test_importance_of_batches_is_that_of_all_rows(masked):
    rng = np.random.default_rng(9)
    x, y = graded(rng)
    mask = rng.choice([0.0, 0.5, 1.0], x.shape) if masked else None
    u = rng.choice([0.5, 1.0, 3.0], len(x))
    model = make("classifier", distance="euclidean", auto_feature_weights=True)
    parts = [np.arange(0, 20), np.arange(20, 100), np.arange(100, 200)]
    for last, part in enumerate(parts):
        model.fit_batch(
            batch(x[part], weight=u[part], mask=None if mask is None else mask[part], labels=y[part])
        )
        seen = np.concatenate(parts[: last + 1])
        expected = oracle.feature_importance(x[seen], y[seen], u[seen], None if mask is None else mask[seen])
        near(get(model, "feature_weights"), expected, 1e-9)


def test_fit_weighs_features():
    rng = np.random.default_rng(10)
    x, y = graded(rng)
    model = make("classifier", distance="euclidean", auto_feature_weights=True)
    model.fit(batch(x, labels=y), max_iters=2)
    near(get(model, "feature_weights"), oracle.feature_importance(x, y), 1e-9)


# ---- seeding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric, init", product(METRICS, ("kmeans++", "random")))
def test_as_many_seeds_as_distinct_rows(metric, init):
    """k_c = min(k_init, distinct rows), and then each distinct row is a prototype."""
    rng = np.random.default_rng(11)
    distinct = rng.normal(size=(6, DIM))
    if metric == "cosine":
        distinct = oracle.unit_rows(distinct)
    x = np.repeat(distinct, 5, axis=0)
    y = np.repeat([0, 0, 1, 1, 1, 1], 5)
    model = make("classifier", distance=metric, init_mode=init, k_init=3, repulsion_factor=0)
    model.fit(batch(x, labels=y))
    labels, c = get(model, "centroid_labels"), get(model, "centroids")
    assert np.bincount(labels).tolist() == [2, 3]
    near(np.sort(c[labels == 0], 0), np.sort(distinct[:2], 0))


def seeds_of(x, y, metric, **params):
    """The points that seeding chose: a first batch moves a seed of mass 1 to the mean of itself and its
    rows."""
    model = make("classifier", distance=metric, repulsion_factor=0, **params)
    model.fit_batch(batch(x, weight=np.full(len(x), 1e-12), labels=y))
    return get(model, "centroids"), get(model, "centroid_labels")


@pytest.mark.parametrize("metric, init", product(METRICS, ("kmeans++", "random")))
def test_seeds_are_rows_of_their_class(metric, init):
    rng = np.random.default_rng(12)
    x, y, _, _ = classes(rng)
    x = oracle.unit_rows(x) if metric == "cosine" else x
    seeds, labels = seeds_of(x, y, metric, k_init=5, init_mode=init)
    assert np.bincount(labels).tolist() == [5, 5, 5]
    for seed, label in zip(seeds, labels, strict=True):
        gap = np.abs(x - seed).max(1)
        assert gap.min() < 1e-9 and y[gap.argmin()] == label
    assert len(np.unique(np.round(seeds, 9), axis=0)) == 15


def test_rows_of_weight_0_are_never_seeds():
    rng = np.random.default_rng(13)
    x = blobs(rng)
    u = (rng.random(len(x)) < 0.1) * 1e-12
    for seed in range(20):
        model = make("clusterer", distance="euclidean", k_init=8, random_state=seed)
        model.fit_batch(batch(x, weight=u))
        chosen = [np.abs(x - c).max(1).argmin() for c in get(model, "centroids")]
        assert (u[chosen] > 0).all()


def test_greedy_seeds_lie_better_than_random_ones():
    """Greedy k-means++ finds all of 12 far groups; random rows miss some."""
    rng = np.random.default_rng(14)
    centre = np.array(list(product((0, 1), repeat=DIM)), dtype=float)[:12] * 50
    x = np.repeat(centre, 20, axis=0) + rng.normal(size=(240, DIM)) * 0.1
    missed = {}
    for init in ("kmeans++", "random"):
        missed[init] = 0
        for seed in range(10):
            model = make("clusterer", distance="euclidean", k_init=12, init_mode=init, random_state=seed)
            model.fit_batch(batch(x, weight=np.full(len(x), 1e-12)))
            found = np.unique(np.round(get(model, "centroids") / 50), axis=0)
            missed[init] += 12 - len(found)
    assert missed["kmeans++"] == 0 and missed["random"] > 10


def test_a_class_that_comes_later_is_seeded_then():
    rng = np.random.default_rng(15)
    x, y, _, _ = classes(rng)
    model = make("classifier", distance="euclidean", k_init=2, repulsion_factor=0)
    early = y < 2
    model.fit_batch(batch(x[early], labels=y[early]))
    assert get(model, "classes").tolist() == [0, 1]
    before = get(model, "centroids")
    late = np.flatnonzero(y == 2)
    model.fit_batch(batch(x[late], weight=np.full(len(late), 1e-12), labels=y[late]))
    assert get(model, "classes").tolist() == [0, 1, 2]
    c, labels = get(model, "centroids"), get(model, "centroid_labels")
    np.testing.assert_array_equal(c[labels < 2], before)
    for seed in c[labels == 2]:
        assert np.abs(x[late] - seed).max(1).min() < 1e-9


@pytest.mark.parametrize("metric", METRICS)
def test_auto_k_is_the_dispersion_of_a_class(metric):
    """k = max(1, min(N, ceil(3 sqrt(N) (1 - mean clip(sim(x, mu), 0, 1))))) with the plain 1 / (1 + d)."""
    rng = np.random.default_rng(16)
    x = rng.normal(size=(90, DIM)) * np.repeat([0.02, 0.3, 1.5], 30)[:, None] + 1
    y = np.repeat([0, 1, 2], 30)
    x = oracle.unit_rows(x) if metric == "cosine" else x
    expected = []
    for label in range(3):
        rows = x[y == label]
        d = oracle.distances(metric, oracle.tensor(rows), oracle.tensor(rows.mean(0, keepdims=True))).numpy()
        sim = np.clip(1 - d if metric == "cosine" else 1 / (1 + d), 0, 1)
        expected.append(max(1, min(30, int(np.ceil(3 * np.sqrt(30) * (1 - sim.mean()))))))
    _, labels = seeds_of(x, y, metric, k_init="auto")
    assert np.bincount(labels).tolist() == expected


# ---- merging and pruning -----------------------------------------------------------------------------------


def test_merged_prototypes_are_weighted_means():
    start = np.array([[0.0, 0.0], [0.5, 0.0], [10.0, 0.0], [0.1, 0.1]])
    labels = np.array([0, 0, 0, 1])
    model = started(
        "classifier", start, labels, distance="euclidean", merge_threshold=1.0, repulsion_factor=0
    )
    rng = np.random.default_rng(17)
    rows = np.repeat(start, [3, 1, 2, 4], axis=0) + rng.normal(size=(10, 2)) * 0.01
    y = np.repeat(labels, [3, 1, 2, 4])
    model.fit_batch(batch(rows, labels=y))
    assert model.last_merged() == 1
    stream = Stream("euclidean", start.astype(np.float32).astype(np.float64), labels)
    stream.learn(rows, y)
    first = (stream.mass[:2, None] * stream.c[:2]).sum(0) / stream.mass[:2].sum()
    near(get(model, "centroids"), np.vstack([first, stream.c[2:]]))
    assert get(model, "centroid_weights").tolist() == [4 + 2, 3, 5]  # rows and a seed's 1 each
    assert get(model, "centroid_labels").tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "params",
    [
        {"merge_threshold": 3.0},
        {"merge_threshold": 0.3, "relative_merge": True},
        {"merge_threshold": 100, "percentile_threshold": 0.05},
    ],
)
def test_merging_keeps_the_mass(params):
    rng = np.random.default_rng(18)
    x, y, _, _ = classes(rng)
    model = make("classifier", distance="euclidean", k_init=12, **params)
    total, k = 36.0, 36
    for part in np.array_split(np.arange(len(x)), 3):
        model.fit_batch(batch(x[part], labels=y[part]))
        k -= model.last_merged()
        total += len(part)
        assert model.describe()["k"] == k
        assert get(model, "centroid_weights").sum() == pytest.approx(total)
    assert k < 36 and set(get(model, "centroid_labels")) == {0, 1, 2}


def test_percentile_threshold_lets_only_the_nearest_merge():
    """Four prototypes on a line, pairs at 1, 3, 4, 7, 10, 11: a low quantile leaves the nearest pair
    alone."""
    start = np.array([[0.0], [1.0], [4.0], [11.0]])
    model = started("clusterer", start, distance="l1", k_init=4, merge_threshold=5, percentile_threshold=0.1)
    model.fit_batch(batch(start))
    assert model.last_merged() == 1
    near(get(model, "centroids")[:, 0], np.array([0.5, 4, 11]))


def test_light_prototypes_are_pruned_but_never_the_last_of_a_class():
    start, labels = np.array([[0.0], [5.0], [100.0], [200.0]]), np.array([0, 0, 1, 1])
    model = started(
        "classifier", start, labels, distance="euclidean", decay=0.5, min_weight=0.4, repulsion_factor=0
    )
    rows, u = start, [1, 1, 0, 0]
    model.fit_batch(batch(rows, weight=u, labels=labels))
    assert get(model, "centroid_weights").tolist() == [1.5, 1.5, 0.5, 0.5]
    model.fit_batch(batch(rows, weight=u, labels=labels))
    assert get(model, "centroid_labels").tolist() == [0, 0, 1]  # 0.25 each: one stays
    assert get(model, "centroid_weights")[:2].tolist() == [1.75, 1.75]
    assert model.last_merged() == 1


def test_starting_prototypes_wait_for_their_class():
    start, labels = np.array([[0.0], [1.0], [7.0]]), np.array([4, 4, 9])
    model = started("classifier", start, labels, distance="euclidean", repulsion_factor=0)
    model.fit_batch(batch(start[:2], labels=labels[:2]))
    assert get(model, "centroid_labels").tolist() == [4, 4]
    model.fit_batch(batch(start[2:] + 1, labels=labels[2:]))
    assert get(model, "centroids")[:, 0].tolist() == [0, 1, 7.5]


def test_frozen_prototypes_stay_and_are_not_merged():
    start = np.array([[0.0], [0.1], [0.2], [9.0]])
    model = started("clusterer", start, distance="euclidean", k_init=4, merge_threshold=0.0)
    model.fit_batch(batch(start))
    model.freeze(np.array([1, 0, 0, 1], dtype=np.uint8))
    before = get(model, "centroids")
    model.fit_batch(batch(start + 0.04))
    after = get(model, "centroids")
    assert (after[[0, 3]] == before[[0, 3]]).all() and (after[[1, 2]] != before[[1, 2]]).all()
