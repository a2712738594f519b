# SPDX-License-Identifier: Apache-2.0
"""What comes beside rows: masks, weights, numbers, labels and tags."""

import itertools

import numpy as np
import pytest
from fast_kmeans._arrays import rows_of
from fast_kmeans._targets import mask_of, numbers_of, tags_of, vector_of, weight_of
from scipy import sparse
from sklearn.exceptions import DataConversionWarning

X = np.arange(12, dtype="float32").reshape(4, 3)


def containers(values):
    """The same values in every kind of array at hand."""
    yield "numpy", np.asarray(values)
    yield "list", np.asarray(values).tolist()
    for name, make in (
        ("torch", lambda m: m.tensor(values)),
        ("pandas", lambda m: (m.Series if np.ndim(values) == 1 else m.DataFrame)(values)),
        ("polars", lambda m: m.Series(values) if np.ndim(values) == 1 else m.from_numpy(np.asarray(values))),
        (
            "pyarrow",
            lambda m: m.array(values) if np.ndim(values) == 1 else m.table(dict(enumerate_text(values))),
        ),
    ):
        try:
            yield name, make(__import__(name))
        except ImportError:
            pass


def enumerate_text(values):
    return ((f"c{i}", column) for i, column in enumerate(np.asarray(values).T))


# ---- masks


def test_no_mask():
    assert mask_of(None, rows_of(X)) is None


@pytest.mark.parametrize(
    "values", [[[1, 0, 1]] * 4, [[True, False, True]] * 4, [[1.0, 0.5, 0.25]] * 4, [1, 0, 1], [[1, 0, 1]]]
)
def test_masks_of_every_kind(values):
    wanted = np.broadcast_to(np.asarray(values, dtype="float32"), (4, 3))
    for name, mask in containers(values):
        got = mask_of(mask, rows_of(X))
        assert got.dtype == "float32" and got.flags.c_contiguous, name
        np.testing.assert_array_equal(got, wanted, name)


def test_a_ready_mask_is_borrowed():
    torch = pytest.importorskip("torch")
    mask = np.ones((4, 3), "float32")
    assert mask_of(mask, rows_of(X)) is mask or np.shares_memory(mask_of(mask, rows_of(X)), mask)
    tensor = torch.ones(4, 3)
    assert mask_of(tensor, rows_of(X)).ctypes.data == tensor.data_ptr()
    np.testing.assert_array_equal(mask_of(tensor.bfloat16(), rows_of(X)), mask)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (3, 4), (4, 3, 1), (), (2, 3)])
def test_masks_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"feature_mask has shape .*X has 4 rows of 3 columns"):
        mask_of(np.ones(shape), rows_of(X))


def test_masks_need_dense_rows():
    with pytest.raises(ValueError, match="feature_mask needs dense rows; X is sparse"):
        mask_of(np.ones(3), rows_of(sparse.csr_array(X)))


# ---- weights


def test_weights_of_every_kind():
    assert weight_of(None, 4) is None
    for name, weight in containers([1.0, 0.0, 2.5, 3.0]):
        got = weight_of(weight, 4)
        assert got.dtype == "float32", name
        np.testing.assert_array_equal(got, np.float32([1, 0, 2.5, 3]), name)
    np.testing.assert_array_equal(weight_of(2, 3), np.float32([2, 2, 2]))
    np.testing.assert_array_equal(weight_of(np.array(2.5), 3), np.float32([2.5, 2.5, 2.5]))
    ready = np.ones(4, "float32")
    assert weight_of(ready, 4).ctypes.data == ready.ctypes.data


