# SPDX-License-Identifier: Apache-2.0
"""Losses, gradients and Adam steps of the core against torch.autograd and torch.optim.Adam in float64."""

from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pytest
from scipy import special

torch = pytest.importorskip("torch")

import oracle  # noqa: E402
from core_model import batch, get, inside, make  # noqa: E402
from oracle import tensor  # noqa: E402

METRICS = ("cosine", "euclidean", "l1")
SOFT = ("scaled", "softmax_scaled")
N, DIM = 40, 5
BETA_1 = 0.9


@dataclass
class Case:
    """A fitted model and the rows of its gradient steps."""

    task: str
    metric: str
    soft: str = "scaled"
    weighted: bool = False  # rows have weights
    masked: bool = False
    feature_weights: bool = False
    params: dict = field(default_factory=dict)
    n_tags: int = 3

    def __post_init__(self):
        self.rng = np.random.default_rng(
            [METRICS.index(self.metric), SOFT.index(self.soft), len(self.params)]
        )
        self.params = {"distance": self.metric, "soft_type": self.soft, "learning_rate": 0.02} | self.params
        if self.task == "regressor":
            self.params = {"k_targets": 3, "k_features": 4} | self.params
        else:
            self.params = {"k_init": 4} | self.params
        self.model = make(self.task, **self.params)
        if self.feature_weights:
            self.model.set_feature_weights(np.arange(1.0, DIM + 1))
        self.model.fit(batch(**self.rows(fit=True)), max_iters=2)
        self.begin = inside(self.model)

    def rows(self, fit=False):
        """Rows with what the case needs; the targets follow the rows, so that there is something to learn."""
        rng, n = self.rng, 120 if fit else N
        group = rng.integers(0, 3, n)
        x = rng.normal(size=(n, DIM)) + 1.5 * np.eye(3, DIM)[group]
        given = {"x": x}
        if self.task == "classifier":
            given["labels"] = np.where(rng.random(n) < 0.2, rng.integers(0, 3, n), group) * 10 - 5
        elif self.task == "multilabel":
            given["tags"] = (
                rng.random((n, self.n_tags)) < 0.15 + 0.6 * np.eye(3, self.n_tags)[group]
            ).astype(int)
        elif self.task == "regressor":
            given["targets"] = np.c_[3 * x[:, 0] + x[:, 1] ** 2, 100 - 40 * x[:, 2]] + rng.normal(size=(n, 2))
        if self.weighted:
            given["weight"] = rng.choice([0.0, 0.5, 1.0, 3.0], n)
        if self.masked:
            mask = rng.choice([0.0, 0.25, 1.0], (n, DIM), p=[0.3, 0.2, 0.5])
            mask[:, [1, 3]] = np.maximum(
                mask[:, [1, 3]], 0.25
            )  # of one feature alone every cosine is 1 or -1: a tie
            mask[:2] = 0  # rows without anything
            given["mask"] = mask
        return given

    @property
    def top_k_train(self):
        asked = self.params.get("top_k_train", "auto")
        top_k = self.params.get("top_k", 5)
        if asked != "auto":
            return asked
        return top_k if top_k == -1 or self.task == "regressor" else max(top_k, 8)

    def leaves(self, state):
        """What a step can learn, as tensors that require a gradient, by the names of the file."""
        names = ["centroids", "theta", "bias", "feature_weights", "centroid_targets", "tag_alpha", "tag_beta"]
        leaf = {name: tensor(state[name], grad=True) for name in names if name in state}
        if self.task in ("classifier", "regressor") and not self.params.get("prototype_scale"):
            leaf["theta"] = tensor(state["theta"][0], grad=True)  # one for all
        return leaf

    def class_of(self, state):
        return np.repeat(np.arange(len(state["class_labels"])), np.diff(state["class_begin"]))

    def loss(self, state, rows, leaf, shift=None, allowed=None):
        """The loss of the documents on these rows."""
        p, metric, soft = self.params, self.metric, self.soft
        scale = self.model.describe()["scale"]
        c, weights = leaf["centroids"], leaf.get("feature_weights")
        class_of, u = self.class_of(state), rows.get("weight")
        d = oracle.distances(metric, tensor(rows["x"]), c, weights, rows.get("mask"))
        tau = p.get("temperature", 1.0) * scale * torch.exp(leaf["theta"])
        routing = {"power": oracle.power_of(metric, p.get("idw_power")), "scale": scale, "tau": tau}
        routing |= {"bias": leaf["bias"] if p.get("prototype_scale") else 0.0, "shift": shift}
        if self.task == "classifier":
            y = np.argmax(rows["labels"][:, None] == state["class_labels"], axis=1)
            same = torch.tensor(y[:, None] == class_of)
            chosen = oracle.candidates(d, self.top_k_train, allowed) | oracle.nearest_of(d, same)
            r = oracle.shares(soft, d, chosen, **routing)
            sums = oracle.class_sums(r, class_of, len(state["class_labels"]))
            value = oracle.cross_entropy(sums, y, u, p.get("label_smoothing", 0.0))
        elif self.task == "regressor":
            r = oracle.shares(soft, d, oracle.candidates(d, self.top_k_train), **routing)
            value = oracle.squared_error(
                r, leaf["centroid_targets"], rows["targets"], state["train.target_std"], u
            )
        elif self.task == "multilabel":
            z = oracle.tag_scores(d, class_of, self.n_tags, tau[0], leaf["tag_alpha"], leaf["tag_beta"])
            asl = p.get("asl_gamma_pos", 1.0), p.get("asl_gamma_neg", 4.0), p.get("asl_clip", 0.05)
            each = oracle.asymmetric(
                torch.sigmoid(z), torch.tensor(rows["tags"][:, state["class_labels"]] == 1), *asl
            )
            value = oracle.weighted_mean(each.sum(1), u)
        else:
            value = oracle.weighted_mean(d.min(1).values, u)
        if p.get("l2_reg"):
            value = value + p["l2_reg"] * ((c - tensor(self.begin["centroids"])) ** 2).sum(1).mean()
        if p.get("diversity_reg"):
            value = value + p["diversity_reg"] * oracle.diversity(metric, c, class_of, scale, weights)
        return value


