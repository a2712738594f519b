# SPDX-License-Identifier: Apache-2.0
"""Memory that the extension takes it gives back: whatever is called thousands of times, the process does not grow."""

import ctypes
import gc
import os
import pickle

import numpy as np
import pytest
from core_objects import CONTEXT, batch, fitted, rows, unfitted
from fast_kmeans import _core

PAGE = os.sysconf("SC_PAGE_SIZE")
SLACK = 3_000_000  # bytes that allocators may keep for themselves


def resident():
    """Bytes of the process, without what the allocator keeps for the next call."""
    gc.collect()
    getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


def swallow(call, *errors):
    try:
        call()
    except errors:
        pass


BIG = rows(4000, 16)  # 256 kB: a copy left behind 100 times is 25 MB
MODEL = {}


def big_model():
    if not MODEL:
        model = unfitted("clusterer", k_init="300", distance="euclidean")
        model.fit(_core.Batch(BIG), max_iters=2)
        MODEL["model"] = model, model.to_bytes(), pickle.dumps(model)
    return MODEL["model"]


def make_and_drop():
    model = unfitted("clusterer", k_init="100")
    model.fit(_core.Batch(BIG), max_iters=1)


def bad_rows():
    x = BIG.copy()
    x[-1, -1] = np.nan
    return _core.Batch(x)


def raises(p):
    raise LookupError


CALLS = {
    "context": (lambda: _core.Context(2), 2000),
    "batch": (lambda: batch("classifier", 4000, 16, mask=np.ones((4000, 16), "f4")), 300),
    "batch refused": (
        lambda: swallow(lambda: _core.Batch(BIG.copy(), weight=np.ones(3, "f4")), ValueError),
        300,
    ),
    "capsule": (lambda: _core.Batch(BIG.copy().__dlpack__()), 300),
    "capsule refused": (lambda: swallow(lambda: _core.Batch(BIG.T.__dlpack__()), ValueError), 2000),
    "model": (make_and_drop, 60),
    "copy": (lambda: big_model()[0].copy(), 400),
    "to_bytes": (lambda: big_model()[0].to_bytes(), 400),
    "from_bytes": (lambda: _core.Model.from_bytes(CONTEXT, big_model()[1]), 400),
    "from_bytes refused": (
        lambda: swallow(lambda: _core.Model.from_bytes(CONTEXT, big_model()[1][:-1]), ValueError),
        400,
    ),
    "pickle": (lambda: pickle.loads(big_model()[2]), 400),
    "predict": (lambda: big_model()[0].predict_labels(_core.Batch(BIG), np.empty(4000, np.int64)), 100),
    "predict refused": (
        lambda: swallow(
            lambda: big_model()[0].predict_labels(bad_rows(), np.empty(4000, np.int64)), ValueError
        ),
        150,
    ),
    "fit_batch": (lambda: big_model()[0].fit_batch(_core.Batch(BIG)), 60),
    "fit_batch refused": (lambda: swallow(lambda: big_model()[0].fit_batch(bad_rows()), ValueError), 150),
    "callback raises": (
        lambda: swallow(
            lambda: unfitted("clusterer", k_init="50").fit(_core.Batch(BIG), progress=raises), LookupError
        ),
        60,
    ),
    "callback": (
        lambda: unfitted("clusterer").fit(_core.Batch(BIG[:500]), progress=lambda p: dict(p)["k"] < 0),
        100,
    ),
    "describe": (lambda: big_model()[0].describe(), 5000),
    "history": (lambda: big_model()[0].history(), 3000),
    "parameters": (lambda: _core.parameters(), 1000),
    "notes": (lambda: (big_model()[0].set_note("a", "x" * 100_000), big_model()[0].note("a")), 400),
    "get": (lambda: big_model()[0].get("centroids", np.empty((300, 16))), 2000),
    "scores": (lambda: big_model()[0].scores(_core.Batch(BIG[:200])), 300),
    "params refused": (
        lambda: swallow(lambda: _core.Model(CONTEXT, {"tmp": "x" * 100_000}), ValueError),
        1000,
    ),
}


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
@pytest.mark.parametrize("name", CALLS)
def test_does_not_grow(name):
    call, times = CALLS[name]
    for _ in range(max(5, times // 5)):
        call()
    before = resident()
    for _ in range(times):
        call()
    grown = resident() - before
    assert grown < SLACK, f"{grown / times:.0f} bytes for each call"


def test_the_measurement_sees_leaks():
    """What a leak of one batch per call would look like."""
    kept = []
    before = resident()
    for _ in range(60):
        kept.append(_core.Batch(BIG.copy()))
    assert resident() - before > SLACK
    del kept
    assert resident() - before < SLACK


def test_targets_of_every_task_are_released():
    for task in ("classifier", "multilabel", "regressor"):
        model, before = fitted(task), None
        for round in range(2):
            for _ in range(100):
                model.fit_batch(batch(task, 500))
            if before is None:
                before = resident()
        assert resident() - before < SLACK
