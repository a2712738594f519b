# SPDX-License-Identifier: Apache-2.0
"""Why an answer is what it is: the prototypes behind it, as arrays and as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import Rows
from ._attributes import part_of
from ._parameters import need_kinds

MOST_SHOWN = 20  # prototypes of a row, unless top_k asks for more
BLOCK = 1 << 20  # entries of rows x prototypes looked at together
ROWS_AS_TEXT = 3  # of str()


@dataclass(frozen=True, eq=False)
class Explanation:
    """The prototypes behind the answers for n rows, k of them each, the nearest first.

    Attributes
    ----------
    task : str
        'clusterer', 'classifier', 'multilabel' or 'regressor'.
    prediction : array of shape (n,), (n, M) or (n, L)
        What ``predict`` says.
    prototypes : array of int64 of shape (n, k)
        Their numbers: rows of ``centroids``.
    weights : array of float64 of shape (n, k)
        Their shares of the answer; they sum to 1 when k is not less than the estimator's ``top_k``. Clusterers and
        multi-label models answer from the nearest prototype (of each tag) alone: there they only compare distances.
    distances : array of float64 of shape (n, k)
        In the estimator's ``distance``.
    masses : array of float64 of shape (n, k)
        How many rows each stands for.
    labels : array of shape (n, k) or None
        Their classes or tags.
    targets : array of float64 of shape (n, k) or (n, k, M) or None
        Their targets, of a regressor.
    margin : array of float64 of shape (n,) or None
        How clear the answer is, between 0 and 1. Classifier: probability of the best class minus that of the second.
        Clusterer: (d2 - d1) / (d2 + d1) of the two nearest prototypes. Multi-label: the largest drop from one tag's
        probability to the next lower one.
    spread : array of float64 of shape (n,) or (n, M) or None
        Of a regressor: standard deviation of the targets behind the answer, weighted as in the answer.

    Examples
    --------
    >>> from fast_kmeans import FastKMeansClassifier
    >>> X, y = [[0.0], [2.0], [8.0], [12.0], [9.0]], ["low", "low", "high", "high", "high"]
    >>> why = FastKMeansClassifier(k_init=1, distance="euclidean").fit(X, y).explain([[1.0], [5.0]])
    >>> why.labels[0].tolist(), why.masses[0].tolist()
    (['low', 'high'], [2.0, 3.0])
    >>> print(why.describe(1))
    row 1: class low, margin 0.55
      share  class  mass  distance  prototype
        77%    low     2        16          0
        23%   high     3      21.8          1
    """

    task: str
    prediction: np.ndarray
    prototypes: np.ndarray
    weights: np.ndarray
    distances: np.ndarray
    masses: np.ndarray
    labels: np.ndarray | None = None
    targets: np.ndarray | None = None
    margin: np.ndarray | None = None
    spread: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.prototypes)

    def to_dict(self, row: int) -> dict[str, Any]:
        """One row as numbers, text and lists, ready for JSON.

        Parameters
        ----------
        row : int

        Returns
        -------
        dict
            prediction, margin or spread, and 'prototypes': a list of dicts, the nearest first.
        """
        out: dict[str, Any] = {"task": self.task, "prediction": self.prediction[row].tolist()}
        for name in ("margin", "spread"):
            value = getattr(self, name)
            if value is not None:
                out[name] = value[row].tolist()
        names = {
            "prototype": "prototypes",
            "weight": "weights",
            "label": "labels",
            "target": "targets",
            "mass": "masses",
            "distance": "distances",
        }
        columns = {name: getattr(self, field) for name, field in names.items()}
        columns = {name: values[row].tolist() for name, values in columns.items() if values is not None}
        out["prototypes"] = [
            dict(zip(columns, entry, strict=True)) for entry in zip(*columns.values(), strict=True)
        ]
        return out

    def describe(self, row: int) -> str:
        """One row as text for people.

        Parameters
        ----------
        row : int

        Returns
        -------
        str
            The answer with its margin or spread, then a line per prototype.
        """
        kind = {"classifier": "class", "multilabel": "tag", "regressor": "target"}.get(self.task)
        header = ["share", *([kind] if kind else []), "mass", "distance", "prototype"]
        table = [header]
        for at in range(self.prototypes.shape[1]):
            said = self.targets if self.task == "regressor" else self.labels
            table.append(
                [
                    _percent(self.weights[row, at]),
                    *([_text(said[row, at])] if kind else []),
                    f"{self.masses[row, at]:.4g}",
                    f"{self.distances[row, at]:.3g}",
                    str(self.prototypes[row, at]),
                ]
            )
        widths = [max(len(line[i]) for line in table) for i in range(len(header))]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in table
        ]
        return "\n".join([f"row {row}: {self._answer(row)}", *("  " + line for line in lines)])

    def _answer(self, row: int) -> str:
        prediction = self.prediction[row]
        if self.task == "regressor":
            return f"{_text(prediction)}, spread {_text(self.spread[row])}"
        if self.task == "multilabel":
            tags = np.flatnonzero(prediction)
            said = "no tag" if len(tags) == 0 else f"tag{'s' * (len(tags) > 1)} {', '.join(map(str, tags))}"
        else:
            said = f"{'cluster' if self.task == 'clusterer' else 'class'} {prediction}"
        return f"{said}, margin {self.margin[row]:.2g}"

    def __str__(self) -> str:
        shown = [self.describe(row) for row in range(min(len(self), ROWS_AS_TEXT))]
        if len(self) > ROWS_AS_TEXT:
            shown.append(f"... and {len(self) - ROWS_AS_TEXT} rows more")
        return "\n".join(shown)

    def __repr__(self) -> str:
        return f"Explanation({self.task}, {len(self)} rows, {self.prototypes.shape[1]} prototypes each)"


def _percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _text(value) -> str:
    if np.ndim(value):
        return "(" + ", ".join(_text(entry) for entry in value) + ")"
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def explain(estimator, X, feature_mask=None, top_k=None) -> Explanation:
    """The prototypes behind an estimator's answers.

    Parameters
    ----------
    estimator : BaseFastKMeans
        A fitted estimator.
    X : array-like of shape (n, D)
    feature_mask : array-like of shape (n, D) or (D,), optional
    top_k : int, optional
        How many prototypes to tell of for each row, -1: all. None: those that answer, at most 20. More than answer
        have a share of 0.

    Returns
    -------
    Explanation
    """
    if top_k is not None:
        need_kinds(top_k=top_k)
        if top_k < 1 and top_k != -1:
            raise ValueError(f"top_k is {top_k}; it must be at least 1, or -1 for all")
    model = estimator._current()
    rows, mask, _ = estimator._rows(X, feature_mask)
    while True:  # again where another thread has taught the model more prototypes meanwhile
        facts = model.describe()
        try:
            found = _explained(estimator, model, facts, rows, mask, X, feature_mask, top_k)
        except (IndexError, ValueError):
            if _size(model.describe()) == _size(facts):
                raise
        else:
            if _size(model.describe()) == _size(facts):
                return found


def _size(facts: dict[str, Any]) -> tuple[int, int]:
    return facts["k"], facts["n_classes"]


def _explained(estimator, model, facts, rows: Rows, mask, X, feature_mask, top_k) -> Explanation:
    task, k = facts["params"]["task"], facts["k"]
    asked = int(facts["params"]["top_k"])
    answering = k if asked < 0 else min(asked, k)
    if task == "clusterer":
        answering = min(2, k)  # the second one makes the margin
    shown = min(answering, MOST_SHOWN) if top_k is None else k if top_k < 0 else min(int(top_k), k)
    width = max(answering, shown)
    targets = estimator._read("centroid_targets", "k", "n_targets") if task == "regressor" else None

    n = rows.n_rows
    index, weight, distance = np.empty((n, shown), np.int64), np.empty((n, shown)), np.empty((n, shown))
    clear = np.empty((n, facts["n_targets"]) if task == "regressor" else n)
    for begin in range(0, n, max(1, BLOCK // width)):
        batch = part_of(rows, mask, begin, min(n, begin + max(1, BLOCK // width)))
        here = slice(begin, begin + batch.n_rows)
        near, far, share = _nearest(model, batch, width, answering)
        index[here], distance[here], weight[here] = near[:, :shown], far[:, :shown], share[:, :shown]
        if task == "regressor":
            clear[here] = _spread(share[:, :answering], targets[near[:, :answering]])
        elif task == "clusterer":
            clear[here] = _gap_of_distances(far)
        else:
            clear[here] = _gap_of_probabilities(model, batch, facts["n_classes"], task)

    prediction = np.asarray(estimator.predict(X, feature_mask=feature_mask))
    one_d = prediction.ndim == 1
    labels = None if task in ("clusterer", "regressor") else np.asarray(estimator.centroid_labels)[index]
    mass = estimator._read("centroid_weights", "k")[index]
    if task == "regressor":
        targets = targets[index][..., 0] if one_d else targets[index]
        clear = clear[:, 0] if one_d else clear
    return Explanation(
        task,
        prediction,
        index,
        weight,
        distance,
        mass,
        labels,
        targets,
        margin=None if task == "regressor" else clear,
        spread=clear if task == "regressor" else None,
    )


def _nearest(model, batch, width: int, answering: int):
    """Numbers, distances and shares of the `width` nearest prototypes, of which `answering` share the answer."""
    shape = (batch.n_rows, width)
    index, distance, share = np.empty(shape, np.int64), np.empty(shape), np.zeros(shape)
    if answering < width:
        model.nearest(batch, width, index=index, distance=distance)
        own = np.empty((batch.n_rows, answering))
        model.nearest(batch, answering, routing=own)
        share[:, :answering] = own
    else:
        model.nearest(batch, width, index=index, distance=distance, routing=share)
    return index, distance, share


def _spread(share, targets):
    mean = np.einsum("nk,nkm->nm", share, targets)
    return np.sqrt(np.einsum("nk,nkm->nm", share, (targets - mean[:, None]) ** 2))


def _gap_of_distances(distance):
    if distance.shape[1] < 2:
        return np.ones(len(distance))
    first, second = distance[:, 0], distance[:, 1]
    return np.divide(second - first, second + first, out=np.zeros(len(distance)), where=second > 0)


def _gap_of_probabilities(model, batch, n_classes: int, task: str):
    p = np.empty((batch.n_rows, n_classes), np.float32)
    model.predict_proba(batch, p)
    if n_classes == 1:
        return p[:, 0].astype(float)
    if task == "classifier":
        p = np.partition(p, n_classes - 2, axis=1)[:, -2:]
    return np.diff(np.sort(p.astype(float), axis=1), axis=1).max(axis=1)