@pytest.mark.parametrize(
    "weight, words",
    [
        (np.ones(3), "X has 4, sample_weight has 3"),
        (np.ones((4, 2)), "Sample weights must be 1D array or scalar, got 2D array"),
        ([1, np.nan, 1, 1], "Input sample_weight contains NaN"),
        ([1, np.inf, 1, 1], "Input sample_weight contains infinity"),
        (
            [1, 1e300, 1, 1],
            "Input sample_weight contains infinity or a value too large for dtype\\('float32'\\)",
        ),
        ([1, 1, -2, 1], "Negative values in data passed to `sample_weight`: row 2 has -2"),
        (np.zeros(4), "Sample weights must contain at least one non-zero number"),
        (["a", "b", "c", "d"], "strings"),
        (np.nan, "Input sample_weight contains NaN"),
        (0, "Sample weights must contain at least one non-zero number"),
        (np.ones(4, complex), "Complex data not supported"),
    ],
)
def test_weights_refused(weight, words):
    with pytest.raises(ValueError, match=words):
        weight_of(weight, 4)


# ---- numbers


def test_numbers_of_every_kind():
    for values in (
        [1.5, 2.0, -3.0, 4.0],
        [[1.5, 1], [2.0, 2], [-3.0, 3], [4.0, 4]],
        [[1.5], [2.0], [3.0], [4.0]],
    ):
        for name, y in containers(values):
            got, one_d = numbers_of(y, 4)
            assert got.dtype == "float64" and got.flags.c_contiguous and one_d == (np.ndim(values) == 1), name
            np.testing.assert_array_equal(got, np.asarray(values).reshape(4, -1), name)


def test_ready_numbers_are_borrowed():
    for y in (np.arange(4.0), np.ones((4, 2))):
        assert numbers_of(y, 4)[0].ctypes.data == y.ctypes.data


@pytest.mark.parametrize(
    "y, words",
    [
        (None, "requires y to be passed, but the target y is None"),
        (np.ones(3), "X has 4, y has 3"),
        (np.ones((4, 2, 2)), "Found array with dim 3"),
        (np.ones((4, 0)), "0 feature|y has shape"),
        ([1, np.nan, 1, 1], "Input y contains NaN"),
        ([1, np.inf, 1, 1], "Input y contains infinity"),
        (["a", "b", "c", "d"], "could not convert string"),
        (np.ones(4, complex), "Complex data not supported"),
    ],
)
def test_numbers_refused(y, words):
    with pytest.raises(ValueError, match=words):
        numbers_of(y, 4)


# ---- labels


@pytest.mark.parametrize(
    "values", [[3, -1, 3, 2**40], ["b", "a", "b", "ä"], [True, False, True, True], [0.5, 1.0, 2.0, 0.5]]
)
def test_labels_of_every_kind(values):
    for name, y in containers(values) if not isinstance(values[0], str) else text_containers(values):
        got = vector_of(y, "y", 4)
        assert isinstance(got, np.ndarray) and got.ndim == 1, name
        assert got.tolist() == values, name
        assert got.dtype.kind == np.asarray(values).dtype.kind or got.dtype == object, name


def text_containers(values):
    yield "list", values
    yield "object", np.array(values, dtype=object)
    pandas, polars, pyarrow = map(pytest.importorskip, ("pandas", "polars", "pyarrow"))
    yield "pandas", pandas.Series(values)
    yield "pandas categories", pandas.Series(values, dtype="category")
    yield "pandas column", pandas.Series(values, dtype="string")
    yield "polars", polars.Series(values)
    yield "polars categories", polars.Series(values, dtype=polars.Categorical)
    yield "pyarrow", pyarrow.array(values)
    yield "pyarrow chunks", pyarrow.chunked_array([values[:1], values[1:]])
    yield "pyarrow dictionary", pyarrow.array(values).dictionary_encode()


def test_nullable_labels_without_a_hole_keep_their_type():
    pandas = pytest.importorskip("pandas")
    assert vector_of(pandas.Series([1, 2], dtype="Int64")).dtype == "int64"
    assert vector_of(pandas.Series([1, 2], dtype="Int8")).dtype == "int8"
    assert vector_of(pandas.Series([True, False], dtype="boolean")).dtype == "bool"


