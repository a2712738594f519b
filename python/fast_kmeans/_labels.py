# SPDX-License-Identifier: Apache-2.0
"""What the targets of an estimator mean: from the caller's labels, tags or numbers to the core's, and back.

Each task has one class here; its objects are immutable, so that a learning call that fails has changed nothing.
They live in the model file as notes, of which 'class_names' is shared with the command fkm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from ._arrays import host_array
from ._targets import numbers_of, tags_of, vector_of

ReadNote = Callable[[str], "str | None"]


def lines_of(names) -> str | None:
    """One name per line, as the command fkm keeps them; None without names."""
    return (
        "\n".join(name.replace("\\", "\\\\").replace("\n", "\\n") for name in names) if len(names) else None
    )


def names_of(lines: str | None) -> list[str]:
    if lines is None:
        return []
    parts = (line.split("\\\\") for line in lines.split("\n"))
    return ["\\".join(part.replace("\\n", "\n") for part in line) for line in parts]


@dataclass(frozen=True)
class Nothing:
    """A clusterer has no targets."""

    def read(self, y, n_rows: int, grow: bool) -> tuple[dict[str, Any], Nothing]:
        return {}, self

    def notes(self) -> dict[str, str | None]:
        return {}

    @classmethod
    def of(cls, note: ReadNote, info: dict[str, Any], tags: list[int]) -> Nothing:
        return cls()


@dataclass(frozen=True)
class Labels:
    """Classes of a classifier. Numbers are the core's labels as they are; text is numbered 0, 1, ..."""

    kind: str = ""  # of the first labels seen: int, float, bool, str, object; '' before them
    names: tuple[str, ...] = ()  # text: the label of number i
    _number: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_text(self) -> bool:
        return self.kind in ("str", "object")

    def read(self, y, n_rows: int | None, grow: bool, name: str = "y") -> tuple[dict[str, Any], Labels]:
        y = vector_of(y, name, n_rows)
        kind = _kind_of(y, name)
        self._check_kind(kind, name)
        if kind in ("str", "object"):
            labels, grown = self._read_text(y, grow, name)
        else:
            labels, grown = _whole(y, name), self
        return {"labels": labels}, grown if grown.kind else replace(grown, kind=kind)

    def _check_kind(self, kind: str, name: str) -> None:
        groups = {"int": "numbers", "float": "numbers", "bool": "bool", "str": "text", "object": "text"}
        if self.kind and groups[self.kind] != groups[kind]:
            raise ValueError(
                f"{name} holds labels of type {kind}; the model learned labels of type {self.kind}"
            )

    def _read_text(self, y: np.ndarray, grow: bool, name: str) -> tuple[np.ndarray, Labels]:
        values, inverse = np.unique(y.astype(object), return_inverse=True)
        new = [value for value in values.tolist() if value not in self._number]
        if new and not grow:
            row = int(np.argmax(y.astype(object) == new[0]))
            raise ValueError(
                f"{name} has the label {new[0]!r} in row {row}, which was never seen in fit or fit_batch"
            )
        grown = self
        if new:
            for label in new:
                _check_text(label, name)
            names = self.names + tuple(new)
            grown = Labels(self.kind, names, {label: number for number, label in enumerate(names)})
        numbers = np.array([grown._number[value] for value in values.tolist()], np.int64)
        return numbers[inverse.reshape(-1)], grown

    def write(self, labels: np.ndarray) -> np.ndarray:
        """The caller's labels for the core's."""
        if self.is_text:
            known = np.array(self.names, object)
            if labels.size and not (0 <= labels.min() and labels.max() < len(known)):
                text = [self.names[i] if 0 <= i < len(known) else str(i) for i in labels.tolist()]
                known, labels = np.array(text, object), np.arange(len(text))
            return known[labels] if self.kind == "object" else known[labels].astype(str)
        return labels.astype({"bool": bool, "float": np.float64}.get(self.kind, np.int64), copy=False)

    def sorted(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Classes in ascending order, for the core's ascending labels; and that order where it is another one."""
        values = self.write(labels)
        if not self.is_text:
            return values, None
        order = np.argsort(values.astype(object), kind="stable")
        return values[order], order

    def notes(self) -> dict[str, str | None]:
        return {"class_names": lines_of(self.names), "python.label_kind": self.kind}

    @classmethod
    def of(cls, note: ReadNote, info: dict[str, Any], tags: list[int]) -> Labels:
        names = tuple(names_of(note("class_names")))
        kind = note("python.label_kind") or ("str" if names else "int")
        if kind not in ("int", "float", "bool", "str", "object"):
            raise ValueError(
                f"the file's note python.label_kind is {kind!r}; valid: int, float, bool, str, object"
            )
        return cls(kind, names, {label: number for number, label in enumerate(names)})


def _kind_of(y: np.ndarray, name: str) -> str:
    if y.dtype.kind == "O":
        check_classification_targets(y)
        odd = next((label for label in y.tolist() if not isinstance(label, str)), None)
        if odd is not None:
            raise ValueError(
                f"{name} mixes text and {type(odd).__name__} {odd!r}; labels must be of one type"
            )
        return "object"
    if y.dtype.kind in "UT":
        return "str" if y.dtype.kind == "U" else "object"
    if y.dtype.kind == "f":
        check_classification_targets(y)  # refuses fractions
        return "float"
    if y.dtype.kind not in "biu":
        raise ValueError(f"{name} holds {y.dtype}; labels must be integers, text or truth values")
    return "bool" if y.dtype.kind == "b" else "int"


def _whole(y: np.ndarray, name: str) -> np.ndarray:
    most = 2**53 if y.dtype.kind == "f" else 2**63 - 1
    if y.dtype.kind == "f" and (np.abs(y) > most).any() or y.dtype.kind == "u" and (y > most).any():
        raise ValueError(f"{name} has the label {y.max()}; at most {most} is possible")
    return np.ascontiguousarray(y, dtype=np.int64)


def _check_text(label: str, name: str) -> None:
    try:
        label.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} has the label {label!r}, which is not valid Unicode") from None
    if "\0" in label:
        raise ValueError(f"{name} has the label {label!r}; a label cannot hold a NUL character")


