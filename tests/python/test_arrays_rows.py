# SPDX-License-Identifier: Apache-2.0
"""Rows in: numpy, torch and scipy. No copy where the memory allows it, by the addresses of the data."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from fast_kmeans._arrays import Kind, columns_of, give, rows_of
from scipy import sparse

FLOATS = ["float16", "float32", "float64"]


def some(n=6, d=4, dtype="float32"):
    return np.arange(n * d).reshape(n, d).astype(dtype)


# ---- numpy, borrowed


@pytest.mark.parametrize("dtype", FLOATS)
def test_contiguous_floats_are_borrowed(dtype):
    X = some(dtype=dtype)
    rows = rows_of(X)
    assert rows.dense.dtype == dtype and rows.dense.ctypes.data == X.ctypes.data
    assert (rows.n_rows, rows.n_cols, rows.csr, rows.kind) == (6, 4, None, Kind.NUMPY)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "view",
    [np.s_[::2], np.s_[1:], np.s_[:, :3], np.s_[:, 1:2], np.s_[2:3], np.s_[::3, 1:3]],
    ids=["every other row", "tail", "first columns", "one column", "one row", "both"],
)
def test_views_with_adjacent_columns_are_borrowed(dtype, view):
    X = some(dtype=dtype)[view]
    rows = rows_of(X)
    assert rows.dense.ctypes.data == X.ctypes.data
    np.testing.assert_array_equal(rows.dense, X)


def test_read_only_memory_map_is_borrowed(tmp_path):
    some().tofile(tmp_path / "x")
    X = np.memmap(tmp_path / "x", dtype="float32", mode="r", shape=(6, 4))
    rows = rows_of(X)
    assert np.shares_memory(rows.dense, X) and not rows.dense.flags.writeable


# ---- numpy, copied into what the core reads


def test_arrays_the_core_cannot_read_are_copied_once():
    record = np.zeros(6, dtype=[("flag", "u1"), ("row", "f4", 4)])  # rows 17 bytes apart, not aligned
    record["row"] = some()
    unaligned = np.frombuffer(b"\0" + some().tobytes(), dtype="float32", offset=1).reshape(6, 4)
    for X in (
        np.asfortranarray(some()),
        some()[:, ::2],
        some()[:, ::-1],
        some()[::-1],
        np.broadcast_to(np.arange(4, dtype="float32"), (6, 4)),
        np.lib.stride_tricks.sliding_window_view(np.arange(9, dtype="float32"), 4),
        record["row"],
        unaligned,
    ):
        before = X.copy()
        rows = rows_of(X)
        assert (
            rows.dense.flags.c_contiguous and rows.dense.flags.aligned and not np.shares_memory(rows.dense, X)
        )
        np.testing.assert_array_equal(rows.dense, before)


@pytest.mark.parametrize("dtype", FLOATS)
def test_foreign_byte_order_is_turned(dtype):
    X = some(dtype=dtype)
    rows = rows_of(X.astype(X.dtype.newbyteorder()))
    assert rows.dense.dtype == dtype and rows.dense.dtype.isnative
    np.testing.assert_array_equal(rows.dense, X)


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
)
def test_integers_become_the_smallest_exact_float(dtype):
    rows = rows_of(some(dtype=dtype))
    assert rows.dense.dtype == "float32"
    np.testing.assert_array_equal(rows.dense, some(dtype=dtype))


@pytest.mark.parametrize("value", [2**24 + 1, -(2**24) - 1])
def test_integers_beyond_float32_become_float64(value):
    X = np.array([[value, 0], [1, 2]])
    rows = rows_of(X)
    assert rows.dense.dtype == "float64" and rows.dense[0, 0] == value
    assert rows_of(np.array([[2**24, -(2**24)]])).dense.dtype == "float32"


def test_objects_lists_and_long_doubles_become_float64():
    for X in (some().astype(object), some().tolist(), [list(map(float, row)) for row in some()]):
        np.testing.assert_array_equal(rows_of(X).dense, some())
    assert rows_of(some().astype(object)).dense.dtype == "float64"
    assert rows_of(some().astype("longdouble")).dense.dtype == "float64"
    assert np.isnan(rows_of(np.array([[1, None]], dtype=object)).dense[0, 1])


def test_the_core_reads_every_view_as_its_values():
    core = pytest.importorskip("fast_kmeans._core")
    context = core.Context(1)
    X = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    for view in (
        X[::2, :4],
        X[3:4],
        X[::-1][:1],
        X[:, 2:3],
        X[::-1][:1, ::-1][:, :1],
        np.broadcast_to(X[0], (1, 6)),
        np.broadcast_to(X[0], (3, 6)),
        X.T,
        np.lib.stride_tricks.sliding_window_view(X[0], 3),
    ):
        found = []
        for values in (rows_of(view).dense, np.array(view, order="C")):
            model = core.Model(context, {"task": "clusterer", "k_init": "2"})
            model.fit(core.Batch(values))
            found.append(np.empty((model.describe()["k"], view.shape[1])))
            model.get("centroids", found[-1])
        np.testing.assert_array_equal(*found)


def test_masked_entries_are_missing():
    X = np.ma.masked_array(some(), mask=some() == 5)
    rows = rows_of(X)
    assert np.isnan(rows.dense[1, 1]) and np.isnan(rows.dense).sum() == 1 and X.data[1, 1] == 5
    whole = np.ma.masked_array(some())
    assert np.shares_memory(rows_of(whole).dense, whole.data)
    with pytest.raises(ValueError, match="X has 1 masked entries of type <U1"):
        rows_of(np.ma.masked_array([["a", "b"]], mask=[[True, False]]))


# ---- refused, in scikit-learn's words


@pytest.mark.parametrize(
    "X, error, words",
    [
        (np.zeros(3), ValueError, "Expected 2D array, got 1D array.*\n?.*\n?Reshape your data"),
        (np.float32(3), ValueError, "Reshape your data"),
        (np.zeros((2, 2, 2)), ValueError, "Found array with dim 3"),
        (
            np.zeros((0, 3)),
            ValueError,
            r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required by It",
        ),
        (
            np.zeros((12, 0)),
            ValueError,
            r"0 feature\(s\) \(shape=\(12, 0\)\) while a minimum of 1 is required by It",
        ),
        (np.zeros((2, 2), complex), ValueError, "Complex data not supported"),
        (np.array([["a", "b"]]), ValueError, "not compatible with arrays of bytes/strings"),
        (np.array([["a", 1]], dtype=object), ValueError, "could not convert string to float"),
        (np.array([[{"foo": "bar"}, 1]], dtype=object), TypeError, "argument must be .* string.* number"),
        (np.zeros((2, 2), "datetime64[s]"), TypeError, r"X holds datetime64\[s\]"),
        (np.zeros((2, 2), "timedelta64[s]"), TypeError, r"X holds timedelta64\[s\]"),
        (np.matrix([[1.0]]), TypeError, "np.matrix is not supported"),
        (sparse.coo_array(np.ones(3)), ValueError, "Expected 2D input.*\nReshape your data"),
        (sparse.csr_array((0, 3)), ValueError, r"0 sample\(s\) \(shape=\(0, 3\)\)"),
        (sparse.csr_array((3, 0)), ValueError, r"0 feature\(s\) \(shape=\(3, 0\)\)"),
        (sparse.csr_array(np.ones((2, 2), complex)), ValueError, "Complex data not supported"),
        ((row for row in np.zeros((2, 2))), TypeError, "X is a generator; it must be an array: fit_stream"),
    ],
)
def test_refused(X, error, words):
    with pytest.raises(error, match=words):
        rows_of(X, estimator_name="It")


class OnGpu:
    shape, dtype = (2, 2), np.dtype("float32")
    __cuda_array_interface__ = {"shape": (2, 2), "typestr": "<f4", "data": (1, False), "version": 3}


class Elsewhere:
    def __dlpack__(self, **_):
        raise AssertionError("not asked for")

    def __dlpack_device__(self):
        return (2, 0)


@pytest.mark.parametrize("X", [OnGpu(), Elsewhere()])
def test_other_memory_is_refused_by_name(X):
    with pytest.raises(ValueError, match="X is .* copy it"):
        rows_of(X)


def test_dlpack_is_borrowed():
    class Foreign:
        def __init__(self, array):
            self.__dlpack__, self.array = array.__dlpack__, array

        def __dlpack__(self, **kwargs):
            return self.array.__dlpack__(**kwargs)

        def __dlpack_device__(self):
            return (1, 0)

    X = some()
    assert rows_of(Foreign(X)).dense.ctypes.data == X.ctypes.data


def test_bfloat16_of_numpy_becomes_float32():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rows = rows_of(some().astype(ml_dtypes.bfloat16))
    assert rows.dense.dtype == "float32"
    np.testing.assert_array_equal(rows.dense, some())


# ---- scipy


def random_csr(dtype="float32", kind=sparse.csr_array):
    dense = np.random.default_rng(0).integers(-3, 4, (7, 9)) * (np.random.default_rng(1).random((7, 9)) < 0.4)
    return kind(dense.astype(dtype)), dense


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_csr_values_and_indices_are_borrowed(kind, dtype):
    X, dense = random_csr(dtype, kind)
    values, indptr, indices, n_cols = rows_of(X).csr
    assert values.ctypes.data == X.data.ctypes.data and values.dtype == dtype
    assert (
        indices.ctypes.data == X.indices.ctypes.data and indices.dtype == "int32" and indptr.dtype == "int64"
    )
    np.testing.assert_array_equal(sparse.csr_array((values, indices, indptr), (7, n_cols)).toarray(), dense)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "dok", "lil", "dia", "bsr"])
@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("dtype", ["float32", "int64", "float64"])
def test_every_sparse_form(form, kind, dtype):
    X, dense = random_csr(dtype, kind)
    rows = rows_of(X.asformat(form))
    values, indptr, indices, n_cols = rows.csr
    assert (rows.n_rows, rows.n_cols, n_cols, rows.dense) == (7, 9, 9, None)
    assert values.dtype == ("float64" if dtype == "float64" else "float32")
    np.testing.assert_array_equal(sparse.csr_array((values, indices, indptr), (7, n_cols)).toarray(), dense)
    for i in range(7):
        assert (np.diff(indices[indptr[i] : indptr[i + 1]]) > 0).all()


def test_long_indices_and_spare_room_and_disorder():
    X, dense = random_csr()
    X.indices, X.indptr = X.indices.astype("int64"), X.indptr.astype("int64")
    assert rows_of(X).csr[2].dtype == "int32"
    roomy, _ = random_csr()
    roomy.data, roomy.indices = (
        np.append(roomy.data, [7, 7]),
        np.append(roomy.indices, [99, 99]).astype("int32"),
    )
    assert rows_of(roomy).csr[0].size == roomy.nnz
    wild = sparse.csr_array(([1.0, 2.0, 4.0], [2, 0, 2], [0, 3, 3]), (2, 3))
    values, indptr, indices, _ = rows_of(wild).csr
    np.testing.assert_array_equal(values, [2, 5])
    np.testing.assert_array_equal(indices, [0, 2])
    np.testing.assert_array_equal(wild.data, [1, 2, 4])  # the caller's matrix is as it was
    np.testing.assert_array_equal(wild.indices, [2, 0, 2])
    assert rows_of(sparse.csr_array((3, 4))).csr[0].size == 0


def test_sparse_indices_outside_are_refused():
    X, _ = random_csr()
    X.indices[0] = 12
    with pytest.raises(ValueError, match="column indices outside 0 to 8"):
        rows_of(X)
    wide = sparse.csr_array(([1.0], [2**31], [0, 1]), (1, 2**31 + 1))
    with pytest.raises(ValueError, match=f"has {2**31 + 1} columns"):
        rows_of(wide)


# ---- torch


@pytest.mark.parametrize("dtype", [*FLOATS, "bfloat16"])
@pytest.mark.parametrize("view", [np.s_[:], np.s_[::2], np.s_[:, :3], np.s_[:, 1:2]])
def test_tensors_are_borrowed(dtype, view):
    torch = pytest.importorskip("torch")
    X = torch.arange(24, dtype=torch.float32).reshape(6, 4).to(getattr(torch, dtype))[view].requires_grad_()
    rows = rows_of(X)
    address = rows.dense.data_ptr() if dtype == "bfloat16" else rows.dense.ctypes.data
    assert address == X.data_ptr() and rows.kind is Kind.TORCH
    assert (rows.n_rows, rows.n_cols) == tuple(X.shape) and not getattr(rows.dense, "requires_grad", False)


def test_tensors_the_core_cannot_read():
    torch = pytest.importorskip("torch")
    X = torch.arange(24, dtype=torch.float32).reshape(6, 4)
    for tensor in (X.T, X[:, ::2], X[:1].expand(5, 4), X.to(torch.int64), X.to(torch.uint8), X.double().T):
        dense = rows_of(tensor).dense
        assert dense.flags.c_contiguous and dense.dtype == (
            "float64" if tensor.dtype == torch.float64 else "float32"
        )
        np.testing.assert_array_equal(dense, tensor.numpy())
        half = rows_of(tensor.bfloat16()).dense
        assert half.stride(1) == 1 and torch.equal(half, tensor.bfloat16())
    half = X.bfloat16()
    for tensor in (half.T, half[:, ::2], half[:1].expand(5, 4), half.as_strided((5, 4), (2, 1))):
        assert rows_of(tensor).dense.is_contiguous() and torch.equal(rows_of(tensor).dense, tensor)
    assert rows_of(torch.nn.Parameter(X)).dense.ctypes.data == X.data_ptr()
    assert rows_of(X > 3).dense.sum() == 20


def test_tensors_refused():
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.bfloat16):
        with pytest.raises(ValueError, match="Reshape your data"):
            rows_of(torch.zeros(4, dtype=dtype))
        with pytest.raises(ValueError, match=r"0 sample\(s\) \(shape=\(0, 3\)\)"):
            rows_of(torch.zeros(0, 3, dtype=dtype))
        with pytest.raises(ValueError, match=r"0 feature\(s\) \(shape=\(12, 0\)\)"):
            rows_of(torch.zeros(12, 0, dtype=dtype))
    with pytest.raises(ValueError, match="Complex data not supported"):
        rows_of(torch.zeros(2, 2, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"X is on meta; this build has no meta backend: pass X\.cpu\(\)"):
        rows_of(torch.zeros(2, 2, device="meta"))


def test_cuda_tensors_are_refused():
    torch = pytest.importorskip("torch")

    class OnCuda(torch.Tensor):  # stands for a tensor of a machine with a GPU
        device = type("device", (), {"type": "cuda", "__str__": lambda self: "cuda:0"})()

    with pytest.raises(ValueError, match=r"X is on cuda:0; this build has no CUDA backend: pass X\.cpu\(\)"):
        rows_of(torch.zeros(2, 2).as_subclass(OnCuda))


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("form", ["to_sparse_csr", "to_sparse_coo", "to_sparse_csc"])
def test_sparse_tensors(form, dtype):
    torch = pytest.importorskip("torch")
    X, dense = random_csr()
    tensor = getattr(torch.from_numpy(X.toarray()).to(getattr(torch, dtype)), form)()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns about its sparse layouts whoever makes them
        rows = rows_of(tensor)
    values, indptr, indices, n_cols = rows.csr
    assert rows.kind is Kind.TORCH and values.dtype == ("float64" if dtype == "float64" else "float32")
    np.testing.assert_array_equal(sparse.csr_array((values, indices, indptr), (7, n_cols)).toarray(), dense)


# ---- answers


def test_answers_share_memory():
    torch = pytest.importorskip("torch")
    answer = some()
    assert give(answer, Kind.NUMPY) is answer
    assert give(answer, Kind.NUMPY, "float32") is answer and give(answer, Kind.NUMPY, "bfloat16") is answer
    assert give(answer, Kind.NUMPY, "float16").dtype == "float16"
    for array in (answer, np.arange(5), np.zeros((3, 2), "uint8"), np.zeros(3, bool), some(dtype="float16")):
        tensor = give(array, Kind.TORCH)
        assert tensor.data_ptr() == array.ctypes.data and tuple(tensor.shape) == array.shape
    assert give(answer, Kind.TORCH, "float32").data_ptr() == answer.ctypes.data
    assert give(answer, Kind.TORCH, "bfloat16").dtype is torch.bfloat16
    assert give(np.zeros(0, "float32"), Kind.TORCH).shape == (0,)


def test_answers_that_torch_cannot_hold_stay_numpy_and_nothing_warns():
    pytest.importorskip("torch")
    names = np.array(["a", "b"])
    assert give(names, Kind.TORCH) is names
    fixed = some()
    fixed.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = give(fixed, Kind.TORCH)
    tensor[0, 0] = 9
    assert fixed[0, 0] == 0


def test_nothing_is_imported_that_the_caller_did_not_import():
    code = """
import sys
import numpy as np
import sklearn.utils.validation  # imports pandas for itself where it is installed
from scipy import sparse
before = set(sys.modules)
from fast_kmeans import _arrays, _targets
rows = _arrays.rows_of(np.ones((4, 2), np.float32), estimator_name="It")
_arrays.rows_of(sparse.csr_array(np.eye(3)))
_arrays.rows_of([[1, 2], [3, 4]])
_targets.mask_of([1, 0], rows), _targets.weight_of([1, 2, 3, 4], 4), _targets.numbers_of([1, 2, 3, 4], 4)
_targets.vector_of(["a", "b"], "y"), _targets.tags_of(np.eye(4), 4)
_arrays.give(rows.dense, rows.kind)
print({"torch", "pandas", "polars", "pyarrow"} & (set(sys.modules) - before))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


# ---- what scikit-learn looks at


def test_rows_that_tell_their_width_are_looked_at_themselves():
    for X in (some(), some().tolist(), sparse.csr_array(some())):
        assert columns_of(X, rows_of(X)) is X