@pytest.mark.parametrize("values, dtype", [([1, 2, 2], "int64"), ([np.int8(1), 2, 2], "int64"), ([True, False], "bool")])
def test_numbers_held_as_objects_are_numbers(values, dtype):
    assert vector_of(np.array(values, object)).dtype == dtype


def test_a_column_of_labels_warns():
    pandas = pytest.importorskip("pandas")
    for y in (np.array([[1], [2]]), pandas.DataFrame({"y": [1, 2]}), pandas.DataFrame({"y": ["1", "2"]})):
        with pytest.warns(
            DataConversionWarning, match="A column-vector y was passed when a 1d array was expected"
        ):
            assert vector_of(y).shape == (2,)


@pytest.mark.parametrize(
    "y, words",
    [
        (None, "requires y to be passed, but the target y is None"),
        (np.ones((4, 2)), "y should be a 1d array"),
        ([1.0, np.nan, 1, 1], "Input y contains NaN"),
        ([1.0, np.inf, 1, 1], "Input y contains infinity"),
        (
            np.array(["a", None, "b", "c"], dtype=object),
            "Input y contains NaN: the label of row 1 is missing",
        ),
        (
            np.array(["a", "b", np.nan, "c"], dtype=object),
            "Input y contains NaN: the label of row 2 is missing",
        ),
        (np.ones(4, complex), "Complex data not supported"),
        ([1, 2, 3], "X has 4, y has 3"),
    ],
)
def test_labels_refused(y, words):
    with pytest.raises(ValueError, match=words):
        vector_of(y, "y", 4)


def test_sparse_labels_are_refused():
    with pytest.raises(TypeError, match="Sparse data was passed for y|[Ss]parse"):
        vector_of(sparse.csr_array(np.eye(4)))


def test_labels_with_a_hole_are_refused():
    pandas, polars, pyarrow = map(pytest.importorskip, ("pandas", "polars", "pyarrow"))
    for y in (
        pandas.Series([1, None, 3], dtype="Int64"),
        pandas.Series(["a", None, "b"]),
        pandas.Series(["a", None, "b"], dtype="category"),
        pandas.Series(["a", None, "b"], dtype="string"),
        polars.Series([1, None, 3]),
        polars.Series(["a", None, "b"]),
        pyarrow.array([1, None, 3]),
        pyarrow.array(["a", None, "b"]),
    ):
        with pytest.raises(ValueError, match="Input y contains NaN"):
            vector_of(y)


# ---- tags

INDICATOR = [
    [1, 0, 1, 0, 0],
    [0, 0, 0, 0, 0],
    [0, 1, 0, 0, 0],
    [1, 1, 1, 0, 0],
]  # the last two tags never occur


def assert_tags(got):
    indptr, tags, n_tags = got
    assert (indptr.dtype, tags.dtype, n_tags) == ("int64", "int32", 5)
    assert [tags[a:b].tolist() for a, b in itertools.pairwise(indptr)] == [[0, 2], [], [1], [0, 1, 2]]


@pytest.mark.parametrize("dtype", ["int64", "bool", "float32", "uint8", "object"])
def test_tags_of_every_kind(dtype):
    for _name, y in containers(np.asarray(INDICATOR, dtype if dtype != "object" else "int8").tolist()):
        assert_tags(tags_of(y, 4))
    assert_tags(tags_of(np.asfortranarray(np.asarray(INDICATOR, dtype)), 4))


def test_sparse_tags():
    torch = pytest.importorskip("torch")
    for y in (
        sparse.csr_array(INDICATOR),
        sparse.csr_matrix(INDICATOR, dtype=bool),
        sparse.coo_array(INDICATOR),
    ):
        assert_tags(tags_of(y, 4))
    zeros = sparse.csr_array(INDICATOR)
    zeros.data = np.append(zeros.data, 0)
    zeros.indices, zeros.indptr = np.append(zeros.indices, 4).astype("int32"), zeros.indptr + [0, 0, 0, 0, 1]
    assert_tags(tags_of(zeros, 4))
    assert zeros.nnz == 7  # an explicit 0 is no tag, and the caller's matrix is as it was
    assert_tags(tags_of(torch.tensor(INDICATOR).to_sparse_coo(), 4))
    assert_tags(tags_of(torch.tensor(INDICATOR).float().to_sparse_csr(), 4))
    assert_tags(tags_of(torch.tensor(INDICATOR).bfloat16(), 4))


