# SPDX-License-Identifier: Apache-2.0
"""Who may use a model when: answers side by side, learning alone, callbacks never their own model, forked children."""

import threading
import time

import numpy as np
import pytest
from core_objects import answer, array, batch, fitted, rows, run_python, unfitted
from fast_kmeans import _core


def run_all(*functions, timeout=60):
    failures = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(function,), daemon=True) for function in functions]
    [t.start() for t in threads]
    [t.join(timeout) for t in threads]
    assert not any(t.is_alive() for t in threads), "a thread still waits"
    if failures:
        raise failures[0]


def test_eight_predict_while_one_fits():
    """What anybody is answered comes from a model before or after a whole call."""
    model, b = unfitted("clusterer", k_init="6", distance="euclidean"), batch("clusterer", 400)
    model.fit(b, max_iters=1)
    answers, allowed = set(), set()
    done = threading.Event()

    def learn():
        for seed in range(40):
            model.fit_batch(_core.Batch(rows(50, seed=seed)))
            twin = model.copy()
            allowed.add(answer(twin, b).tobytes())
        done.set()

    def predict():
        while not done.is_set():
            answers.add(answer(model, b).tobytes())
            model.describe(), model.history(), model.to_bytes()

    allowed.add(answer(model, b).tobytes())
    run_all(learn, *[predict] * 8)
    answers.add(answer(model, b).tobytes())
    assert answers <= allowed and len(allowed) > 30


def test_answers_run_side_by_side():
    """Two answering calls are inside at once: each waits for the other while it holds the model."""
    model, b = fitted("clusterer"), batch("clusterer")
    inside = threading.Barrier(2, timeout=30)

    class Meets:
        """An output; it is borrowed while the model is held."""

        def __init__(self):
            self.out = np.empty(60, np.int64)

        def __dlpack_device__(self):
            inside.wait()
            return (1, 0)

        def __dlpack__(self, **options):
            return self.out.__dlpack__()

    first, second = Meets(), Meets()
    run_all(lambda: model.predict_labels(b, first), lambda: model.predict_labels(b, second))
    np.testing.assert_array_equal(first.out, second.out)


@pytest.mark.parametrize("method", ["fit", "fit_batch", "predict_labels", "transform", "scores"])
def test_other_threads_run_while_the_library_works(method):
    """Somebody who wants to wake every few milliseconds can, in the middle of one long call."""
    x = rows(4000, 16)
    while True:
        b = _core.Batch(x)
        model = unfitted("clusterer", k_init="400", distance="l1")
        model.set_start(x[:400])
        model.fit_batch(_core.Batch(x[:400]))
        between = {
            "predict_labels": [np.empty(len(x), np.int64)],
            "transform": [np.empty((len(x), 400), np.float32)],
        }.get(method, [])
        ticks, done = [], threading.Event()

        def tick():
            while not done.is_set():
                ticks.append(time.monotonic())
                time.sleep(0.002)

        ticker = threading.Thread(target=tick)
        ticker.start()
        begin = time.monotonic()
        getattr(model, method)(b, *between)
        end = time.monotonic()
        done.set()
        ticker.join()
        if end - begin > 0.3:
            break
        x = np.concatenate([x, x])
    third = (end - begin) / 3
    assert sum(begin + third < when < end - third for when in ticks) >= 5


class Gate:
    """A callback that holds a learning call until told."""

    def __init__(self):
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, progress):
        self.entered.set()
        assert self.open.wait(30)


def test_a_predict_waits_for_learning():
    model, b, gate, order = fitted("clusterer"), batch("clusterer"), Gate(), []

    def learn():
        model.fit(b, max_iters=1, progress=gate)
        order.append("fit")

    def predict():
        gate.entered.wait(30)
        answer(model, b)
        order.append("predict")

    def opens():
        gate.entered.wait(30)
        time.sleep(0.2)  # the GIL is free meanwhile, or this would not run
        order.append("open")
        gate.open.set()

    run_all(learn, predict, opens)
    assert order[0] == "open" and sorted(order) == ["fit", "open", "predict"]


