# SPDX-License-Identifier: Apache-2.0
"""Tensors in, tensors out; gradients, state dicts and other manners of torch; the loss by itself."""

import io
import math
import subprocess
import sys

import numpy as np
import pytest
from est_data import CLASS, EUCLIDEAN, KINDS, NAMES, NUMBERS, TAGS, X, fitted, unfitted

from fast_kmeans import AsymmetricLoss, FastKMeansClassifier, FastKMeansClusterer, FastKMeansRegressor

torch = pytest.importorskip("torch")

TX = torch.from_numpy(X)


def target(task):
    y = KINDS[task][1]
    return None if y is None else torch.from_numpy(y)


def fit_torch(task, dtype=None, **arguments):
    return unfitted(task, **arguments).fit(TX if dtype is None else TX.to(dtype), target(task))


def is_tensor(value, dtype):
    return isinstance(value, torch.Tensor) and value.dtype == dtype and value.device.type == "cpu"


@pytest.mark.parametrize("task", KINDS)
def test_tensors_in_tensors_out_and_the_same_numbers(task):
    model, other = fit_torch(task), fitted(task)
    assert is_tensor(model.centroids, torch.float32)
    assert is_tensor(model.centroid_weights, torch.float32) and is_tensor(
        model.feature_weights, torch.float32
    )
    assert is_tensor(model.frozen_mask, torch.bool)
    assert is_tensor(model.transform(TX), torch.float32)
    np.testing.assert_array_equal(model.centroids.numpy(), other.centroids)
    found = model.predict(TX)
    assert isinstance(found, torch.Tensor)
    assert found.dtype == (torch.float32 if task == "regressor" else torch.int64)
    np.testing.assert_allclose(found.numpy(), other.predict(X), rtol=1e-6)
    if hasattr(model, "predict_proba"):
        assert is_tensor(model.predict_proba(TX), torch.float32)
        np.testing.assert_array_equal(model.predict_proba(TX).numpy(), other.predict_proba(X))
    if task == "clusterer":
        assert is_tensor(model.labels_, torch.int64) and is_tensor(model.fit_predict(TX), torch.int64)
    if task in ("classifier", "multilabel"):
        assert is_tensor(model.classes_, torch.int64) and is_tensor(model.centroid_labels, torch.int64)
    if task == "regressor":
        assert is_tensor(model.centroid_targets, torch.float32)
    assert isinstance(model.score(TX, target(task)), float)
    assert isinstance(model.fit_batch(TX, target(task)), float)


@pytest.mark.parametrize("task", KINDS)
def test_answers_follow_the_kind_of_the_question(task):
    model = fit_torch(task)
    assert isinstance(model.predict(X), np.ndarray) and isinstance(model.transform(X), np.ndarray)
    assert isinstance(model.centroids, torch.Tensor)
    model = fitted(task)
    assert isinstance(model.predict(TX), torch.Tensor)
    model.fit_batch(TX, target(task))
    assert isinstance(model.centroids, np.ndarray)  # attributes follow what the model began with


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("task", KINDS)
def test_dtypes_of_rows_and_of_prototypes(task, dtype):
    kind = getattr(torch, dtype)
    model = fit_torch(task, dtype=kind)
    assert is_tensor(model.centroids, torch.float32)
    stored = unfitted(task, dtype=dtype).fit(TX.to(kind), target(task))
    assert is_tensor(stored.centroids, kind)
    assert is_tensor(stored.centroid_weights, torch.float64 if dtype == "float64" else torch.float32)
    if task == "regressor":
        assert stored.predict(TX.to(kind)).dtype == (torch.float64 if dtype == "float64" else torch.float32)


def test_targets_of_a_column_and_labels_of_torch():
    model = unfitted("regressor").fit(TX, torch.from_numpy(NUMBERS).float().unsqueeze(1))
    assert model.predict(TX).shape == (90, 1)
    for labels in (
        torch.from_numpy(CLASS).to(torch.int32),
        torch.from_numpy(CLASS).float(),
        torch.from_numpy(CLASS == 1),
    ):
        model = unfitted("classifier").fit(TX, labels)
        assert model.predict(TX).dtype == {torch.int32: torch.int64, torch.float32: torch.float64}.get(
            labels.dtype, labels.dtype
        )
        assert (model.predict(TX) == labels).float().mean() > 0.9
    names = unfitted("classifier").fit(TX, NAMES.tolist())
    assert (
        isinstance(names.predict(TX), np.ndarray) and names.predict(TX)[0] == NAMES[0]
    )  # no tensors of text
    tags = unfitted("multilabel").fit(TX, torch.from_numpy(TAGS).float())
    assert is_tensor(tags.predict(TX), torch.float32)


