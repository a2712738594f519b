# SPDX-License-Identifier: Apache-2.0
"""Answers against the formulas: probabilities, labels, values, tags, neighbours and similarities."""

from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import oracle  # noqa: E402
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
from oracle import tensor  # noqa: E402

METRICS = ("cosine", "euclidean", "l1")
SOFT = ("hard", "mean", "scaled", "softmax_scaled")
N, DIM = 150, 4


def data(seed, n=N):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, DIM)) + np.eye(3, DIM)[y]
    return rng, x, y * 7 - 3


def queries(seed=99):
    rng, x, y = data(seed, 40)
    mask = rng.choice([0.0, 0.5, 1.0], x.shape)
    mask[:, :2] += 0.5 * (
        mask[:, :2] == 0
    )  # of one feature alone, every cosine is 1 or -1: rounding would decide
    x[0], mask[1] = 0, 0  # an all-zero row, and one without any feature
    return x, mask, y


def shares_of(model, metric, soft, x, mask=None, top_k=5, **params):
    """d and r of the documents, from what the model holds."""
    state = inside(model)
    weights = state.get("feature_weights", np.ones(DIM))
    d = oracle.distances(metric, tensor(x), tensor(state["centroids"]), tensor(weights), mask)
    scale = model.describe()["scale"]
    tau = params.get("temperature", 1.0) * scale * torch.exp(tensor(state["theta"]))
    power = oracle.power_of(metric, params.get("idw_power"))
    chosen = oracle.candidates(d, top_k)
    return d, oracle.shares(soft, d, chosen, power=power, scale=scale, tau=tau, bias=tensor(state["bias"]))


def classifier(metric, soft, top_k=5, fine=0, **params):
    _, x, y = data(0)
    model = make("classifier", distance=metric, soft_type=soft, top_k=top_k, **params)
    model.set_feature_weights(np.arange(1.0, DIM + 1))
    model.fit(batch(x, labels=y), max_iters=4)
    for _ in range(fine):
        model.gradient_step(batch(x, labels=y))
    return model


def clearly(p):
    """Rows whose largest two differ by more than rounding."""
    two = np.sort(p, 1)[:, -2:]
    return two[:, 1] - two[:, 0] > 1e-9


@pytest.mark.parametrize("metric, soft, top_k", product(METRICS, SOFT, (1, 3, 5, -1)))
def test_classifier(metric, soft, top_k):
    model = classifier(metric, soft, top_k)
    classes, class_of = get(model, "classes"), get(model, "centroid_labels")
    x, mask, _ = queries()
    for given in (None, mask):
        _, r = shares_of(model, metric, soft, x, given, top_k)
        p = oracle.class_sums(r, np.searchsorted(classes, class_of), 3).numpy()
        rows = batch(x, mask=given)
        np.testing.assert_allclose(proba_of(model, rows), p, atol=1e-6)
        np.testing.assert_allclose(proba_of(model, rows).sum(1), 1, atol=1e-6)
        sure = (
            np.full(len(x), True) if soft == "mean" else clearly(p)
        )  # equal shares are equal: the lower class
        expected = classes[np.round(p, 9).argmax(1)]
        assert (labels_of(model, rows)[sure] == expected[sure]).all() and sure.mean() > 0.9


@pytest.mark.parametrize("metric, soft", product(METRICS, SOFT[2:]))
def test_classifier_after_gradients(metric, soft):
    model = classifier(metric, soft, fine=5, prototype_scale=True, temperature=0.5, idw_power=3)
    classes, class_of = get(model, "classes"), get(model, "centroid_labels")
    x, mask, _ = queries()
    _, r = shares_of(model, metric, soft, x, mask, temperature=0.5, idw_power=3)
    p = oracle.class_sums(r, np.searchsorted(classes, class_of), 3).numpy()
    np.testing.assert_allclose(proba_of(model, batch(x, mask=mask)), p, atol=1e-6)
    if soft == "softmax_scaled":
        assert inside(model)["theta"].std() > 0 and inside(model)["bias"].std() > 0


@pytest.mark.parametrize("metric", METRICS)
def test_temperature_after_phase_1_is_a_quarter_of_the_scale(metric):
    model = classifier(metric, "softmax_scaled", temperature=3)
    np.testing.assert_allclose(inside(model)["theta"], np.log(0.25), rtol=1e-12)
    facts = model.describe()
    assert facts["temperature"] == pytest.approx(3 * 0.25 * facts["scale"])


