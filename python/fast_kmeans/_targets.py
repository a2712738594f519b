# SPDX-License-Identifier: Apache-2.0
"""What comes beside rows: labels, numbers, tags, weights and masks, from the same kinds of arrays."""

from __future__ import annotations

import numbers

import numpy as np
from scipy import sparse
from sklearn.utils.validation import assert_all_finite, check_array, column_or_1d

from ._arrays import Kind, Rows, host_array, is_pandas_frame, kind_of, rows_of_pandas, rows_of_tensor

MOST_TAGS = 2**31 - 1


def mask_of(feature_mask, rows: Rows) -> np.ndarray | None:
    """float32, n_rows x n_cols, C-contiguous, in [0, 1] as the core checks; one row stands for all."""
    if feature_mask is None:
        return None
    if rows.csr is not None:
        raise ValueError("feature_mask needs dense rows; X is sparse")
    mask = _numbers(feature_mask, "feature_mask")
    wanted = (rows.n_rows, rows.n_cols)
    if mask.shape not in (wanted, (1, rows.n_cols), (rows.n_cols,)):
        raise ValueError(
            f"feature_mask has shape {mask.shape}; X has {rows.n_rows} rows of {rows.n_cols} columns: "
            f"it must be {wanted} or ({rows.n_cols},)"
        )
    return np.ascontiguousarray(np.broadcast_to(mask, wanted), dtype=np.float32)


def weight_of(sample_weight, n_rows: int) -> np.ndarray | None:
    """float32, n_rows; a scalar stands for all."""
    if sample_weight is None:
        return None
    weight = _numbers(sample_weight, "sample_weight")
    if weight.ndim == 0:
        weight = np.full(n_rows, weight)
    if weight.ndim != 1:
        raise ValueError(
            f"Sample weights must be 1D array or scalar, got {weight.ndim}D array of shape {weight.shape}; "
            f"X has {n_rows} rows"
        )
    check_length(weight, n_rows, "sample_weight")
    with np.errstate(over="ignore"):
        weight = np.ascontiguousarray(weight, dtype=np.float32)
    assert_all_finite(weight, input_name="sample_weight")
    if (weight < 0).any():
        row = int(np.argmax(weight < 0))
        raise ValueError(f"Negative values in data passed to `sample_weight`: row {row} has {weight[row]:g}")
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


def numbers_of(y, n_rows: int) -> tuple[np.ndarray, bool]:
    """Targets of a regressor: float64, n_rows x n_targets, C-contiguous; and whether y had one dimension."""
    y = check_array(_plain(y, "y"), ensure_2d=False, dtype=np.float64, input_name="y")
    if y.ndim not in (1, 2) or y.shape[1:] == (0,):
        raise ValueError(f"y has shape {y.shape}; it must be one number per row, or rows x targets")
    check_length(y, n_rows, "y")
    return np.ascontiguousarray(y.reshape(n_rows, -1)), y.ndim == 1


def vector_of(y, name: str = "y", n_rows: int | None = None) -> np.ndarray:
    """Labels: one dimension, any dtype; none may be missing. A column vector warns as in scikit-learn."""
    y = _plain(y, name)
    if y.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{y}\n")
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name=name)
    elif y.dtype.kind == "O" and any(_is_missing(label) for label in y):
        row = next(i for i, label in enumerate(y) if _is_missing(label))
        raise ValueError(f"Input {name} contains NaN: the label of row {row} is missing")
    elif y.dtype.kind == "O" and all(isinstance(label, numbers.Integral) for label in y):
        y = np.array(y.tolist())  # numbers or truth values that a frame held as objects
    if n_rows is not None:
        check_length(y, n_rows, name)
    return y


def tags_of(y, n_rows: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Tags of each row: (indptr int64, tags int32, n_tags). From an indicator matrix of 0 and 1, dense or
    sparse; or from one column of integers, one tag per row."""
    if kind_of(y) is Kind.TORCH and str(y.layout) != "torch.strided":
        y = rows_of_tensor(y, "y")
    y = plain_tags(y)
    if not sparse.issparse(y):
        if y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1):
            return _one_tag_each(y.reshape(-1), n_rows)
    if y.ndim != 2 or y.shape[1] == 0:
        raise ValueError(f"y has shape {y.shape}; it must be an indicator matrix, rows x tags")
    check_length(y, n_rows, "y")
    if sparse.issparse(y):
        y = y.tocsr(copy=True)
        y.sum_duplicates()
        y.eliminate_zeros()
        values, columns, indptr = y.data, y.indices, y.indptr
    else:
        at, columns = np.nonzero(y)
        values, indptr = y[at, columns], np.concatenate(([0], np.cumsum(np.bincount(at, minlength=n_rows))))
    if not np.all(values == 1):
        first = int(np.argmax(values != 1))
        row = int(np.searchsorted(indptr, first, side="right")) - 1
        raise ValueError(f"y must hold 0 and 1; row {row}, column {columns[first]} is {values[first]}")
    return indptr.astype(np.int64), columns.astype(np.int32), y.shape[1]


def plain_tags(y):
    """numpy, or a scipy matrix; lists of tags are refused in words."""
    how = "it must be an indicator matrix, rows x tags, as sklearn.preprocessing.MultiLabelBinarizer makes it"
    try:
        y = _plain(y, "y")
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError(f"y holds lists of different lengths; {how}") from None
    if getattr(y, "dtype", None) == object and y.ndim == 1 and isinstance(next(iter(y), None), (set, frozenset, list)):
        raise ValueError(f"y holds a {type(y[0]).__name__} for each row; {how}")
    return y


def _one_tag_each(y: np.ndarray, n_rows: int) -> tuple[np.ndarray, np.ndarray, int]:
    check_length(y, n_rows, "y")
    if y.dtype.kind not in "biuf" or np.any(y != np.floor(y)):
        raise ValueError(
            f"Unknown label type: y is one column of {y.dtype}, not all of it whole numbers; it must be an "
            "indicator matrix, rows x tags, or hold the number of one tag per row"
        )
    if y.size and not 0 <= y.min() <= y.max() < MOST_TAGS:
        raise ValueError(
            f"y holds tags from {y.min()} to {y.max()}; they must be between 0 and {MOST_TAGS - 1}"
        )
    return np.arange(n_rows + 1, dtype=np.int64), y.astype(np.int32), int(y.max()) + 1 if y.size else 0


def check_length(array, n_rows: int, name: str) -> None:
    if array.shape[0] != n_rows:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"X has {n_rows}, {name} has {array.shape[0]}"
        )


def _plain(value, name: str):
    """numpy, or a scipy matrix, from anything; pandas' nullable types without a hole keep their type."""
    if value is None:
        raise ValueError(f"This estimator requires {name} to be passed, but the target {name} is None")
    value = host_array(value, name)
    if is_pandas_frame(value):
        try:
            return rows_of_pandas(value, name)
        except ValueError:  # text: labels
            return np.asarray(value)
    plain = getattr(getattr(value, "dtype", None), "numpy_dtype", None)  # of a nullable column
    if plain is not None and plain.kind in "biuf":
        has_hole = value.isna().any()
        return value.to_numpy(np.float64, na_value=np.nan) if has_hole else value.to_numpy(plain)
    return value if sparse.issparse(value) else np.asarray(value)


def _numbers(value, name: str) -> np.ndarray:
    value = _plain(value, name)
    value = value.toarray() if sparse.issparse(value) else value
    return check_array(
        value,
        ensure_2d=False,
        allow_nd=True,
        ensure_all_finite=False,
        ensure_min_samples=0,
        ensure_min_features=0,
        input_name=name,
    )


def _is_missing(label) -> bool:
    return label is None or type(label).__name__ == "NAType" or bool(label != label)
