# SPDX-License-Identifier: Apache-2.0
"""From a call's arrays to a lesson or a question for the core, and what the estimator is once it was learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.validation import validate_data

from . import _core
from ._arrays import Kind, Rows, columns_of, host_array, rows_of, texts_of
from ._attributes import FittedAttributes
from ._parameters import TABLE, context_of, need_device, refusal, seed_of, text_of
from ._search import is_installed
from ._targets import mask_of, weight_of


@dataclass
class Lesson:
    """One call's rows and targets, and what the estimator will be once it has learned them."""

    batch: _core.Batch | None  # None: they come later, from a source
    targets: dict[str, Any]  # as the batch has them
    weight: np.ndarray | None
    kind: Kind
    meaning: Any
    columns: dict[str, Any]  # n_features_in_, feature_names_in_
    stream: bool = False  # other rows may follow

    @property
    def n_cols(self) -> int | None:
        return None if self.batch is None else self.batch.n_cols


class Lessons(FittedAttributes):
    """The part of an estimator that talks to the core; the public methods are BaseFastKMeans's."""

    _task: str
    _meaning_of: Any
    _meaning: Any
    missing: str
    random_state: Any

    # ---- from arrays to the core

    def _rows(
        self, X, feature_mask, y="no_validation", anew: bool = False
    ) -> tuple[Rows, Any, dict[str, Any]]:
        """Rows, mask, and the columns as scikit-learn checks them; nothing is remembered yet."""
        allow_nan = self.missing == "mask" or feature_mask is not None
        X = X if anew else self._of_texts(X)
        rows = rows_of(X, allow_nan=allow_nan, estimator_name=type(self).__name__)
        if not anew and (y is not None or self._task == "clusterer") and self._knows_columns(X, rows):
            return rows, mask_of(feature_mask, rows), {}
        seen = object.__new__(type(self))
        seen.__dict__.update(self.__dict__)
        validate_data(seen, columns_of(X, rows), y=y, skip_check_array=True, reset=anew)
        names = ("n_features_in_", "feature_names_in_")
        return (
            rows,
            mask_of(feature_mask, rows),
            {name: seen.__dict__[name] for name in names if name in seen.__dict__},
        )

    def _of_texts(self, X):
        """Sparse rows in the place of texts, where the model came from a file that says how to make them."""
        texts = texts_of(X)
        parts = self._current().rows_of_texts(texts) if texts else None
        if parts is None:
            return X
        values, indptr, indices = (
            np.frombuffer(part, kind) for part, kind in zip(parts, (np.float32, np.int64, np.int32))
        )
        return sparse.csr_array((values, indices, indptr), shape=(len(texts), parts[3]))

    def _knows_columns(self, X, rows: Rows) -> bool:
        """Whether scikit-learn's checks would find nothing; they take longer than short answers."""
        nameless = type(X) is np.ndarray or rows.kind is Kind.TORCH
        return nameless and rows.n_cols == self.n_features_in_ and "feature_names_in_" not in self.__dict__

    def _lesson(self, X, y, sample_weight, feature_mask, *, anew: bool, grow: bool) -> Lesson:
        """anew: whatever was learned before does not matter. grow: classes never seen may appear."""
        if not anew:
            self._current()
        rows, mask, columns = self._rows(X, feature_mask, y, anew)
        meaning = self._meaning_of() if anew else self._meaning
        targets, meaning = meaning.read(y, rows.n_rows, grow)
        weight = weight_of(sample_weight, rows.n_rows)
        batch = _core.Batch(rows.dense, csr=rows.csr, weight=weight, mask=mask, **targets)
        return Lesson(batch, targets, weight, rows.kind if anew else self._kind, meaning, columns)

    def _held_out(self, eval_set, lesson: Lesson) -> _core.Batch | None:
        """Rows to evaluate on: (X, y) or (X, y, weight)."""
        if eval_set is None:
            return None
        if not isinstance(eval_set, (tuple, list)) or len(eval_set) not in (2, 3):
            raise ValueError("eval_set must be (X, y) or (X, y, sample_weight)")
        X, y, sample_weight = (*eval_set, None)[:3]
        try:
            X = self._of_texts(X) if "_model" in self.__dict__ else X
            rows = rows_of(X, allow_nan=self.missing == "mask", estimator_name=type(self).__name__)
            targets, _ = lesson.meaning.read(y, rows.n_rows, False)
            weight = weight_of(sample_weight, rows.n_rows)
        except ValueError as error:
            raise ValueError(f"eval_set: {error}") from None
        return _core.Batch(rows.dense, csr=rows.csr, weight=weight, **targets)

    def _question(self, X, feature_mask) -> tuple[_core.Model, Rows, _core.Batch]:
        model = self._current()
        rows, mask, _ = self._rows(X, feature_mask)
        return model, rows, _core.Batch(rows.dense, csr=rows.csr, mask=mask)

    # ---- models

    def _new_model(self, lesson: Lesson) -> _core.Model:
        """An unfitted model with this estimator's arguments, which are all checked here."""
        given = self.__dict__
        need_device(given["device"])
        if given.get("use_faiss") is True and not is_installed():
            raise ImportError(
                "use_faiss=True needs faiss, which is not installed: pip install 'fast-kmeans-suite[faiss]'"
            )
        start = None if isinstance(given["init_mode"], str) else given["init_mode"]
        params = {"task": self._task}
        for name in TABLE.keys() & given.keys():
            if name == "random_state":
                continue
            if not (name == "init_mode" and start is not None):
                params[name] = text_of(name, given[name])
        model = _core.Model(
            context_of(given["n_threads"]), params | {"random_state": str(seed_of(self.random_state))}
        )
        if start is not None:
            model.set_start(*_start_of(start, lesson))
        if given["feature_weights"] is not None:
            model.set_feature_weights(_weights_of(given["feature_weights"], lesson.n_cols))
        self._write_notes(model, lesson)
        return model

    def _adopt(self, model: _core.Model, lesson: Lesson, anew: bool) -> None:
        """The estimator is now what the model is."""
        state = self.__dict__
        for name in ("labels_", "inertia_", "_searched_at"):
            state.pop(name, None)
        is_known = not anew and lesson.meaning is self._meaning
        state["_meaning"], state["_cache"] = lesson.meaning, {}  # first: other threads may be asking
        if anew:
            state.pop("feature_names_in_", None)
            state.update(lesson.columns)
            state["_known"] = self._set_so_far()
            state["_model"], state["_kind"] = model, lesson.kind
        elif not is_known:
            self._write_notes(model, lesson)


