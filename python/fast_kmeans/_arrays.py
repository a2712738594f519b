# SPDX-License-Identifier: Apache-2.0
"""Arrays in and out: whatever holds rows becomes float rows that the core can read, without a copy where the
memory allows it, and answers go back as the kind of array that was given.

Borrowed: float16, float32 and float64 of numpy, also views whose rows lie apart, CPU tensors of torch
(bfloat16 too) and the values of CSR matrices. NaN and infinities are the core's to find: it looks at every
value anyway, and knows the mask.

torch, pandas, polars and pyarrow are never imported here before the caller's object proves that they are.
"""

from __future__ import annotations

import enum
import itertools
import re
import sys
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.utils import validation
from sklearn.utils.validation import check_array

FLOATS = ("float16", "float32", "float64")
EXACT_IN_FLOAT32 = 2**24
ROWS_PER_BLOCK = 65536  # of a table
MOST_COLUMNS = 2**31 - 1
DLPACK_ON_HOST = (1, 3, 11, 13)  # CPU, and memory of CUDA and ROCm that the CPU reads


class Kind(enum.Enum):
    """How answers go back."""

    NUMPY = "numpy"
    TORCH = "torch"


@dataclass
class Rows:
    """Borrowed rows, ready for the core: dense (numpy's floats, or a tensor of bfloat16) or csr."""

    dense: object | None  # n_rows x n_cols, columns adjacent
    csr: tuple | None  # (values, indptr int64, indices int32, n_cols); columns of a row ascend
    kind: Kind
    feature_names: list[str] | None
    n_rows: int
    n_cols: int


def rows_of(X, *, allow_nan: bool = False, estimator_name: str | None = None) -> Rows:
    """The rows of X. allow_nan: an empty cell of a table becomes NaN, else it is an error."""
    kind, names = kind_of(X), None
    if kind is Kind.TORCH:
        X = rows_of_tensor(X, "X")
        if kind_of(X) is Kind.TORCH:
            return Rows(X, None, kind, None, *X.shape)
    elif is_pandas_frame(X):
        X, names = rows_of_pandas(X, "X"), _text_names(X.columns)
    elif _is_arrow_table(X):
        X, names = _rows_of_arrow(X, allow_nan)
    else:
        X = host_array(X, "X")
    if type(X) is np.ndarray and X.ndim == 2 and X.size > 0 and is_plain(X.dtype):
        return Rows(_adjacent(X), None, kind, names, *X.shape)  # check_array takes longer than short answers
    if sparse.issparse(X):
        return _sparse_rows(X, kind, names, estimator_name)
    if hasattr(X, "__iter__") and not _has_any(X, "__getitem__", "__array__"):  # a generator, a data loader
        raise TypeError(f"X is a {type(X).__name__}; it must be an array: fit_stream learns from batches that follow")
    X = check_array(X, dtype="numeric", ensure_all_finite=False, estimator=estimator_name, input_name="X")
    return Rows(_adjacent(floats(X, "X")), None, kind, names, *X.shape)


def texts_of(X) -> list[str] | None:
    """The texts of a list, a one-dimensional array or a column of texts; None when it is something else."""
    if isinstance(X, (list, tuple)):
        return list(X) if X and isinstance(X[0], str) else None
    if getattr(X, "ndim", None) != 1 or not hasattr(X, "tolist") or getattr(X.dtype, "kind", "O") not in "OUT":
        return None
    texts = X.tolist()
    return texts if texts and isinstance(texts[0], str) else None


def columns_of(X, rows: Rows):
    """What scikit-learn's validate_data shall look at: X, or numbers of its width where X does not tell,
    as streams and tables with lists of several columns do not."""
    told = not hasattr(X, "__arrow_c_stream__") or getattr(X, "shape", (None,))[1:] == (rows.n_cols,)
    if not told:
        return np.broadcast_to(np.float32(0), (rows.n_rows, rows.n_cols))
    known = hasattr(X, "__dataframe__") or is_pandas_frame(X) or hasattr(validation, "nw")  # narwhals
    return X if known or rows.feature_names is None else _Columns((rows.n_rows, rows.n_cols), rows.feature_names)


@dataclass
class _Columns:
    """Tables as scikit-learn before 1.9 knows them, for those that no longer speak that protocol."""

    shape: tuple[int, int]
    names: list[str]

    def __dataframe__(self):
        return self

    def column_names(self) -> list[str]:
        return self.names


def give(array: np.ndarray, kind: Kind, dtype: str | None = None):
    """The array as the kind the caller works with, on the same memory where possible.
    dtype: of a model, 'float16' to 'float64' or 'bfloat16' (which numpy does not have: float32 there)."""
    if kind is Kind.TORCH and array.dtype.kind in "biuf":
        try:
            import torch
        except ImportError:  # a model that was fitted on tensors, loaded where there are none
            return give(array, Kind.NUMPY, dtype)
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
        return tensor if dtype is None else tensor.to(getattr(torch, dtype))
    return array if dtype is None else array.astype("float32" if dtype == "bfloat16" else dtype, copy=False)


