# SPDX-License-Identifier: Apache-2.0
"""Each status of the library as Python's exception, with the library's words; the model stays as it was."""

import re

import numpy as np
import pytest
from core_objects import CONTEXT, batch, fitted, rows, run_python, unfitted
from fast_kmeans import _core


def test_invalid_is_a_value_error():
    model = fitted("clusterer")
    x = rows()
    x[7, 2] = np.nan
    with pytest.raises(ValueError, match="row 7, column 2 is NaN"):
        model.fit_batch(_core.Batch(x))
    with pytest.raises(ValueError, match="batch has 5 columns, the model expects 4"):
        model.predict_labels(_core.Batch(rows(60, 5)), np.empty(60, np.int64))


def test_damaged_data_is_a_value_error():
    data = bytearray(fitted("clusterer").to_bytes())
    data[-1] ^= 0xFF
    with pytest.raises(ValueError, match="checksum|damaged"):
        _core.Model.from_bytes(CONTEXT, data)


def test_files_are_os_errors(tmp_path):
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "nowhere"))):
        _core.Model.load(CONTEXT, tmp_path / "nowhere")


def test_state_is_a_runtime_error():
    with pytest.raises(RuntimeError, match="needs a fitted model"):
        unfitted("clusterer").predict_labels(batch("clusterer"), np.empty(60, np.int64))
    with pytest.raises(RuntimeError, match="hard"):
        fitted("classifier", soft_type="hard").gradient_step(batch("classifier"))


def test_unsupported_is_not_implemented():
    with pytest.raises(NotImplementedError, match="CUDA"):
        _core.Context(device="cuda")
    assert issubclass(NotImplementedError, RuntimeError)


def test_stopped_by_the_callback():
    model = fitted("clusterer")
    with pytest.raises(_core.InterruptedByCallback, match="interrupted"):
        model.fit(batch("clusterer"), progress=lambda p: 1)
    assert issubclass(_core.InterruptedByCallback, Exception)
    assert not issubclass(_core.InterruptedByCallback, RuntimeError)
    assert model.describe()["fitted"]


def test_memory_errors():
    """The limit is the process's: in one of its own."""
    said = run_python(
        """
        import numpy as np
        from fast_kmeans import _core
        x = np.random.default_rng(0).normal(size=(2000, 64)).astype("f4")
        batch = _core.Batch(x)
        context = _core.Context(1)
        model = _core.Model(context, {"task": "clusterer", "k_init": "300"})
        model.fit(batch, max_iters=2)
        data, before = model.to_bytes(), np.empty((300, 64))
        model.get("centroids", before)
        tight = _core.Context(1, memory_limit=100_000)
        calls = {
            "fit": lambda: model.fit(batch),
            "fit_batch": lambda: model.fit_batch(batch),
            "finetune": lambda: model.finetune(batch, epochs=1),
            "copy": lambda: model.copy(),
            "from_bytes": lambda: _core.Model.from_bytes(tight, data),
            "transform": lambda: model.transform(batch, np.empty((2000, 300), "f4")),
        }
        for name, call in calls.items():
            try:
                call()
            except MemoryError as error:
                assert "memory limit of 100000" in str(error), error
                print(name)
        after = np.empty((300, 64))
        model.get("centroids", after)
        assert (before == after).all()
        _core.Context(1)  # no limit again
        model.fit_batch(batch)
        """
    )
    assert said.split() == ["fit", "fit_batch", "finetune", "copy", "from_bytes", "transform"]


def test_a_failed_call_changes_nothing():
    model = fitted("classifier")
    before = model.to_bytes()
    bad = rows()
    bad[-1, -1] = np.inf
    b = _core.Batch(bad, labels=np.arange(60, dtype=np.int64))
    for call in (
        lambda: model.fit(b),
        lambda: model.fit_batch(b),
        lambda: model.gradient_step(b),
        lambda: model.finetune(b),
        lambda: model.find_learning_rate(b),
        lambda: model.set_start(rows(5)),
        lambda: model.freeze(np.zeros(99, np.uint8)),
        lambda: model.set_note("", ""),
        lambda: model.fit(_core.Batch(rows())),
    ):
        with pytest.raises((ValueError, RuntimeError)):
            call()
        assert model.to_bytes() == before


def test_errors_of_other_threads_are_not_ours():
    """Messages belong to threads."""
    import threading

    model, wrong = fitted("clusterer"), []

    def ask(columns):
        b, out = _core.Batch(rows(10, columns)), np.empty(10, np.int64)
        for _ in range(300):
            try:
                model.predict_labels(b, out)
            except ValueError as error:
                if f"batch has {columns} columns" not in str(error):
                    wrong.append(str(error))

    threads = [threading.Thread(target=ask, args=(5 + i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong
