# SPDX-License-Identifier: Apache-2.0
"""Rows in: tables of pandas, polars, pyarrow and whoever else exports Arrow streams."""

import numpy as np
import pytest
from fast_kmeans._arrays import Kind, rows_of
from scipy import sparse

VALUES = np.arange(12, dtype="float64").reshape(4, 3)


# ---- pandas


@pytest.fixture
def pd():
    return pytest.importorskip("pandas")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_frame_of_one_block_is_borrowed(pd, dtype):
    X = VALUES.astype(dtype)
    rows = rows_of(pd.DataFrame(X, columns=list("abc"), copy=False))
    assert rows.dense.ctypes.data == X.ctypes.data and rows.dense.dtype == dtype
    assert rows.feature_names == ["a", "b", "c"] and rows.kind is Kind.NUMPY
    assert (rows.n_rows, rows.n_cols) == (4, 3)


def test_frames_of_several_types(pd):
    frame = pd.DataFrame({"a": np.float32([1.5, 2]), "b": [True, False], "c": np.int8([3, 4])})
    rows = rows_of(frame)
    assert rows.dense.dtype == "float32"
    np.testing.assert_array_equal(rows.dense, [[1.5, 1, 3], [2, 0, 4]])
    frame["d"] = [2**40, 1]
    assert rows_of(frame).dense.dtype == "float64" and rows_of(frame).dense[0, 3] == 2**40
    assert rows_of(pd.DataFrame({"a": [1, 2], "b": [3, 4]})).dense.dtype == "float32"
    assert rows_of(pd.DataFrame({"a": [1, 2], "b": [3, 4]}, dtype=object)).dense.dtype == "float64"


@pytest.mark.parametrize(
    "dtype, wanted",
    [
        ("Int8", "float32"),
        ("Int64", "float64"),
        ("Float32", "float32"),
        ("Float64", "float64"),
        ("boolean", "float32"),
    ],
)
def test_empty_cells_of_nullable_columns_are_missing(pd, dtype, wanted):
    frame = pd.DataFrame({"a": pd.array([1, None, 0], dtype=dtype), "b": np.zeros(3, "int8")})
    rows = rows_of(frame)
    assert rows.dense.dtype == wanted
    np.testing.assert_array_equal(rows.dense, [[1, 0], [np.nan, 0], [0, 0]])


def test_arrow_columns_of_pandas(pd):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1.5, None], "b": [1, 2]}, dtype="double[pyarrow]")
    np.testing.assert_array_equal(rows_of(frame).dense, [[1.5, 1], [np.nan, 2]])
    frame = pd.DataFrame({"a": [1, None], "b": [1, 2]}, dtype="int64[pyarrow]")
    np.testing.assert_array_equal(rows_of(frame).dense, [[1, 1], [np.nan, 2]])


def test_sparse_frames(pd):
    dense = np.array([[0, 1.5], [2, 0], [0, 0]])
    frame = pd.DataFrame(dense, columns=["a", "b"]).astype(pd.SparseDtype("float64", 0))
    rows = rows_of(frame)
    values, indptr, indices, n_cols = rows.csr
    assert rows.feature_names == ["a", "b"]
    np.testing.assert_array_equal(sparse.csr_array((values, indices, indptr), (3, n_cols)).toarray(), dense)
    frame["b"] = dense[:, 1]
    np.testing.assert_array_equal(rows_of(frame).dense, dense)
    filled = pd.DataFrame(dense, columns=["a", "b"]).astype(pd.SparseDtype("float64", np.nan))
    np.testing.assert_array_equal(rows_of(filled).dense, dense)


def test_columns_that_are_no_numbers_are_named(pd):
    when = pd.DataFrame({"n": [1.0, 2.0], "when": pd.to_datetime(["2020-01-01", "2020-01-02"])})
    with pytest.raises(ValueError, match=r"column 'when' of X holds datetime64\[.*\]; it must hold numbers"):
        rows_of(when)
    for dtype in ("category", "string"):
        with pytest.raises(ValueError, match=f"column 'kind' of X holds {dtype}"):
            rows_of(pd.DataFrame({"kind": pd.Series(["a", "b"], dtype=dtype)}))
    with pytest.raises(ValueError, match="could not convert string to float"):
        rows_of(pd.DataFrame({"kind": np.array(["a", "b"], object)}, dtype=object))
    with pytest.raises(ValueError, match="Complex data|holds complex"):
        rows_of(pd.DataFrame({"z": [1j, 2]}))


def test_names_of_columns_are_all_text_or_none(pd):
    assert rows_of(pd.DataFrame(VALUES)).feature_names is None
    assert rows_of(pd.DataFrame(VALUES, columns=["a", 1, "c"])).feature_names is None


