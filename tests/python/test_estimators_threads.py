# SPDX-License-Identifier: Apache-2.0
"""Answers while another thread teaches the same estimator: a model that grows between two looks at it."""

import copy
import pickle
import threading

import numpy as np
import pytest
from est_data import CLASS, EUCLIDEAN, NAMES, TAGS, X, fitted, unfitted

from fast_kmeans import FastKMeansClassifier


class Busy:
    """A core model that somebody teaches once, right after it was asked for its shape."""

    def __init__(self, model, teach):
        self.model, self.teach = model, teach

    def __getattr__(self, name):
        return getattr(self.model, name)

    def describe(self):
        facts, teach, self.teach = self.model.describe(), self.teach, None
        if teach:
            teach(self.model)
        return facts


def taught(model, X, y):
    """The estimator with a core model that learns X and y after its next description."""
    other = copy.deepcopy(model)
    other.fit_batch(X, y)

    def teach(core):
        core.fit_batch(other._lesson(X, y, None, None, anew=False, grow=True).batch)

    model._model, model._cache = Busy(model._model, teach), {}
    return model


ASKED = ["predict", "predict_proba", "transform", "decision_function", "explain"]
SHOWN = ["centroids", "centroid_weights", "centroid_labels", "classes_", "frozen_mask"]


@pytest.mark.parametrize("name", ASKED)
def test_a_class_that_comes_while_a_classifier_answers(name):
    model = taught(fitted("classifier"), X, CLASS + 3)
    answer = getattr(model, name)(X)
    assert len(answer) == len(X)
    assert len(model.classes_) == 6


@pytest.mark.parametrize("name", SHOWN)
def test_a_class_that_comes_while_an_attribute_is_read(name):
    model = taught(fitted("classifier"), X, CLASS + 3)
    k = len(getattr(model, name))
    assert k == (6 if name == "classes_" else len(model.centroids))


@pytest.mark.parametrize("name", ["predict", "predict_proba", "transform", "explain"])
def test_a_tag_that_comes_while_a_tagger_answers(name):
    model = unfitted("multilabel").fit(X, TAGS * [1, 1, 1, 0])
    model = taught(model, X, TAGS)
    assert len(getattr(model, name)(X)) == len(X)


def test_errors_of_a_busy_model_are_still_told():
    model = taught(fitted("classifier"), X, CLASS + 3)
    with pytest.raises(ValueError, match="NaN"):
        model.predict_proba(np.full_like(X, np.nan))


def test_text_labels_are_known_as_soon_as_the_model_gives_them():
    """Telling the core of new names lets other threads answer first."""
    model = FastKMeansClassifier(**EUCLIDEAN)
    model.fit_batch(X[CLASS == 0], NAMES[CLASS == 0])
    said = []

    class Asked(Busy):
        def set_note(self, *note):
            said.extend(model.predict(X).tolist())
            self.model.set_note(*note)

    model._model = Asked(model._model, None)
    model.fit_batch(X, NAMES)
    assert set(said) == {"cat", "dog", "eel"}


def test_a_state_dict_is_one_moment_of_a_model_that_learns():
    model, states, done = fitted("classifier"), [], threading.Event()

    def look():
        while not done.is_set():
            states.append(model.state_dict())

    thread = threading.Thread(target=look)
    thread.start()
    for part in range(40):
        model.fit_batch(X, CLASS + 3 * (part // 10))
    done.set()
    thread.join()
    for state in states[-50:]:
        unfitted("classifier").load_state_dict(state)


def test_threads_that_bring_new_classes_take_turns():
    """Each names its new class before the other has learned its own."""
    for _ in range(5):
        model = FastKMeansClassifier(**EUCLIDEAN)
        model.fit_batch(X[CLASS == 0], NAMES[CLASS == 0])
        together = threading.Barrier(2)

        def teach(which, model=model, together=together):
            together.wait()
            for _ in range(3):
                model.fit_batch(X[CLASS == which], NAMES[CLASS == which])

        teachers = [threading.Thread(target=teach, args=(which,)) for which in (1, 2)]
        for teacher in teachers:
            teacher.start()
        for teacher in teachers:
            teacher.join()
        assert model.classes_.tolist() == ["cat", "dog", "eel"]
        assert (model.predict(X) == NAMES).mean() > 0.9


def test_a_lesson_waits_for_another_of_the_same_estimator():
    model = FastKMeansClassifier(**EUCLIDEAN).fit(X, NAMES)
    second = threading.Thread(target=model.fit_batch, args=(X, NAMES))
    seen = []

    def callback(progress):
        if not seen:
            second.start()
            second.join(0.2)
            seen.append(second.is_alive())

    model.fit(X, NAMES, callbacks=callback)
    second.join()
    assert seen == [True]


def test_copies_do_not_share_turns():
    model = FastKMeansClassifier(**EUCLIDEAN).fit(X, NAMES)
    copied = pickle.loads(pickle.dumps(model))
    done = []

    def callback(step):  # the copy learns inside the other's turn, in another thread
        if not done:
            other = threading.Thread(target=lambda: done.append(copied.fit_batch(X, NAMES)))
            other.start()
            other.join(30)
            assert done

    model.fit(X, NAMES, callbacks=callback)
    assert len(done) == 1