def _weights_of(weights, n_cols: int | None) -> np.ndarray:
    weights = np.ascontiguousarray(host_array(weights, "feature_weights"), np.float64)
    if weights.ndim != 1 or n_cols not in (None, len(weights)):
        shape = f"({n_cols or 'D'},)"
        raise ValueError(
            f"feature_weights has shape {weights.shape}; it must have {shape}, one for each column"
        )
    return weights


def _start_of(start, lesson: Lesson) -> tuple[np.ndarray, ...]:
    """Starting prototypes as the core takes them: points, and labels where the task has them."""
    if not hasattr(lesson.meaning, "starts"):
        return (_points_of(start, lesson.n_cols),)
    if not isinstance(start, (tuple, list)) or len(start) != 2:
        raise ValueError("init_mode must be 'kmeans++', 'random', or a tuple (points, their labels)")
    points = _points_of(start[0], lesson.n_cols)
    return points, lesson.meaning.starts(start[1], len(points))


def _points_of(points, n_cols: int | None) -> np.ndarray:
    given = points
    try:
        points = np.asarray(host_array(points, "init_mode"))
    except ValueError as error:  # ragged, as points with labels that this task has not
        raise ValueError(f"init_mode is a {type(given).__name__} that is no array: it must be numbers, (K, D)") from error
    if points.ndim == 0:
        raise refusal("init_mode", given)
    if points.ndim != 2 or points.dtype.kind not in "biuf" or points.dtype.itemsize > 8:
        raise ValueError(
            f"init_mode is an array of {points.dtype}, {points.shape}; it must be numbers, (K, D)"
        )
    if n_cols not in (None, points.shape[1]):
        raise ValueError(f"init_mode has {points.shape[1]} columns, X has {n_cols}")
    return np.ascontiguousarray(points, np.result_type(np.float32, points.dtype))
