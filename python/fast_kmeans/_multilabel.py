# SPDX-License-Identifier: Apache-2.0
"""Tagging: rows that carry any number of tags."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score

from ._arrays import Kind, give
from ._attributes import per_class, top_of
from ._base import BaseFastKMeans
from ._labels import Tags
from ._parameters import LIVE, need_kinds
from ._targets import tags_of, vector_of, weight_of

STRATEGIES = ("adaptive", "gap", "top_k")


class FastMultiLabelKMeansClassifier(ClassifierMixin, BaseFastKMeans):
    """Tag rows: each tag has prototypes of its own, and any number of tags may fit a row.

    Fine-tuning uses the asymmetric loss, for which tags that are absent and already improbable stop
    mattering. ``y`` is an indicator matrix (n, L) of 0 and 1, dense or sparse. One label per row is fine too,
    and is then what ``predict`` gives.

    Parameters
    ----------
    k_init : int or 'auto', default 3
        Prototypes for each tag; 'auto': by how many and how spread out its rows are.
    asl_gamma_neg : float, default 4.0
        Focus of the loss on hard negatives.
    asl_gamma_pos : float, default 1.0
        Focus of the loss on hard positives.
    asl_clip : float, default 0.05
        Negatives less probable than this are ignored.
    distance : {'cosine', 'euclidean', 'l1'}, default 'cosine'
        How far a row is from a prototype; 'euclidean' is the squared distance.
    dtype : {'float32', 'float16', 'bfloat16', 'float64'}, default 'float32'
        Storage of the prototypes; sums are float32, or float64 for 'float64'.
    init_mode : {'kmeans++', 'random'} or tuple (points, tags), default 'kmeans++'
        How the first prototypes are chosen, or the first prototypes themselves.
    soft_type : {'hard', 'mean', 'scaled', 'softmax_scaled'}, default 'scaled'
        How the nearest prototypes share a row; 'hard' and 'mean' have no gradients.
    temperature : float, default 1.0
        Divides distances when ``soft_type='softmax_scaled'``.
    top_k : int, default 5
        Prototypes blended in an answer; -1 for all.
    auto_feature_weights : bool, default False
        Weigh features by how well they separate.
    negative_sampling : int or None, default None
        Classes sampled for each gradient batch, None: all; a classifier's only.
    diversity_reg : float, default 0.0
        Penalty on prototypes of a class being alike.
    l2_reg : float, default 0.0
        Penalty on leaving the end of phase 1.
    use_faiss : bool, default False
        Without effect on answers, which need the nearest prototype of each tag; needs faiss all the same.
    use_compile : bool, default False
        Measure, on the first rows a fit sees, how this model's scans run fastest on this machine, and keep
        that with the model; answers are the same. Pays where few rows at a time meet few hundred prototypes.
    device : {None, 'cpu'}, default None
        Where work runs; this build has the CPU only.
    batch_size : int, default 10240
        Rows worked on at a time.
    random_state : int, None, RandomState or Generator, default 42
        Seed of all random choices; None: another one for each fit.
    feature_weights : array-like of shape (D,) or None, default None
        Weights of the features, >= 0. Once fitted, the attribute holds the fitted weights.
    n_threads : int, default -1
        Threads; -1 for one per core.
    missing : {'error', 'mask'}, default 'error'
        What a NaN in X means: an error, or a value that is not there.
    top_k_train : int or 'auto', default 'auto'
        Prototypes routed in training; 'auto': ``top_k``, for classes and tags at least 8.
    idw_power : float or 'auto', default 'auto'
        Exponent of 'scaled'; 'auto': 4, or 8 for 'l1'.
    finetune_batch_size : int, default 256
        Rows per gradient step of ``finetune``.
    learning_rate : float or 'auto', default 'auto'
        Of gradient steps, relative to the standard deviation of the prototypes; 'auto': 0.03, or what the
        search finds.
    k_max : int or None, default None
        Most prototypes of the whole model.
    auto_scale : bool, default False
        'auto' counts measure distances in units of the variance.
    min_weight : float, default 0.001
        Lighter prototypes are removed.
    truncation_threshold : float, default 0.0001
        Smaller coordinates become 0 in sparse models.
    sparse : bool, default False
        Keep prototypes sparse.
    merge_threshold : float or None, default None
        Prototypes of a class nearer than this merge.
    relative_merge : bool, default False
        ``merge_threshold`` counts in mean distances between prototypes.
    percentile_threshold : float or None, default None
        Merging and truncation act only below this quantile too.
    decay : float, default 1.0
        Masses are multiplied by this before each batch.
    noise : float, default 0.0
        Noise on rows in training, in standard deviations of the feature.
    normalize_prototypes : bool, default True
        Cosine: prototypes have length 1 after each gradient step.

    Attributes
    ----------
    centroids : array of shape (K, D)
        The prototypes; of a tensor, ``grad`` holds the last gradient step's gradient
        (None where prototypes of sparse rows are kept without their zeros).
    centroids_csr : scipy.sparse.csr_matrix of shape (K, D)
        The same without zeros, at the cost of what is not 0 where ``fit`` kept prototypes of sparse rows so.
    centroid_weights : array of shape (K,)
        Mass of each: how many rows it stands for.
    centroid_labels : array of int64 of shape (K,)
        Tag of each prototype: a column of y, or a label.
    classes_ : array of int64 of shape (L,)
        0 to L - 1, the columns of y; or the labels, when y was one label per row.
    centroid_feature_weights : array of shape (K, D)
        Age of each coordinate; only once a mask was seen.
    feature_weights : array of shape (D,)
        Sums to D.
    frozen_mask : array of bool of shape (K,)
        Prototypes that never move.
    learning_rate_ : float or None
        What the learning-rate search found.
    history_ : list of dict
        One per pass, epoch and step of the learning-rate search.
    optimizer : Optimizer or None
        None until gradient steps begin.
    n_iter_ : int
        Passes of the last ``fit``.
    n_features_in_ : int
        D.
    feature_names_in_ : array of str of shape (D,)
        Only when X had names.

    Examples
    --------
    >>> from fast_kmeans import FastMultiLabelKMeansClassifier
    >>> X = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [1.0, 1.0], [0.9, 1.0]]
    >>> y = [[1, 0], [1, 0], [0, 1], [0, 1], [1, 1], [1, 1]]
    >>> model = FastMultiLabelKMeansClassifier(k_init=1).fit(X, y)
    >>> model.predict([[1.0, 0.05]], strategy="gap")
    array([[1, 0]])
    """

    _task = "multilabel"
    _live = [name for name in LIVE if name != "temperature"]  # thresholds were found with that
    _meaning_of = Tags
    k_init: int | str
    asl_gamma_neg: float
    asl_gamma_pos: float
    asl_clip: float

    def __init__(
        self,
        k_init: int | str = 3,
        asl_gamma_neg: float = 4.0,
        asl_gamma_pos: float = 1.0,
        asl_clip: float = 0.05,
        distance: str = "cosine",
        dtype: str = "float32",
        init_mode: Any = "kmeans++",
        soft_type: str = "scaled",
        temperature: float = 1.0,
        top_k: int = 5,
        auto_feature_weights: bool = False,
        negative_sampling: int | None = None,
        diversity_reg: float = 0.0,
        l2_reg: float = 0.0,
        use_faiss: bool = False,
        use_compile: bool = False,
        *,
        device: Any = None,
        batch_size: int = 10240,
        random_state: Any = 42,
        feature_weights: Any = None,
        n_threads: int = -1,
        missing: str = "error",
        top_k_train: int | str = "auto",
        idw_power: float | str = "auto",
        finetune_batch_size: int = 256,
        learning_rate: float | str = "auto",
        k_max: int | None = None,
        auto_scale: bool = False,
        min_weight: float = 1e-3,
        truncation_threshold: float = 1e-4,
        sparse: bool = False,
        merge_threshold: float | None = None,
        relative_merge: bool = False,
        percentile_threshold: float | None = None,
        decay: float = 1.0,
        noise: float = 0.0,
        normalize_prototypes: bool = True,
    ) -> None:
        self._store(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # ---- tags

    def _codes(self) -> np.ndarray:
        """The core's numbers of the tags it has seen, ascending."""
        return self._read("classes", "n_classes", dtype=np.int64)

    @property
    def classes_(self) -> Any:
        """The columns of y, 0 to L - 1; or the labels, when y was one label per row: array of shape (L,)."""
        self._fitted()

        def make():
            labels = self._meaning.labels
            return give(
                np.arange(self._meaning.n_columns) if labels is None else labels.sorted(self._codes())[0],
                self._kind,
            )

        return self._kept("classes", make)

    @property
    def centroid_labels(self) -> Any:
        """Tag of each prototype, array of shape (K,)."""

        def make():
            tags, labels = self._read("centroid_labels", "k", dtype=np.int64), self._meaning.labels
            return give(tags if labels is None else labels.write(tags), self._kind)

        return self._kept("centroid_labels", make)

    def _state_names(self) -> list[str]:
        return super()._state_names() + ([] if self._meaning.labels else ["centroid_labels"])

    def _columns(self, seen: np.ndarray, answer: np.ndarray, dtype) -> np.ndarray:
        """Answers for the tags seen as answers in the order of classes_, 0 for tags never seen."""
        labels = self._meaning.labels
        if labels is not None:
            return answer[:, labels.sorted(seen)[1]].astype(dtype, copy=False)
        if len(seen) == self._meaning.n_columns:
            return answer.astype(dtype, copy=False)
        out = np.zeros((len(answer), self._meaning.n_columns), dtype)
        out[:, seen] = answer
        return out

    # ---- learning

    def partial_fit(self, X, y, classes=None, sample_weight=None, feature_mask=None) -> Self:
        """Phase 1 on one batch, as scikit-learn calls it: ``fit_batch`` that returns the estimator.

        Parameters
        ----------
        X, y
            As in ``fit``.
        classes : array-like, optional
            Not needed, and not looked at: a tag gets its prototypes from the batch that brings it.
        sample_weight, feature_mask
            As in ``fit``.

        Returns
        -------
        self
        """
        self.fit_batch(X, y, sample_weight, feature_mask)
        return self

    # ---- answers

    def _tags(self, X, strategy: str, top_k: int, feature_mask) -> tuple[np.ndarray, Kind]:
        """Indicators in the columns of y, or one label per row."""
        if not isinstance(strategy, str) or strategy not in STRATEGIES:
            raise ValueError(f"strategy is {strategy!r}; valid: {', '.join(STRATEGIES)}")
        need_kinds(top_k=top_k)
        model, rows, batch = self._question(X, feature_mask)
        labels = self._meaning.labels
        how = (strategy, top_k) if labels is None else ("top_k", 1)
        codes, chosen = per_class(model, rows.n_rows, np.uint8, partial(model.predict_tags, batch, *how))
        if labels is None:
            return self._columns(codes, chosen, self._meaning.dtype), rows.kind
        return labels.write(codes[chosen.argmax(axis=1)]), rows.kind

    def predict(self, X, strategy="adaptive", top_k=1, feature_mask=None) -> Any:
        """The tags of each row.

        Parameters
        ----------
        X : array-like of shape (n, D)
        strategy : {'adaptive', 'gap', 'top_k'}, default 'adaptive'
            'adaptive': tags above a threshold of their own. 'gap': tags by probability, cut at the largest
            drop, at least one. 'top_k': the ``top_k`` most probable ones.
        top_k : int, default 1
            For ``strategy='top_k'``.
        feature_mask : array-like of shape (n, D) or (D,), optional
            1 where a value counts, 0 where it is missing.

        Returns
        -------
        array of shape (n, L)
            0 and 1, in the columns and the dtype of y. When y was one label per row: the most probable label
            of each row, shape (n,), whatever the strategy.

        Raises
        ------
        NotFittedError
            Before ``fit`` and ``fit_batch``.
        ValueError
            When X has another number of columns, or values that are not finite.
        """
        tags, kind = self._tags(X, strategy, top_k, feature_mask)
        return give(tags, kind)

    def predict_proba(self, X, feature_mask=None) -> Any:
        """The probability of each tag, on its own.

        Parameters
        ----------
        X : array-like of shape (n, D)
        feature_mask : array-like of shape (n, D) or (D,), optional
            1 where a value counts, 0 where it is missing.

        Returns
        -------
        array of float32 of shape (n, L)
            In the order of ``classes_``, which are the columns of y; 0 for tags never seen. When y was one
            label per row, probabilities are divided by their sum.

        Raises
        ------
        NotFittedError
            Before ``fit`` and ``fit_batch``.
        ValueError
            When X has another number of columns, or values that are not finite.
        """
        model, rows, batch = self._question(X, feature_mask)
        proba = self._columns(
            *per_class(model, rows.n_rows, np.float32, partial(model.predict_proba, batch)), np.float32
        )
        if self._meaning.labels is not None:
            total = proba.sum(axis=1, keepdims=True)
            proba = np.divide(proba, total, where=total > 0, out=np.full_like(proba, 1 / proba.shape[1]))
        return give(proba, rows.kind)

    def predict_top(self, X, m=5, feature_mask=None) -> tuple[Any, Any]:
        """The most probable tags of each row, where a column for each would not fit.

        Parameters
        ----------
        X : array-like of shape (n, D)
        m : int, default 5
            How many; all tags that were seen when there are fewer.
        feature_mask : array-like of shape (n, D) or (D,), optional
            1 where a value counts, 0 where it is missing.

        Returns
        -------
        tags : array of shape (n, m)
            Columns of y, or labels when y was one label per row; the most probable first.
        probabilities : array of float32 of shape (n, m)
            Of each on its own.

        Raises
        ------
        NotFittedError
            Before ``fit`` and ``fit_batch``.
        ValueError
            When ``m`` is below 1, X has another number of columns, or values that are not finite.
        """
        model, rows, batch = self._question(X, feature_mask)
        codes, proba = top_of(model, rows.n_rows, batch, m)
        labels = self._meaning.labels
        tags = codes if labels is None else labels.write(codes.reshape(-1)).reshape(codes.shape)
        return give(tags, rows.kind), give(proba, rows.kind)

    def score(self, X, y, sample_weight=None, feature_mask=None) -> float:
        """Share of the rows all of whose tags are right.

        Parameters
        ----------
        X, y, sample_weight, feature_mask
            As in ``fit``.

        Returns
        -------
        float
        """
        found, _ = self._tags(X, "adaptive", 1, feature_mask)
        weight = weight_of(sample_weight, len(found))
        if found.ndim == 1:
            return float(accuracy_score(vector_of(y, "y", len(found)), found, sample_weight=weight))
        indptr, tags, n_tags = tags_of(y, len(found))
        given = np.zeros((len(found), max(n_tags, found.shape[1])), bool)
        given[np.repeat(np.arange(len(found)), np.diff(indptr)), tags] = True
        found = np.pad(found.astype(bool), ((0, 0), (0, given.shape[1] - found.shape[1])))
        return float(accuracy_score(given, found, sample_weight=weight))