def near(found, expected, what, tolerance=1e-9):
    expected = np.asarray(expected, dtype=np.float64)
    size = np.abs(expected).max(initial=0) or 1.0
    worst = np.abs(np.asarray(found) - expected).max(initial=0) / size
    assert worst <= tolerance, f"{what}: {worst:.3g} of the largest, {size:.3g}"


def two_steps(case):
    """Two gradient steps; the second, from a state in which everything has moved, is compared as a whole."""
    case.model.gradient_step(batch(**case.rows()))
    before = inside(case.model)
    rows = case.rows()
    found = case.model.gradient_step(batch(**rows))
    after = inside(case.model)

    leaf = case.leaves(before)
    loss = case.loss(before, rows, leaf)
    loss.backward()
    assert found == pytest.approx(loss.item(), rel=1e-9)
    near(get(case.model, "centroid_gradients"), leaf["centroids"].grad, "centroids")

    moments = {"theta": "theta", "bias": "bias", "centroid_targets": "targets", "feature_weights": "weights"}
    moments |= {"tag_alpha": "alpha", "tag_beta": "beta"}
    compared = {"centroids"}
    for name, moment in moments.items():
        moment = f"adam.{moment}.m"
        if moment in after and name in leaf and leaf[name].grad is not None:
            found = (after[moment] - BETA_1 * before[moment]) / (1 - BETA_1)
            expected = leaf[name].grad.numpy()
            if name == "centroid_targets":  # moments are in units of the targets' spread
                expected = expected * before["train.target_std"]
            if expected.ndim == 0:
                found = found[0]
            near(found, expected, name, 1e-8)
            compared.add(name)
    return compared


def cases(task, soft=SOFT):
    kinds = {
        "plain": (False, False),
        "weighted and masked": (True, False),
        "weighted features": (False, True),
    }
    return [
        pytest.param(task, metric, s, *kinds[rows], id=f"{metric}-{s}-{rows}")
        for metric, s, rows in product(METRICS, soft, kinds)
    ]


def learned(soft):
    return {"theta"} if soft == "softmax_scaled" else set()


@pytest.mark.parametrize("task, metric, soft, rows, features", cases("classifier"))
def test_classifier(task, metric, soft, rows, features):
    case = Case(task, metric, soft, rows, rows, features)
    assert two_steps(case) >= {"centroids"} | learned(soft)


