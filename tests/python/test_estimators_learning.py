# SPDX-License-Identifier: Apache-2.0
"""Learning calls: fit, fit_batch, partial_fit, finetune, the learning-rate search, importance, freezing; and
that a call that fails changes nothing."""

import inspect
import math
import os
import signal
import threading
import time

import numpy as np
import pytest
from est_data import (
    CLASS,
    EUCLIDEAN,
    KINDS,
    NAMES,
    NUMBERS,
    TAGS,
    X,
    answers,
    assert_same_answers,
    fitted,
    unfitted,
)
from scipy import sparse

from fast_kmeans import (
    FastKMeansClassifier,
    FastKMeansClusterer,
    FastKMeansRegressor,
    FastMultiLabelKMeansClassifier,
)

Y = {task: y for task, (_, y) in KINDS.items()}


@pytest.mark.parametrize("task", KINDS)
def test_signatures_are_the_documented_ones(task):
    def names(method, keyword_only=False):
        parameters = inspect.signature(getattr(KINDS[task][0], method)).parameters.values()
        return [p.name for p in parameters if p.name != "self" and (p.kind is p.KEYWORD_ONLY) is keyword_only]

    data = ["X", "y", "sample_weight", "feature_mask"]
    assert names("fit") == data + ["max_iters", "tol", "eval_set", "eval_fraction", "verbose"]
    assert names("fit_batch") == data + ["gradient_step"]
    assert names("finetune") == data + [
        *("epochs", "eval_set", "eval_fraction", "early_stopping_rounds", "lr", "verbose")
    ]
    assert names("fit", True) == names("finetune", True) == ["callbacks"]
    assert names("find_learning_rate") == names("calculate_feature_importance") == data
    assert names("freeze_centroids") == ["mask"]
    predict = ["X", "strategy", "top_k", "feature_mask"] if task == "multilabel" else ["X", "feature_mask"]
    assert names("predict") == predict
    defaults = inspect.signature(KINDS[task][0].fit).parameters
    assert [defaults[n].default for n in ("max_iters", "tol", "eval_set", "eval_fraction", "verbose")] == [
        *(100, 1e-4, None, 0.0, False)
    ]
    defaults = inspect.signature(KINDS[task][0].finetune).parameters
    assert [defaults[n].default for n in names("finetune")[4:]] == [10, None, 0.0, None, None, False]


# ---- phase 1


@pytest.mark.parametrize("task", KINDS)
def test_fit_gives_the_documented_attributes(task):
    model = unfitted(task)
    for name in (
        "centroids",
        "centroid_weights",
        "frozen_mask",
        "learning_rate_",
        "n_iter_",
        "history_",
        "optimizer",
    ):
        assert not hasattr(model, name), name
    assert model.fit(X, Y[task]) is model
    k = len(model.centroids)
    assert model.centroids.shape == (k, 4) and model.centroids.dtype == np.float32
    assert model.centroid_weights.shape == (k,) and model.centroid_weights.sum() >= 90
    assert model.feature_weights.tolist() == [1.0] * 4
    assert model.frozen_mask.tolist() == [False] * k
    assert model.learning_rate_ is None and model.optimizer is None
    assert model.n_features_in_ == 4 and not hasattr(model, "feature_names_in_")
    assert model.n_iter_ == len(model.history_) >= 1
    assert set(model.history_[0]) == {"phase", "epoch", "loss", "shift", "eval", "lr", "k"}
    assert model.history_[-1]["shift"] < model.history_[0]["shift"] or model.n_iter_ == 1
    assert not hasattr(model, "centroid_feature_weights")
    assert hasattr(model, "centroid_labels") == (task in ("classifier", "multilabel"))
    assert hasattr(model, "centroid_targets") == (task == "regressor")
    assert hasattr(model, "classes_") == (task in ("classifier", "multilabel"))


@pytest.mark.parametrize("task", KINDS)
def test_shown_arrays_stay_the_same_until_the_model_changes_and_cannot_be_written(task):
    model = fitted(task)
    before = model.centroids
    assert model.centroids is before and model.centroid_weights is model.centroid_weights
    with pytest.raises(ValueError, match="read-only"):
        before[0, 0] = 7
    model.fit_batch(X[:20] + 1, None if Y[task] is None else Y[task][:20])
    assert model.centroids is not before and not np.array_equal(model.centroids, before)


