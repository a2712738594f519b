# SPDX-License-Identifier: Apache-2.0
"""The oracle checks itself: against scipy, by hand, and against the derivatives that are written down for
it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
spatial = pytest.importorskip("scipy.spatial.distance")

import oracle  # noqa: E402
from oracle import tensor  # noqa: E402

RNG = np.random.default_rng(1)
X, C = RNG.normal(size=(9, 4)), RNG.normal(size=(5, 4))
NAMES = {"cosine": "cosine", "euclidean": "sqeuclidean", "l1": "cityblock"}


@pytest.mark.parametrize("metric", NAMES)
def test_distances_are_scipys(metric):
    np.testing.assert_allclose(
        oracle.distances(metric, tensor(X), tensor(C)), spatial.cdist(X, C, NAMES[metric]), rtol=1e-12
    )


@pytest.mark.parametrize("metric", NAMES)
def test_a_masked_feature_is_as_good_as_absent(metric):
    mask = np.ones_like(X)
    mask[:, 2] = 0
    kept = [0, 1, 3]
    full = oracle.distances(metric, tensor(np.where(mask > 0, X, np.nan)), tensor(C), mask=mask)
    part = oracle.distances(metric, tensor(X[:, kept]), tensor(C[:, kept]))
    np.testing.assert_allclose(full, part * (1 if metric == "cosine" else 4 / 3), rtol=1e-12)
    assert (oracle.distances(metric, tensor(X), tensor(C), mask=np.zeros_like(X)) == 0).all()


def test_cosine_of_nothing_is_0():
    assert (oracle.distances("cosine", tensor(np.zeros((1, 4))), tensor(C)) == 1).all()


def test_shares_by_hand():
    d = tensor([[1.0, 2.0, 2.0, 4.0]])
    three = oracle.candidates(d, 3)
    assert three.tolist() == [[True, True, True, False]]
    assert oracle.candidates(d, 2).tolist() == [[True, True, False, False]]  # of equals, the first
    assert oracle.shares("hard", d, three).tolist() == [[1, 0, 0, 0]]
    np.testing.assert_allclose(oracle.shares("mean", d, three), [[1 / 3, 1 / 3, 1 / 3, 0]])
    np.testing.assert_allclose(
        oracle.shares("scaled", d, three, power=4, scale=0.0), [[16 / 18, 1 / 18, 1 / 18, 0]], rtol=1e-12
    )
    soft = np.exp([-0.5, -1.0, -1.0])
    np.testing.assert_allclose(
        oracle.shares("softmax_scaled", d, three, tau=2.0)[0, :3], soft / soft.sum(), rtol=1e-12
    )


def test_the_derivative_of_cross_entropy_is_q_minus_q_of_the_class():
    logit = tensor(RNG.normal(size=(3, 6)), grad=True)
    class_of, y = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 2])
    q = torch.softmax(logit, 1)
    oracle.cross_entropy(oracle.class_sums(q, class_of, 3), y).backward()
    q = q.detach().numpy()
    own = q * (class_of == y[:, None])
    np.testing.assert_allclose(logit.grad, (q - own / own.sum(1, keepdims=True)) / 3, rtol=1e-10)


def test_the_derivatives_of_the_asymmetric_loss():
    p, positive = RNG.uniform(0.1, 0.9, 20), RNG.random(20) < 0.5
    leaf = tensor(p, grad=True)
    oracle.asymmetric(leaf, torch.tensor(positive), 2.0, 3.0, 0.05).sum().backward()
    moved = p - 0.05
    there = (1 - p) * (2 * np.log(p) - (1 - p) / p)
    absent = moved**2 * (moved / (1 - moved) - 3 * np.log(1 - moved))
    np.testing.assert_allclose(leaf.grad, np.where(positive, there, absent), rtol=1e-10)


@pytest.mark.parametrize("metric", ["euclidean", "l1"])
def test_the_derivative_by_feature_weights(metric):
    """dd/dw_d = (D / A)(m_d gap_d - m_d d / D)."""
    w, mask = np.array([0.5, 1.5, 1.0, 1.0]), RNG.uniform(0.2, 1, (1, 4))
    leaf = tensor(w, grad=True)
    d = oracle.distances(metric, tensor(X[:1]), tensor(C[:1]), leaf, mask)[0, 0]
    d.backward()
    gap = np.abs(X[0] - C[0]) if metric == "l1" else (X[0] - C[0]) ** 2
    expected = 4 / (w * mask).sum() * (mask[0] * gap - mask[0] * d.item() / 4)
    np.testing.assert_allclose(leaf.grad, expected, rtol=1e-10)


def test_a_moving_average_that_never_forgets_is_the_mean():
    c, age, mask = np.zeros((1, 4)), np.zeros((1, 4)), np.ones_like(X)
    for part in (slice(0, 3), slice(3, 9)):
        n, mean = oracle.sums(
            X[part], np.ones(len(X[part])), mask[part], np.zeros(len(X[part]), dtype=int), 1
        )
        c, age = oracle.ema(c, age, n, mean)
    np.testing.assert_allclose(c[0], X.mean(0), rtol=1e-12)
    assert (age == 9).all()


def test_importance_by_hand():
    """Feature 0 tells the classes apart, feature 1 does not; feature 2 does by half."""
    x = np.array([[0, 0, 0], [0, 2, 1], [4, 0, 1], [4, 2, 2]], dtype=float)
    w = oracle.feature_importance(x, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(w, 3 * np.array([1, 1e-3, 0.5]) / 1.501, rtol=1e-12)


def test_answers_by_gap_and_rank():
    p = np.array([[0.9, 0.2, 0.8], [0.1, 0.1, 0.1], [0.5, 0.4, 0.1]])
    assert oracle.by_gap(p).tolist() == [[1, 0, 1], [1, 0, 0], [1, 1, 0]]
    assert oracle.by_rank(p, 2).tolist() == [[1, 0, 1], [1, 1, 0], [1, 1, 0]]


def test_diversity_by_hand():
    c = tensor([[0.0], [1.0], [5.0], [2.0]])
    # pairs of a class: (0, 1) with d = 1, (2, 3) with d = 9
    value = oracle.diversity("euclidean", c, [0, 0, 1, 1], 1.0)
    assert value.item() == pytest.approx((0.5**2 + 0.1**2) / 2)