def kind_of(X) -> Kind:
    torch = sys.modules.get("torch")
    return Kind.TORCH if torch is not None and isinstance(X, torch.Tensor) else Kind.NUMPY


def host_array(value, name: str):
    """A numpy view of what lies in CPU memory; lists and the like are given back as they are."""
    if isinstance(value, np.ma.MaskedArray):
        value = _without_mask(value, name)
    if isinstance(value, np.ndarray):
        return value.astype("float32") if value.dtype.name == "bfloat16" else value  # of ml_dtypes
    if kind_of(value) is Kind.TORCH:
        return _host_tensor(value, name)
    if hasattr(value, "__cuda_array_interface__"):
        raise ValueError(f"{name} is on a GPU; this build has no CUDA backend: copy it to CPU memory first")
    if hasattr(value, "__dlpack_device__") and not hasattr(value, "__arrow_c_array__"):
        if int(value.__dlpack_device__()[0]) not in DLPACK_ON_HOST:
            raise ValueError(f"{name} is not in CPU memory; this build has only a CPU backend: copy it there")
        if not hasattr(value, "__array__"):
            return np.from_dlpack(value)
    return value


def _without_mask(array: np.ma.MaskedArray, name: str) -> np.ndarray:
    """What is masked is missing: NaN."""
    if not np.ma.is_masked(array):
        return array.data
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} has {np.ma.count_masked(array)} masked entries of type {array.dtype}")
    return array.astype(np.result_type(array.dtype, np.float16)).filled(np.nan)


def is_plain(dtype: np.dtype) -> bool:
    """Whether the core reads it as it is: one of FLOATS, by its character, as numpy makes names anew each time."""
    return dtype.char in "efd" and dtype.isnative


def floats(array: np.ndarray, name: str) -> np.ndarray:
    """Numbers as float16, float32 or float64 in this machine's byte order, the array itself if it is."""
    if is_plain(array.dtype):
        return array
    if array.dtype.kind == "f":
        return array.astype(array.dtype.name if array.dtype.name in FLOATS else "float64")
    if array.dtype.kind not in "biu":
        raise TypeError(f"{name} holds {array.dtype}; it must hold numbers")
    exact = array.dtype.itemsize <= 2 or array.size == 0
    exact = exact or (array.min() >= -EXACT_IN_FLOAT32 and array.max() <= EXACT_IN_FLOAT32)
    return array.astype("float32" if exact else "float64")


def _adjacent(array: np.ndarray) -> np.ndarray:
    """The array if its elements are aligned, its columns adjacent and its rows apart; else a copy."""
    size, (n_rows, n_cols), (row, column) = array.itemsize, array.shape, array.strides
    good = array.flags.aligned and (n_cols == 1 or column == size)
    good = good and (n_rows == 1 or row >= n_cols * size)
    return array if good else np.array(array, order="C")


# ---- torch


def _host_tensor(tensor, name: str) -> np.ndarray:
    _refuse_device(tensor, name)
    tensor = tensor.detach()
    if tensor.dtype.is_floating_point and str(tensor.dtype).removeprefix("torch.") not in FLOATS:
        tensor = tensor.float()
    return tensor.numpy(force=True)


def rows_of_tensor(tensor, name: str):
    """A numpy view, a scipy matrix, or the tensor itself when it is bfloat16, which numpy does not have."""
    _refuse_device(tensor, name)
    tensor, layout = tensor.detach(), str(tensor.layout)
    if layout == "torch.strided":
        if str(tensor.dtype) != "torch.bfloat16" or tensor.ndim != 2 or 0 in tensor.shape:
            return _host_tensor(tensor, name)
        n_rows, n_cols = tensor.shape
        row, column = tensor.stride()
        good = (n_cols == 1 or column == 1) and (n_rows == 1 or row >= n_cols)
        return tensor if good else tensor.contiguous()
    if tensor.ndim != 2 or tensor.dense_dim():
        raise ValueError(
            f"{name} is a sparse tensor of shape {tuple(tensor.shape)}; it must be rows x columns"
        )
    shape = tuple(tensor.shape)
    if layout == "torch.sparse_csr":
        parts = tensor.values(), tensor.col_indices(), tensor.crow_indices()
        return sparse.csr_array(tuple(_host_tensor(part, name) for part in parts), shape=shape)
    tensor = tensor.to_sparse_coo().coalesce()
    values, at = _host_tensor(tensor.values(), name), _host_tensor(tensor.indices(), name)
    return sparse.coo_array((values, (at[0], at[1])), shape=shape)


def _refuse_device(tensor, name: str) -> None:
    if tensor.device.type == "cpu":
        return
    backend = {"cuda": "CUDA", "mps": "Metal"}.get(tensor.device.type, tensor.device.type)
    raise ValueError(f"{name} is on {tensor.device}; this build has no {backend} backend: pass {name}.cpu()")


