"""quality.py FKM [--seeds N] [SET ...] — accuracy of the command on published data sets, against its targets.

Each case runs `fkm fit` (and its fine-tuning) on the training file and `fkm evaluate` on the test file, once per
seed, with the options printed beside it. Prints a Markdown table: median [smallest, largest] over the seeds and the
seconds of one run (loading text, phases 1 and 2, writing the model). The sets come from a folder with a load.py: see
tests/real/export.py. Clustering is measured as the ratio of the sum of squared errors to the best of ten k-means++
runs that the data's own page names. `digits` is scikit-learn's own, a fixed three quarters of it to learn from.

SPDX-License-Identifier: Apache-2.0"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/real"))
import export  # noqa: E402

EUCLIDEAN = "--distance euclidean --soft-type softmax_scaled"
TEXT = "--distance cosine --soft-type softmax_scaled"
SOME_FOCUS = "--asl-gamma-neg 1 --asl-gamma-pos 0 --asl-clip 0"
FOCUS = "--asl-gamma-neg 2 --asl-gamma-pos 0 --asl-clip 0"
PLAIN_LOSS = "--asl-gamma-neg 0 --asl-gamma-pos 0 --asl-clip 0"
# set, name of the case, options of fit, score, factor, target ('>= 95' in the units shown)
CASES = [
    ("letter", "k=10, fit alone", f"{EUCLIDEAN} --k-init 10 --max-iters 25", "accuracy", 100, ">= 80"),
    ("letter", "k=10, fit alone, nearest prototype", f"{EUCLIDEAN} --k-init 10 --max-iters 25", "nearest_accuracy",
     100, "soft within 0.3"),
    ("letter", "k=10, fit and fine-tuning",
     f"{EUCLIDEAN} --k-init 10 --max-iters 25 --finetune 40 --lr 0.05", "accuracy", 100, ">= 95.0"),
    ("letter", "k=10, glvq, fit alone, nearest prototype",
     f"{EUCLIDEAN} --k-init 10 --max-iters 25 --repulsion-mode glvq", "nearest_accuracy", 100, ">= 92"),
    ("mnist", "30 a class, fit and fine-tuning",
     f"{EUCLIDEAN} --k-init 30 --max-iters 20 --finetune 20 --lr 0.05", "accuracy", 100, ">= 96"),
    ("california_housing", "200 prototypes, top_k 5, RMSE in $100k",
     f"{EUCLIDEAN} --finetune 30 --lr 0.03", "rmse", 1e-5, "<= 0.56"),
    ("california_housing", "200 prototypes, top_k 16, RMSE in $100k",
     f"{EUCLIDEAN} --top-k 16 --finetune 30 --lr 0.03", "rmse", 1e-5, "<= 0.56"),
    ("yeast", "k=3, micro-F1, adaptive",
     f"{TEXT} --k-init 3 --finetune 20 --lr 0.1 {PLAIN_LOSS}", "micro_f1", 1, ">= .65"),
    ("bibtex", "k=1, P@1", f"{TEXT} --k-init 1 --finetune 30 --lr 0.1 {SOME_FOCUS}", "precision_at_1", 1, ">= .63"),
    ("bibtex", "k=1, micro-F1, adaptive", f"{TEXT} --k-init 1 --finetune 30 --lr 0.1 {SOME_FOCUS}", "micro_f1", 1,
     ">= .46"),
    ("delicious", "k=1, P@1", f"{TEXT} --k-init 1 --finetune 20 --lr 0.1 {PLAIN_LOSS}", "precision_at_1", 1, ">= .66"),
    ("delicious", "k=1, P@5", f"{TEXT} --k-init 1 --finetune 20 --lr 0.1 {PLAIN_LOSS}", "precision_at_5", 1, ">= .55"),
    ("reuters21578", "k=1, micro-F1, adaptive", f"{TEXT} --k-init 1 --finetune 20 --lr 0.3 {FOCUS}", "micro_f1", 1,
     ">= .86"),
    ("banking77", "k=1, TF-IDF",
     f"{TEXT} --k-init 1 --temperature 0.2 --top-k -1 --max-iters 20 --finetune 20 --lr 0.2 --prototype-scale true",
     "accuracy", 100, ">= 88.8"),
    ("banking77", "k=1, TF-IDF, one temperature",
     f"{TEXT} --k-init 1 --temperature 0.1 --top-k -1 --max-iters 20 --finetune 20 --lr 0.2", "accuracy", 100,
     ">= 88"),
    ("twenty_newsgroups", "k=1, TF-IDF",
     f"{TEXT} --k-init 1 --temperature 0.05 --top-k -1 --max-iters 10 --finetune 10 --lr 0.2 --prototype-scale true "
     "--noise 5", "accuracy", 100, ">= 86"),
    ("digits", "k=10", f"{EUCLIDEAN} --k-init 10 --finetune 40 --lr 0.05", "accuracy", 100, ">= 98.5"),
    ("protein", "500 prototypes, top_k 16, RMSE",
     f"{EUCLIDEAN} --k-targets 20 --k-features 25 --top-k 16 --finetune 20 --lr 0.01", "rmse", 1, "<= 4.2"),
    ("cluster_s1", "15 clusters, SSE over best of 10", "--distance euclidean --k-init 15 --max-iters 300 --tol 0",
     "sse", 1 / 8.9176e12, "<= 1.005"),
    ("cluster_s4", "15 clusters, SSE over best of 10", "--distance euclidean --k-init 15 --max-iters 300 --tol 0",
     "sse", 1 / 1.5705e13, "<= 1.005"),
    ("cluster_birch1", "100 clusters, SSE over best of 10",
     "--distance euclidean --k-init 100 --max-iters 300 --tol 0", "sse", 1 / 9.5157e13, "<= 1.005"),
]
TASKS = {"multiclass": "classifier", "multilabel": "multilabel", "regression": "regressor", "clustering": "clusterer"}


def digits():
    from sklearn.datasets import load_digits

    rows, labels = load_digits(return_X_y=True)
    train, test = np.split(np.random.default_rng(0).permutation(len(rows)), [1347])
    return {"task": "multiclass", "X_train": rows[train], "y_train": labels[train], "X_test": rows[test],
            "y_test": labels[test]}


def files_of(load, name, folder):
    """Task, and the arguments that name the training and the test file."""
    data = digits() if name == "digits" else load(name, standardize=name not in export.RAW)
    task = TASKS[data["task"]]
    if task == "multilabel" or hasattr(data["X_train"], "indptr"):
        paths = {path.stem.rsplit("_", 1)[1]: str(path) for path in export.export(load, name, folder)}
        width = str(data["X_train"].shape[1])
        return task, *(["--data", paths[part]] + (["--n-cols", width] if part == "train" else []) for part in ("train", "test"))
    arguments = []
    for part in ("train", "test"):
        rows, targets = data[f"X_{part}"], data[f"y_{part}"]
        path = folder / f"{name}_{part}"
        if rows is None:
            arguments.append(arguments[0])
            continue
        np.save(f"{path}_x.npy", np.ascontiguousarray(rows, np.float32))
        argument = ["--data", f"{path}_x.npy"]
        if task != "clusterer":
            np.save(f"{path}_y.npy", np.asarray(targets, np.int64 if task == "classifier" else np.float64))
            argument += ["--target", f"{path}_y.npy"]
        arguments.append(argument)
    return task, *arguments


def run(command, *arguments):
    return subprocess.run([command, *arguments], check=True, capture_output=True, text=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command")
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_intermixed_args()
    where = export.data_folder()
    if where is None:
        print("the data sets are not here: name their folder with FKM_DATA")
        return 77
    sys.path.insert(0, str(where))
    from load import load
    print("| data | case | median [smallest, largest] | target | seconds | options of `fkm fit` |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        folder, known, fitted = pathlib.Path(scratch), {}, {}
        for name, case, arguments, score, factor, target in CASES:
            if options.sets and name not in options.sets:
                continue
            if name not in known:
                known[name] = files_of(load, name, folder)
            task, train, test = known[name]
            if (name, arguments) not in fitted:
                results = []
                for seed in range(options.seeds):
                    model = str(folder / "model.fkm")
                    begin = time.monotonic()
                    run(options.command, "fit", "--quiet", "--task", task, *train, "--model", model,
                        *arguments.split(), "--random-state", str(seed))
                    seconds = time.monotonic() - begin
                    scores = json.loads(run(options.command, "evaluate", "--quiet", "--json", "--model", model, *test))
                    results.append((seconds, scores))
                fitted[name, arguments] = results
            results = fitted[name, arguments]
            values = sorted(factor * scores[score] for _, scores in results)
            seconds = statistics.median(seconds for seconds, _ in results)
            print(f"| {name} | {case} | {statistics.median(values):.4g} [{values[0]:.4g}, {values[-1]:.4g}] | {target} "
                  f"| {seconds:.1f} | `{arguments}` |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
