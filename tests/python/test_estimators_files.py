# SPDX-License-Identifier: Apache-2.0
"""Estimators as files, pickles, copies and state dicts: everything learned comes back, nothing can run."""

import copy
import io
import pickle
import pickletools

import joblib
import numpy as np
import pytest
from est_data import CLASS, EUCLIDEAN, KINDS, NAMES, TAGS, X, assert_same_answers, fitted, unfitted
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import fast_kmeans
from fast_kmeans import FastKMeansClassifier, FastKMeansClusterer, FastMultiLabelKMeansClassifier

Y = {task: y for task, (_, y) in KINDS.items()}


def through_file(model, path):
    model.save(path)
    return fast_kmeans.load(path)


def through_joblib(model, path):
    joblib.dump(model, path)
    return joblib.load(path)


def through_state_dict(model, path):
    other = type(model)()
    other.load_state_dict(model.state_dict())
    return other


WAYS = {
    "file": through_file,
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "joblib": through_joblib,
    "deepcopy": lambda model, path: copy.deepcopy(model),
    "copy": lambda model, path: copy.copy(model),
    "state_dict": through_state_dict,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("task", KINDS)
def test_a_model_comes_back_whole_and_independent(task, way, tmp_path):
    model = fitted(task, random_state=3)
    model.finetune(X, Y[task], epochs=2)
    model.freeze_centroids(np.arange(len(model.centroids)) == 0)
    other = WAYS[way](model, tmp_path / "model")
    assert type(other) is type(model)
    assert_same_answers(other, model)
    for name in ("centroids", "centroid_weights", "feature_weights", "frozen_mask"):
        np.testing.assert_array_equal(getattr(other, name), getattr(model, name))
    assert str(other.history_) == str(model.history_) and other.learning_rate_ == model.learning_rate_
    assert other.optimizer.steps == model.optimizer.steps and other.n_features_in_ == 4
    before = model.centroids.copy()
    losses = [each.fit_batch(X, Y[task], gradient_step=True) for each in (model, other)]
    assert losses[0] == losses[1]
    assert_same_answers(other, model)
    other.fit_batch(X + 1, Y[task])
    assert not np.array_equal(other.centroids, model.centroids) and not np.array_equal(
        before, model.centroids
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "labels",
    [
        np.array([-3, 4, 9]),
        np.array([1.0, 2.0, 5.0]),
        np.array([True, False, True]),
        np.array(["z", "a", "m\\"]),
        np.array(["", "a\nb", "\\n"], object),
    ],
    ids=str,
)
def test_labels_come_back_in_their_kind(labels, way, tmp_path):
    for cls in (FastKMeansClassifier, FastMultiLabelKMeansClassifier):
        model = cls(**EUCLIDEAN).fit(X, labels[CLASS])
        other = WAYS[way](model, tmp_path / "model")
        assert (
            other.classes_.tolist() == model.classes_.tolist()
            and other.classes_.dtype == model.classes_.dtype
        )
        assert_same_answers(other, model)
        for each in (model, other):
            each.fit_batch(X, labels[CLASS])
        assert_same_answers(other, model)


@pytest.mark.parametrize("way", WAYS)
def test_classes_of_a_stream_come_back_in_their_order(way, tmp_path):
    model = FastKMeansClassifier(k_init=1, **EUCLIDEAN)
    for name in ("eel", "cat", "dog"):
        model.fit_batch(X[NAMES == name], NAMES[NAMES == name])
    other = WAYS[way](model, tmp_path / "model")
    assert other.classes_.tolist() == ["cat", "dog", "eel"]
    for each in (model, other):
        each.fit_batch(X[:1] + 50, ["ant"])
        assert each.classes_.tolist() == ["ant", "cat", "dog", "eel"]
    assert_same_answers(other, model)


@pytest.mark.parametrize("way", WAYS)
def test_tags_nobody_had_come_back(way, tmp_path):
    model = FastMultiLabelKMeansClassifier(**EUCLIDEAN).fit(X, np.pad(TAGS, ((0, 0), (1, 2))).astype(bool))
    other = WAYS[way](model, tmp_path / "model")
    assert other.predict(X).shape == (90, 7) and other.predict(X).dtype == bool
    assert_same_answers(other, model)


@pytest.mark.parametrize("way", WAYS)
def test_the_shape_of_targets_and_the_names_of_features_come_back(way, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "ü", "line\nbreak", "back\\slash"])
    model = unfitted("regressor").fit(frame, X[:, :1])
    other = WAYS[way](model, tmp_path / "model")
    assert other.feature_names_in_.tolist() == frame.columns.tolist()
    assert other.predict(frame).shape == (90, 1)
    with pytest.raises(ValueError, match="feature names"):
        other.predict(frame[["ü", "a", "line\nbreak", "back\\slash"]])


