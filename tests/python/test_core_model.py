# SPDX-License-Identifier: Apache-2.0
"""Each method of Model once for what it does, then settings, files, pickles."""

import copy
import math
import os
import pathlib
import pickle

import numpy as np
import pytest
from core_objects import CONTEXT, TASKS, answer, array, batch, fitted, rows, run_python, targets, unfitted
from fast_kmeans import _core


def test_fit_answers():
    """True when the arrays hold what nearest tells, False when nobody has asked, or passes cannot know."""
    b = _core.Batch(np.random.default_rng(3).standard_normal((3000, 5)).astype(np.float32))
    model = unfitted("clusterer", k_init="20", distance="euclidean")
    index, distance = np.empty((3000, 1), np.int64), np.empty((3000, 1))
    nearest, away = np.empty(3000, np.int64), np.empty(3000)
    assert model.fit(b, max_iters=9, nearest=nearest, distance=away) is True
    model.nearest(b, 1, index=index, distance=distance)
    assert np.array_equal(index[:, 0], nearest) and np.array_equal(distance[:, 0], away)
    assert model.fit(b, max_iters=1, nearest=nearest, distance=away) is False
    assert model.fit(b, max_iters=9, nearest=nearest) is False
    with pytest.raises(ValueError, match="nearest"):
        model.fit(b, nearest=np.empty(2999, np.int64))
    with pytest.raises(TypeError, match="distance"):
        model.fit(b, distance=np.empty(3000, np.float32))


@pytest.mark.parametrize("task", TASKS)
def test_a_life(task):
    """Unfitted, fitted, one more batch, fine-tuned: numbers that only grow, answers everywhere."""
    model, b = unfitted(task), batch(task)
    info = model.describe()
    assert not info["fitted"] and info["k"] == info["dim"] == info["batches"] == 0 and model.history() == []
    assert info["params"]["task"] == task and info["params"]["temperature"] == "1"
    info["params"].clear()
    assert set(model.describe()["params"]) == {row["name"] for row in _core.parameters()}

    assert model.fit(b, max_iters=7, tol=0.0) is False
    info = model.describe()
    assert (
        info["fitted"]
        and info["dim"] == 4
        and info["k"] > 1
        and info["iterations"] >= 1
        and info["bytes"] > 0
    )
    assert not info["has_ages"] and not info["has_optimizer"] and info["scale"] > 0
    lines = model.history()
    assert len(lines) == info["n_history"] and {line["phase"] for line in lines} == {"fit"}
    assert set(lines[0]) == {"phase", "epoch", "loss", "shift", "eval", "lr", "k"}

    batches = info["batches"]
    shift = model.fit_batch(b)
    assert isinstance(shift, float) and math.isfinite(shift)
    assert model.describe()["batches"] == batches + 1
    assert model.last_merged() >= 0

    loss = model.gradient_step(b)
    assert isinstance(loss, float) and math.isfinite(loss)
    info = model.describe()
    assert info["has_optimizer"] and info["gradient_steps"] == 1
    assert array(model, "centroid_gradients").any()

    rate = model.find_learning_rate(b)
    assert rate > 0 and model.describe()["learning_rate"] == rate
    before = len(model.history())
    assert model.finetune(b, epochs=2, lr=0.01) is None
    new = model.history(before)
    assert len(new) == 2 and [line["epoch"] for line in new] == [1, 2] and new[0]["phase"] == "finetune"
    assert model.history(before + 2) == []

    for name in ("centroids", "centroid_weights", "centroid_routing", "feature_weights"):
        assert np.isfinite(array(model, name)).all()
    assert not array(model, "frozen").any()
    out = np.empty(4)
    model.feature_importance(b, out)
    assert (out >= 0).all() and out.sum() == pytest.approx(4)
    assert np.isfinite(answer(model, b)).all()


def test_classes_labels_targets_tags():
    np.testing.assert_array_equal(array(fitted("classifier"), "classes"), [-10, 0, 10])
    assert set(array(fitted("classifier"), "centroid_labels")) == {-10, 0, 10}
    np.testing.assert_array_equal(array(fitted("multilabel"), "classes"), [0, 1, 2, 3])
    assert array(fitted("multilabel"), "tag_scores").shape == (4, 3)
    assert np.isfinite(array(fitted("regressor"), "centroid_targets")).all()


def test_masks_give_ages():
    mask = np.ones((60, 4), "f4")
    mask[::2, 1] = 0
    model = unfitted("clusterer")
    model.fit(batch("clusterer", mask=mask), max_iters=3)
    ages = array(model, "centroid_ages")
    assert model.describe()["has_ages"] and ages[:, 1].sum() == pytest.approx(ages[:, 0].sum() / 2)