# ---- scipy


def _sparse_rows(X, kind: Kind, names, estimator_name: str | None) -> Rows:
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D input, got input with shape {X.shape}.\nReshape your data to rows x columns"
        )
    X = check_array(
        X,
        accept_sparse="csr",
        accept_large_sparse=True,
        dtype=None,
        ensure_all_finite=False,
        estimator=estimator_name,
        input_name="X",
    )
    n_rows, n_cols = X.shape
    if n_cols > MOST_COLUMNS:
        raise ValueError(f"sparse X has {n_cols} columns; at most {MOST_COLUMNS} are possible")
    n_values = int(X.indptr[-1])
    if n_values and (X.indices[:n_values].min() < 0 or X.indices[:n_values].max() >= n_cols):
        raise ValueError(f"sparse X has column indices outside 0 to {n_cols - 1}")
    if not X.has_canonical_format:  # ascending, each column once; the caller's matrix stays as it is
        X = X.copy()
        X.sum_duplicates()
        n_values = int(X.indptr[-1])
    values = np.ascontiguousarray(floats(X.data[:n_values], "X"))
    indptr = np.ascontiguousarray(X.indptr, dtype=np.int64)
    indices = np.ascontiguousarray(X.indices[:n_values], dtype=np.int32)
    return Rows(None, (values, indptr, indices, n_cols), kind, names, n_rows, n_cols)


# ---- tables


def _text_names(names) -> list[str] | None:
    names = list(names)
    return names if names and all(isinstance(name, str) for name in names) else None


def is_pandas_frame(X) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(X, getattr(pandas, "DataFrame", ()))


def rows_of_pandas(frame, name: str):
    """The frame's own memory where it is one block; empty cells of nullable columns become NaN."""
    types = list(frame.dtypes)
    if types and all(hasattr(t, "subtype") and getattr(t, "fill_value", None) == 0 for t in types):
        return frame.sparse.to_coo()
    common = None
    for column, dtype in zip(frame.columns, types, strict=True):
        plain = _plain_dtype(dtype)
        if plain is None or plain.kind not in "biufO":
            raise ValueError(f"column {column!r} of {name} holds {dtype}; it must hold numbers")
        if plain is not dtype:  # nullable
            plain = np.result_type(plain, np.float32)
        common = plain if common is None else np.result_type(common, plain)
    may_be_empty = common is not None and common.kind in "fO"
    return frame.to_numpy(dtype=common, **({"na_value": np.nan} if may_be_empty else {}))


def _plain_dtype(dtype):
    """What numpy calls the type of a column, nullable, Arrow's or sparse; None of text and the like."""
    if isinstance(dtype, np.dtype):
        return dtype
    plain = getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", None))
    return plain if isinstance(plain, np.dtype) and plain.kind != "O" else None


def _is_arrow_table(X) -> bool:
    """Whatever exports a stream, but for single columns: those have one type, and none of a table's words."""
    if not hasattr(X, "__arrow_c_stream__"):
        return False
    return _has_any(X, "schema", "columns", "column_names") or not _has_any(X, "type", "dtype")


def _has_any(thing, *names: str) -> bool:
    return any(hasattr(thing, name) for name in names)


def _rows_of_arrow(table, allow_nan: bool):
    """The rows of a table, read once, and the names of their columns."""
    from . import _core

    dtype, missing = _dtype_of_table(table), "mask" if allow_nan else "error"
    source = _core.Source.from_arrow(table, task="clusterer", missing=missing, dtype=dtype)
    every_name = map(source.column_name, itertools.count())
    names = list(itertools.takewhile(lambda name: name is not None, every_name))
    rows, filled = np.empty((0, len(names)), dtype), 0
    while (block := source.next(ROWS_PER_BLOCK)) is not None:
        x, mask = np.asarray(block["x"]), block["mask"]
        if filled == 0:
            expected = max(getattr(table, "num_rows", 0), getattr(table, "height", 0), len(x))
            rows = np.empty((expected, x.shape[1]), dtype)
        if filled + len(x) > len(rows):
            rows.resize((2 * len(rows), x.shape[1]), refcheck=False)
        rows[filled : filled + len(x)] = x if mask is None else np.where(np.asarray(mask) == 0, np.nan, x)
        filled += len(x)
    return rows[:filled], _text_names(names)


LIST_OF = r"(array\(|fixed_size_list<\w+: )?"  # as polars and pyarrow write fixed-size lists
EXACT_TYPE = re.compile(LIST_OF + r"(bool|boolean|u?int(8|16)|half_?float|float16|float|float32)\b")


def _dtype_of_table(table) -> str:
    """float32 where every column fits it, by the names of the types; float64 where not or unknown."""
    types = getattr(getattr(table, "schema", None), "types", None) or getattr(table, "dtypes", None)
    names = ["unknown"] if types is None else [str(dtype).lower() for dtype in types]
    return "float32" if all(EXACT_TYPE.match(name) for name in names) else "float64"
