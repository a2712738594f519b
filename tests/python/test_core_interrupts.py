# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C: any long call ends in KeyboardInterrupt within a second, and the model can be used."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest
from core_objects import HERE

LATEST = 1.0  # seconds from the signal to the exception
LONG = 8.0  # seconds that the call would take at least, so that being done cannot pass for being stopped

PROGRAM = """
import signal, threading, time
import numpy as np
from core_objects import *
from fast_kmeans import _core

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have told us to ignore it
LONG = float(sys.argv[1])
CONTEXT = _core.Context(1)

def crowd(k, dim=16, **params):
    "A clusterer of k prototypes: slow for each row."
    model = _core.Model(CONTEXT, {"task": "clusterer", "distance": "l1", "k_init": str(k)} | params)
    model.set_start(rows(k, dim, seed=3))
    model.fit_batch(_core.Batch(rows(256, dim)))
    return model

def rows_for(call, dim=16):
    "So many rows that call(batch) takes LONG seconds, by a measurement of few."
    n = 256
    while True:
        x = rows(n, dim)
        begin = time.perf_counter()
        call(_core.Batch(x), n)
        spent = time.perf_counter() - begin
        if spent > 0.2:
            n = int(n * LONG * 1.5 / spent)
            return _core.Batch(rows(n, dim)), n
        n *= 4

def interrupted(call, check):
    "call() must not end by itself; prints when it ended."
    print("begun", flush=True)
    begin = time.monotonic()
    try:
        call()
    except KeyboardInterrupt:
        print("KeyboardInterrupt", time.monotonic(), flush=True)
        check()
        print("usable", flush=True)
    else:
        print("ended by itself after", time.monotonic() - begin, flush=True)
"""

CASES = {
    "fit": """
model = _core.Model(CONTEXT, {"task": "clusterer", "k_init": "500"})
b = _core.Batch(rows(100_000, 16))
interrupted(lambda: model.fit(b, max_iters=10**9, tol=0.0), lambda: model.fit(batch("clusterer", dim=16), max_iters=2))
""",
    "fit with a callback": """
model = _core.Model(CONTEXT, {"task": "clusterer", "k_init": "500"})
b = _core.Batch(rows(100_000, 16))
interrupted(lambda: model.fit(b, max_iters=10**9, tol=0.0, progress=lambda p: None),
            lambda: model.fit(batch("clusterer", dim=16), max_iters=2))
""",
    "finetune": """
model = fitted("classifier")
b = batch("classifier", 20_000)
def check():
    answer(model, b)
    model.gradient_step(b)
interrupted(lambda: model.finetune(b, epochs=10**6, lr=0.01), check)
""",
    "predict": """
model = crowd(20_000)
def call(b, n): model.predict_labels(b, np.empty(n, np.int64))
b, n = rows_for(call)
interrupted(lambda: call(b, n), lambda: call(_core.Batch(rows(10, 16)), 10))
""",
    "scores": """
model = crowd(20_000)
b, n = rows_for(lambda b, n: model.scores(b))
interrupted(lambda: model.scores(b), lambda: model.scores(_core.Batch(rows(10, 16))))
""",
    "fit_batch": """
model = crowd(20_000)
before = model.to_bytes()
b, n = rows_for(lambda b, n: model.copy().fit_batch(b))
def check():
    assert model.to_bytes() == before
    model.fit_batch(_core.Batch(rows(10, 16)))
interrupted(lambda: model.fit_batch(b), check)
""",
    "find_learning_rate": """
model = crowd(2_000, finetune_batch_size="50000")
b = _core.Batch(rows(50_000, 16))
interrupted(lambda: model.find_learning_rate(b), lambda: model.find_learning_rate(_core.Batch(rows(300, 16))))
""",
    "a model that is busy": """
model, gate = fitted("clusterer"), threading.Event()
inside = threading.Event()
def progress(p):
    inside.set()
    gate.wait(LONG)
learner = threading.Thread(target=lambda: model.fit(batch("clusterer"), max_iters=1, progress=progress))
learner.start()
inside.wait()
def check():
    gate.set()
    learner.join()
    model.describe()
    model.fit_batch(batch("clusterer"))
interrupted(lambda: model.fit_batch(batch("clusterer")), check)
""",
    "a callback's own call": """
other = crowd(20_000)
def call(b, n): other.predict_labels(b, np.empty(n, np.int64))
b, n = rows_for(call)
model = fitted("clusterer")
interrupted(lambda: model.fit(batch("clusterer"), progress=lambda p: call(b, n)), lambda: model.describe())
""",
    "after a callback's own call": """
other, told = fitted("clusterer"), []
model = _core.Model(CONTEXT, {"task": "clusterer", "k_init": "2000"})
model.set_start(rows(2000, 16))
b = _core.Batch(rows(1_000_000, 16))
def progress(p):
    told.append(answer(other, batch("clusterer")))
interrupted(lambda: model.fit(b, max_iters=10**9, tol=0.0, progress=progress), lambda: model.describe())
""",
}


@pytest.mark.parametrize("case", CASES)
def test_ctrl_c(case):
    program = f"import sys; sys.path[:0] = {sys.path!r}\n" + PROGRAM + CASES[case]
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(LONG)], stdout=subprocess.PIPE, text=True, cwd=HERE
    )
    try:
        assert child.stdout.readline() == "begun\n"
        time.sleep(0.7)  # well inside the call
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        word, _, when = child.stdout.readline().partition(" ")
        assert word == "KeyboardInterrupt", word + " " + when
        assert float(when) - sent < LATEST
        assert child.stdout.readline() == "usable\n"
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.stdout.close()
        child.wait()


def run_signals(text):
    program = f"import sys; sys.path[:0] = {sys.path!r}\n" + PROGRAM + textwrap.dedent(text)
    done = subprocess.run(
        [sys.executable, "-c", program, "2"], capture_output=True, text=True, timeout=120, cwd=HERE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_handlers_run_while_a_call_works():
    """A handler that does not raise lets the call go on; one that uses models may."""
    said = run_signals(
        """
        model, other = crowd(20_000), fitted("clusterer")
        def call(b, n):
            out = np.empty(n, np.int64)
            model.predict_labels(b, out)
            return out
        b, n = rows_for(call)
        expected = call(b, n)
        ran = []
        def handler(number, frame):
            answer(other, batch("clusterer"))
            model.describe()
            try:
                model.fit_batch(batch("clusterer", dim=16))
            except RuntimeError as error:
                ran.append("inside another call" in str(error))
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        out = call(b, n)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(len(ran) >= 3, all(ran), (out == expected).all())
        """
    )
    assert said.split() == ["True"] * 3


def test_a_handlers_own_exception():
    said = run_signals(
        """
        model = crowd(20_000)
        def call(b, n): model.predict_labels(b, np.empty(n, np.int64))
        b, n = rows_for(call)
        class Alarm(Exception): pass
        def handler(number, frame): raise Alarm("now")
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            call(b, n)
        except Alarm as alarm:
            print(alarm)
        """
    )
    assert said.split() == ["now"]


def test_other_threads_are_not_stopped_by_ctrl_c():
    """Signals belong to the main thread; a call of another goes on to its end."""
    said = run_signals(
        """
        model = crowd(20_000)
        def call(b, n): model.predict_labels(b, np.empty(n, np.int64))
        b, n = rows_for(call)
        ended = threading.Event()
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        worker = threading.Thread(target=lambda: (call(b, n), ended.set()))
        worker.start()
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            ended.wait()
        except KeyboardInterrupt:
            print(ended.is_set())
        print(ended.wait(60))
        """
    )
    assert said.split() == ["False", "True"]