def test_weights_count():
    weight = np.full(60, 2, "f4")
    model = unfitted("clusterer")
    model.fit(batch("clusterer", weight=weight), max_iters=1)
    assert array(model, "centroid_weights").sum() == pytest.approx(120)


def test_scores():
    b = batch("classifier")
    model = fitted("classifier")
    out = np.empty(60, np.int64)
    model.predict_labels(b, out)
    scores = model.scores(b)
    assert scores["accuracy"] == pytest.approx((out == np.arange(60) % 3 * 10 - 10).mean())
    assert scores["n_rows"] == 60 and math.isnan(scores["rmse"]) and len(scores["precision_at"]) == 5
    assert math.isfinite(fitted("regressor").scores(batch("regressor"))["r2"])
    tags = fitted("multilabel")
    assert tags.scores(batch("multilabel"), "top_k", 4)["micro_f1"] == pytest.approx(0.4)
    assert tags.scores(batch("multilabel"), strategy="gap")["precision_at"][0] <= 1
    with pytest.raises(ValueError, match="strategy is 'best'; valid: adaptive, gap, top_k"):
        tags.scores(batch("multilabel"), "best")
    with pytest.raises(ValueError, match="strategy is 'best'"):
        tags.predict_tags(batch("multilabel"), "best", 1, np.empty((60, 4), "u1"))


# ---- evaluation rows and progress


@pytest.mark.parametrize("task", TASKS)
def test_eval(task):
    model = unfitted(task)
    seen = []
    model.fit(batch(task), max_iters=3, eval=batch(task, 20), progress=lambda p: seen.append(p["eval"]))
    assert seen and all(math.isfinite(score) for score in seen)
    model.finetune(batch(task), epochs=1, lr=0.01, eval_fraction=0.25, early_stopping_rounds=2)
    assert math.isfinite(model.history()[-1]["eval"])
    with pytest.raises(TypeError, match="eval must be a Batch"):
        model.fit(batch(task), eval=rows())


def test_progress_sees_everything():
    seen = []
    model = unfitted("classifier")
    model.fit(batch("classifier"), 9, 0.0, None, 0.0, seen.append)
    assert [p["phase"] for p in seen] == ["fit"] * len(seen)
    assert [p["epoch"] for p in seen] == sorted(p["epoch"] for p in seen) and seen[-1]["epochs"] == 9
    assert seen[-1]["rows"] >= 60 and seen[-1]["k"] == 6 and math.isnan(seen[-1]["eval"])
    assert all(type(p["loss"]) is float and type(p["step"]) is int for p in seen)
    seen.clear()
    model.finetune(batch("classifier"), epochs=2, search=True, progress=seen.append)
    assert seen[-1]["phase"] == "finetune" and seen[-1]["epoch"] == seen[-1]["epochs"] == 2
    assert math.isnan(seen[-1]["shift"]) or seen[-1]["shift"] == 0


def test_options_reach_the_library():
    b = batch("clusterer")
    model = unfitted("clusterer")
    model.fit(b, max_iters=1)
    assert model.describe()["iterations"] == 1
    with pytest.raises(ValueError, match="max_iters"):
        model.fit(b, max_iters=-1)
    with pytest.raises(ValueError, match="tol"):
        model.fit(b, tol=math.nan)
    with pytest.raises(ValueError, match="eval_fraction"):
        model.fit(b, eval_fraction=1.5)
    with pytest.raises(ValueError, match="epochs"):
        model.finetune(b, epochs=-1)
    with pytest.raises(ValueError, match="lr"):
        model.finetune(b, lr=-0.5)
    with pytest.raises(ValueError):
        model.finetune(b, early_stopping_rounds=-1)
    with pytest.raises(OverflowError):
        model.fit(b, max_iters=2**70)
    with pytest.raises(TypeError):
        model.fit(b, max_iters=1.5)
    with pytest.raises(TypeError, match="progress must be callable or None"):
        model.fit(b, progress=5)
    with pytest.raises(TypeError, match="progress must be callable or None"):
        model.finetune(b, progress="loud")


@pytest.mark.parametrize(
    "method",
    ["fit", "fit_batch", "gradient_step", "finetune", "find_learning_rate", "scores", "predict_labels"],
)
def test_batches_are_batches(method):
    model = fitted("classifier")
    for wrong in (rows(), None, model):
        with pytest.raises(TypeError, match="batch must be a Batch, not"):
            getattr(model, method)(wrong, *[np.empty(60, np.int64)] * (method == "predict_labels"))
    with pytest.raises(TypeError):
        getattr(model, method)()
    with pytest.raises(TypeError):
        getattr(model, method)(batch("classifier"), no_such_argument=1)


# ---- making models