def test_frames_and_series_refused(pd):
    with pytest.raises(
        ValueError, match=r"0 sample\(s\) \(shape=\(0, 2\)\) while a minimum of 1 is required by It"
    ):
        rows_of(pd.DataFrame({"a": [], "b": []}, dtype="float64"), estimator_name="It")
    with pytest.raises(ValueError, match=r"0 feature\(s\) \(shape=\(3, 0\)\)"):
        rows_of(pd.DataFrame(index=range(3)))
    with pytest.raises(ValueError, match="Expected a 2-dimensional container but got .*Series"):
        rows_of(pd.Series([1.0, 2.0]))


# ---- Arrow streams


@pytest.fixture
def pa():
    pytest.importorskip("fast_kmeans._core")
    return pytest.importorskip("pyarrow")


@pytest.fixture
def pl():
    pytest.importorskip("fast_kmeans._core")
    return pytest.importorskip("polars")


class Stream:
    """Any producer: nothing but the protocol."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "type_name", ["float16", "float32", "float64", "int8", "uint16", "int32", "int64", "bool_"]
)
def test_arrow_tables(pa, type_name):
    values = VALUES.astype("bool" if type_name == "bool_" else type_name)
    table = pa.table({name: pa.array(column) for name, column in zip("abc", values.T, strict=True)})
    wanted = {"float64": "float64", "int32": "float64", "int64": "float64"}
    for X in (
        table,
        table.to_batches()[0],
        Stream(table),
        pa.RecordBatchReader.from_batches(table.schema, table.to_batches()),
    ):
        rows = rows_of(X)
        assert (
            rows.dense.flags.c_contiguous
            and rows.feature_names == ["a", "b", "c"]
            and rows.kind is Kind.NUMPY
        )
        np.testing.assert_array_equal(rows.dense, values)
        assert rows.dense.dtype == ("float64" if type(X) is Stream else wanted.get(type_name, "float32"))


def test_many_chunks(pa):
    rng = np.random.default_rng(0)
    values = rng.random((150_000, 2))
    table = pa.concat_tables(
        pa.table({"a": part[:, 0], "b": part[:, 1]}) for part in np.split(values, [1, 3, 3, 70_000, 140_001])
    )
    for X in (table, Stream(table)):
        np.testing.assert_array_equal(rows_of(X).dense, values)


def test_fixed_size_lists_are_several_columns(pa, pl):
    lists = pa.FixedSizeListArray.from_arrays(pa.array(VALUES.reshape(-1).astype("float32")), 3)
    for X in (
        pa.table({"e": lists, "n": pa.array([7, 8, 9, 10], pa.float32())}),
        pl.DataFrame(
            {"e": pl.Series(VALUES.tolist(), dtype=pl.Array(pl.Float32, 3)), "n": [7.0, 8, 9, 10]},
            schema_overrides={"n": pl.Float32},
        ),
    ):
        rows = rows_of(X)
        assert rows.dense.dtype == "float32" and rows.n_cols == 4
        np.testing.assert_array_equal(rows.dense, np.column_stack([VALUES, [7, 8, 9, 10]]))


def test_polars_frames(pl):
    frame = pl.DataFrame({"a": [1.5, 2.5], "b": [1, 2], "c": [True, False]})
    rows = rows_of(frame)
    assert rows.feature_names == ["a", "b", "c"] and rows.dense.dtype == "float64"
    np.testing.assert_array_equal(rows.dense, [[1.5, 1, 1], [2.5, 2, 0]])
    assert rows_of(frame.select(pl.col("a").cast(pl.Float32), "c")).dense.dtype == "float32"


def test_empty_cells(pa, pl):
    for X in (pa.table({"a": [1.0, None], "b": [None, 2]}), pl.DataFrame({"a": [1.0, None], "b": [None, 2]})):
        np.testing.assert_array_equal(rows_of(X, allow_nan=True).dense, [[1, np.nan], [np.nan, 2]])
        with pytest.raises(ValueError, match="row|column"):
            rows_of(X)


def test_tables_refused(pa, pl):
    for X in (pa.table({"a": pa.array([], pa.float32())}), pl.DataFrame({"a": []}, schema={"a": pl.Float32})):
        with pytest.raises(
            ValueError, match=r"0 sample\(s\) \(shape=\(0, 1\)\) while a minimum of 1 is required by It"
        ):
            rows_of(X, estimator_name="It")
    for X in (pa.table({"n": [1, 2], "kind": ["a", "b"]}), pl.DataFrame({"n": [1, 2], "kind": ["a", "b"]})):
        with pytest.raises(ValueError, match="kind"):
            rows_of(X)
    for X in (pa.chunked_array([[1.0, 2.0]]), pa.array([1.0, 2.0]), pl.Series([1.0, 2.0])):
        with pytest.raises(ValueError, match="Expected (a 2-dimensional container|2D array)"):
            rows_of(X)