@dataclass(frozen=True)
class Tags:
    """Columns of an indicator matrix, whether or not a row had the tag."""

    n_columns: int = 0
    dtype: str = ""  # of indicators in answers

    def read(self, y, n_rows: int, grow: bool) -> tuple[dict[str, Any], Tags]:
        indptr, tags, n_tags = tags_of(y, n_rows)
        shape = getattr(y, "shape", None) or np.shape(y)
        one_each = len(shape) == 1 or shape[1] == 1
        if self.n_columns and (
            n_tags > self.n_columns and not grow or n_tags < self.n_columns and not one_each
        ):
            raise ValueError(f"y has {n_tags} tags, the model learned {self.n_columns}")
        n_columns = max(n_tags, self.n_columns)
        dtype = self.dtype or ("int64" if one_each else _indicator_dtype(y))
        return {"tags": (indptr, tags, n_columns)}, Tags(n_columns, dtype)

    def notes(self) -> dict[str, str | None]:
        return {"python.n_tags": str(self.n_columns), "python.label_kind": self.dtype}

    @classmethod
    def of(cls, note: ReadNote, info: dict[str, Any], tags: list[int]) -> Tags:
        least = max(tags, default=-1) + 1
        given = note("python.n_tags") or "0"
        n_columns = max(int(given) if given.isdecimal() and len(given) < 10 else 0, least)
        dtype = note("python.label_kind") or "int64"
        return cls(n_columns, dtype if dtype in INDICATORS else "int64")


INDICATORS = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")


def _indicator_dtype(y) -> str:
    dtype = getattr(y, "dtype", None)
    if dtype is None and not hasattr(y, "to_numpy"):
        dtype = getattr(host_array(y, "y"), "dtype", None)
    name = str(dtype).removeprefix("torch.")
    return name if name in INDICATORS else "int64"


@dataclass(frozen=True)
class Numbers:
    """Targets of a regressor."""

    one_d: bool = True

    def read(self, y, n_rows: int, grow: bool) -> tuple[dict[str, Any], Numbers]:
        targets, one_d = numbers_of(y, n_rows)
        return {"targets": targets}, Numbers(one_d)

    def notes(self) -> dict[str, str | None]:
        return {"python.target_dimensions": "1" if self.one_d else "2"}

    @classmethod
    def of(cls, note: ReadNote, info: dict[str, Any], tags: list[int]) -> Numbers:
        return cls(info["n_targets"] == 1 and note("python.target_dimensions") != "2")
