"""export.py FOLDER [SET...] — writes published data sets as files that fkm reads, for tests and measurements.

The sets come from a folder with a load.py (environment variable FKM_DATA, else ../shared/data beside the checkout):
load(name, standardize) returns a dict with X_train, y_train, X_test, y_test, task. Dense rows become CSV with the
targets in the last columns (y, or y0, y1, ...); sparse rows and several labels become libsvm text, "3,17 5:0.5 9:1",
features from 1. Files: FOLDER/SET_train.csv or .svm, FOLDER/SET_test.csv or .svm. A set that is there is not
written again. Exit status 77: the data are not on this machine.

SPDX-License-Identifier: Apache-2.0"""
import os
import pathlib
import sys

SETS = ["letter", "yeast", "california_housing", "cluster_s1", "cluster_s4", "cluster_birch1", "banking77", "bibtex",
        "mnist"]
RAW = {"mnist", "cluster_s1", "cluster_s4", "cluster_birch1"}  # the rest is brought to mean 0, variance 1
ROOT = pathlib.Path(__file__).resolve().parents[2]


def data_folder():
    """Where load.py is, or None."""
    named = os.environ.get("FKM_DATA")
    folder = pathlib.Path(named) if named else ROOT.parent / "shared/data"
    return folder if (folder / "load.py").is_file() else None


def dense_lines(rows, targets):
    """Header and rows of a CSV; targets is None, (n,) or (n, m)."""
    header = [f"x{j}" for j in range(rows.shape[1])]
    columns = []
    if targets is not None:
        columns = [targets] if targets.ndim == 1 else list(targets.T)
        header += ["y"] if targets.ndim == 1 else [f"y{j}" for j in range(len(columns))]
    yield ",".join(header)
    for i, row in enumerate(rows):
        yield ",".join([f"{value:.9g}" for value in row] + [f"{column[i]:.9g}" for column in columns])


def labels_of(targets, i):
    """The labels of row i as text: one number, or numbers with commas from a CSR indicator matrix."""
    if hasattr(targets, "indptr"):
        return ",".join(str(tag) for tag in targets.indices[targets.indptr[i]:targets.indptr[i + 1]])
    return str(targets[i])


def sparse_lines(rows, targets):
    for i in range(rows.shape[0]):
        if hasattr(rows, "indptr"):
            places = slice(rows.indptr[i], rows.indptr[i + 1])
            pairs = zip(rows.indices[places], rows.data[places])
        else:
            pairs = enumerate(rows[i])
        yield " ".join([labels_of(targets, i), *(f"{j + 1}:{value:.9g}" for j, value in pairs if value)])


def write(path, lines):
    partial = path.with_suffix(path.suffix + ".partial")
    with open(partial, "w") as file:
        file.writelines(line + "\n" for line in lines)
    partial.rename(path)


def export(load, name, folder):
    """Writes one set; returns the paths of its files."""
    there = sorted(folder.glob(f"{name}_*.csv")) + sorted(folder.glob(f"{name}_*.svm"))
    if there:
        return there
    data = load(name, standardize=name not in RAW)
    sparse = data["task"] == "multilabel" or hasattr(data["X_train"], "indptr")
    for part in ("test", "train"):
        rows, targets = data[f"X_{part}"], data[f"y_{part}"]
        if rows is None:
            continue
        if data["task"] == "clustering":
            targets = None
        if hasattr(rows, "sort_indices"):
            rows.sort_indices()
        if sparse:
            write(folder / f"{name}_{part}.svm", sparse_lines(rows, targets))
        else:
            write(folder / f"{name}_{part}.csv", dense_lines(rows, targets))
    return export(load, name, folder)


def main(folder, *names):
    where = data_folder()
    if where is None:
        print("the data sets are not here: name their folder with FKM_DATA")
        return 77
    sys.path.insert(0, str(where))
    from load import load
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or SETS:
        print(*export(load, name, folder), sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