@pytest.mark.parametrize(
    "params, error, words",
    [
        ({"task": "juggler"}, ValueError, "task is .*juggler"),
        ({"temperature": "0"}, ValueError, "temperature is .*0"),
        ({"temperature": "warm"}, ValueError, "temperature is .*warm"),
        ({"tmperature": "1"}, ValueError, "tmperature"),
        ({"temperature": 1.0}, TypeError, "params holds 'temperature': 1.0; names and values are text"),
        ({5: "1"}, TypeError, "names and values are text"),
        ({"temperature": "1\0 5"}, ValueError, "with a null character"),
        ({"temper\0ature": "1"}, ValueError, "with a null character"),
        ({"temperature": "\udc80"}, UnicodeEncodeError, "surrogates"),
        ([("task", "classifier")], TypeError, "dict"),
    ],
)
def test_params_refused(params, error, words):
    with pytest.raises(error, match=words):
        _core.Model(CONTEXT, params)


def test_contexts_are_contexts():
    for make in (
        lambda c: _core.Model(c, {}),
        lambda c: _core.Model.load(c, "x"),
        lambda c: _core.Model.from_bytes(c, b"x"),
    ):
        with pytest.raises(TypeError, match="context must be a Context, not <class 'NoneType'>"):
            make(None)
    with pytest.raises(TypeError):
        _core.Model()


# ---- before and beside learning


def test_set_start():
    points = np.float32([[0, 0, 0, 9], [0, 9, 0, 0]])
    model = unfitted("clusterer", distance="euclidean")
    model.set_start(points)
    model.fit(batch("clusterer"), max_iters=1)
    assert model.describe()["k"] == 2
    model = unfitted("classifier", distance="euclidean")
    model.set_start(points=points, labels=np.array([0, 10]))
    with pytest.raises(ValueError, match=r"labels has shape \(3,\); expected \(2,\)"):
        model.set_start(points, np.zeros(3, np.int64))
    with pytest.raises(TypeError, match="points has dtype int64; expected float32, float64"):
        model.set_start(points.astype(np.int64))
    with pytest.raises(ValueError, match="points has rows"):
        model.set_start(np.repeat(points, 2, axis=0)[::2])
    with pytest.raises(ValueError):
        model.set_start(points * np.nan, np.array([0, 10]))
    with pytest.raises(RuntimeError):
        fitted("clusterer").set_start(points)


def test_set_feature_weights():
    model = unfitted("clusterer")
    model.set_feature_weights(np.array([1.0, 0.0, 2.0, 1.0]))
    model.fit(batch("clusterer"), max_iters=2)
    np.testing.assert_allclose(array(model, "feature_weights"), [1, 0, 2, 1])
    for wrong in (np.zeros(4), np.array([1.0, -1, 1, 1]), np.array([1.0, math.nan])):
        with pytest.raises(ValueError):
            unfitted("clusterer").set_feature_weights(wrong)
    with pytest.raises(TypeError, match="weights has dtype float32; expected float64"):
        unfitted("clusterer").set_feature_weights(np.ones(4, "f4"))


def test_set_class_k():
    model = unfitted("classifier")
    model.set_class_k(10, 5)
    model.fit(batch("classifier"), max_iters=2)
    assert (array(model, "centroid_labels") == 10).sum() == 5
    with pytest.raises(ValueError):
        unfitted("classifier").set_class_k(0, 0)
    with pytest.raises(OverflowError):
        unfitted("classifier").set_class_k(0, 2**40)


def test_freeze():
    model = fitted("clusterer")
    before = array(model, "centroids")
    model.freeze(np.array([1, 0], np.uint8))
    np.testing.assert_array_equal(array(model, "frozen"), [1, 0])
    model.fit_batch(_core.Batch(rows(seed=5)))
    after = array(model, "centroids")
    np.testing.assert_array_equal(after[0], before[0])
    assert (after[1] != before[1]).any()
    model.freeze(np.array([False, True]))
    np.testing.assert_array_equal(array(model, "frozen"), [0, 1])
    model.freeze()
    assert array(model, "frozen").all()
    with pytest.raises(ValueError, match="3 entries, the model has 2"):
        model.freeze(np.zeros(3, np.uint8))
    with pytest.raises(TypeError, match="frozen has dtype int64; expected uint8, bool"):
        model.freeze(np.zeros(2, np.int64))
    with pytest.raises(RuntimeError):
        unfitted("clusterer").freeze()


def test_notes():
    model = fitted("clusterer")
    assert model.note("columns") is None
    model.set_note("columns", "höhe\nBreite \U0001f600")
    assert model.note("columns") == "höhe\nBreite \U0001f600"
    assert _core.Model.from_bytes(CONTEXT, model.to_bytes()).note("columns") == model.note("columns")
    model.set_note("columns", "")
    assert model.note("columns") == ""
    model.set_note("columns", None)
    assert model.note("columns") is None
    for name in ("", "1st", "a b", "x" * 65):
        with pytest.raises(ValueError):
            model.set_note(name, "value")
    with pytest.raises(ValueError, match="null"):
        model.set_note("columns", "a\0b")
    with pytest.raises(TypeError):
        model.set_note("columns", 5)


