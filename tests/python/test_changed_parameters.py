# SPDX-License-Identifier: Apache-2.0
"""Arguments changed after a fit: which count at once, which wait for the next fit."""

import copy
import pickle

import numpy as np
import pytest
from est_data import CLASS, KINDS, NUMBERS, TAGS, X, assert_same_answers, fitted, unfitted
from sklearn.base import clone

import fast_kmeans
from FastKMeansClassifier import FastKMeansClassifier as SparseClassifier
from fast_kmeans import _core, _parameters

SOFT = {"soft_type": "softmax_scaled", "temperature": 4.0}
FOR_FIT = ["init_mode", "random_state", "k_targets", "k_features", "use_faiss", "use_compile"]
CHANGES = {"top_k": 1, "soft_type": "mean", "temperature": 0.1, "idw_power": 20.0}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("task", ["classifier", "regressor"])
def test_answers_follow(task, name):
    start = {} if name == "idw_power" else SOFT
    model, asked = fitted(task, **start), "predict_proba" if task == "classifier" else "predict"
    before = getattr(model, asked)(X)
    setattr(model, name, CHANGES[name])
    after = getattr(model, asked)(X)
    assert np.abs(after - before).max() > 0.01
    other = unfitted(task, **start | {name: CHANGES[name]}).fit(X, KINDS[task][1])
    np.testing.assert_array_equal(after, getattr(other, asked)(X))
    model.set_params(**{name: start.get(name, 5 if name == "top_k" else "auto")})
    np.testing.assert_array_equal(getattr(model, asked)(X), before)


def test_what_was_set_is_in_files_copies_and_explanations(tmp_path):
    model = fitted("classifier", **SOFT)
    model.top_k = 1
    copies = {"pickle": pickle.loads(pickle.dumps(model)), "deepcopy": copy.deepcopy(model)}
    model.top_k = 2
    model.save(tmp_path / "two.fkm")
    loaded = fast_kmeans.load(tmp_path / "two.fkm")
    assert loaded.top_k == 2 and {one.top_k for one in copies.values()} == {1}
    assert_same_answers(loaded, model)
    np.testing.assert_allclose(model.explain(X[:3]).weights[:, :2].sum(axis=1), 1)
    for one in copies.values():
        assert set(np.unique(one.predict_proba(X))) <= {0.0, 1.0}  # one prototype has all
        one.top_k = 2
        assert_same_answers(one, model)


def test_a_restored_state_answers_as_it_did_until_something_is_set():
    taught = fitted("classifier", top_k=1, **SOFT)
    model = unfitted("classifier", **SOFT)
    model.load_state_dict(taught.state_dict())
    assert_same_answers(model, taught)  # though its top_k is 5
    model.top_k = 3
    taught.top_k = 3
    assert_same_answers(model, taught)


def test_learning_follows():
    model, other = fitted("classifier", **SOFT), fitted("classifier", **SOFT)
    other.finetune_batch_size, other.noise = 16, 0.5
    assert not np.array_equal(model.finetune(X, CLASS, epochs=2, lr=0.05).centroids,
                              other.finetune(X, CLASS, epochs=2, lr=0.05).centroids)  # fmt: skip
    assert (model.optimizer.steps, other.optimizer.steps) == (2, 12)
    other.learning_rate = 0.25
    other.fit_batch(X, CLASS, gradient_step=True)
    assert other.optimizer.learning_rate == 0.25
    other.soft_type = "hard"
    with pytest.raises(RuntimeError, match="soft_type='hard'"):
        other.finetune(X, CLASS)
    other.soft_type = "softmax_scaled"
    other.finetune(X, CLASS, epochs=1, lr=0.01)
    model.k_init = 5  # of classes that come later
    model.fit_batch(X[:30] + 50, np.full(30, 7))
    assert (model.centroid_labels == 7).sum() == 5


def test_a_missing_value_may_be_allowed_later():
    model, hole = fitted("regressor"), X.copy()
    hole[::3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.predict(hole)
    model.missing = "mask"
    np.testing.assert_array_equal(model.predict(hole), fitted("regressor", missing="mask").predict(hole))


def test_others_wait_for_the_next_fit():
    model = fitted("classifier")
    expected = model.predict_proba(X)
    model.set_params(distance="l1", dtype="float64", random_state=7, prototype_scale=True)
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    again = model.fit(X, CLASS)
    assert again.centroids.dtype == np.float64
    assert_same_answers(again, clone(again).fit(X, CLASS))


def test_what_is_not_valid_is_said_and_nothing_changes():
    model = fitted("classifier")
    expected = model.predict_proba(X)
    for name, value in {"top_k": 0, "soft_type": "odd", "temperature": -1.0, "learning_rate": 11}.items():
        kept = getattr(model, name)
        model.set_params(**{name: value})
        with pytest.raises(ValueError, match=f"{name} is "):
            model.predict(X)
        setattr(model, name, kept)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


@pytest.mark.parametrize("task", KINDS)
def test_the_core_agrees_about_which_are_which(task):
    model = fitted(task)._model
    for row in _core.parameters():
        text = model.describe()["params"][row["name"]]
        if row["name"] in type(fitted(task))._live:
            model.set_param(row["name"], text)
        elif row["name"] not in FOR_FIT:
            with pytest.raises(RuntimeError, match=f"{row['name']} is part of what the {task} has learned"):
                model.set_param(row["name"], text)
    assert "temperature" not in type(fitted("multilabel"))._live
    assert set(_parameters.LIVE) <= set(_parameters.TABLE)


def test_thresholds_of_a_tagger_keep_their_temperature():
    model = fitted("multilabel", **SOFT)
    expected = model.predict(X)
    model.temperature = 0.01
    np.testing.assert_array_equal(model.predict(X), expected)
    assert TAGS.shape == expected.shape


def test_the_second_documents_class():
    model = SparseClassifier(k_init=2, distance="euclidean").fit(X, CLASS)
    other = SparseClassifier(k_init=2, distance="euclidean").fit(X, CLASS)
    model.set_params(merge_threshold=1e6)
    assert model.fit_batch(X, CLASS)["num_merged"] > 0 == other.fit_batch(X, CLASS)["num_merged"]
    model.k_init = 0
    with pytest.raises(ValueError, match="k_init is 0"):
        model.fit_batch(X, CLASS)


def test_starting_prototypes_keep_their_precision():
    start = np.array([[1 / 3, 1e9 + 1e-6, 0, 0], [np.pi, -1, 2, 7]])
    for dtype, shown in {"float64": start, "float32": start.astype(np.float32)}.items():
        model = unfitted("clusterer", init_mode=start, dtype=dtype, min_weight=0)
        model.fit_batch(start)
        np.testing.assert_array_equal(model.centroids, shown)
    assert NUMBERS.dtype == np.float64
