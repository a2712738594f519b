# SPDX-License-Identifier: Apache-2.0
"""The estimators' common base: every call that is not one task's own."""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from . import _core
from ._arrays import Kind, give, host_array, kind_of
from ._attributes import filled
from ._labels import Nothing
from ._lessons import Lesson, Lessons
from ._parameters import check_words, device_of, need_device, need_kinds
from ._progress import Callback, Watcher
from ._storage import Storage
from ._stream import fit_stream
from ._turns import in_turn

if TYPE_CHECKING:
    from ._explain import Explanation

HELD_OUT = 0.1
"""Share of the rows that early stopping holds out when nobody gave rows to evaluate on."""


class BaseFastKMeans(Lessons, Storage, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """What the four estimators have in common; it cannot be used by itself.

    A model condenses rows into prototypes (``centroids``). ``fit`` or ``fit_batch`` place them, ``finetune``
    or ``fit_batch(gradient_step=True)`` move them by gradient, ``predict`` blends the nearest ones.

    Rows ``X`` may be arrays of numpy, torch (CPU), scipy.sparse, pandas, polars or pyarrow; answers come back
    as tensors when the rows were a tensor, and as numpy arrays otherwise. A call that fails leaves the
    estimator as it was; one that Ctrl-C or an exception of a callback ends keeps what it has learned so far.
    Arguments changed after a fit (``model.top_k = 16``, ``set_params``) count at once, but for those that what
    was learned depends on (``distance``, ``dtype``, ``init_mode``, feature weights, ``random_state``, ...):
    they count from the next ``fit`` on.
    """

    _task: str
    _meaning_of: Any = Nothing

    distance: str
    dtype: str
    init_mode: Any
    soft_type: str
    temperature: float
    top_k: int
    auto_feature_weights: bool
    negative_sampling: int | None
    diversity_reg: float
    l2_reg: float
    use_faiss: bool
    use_compile: bool
    device: Any
    batch_size: int
    random_state: Any
    n_threads: int
    missing: str
    top_k_train: int | str
    idw_power: float | str
    finetune_batch_size: int
    learning_rate: float | str
    k_max: int | None
    auto_scale: bool
    min_weight: float
    truncation_threshold: float
    sparse: bool
    merge_threshold: float | None
    relative_merge: bool
    percentile_threshold: float | None
    decay: float
    noise: float
    normalize_prototypes: bool

    # ---- arguments

    def _store(self, arguments: dict[str, Any]) -> None:
        """Keeps a constructor's arguments as they are, given its locals()."""
        arguments = {name: value for name, value in arguments.items() if name not in ("self", "__class__")}
        check_words(arguments)
        for name, value in arguments.items():
            setattr(self, name, value)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the constructor's arguments.

        Parameters
        ----------
        deep : bool, default True
            Without meaning: no argument is an estimator.

        Returns
        -------
        dict
            ``feature_weights`` is the argument, not the fitted weights.
        """
        return {name: self.__dict__[name] for name in self._get_param_names()}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.allow_nan = self.__dict__.get("missing") == "mask"
        return tags

    # ---- learning

    @in_turn
    def fit(
        self,
        X,
        y=None,
        sample_weight=None,
        feature_mask=None,
        max_iters: int = 100,
        tol: float = 1e-4,
        eval_set: Sequence[Any] | None = None,
        eval_fraction: float = 0.0,
        verbose: bool = False,
        *,
        callbacks: Callback | Iterable[Callback] | None = None,
    ) -> Self:
        """Phase 1 on the whole of the data: seeding, then passes over all rows until nothing moves.

        Whatever was learned before is forgotten.

        Parameters
        ----------
        X : array-like of shape (n, D)
            Rows; a sparse matrix is never made dense.
        y : array-like of shape (n,) or (n, M)
            Classifier: labels, numbers or text. Multi-label: indicators (n, tags), or one tag number per row.
            Regressor: one or M numbers per row. Clusterer: ignored.
        sample_weight : float or array-like of shape (n,), optional
            How much each row counts, >= 0.
        feature_mask : array-like of shape (n, D) or (D,), optional
            1 where a value counts, 0 where it is missing or padding, or between.
        max_iters : int, default 100
            Most passes over the rows.
        tol : float, default 1e-4
            Stop when no prototype moved further than this.
        eval_set : tuple (X, y) or (X, y, sample_weight), optional
            Rows whose score after each pass goes to ``history_``.
        eval_fraction : float in [0, 1), default 0.0
            Share of the rows to hold out for that, without an ``eval_set``.
        verbose : bool, default False
            Show a progress bar.
        callbacks : callable or list of callables, optional
            Called after each pass with a dict of phase, epoch, epochs, step, steps, rows, loss, shift, eval
            and k; one that returns true stops the call, and the estimator is fitted with the passes so far.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            When an argument, a parameter of the constructor or a value of the data is not valid; the message
            names it.
        """
        need_kinds(max_iters=max_iters, tol=tol, eval_fraction=eval_fraction)
        lesson = self._lesson(X, y, sample_weight, feature_mask, anew=True, grow=True)
        held = self._held_out(eval_set, lesson)
        model = self._new_model(lesson)
        answers = self._fit_answers(lesson)
        with Watcher(verbose, callbacks, "fit") as progress:
            try:
                answered = model.fit(
                    lesson.batch,
                    max_iters=max_iters,
                    tol=tol,
                    eval=held,
                    eval_fraction=eval_fraction,
                    progress=progress,
                    **answers,
                )
            except _core.InterruptedByCallback:
                answered = False
            finally:  # also after Ctrl-C: the model keeps the passes that were whole
                if model.describe()["fitted"]:
                    self._adopt(model, lesson, anew=True)
        self._after_fit(lesson, answers, answered)
        return self

    def _fit_answers(self, lesson: Lesson) -> dict:
        """Arrays that fit may fill, by the names that the model has for them."""
        return {}

    def _after_fit(self, lesson: Lesson, answers: dict, answered: bool) -> None:
        """What a task adds after fit; answered: the arrays are filled."""

    @in_turn
    def fit_batch(
        self, X, y=None, sample_weight=None, feature_mask=None, gradient_step: bool = False
    ) -> float:
        """Learn from one batch of an endless stream; call it for ever.

        Classes that were never seen get their prototypes from the batch that brings them.

        Parameters
        ----------
        X, y, sample_weight, feature_mask
            As in ``fit``.
        gradient_step : bool, default False
            False: phase 1, each row pulls the nearest prototype of its own kind. True: phase 2, one step of
            Adam on the batch as it is.

        Returns
        -------
        float
            Phase 1: how far the prototype that moved most has moved. Phase 2: the loss before the step.

        Raises
        ------
        ValueError
            When the data or a parameter is not valid.
        RuntimeError
            With ``gradient_step`` when ``soft_type`` is 'hard' or 'mean', which have no gradients.
        """
        first = not self.__sklearn_is_fitted__()
        if first and gradient_step:
            self._fitted()
        lesson = self._lesson(X, y, sample_weight, feature_mask, anew=first, grow=True)
        lesson.stream = True
        model = self._new_model(lesson) if first else self._model
        self._before_batch(model, lesson)
        value = model.gradient_step(lesson.batch) if gradient_step else model.fit_batch(lesson.batch)
        self._adopt(model, lesson, anew=first)
        return value

    def _before_batch(self, model: _core.Model, lesson: Lesson) -> None:
        """What a task tells the model of classes a batch may bring."""

    def partial_fit(self, X, y=None, sample_weight=None, feature_mask=None) -> Self:
        """Phase 1 on one batch, as scikit-learn calls it: ``fit_batch`` that returns the estimator.

        Parameters
        ----------
        X, y, sample_weight, feature_mask
            As in ``fit``.

        Returns
        -------
        self
        """
        self.fit_batch(X, y, sample_weight, feature_mask)
        return self

    @in_turn
    def fit_stream(
        self,
        source,
        target=None,
        weight=None,
        *,
        epochs=1,
        gradient_step=False,
        checkpoint=None,
        checkpoint_batches=0,
        resume=False,
        verbose: bool = False,
        callbacks: Callback | Iterable[Callback] | None = None,
        **file_options,
    ) -> Self:
        """Learn from more rows than memory holds, batch by batch: from a file, an Arrow stream or an
        iterable.

        What was learned before is kept and goes on. Batches have at most ``batch_size`` rows, in phase 2
        ``finetune_batch_size``.

        Parameters
        ----------
        source : path, Arrow stream, iterable or callable
            A path of a CSV, TSV, libsvm or .npy file, also .gz. Anything with ``__arrow_c_stream__``: tables
            and readers of pyarrow, polars, DuckDB. An iterable of (X, y), (X, y, weight) or (X, y, weight,
            mask), for a clusterer also of X; more than one epoch needs one that can be iterated again, or a
            function that returns an iterator.
        target : str, int or list of them, optional
            Name or number of the column with the target, or of several; for .npy the path of the file with
            the targets.
        weight : str or int, optional
            Name or number of the column with the rows' weights; for .npy a path.
        epochs : int, default 1
            How often the source is read.
        gradient_step : bool, default False
            False: phase 1. True: phase 2, one step of Adam for each batch.
        checkpoint : path, optional
            File to save the model to, at the end and as ``checkpoint_batches`` says.
        checkpoint_batches : int, default 0
            Save after every so many batches.
        resume : bool, default False
            Begin where the checkpoint left the source: rows it has learned are not learned again, and the end
            is the same bit for bit.
        verbose : bool, default False
            Show a progress bar.
        callbacks : callable or list of callables, optional
            As in ``fit``, called after each batch.
        **file_options
            Of files: ``format`` ('csv', 'tsv', 'libsvm', 'npy'), ``header`` (1, 0, or -1 to look),
            ``index_base`` (of libsvm: 0, 1, or -1 to look), ``n_cols`` (of libsvm).

        Returns
        -------
        self

        Raises
        ------
        OSError
            When a file cannot be read or the checkpoint not be written; batches learned before stay learned.
        ValueError
            When an argument or a row is not valid; the message names it, batches before it stay learned.
        NotImplementedError
            When the source cannot be read again but must be.

        Examples
        --------
        >>> from fast_kmeans import FastKMeansClassifier
        >>> batches = [([[0.0, 1.0], [5.0, 5.0]], ["low", "high"]), ([[1.0, 0.0], [6.0, 5.0]], ["low", "high"])]
        >>> model = FastKMeansClassifier(k_init=1, distance="euclidean").fit_stream(batches, epochs=2)
        >>> model.predict([[0.0, 0.0]]).tolist()
        ['low']
        """
        return fit_stream(
            self,
            source,
            target,
            weight,
            epochs=epochs,
            gradient_step=gradient_step,
            checkpoint=checkpoint,
            checkpoint_batches=checkpoint_batches,
            resume=resume,
            verbose=verbose,
            callbacks=callbacks,
            file_options=file_options,
        )

    @in_turn
    def finetune(
        self,
        X,
        y=None,
        sample_weight=None,
        feature_mask=None,
        epochs: int = 10,
        eval_set: Sequence[Any] | None = None,
        eval_fraction: float = 0.0,
        early_stopping_rounds: int | None = None,
        lr: float | None = None,
        verbose: bool = False,
        *,
        callbacks: Callback | Iterable[Callback] | None = None,
    ) -> Self:
        """Phase 2: move the prototypes by gradient, over epochs of shuffled batches of
        ``finetune_batch_size`` rows.

        Parameters
        ----------
        X, y, sample_weight, feature_mask
            As in ``fit``; labels must have been seen there.
        epochs : int, default 10
            Passes over the rows.
        eval_set : tuple (X, y) or (X, y, sample_weight), optional
            Rows that decide which epoch was best; its state is what remains.
        eval_fraction : float in [0, 1), default 0.0
            Share of the rows to hold out for that, without an ``eval_set``.
        early_stopping_rounds : int, optional
            Stop after so many epochs without a better score. Without rows to evaluate on, a tenth of X is
            held out.
        lr : float in (0, 10], optional
            Learning rate, relative to the standard deviation of the prototypes. None: the constructor's
            ``learning_rate``, else what a search has found, else a search runs first (see
            ``find_learning_rate``).
        verbose : bool, default False
            Show a progress bar.
        callbacks : callable or list of callables, optional
            As in ``fit``, called during and after each epoch.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            Before phase 1.
        RuntimeError
            When ``soft_type`` is 'hard' or 'mean', which have no gradients.
        ValueError
            When an argument or a value of the data is not valid.
        """
        model = self._fitted()
        steps_before = self._facts()["gradient_steps"]
        need_kinds(epochs=epochs, eval_fraction=eval_fraction)
        if lr is not None and not (isinstance(lr, numbers.Real) and 0 < lr <= 10):
            raise ValueError(f"lr is {lr!r}; it must be in (0, 10], or None for a search")
        if early_stopping_rounds is not None:
            need_kinds(early_stopping_rounds=early_stopping_rounds)
            if early_stopping_rounds < 1:
                raise ValueError(f"early_stopping_rounds is {early_stopping_rounds}; it must be >= 1, or None")
        lesson = self._lesson(X, y, sample_weight, feature_mask, anew=False, grow=False)
        held = self._held_out(eval_set, lesson)
        if early_stopping_rounds is not None and held is None and eval_fraction == 0:
            eval_fraction = HELD_OUT
        with Watcher(verbose, callbacks, "finetune") as progress:
            try:
                model.finetune(
                    lesson.batch,
                    epochs=epochs,
                    lr=0.0 if lr is None else lr,
                    search=True,
                    early_stopping_rounds=early_stopping_rounds or 0,
                    eval=held,
                    eval_fraction=eval_fraction,
                    progress=progress,
                )
            except _core.InterruptedByCallback:
                pass
            finally:  # also after Ctrl-C: the model keeps what it learned
                if model.describe()["gradient_steps"] != steps_before:
                    self._adopt(model, lesson, anew=False)
        return self

    @in_turn
    def find_learning_rate(self, X, y=None, sample_weight=None, feature_mask=None) -> float:
        """Search the learning rate of gradient steps: 100 steps from 1e-5 to 1 on a copy of the model.

        The model stays as it was; the rate becomes ``learning_rate_`` and the next gradient steps use it, the
        curve goes to ``history_`` (phase 'learning rate').

        Parameters
        ----------
        X, y, sample_weight, feature_mask
            As in ``fit``; labels must have been seen there.

        Returns
        -------
        float
            Relative to the standard deviation of the prototypes.

        Raises
        ------
        NotFittedError, RuntimeError, ValueError
            As in ``finetune``.
        """
        model = self._fitted()
        lesson = self._lesson(X, y, sample_weight, feature_mask, anew=False, grow=False)
        rate = model.find_learning_rate(lesson.batch)
        self._searched_at = model.describe()["gradient_steps"]
        return rate

    def calculate_feature_importance(self, X, y=None, sample_weight=None, feature_mask=None) -> Any:
        """How well each feature separates the classes, strata of the targets or clusters: 1 - variance within
        / variance of all, at least 0.001, scaled to sum D. The model does not change.

        Parameters
        ----------
        X, y, sample_weight, feature_mask
            As in ``fit``.

        Returns
        -------
        array of shape (D,)
            Those that ``auto_feature_weights`` would learn from these rows.

        Raises
        ------
        NotFittedError
            Of a clusterer before phase 1: its groups are its clusters.
        ValueError
            When a value of the data is not valid.
        """
        first = not self.__sklearn_is_fitted__()
        if first and self._task == "clusterer":
            self._fitted()
        lesson = self._lesson(X, y, sample_weight, feature_mask, anew=first, grow=True)
        model = self._new_model(lesson) if first else self._model
        importance = np.empty(lesson.batch.n_cols)
        model.feature_importance(lesson.batch, importance)
        kind = kind_of(X)
        return give(importance, kind, "float32" if kind is Kind.TORCH else "float64")

    @in_turn
    def freeze_centroids(self, mask=None) -> Self:
        """Freeze prototypes: they never move, merge or die, and their gradients are 0.

        Parameters
        ----------
        mask : array-like of bool of shape (K,), optional
            Which are frozen; the others are freed. None: all.

        Returns
        -------
        self
        """
        model = self._fitted()
        if mask is not None:
            mask = np.asarray(host_array(mask, "mask"))
            if mask.dtype != bool:
                raise ValueError(f"mask holds {mask.dtype}; it must hold True and False")
            mask = np.ascontiguousarray(mask).view(np.uint8)
        model.freeze(mask)
        self._cache = {}
        return self

    # ---- answers

    @abstractmethod
    def predict(self, X, feature_mask=None) -> Any:
        """The answer for each row."""

    def transform(self, X, feature_mask=None) -> Any:
        """Similarity of each row to each prototype: 1 / (1 + distance / scale), or the cosine.

        Parameters
        ----------
        X : array-like of shape (n, D)
        feature_mask : array-like of shape (n, D) or (D,), optional

        Returns
        -------
        array of shape (n, K), float32
        """
        model, rows, batch = self._question(X, feature_mask)
        similarity = filled(
            model, lambda facts: (rows.n_rows, facts["k"]), np.float32, partial(model.transform, batch)
        )
        return give(similarity, rows.kind)

    def fit_transform(self, X, y=None, sample_weight=None, feature_mask=None, **fit_params) -> Any:
        """``fit``, then ``transform`` of the same rows.

        Parameters
        ----------
        X, y, sample_weight, feature_mask
            As in ``fit``.
        **fit_params
            Other arguments of ``fit``.

        Returns
        -------
        array of shape (n, K), float32
        """
        self.fit(X, y, sample_weight, feature_mask, **fit_params)
        return self.transform(X, feature_mask)

    def explain(self, X, feature_mask=None, top_k: int | None = None) -> Explanation:
        """Which prototypes decide the answer for each row, and by how much.

        Parameters
        ----------
        X : array-like of shape (n, D)
        feature_mask : array-like of shape (n, D) or (D,), optional
            1 where a value counts, 0 where it is missing.
        top_k : int, optional
            How many prototypes to tell of for each row, -1: all. None: those that answer, at most 20.

        Returns
        -------
        Explanation
            Per row the prototypes with their weights, distances, masses, labels or targets, and the margin.
        """
        from ._explain import explain

        return explain(self, X, feature_mask, top_k)

    def to_onnx(self, path=None, **options) -> Any:
        """Write the fitted estimator as an ONNX model; needs the package onnx.

        Parameters
        ----------
        path : str or path-like, optional
            Where to write it.
        **options
            Of ``fast_kmeans.onnx.to_onnx``.

        Returns
        -------
        onnx.ModelProto
        """
        from .onnx import to_onnx

        return to_onnx(self, path, **options)

    # ---- manners of torch

    def to(self, device) -> Self:
        """Move to a device; this build has the CPU only.

        Parameters
        ----------
        device : str or torch.device
            'cpu'.

        Returns
        -------
        self

        Raises
        ------
        RuntimeError
            For 'cuda': this build has no CUDA backend.
        ValueError
            For what is no device.
        """
        if device is None:
            raise ValueError("device is None; valid: cpu")
        device_of(device)
        need_device(device)
        return self

    def train(self, mode: bool = True) -> Self:
        """Do nothing and return the estimator: there is one mode only.

        Parameters
        ----------
        mode : bool, default True

        Returns
        -------
        self
        """
        return self

    def eval(self) -> Self:
        """Do nothing and return the estimator: there is one mode only.

        Returns
        -------
        self
        """
        return self