def test_history_begins_anywhere():
    model = fitted("clusterer")
    with pytest.raises(ValueError, match="begin is -1"):
        model.history(-1)
    assert model.history(10**12) == []


# ---- files, copies, pickles


def same(first, second, task):
    assert first.describe()["params"] == second.describe()["params"]
    assert first.history() == second.history() or any(math.isnan(line["eval"]) for line in first.history())
    np.testing.assert_array_equal(answer(first, batch(task)), answer(second, batch(task)))
    np.testing.assert_array_equal(array(first, "centroids"), array(second, "centroids"))


@pytest.mark.parametrize("task", TASKS)
def test_files(task, tmp_path):
    model = fitted(task)
    path = tmp_path / "ä model"
    model.save(path)
    same(model, _core.Model.load(CONTEXT, path), task)
    same(model, _core.Model.load(CONTEXT, str(path)), task)
    same(model, _core.Model.load(CONTEXT, os.fsencode(path)), task)
    data = model.to_bytes()
    assert data == path.read_bytes()
    for kind in (bytes, bytearray, memoryview):
        same(model, _core.Model.from_bytes(CONTEXT, kind(data)), task)
    assert [p.name for p in tmp_path.iterdir()] == ["ä model"]


def test_files_that_are_not_models(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        _core.Model.load(CONTEXT, tmp_path / "nowhere")
    with pytest.raises(OSError):
        fitted("clusterer").save(tmp_path / "no" / "folder")
    with pytest.raises(ValueError, match="null byte"):
        _core.Model.load(CONTEXT, "a\0b")
    with pytest.raises(TypeError):
        _core.Model.load(CONTEXT, 5)
    odd = pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    with pytest.raises(OSError, match="\udcff"):
        _core.Model.load(CONTEXT, odd)
    data = bytearray(fitted("clusterer").to_bytes())
    with pytest.raises(ValueError):
        _core.Model.from_bytes(CONTEXT, data[:-1])
    with pytest.raises(ValueError):
        _core.Model.from_bytes(CONTEXT, b"")
    data[-3] ^= 1
    with pytest.raises(ValueError):
        _core.Model.from_bytes(CONTEXT, data)
    with pytest.raises(TypeError):
        _core.Model.from_bytes(CONTEXT, "text")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("how", ["copy", "copy.copy", "deepcopy"])
def test_copies_go_their_own_way(task, how):
    model = fitted(task)
    twin = {
        "copy": model.copy,
        "copy.copy": lambda: copy.copy(model),
        "deepcopy": lambda: copy.deepcopy({"a": [model]})["a"][0],
    }[how]()
    same(model, twin, task)
    before = array(model, "centroids")
    twin.fit_batch(_core.Batch(rows(seed=9), **targets(task)))
    np.testing.assert_array_equal(array(model, "centroids"), before)
    assert (array(twin, "centroids") != before).any()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles(protocol):
    model = fitted("classifier")
    model.gradient_step(batch("classifier"))
    twin = pickle.loads(pickle.dumps(model, protocol))
    same(model, twin, "classifier")
    assert model.gradient_step(batch("classifier")) == twin.gradient_step(
        batch("classifier")
    )  # Adam's moments too
    empty = pickle.loads(pickle.dumps(unfitted("regressor", k_targets="7"), protocol))
    assert empty.describe()["params"]["k_targets"] == "7" and not empty.describe()["fitted"]


def test_a_pickle_holds_the_file_and_the_threads_asked_for():
    model = fitted("clusterer")
    rebuild, (data, n_threads) = model.__reduce__()
    assert rebuild is _core._model_from_bytes and data == model.to_bytes() and n_threads == 2
    every = _core.Model(_core.Context(), {"task": "clusterer"})
    assert every.__reduce__()[1][1] == -1
    for arguments in ((), (data,), (data, "2"), (data, 2.0), (b"", 2), (data, -7), (data, 2**40)):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            rebuild(*arguments)


def test_a_pickle_wakes_up_elsewhere(tmp_path):
    model = fitted("classifier")
    (tmp_path / "pickle").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "x.npy", rows())
    said = run_python(
        """
        import pickle, numpy as np
        model = pickle.load(open(sys.argv[1] + "/pickle", "rb"))
        from fast_kmeans import _core
        out = np.empty(60, np.int64)
        model.predict_labels(_core.Batch(np.load(sys.argv[1] + "/x.npy")), out)
        print(*out)
        """,
        str(tmp_path),
    )
    out = np.empty(60, np.int64)
    model.predict_labels(batch("classifier"), out)
    assert [int(word) for word in said.split()] == out.tolist()
