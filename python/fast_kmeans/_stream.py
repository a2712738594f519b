# SPDX-License-Identifier: Apache-2.0
"""Learning from files, Arrow streams and iterables batch by batch, with checkpoints that know their place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._arrays import Kind, is_pandas_frame, kind_of, rows_of
from ._labels import Labels
from ._parameters import need_kinds
from ._progress import Watcher
from ._targets import mask_of, weight_of

if TYPE_CHECKING:
    from ._base import BaseFastKMeans

FILE_OPTIONS = ("format", "header", "index_base", "n_cols")
ROWS_AT_ONCE = 65536  # of a table that is read anew for each epoch


def fit_stream(
    estimator: BaseFastKMeans,
    source,
    target,
    weight,
    *,
    epochs: int,
    gradient_step: bool,
    checkpoint,
    checkpoint_batches: int,
    resume: bool,
    verbose: bool,
    callbacks,
    file_options: dict[str, Any],
):
    """BaseFastKMeans.fit_stream, which describes the arguments."""
    need_kinds(epochs=epochs, checkpoint_batches=checkpoint_batches)
    stream = _stream_of(estimator, source, target, weight, epochs, resume, file_options)
    fresh = not estimator.__sklearn_is_fitted__()
    if epochs > 1 and not stream.again and (fresh or not resume):
        raise NotImplementedError(
            f"epochs is {epochs}, but source, a {type(source).__name__}, can be read only once: give a list, a table, a "
            "data loader, or a function that returns an iterator"
        )
    if fresh and gradient_step:
        estimator._fitted()
    if fresh and resume and checkpoint is not None and os.path.exists(checkpoint):
        raise ValueError(
            f"resume=True, but this estimator has learned nothing and would replace {os.fspath(checkpoint)!r}: "
            "read that with fast_kmeans.load and call fit_stream of what it gives"
        )
    stream.open()
    model = stream.new_model() if fresh else estimator._current()
    stream.prepare(model)
    with Watcher(verbose, callbacks, "finetune" if gradient_step else "fit") as progress:
        try:
            model.fit_source(
                stream.source,
                epochs=epochs,
                gradient_step=gradient_step,
                checkpoint=None if checkpoint is None else os.fspath(checkpoint),
                checkpoint_batches=checkpoint_batches,
                resume=resume,
                progress=progress,
            )
        except _core.InterruptedByCallback:
            pass
        finally:  # also after an error or Ctrl-C: the batches before it were learned
            if model.describe()["fitted"]:
                stream.adopt(model, fresh)
    return estimator


def _stream_of(estimator, source, target, weight, epochs, resume, file_options) -> _Stream:
    if isinstance(source, (str, os.PathLike)):
        return _File(estimator, os.fspath(source), target, weight, file_options)
    if file_options:
        raise ValueError(f"{next(iter(file_options))} is for files, source is a {type(source).__name__}")
    if is_pandas_frame(source):
        source = source.reset_index(drop=True)  # pandas would hand it over as one more column
    if hasattr(source, "__arrow_c_stream__"):
        kind = _Table if hasattr(source, "__len__") and (epochs > 1 or resume) else _Arrow
        return kind(estimator, source, target, weight)
    if target is not None or weight is not None:
        raise ValueError("target and weight name columns of files and tables; an iterable yields (X, y, weight)")
    if callable(source) or isinstance(source, Iterable):
        return _Batches(estimator, source)
    raise TypeError(
        f"source is a {type(source).__name__}; it must be a path, an Arrow stream, an iterable of (X, y), "
        "or a function that returns an iterator"
    )


def _column(given) -> str | None:
    """Names or numbers of columns as the core reads them."""
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        return str(given)
    return ",".join(str(_column(one)) for one in given)


class _Stream:
    """A source of batches, and what the estimator is once it has learned from it."""

    source: _core.Source
    kind = Kind.NUMPY
    again = True  # whether it can be read a second time

    def __init__(self, estimator: BaseFastKMeans):
        self.estimator = estimator
        fitted = estimator.__sklearn_is_fitted__()
        self.meaning = estimator._meaning if fitted else estimator._meaning_of()
        k_list = vars(estimator).get("k_list")
        if isinstance(k_list, dict) and not fitted:  # their numbers must be known before the first batch
            _, self.meaning = self.meaning.read(list(k_list), None, True, "k_list")

    def open(self) -> None:
        """Sets self.source; nothing was read of an iterable but its first batch."""
        raise NotImplementedError

    def lesson(self, columns: dict[str, Any]):
        from ._lessons import Lesson

        return Lesson(None, {}, None, self.kind, self.meaning, columns)

    def new_model(self) -> _core.Model:
        lesson = self.lesson({})
        k_list = vars(self.estimator).get("k_list")
        if k_list is not None and not isinstance(k_list, dict):
            raise ValueError("k_list must be a dict when rows come as a stream: the classes are not known before")
        if k_list:
            lesson.targets = self.meaning.read(list(k_list), None, False, "k_list")[0]
        return self.estimator._new_model(lesson)

    def prepare(self, model: _core.Model) -> None:
        """Before the first batch of a model that may have learned before."""

    def columns(self, model: _core.Model) -> dict[str, Any]:
        return {"n_features_in_": model.describe()["dim"]}

    def adopt(self, model: _core.Model, fresh: bool) -> None:
        self.estimator._adopt(model, self.lesson(self.columns(model)), anew=fresh)


class _Named(_Stream):
    """Files and tables: the core reads them and knows the names of classes and columns."""

    def options(self) -> dict[str, Any]:
        estimator = self.estimator
        return {
            "task": estimator._task,
            "missing": estimator.missing,
            "dtype": "float64" if estimator.dtype == "float64" else "float32",
            "class_names": _names(self.meaning) or None,
        }

    def prepare(self, model: _core.Model) -> None:
        if isinstance(self.meaning, Labels) and self.meaning.kind and not self.meaning.coded:
            rows = self.source.next(1)
            if rows is not None and self.source.class_names():
                raise ValueError(
                    f"the source's labels are text, as {self.source.class_names()[0]!r}; "
                    f"the model learned labels of type {self.meaning.kind}"
                )
            self.open()

    def columns(self, model: _core.Model) -> dict[str, Any]:
        columns = super().columns(model)
        names = [self.source.column_name(i) for i in range(columns["n_features_in_"])]
        if names and all(names):
            columns["feature_names_in_"] = np.array(names, object)
        return columns

    def adopt(self, model: _core.Model, fresh: bool) -> None:
        # the core has written the names of classes that the source has brought
        self.meaning = self.estimator._meaning_of.of(model.note, model.describe(), _seen_tags(model))
        super().adopt(model, fresh)


def _names(meaning) -> list[str]:
    """Names of coded labels, by number."""
    labels = meaning if isinstance(meaning, Labels) else getattr(meaning, "labels", None)
    return [] if labels is None else [str(value) for value in labels.values]


def _seen_tags(model: _core.Model) -> list[int]:
    facts = model.describe()
    if facts["params"]["task"] != "multilabel":
        return []
    seen = np.empty(facts["n_classes"], np.int64)
    model.get("classes", seen)
    return seen.tolist()


class _File(_Named):
    def __init__(self, estimator, path: str, target, weight, file_options: dict[str, Any]):
        super().__init__(estimator)
        for name in file_options:
            if name not in FILE_OPTIONS:
                raise TypeError(
                    f"fit_stream got an unexpected keyword argument {name!r}; "
                    f"valid for files: {', '.join(FILE_OPTIONS)}"
                )
        self.path, self.file_options = path, file_options
        self.names = {"target": _column(target), "weight": _column(weight)}

    def open(self) -> None:
        width = vars(self.estimator).get("n_features_in_", 0)
        options = {"n_cols": width} | self.options() | self.names | self.file_options
        self.source = _core.Source.open(self.path, **options)


class _Arrow(_Named):
    def __init__(self, estimator, table, target, weight):
        super().__init__(estimator)
        self.table = table
        self.names = {"target": _column(target), "weight": _column(weight)}
        self.again = hasattr(table, "__len__")  # a table, not a reader

    def read(self) -> _core.Source:
        return _core.Source.from_arrow(self.table, **self.options() | self.names)

    def open(self) -> None:
        self.source = self.read()


class _Table(_Arrow):
    """A table that is there as a whole can be read anew for each epoch."""

    def open(self) -> None:
        self.inner = self.read()
        self.known = self.inner.class_names()
        self.source = _core.Source.from_batches(self.batches, class_names=self.known)

    def batches(self) -> Iterator[_core.Batch]:
        self.inner = _core.Source.from_arrow(
            self.table, **self.options() | {"class_names": self.known or None} | self.names
        )
        while (rows := self.inner.next(ROWS_AT_ONCE)) is not None:
            self.known.extend(self.inner.class_names()[len(self.known) :])
            yield _core.Batch(
                rows["x"],
                csr=rows["csr"],
                weight=rows["weight"],
                mask=rows["mask"],
                labels=rows["labels"],
                tags=rows["tags"],
                targets=rows["targets"],
            )

    def columns(self, model: _core.Model) -> dict[str, Any]:
        self.source = self.inner  # which knows the columns' names
        return super().columns(model)


class _Batches(_Stream):
    """An iterable of (X, y), (X, y, weight) or (X, y, weight, mask), or a function that returns an iterator."""

    def __init__(self, estimator, source: Iterable | Callable[[], Iterator]):
        super().__init__(estimator)
        self.again = callable(source) or iter(source) is not source
        self.start = source if callable(source) else lambda: iter(source)
        self.names = _names(self.meaning)
        self.column_names = vars(estimator).get("feature_names_in_")

    def check_columns(self, names: list[str] | None) -> None:
        """Frames must keep the order of their columns; rows without names are taken as they come."""
        if names is None:
            return
        if self.column_names is None and not self.estimator.__sklearn_is_fitted__():
            self.column_names = np.array(names, object)
        if self.column_names is not None and names != self.column_names.tolist():
            raise ValueError(f"the source yields the columns {names}; before, they were {self.column_names.tolist()}")

    def columns(self, model: _core.Model) -> dict[str, Any]:
        named = {} if self.column_names is None else {"feature_names_in_": self.column_names}
        return super().columns(model) | named

    def open(self) -> None:
        items = iter(self.start())
        first = next(items, None)
        self.n_read = 0
        if first is None:
            raise ValueError("source has no batches")
        self.first = self.read(first)  # the labels' type must be known before a checkpoint is written
        self.rest = iter(items)
        self.kind = kind_of(first[0] if isinstance(first, (tuple, list)) else first)
        self.source = _core.Source.from_batches(self.batches, self.again, class_names=self.names)

    def batches(self) -> Iterator[_core.Batch]:
        if self.first is None:
            self.n_read = 0
            return map(self.read, self.start())
        first, self.first = self.first, None
        return chain([first], map(self.read, self.rest))

    def read(self, item) -> _core.Batch:
        self.n_read += 1
        try:
            return self.batch_of(item)
        except Exception as error:
            error.add_note(f"in batch {self.n_read} of the source")
            raise

    def batch_of(self, item) -> _core.Batch:
        estimator = self.estimator
        if isinstance(item, Mapping):
            raise TypeError(f"the source yields a {type(item).__name__}; it must be (X, y), (X, y, weight) or (X, y, weight, mask)")
        if not isinstance(item, (tuple, list)):
            item = (item,)
        if not 1 <= len(item) <= 4:
            raise ValueError(f"the source yields {len(item)} things; it must be (X, y), (X, y, weight) or (X, y, weight, mask)")
        X, y, weight, mask = (*item, None, None, None)[:4]
        rows = rows_of(
            X, allow_nan=estimator.missing == "mask" or mask is not None, estimator_name=type(estimator).__name__
        )
        self.check_columns(rows.feature_names)
        targets, self.meaning = self.meaning.read(y, rows.n_rows, True)
        self.names.extend(_names(self.meaning)[len(self.names) :])
        return _core.Batch(
            rows.dense, csr=rows.csr, weight=weight_of(weight, rows.n_rows), mask=mask_of(mask, rows), **targets
        )

    def prepare(self, model: _core.Model) -> None:
        self.estimator._write_notes(model, self.lesson(_known_columns(self.estimator)))


def _known_columns(estimator) -> dict[str, Any]:
    names = ("n_features_in_", "feature_names_in_")
    return {name: vars(estimator)[name] for name in names if name in vars(estimator)}
