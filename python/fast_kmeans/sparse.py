# SPDX-License-Identifier: Apache-2.0
"""A classifier for sparse text with many classes, under the names that `FastKMeansClassifier.py` had.

It is a face: the work is done by :class:`fast_kmeans.FastKMeansClassifier`, whose core also reads the files it saves.
"""

from __future__ import annotations

import copy
import os
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

from . import _storage
from ._classifier import FastKMeansClassifier as _Engine
from ._parameters import check_words, words_of

CHOICES = {
    "init_method": words_of("init_mode"),
    "distance": ["cosine", "euclidean"],
    "dtype": words_of("dtype"),
    "soft_type": ["linear", "softmax"],
}
SAME = (
    "k_init k_list distance dtype temperature lambda_penalty merge_threshold relative_merge percentile_threshold "
    "batch_size n_threads min_weight truncation_threshold random_state"
).split()
"""Arguments that the engine has under the same name."""
ADVICE = "; mask missing values, or say missing='mask'"
"""What the engine says of a NaN and this class cannot follow."""


@contextmanager
def _own_advice():
    try:
        yield
    except ValueError as error:
        if ADVICE not in str(error):
            raise
        raise ValueError(str(error).replace(ADVICE, "")) from None


class FastKMeansClassifier(ClassifierMixin, BaseEstimator):
    """Prototypes for each class, for sparse rows, many classes and endless streams.

    Rows are dense or sparse (CSR is never made dense); answers are numpy arrays. After each batch prototypes of a class that
    have come close to each other merge, light ones die, and small coordinates become 0.

    Parameters
    ----------
    k_init : int, default 3
        Prototypes for each class at the start.
    k_list : dict or list, optional
        Prototypes for particular classes: ``{label: k}``, or one number for each class in ascending order. Overrides ``k_init``.
    init_method : {'kmeans++', 'random'}, default 'kmeans++'
        How the first prototypes are chosen.
    distance : {'cosine', 'euclidean'}, default 'cosine'
    dtype : {'float32', 'float16', 'bfloat16', 'float64'}, default 'float32'
        Storage of the prototypes.
    soft : bool, default True
        True: a row moves every prototype by its share. False: only the nearest prototype of its own class, which tells
        many classes apart better, and faster: with True, classes drift together unless ``lambda_penalty`` is larger.
    soft_type : {'linear', 'softmax'}, default 'linear'
        Shares are the similarities cut off at 0, or their softmax.
    temperature : float, default 1.0
        Divides similarities before the softmax.
    lambda_penalty : float, default 0.1
        What a prototype of another class loses of its similarity.
    merge_threshold : float, optional
        Prototypes of one class that are nearer than this merge.
    relative_merge : bool, default False
        ``merge_threshold`` counts in mean distances between prototypes.
    percentile_threshold : float in [0, 1], optional
        Merge and truncate only what also lies below this quantile.
    batch_size : int, default 10240
        Rows worked on at a time.
    n_threads : int, default -1
        Threads; -1: one per core.
    min_weight : float, default 1e-3
        Prototypes lighter than this die; a class keeps its last one.
    truncation_threshold : float, default 1e-4
        Coordinates smaller than this become 0.
    max_iters : int, default 50
        Most passes of ``fit``.
    tol : float, default 1e-4
        ``fit`` ends when no prototype moved further than this.
    random_state : int, default 42

    Attributes
    ----------
    centroids : ndarray of shape (K, D)
    centroids_csr : scipy.sparse.csr_matrix of shape (K, D)
        The same without zeros.
    centroid_labels : ndarray of shape (K,)
    centroid_weights : ndarray of shape (K,)
        Mass of each prototype.
    classes_ : ndarray of shape (C,)
    n_features_in_ : int

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from fast_kmeans.sparse import FastKMeansClassifier
    >>> texts = ["red apple", "green apple", "fast car", "red car"]
    >>> X = TfidfVectorizer().fit_transform(texts)
    >>> model = FastKMeansClassifier(k_init=1).fit(X, ["fruit", "fruit", "vehicle", "vehicle"])
    >>> model.predict(X).tolist()
    ['fruit', 'fruit', 'vehicle', 'vehicle']
    """

    def __init__(
        self,
        k_init: int = 3,
        k_list: Any = None,
        init_method: str = "kmeans++",
        distance: str = "cosine",
        dtype: str = "float32",
        soft: bool = True,
        soft_type: str = "linear",
        temperature: float = 1.0,
        lambda_penalty: float = 0.1,
        merge_threshold: float | None = None,
        relative_merge: bool = False,
        percentile_threshold: float | None = None,
        batch_size: int = 10240,
        n_threads: int = -1,
        *,
        min_weight: float = 1e-3,
        truncation_threshold: float = 1e-4,
        max_iters: int = 50,
        tol: float = 1e-4,
        random_state: Any = 42,
    ) -> None:
        for name, value in locals().items():
            if name != "self":
                setattr(self, name, value)
        self._check_choices()
        check_words({"k_init": k_init})

    def _check_choices(self) -> None:
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name} is {value!r}; valid: {', '.join(choices)}")
        if not isinstance(self.soft, (bool, np.bool_)):
            raise ValueError(f"soft is {self.soft!r}; it must be True or False")

    def _new_engine(self) -> _Engine:
        return _Engine(init_mode=self.init_method, sparse=True, **self._engine_arguments())

    def _engine_arguments(self) -> dict[str, Any]:
        self._check_choices()
        return {name: getattr(self, name) for name in SAME} | {
            "assignment": self.soft_type if self.soft else "hard"
        }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return "_engine" in vars(self)

    def __copy__(self) -> Self:
        """A copy that learns by itself."""
        twin = type(self).__new__(type(self))
        vars(twin).update(vars(self))
        if "_engine" in vars(self):
            twin._engine = copy.copy(self._engine)
        return twin

    def _fitted(self) -> _Engine:
        if "_engine" not in vars(self):
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' or 'fit_batch' before this."
            )
        vars(self._engine).update(self._engine_arguments())  # what was set since
        return self._engine

    # ---- learning

    @_own_advice()
    def fit(self, X, y, verbose: bool = False) -> Self:
        """Place the prototypes by passes over the whole of the data; what was learned before is forgotten.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, D)
        y : array-like of shape (n,)
            One label for each row, numbers or text; indicators and fractions are refused.
        verbose : bool, default False
            Show a bar.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            When an argument, a parameter or a value of the data is not valid.
        """
        engine = self._new_engine()
        try:
            engine.fit(X, y, max_iters=self.max_iters, tol=self.tol, verbose=verbose)
        finally:  # also after Ctrl-C: the passes that were whole count
            if engine.__sklearn_is_fitted__():
                self._engine = engine
        return self

    @_own_advice()
    def fit_batch(self, X, y, verbose: bool = False) -> dict[str, Any]:
        """Learn from one batch; call it for ever. Classes never seen get their prototypes from the batch that brings them.

        Parameters
        ----------
        X, y
            As in ``fit``.
        verbose : bool, default False
            Print what the batch did.

        Returns
        -------
        dict
            ``shift``: how far the prototype that moved most has moved; ``num_merged``: prototypes that merged or died in
            this batch; ``active_centroids``: prototypes now.

        Raises
        ------
        ValueError
            When a parameter or a value of the data is not valid; the model is then what it was.
        """
        engine = self._fitted() if self.__sklearn_is_fitted__() else self._new_engine()
        shift = engine.fit_batch(X, y)
        self._engine = engine
        log = {
            "shift": shift,
            "num_merged": engine._model.last_merged(),
            "active_centroids": engine._facts()["k"],
        }
        if verbose:
            from tqdm.auto import tqdm

            tqdm.write(" | ".join(f"{name} {value:.4g}" for name, value in log.items()))
        return log

    def partial_fit(self, X, y, classes=None) -> Self:
        """``fit_batch`` as scikit-learn calls it.

        Parameters
        ----------
        X, y
            As in ``fit``.
        classes : array-like, optional
            Not needed: a class gets its prototypes from the batch that brings it.

        Returns
        -------
        self
        """
        self.fit_batch(X, y)
        return self

    # ---- answers

    @_own_advice()
    def predict(self, X) -> np.ndarray:
        """The label of the prototype nearest to each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, D)

        Returns
        -------
        ndarray of shape (n,)
        """
        engine = self._fitted()
        model, rows, batch = engine._question(X, None)
        nearest = np.empty((rows.n_rows, 1), np.int64)
        model.nearest(batch, 1, index=nearest)
        codes = engine._read("centroid_labels", "k", dtype=np.int64)
        return engine._meaning.write(codes[nearest[:, 0]])

    @_own_advice()
    def predict_proba(self, X) -> np.ndarray:
        """The probability of each class: the blended shares of its prototypes among the five nearest. The largest need
        not be that of the class that ``predict`` tells, which asks the nearest prototype alone.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, D)

        Returns
        -------
        ndarray of float32 of shape (n, C)
            Columns in the order of ``classes_``.
        """
        engine = self._fitted()
        model, rows, batch = engine._question(X, None)
        return engine._proba(model, rows.n_rows, batch)

    # ---- inside, as numpy

    def _shown(self, name: str):
        engine = self._fitted()
        value = getattr(engine, name)
        if isinstance(value, np.ndarray):
            return value
        return np.asarray(value.float() if "float16" in str(value.dtype) else value)

    @property
    def centroids(self) -> np.ndarray:
        """Prototypes, (K, D)."""
        return self._shown("centroids")

    @property
    def centroids_csr(self) -> Any:
        """Prototypes without zeros, scipy.sparse.csr_matrix of shape (K, D)."""
        return self._fitted().centroids_csr

    @property
    def centroid_weights(self) -> np.ndarray:
        """Mass of each prototype, (K,)."""
        return self._shown("centroid_weights")

    @property
    def centroid_labels(self) -> np.ndarray:
        """Label of each prototype, (K,)."""
        return self._shown("centroid_labels")

    @property
    def classes_(self) -> np.ndarray:
        """Labels seen so far, ascending."""
        return self._shown("classes_")

    @property
    def n_features_in_(self) -> int:
        """Columns of the rows learned from."""
        return self._fitted().n_features_in_

    @property
    def n_iter_(self) -> int:
        """Passes of the last ``fit``."""
        return self._fitted().n_iter_

    @property
    def history_(self) -> list[dict[str, Any]]:
        """One dict per pass, oldest first."""
        return self._fitted().history_

    # ---- places

    def to(self, device) -> Self:
        """Where the model works; this build knows the CPU.

        Parameters
        ----------
        device : str or torch.device

        Returns
        -------
        self

        Raises
        ------
        RuntimeError
            For CUDA, as long as the build has no CUDA backend.
        """
        self._new_engine().to(device)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file that ``load``, ``fast_kmeans.load`` and the command ``fkm`` read.

        Parameters
        ----------
        path : str or path-like
        """
        self._fitted().save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what ``save`` wrote.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        FastKMeansClassifier
        """
        engine = _storage.load(os.fspath(path))
        if not isinstance(engine, _Engine) or not engine.__sklearn_is_fitted__():
            raise ValueError(f"{path} does not hold a fitted classifier")
        renamed = {"init_method": engine.init_mode, "soft": engine.assignment != "hard"}
        if engine.assignment != "hard":
            renamed["soft_type"] = engine.assignment
        own = cls._get_param_names()
        same = {name: value for name, value in vars(engine).items() if name in own and name != "soft_type"}
        model = cls(**(same | renamed))
        model._engine = engine
        return model