@pytest.mark.parametrize("top_k_train", [1, 3, 12, "auto"])
@pytest.mark.parametrize("soft", SOFT)
def test_classifier_candidates(soft, top_k_train):
    two_steps(Case("classifier", "euclidean", soft, params={"top_k_train": top_k_train, "top_k": 2}))


@pytest.mark.parametrize("top_k", [-1, 10])
def test_auto_candidates_follow_top_k(top_k):
    two_steps(Case("classifier", "euclidean", params={"top_k": top_k}))


@pytest.mark.parametrize("metric, soft", [*product(METRICS, SOFT)])
@pytest.mark.parametrize("top_k_train", [1, 3, 12])
def test_classifier_label_smoothing(metric, soft, top_k_train):
    two_steps(Case("classifier", metric, soft, params={"label_smoothing": 0.1, "top_k_train": top_k_train}))


@pytest.mark.parametrize("metric", METRICS)
def test_classifier_scale_and_bias_of_each_prototype(metric):
    case = Case(
        "classifier", metric, "softmax_scaled", True, params={"prototype_scale": True, "temperature": 0.5}
    )
    assert two_steps(case) >= {"theta", "bias"}


def test_classifier_power_and_temperature():
    two_steps(Case("classifier", "euclidean", "scaled", params={"idw_power": 2.5}))
    two_steps(Case("classifier", "euclidean", "softmax_scaled", params={"temperature": 0.3}))


@pytest.mark.parametrize("task", ["classifier", "regressor", "multilabel", "clusterer"])
@pytest.mark.parametrize("metric", METRICS)
def test_regularisers(task, metric):
    two_steps(Case(task, metric, params={"l2_reg": 0.7, "diversity_reg": 0.4}))
    two_steps(Case(task, metric, feature_weights=True, params={"diversity_reg": 0.4}))


@pytest.mark.parametrize("task", ["classifier", "regressor", "multilabel", "clusterer"])
@pytest.mark.parametrize("metric", METRICS)
def test_learned_feature_weights(task, metric):
    case = Case(task, metric, "softmax_scaled", True, True, params={"auto_feature_weights": True})
    assert "feature_weights" in two_steps(case)


@pytest.mark.parametrize("task, metric, soft, rows, features", cases("regressor"))
def test_regressor(task, metric, soft, rows, features):
    case = Case(task, metric, soft, rows, rows, features)
    assert two_steps(case) >= {"centroids", "centroid_targets"} | learned(soft)


@pytest.mark.parametrize("top_k", [1, 12, -1])
def test_regressor_candidates(top_k):
    two_steps(Case("regressor", "euclidean", "softmax_scaled", params={"top_k": top_k}))


def test_regressor_candidates_when_asked():
    """Without being asked the regressor trains with the top_k that answer."""
    two_steps(Case("regressor", "euclidean", "softmax_scaled", params={"top_k_train": 9}))


def test_regressor_scale_and_bias_of_each_prototype():
    case = Case("regressor", "euclidean", "softmax_scaled", params={"prototype_scale": True, "top_k": -1})
    assert two_steps(case) >= {"theta", "bias"}


@pytest.mark.parametrize("task, metric, soft, rows, features", cases("multilabel", SOFT[:1]))
def test_multilabel(task, metric, soft, rows, features):
    case = Case(task, metric, soft, rows, rows, features)
    assert two_steps(case) >= {"centroids", "tag_alpha", "tag_beta"}


@pytest.mark.parametrize("gamma_neg, gamma_pos, clip", [(0, 0, 0), (2, 0, 0.2), (1, 3, 0), (0.5, 0.5, 0.05)])
def test_multilabel_settings_of_the_loss(gamma_neg, gamma_pos, clip):
    params = {"asl_gamma_neg": gamma_neg, "asl_gamma_pos": gamma_pos, "asl_clip": clip}
    two_steps(Case("multilabel", "euclidean", params=params))


@pytest.mark.parametrize("task, metric, soft, rows, features", cases("clusterer", SOFT[:1]))
def test_clusterer(task, metric, soft, rows, features):
    two_steps(Case(task, metric, soft, rows, rows, features))


