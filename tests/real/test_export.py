"""test_export.py — the files that published data sets are written to hold what the sets hold.

SPDX-License-Identifier: Apache-2.0"""
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "house"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import export  # noqa: E402
import house  # noqa: E402


def numpy_or_skip():
    try:
        import numpy
    except ImportError:
        raise house.Skip("no numpy here") from None
    return numpy


class Csr:
    """What export.py uses of a scipy CSR matrix."""

    def __init__(self, indptr, indices, data, shape):
        self.indptr, self.indices, self.data, self.shape = indptr, indices, data, shape

    def sort_indices(self):
        pass


def files_of(data):
    with tempfile.TemporaryDirectory() as scratch:
        paths = export.export(lambda name, standardize: data, "small", pathlib.Path(scratch))
        return {path.name: path.read_text() for path in paths}


def test_one_target_becomes_the_last_column():
    numpy = numpy_or_skip()
    rows = numpy.array([[1.5, -2], [0.1, 3]], "f4")
    found = files_of({"X_train": rows, "y_train": numpy.array([7, 8]), "X_test": rows[:1],
                      "y_test": numpy.array([9]), "task": "multiclass"})
    assert found == {"small_train.csv": "x0,x1,y\n1.5,-2,7\n0.100000001,3,8\n", "small_test.csv": "x0,x1,y\n1.5,-2,9\n"}


def test_several_targets_become_columns():
    numpy = numpy_or_skip()
    found = files_of({"X_train": numpy.array([[1.0]]), "y_train": numpy.array([[2.0, 3.0]]), "X_test": None,
                      "y_test": None, "task": "regression"})
    assert found == {"small_train.csv": "x0,y0,y1\n1,2,3\n"}


def test_clusters_are_written_without_the_answer():
    numpy = numpy_or_skip()
    found = files_of({"X_train": numpy.array([[1.0, 2.0]]), "y_train": numpy.array([4]), "X_test": None,
                      "y_test": None, "task": "clustering"})
    assert found == {"small_train.csv": "x0,x1\n1,2\n"}


def test_several_labels_become_libsvm_text():
    numpy = numpy_or_skip()
    tags = Csr([0, 2, 2], [3, 17], [1, 1], (2, 20))
    found = files_of({"X_train": numpy.array([[0, 0.5], [2, 0]]), "y_train": tags, "X_test": None, "y_test": None,
                      "task": "multilabel"})
    assert found == {"small_train.svm": "3,17 2:0.5\n 1:2\n"}


def test_sparse_rows_become_libsvm_text():
    rows = Csr([0, 1, 3], [4, 0, 2], [0.25, 1.0, 2.0], (2, 5))
    found = files_of({"X_train": rows, "y_train": [6, 5], "X_test": None, "y_test": None, "task": "multiclass"})
    assert found == {"small_train.svm": "6 5:0.25\n5 1:1 3:2\n"}


def test_a_published_set_arrives_whole():
    if export.data_folder() is None:
        raise house.Skip("the data sets are not here: FKM_DATA names their folder")
    numpy_or_skip()
    with tempfile.TemporaryDirectory() as scratch:
        said = house.output_of([sys.executable, "-B", export.__file__, scratch, "cluster_s1"], env=os.environ)
        lines = pathlib.Path(said.split()[-1]).read_text().splitlines()
    assert len(lines) == 5001 and lines[1] == "664159,550946", (len(lines), lines[:2])


if __name__ == "__main__":
    sys.exit(house.run(globals()))
