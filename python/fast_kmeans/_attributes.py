# SPDX-License-Identifier: Apache-2.0
"""What a fitted estimator shows of its model: properties over the state of the core."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import NotFittedError

from . import _core
from ._arrays import Kind, Rows, give
from ._parameters import LIVE, STANDARD_RATE, need_kinds, text_of


def filled(model: _core.Model, shape_of, dtype, fill) -> np.ndarray:
    """What `fill` writes into an array of the shape that `shape_of` makes of describe(); asked again where a call
    that learns, on another thread, has changed that shape in between."""
    while True:
        shape = shape_of(model.describe())
        out = np.empty(shape, dtype)
        try:
            fill(out)
            return out
        except ValueError:
            if shape_of(model.describe()) == shape:
                raise


def per_class(model: _core.Model, n_rows: int, dtype, fill) -> tuple[np.ndarray, np.ndarray]:
    """The core's numbers of the classes, ascending, and an answer with a column for each."""
    while True:
        codes = filled(model, lambda facts: facts["n_classes"], np.int64, partial(model.get, "classes"))
        answer = filled(model, lambda facts: (n_rows, facts["n_classes"]), dtype, fill)
        if answer.shape[1] == len(codes):  # else another thread has brought a class; none ever goes
            return codes, answer


def part_of(rows: Rows, mask, begin: int, end: int) -> _core.Batch:
    """Rows begin .. end - 1, with their mask or None."""
    mask = None if mask is None else mask[begin:end]
    if rows.csr is None:
        return _core.Batch(rows.dense[begin:end], mask=mask)
    values, indptr, indices, n_cols = rows.csr
    first, last = indptr[begin], indptr[end]
    csr = values[first:last], indptr[begin : end + 1] - first, indices[first:last], n_cols
    return _core.Batch(csr=csr, mask=mask)