@pytest.mark.parametrize("metric", METRICS)
def test_prototypes_of_glvq_answer_with_twice_the_power(metric):
    model = classifier(metric, "scaled", repulsion_mode="glvq")
    classes, class_of = get(model, "classes"), get(model, "centroid_labels")
    x, _, _ = queries()
    _, r = shares_of(model, metric, "scaled", x, idw_power=2 * oracle.power_of(metric))
    p = oracle.class_sums(r, np.searchsorted(classes, class_of), 3)
    np.testing.assert_allclose(proba_of(model, batch(x)), p, atol=1e-6)


@pytest.mark.parametrize("metric, soft, top_k", product(METRICS, SOFT, (1, 4, 9)))
def test_nearest(metric, soft, top_k):
    model = classifier(metric, soft)
    x, mask, _ = queries()
    for given in (None, mask):
        d, r = shares_of(model, metric, soft, x, given, top_k)
        index, distance, routing = nearest_of(model, batch(x, mask=given), top_k)
        expected = oracle.order(d)[:, :top_k].numpy()
        np.testing.assert_allclose(
            distance, np.take_along_axis(d.numpy(), expected, 1), rtol=1e-9, atol=1e-12
        )
        np.testing.assert_allclose(np.take_along_axis(d.numpy(), index, 1), distance, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(routing, np.take_along_axis(r.numpy(), expected, 1), rtol=1e-7, atol=1e-9)
        if given is not None:
            assert (index[1] == np.arange(top_k)).all() and (distance[1] == 0).all()


def test_more_neighbours_than_prototypes():
    model = classifier("euclidean", "scaled")
    index, distance, routing = nearest_of(model, batch(queries()[0]), 12)
    assert (index[:, 9:] == -1).all() and np.isinf(distance[:, 9:]).all() and (routing[:, 9:] == 0).all()
    np.testing.assert_allclose(routing.sum(1), 1)


@pytest.mark.parametrize("metric", METRICS)
def test_similarities(metric):
    model = classifier(metric, "scaled")
    x, mask, _ = queries()
    for given in (None, mask):
        d, _ = shares_of(model, metric, "scaled", x, given)
        expected = oracle.similarity(metric, d, model.describe()["scale"])
        np.testing.assert_allclose(
            similarities_of(model, batch(x, mask=given)), expected, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("metric", METRICS)
def test_clusterer_answers_the_nearest(metric):
    _, x, _ = data(1)
    model = make("clusterer", distance=metric, k_init=7)
    model.fit(batch(x))
    x, mask, _ = queries()
    for given in (None, mask):
        d, _ = shares_of(model, metric, "hard", x, given)
        assert (labels_of(model, batch(x, mask=given)) == oracle.order(d)[:, 0].numpy()).mean() > 0.97
        found = labels_of(model, batch(x, mask=given))
        np.testing.assert_allclose(
            d.numpy()[np.arange(len(x)), found], d.numpy().min(1), rtol=1e-9, atol=1e-12
        )


# ---- ties and rows without content -------------------------------------------------------------------------


def started(points, labels, **params):
    model = make("classifier", repulsion_factor=0, **params)
    model.set_start(np.array(points, dtype=np.float32), np.array(labels))
    # one row on each prototype: all stay where they are
    model.fit_batch(batch(np.array(points, dtype=np.float64), labels=np.array(labels)))
    return model


@pytest.mark.parametrize("metric, soft", product(("euclidean", "l1"), SOFT))
def test_ties_go_to_the_lower_number(metric, soft):
    """Of prototypes as near the lower number (by class, in order of appearance), of shares as large the lower
    class."""
    model = started([[-1, 0], [1, 0], [0, 3]], [8, 5, 2], distance=metric, soft_type=soft, top_k=-1)
    assert get(model, "centroid_labels").tolist() == [8, 5, 2]
    middle = batch(np.array([[0.0, 0.0]]))
    index, distance, routing = nearest_of(model, middle, 3)
    assert index.tolist() == [[0, 1, 2]] and distance[0, 0] == distance[0, 1] == 1
    expected = {"hard": [1, 0, 0], "mean": [1 / 3] * 3}.get(soft)
    if expected:
        np.testing.assert_allclose(routing[0], expected)
    else:
        assert routing[0, 0] == routing[0, 1] > routing[0, 2]
    assert labels_of(model, middle).tolist() == [{"hard": 8, "mean": 2}.get(soft, 5)]
    assert nearest_of(model, middle, 1)[0].tolist() == [[0]]


@pytest.mark.parametrize("soft", SOFT)
@pytest.mark.parametrize("metric", METRICS)
def test_rows_without_content(metric, soft):
    """An all-zero row has cosine 0 to everything, a fully masked one distance 0: all prototypes are as
    near."""
    points = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    model = started(points, [0, 1, 1, 1], distance=metric, soft_type=soft, top_k=-1)
    nothing = batch(np.array([[5.0, -3.0]]), mask=np.zeros((1, 2)))
    index, distance, routing = nearest_of(model, nothing, 4)
    assert index.tolist() == [[0, 1, 2, 3]] and (distance == 0).all()
    np.testing.assert_allclose(routing, [[1, 0, 0, 0]] if soft == "hard" else [[0.25] * 4])
    np.testing.assert_allclose(proba_of(model, nothing), [[1, 0]] if soft == "hard" else [[0.25, 0.75]])
    if metric == "cosine":
        zero = batch(np.zeros((1, 2)))
        index, distance, routing = nearest_of(model, zero, 4)
        assert index.tolist() == [[0, 1, 2, 3]] and (distance == 1).all()
        np.testing.assert_allclose(routing, [[1, 0, 0, 0]] if soft == "hard" else [[0.25] * 4])
        assert (similarities_of(model, zero) == 0).all()
    top_2 = started(points, [0, 1, 1, 1], distance=metric, soft_type=soft, top_k=2)
    expected = [[1, 0]] if soft == "hard" else [[0.5, 0.5]]
    np.testing.assert_allclose(proba_of(top_2, nothing), expected)
    assert labels_of(top_2, nothing).tolist() == [0]


def test_what_a_mask_hides_is_never_read():
    model = classifier("euclidean", "scaled")
    x, mask, _ = queries()
    spoiled = np.where(mask == 0, np.nan, x)
    np.testing.assert_array_equal(
        proba_of(model, batch(spoiled, mask=mask)), proba_of(model, batch(x, mask=mask))
    )


# ---- regressor ---------------------------------------------------------------------------------------------


def regressor(metric, soft, top_k=5, fine=0, **params):
    rng, x, _ = data(2)
    y = np.c_[x[:, 0] * 2 - x[:, 1], 50 + 20 * x[:, 2] ** 2] + 0.1 * rng.normal(size=(N, 2))
    model = make(
        "regressor", distance=metric, soft_type=soft, top_k=top_k, k_targets=3, k_features=3, **params
    )
    model.fit(batch(x, targets=y), max_iters=4)
    for _ in range(fine):
        model.gradient_step(batch(x, targets=y))
    return model, x, y


@pytest.mark.parametrize("metric, soft, top_k", product(METRICS, SOFT, (1, 5, -1)))
def test_regressor_blends_targets(metric, soft, top_k):
    model, _, _ = regressor(metric, soft, top_k)
    x, mask, _ = queries()
    for given in (None, mask):
        _, r = shares_of(model, metric, soft, x, given, top_k)
        expected = r.numpy() @ get(model, "centroid_targets")
        found = values_of(model, batch(x, mask=given))
        np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("metric, soft", product(METRICS, SOFT[2:]))
def test_regressor_after_gradients(metric, soft):
    model, _, _ = regressor(metric, soft, -1, fine=4)
    x, mask, _ = queries()
    _, r = shares_of(model, metric, soft, x, mask, -1)
    found = values_of(model, batch(x, mask=mask))
    np.testing.assert_allclose(found, r.numpy() @ get(model, "centroid_targets"), rtol=1e-8)


@pytest.mark.parametrize("how", SOFT)
def test_targets_of_prototypes(how):
    """hard: the target of the nearest assigned row; mean; scaled, softmax_scaled: means weighted by
    similarity."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, DIM))
    y = rng.normal(size=(60, 2))
    model = make("regressor", distance="euclidean", k_targets=1, k_features=4, target_assignment=how)
    # tol 0 and more passes than it takes: rows are assigned to the points that stand there
    model.fit(batch(x, targets=y), max_iters=200, tol=0)
    c, found = get(model, "centroids"), get(model, "centroid_targets")
    d = oracle.distances("euclidean", tensor(x), tensor(c)).numpy()
    nearest, scale = d.argmin(1), model.describe()["scale"]
    for j in range(len(c)):
        rows = np.flatnonzero(nearest == j)
        if how == "hard":
            expected = y[rows[d[rows, j].argmin()]]
        else:
            weight = {
                "mean": np.ones(len(rows)),
                "scaled": 1 / (1 + d[rows, j] / scale),
                "softmax_scaled": np.exp(-d[rows, j] / (0.25 * scale)),
            }[how]
            expected = weight @ y[rows] / weight.sum()
        np.testing.assert_allclose(found[j], expected, rtol=1e-8)


# ---- multi-label -------------------------------------------------------------------------------------------


def tagged(metric, n=400, fine=0, **params):
    rng, x, _ = data(4, n)
    slope = rng.normal(size=(DIM, 6))
    tags = (x @ slope + rng.normal(size=(n, 6)) > np.array([0.5, 1, 1.5, 2, 2.5, 4])).astype(int)
    model = make("multilabel", distance=metric, **params)
    model.fit(batch(x, tags=tags), max_iters=4)
    for _ in range(fine):
        model.gradient_step(batch(x, tags=tags))
    return model, x, tags


def scores_of(model, metric, x, mask=None, temperature=1.0):
    state = inside(model)
    d = oracle.distances(metric, tensor(x), tensor(state["centroids"]), mask=mask)
    class_of = np.searchsorted(get(model, "classes"), get(model, "centroid_labels"))
    tau = temperature * model.describe()["scale"] * np.exp(state["theta"][0])
    by_tag = np.argsort(state["class_labels"])  # tags of the file lie in order of appearance
    alpha, beta = tensor(state["tag_alpha"][by_tag]), tensor(state["tag_beta"][by_tag])
    return oracle.tag_scores(d, class_of, 6, tau, alpha, beta).numpy()


def thresholds_of(model):
    state = inside(model)
    return state["tag_threshold"][np.argsort(state["class_labels"])]


@pytest.mark.parametrize("metric, fine", product(METRICS, (0, 4)))
def test_probabilities_of_tags(metric, fine):
    model, _, _ = tagged(metric, fine=fine)
    x, mask, _ = queries()
    for given in (None, mask):
        z = scores_of(model, metric, x, given)
        np.testing.assert_allclose(proba_of(model, batch(x, mask=given)), 1 / (1 + np.exp(-z)), rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_strategies(metric):
    model, x, _ = tagged(metric)
    z = scores_of(model, metric, x)
    p, rows = 1 / (1 + np.exp(-z)), batch(x)
    assert (tags_of(model, rows, "gap") == oracle.by_gap(p)).all()
    for top_k in (1, 3, 6):
        assert (tags_of(model, rows, "top_k", top_k) == oracle.by_rank(p, top_k)).all()
    yes = z >= thresholds_of(model)
    assert (tags_of(model, rows, "adaptive") == yes).mean() > 0.999  # a threshold may lie on a score


def best_cuts(z, truth, give):
    """Intervals (low, high] of thresholds whose F1 is within `give` of the best: the library counts in
    bins."""
    by_score = np.argsort(-z, axis=None)
    hits = np.cumsum(np.ravel(truth)[by_score])
    value = 2 * hits / (np.arange(1, z.size + 1) + truth.sum())
    cuts = np.ravel(z)[by_score]
    best = value >= value.max() - give
    return np.c_[np.r_[cuts[1:], -np.inf], cuts][best]


@pytest.mark.parametrize("metric", METRICS)
def test_adaptive_thresholds_are_those_of_the_best_f1(metric):
    """Each tag's own threshold of the best F1, leaning by n / (n + 1000) away from that of the best pooled
    micro-F1."""
    model, x, tags = tagged(metric, n=3000)
    z, found = scores_of(model, metric, x), thresholds_of(model)
    pooled = best_cuts(z, tags, 0.001)
    for tag in range(6):
        share = tags[:, tag].sum() / (tags[:, tag].sum() + 1000)
        own = best_cuts(z[:, tag], tags[:, tag], 0.001)
        low = share * own[:, 0].min() + (1 - share) * pooled[:, 0].min()
        high = share * own[:, 1].max() + (1 - share) * pooled[:, 1].max()
        assert low <= found[tag] <= high
        assert high - low < 0.25 * z[:, tag].std()  # the bounds say something