def test_fit_respects_max_iters_and_tol():
    assert FastKMeansClusterer(k_init=9, **EUCLIDEAN).fit(X, max_iters=2, tol=0).n_iter_ == 2
    loose = FastKMeansClusterer(k_init=9, **EUCLIDEAN).fit(X, tol=100.0)
    assert loose.n_iter_ < FastKMeansClusterer(k_init=9, **EUCLIDEAN).fit(X, tol=0).n_iter_
    for wrong in (
        {"max_iters": 0},
        {"tol": -1},
        {"tol": float("nan")},
        {"eval_fraction": 1.0},
        {"eval_fraction": -0.1},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            FastKMeansClusterer().fit(X, **wrong)
    for wrong in ({"max_iters": 2.5}, {"max_iters": "2"}, {"tol": "no"}):
        with pytest.raises((TypeError, ValueError)):
            FastKMeansClusterer().fit(X, **wrong)


@pytest.mark.parametrize("task", KINDS)
def test_fit_begins_anew_and_fit_batch_continues(task):
    model = fitted(task)
    model.fit_batch(X, Y[task])
    model.fit(X, Y[task])
    assert_same_answers(model, fitted(task))
    before = model.centroid_weights.sum()
    shift = model.fit_batch(X[:10], None if Y[task] is None else Y[task][:10])
    assert isinstance(shift, float) and shift >= 0
    assert model.centroid_weights.sum() > before


@pytest.mark.parametrize("task", KINDS)
def test_partial_fit_is_fit_batch(task):
    one, other = unfitted(task), unfitted(task)
    for part in (slice(0, 40), slice(40, 90)):
        y = None if Y[task] is None else Y[task][part]
        one.fit_batch(X[part], y)
        assert other.partial_fit(X[part], y) is other
    assert_same_answers(one, other)


def test_sample_weight_counts():
    weight = np.where(CLASS == 0, 5.0, 1.0)
    for model in (FastKMeansClusterer(k_init=1, **EUCLIDEAN), FastKMeansClusterer(k_init=1, **EUCLIDEAN)):
        model.fit(X, None, weight)
        np.testing.assert_allclose(model.centroids[0], np.average(X, axis=0, weights=weight), rtol=1e-5)
        np.testing.assert_allclose(model.centroid_weights, weight.sum(), rtol=1e-6)
    two = FastKMeansClusterer(k_init=1, **EUCLIDEAN).fit(X, sample_weight=2.0)
    np.testing.assert_allclose(two.centroid_weights, 180)
    for wrong in (np.ones(5), -np.ones(90), np.full(90, np.nan), np.zeros(90), np.ones((90, 1, 1))):
        with pytest.raises(ValueError):
            FastKMeansClusterer().fit(X, sample_weight=wrong)


@pytest.mark.parametrize("task", KINDS)
def test_a_mask_hides_values_and_gives_ages_by_coordinate(task):
    mask = np.ones_like(X)
    mask[::3, 1] = 0
    spoiled = X.copy()
    spoiled[::3, 1] = np.nan
    one = unfitted(task).fit(X, Y[task], feature_mask=mask)
    two = unfitted(task).fit(spoiled, Y[task], feature_mask=mask)
    three = unfitted(task, missing="mask").fit(spoiled, Y[task])
    assert_same_answers(one, two)
    assert_same_answers(one, three)
    ages = one.centroid_feature_weights
    assert ages.shape == one.centroids.shape
    assert (ages[:, 1] <= ages[:, 0]).all() and ages[:, 1].sum() < ages[:, 0].sum()
    np.testing.assert_array_equal(one.predict(X, feature_mask=mask), three.predict(spoiled))
    with pytest.raises(ValueError, match="feature_mask"):
        one.fit(X, Y[task], feature_mask=mask[:, :2])
    with pytest.raises(ValueError, match="NaN|nan"):
        one.predict(spoiled)


def test_an_empty_cell_is_a_mask_or_an_error():
    pyarrow = pytest.importorskip("pyarrow")
    columns = X.T.tolist()
    columns[1][4] = None
    table = pyarrow.table(dict(zip("abcd", columns)))
    mask = np.ones_like(X)
    mask[4, 1] = 0
    with pytest.raises(ValueError):
        unfitted("clusterer").fit(table)
    expected = unfitted("clusterer").fit(X, feature_mask=mask).centroids
    for model in (
        unfitted("clusterer").fit(table, feature_mask=mask),
        unfitted("clusterer", missing="mask").fit(table),
    ):
        np.testing.assert_allclose(model.centroids, expected, rtol=1e-6)
        assert model.feature_names_in_.tolist() == list("abcd")


def test_a_mask_of_one_row_stands_for_all():
    hidden = np.array([1, 0, 1, 1])
    model = FastKMeansClusterer(**EUCLIDEAN).fit(X, feature_mask=hidden)
    np.testing.assert_array_equal(
        model.predict(X, feature_mask=hidden), model.predict(X + [0, 99, 0, 0], feature_mask=hidden)
    )


# ---- streams


def test_a_stream_brings_classes_nobody_has_seen():
    model = FastKMeansClassifier(k_init=2, **EUCLIDEAN)
    for name, known in [("eel", ["eel"]), ("cat", ["cat", "eel"]), ("dog", ["cat", "dog", "eel"])]:
        rows = X[NAMES == name]
        model.fit_batch(rows, NAMES[NAMES == name])
        assert model.classes_.tolist() == known
        assert model.predict_proba(X).shape == (90, len(known))
        assert (model.predict(rows) == name).mean() > 0.9
    assert sorted(model.centroid_labels) == ["cat"] * 2 + ["dog"] * 2 + ["eel"] * 2
    best = model.classes_[model.predict_proba(X).argmax(axis=1)]
    np.testing.assert_array_equal(best, model.predict(X))


@pytest.mark.parametrize(
    "labels",
    [
        np.array([-5, 0, 2**40]),
        np.array([1.0, 2.0, 7.0]),
        np.array([3, 1, 2], np.uint8),
        np.array(["z", "a", "m"]),
        np.array(["z", "a", "m\n\\n"], object),
    ],
)
def test_gradient_steps_bring_classes_too(labels):
    y = labels[CLASS]
    model = FastKMeansClassifier(k_init=1, **EUCLIDEAN)
    model.fit_batch(X[CLASS == 0], y[CLASS == 0])
    loss = model.fit_batch(X, y, gradient_step=True)
    assert isinstance(loss, float) and loss > 0
    assert model.classes_.tolist() == sorted(labels.tolist())
    assert model.predict(X).dtype.kind == ("i" if labels.dtype.kind == "u" else labels.dtype.kind)
    assert set(model.predict(X).tolist()) <= set(labels.tolist())


def test_tags_nobody_has_seen():
    model = FastMultiLabelKMeansClassifier(k_init=1, **EUCLIDEAN)
    model.fit_batch(X, TAGS[:, :2])
    assert model.predict(X).shape == (90, 2)
    model.fit_batch(X, TAGS)
    assert model.predict(X).shape == model.predict_proba(X).shape == (90, 4)
    with pytest.raises(ValueError, match="y has 2 tags, the model learned 4"):
        model.fit_batch(X, TAGS[:, :2])
    front = FastMultiLabelKMeansClassifier(k_init=1, **EUCLIDEAN).fit(X, np.pad(TAGS, ((0, 0), (2, 0))))
    plain = FastMultiLabelKMeansClassifier(k_init=1, **EUCLIDEAN).fit(X, TAGS)
    np.testing.assert_allclose(
        front.predict_proba(X)[:, 2:].mean(0), plain.predict_proba(X).mean(0), rtol=0.05
    )
    assert not front.predict_proba(X)[:, :2].any()
    rare = np.pad(TAGS, ((0, 0), (0, 3)))  # tags 4 to 6 never come
    model = FastMultiLabelKMeansClassifier(k_init=1, **EUCLIDEAN).fit(X, rare)
    assert model.classes_.tolist() == list(range(7))
    assert model.predict(X).shape == (90, 7) and not model.predict(X)[:, 4:].any()
    assert not model.predict_proba(X)[:, 4:].any() and model.predict_proba(X)[:, :4].any(axis=0).all()
    assert set(model.centroid_labels.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("task", KINDS)
def test_one_row_at_a_time(task):
    model = unfitted(task)
    for row in range(12):
        model.fit_batch(X[row : row + 1], None if Y[task] is None else Y[task][row : row + 1])
    assert model.predict(X).shape[0] == 90


# ---- phase 2


def badly_fitted(task):
    """Phase 1 on a few rows of each class, so that there is something to gain."""
    few = np.concatenate([np.flatnonzero(CLASS == c)[:4] for c in range(3)])
    return unfitted(task, soft_type="softmax_scaled").fit(X[few], None if Y[task] is None else Y[task][few])


@pytest.mark.parametrize("task", KINDS)
def test_finetuning_lowers_the_loss(task):
    model = badly_fitted(task)
    before = model.centroids
    assert model.finetune(X, Y[task], epochs=12) is model
    lines = [line for line in model.history_ if line["phase"] == "finetune"]
    assert len(lines) == 12 and lines[-1]["loss"] < lines[0]["loss"]
    assert not np.array_equal(model.centroids, before)
    assert 1e-3 <= model.learning_rate_ <= 0.1
    assert model.optimizer.steps == 12 and model.optimizer.learning_rate == model.learning_rate_
    assert model.optimizer.param_groups[0]["lr"] == model.learning_rate_


@pytest.mark.parametrize("task", KINDS)
def test_finetune_with_a_rate_runs_no_search(task):
    model = fitted(task).finetune(X, Y[task], lr=0.02)
    assert model.learning_rate_ is None
    assert {line["phase"] for line in model.history_} == {"fit", "finetune"}
    given = fitted(task, learning_rate=0.02).finetune(X, Y[task])
    assert_same_answers(model, given)
    assert given.optimizer.learning_rate == 0.02


@pytest.mark.parametrize("task", KINDS)
def test_finetune_without_a_rate_searches_first(task):
    by_itself = fitted(task).finetune(X, Y[task], epochs=3)
    by_hand = fitted(task)
    rate = by_hand.find_learning_rate(X, Y[task])
    assert rate == by_hand.learning_rate_ == by_itself.learning_rate_
    assert_same_answers(by_itself, by_hand.finetune(X, Y[task], epochs=3))


@pytest.mark.parametrize("task", KINDS)
def test_the_search_leaves_the_model_as_it_was(task):
    model = fitted(task)
    before = answers(model) | {"centroids": model.centroids}
    rate = model.find_learning_rate(X, Y[task])
    assert isinstance(rate, float) and 1e-3 <= rate <= 0.1
    for name, value in answers(model).items():
        np.testing.assert_array_equal(value, before[name])
    np.testing.assert_array_equal(model.centroids, before["centroids"])
    curve = [line for line in model.history_ if line["phase"] == "learning rate"]
    assert 1 <= len(curve) <= 100 and curve[0]["lr"] == pytest.approx(1e-5)
    assert [line["lr"] for line in curve] == sorted(line["lr"] for line in curve)


@pytest.mark.parametrize("task", KINDS)
def test_the_optimizer_appears_with_gradients_and_goes_with_the_search(task):
    model = fitted(task)
    assert model.optimizer is None
    model.fit_batch(X, Y[task], gradient_step=True)
    assert model.optimizer.steps == 1 and "steps=1" in repr(model.optimizer)
    with pytest.raises(AttributeError):
        model.optimizer.learning_rate = 3
    model.find_learning_rate(X, Y[task])
    assert model.optimizer is None
    model.fit_batch(X, Y[task], gradient_step=True)
    assert model.optimizer.learning_rate == model.learning_rate_
    assert model.fit(X, Y[task]).optimizer is None


@pytest.mark.parametrize("task", KINDS)
def test_gradient_steps_lower_the_loss_of_their_batch(task):
    model = badly_fitted(task)
    losses = [model.fit_batch(X, Y[task], gradient_step=True) for _ in range(30)]
    assert all(math.isfinite(loss) for loss in losses) and losses[-1] < losses[0]


@pytest.mark.parametrize("soft_type", ["hard", "mean"])
@pytest.mark.parametrize("task", KINDS)
def test_hard_routing_has_no_gradients(task, soft_type):
    model = fitted(task, soft_type=soft_type)
    for call in (
        model.finetune,
        model.find_learning_rate,
        lambda X, y: model.fit_batch(X, y, gradient_step=True),
    ):
        with pytest.raises(RuntimeError, match=f"'{soft_type}'"):
            call(X, Y[task])
    assert_same_answers(model, fitted(task, soft_type=soft_type))


@pytest.mark.parametrize("task", KINDS)
def test_phase_2_needs_phase_1(task):
    model = unfitted(task)
    for call in (
        model.finetune,
        model.find_learning_rate,
        lambda X, y: model.fit_batch(X, y, gradient_step=True),
    ):
        with pytest.raises(AttributeError, match="not fitted yet"):
            call(X, Y[task])


def test_finetune_refuses_what_is_not_valid():
    model = fitted("classifier")
    for wrong in (
        *({"lr": 0}, {"lr": -1}, {"lr": 11}, {"epochs": 0}, {"early_stopping_rounds": 0}),
        *({"eval_fraction": 1.5}, {"eval_set": X}, {"eval_set": (X,)}, {"eval_set": (X[:, :2], CLASS)}),
    ):
        with pytest.raises(ValueError, match=next(iter(wrong)).replace("eval_set", "eval")):
            model.finetune(X, CLASS, **wrong)
    with pytest.raises(ValueError, match="label 9 of row 3"):
        model.finetune(X[:4], [0, 1, 2, 9])
    with pytest.raises(ValueError, match="'fox' in row 1"):
        FastKMeansClassifier().fit(X, NAMES).finetune(X[:2], ["cat", "fox"])
    assert_same_answers(model, fitted("classifier"))


# ---- rows to evaluate on


@pytest.mark.parametrize("task", KINDS)
def test_eval_set_and_eval_fraction_score_every_pass(task):
    y = Y[task]
    model = unfitted(task).fit(X, y, eval_set=(X[:30], None if y is None else y[:30]))
    assert all(math.isfinite(line["eval"]) for line in model.history_)
    assert_same_answers_but_thresholds(model, fitted(task))
    held = unfitted(task).fit(X, y, eval_fraction=0.3)
    assert all(math.isfinite(line["eval"]) for line in held.history_)
    assert held.centroid_weights.sum() < model.centroid_weights.sum()
    model.finetune(X, y, eval_set=(X, y, np.ones(90)), epochs=2, lr=0.01)
    assert all(math.isfinite(line["eval"]) for line in model.history_)


def assert_same_answers_but_thresholds(model, other):
    np.testing.assert_array_equal(model.centroids, other.centroids)


def test_eval_set_is_checked():
    with pytest.raises(ValueError, match="eval_set: .*'fox'"):
        FastKMeansClassifier().fit(X, NAMES, eval_set=(X[:1], ["fox"]))
    with pytest.raises(ValueError, match="eval"):
        FastKMeansClassifier().fit(X, CLASS, eval_set=(X[:1], [7]))
    with pytest.raises(ValueError, match="eval_set: .*inconsistent"):
        FastKMeansRegressor().fit(X, NUMBERS, eval_set=(X, NUMBERS[:3]))
    with pytest.raises(ValueError, match="eval_set must be"):
        FastKMeansRegressor().fit(X, NUMBERS, eval_set=X)


@pytest.mark.parametrize("task", KINDS)
def test_early_stopping_keeps_the_best_epoch(task):
    rng = np.random.default_rng(0)
    noise = (X + rng.normal(0, 3, X.shape)).astype(np.float32)
    y = Y[task]
    model = fitted(task).finetune(noise, y, epochs=300, lr=1.0, eval_set=(X, y), early_stopping_rounds=3)
    scores = [line["eval"] for line in model.history_ if line["phase"] == "finetune"]
    assert len(scores) < 300
    assert len(scores) - 1 - int(np.argmax(scores)) == 3


def test_early_stopping_without_rows_holds_some_out():
    model = fitted("regressor").finetune(X, NUMBERS, epochs=5, early_stopping_rounds=5)
    lines = [line for line in model.history_ if line["phase"] == "finetune"]
    assert all(math.isfinite(line["eval"]) for line in lines)
    plain = fitted("regressor").finetune(X, NUMBERS, epochs=5)
    assert all(math.isnan(line["eval"]) for line in plain.history_)


# ---- callbacks and bars


@pytest.mark.parametrize("task", KINDS)
def test_callbacks_see_each_pass_and_may_stop(task):
    seen = []
    model = unfitted(task).fit(X, Y[task], tol=0, max_iters=4, callbacks=seen.append)
    assert [line["epoch"] for line in seen] == list(range(1, len(seen) + 1)) and len(seen) == model.n_iter_
    keys = {"phase", "step", "steps", "epoch", "epochs", "rows", "loss", "shift", "eval", "k"}
    assert set(seen[0]) >= keys and seen[0]["phase"] == "fit" and seen[0]["epochs"] == 4
    stopped = unfitted(task).fit(X, Y[task], tol=0, callbacks=[lambda line: line["epoch"] == 1, seen.append])
    assert stopped.n_iter_ == 1 and stopped.predict(X).shape[0] == 90
    with pytest.raises(TypeError, match="callbacks"):
        unfitted(task).fit(X, Y[task], callbacks=[3])


@pytest.mark.parametrize("task", KINDS)
def test_callbacks_see_each_epoch_of_finetuning(task):
    seen = []
    model = fitted(task).finetune(X, Y[task], epochs=5, lr=0.01, callbacks=seen.append)
    assert [line["epoch"] for line in seen] == [1, 2, 3, 4, 5] and seen[0]["phase"] == "finetune"
    stopped = fitted(task).finetune(X, Y[task], epochs=5, lr=0.01, callbacks=lambda line: line["epoch"] == 2)
    assert stopped.optimizer.steps == 2
    assert model.optimizer.steps == 5


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_exception_from_a_callback_comes_through_and_the_model_is_usable(error):
    def interrupt(line):
        if line["epoch"] == 2:
            raise error("stop")

    model = FastKMeansClassifier(k_init=9, **EUCLIDEAN)
    with pytest.raises(error, match="stop"):
        model.fit(X, NAMES, tol=0, callbacks=interrupt)
    assert model.n_iter_ == 2 and model.classes_.tolist() == ["cat", "dog", "eel"]
    assert model.score(X, NAMES) > 0.9
    with pytest.raises(error, match="stop"):
        model.finetune(X, NAMES, lr=0.01, callbacks=interrupt)
    assert model.optimizer.steps >= 1 and model.score(X, NAMES) > 0.9


@pytest.mark.parametrize("method", ["fit", "finetune"])
def test_ctrl_c_stops_and_leaves_a_usable_model(method):
    rng = np.random.default_rng(0)
    rows, y = rng.random((100_000, 64), np.float32), rng.integers(0, 40, 100_000).astype(str)
    model = FastKMeansClassifier(k_init=80, n_threads=1, soft_type="softmax_scaled")
    if method == "finetune":
        model.fit(rows, y, max_iters=1)
    call = {
        "fit": lambda: model.fit(rows, y, max_iters=10**9, tol=0),
        "finetune": lambda: model.finetune(rows, y, epochs=10**6, lr=0.01),
    }[method]
    timer = threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        call()
    timer.cancel()
    assert time.monotonic() - started < 15
    if hasattr(model, "centroids"):  # at least one pass was whole
        assert len(model.classes_) == 40 and set(model.predict(rows[:100])) <= set(y)
        model.fit_batch(rows[:1000], y[:1000])


def test_any_number_of_threads_may_ask_while_one_learns():
    model = FastKMeansClassifier(k_init=4, n_threads=1, distance="euclidean").fit(X, NAMES)
    wrong = []

    def ask():
        for _ in range(100):
            if not set(model.predict(X)) <= {"cat", "dog", "eel"} or model.predict_proba(X).shape != (90, 3):
                wrong.append(1)
            model.transform(X[:3])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        model.fit_batch(X, NAMES)
    for thread in threads:
        thread.join()
    assert not wrong


def test_verbose_shows_a_bar(capfd):
    model = FastKMeansClusterer(**EUCLIDEAN).fit(X, verbose=True)
    shown = capfd.readouterr().err
    assert "fit" in shown and "shift=" in shown and "loss=" in shown and "K=3" in shown
    assert "100%" in shown and f"{model.n_iter_}/{model.n_iter_}" in shown  # though fewer passes than allowed
    model.finetune(X, verbose=1, epochs=3)
    assert "finetune" in capfd.readouterr().err
    model.fit(X).finetune(X)
    assert capfd.readouterr().err == ""


# ---- importance and freezing


def test_feature_importance_finds_what_separates():
    rng = np.random.default_rng(1)
    noisy = np.c_[X[:, :2], rng.normal(size=(90, 2))]
    for cls, y in ((FastKMeansClassifier, CLASS), (FastKMeansRegressor, NUMBERS)):
        importance = cls(**EUCLIDEAN).calculate_feature_importance(noisy, y)
        assert importance.shape == (4,) and importance.dtype == np.float64
        np.testing.assert_allclose(importance.sum(), 4)
        assert importance[:2].min() > importance[2:].max()
    with pytest.raises(AttributeError, match="not fitted"):
        FastKMeansClusterer().calculate_feature_importance(noisy)
    clusters = FastKMeansClusterer(**EUCLIDEAN).fit(noisy)
    assert clusters.calculate_feature_importance(noisy)[:2].min() > 1
    model = FastKMeansClassifier(auto_feature_weights=True, **EUCLIDEAN).fit(noisy, CLASS)
    np.testing.assert_allclose(
        model.feature_weights, model.calculate_feature_importance(noisy, CLASS), rtol=1e-6
    )


@pytest.mark.parametrize("task", KINDS)
def test_frozen_prototypes_stay(task):
    model = fitted(task)
    mask = np.arange(len(model.centroids)) % 2 == 0
    assert model.freeze_centroids(mask) is model
    assert model.frozen_mask.dtype == bool and model.frozen_mask.tolist() == mask.tolist()
    before = model.centroids
    model.fit_batch(X + 1, Y[task])
    model.finetune(X, Y[task], lr=0.1)
    np.testing.assert_array_equal(model.centroids[mask], before[mask])
    assert not np.array_equal(model.centroids[~mask], before[~mask])
    model.freeze_centroids()
    assert model.frozen_mask.all()
    before = model.centroids
    model.fit_batch(X - 1, Y[task])
    np.testing.assert_array_equal(model.centroids, before)
    model.freeze_centroids(np.zeros(len(mask), bool).tolist())
    assert not model.frozen_mask.any()
    for wrong in ([True], mask.astype(int), "all"):
        with pytest.raises(ValueError):
            model.freeze_centroids(wrong)
    with pytest.raises(AttributeError, match="not fitted"):
        unfitted(task).freeze_centroids()


# ---- a call that fails leaves the estimator as it was


def spoil(rows):
    rows = rows.copy()
    rows[7, 2] = np.inf
    return rows


@pytest.mark.parametrize("method", ["fit", "fit_batch", "partial_fit", "finetune", "find_learning_rate"])
@pytest.mark.parametrize("task", KINDS)
def test_a_failed_call_changes_nothing(task, method):
    model = fitted(task).finetune(X, Y[task], epochs=2)
    model.fit_batch(X, Y[task], gradient_step=True)
    before, state = dict(vars(model)), model._model.to_bytes()
    call = getattr(model, method)
    y = Y[task]
    for rows, targets, more in [
        (spoil(X), y, {}),
        (X[:, :3], y, {}) if method != "fit" else (X[:0], y, {}),
        (X, y, {"sample_weight": -np.ones(90)}),
        (X, y, {"feature_mask": np.full((90, 4), 2.0)}),
        (X, None if y is None else y[:-1], {"sample_weight": np.ones(3)}),
    ]:
        with pytest.raises(ValueError):
            call(rows, targets, **more)
    assert vars(model).keys() == before.keys() and all(vars(model)[name] is before[name] for name in before)
    assert model._model.to_bytes() == state


def test_failed_batches_bring_no_classes():
    model = FastKMeansClassifier(**EUCLIDEAN).fit(X, NAMES)
    before = model._model.to_bytes()
    for gradient_step in (False, True):
        with pytest.raises(ValueError):
            model.fit_batch(spoil(X), np.array(["fox", "gnu", "cat"])[CLASS], gradient_step=gradient_step)
    assert model.classes_.tolist() == ["cat", "dog", "eel"] and model._model.to_bytes() == before
    tags = FastMultiLabelKMeansClassifier(**EUCLIDEAN).fit(X, TAGS)
    with pytest.raises(ValueError):
        tags.fit_batch(spoil(X), np.c_[TAGS, TAGS])
    assert tags.predict(X).shape == (90, 4)


@pytest.mark.parametrize("task", KINDS)
def test_a_failed_first_call_leaves_nothing(task):
    model = unfitted(task)
    before = dict(vars(model))
    for call in (model.fit, model.fit_batch):
        with pytest.raises(ValueError):
            call(spoil(X), Y[task])
    assert vars(model) == before


# ---- other rows


@pytest.mark.parametrize("task", KINDS)
def test_sparse_rows_learn_what_dense_rows_learn(task):
    rows = np.where(np.abs(X) < 2, 0, X)
    dense = unfitted(task, dtype="float64").fit(rows, Y[task])
    thin = unfitted(task, dtype="float64").fit(sparse.csr_array(rows), Y[task])
    np.testing.assert_allclose(thin.centroids, dense.centroids, atol=1e-5)
    np.testing.assert_allclose(thin.transform(sparse.csr_matrix(rows)), dense.transform(rows), atol=1e-4)
    with pytest.raises(ValueError, match="feature_mask needs dense rows"):
        thin.fit(sparse.csr_array(rows), Y[task], feature_mask=np.ones_like(rows))


@pytest.mark.parametrize("task", KINDS)
def test_soft_types_and_distances_all_work(task):
    for distance in ("cosine", "euclidean", "l1"):
        for soft_type in ("hard", "mean", "scaled", "softmax_scaled"):
            model = fitted(task, distance=distance, soft_type=soft_type)
            if soft_type in ("scaled", "softmax_scaled"):
                model.finetune(X, Y[task], epochs=1, lr=0.01)
            assert np.isfinite(np.asarray(model.predict(X), float)).all()


@pytest.mark.parametrize("lr", [0, -0.1, 10.5, math.nan, "auto"])
def test_a_learning_rate_that_is_none(lr):
    with pytest.raises(ValueError, match=r"lr is .*in \(0, 10\]"):
        fitted("classifier").finetune(X, CLASS, lr=lr)


def test_lists_of_tags_are_refused_in_words():
    lists = [list(range(row % 3)) for row in range(90)]
    with pytest.raises(ValueError, match="y holds lists of different lengths.*MultiLabelBinarizer"):
        unfitted("multilabel").fit(X, lists)


# ---- probabilities of tags after phase 1


def log_loss(probability, given):
    return -np.log(np.where(given == 1, probability, 1 - probability)).mean()


@pytest.mark.parametrize("distance", ["euclidean", "cosine", "l1"])
def test_tags_are_as_probable_after_fit_as_they_are_frequent(distance):
    model = fitted("multilabel", distance=distance, temperature=3.0)
    probability = model.predict_proba(X).astype(float)
    np.testing.assert_allclose(probability.mean(axis=0), TAGS.mean(axis=0), atol=1e-4)
    assert log_loss(probability, TAGS) < 0.8 * log_loss(np.broadcast_to(TAGS.mean(axis=0), TAGS.shape), TAGS)
    assert ((probability > 0.5) == TAGS).mean() > 0.8


def tagged_rows(n, n_tags, seed):
    draw = np.random.default_rng(seed)
    tags = np.zeros((n, 6), int)
    for _ in range(2):
        tags[np.arange(n), draw.integers(0, n_tags, n)] = 1
    centres = np.random.default_rng(0).normal(0, 4, (6, 8))
    return tags @ centres / tags.sum(axis=1, keepdims=True) + draw.normal(0, 0.5, (n, 8)), tags


def test_a_tag_that_comes_late_in_a_stream_is_told():
    model = unfitted("multilabel")
    for batch in range(150):
        model.fit_batch(*tagged_rows(60, 5, batch))
    for batch in range(10):
        model.fit_batch(*tagged_rows(60, 6, 1000 + batch))
    rows, tags = tagged_rows(600, 6, 2000)
    hit = (model.predict(rows) * tags).sum(axis=0)
    f1 = 2 * hit / (model.predict(rows).sum(axis=0) + tags.sum(axis=0))
    assert f1[5] > 0.6 and f1[:5].mean() > 0.7
    probability = model.predict_proba(rows)
    np.testing.assert_allclose(probability.mean(axis=0), tags.mean(axis=0), atol=0.15)