def test_learning_waits_for_answers_and_is_not_starved():
    """Readers that never pause would keep a learner out for ever; it gets its turn."""
    model, b = fitted("clusterer"), batch("clusterer", 2000)
    done = threading.Event()

    def predict():
        while not done.is_set():
            answer(model, b)

    def learn():
        for _ in range(20):
            model.fit_batch(b)
        done.set()

    run_all(predict, predict, predict, learn)


def test_answers_are_not_starved_by_learning():
    """A learner that never pauses lets those pass who came before its next call."""
    model, b = fitted("clusterer", k_init="20"), batch("clusterer", 20000)
    few = batch("clusterer", 10)
    done, taught = threading.Event(), []

    def learn():
        while not done.is_set():
            model.fit_batch(b)
            taught.append(1)

    def predict():
        counts = []
        for _ in range(10):
            before = len(taught)
            answer(model, few)  # two calls, each behind at most one of the learner's
            counts.append(len(taught) - before)
        done.set()
        assert sorted(counts)[5] <= 4, counts

    run_all(learn, predict)


def test_two_learners_take_turns():
    model, b = fitted("clusterer"), batch("clusterer")
    before = model.describe()["batches"]
    run_all(*[lambda: [model.fit_batch(b) for _ in range(50)]] * 4)
    assert model.describe()["batches"] == before + 200


@pytest.mark.parametrize(
    "call",
    [
        lambda m, b: m.describe(),
        lambda m, b: m.fit_batch(b),
        lambda m, b: m.fit(b),
        lambda m, b: answer_of(m, b),
        lambda m, b: m.copy(),
        lambda m, b: m.to_bytes(),
        lambda m, b: m.note("x"),
        lambda m, b: m.set_note("x", "y"),
        lambda m, b: m.freeze(),
        lambda m, b: m.history(),
        lambda m, b: m.get("centroids", np.empty((2, 4))),
        lambda m, b: m.__reduce__(),
        lambda m, b: m.last_merged(),
    ],
)
def test_a_callback_cannot_use_its_own_model(call):
    model, b, said = fitted("clusterer"), batch("clusterer"), []

    def progress(p):
        with pytest.raises(RuntimeError, match="inside another call of the same model"):
            call(model, b)
        said.append(p["epoch"])

    model.fit(b, max_iters=2, progress=progress)
    assert said
    call(model, b)  # afterwards it can


def answer_of(model, b):
    model.predict_labels(b, np.empty(60, np.int64))


def test_a_callback_can_use_other_models():
    model, other, b = fitted("clusterer"), fitted("clusterer"), batch("clusterer")
    expected = answer(other, b)
    seen = []

    def progress(p):
        seen.append(answer(other, b))
        other.copy().fit(b, max_iters=2, progress=lambda p: seen.append(expected) and None)

    model.fit(b, max_iters=3, progress=progress)
    assert len(seen) > 3 and all((s == expected).all() for s in seen)


def test_what_a_callback_raises_is_raised():
    class Odd(BaseException):
        pass

    error = Odd("as it was")
    model, b = fitted("clusterer"), batch("clusterer")
    for kind in (error, ValueError("v"), KeyboardInterrupt(), SystemExit(3)):

        def progress(p):
            raise kind

        with pytest.raises(type(kind)) as caught:
            model.fit(b, progress=progress)
        assert caught.value is kind
        with pytest.raises(type(kind)) as caught:
            model.finetune(b, epochs=3, progress=progress)
        assert caught.value is kind
        assert np.isfinite(answer(model, b)).all()


def test_a_callback_is_asked_once_after_it_stopped():
    calls = []

    def progress(p):
        calls.append(1)
        raise LookupError

    for method in ("fit", "finetune"):
        calls.clear()
        model = fitted("clusterer")
        with pytest.raises(LookupError):
            getattr(model, method)(batch("clusterer"), progress=progress)
        assert len(calls) == 1


@pytest.mark.parametrize("truth", [True, 1, "yes", [0], np.bool_(True)])
def test_a_true_answer_stops(truth):
    model = unfitted("clusterer")
    with pytest.raises(_core.InterruptedByCallback):
        model.fit(batch("clusterer"), progress=lambda p: truth)
    assert len(model.history()) == 1 and model.describe()["fitted"]


