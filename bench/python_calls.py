"""python_calls.py [--torch] — what the Python package adds to the C calls: JSON lines of predict on one row, through the
estimator and through the core alone, and of the time that importing takes beside what it needs anyway.

    PYTHONPATH=python python bench/python_calls.py

SPDX-License-Identifier: Apache-2.0"""
import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np

DEPENDENCIES = "import numpy, scipy.sparse, sklearn.base, sklearn.metrics, sklearn.utils.validation, tqdm"


def least_us(call, calls=2000, repeats=7):
    """Microseconds of a call, the least of several means."""
    least = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        least = min(least, (time.perf_counter() - begin) / calls)
    return 1e6 * least


def predict(convert, kind):
    import fast_kmeans as fk
    from fast_kmeans import _core

    draw = np.random.default_rng(0)
    x = draw.normal(size=(2000, 16)).astype(np.float32)
    tags = np.stack([x[:, 0] > 0, x[:, 1] > 1, x[:, 2] > x[:, 3]], axis=1).astype(int)
    row, batch = x[:1], _core.Batch(x[:1])
    labels, values, chosen = np.empty(1, np.int64), np.empty((1, 1)), np.empty((1, 3), np.uint8)
    for model, y, core in [
        (fk.FastKMeansClassifier(), draw.integers(0, 3, 2000), lambda m: m.predict_labels(batch, labels)),
        (fk.FastKMeansRegressor(), x[:, 0] + x[:, 1], lambda m: m.predict_values(batch, values)),
        (fk.FastKMeansClusterer(), None, lambda m: m.predict_labels(batch, labels)),
        (fk.FastMultiLabelKMeansClassifier(), tags, lambda m: m.predict_tags(batch, "adaptive", 1, chosen)),
    ]:
        model.fit(convert(x), y if y is None else convert(y))
        given = convert(row)
        whole, alone = least_us(lambda: model.predict(given)), least_us(lambda: core(model._model))
        print(json.dumps({"case": f"predict 1 row, {type(model).__name__}, {kind}", "us": round(whole, 1),
                          "core_us": round(alone, 1), "over_us": round(whole - alone, 1)}), flush=True)


def seconds_to(statement):
    timed = f"import time; begin = time.perf_counter(); {statement}; print(time.perf_counter() - begin)"
    return float(subprocess.run([sys.executable, "-c", timed], check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", action="store_true", help="tensors too")
    options = parser.parse_args()
    predict(lambda array: array, "numpy")
    if options.torch:
        import torch

        predict(torch.from_numpy, "torch")
    times = [(seconds_to(DEPENDENCIES), seconds_to("import fast_kmeans")) for _ in range(7)]
    needed, ours = (statistics.median(column) for column in zip(*times, strict=True))
    print(json.dumps({"case": "import fast_kmeans", "s": round(ours, 3), "dependencies_s": round(needed, 3),
                      "ratio": round(ours / needed, 3)}))


if __name__ == "__main__":
    main()