def test_rows_are_detached_and_gpus_are_refused():
    rows = TX.clone().requires_grad_()
    model = FastKMeansClusterer(**EUCLIDEAN).fit(rows)
    assert not model.centroids.requires_grad and not model.transform(rows).requires_grad
    with pytest.raises(ValueError, match="X is on meta; this build has no meta backend"):
        model.predict(TX.to("meta"))


# ---- gradients


@pytest.mark.parametrize("task", KINDS)
def test_centroids_carry_the_last_gradient(task):
    model = fit_torch(task, soft_type="softmax_scaled")
    assert model.centroids.grad is None
    kept = model.centroids
    model.fit_batch(TX + 1, target(task), gradient_step=True)
    assert model.centroids is model.centroids and model.centroids is not kept
    gradient = model.centroids.grad
    assert is_tensor(gradient, torch.float32) and gradient.shape == model.centroids.shape
    assert gradient.abs().sum() > 0 and torch.isfinite(gradient).all()
    frozen = torch.arange(len(gradient)) % 2 == 0
    model.freeze_centroids(frozen)
    model.fit_batch(TX + 1, target(task), gradient_step=True)
    assert model.centroids.grad[frozen].abs().sum() == 0 and model.centroids.grad[~frozen].abs().sum() > 0
    model.fit_batch(TX, target(task))
    assert model.centroids.grad is None


def test_the_gradient_is_that_of_the_loss():
    model = FastKMeansClusterer(k_init=3, dtype="float64", **EUCLIDEAN).fit(TX.double(), max_iters=1)
    rows = TX.double() + 0.5
    centroids = model.centroids.clone().requires_grad_()
    loss = model.fit_batch(rows, gradient_step=True)
    expected = torch.cdist(rows, centroids).square().min(dim=1).values.mean()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(model.centroids.grad, centroids.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_gradients_have_the_dtype_of_the_prototypes(dtype):
    model = fit_torch("classifier", dtype=None)
    model = unfitted("classifier", dtype=dtype).fit(TX, target("classifier"))
    model.fit_batch(TX, target("classifier"), gradient_step=True)
    assert model.centroids.grad.dtype == model.centroids.dtype == getattr(torch, dtype)
    assert model.optimizer.param_groups[0]["params"][0] is model.centroids


def test_writing_to_a_tensor_changes_no_model():
    model = fit_torch("classifier", soft_type="softmax_scaled")
    shown = model.centroids
    expected, said = shown.clone(), model.predict(TX)
    shown.zero_()
    assert torch.equal(model.centroids, expected) and model.centroids is model.centroids
    assert torch.equal(model.predict(TX), said)
    with torch.inference_mode():
        model.fit_batch(TX, target("classifier"))
        assert model.centroids is model.centroids
    model.fit_batch(TX, target("classifier"), gradient_step=True)
    with pytest.raises(TypeError, match="item assignment"):  # it would be without effect
        model.optimizer.param_groups[0]["lr"] = 0.5
    model.learning_rate = 0.5
    assert model.optimizer.learning_rate == model.optimizer.param_groups[0]["lr"] == 0.5


# ---- manners


@pytest.mark.parametrize("task", KINDS)
def test_to_train_and_eval(task):
    model = unfitted(task)
    assert (
        model.to("cpu")
        is model.to(torch.device("cpu"))
        is model.train()
        is model.train(False)
        is model.eval()
        is model
    )
    for device in ("cuda", "cuda:0", torch.device("cuda:1")):
        with pytest.raises(RuntimeError, match="this build has no CUDA backend"):
            model.to(device)
    for device in ("gpu", "mps", 0, None):
        with pytest.raises(ValueError, match="device is"):
            model.to(device)


@pytest.mark.parametrize("task", KINDS)
def test_state_dicts_travel_through_torch_save(task):
    model = fit_torch(task)
    model.fit_batch(TX, target(task), gradient_step=True)
    state = model.state_dict()
    assert list(state)[-1] == "model" and all(isinstance(value, torch.Tensor) for value in state.values())
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    other = KINDS[task][0]()
    assert other.load_state_dict(loaded) is None
    torch.testing.assert_close(other.predict(TX), model.predict(TX), rtol=0, atol=0)
    torch.testing.assert_close(other.centroids, model.centroids, rtol=0, atol=0)
    assert other.optimizer.steps == 1
    assert other.fit_batch(TX, target(task), gradient_step=True) == model.fit_batch(
        TX, target(task), gradient_step=True
    )
    torch.testing.assert_close(other.centroids, model.centroids, rtol=0, atol=0)


def test_torch_is_not_imported_for_who_does_not_use_it():
    code = (
        "import sys, sklearn.base, sklearn.metrics; before = set(sys.modules); import fast_kmeans, numpy as np; "
        "m = fast_kmeans.FastKMeansClassifier().fit(np.eye(4), [0, 1, 0, 1]); m.predict(np.eye(4)); m.centroids; "
        "fast_kmeans.AsymmetricLoss()([0.5], [1]); "
        "new = set(sys.modules) - before; "
        "print(sorted(new & {'torch', 'pandas', 'polars', 'pyarrow', 'matplotlib', 'onnx', 'tqdm'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- AsymmetricLoss


def by_hand(p, y, gamma_neg, gamma_pos, clip):
    shifted = (p - clip).clamp(min=0)
    return -(y * (1 - p) ** gamma_pos * p.log() + (1 - y) * shifted**gamma_neg * (1 - shifted).log())


@pytest.mark.parametrize("settings", [(4.0, 1.0, 0.05), (0.0, 0.0, 0.0), (2.0, 0.5, 0.2)])
def test_the_loss_and_its_gradient_against_autograd(settings):
    generator = torch.Generator().manual_seed(1)
    p = torch.rand(40, 5, generator=generator, dtype=torch.float64) * 0.98 + 0.01
    y = (torch.rand(40, 5, generator=generator) < 0.3).double()
    for reduction in ("mean", "sum", "none"):
        ours, theirs = p.clone().requires_grad_(), p.clone().requires_grad_()
        loss = AsymmetricLoss(*settings, reduction=reduction)(ours, y)
        expected = by_hand(theirs, y, *settings)
        expected = {"mean": expected.mean, "sum": expected.sum, "none": lambda e=expected: e}[reduction]()
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-14)
        upstream = torch.randn(loss.shape, generator=generator, dtype=torch.float64)
        loss.backward(upstream)
        expected.backward(upstream)
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)
        found = AsymmetricLoss(*settings, reduction=reduction)(p.numpy(), y.numpy())
        assert isinstance(found, np.ndarray if reduction == "none" else float)
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-12)