# ---- the first step ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["classifier", "regressor"])
def test_theta_and_bias_begin_at_0(task):
    case = Case(task, "euclidean", "softmax_scaled", params={"prototype_scale": True})
    rows = case.rows()
    found = case.model.gradient_step(batch(**rows))
    state = dict(case.begin, theta=np.zeros_like(case.begin["theta"]), bias=np.zeros_like(case.begin["bias"]))
    y = rows.get("targets", np.zeros((N, 1)))
    state["train.target_std"] = y.std(0)
    assert found == pytest.approx(case.loss(state, rows, case.leaves(state)).item(), rel=1e-9)


def beta_of(scores, u, share):
    """By tag: where the weighted mean of the probabilities is the share."""
    low, high = np.full(len(share), -1000.0), np.full(len(share), 1000.0)
    for _ in range(100):
        middle = (low + high) / 2
        above = u @ special.expit(scores + middle) > share
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return middle


def slope_of(scores, u, tags):
    """Of all tags together, each with its best beta: where the logistic loss is least, for Platt's targets."""
    n, rows = len(u), len(u) * (u @ tags)
    targets = np.where(tags > 0, (rows + 1) / (rows + 2), 1 / (n - rows + 2))
    low, high = np.log(1 / 16), np.log(64)
    for _ in range(14):
        slope = np.exp((low + high) / 2)
        p = special.expit(slope * scores + beta_of(slope * scores, u, u @ targets))
        if (u @ ((p - targets) * scores)).sum() > 0:
            high = np.log(slope)
        else:
            low = np.log(slope)
    return slope


@pytest.mark.parametrize("metric", METRICS)
def test_tags_begin_at_the_best_slope_and_at_their_prior(metric):
    case = Case("multilabel", metric, weighted=True)
    rows = case.rows()
    found = case.model.gradient_step(batch(**rows))
    class_of, scale = case.class_of(case.begin), case.model.describe()["scale"]
    d = oracle.distances(metric, tensor(rows["x"]), tensor(case.begin["centroids"]))
    best = oracle.tag_scores(d, class_of, 3, scale, 1.0, 0.0).numpy()
    u = rows["weight"] / rows["weight"].sum()
    tags = rows["tags"][:, case.begin["class_labels"]]
    slope = slope_of(best, u, tags)
    theta = np.full_like(case.begin["theta"], -np.log(slope))
    beta = beta_of(slope * best, u, u @ tags)
    state = dict(case.begin, theta=theta, tag_alpha=np.ones(3), tag_beta=beta)
    # the prior is found by steps of its own: not to the last digit
    assert found == pytest.approx(case.loss(state, rows, case.leaves(state)).item(), rel=1e-6)


# ---- Adam --------------------------------------------------------------------------------------------------


def adam_groups(state, leaf):
    """Prototypes learn in units of the standard deviation of all their coordinates, the rest in units of 1
    (targets: of the targets' spread, see `follow`)."""
    units = {"centroids": state["centroids"].std()}
    return [{"params": [value], "lr": 1.0, "unit": units.get(name, 1.0)} for name, value in leaf.items()]


def follow(case, state, rows, steps, schedule, learns):
    """Prototypes after `steps` steps of torch.optim.Adam on these rows, and everything else that learned."""
    leaf = case.leaves(state)
    if "centroid_targets" in learns:
        std = tensor(state["train.target_std"])
        standard = (leaf["centroid_targets"].detach() / std).requires_grad_()
    learned = {n: standard if n == "centroid_targets" else leaf[n] for n in learns}
    optimizer = torch.optim.Adam(adam_groups(state, learned))
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule(step) * group["unit"]
        optimizer.zero_grad()
        if "centroid_targets" in learns:
            leaf["centroid_targets"] = standard * std
        loss = case.loss(state, rows, leaf)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        with torch.no_grad():
            if "feature_weights" in learns:
                leaf["feature_weights"].clamp_(min=1e-3)
                leaf["feature_weights"].mul_(DIM / leaf["feature_weights"].sum())
            if case.metric == "cosine" and case.params.get("normalize_prototypes", True):
                w = leaf["feature_weights"].detach() if "feature_weights" in leaf else torch.ones(DIM)
                leaf["centroids"].div_((w * leaf["centroids"] ** 2).sum(1, keepdim=True).sqrt())
    if "centroid_targets" in learns:
        leaf["centroid_targets"] = (standard * std).detach()
    return {name: leaf[name].detach().numpy() for name in learns}, losses