def test_arguments_come_from_the_file(tmp_path):
    given = {
        "k_init": "auto",
        "distance": "l1",
        "dtype": "bfloat16",
        "soft_type": "softmax_scaled",
        "temperature": 0.75,
        "top_k": -1,
        "auto_feature_weights": True,
        "negative_sampling": 9,
        "random_state": 11,
        "k_max": None,
        "merge_threshold": 0.5,
        "percentile_threshold": None,
        "idw_power": "auto",
        "learning_rate": 0.2,
        "missing": "mask",
        "normalize_prototypes": False,
    }
    other = through_file(FastKMeansClassifier(**given).fit(X, CLASS), tmp_path / "model.fkm")
    assert {name: other.get_params()[name] for name in given} == given
    assert repr(through_file(FastKMeansClusterer().fit(X), tmp_path / "plain.fkm")) == "FastKMeansClusterer()"
    weighted = FastKMeansClusterer(feature_weights=[1, 1, 1, 5], random_state=None).fit(X)
    other = through_file(weighted, tmp_path / "weighted.fkm")
    assert other.get_params()["feature_weights"] is None and isinstance(other.random_state, int)
    np.testing.assert_array_equal(other.feature_weights, weighted.feature_weights)


@pytest.mark.parametrize("task", KINDS)
def test_load_knows_the_class(task, tmp_path):
    path = tmp_path / "model.fkm"
    fitted(task).save(str(path))
    assert type(KINDS[task][0].load(path)) is KINDS[task][0]
    assert type(fast_kmeans.BaseFastKMeans.load(path)) is KINDS[task][0]
    for other, (cls, _) in KINDS.items():
        if other != task:
            with pytest.raises(ValueError, match=f"holds a {task}"):
                cls.load(path)

    class Mine(KINDS[task][0]):
        pass

    assert type(Mine.load(path)) is Mine
    assert type(fast_kmeans.load(path)) is KINDS[task][0]


def test_files_that_are_none(tmp_path):
    with pytest.raises(OSError, match="absent.fkm"):
        fast_kmeans.load(tmp_path / "absent.fkm")
    with pytest.raises(NotFittedError):
        FastKMeansClusterer().save(tmp_path / "none.fkm")
    path = tmp_path / "model.fkm"
    fitted("classifier").save(path)
    data = bytearray(path.read_bytes())
    for at in (3, 40, len(data) // 2, len(data) - 5):
        spoiled = bytearray(data)
        spoiled[at] ^= 1
        path.write_bytes(spoiled)
        with pytest.raises(ValueError):
            fast_kmeans.load(path)
    path.write_bytes(data[:-9])
    with pytest.raises(ValueError):
        fast_kmeans.load(path)
    with pytest.raises(OSError):
        fitted("classifier").save(tmp_path / "no" / "folder" / "model.fkm")


def test_a_pickle_holds_arguments_and_the_file_s_bytes_only():
    model = fitted("classifier")
    state = model.__getstate__()
    assert isinstance(state["_model"], bytes) and "_cache" not in state
    names = {arg for opcode, arg, _ in pickletools.genops(pickle.dumps(model, 2)) if opcode.name == "GLOBAL"}
    assert {name.split()[0].split(".")[0] for name in names} <= {
        "fast_kmeans",
        "copy_reg",
        "_codecs",
        "__builtin__",
    }
    state["_model"] = state["_model"][:-1]
    with pytest.raises(ValueError):
        type(model).__new__(type(model)).__setstate__(state)


@pytest.mark.parametrize("task", KINDS)
def test_unfitted_estimators_travel_too(task):
    model = unfitted(task, top_k=9)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), clone(model)):
        assert other.get_params() == model.get_params() and not hasattr(other, "centroids")
    assert not hasattr(clone(fitted(task)), "centroids")
    with pytest.raises(NotFittedError):
        model.state_dict()