def test_one_tag_per_row():
    for values in ([3, 0, 1, 1], [[3], [0], [1], [1]], [3.0, 0.0, 1.0, 1.0]):
        for name, y in containers(values):
            indptr, tags, n_tags = tags_of(y, 4)
            assert (indptr.tolist(), tags.tolist(), n_tags) == ([0, 1, 2, 3, 4], [3, 0, 1, 1], 4), name


@pytest.mark.parametrize(
    "y, words",
    [
        (None, "requires y to be passed, but the target y is None"),
        ([[1, 0], [0, 2], [0, 0], [1, 1]], "y must hold 0 and 1; row 1, column 1 is 2"),
        ([[1, 0], [0, 1], [0, 0.5], [1, 1]], "y must hold 0 and 1; row 2, column 1 is 0.5"),
        ([[1, 0], [0, 1], [0, 0], [np.nan, 1]], "y must hold 0 and 1; row 3, column 0 is nan"),
        (sparse.csr_array([[1, 0], [0, -1], [0, 0], [1, 1]]), "y must hold 0 and 1; row 1, column 1 is -1"),
        (np.ones((3, 2)), "X has 4, y has 3"),
        (np.ones((4, 0)), "y has shape"),
        (np.ones((4, 2, 2)), "y has shape"),
        ([1, 2, 3], "X has 4, y has 3"),
        ([1, 2, 3, -1], "tags from -1 to 3"),
        ([1, 2, 3, 2**31], "must be between 0 and"),
        ([1, 2, 3, 0.5], "Unknown label type: y is one column of float64, not all of it whole numbers"),
        ([1, 2, 3, np.nan], "Unknown label type: y is one column of float64, not all of it whole numbers"),
        ([[0, 2], [1], [], [0]], "lists of different lengths.*MultiLabelBinarizer"),
        ([{0, 2}, {1}, set(), {0}], "y holds a set for each row.*MultiLabelBinarizer"),
        (["a", "b", "c", "d"], "Unknown label type: y is one column of <U1"),
        ([["a", "b"]] * 4, "y must hold 0 and 1"),
    ],
)
def test_tags_refused(y, words):
    with pytest.raises(ValueError, match=words):
        tags_of(y, 4)


def test_other_memory_is_named():
    torch = pytest.importorskip("torch")
    there = torch.ones(4, device="meta")
    for name, call in (
        ("y", lambda: vector_of(there)),
        ("y", lambda: numbers_of(there, 4)),
        ("y", lambda: tags_of(there, 4)),
        ("sample_weight", lambda: weight_of(there, 4)),
        ("feature_mask", lambda: mask_of(there, rows_of(X))),
    ):
        with pytest.raises(
            ValueError, match=rf"^{name} is on meta; this build has no meta backend: pass {name}.cpu"
        ):
            call()


def test_holes_of_nullable_columns_are_named():
    pandas = pytest.importorskip("pandas")
    holed = pandas.Series([1.0, None, 2, 3], dtype="Float64")
    for name, call in (
        ("y", lambda: numbers_of(holed, 4)),
        ("sample_weight", lambda: weight_of(holed, 4)),
        ("y", lambda: numbers_of(pandas.DataFrame({"a": holed, "b": 1}), 4)),
    ):
        with pytest.raises(ValueError, match=f"Input {name} contains NaN"):
            call()
    assert np.isnan(mask_of(holed[:3], rows_of(X))[0, 1])  # which the core refuses, naming row and column
