# SPDX-License-Identifier: Apache-2.0
"""What the targets of an estimator mean: from the caller's labels, tags or numbers to the core's, and back.

Each task has one class here; its objects are immutable, so that a learning call that fails has changed
nothing. They live in the model file as notes, of which 'class_names' is shared with the command fkm.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from ._targets import numbers_of, plain_tags, tags_of, vector_of

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


KINDS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "bool": lambda text: text == "True",
    "str": str,
    "object": str,
}
GROUPS = {"int": "numbers", "float": "numbers", "bool": "truth values", "str": "text", "object": "text"}


@dataclass(frozen=True)
class Labels:
    """Classes of a classifier. Numbers are the core's labels as they are; text is numbered 0, 1, ...
    (coded)."""

    kind: str = ""  # of the first labels seen: one of KINDS; '' before them
    coded: bool = False
    values: tuple[Any, ...] = ()  # coded: the label of number i
    _number: dict[Any, int] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def coding(cls, kind: str, values=()) -> Labels:
        values = tuple(values)
        return cls(kind, True, values, {value: number for number, value in enumerate(values)})

    def read(self, y, n_rows: int | None, grow: bool, name: str = "y") -> tuple[dict[str, Any], Labels]:
        y = vector_of(_one_column(y, name), name, n_rows)
        kind = _kind_of(y, name)
        known = self
        if not self.kind:
            known = Labels.coding(kind) if self.coded or GROUPS[kind] == "text" else Labels(kind)
        elif GROUPS[self.kind] != GROUPS[kind]:
            raise ValueError(
                f"{name} holds {GROUPS[kind]}; the labels that the model learned are {GROUPS[self.kind]}"
            )
        labels, known = known._encode(y, grow, name) if known.coded else (_whole(y, name), known)
        return {"labels": labels}, known

    def starts(self, labels, k: int) -> np.ndarray:
        """The core's labels of starting prototypes."""
        return self.read(labels, k, False, "init_mode")[0]["labels"]

    def _encode(self, y: np.ndarray, grow: bool, name: str) -> tuple[np.ndarray, Labels]:
        values, inverse = np.unique(
            y.astype(object) if GROUPS[self.kind] == "text" else y, return_inverse=True
        )
        values, known = values.tolist(), self
        new = [value for value in values if value not in self._number]
        if new and not grow:
            row = int(np.flatnonzero(inverse.reshape(-1) == values.index(new[0]))[0])
            raise ValueError(
                f"{name} has the label {new[0]!r} in row {row}, which was never seen in fit or fit_batch"
            )
        if new:
            for value in new:
                _check_text(str(value), name)
            known = Labels.coding(
                self.kind, self.values + tuple(KINDS[self.kind](str(value)) for value in new)
            )
        numbers = np.array([known._number[value] for value in values], np.int64)
        return numbers[inverse.reshape(-1)], known

    def write(self, labels: np.ndarray) -> np.ndarray:
        """The caller's labels for the core's."""
        dtype = {"bool": bool, "float": np.float64, "object": object, "str": str}.get(self.kind, np.int64)
        if not self.coded:
            return labels.astype(dtype, copy=False)
        known: Any = list(self.values)
        if labels.size and not (
            0 <= labels.min() and labels.max() < len(known)
        ):  # classes the file does not name
            known = [known[i] if 0 <= i < len(known) else str(i) for i in labels.tolist()]
            labels = np.arange(len(known))
        known = np.array(known, object if GROUPS[self.kind] == "text" else dtype)
        return known[labels].astype(dtype, copy=False)

    def sorted(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Classes in ascending order, for the core's ascending labels; and that order where it differs."""
        values = self.write(labels)
        if not self.coded:
            return values, None
        order = np.argsort(values.astype(object), kind="stable")
        return values[order], order

    def notes(self) -> dict[str, str | None]:
        return {
            "class_names": lines_of([str(value) for value in self.values]),
            "python.label_kind": self.kind,
        }

    @classmethod
    def of(cls, note: ReadNote, info: dict[str, Any], tags: list[int]) -> Labels:
        names = names_of(note("class_names"))
        kind = note("python.label_kind") or _kind_of_names(names)
        if kind not in KINDS:
            raise ValueError(f"the file's note python.label_kind is {kind!r}; valid: {', '.join(KINDS)}")
        return cls.coding(kind, map(KINDS[kind], names)) if names else cls(kind)


def _one_column(y, name: str):
    """y, unless it is one-hot or the like."""
    if isinstance(y, np.ndarray) and y.dtype.kind == "T":
        return y.astype(object)  # text of numpy's own kind, which scikit-learn does not take
    shape = tuple(getattr(y, "shape", ()))
    if len(shape) > 1 and shape[1:] != (1,):
        raise ValueError(
            f"{name} has shape {shape}; labels should be a 1d array, one per row: not one-hot, not shares"
        )
    return y


def _kind_of(y: np.ndarray, name: str) -> str:
    if y.dtype.kind == "O":
        odd = next((label for label in y.tolist() if not isinstance(label, str)), None)
        if odd is None:
            return "object"
        if isinstance(y[0], str):
            kind = type(odd).__name__
            raise ValueError(f"{name} mixes text and {kind} {odd!r}; labels must be of one type")
        check_classification_targets(y)
    if y.dtype.kind in "UT":
        return "str" if y.dtype.kind == "U" else "object"
    if y.dtype.kind == "f":
        check_classification_targets(y)  # refuses fractions
        return "float"
    if y.dtype.kind not in "biu":
        raise ValueError(f"{name} holds {y.dtype}; labels must be integers, text or truth values")
    return "bool" if y.dtype.kind == "b" else "int"


def _kind_of_names(names: list[str]) -> str:
    """Of names that the command fkm read from a file: whole numbers were numbers there."""
    return "int" if all(re.fullmatch(r"0|-?[1-9]\d{0,17}", name) for name in names) else "str"


def _whole(y: np.ndarray, name: str) -> np.ndarray:
    most = 2**53 if y.dtype.kind == "f" else 2**63 - 1
    y = y.astype(np.float64) if y.dtype.kind == "f" else y
    if y.dtype.kind in "fu" and y.size and np.abs(y).max() > most:
        raise ValueError(f"{name} has the label {y[np.argmax(np.abs(y))]}; at most {most} is possible")
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
    """Columns of an indicator matrix, whether or not a row had the tag; or one label per row, each a tag."""

    n_columns: int = 0
    dtype: str = ""  # of indicators in answers
    labels: Labels | None = None  # one label per row

    def read(self, y, n_rows: int, grow: bool, name: str = "y") -> tuple[dict[str, Any], Tags]:
        if not hasattr(y, "shape"):
            y = plain_tags(y)
        one_column = len(y.shape) == 1 or tuple(y.shape[1:]) == (1,)
        if self.labels is not None or (one_column and not self.n_columns):
            return self._read_labels(y, one_column, n_rows, grow, name)
        indptr, tags, n_tags = tags_of(y, n_rows)
        if self.n_columns and (
            n_tags > self.n_columns and not grow or n_tags < self.n_columns and not one_column
        ):
            raise ValueError(f"{name} has {n_tags} tags, the model learned {self.n_columns}")
        n_columns = max(n_tags, self.n_columns)
        return {"tags": (indptr, tags, n_columns)}, Tags(n_columns, self.dtype or _indicator_dtype(y))

    def starts(self, tags, k: int) -> np.ndarray:
        """The core's labels of starting prototypes, which have one tag each."""
        if self.labels is not None:
            return self.labels.starts(tags, k)
        _, tags, _ = tags_of(tags, k)
        if len(tags) != k:
            raise ValueError(f"init_mode has {k} points with {len(tags)} tags; each must have one")
        return tags.astype(np.int64)

    def _read_labels(self, y, one_column: bool, n_rows: int, grow: bool, name: str):
        if not one_column:
            raise ValueError(f"{name} has shape {tuple(y.shape)}; the model learned one label per row")
        read, labels = (self.labels or Labels(coded=True)).read(y, n_rows, grow, name)
        n_columns = len(labels.values)
        tags = (np.arange(n_rows + 1), read["labels"].astype(np.int32), n_columns)
        return {"tags": tags}, Tags(n_columns, "int64", labels)

    def notes(self) -> dict[str, str | None]:
        if self.labels is not None:
            return self.labels.notes() | {"python.n_tags": None}
        return {"class_names": None, "python.n_tags": str(self.n_columns), "python.label_kind": self.dtype}

    @classmethod
    def of(cls, note: ReadNote, info: dict[str, Any], tags: list[int]) -> Tags:
        least = max(tags, default=-1) + 1
        kind, given = note("python.label_kind") or "", note("python.n_tags")
        if kind in KINDS and given is None:
            labels = Labels.of(note, info, tags)
            return cls(max(least, len(labels.values)), "int64", labels)
        columns = (
            int(given)
            if given and given.isdecimal() and len(given) < 10
            else len(names_of(note("class_names")))
        )
        return cls(max(columns, least), kind if kind in INDICATORS else "int64")


INDICATORS = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")


def _indicator_dtype(y) -> str:
    name = str(getattr(y, "dtype", None)).removeprefix("torch.")
    return name if name in INDICATORS else "int64"


@dataclass(frozen=True)
class Numbers:
    """Targets of a regressor."""

    one_d: bool | None = None  # as the first y was

    def read(self, y, n_rows: int, grow: bool) -> tuple[dict[str, Any], Numbers]:
        targets, one_d = numbers_of(y, n_rows)
        return {"targets": targets}, self if self.one_d is not None else Numbers(one_d)

    def notes(self) -> dict[str, str | None]:
        return {"python.target_dimensions": "1" if self.one_d else "2"}

    @classmethod
    def of(cls, note: ReadNote, info: dict[str, Any], tags: list[int]) -> Numbers:
        return cls(info["n_targets"] == 1 and note("python.target_dimensions") != "2")