def test_the_loss_as_part_of_a_network():
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 4)
    y = torch.from_numpy(TAGS)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = AsymmetricLoss()(torch.sigmoid(layer(TX)), y)
        assert loss.dtype == torch.float32 and loss.ndim == 0
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_loss_checks_its_arguments():
    loss = AsymmetricLoss()
    assert (loss.gamma_neg, loss.gamma_pos, loss.clip, loss.reduction) == (4.0, 1.0, 0.05, "mean")
    assert loss([0.5], [True]) == pytest.approx(0.5 * math.log(2))
    assert loss([[0.05]], [[0]]) == 0 and loss([1.0, 0.0], [1, 0]) == 0
    for wrong in ({"reduction": "max"}, {"gamma_neg": -1}, {"gamma_pos": float("nan")}, {"clip": 1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            AsymmetricLoss(**wrong)
    for p, y in (
        ([1.5], [1]),
        ([-0.1], [0]),
        ([float("nan")], [1]),
        ([0.5], [2]),
        ([0.5, 0.5], [1]),
        (["a"], [1]),
    ):
        with pytest.raises(ValueError):
            loss(p, y)
    assert repr(loss) == "AsymmetricLoss(gamma_neg=4.0, gamma_pos=1.0, clip=0.05, reduction='mean')"


def test_the_quickstart_regressor_of_the_document_is_a_tensor():
    model = FastKMeansRegressor(k_targets="auto", distance="euclidean", soft_type="softmax_scaled")
    y = torch.from_numpy(NUMBERS).float().unsqueeze(1)
    model.fit(TX, y, max_iters=20).finetune(TX, y, epochs=3, early_stopping_rounds=5)
    assert model.predict(TX)[:5].shape == (5, 1)
    assert isinstance(FastKMeansClassifier().fit(TX, CLASS).predict(TX), torch.Tensor)