def top_of(model: _core.Model, n_rows: int, batch: _core.Batch, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The core's numbers of the m most probable classes of each row, and their probabilities."""
    need_kinds(m=m)
    m = min(m, model.describe()["n_classes"])
    codes, proba = np.empty((n_rows, max(m, 0)), np.int64), np.empty((n_rows, max(m, 0)), np.float32)
    model.predict_top(batch, m, codes, proba)
    return codes, proba


class Optimizer:
    """The optimizer of phase 2, to look at: Adam, whose moments live in the model.

    Attributes
    ----------
    learning_rate : float
        Relative to the standard deviation of the prototypes.
    steps : int
        Gradient steps since the last ``fit``.
    param_groups : list of dict
        As in torch: one group with ``lr``, ``betas`` and ``params``, which cannot be written to. Set the estimator's
        ``learning_rate`` to learn at another rate.
    """

    def __init__(self, learning_rate: float, steps: int, centroids):
        self._learning_rate, self._steps, self._centroids = learning_rate, steps, centroids

    @property
    def learning_rate(self) -> float:
        return self._learning_rate

    @property
    def steps(self) -> int:
        return self._steps

    @property
    def param_groups(self) -> list[Mapping[str, Any]]:
        group = {"params": [self._centroids], "lr": self._learning_rate, "betas": (0.9, 0.999)}
        return [MappingProxyType(group)]

    def __repr__(self) -> str:
        return f"Optimizer(learning_rate={self._learning_rate:g}, steps={self._steps})"


def _version_of(array) -> int:
    """Of a tensor another number after each write."""
    counts = hasattr(array, "is_inference") and not array.is_inference()
    return array._version if counts else 0


class FittedAttributes:
    """Attributes of a fitted estimator. Before, each is an AttributeError (NotFittedError is one)."""

    _model: _core.Model
    _kind: Kind
    _cache: dict[str, Any]
    _live: list[str] = LIVE
    _known: list[Any]  # what the model has of them

    def __sklearn_is_fitted__(self) -> bool:
        return "_model" in self.__dict__

    def _fitted(self) -> _core.Model:
        if "_model" not in self.__dict__:
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' or 'fit_batch' first."
            )
        return self._model

    def _set_so_far(self) -> list[Any]:
        """The arguments that may change on a fitted estimator, as they are now."""
        return list(map(self.__dict__.get, self._live))

    def _current(self) -> _core.Model:
        """The fitted model, with what was set since it last learned or answered."""
        model, state = self._fitted(), self.__dict__
        given, known = self._set_so_far(), state["_known"]
        if given != known:
            changed = [(name, new) for name, new, old in zip(self._live, given, known, strict=True) if new != old]
            texts = [(name, text_of(name, value)) for name, value in changed]
            for name, text in texts:
                model.set_param(name, text)
            state["_known"] = given
        return model

    def _facts(self) -> dict[str, Any]:
        return self._fitted().describe()

    def _read(self, name: str, *sides: str, dtype=np.float64) -> np.ndarray:
        """An array of the core, a copy; its sides as describe() calls them, 'k', 'dim' and the like."""
        model = self._fitted()
        return filled(model, lambda facts: [facts[side] for side in sides], dtype, partial(model.get, name))

    def _kept(self, name: str, make):
        """The same array until the model changes. It shows the model, so numpy's cannot be written to; a tensor can, and
        is then made anew."""
        self._fitted()
        cache = self._cache  # a call that learns on another thread begins a new one
        value, version = cache.get(name, (None, 0))
        if value is None or _version_of(value) != version:
            value = make()
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            cache[name] = value, _version_of(value)
        return value

    def _shown(self, name: str, *sides: str):
        """Numbers of the core other than centroids: no coarser than float32 in torch and float64 in numpy."""

        def make():
            dtype = self._facts()["params"]["dtype"]
            dtype = "float32" if self._kind is Kind.TORCH and dtype != "float64" else "float64"
            return give(self._read(name, *sides), self._kind, dtype)

        return self._kept(name, make)

    @property
    def centroids(self) -> Any:
        """Prototypes, array of shape (K, D), in the model's dtype (bfloat16 as float32 in numpy). A tensor
        has the last gradient step's gradient as ``grad``, unless that step was on prototypes without zeros."""
        return self._kept("centroids with gradient", self._centroids_with_gradient)

    @property
    def centroids_csr(self) -> sparse.csr_matrix:
        """``centroids`` without zeros, scipy.sparse.csr_matrix of shape (K, D), float32 or, of a float64 model, float64.
        A ``fit`` to sparse rows may keep prototypes this way; then nothing of the size K x D is made."""
        return self._kept("centroids by entries", self._centroids_by_entries)

    def _centroids_by_entries(self) -> sparse.csr_matrix:
        model = self._fitted()
        facts = model.describe()
        dtype = np.float64 if facts["params"]["dtype"] == "float64" else np.float32
        while True:
            indptr = filled(model, lambda facts: facts["k"] + 1, np.int64, model.centroids_csr)
            indices, values = np.empty(indptr[-1], np.int32), np.empty(indptr[-1])
            try:
                model.centroids_csr(indptr, indices, values)
            except ValueError:  # another thread has moved them in between
                continue
            shape = (len(indptr) - 1, facts["dim"])
            return sparse.csr_matrix((values.astype(dtype, copy=False), indices, indptr), shape=shape)

    def _centroids_with_gradient(self):
        facts = self._facts()
        dtype = facts["params"]["dtype"]
        centroids = give(self._read("centroids", "k", "dim"), self._kind, dtype)
        if self._kind is Kind.TORCH and facts["has_optimizer"] and not isinstance(centroids, np.ndarray):
            try:
                gradients = self._read("centroid_gradients", "k", "dim")
            except RuntimeError:  # prototypes of sparse rows keep none
                return centroids
            if gradients.shape == centroids.shape:  # else another thread has added prototypes since
                centroids.grad = give(gradients, self._kind, dtype)
        return centroids

    @property
    def centroid_weights(self) -> Any:
        """Mass of each prototype, how many rows it stands for: array of shape (K,)."""
        return self._shown("centroid_weights", "k")

    @property
    def centroid_feature_weights(self) -> Any:
        """Age of each coordinate of each prototype, array of shape (K, D); only once a mask was seen."""
        if not self._facts()["has_ages"]:
            raise AttributeError("centroid_feature_weights exists only after a feature_mask was seen")
        return self._shown("centroid_ages", "k", "dim")

    @property
    def feature_weights(self) -> Any:
        """Weights of the features, array of shape (D,) that sums to D; before a fit, the argument."""
        if "_model" not in self.__dict__:
            return self.__dict__["feature_weights"]
        return self._shown("feature_weights", "dim")

    @feature_weights.setter
    def feature_weights(self, value):
        self.__dict__["feature_weights"] = value

    @property
    def frozen_mask(self) -> Any:
        """Prototypes that never move: truth values, array of shape (K,)."""
        return self._kept(
            "frozen",
            lambda: give(self._read("frozen", "k", dtype=np.uint8).astype(bool), self._kind),
        )

    @property
    def learning_rate_(self) -> float | None:
        """The learning rate that a search found, relative to the prototypes' standard deviation; None before
        one."""
        return self._facts()["learning_rate"] or None

    @property
    def n_iter_(self) -> int:
        """Passes of the last ``fit``; 0 when only ``fit_batch`` was called."""
        return self._facts()["iterations"]

    @property
    def history_(self) -> list[dict[str, Any]]:
        """One dict per pass, epoch or step of the learning-rate search, oldest first, since the last ``fit``:
        phase ('fit', 'finetune', 'learning rate'), epoch, loss, shift, eval, lr, k; NaN where there is
        none. eval is what the best state is chosen by, of the rows to evaluate on: a classifier's accuracy plus a
        thousandth of the mean log-probability of the right class, the best micro-F1 that one threshold can reach, minus
        the root of the mean squared error in standard deviations of the targets, minus the mean distance."""
        return self._fitted().history()

    @property
    def standardize_(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of each feature, two arrays of shape (D,); only of files of ``fkm fit
        --standardize``, whose
        models expect rows (X - mean) / deviation."""
        notes = [self._fitted().note(f"standardize.{name}") for name in ("mean", "std")]
        if None in notes:
            raise AttributeError("this model did not learn from rows that fkm standardized")
        mean, deviation = (np.array(json.loads(str(note)), np.float64) for note in notes)
        return mean, deviation

    @property
    def optimizer(self) -> Optimizer | None:
        """None until gradient steps begin, and again after the learning-rate search and ``fit``."""
        facts = self._current().describe()
        if not facts["has_optimizer"] or self.__dict__.get("_searched_at") == facts["gradient_steps"]:
            return None
        given = facts["params"]["learning_rate"]
        rate = facts["learning_rate"] or STANDARD_RATE if given == "auto" else float(given)
        return Optimizer(rate, facts["gradient_steps"], self.centroids)

    @property
    def _n_features_out(self) -> int:
        return self._facts()["k"]
