# SPDX-License-Identifier: Apache-2.0
"""Estimators as files, bytes and state dicts: always the core's model file, never anything that could run."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from typing import Any, Self

import numpy as np

from . import _core
from ._arrays import Kind, give, host_array
from ._attributes import FittedAttributes
from ._labels import lines_of, names_of
from ._parameters import TABLE, context_of, value_of
from ._turns import in_turn

_classes: dict[str, Any] = {}


def load(path: str | os.PathLike[str]) -> Any:
    """Read a model file and return the estimator that it holds.

    Files of ``save``, of the command ``fkm`` and of the C library are the same. Reading one cannot run code.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    BaseFastKMeans
        Of the class that fits the file; constructor arguments are the file's parameters.

    Raises
    ------
    OSError
        When there is no such file.
    ValueError
        When the file is damaged or no model.

    Examples
    --------
    >>> import os, tempfile
    >>> import fast_kmeans
    >>> model = fast_kmeans.FastKMeansClusterer(k_init=2).fit([[1.0, 0.0], [0.0, 1.0]])
    >>> path = os.path.join(tempfile.mkdtemp(), "two.fkm")
    >>> model.save(path)
    >>> fast_kmeans.load(path)
    FastKMeansClusterer(k_init=2)
    """
    model = _core.Model.load(context_of(-1), os.fspath(path))
    return _estimator_of(model, str(path))


def _estimator_of(model: _core.Model, what: str, wanted: Any = None):
    params = model.describe()["params"]
    found = _classes[params["task"]]
    if wanted is not None and not issubclass(wanted, found):
        raise ValueError(
            f"{what} holds a {params['task']}: read it with fast_kmeans.load or {found.__name__}.load"
        )
    known = [name for name in found._get_param_names() if name in TABLE]
    arguments = {name: value_of(name, params[name]) for name in known}
    own = (wanted or found)._get_param_names()  # a subclass may take fewer
    estimator = (wanted or found)(**{name: arguments[name] for name in known if name in own})
    vars(estimator).update(arguments)
    if model.describe()["fitted"]:
        estimator._take(model)
        if hasattr(estimator, "standardize_"):
            warnings.warn(
                f"{what} was learned from standardized rows: give it (X - mean) / deviation, "
                "with mean, deviation = model.standardize_",
                stacklevel=3,
            )
    return estimator


class Storage(FittedAttributes):
    """Files, bytes and state dicts of an estimator."""

    _task: str
    _meaning_of: Any

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "_task" in vars(cls):
            _classes[cls._task] = cls

    def _write_notes(self, model: _core.Model, lesson) -> None:
        """What the core does not know but a reader of the file needs."""
        names = lesson.columns.get("feature_names_in_")
        notes = {
            "columns": None if names is None else lines_of(names.tolist()),
            "python.arrays": lesson.kind.value,
        }
        for name, value in (notes | lesson.meaning.notes()).items():
            if model.note(name) != value:
                model.set_note(name, value)

    def _take(self, model: _core.Model) -> None:
        """Makes a model that came from bytes this estimator's own."""
        facts = model.describe()
        tags: list[int] = []
        if facts["n_classes"] and self._task == "multilabel":
            seen = np.empty(facts["n_classes"], np.int64)
            model.get("classes", seen)
            tags = seen.tolist()
        meaning = self._meaning_of.of(model.note, facts, tags)
        names = names_of(model.note("columns"))
        state = self.__dict__
        for name in ("labels_", "inertia_", "feature_names_in_", "_searched_at"):
            state.pop(name, None)
        if len(names) == facts["dim"]:
            state["feature_names_in_"] = np.array(names, object)
        state["n_features_in_"] = facts["dim"]
        state["_kind"] = Kind.TORCH if model.note("python.arrays") == "torch" else Kind.NUMPY
        state["_known"] = self._set_so_far()
        state["_meaning"], state["_model"], state["_cache"] = meaning, model, {}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a file: everything learned, the parameters, and the optimizer's state.

        Readers see the old file or the new one, never half of one. The format is safetensors with a checksum;
        the command ``fkm``, the C library and ``load`` read it.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        OSError
            When the file cannot be written.
        """
        self._current().save(os.fspath(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model file that ``save``, the command ``fkm`` or the C library wrote.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        BaseFastKMeans
            Constructor arguments are the file's parameters.

        Raises
        ------
        OSError
            When there is no such file.
        ValueError
            When the file is damaged, or holds a model of another class.
        """
        if "_task" not in dir(cls):
            return load(path)
        return _estimator_of(_core.Model.load(context_of(-1), os.fspath(path)), str(path), cls)

    def state_dict(self) -> OrderedDict[str, Any]:
        """What the model has learned, as arrays.

        Returns
        -------
        OrderedDict
            ``centroids``, ``centroid_weights`` and the like, to look at, and ``model``: the bytes of the
            model file, from which ``load_state_dict`` restores everything. Tensors when the model was fitted
            with tensors, so that ``torch.save`` and ``torch.load(weights_only=True)`` take it.
        """
        model = self._current().copy()  # one moment of a model that another thread may be teaching
        still = object.__new__(type(self))
        still.__dict__.update(self.__dict__, _model=model, _cache={})
        entries = OrderedDict((name, getattr(still, name)) for name in still._state_names())
        return OrderedDict(entries, model=give(np.frombuffer(model.to_bytes(), np.uint8), self._kind))

    def _state_names(self) -> list[str]:
        names = ["centroids", "centroid_weights", "feature_weights", "frozen_mask"]
        return names + (["centroid_feature_weights"] if self._facts()["has_ages"] else [])

    @in_turn
    def load_state_dict(self, state_dict) -> None:
        """Restore what ``state_dict`` gave, also on an estimator that was never fitted.

        Answers follow the restored model; the constructor's arguments stay as they are, and count again from
        the next ``fit`` or when they are changed.

        Parameters
        ----------
        state_dict : dict
            The entry ``model`` decides; others may be missing.

        Raises
        ------
        ValueError
            When ``model`` is missing, damaged or of another class, or another entry disagrees with it.
        """
        if "model" not in state_dict:
            raise ValueError(
                f"the state dict has no entry 'model', only {', '.join(map(str, state_dict)) or 'nothing'}"
            )
        given = state_dict["model"]
        data = np.asarray(host_array(np.frombuffer(given, np.uint8) if isinstance(given, bytes) else given, "model"))
        if data.ndim != 1 or data.dtype != np.uint8:
            raise ValueError(f"the state dict's model is {data.dtype} of shape {data.shape}; it must be bytes, as uint8")
        data = np.ascontiguousarray(data)
        model = _core.Model.from_bytes(context_of(self.__dict__["n_threads"]), data)
        facts = model.describe()
        if facts["params"]["task"] != self._task:
            raise ValueError(f"the state dict holds a {facts['params']['task']}, this is a {self._task}")
        if not facts["fitted"]:
            raise ValueError("the state dict holds a model that was not fitted")
        restored = object.__new__(type(self))
        restored.__dict__.update(self.__dict__)
        restored._take(model)
        entries = restored.state_dict()
        for name, value in state_dict.items():
            if name not in entries:
                raise ValueError(f"the state dict has the entry {name!r}; known: {', '.join(entries)}")
            if name != "model" and not _same(value, entries[name]):
                raise ValueError(f"the state dict's {name} disagrees with its model")
        self.__dict__.clear()
        self.__dict__.update(restored.__dict__)

    def __getstate__(self):
        state = dict(super().__getstate__())
        state.pop("_cache", None)
        if "_model" in state:
            state["_model"] = self._current().to_bytes()
            state["_known"] = self._set_so_far()
        return state

    def __setstate__(self, state):
        state = dict(state)
        data = state.pop("_model", None)
        super().__setstate__(state)
        if data is not None:
            self._model = _core.Model.from_bytes(context_of(self.__dict__["n_threads"]), data)
            self._cache = {}


def _same(value, expected) -> bool:
    value, expected = (np.asarray(host_array(array, "entry"), np.float64) for array in (value, expected))
    return value.shape == expected.shape and bool(np.array_equal(value, expected, equal_nan=True))