LEARNS = {
    "classifier": ["centroids", "theta"],
    "regressor": ["centroids", "theta", "centroid_targets"],
    "clusterer": ["centroids"],
}


def at_the_start(case, rows):
    """The state as the first gradient step finds it."""
    state = dict(case.begin, theta=np.zeros_like(case.begin["theta"]), bias=np.zeros_like(case.begin["bias"]))
    if case.task == "regressor":
        u = rows.get("weight", np.ones(N))
        mean = u @ rows["targets"] / u.sum()
        state["train.target_std"] = np.sqrt(u @ (rows["targets"] - mean) ** 2 / u.sum())
    return state


@pytest.mark.parametrize("task, metric", [*product(LEARNS, METRICS)])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_steps_are_adam(task, metric, weighted):
    case = Case(task, metric, "softmax_scaled", weighted, params={"top_k_train": 6})
    rows = case.rows()
    state = at_the_start(case, rows)
    expected, losses = follow(case, state, rows, 12, lambda step: 0.02, LEARNS[task])
    found = [case.model.gradient_step(batch(**rows)) for _ in losses]
    np.testing.assert_allclose(found, losses, rtol=1e-7)
    after = inside(case.model)
    for name, value in expected.items():
        near(after[name][0] if value.ndim == 0 else after[name], value, name, 1e-7)


@pytest.mark.parametrize("metric", METRICS)
def test_feature_weights_learn_and_keep_their_sum(metric):
    case = Case("classifier", metric, "scaled", masked=True, params={"auto_feature_weights": True})
    rows = case.rows()
    expected, losses = follow(
        case, at_the_start(case, rows), rows, 12, lambda step: 0.02, ["centroids", "feature_weights"]
    )
    for _ in losses:
        case.model.gradient_step(batch(**rows))
    for name, value in expected.items():
        near(inside(case.model)[name], value, name, 1e-7)


def test_prototypes_for_text_keep_their_length():
    case = Case("classifier", "cosine", params={"normalize_prototypes": False})
    rows = case.rows()
    expected, losses = follow(case, at_the_start(case, rows), rows, 5, lambda step: 0.02, ["centroids"])
    for _ in losses:
        case.model.gradient_step(batch(**rows))
    near(get(case.model, "centroids"), expected["centroids"], "centroids", 1e-8)


def test_frozen_prototypes_have_no_gradient_and_stay():
    case = Case("classifier", "euclidean")
    frozen = (np.arange(12) % 3 == 0).astype(np.uint8)
    case.model.freeze(frozen)
    rows = case.rows()
    state = at_the_start(case, rows)
    leaf = case.leaves(state)
    case.loss(state, rows, leaf).backward()
    case.model.gradient_step(batch(**rows))
    expected = np.where(frozen[:, None] == 1, 0, leaf["centroids"].grad.numpy())
    near(get(case.model, "centroid_gradients"), expected, "gradients")
    moved = np.abs(get(case.model, "centroids") - case.begin["centroids"]).max(1) > 0
    assert not moved[frozen == 1].any() and moved[frozen == 0].any()