@pytest.mark.parametrize("lie", [False, 0, None, "", [], np.bool_(False)])
def test_another_does_not(lie):
    unfitted("clusterer").fit(batch("clusterer"), max_iters=2, progress=lambda p: lie)


def test_an_answer_without_truth_is_an_error():
    with pytest.raises(ValueError, match="ambiguous"):
        unfitted("clusterer").fit(batch("clusterer"), progress=lambda p: np.zeros(2))


def test_models_of_one_context_work_at_once():
    models = [fitted("classifier") for _ in range(6)]
    b = batch("classifier", 3000)
    alone = models[0].copy()
    alone.fit(b, max_iters=8)
    run_all(*[lambda model=model: model.fit(b, max_iters=8) for model in models])
    for model in models:
        np.testing.assert_array_equal(array(model, "centroids"), array(alone, "centroids"))


def test_a_thread_may_end_the_last_reference():
    for _ in range(20):
        model = fitted("clusterer")
        run_all(lambda model=model: answer(model, batch("clusterer")))
        del model


# ---- fork

FORK = """
import os, threading, time, warnings
import numpy as np
from core_objects import *
from fast_kmeans import _core
warnings.simplefilter("ignore", DeprecationWarning)

def in_child(function):
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, status
            return
        time.sleep(0.01)
    os.kill(child, 9)
    raise SystemExit("the child hangs")
"""


def test_a_child_goes_on():
    run_python(
        FORK
        + """
model, b = fitted("classifier"), batch("classifier", 5000)
expected = answer(model, b)

def use():
    assert (answer(model, b) == expected).all()
    model.fit(b, max_iters=3)
    other = _core.Model(CONTEXT, {"task": "clusterer"})
    other.fit(b, max_iters=3)
    _core.Context(3)

in_child(use)
assert (answer(model, b) == expected).all()
in_child(lambda: in_child(use))
"""
    )


def test_a_child_of_readers_goes_on():
    run_python(
        FORK
        + """
model, b = fitted("clusterer", k_init="40"), batch("clusterer", 20000)
answer(model, b)
stop = threading.Event()

def predict():
    while not stop.is_set():
        answer(model, b)

threads = [threading.Thread(target=predict) for _ in range(3)]
[t.start() for t in threads]
for _ in range(15):
    in_child(lambda: (model.describe(), model.fit_batch(b)))
stop.set()
[t.join() for t in threads]
"""
    )


def test_a_child_of_a_learner_is_told():
    """Another thread was in the middle of learning: the child has half a model, and says so instead of waiting."""
    run_python(
        FORK
        + """
model, b = fitted("clusterer"), batch("clusterer")
entered, leave = threading.Event(), threading.Event()

def progress(p):
    entered.set()
    leave.wait(60)

learner = threading.Thread(target=lambda: model.fit(b, max_iters=2, progress=progress))
learner.start()
entered.wait(60)

def use():
    global model
    for call in (model.describe, model.to_bytes, lambda: model.fit(b)):
        try:
            call()
        except RuntimeError as error:
            assert "forked while another thread was teaching this model" in str(error)
        else:
            raise SystemExit("answered")
    del model

in_child(use)
leave.set()
learner.join()
model.describe()
"""
    )


def test_a_fork_inside_a_callback():
    """The forking thread itself learns: both processes finish the call."""
    run_python(
        FORK
        + """
model, b = fitted("clusterer"), batch("clusterer")
children = []

def progress(p):
    if not children:
        children.append(os.fork())

model.fit(b, max_iters=3, progress=progress)
model.fit_batch(b)
if children[0] == 0:
    os._exit(0)
assert os.waitpid(children[0], 0)[1] == 0
"""
    )


def test_multiprocessing_sends_models():
    run_python(
        """
        import multiprocessing, numpy as np
        from core_objects import *
        from fast_kmeans import _core

        if __name__ == "__main__":
            model = fitted("classifier")
            pool = multiprocessing.get_context("fork").Pool(2)
            twins = pool.map(_core.Model.copy, [model] * 4)
            pool.close(), pool.join()
            b = batch("classifier")
            assert all((answer(twin, b) == answer(model, b)).all() for twin in twins)
        """
    )