@pytest.mark.parametrize("task", KINDS)
def test_state_dicts_are_readable_and_checked(task):
    model = fitted(task)
    state = model.state_dict()
    assert {"centroids", "centroid_weights", "feature_weights", "frozen_mask", "model"} <= set(state)
    np.testing.assert_array_equal(state["centroids"], model.centroids)
    assert state["model"].dtype == np.uint8
    other = unfitted(task, top_k=2)
    other.load_state_dict({"model": state["model"]})
    assert_same_answers(other, model)
    assert other.top_k == 2  # arguments stay, for the next fit
    other.load_state_dict({"model": state["model"].tobytes()})
    assert_same_answers(other, model)
    before = dict(vars(other))
    for name, value in (
        ("centroids", state["centroids"] + 1),
        ("centroid_weights", state["centroid_weights"][:-1]),
        ("model", state["model"][:-1]),
        ("model", state["model"].astype(float)),
        ("model", b"abc"),
        ("bias", state["centroids"]),
    ):
        with pytest.raises(ValueError, match=name if name != "model" else "[a-z]"):
            other.load_state_dict(dict(state) | {name: value})
    del state["model"]
    with pytest.raises(ValueError, match="no entry 'model'"):
        other.load_state_dict(state)
    wrong = next(name for name in KINDS if name != task)
    with pytest.raises(ValueError, match=f"the state dict holds a {wrong}, this is a {task}"):
        other.load_state_dict(fitted(wrong).state_dict())
    assert vars(other) == before


def test_state_dicts_show_ages_and_targets():
    mask = np.ones((90, 4))
    mask[:, 0] = 0.5
    state = unfitted("regressor").fit(X, X[:, 0], feature_mask=mask).state_dict()
    assert {"centroid_feature_weights", "centroid_targets"} <= set(state)
    file = io.BytesIO()
    np.savez(file, **state)


def test_a_file_of_other_users_of_the_library(tmp_path):
    """What the command fkm writes: names of classes, and nothing of Python's notes."""
    model = FastKMeansClassifier(**EUCLIDEAN).fit(X, NAMES)
    for note in ("python.label_kind", "python.arrays"):
        model._model.set_note(note, None)
    other = through_file(model, tmp_path / "model.fkm")
    assert other.classes_.tolist() == ["cat", "dog", "eel"]
    assert_same_answers(other, model)
    model._model.set_note("class_names", "7\n-3\n10")
    assert through_file(model, tmp_path / "model.fkm").classes_.tolist() == [-3, 7, 10]
    model._model.set_note("class_names", "07\n-3\n10")
    assert through_file(model, tmp_path / "model.fkm").classes_.tolist() == ["-3", "07", "10"]
    model._model.set_note("class_names", None)
    assert through_file(model, tmp_path / "model.fkm").classes_.tolist() == [0, 1, 2]
    model._model.set_note("class_names", "cat")
    assert set(through_file(model, tmp_path / "model.fkm").predict(X)) == {"cat", "1", "2"}
    model._model.set_note("python.label_kind", "os.system")
    with pytest.raises(ValueError, match="python.label_kind"):
        through_file(model, tmp_path / "model.fkm")
    tags = fitted("multilabel")
    for note in ("python.label_kind", "python.n_tags"):
        tags._model.set_note(note, None)
    assert through_file(tags, tmp_path / "tags.fkm").predict(X).shape == (90, 4)
    numbers = fitted("regressor")
    numbers._model.set_note("python.target_dimensions", None)
    assert through_file(numbers, tmp_path / "numbers.fkm").predict(X).shape == (90,)


def test_a_model_of_standardized_rows_says_so(tmp_path):
    """fkm fit --standardize keeps means and deviations as notes, and scales rows by itself."""
    model = fitted("classifier")
    assert not hasattr(model, "standardize_")
    model._model.set_note("standardize.mean", "[1, 2.5, -3, 0]")
    model._model.set_note("standardize.std", "[1, 2, 0.5, 1e-05]")
    with pytest.warns(UserWarning, match=r"standardized rows: give it \(X - mean\) / deviation"):
        other = through_file(model, tmp_path / "model.fkm")
    assert [values.tolist() for values in other.standardize_] == [[1, 2.5, -3, 0], [1, 2, 0.5, 1e-05]]
    assert not hasattr(other.fit(X, CLASS), "standardize_")


class Narrow(FastKMeansClassifier):
    """Takes fewer arguments than its base, and one of its own."""

    def __init__(self, k_init=3, extra=1, distance="euclidean"):
        super().__init__(k_init=k_init, distance=distance)
        self.extra = extra


def test_a_subclass_with_other_arguments_reads_its_files(tmp_path):
    model = Narrow(k_init=2, extra=5).set_params(distance="l1").fit(X, CLASS)
    model.save(tmp_path / "narrow.fkm")
    again = Narrow.load(tmp_path / "narrow.fkm")
    assert again.get_params() == {"k_init": 2, "extra": 1, "distance": "l1"}
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