@pytest.mark.parametrize("task, steps", [*product(LEARNS, [30]), ("classifier", 520)])
def test_finetune_warms_up_and_follows_a_cosine(task, steps):
    """One batch an epoch: the order of rows does not matter. A tenth of all steps warms up when that is less
    than 50."""
    case = Case(task, "euclidean", "softmax_scaled", params={"finetune_batch_size": N})
    rows = case.rows()

    def schedule(step):
        return 0.02 * min(1.0, (step + 1) / min(50, steps // 10)) * 0.5 * (1 + np.cos(np.pi * step / steps))

    expected, _ = follow(case, at_the_start(case, rows), rows, steps, schedule, LEARNS[task])
    case.model.finetune(batch(**rows), epochs=steps)
    after = inside(case.model)
    for name, value in expected.items():
        near(after[name][0] if value.ndim == 0 else after[name], value, name, 1e-6)


# ---- sampled classes ---------------------------------------------------------------------------------------


def many_classes(**params):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(600, DIM)) * 2
    y = np.argmin(((x[:, None] - x[None, :30]) ** 2).sum(2), axis=1)
    params = {"k_init": 2, "distance": "euclidean", "top_k_train": 60, "learning_rate": 0.02, **params}
    case = Case.__new__(Case)
    case.task, case.metric, case.soft = "classifier", "euclidean", params.get("soft_type", "scaled")
    case.params = params
    case.model = make("classifier", **params)
    case.model.fit(batch(x, labels=y), max_iters=3)
    case.begin = inside(case.model)
    in_batch = np.flatnonzero(y < 4)[:24]
    return case, {"x": x[in_batch], "labels": y[in_batch]}


@pytest.mark.parametrize("soft", SOFT)
def test_sampling_every_class_is_the_full_loss(soft):
    case, rows = many_classes(soft_type=soft, negative_sampling=30)
    state = at_the_start(case, rows)
    leaf = case.leaves(state)
    loss = case.loss(state, rows, leaf)
    loss.backward()
    assert case.model.gradient_step(batch(**rows)) == pytest.approx(loss.item(), rel=1e-9)
    near(get(case.model, "centroid_gradients"), leaf["centroids"].grad, "centroids")


@pytest.mark.parametrize("soft", SOFT)
def test_sampled_classes_are_corrected_by_their_share(soft):
    """The gradient tells which classes were sampled; log(N / S) is added to their logits."""
    case, rows = many_classes(soft_type=soft, negative_sampling=6)
    state = at_the_start(case, rows)
    class_of, present = case.class_of(state), np.unique(rows["labels"])
    found = case.model.gradient_step(batch(**rows))
    gradient = get(case.model, "centroid_gradients")
    sampled = np.setdiff1d(class_of[np.abs(gradient).max(1) > 0], present)
    assert len(sampled) == 6
    active = np.isin(class_of, np.union1d(present, sampled))
    shift = tensor(np.where(np.isin(class_of, sampled), np.log((30 - len(present)) / 6), 0.0))
    leaf = case.leaves(state)
    loss = case.loss(state, rows, leaf, shift=shift, allowed=torch.tensor(active))
    loss.backward()
    assert found == pytest.approx(loss.item(), rel=1e-9)
    near(gradient, leaf["centroids"].grad, "centroids")
    still = np.abs(get(case.model, "centroids") - case.begin["centroids"]).max(1) == 0
    assert (still == ~active).all()


def test_every_class_is_sampled_as_often():
    counts = np.zeros(30)
    draws = 200
    for seed in range(draws):
        if seed % 50 == 0:  # a step each from many seeds, few models
            case, rows = many_classes(negative_sampling=6, random_state=seed)
            class_of, present = case.class_of(case.begin), np.unique(rows["labels"])
        case.model.gradient_step(batch(**rows))
        gradient = get(case.model, "centroid_gradients")
        counts[np.setdiff1d(class_of[np.abs(gradient).max(1) > 0], present)] += 1
    others = np.setdiff1d(np.arange(30), present)
    expected = draws * 6 / len(others)
    deviation = np.sqrt(expected * (1 - 6 / len(others)))
    assert counts.sum() == draws * 6
    assert np.abs(counts[others] - expected).max() < 4.5 * deviation


# ---- the asymmetric loss of a probability ------------------------------------------------------------------


@pytest.mark.parametrize("gamma_pos, gamma_neg, clip", [(1, 4, 0.05), (0, 0, 0), (2.5, 0.5, 0.3), (0, 3, 0)])
def test_asymmetric_loss(gamma_pos, gamma_neg, clip):
    from fast_kmeans import _core

    rng = np.random.default_rng(0)
    p, positive = rng.uniform(0.001, 0.999, 400), (rng.random(400) < 0.5).astype(np.uint8)
    p = p[np.abs(p - clip) > 1e-6]
    positive = positive[: len(p)]
    leaf = tensor(p, grad=True)
    expected = oracle.asymmetric(leaf, torch.tensor(positive == 1), gamma_pos, gamma_neg, clip)
    expected.sum().backward()
    loss, gradient = np.empty(len(p)), np.empty(len(p))
    _core.asymmetric_loss(p, positive, gamma_pos, gamma_neg, clip, loss, gradient)
    np.testing.assert_allclose(loss, expected.detach(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(gradient, leaf.grad, rtol=1e-10, atol=1e-13)
