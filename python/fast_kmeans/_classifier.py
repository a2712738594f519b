# SPDX-License-Identifier: Apache-2.0
"""Classification by several prototypes for each class."""

from __future__ import annotations

import numbers
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score

from . import _core
from ._arrays import give
from ._attributes import filled, part_of, per_class, top_of
from ._base import BaseFastKMeans
from ._labels import Labels
from ._lessons import Lesson
from ._targets import vector_of, weight_of

SPARSE_BLOCK = 1 << 20  # probabilities looked at together, for a sparse answer


class FastKMeansClassifier(ClassifierMixin, BaseFastKMeans):
    """Classify rows by several prototypes for each class.

    In phase 1 a row pulls the nearest prototype of its own class and pushes one of another class away when
    that is nearly as close; fine-tuning lowers the cross-entropy of the blended answer. Labels may be
    numbers, truth values or text, and classes may first appear in any batch of a stream.

    Parameters
    ----------
    k_init : int or 'auto', default 3
        Prototypes for each class; 'auto': by how many and how spread out its rows are.
    repulsion_factor : float, default 0.05
        How strongly rows push prototypes of other classes away.
    distance : {'cosine', 'euclidean', 'l1'}, default 'cosine'
        How far a row is from a prototype; 'euclidean' is the squared distance.
    dtype : {'float32', 'float16', 'bfloat16', 'float64'}, default 'float32'
        Storage of the prototypes; sums are float32, or float64 for 'float64'.
    init_mode : {'kmeans++', 'random'} or tuple (points, labels), default 'kmeans++'
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
        Answers ask an HNSW index of the prototypes, made by faiss (the extra ``faiss``), and rank what it
        proposes: for millions of prototypes, up to one a scan is as fast. Learning, rows with masks and
        sparse rows look at every prototype; ``distance='l1'`` is refused.
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
    repulsion_mode : {'window', 'glvq'}, default 'window'
        Which rows push, and how much.
    assignment : {'hard', 'linear', 'softmax'}, default 'hard'
        How phase 1 shares a row among prototypes.
    lambda_penalty : float, default 0.1
        Similarity lost by prototypes of other classes in soft assignment.
    label_smoothing : float, default 0.0
        Probability spread over all classes.
    prototype_scale : bool, default False
        A temperature and a bias for each prototype.
    k_list : dict, list or None, default None
        Prototypes for particular classes, overriding ``k_init``: by label, or a number for each class in
        ascending order.

    Attributes
    ----------
    centroids : array of shape (K, D)
        The prototypes; of a tensor, ``grad`` holds the last gradient step's gradient
        (None where prototypes of sparse rows are kept without their zeros).
    centroids_csr : scipy.sparse.csr_matrix of shape (K, D)
        The same without zeros, at the cost of what is not 0 where ``fit`` kept prototypes of sparse rows so.
    centroid_weights : array of shape (K,)
        Mass of each: how many rows it stands for.
    centroid_labels : array of shape (K,)
        Class of each prototype.
    classes_ : array of shape (C,)
        Labels seen so far, ascending.
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
    >>> from sklearn.datasets import load_iris
    >>> from fast_kmeans import FastKMeansClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = FastKMeansClassifier(distance="euclidean").fit(X, y)
    >>> model.predict(X[[0, 75, 149]])
    array([0, 1, 2])
    >>> model.predict_proba(X[:2]).shape
    (2, 3)

    A stream that brings a new class in its second batch:

    >>> stream = FastKMeansClassifier(k_init=1)
    >>> shift = stream.fit_batch([[1.0, 0.0], [0.9, 0.1]], ["cat", "cat"])
    >>> shift = stream.fit_batch([[0.0, 1.0], [1.0, 0.1]], ["dog", "cat"])
    >>> stream.classes_.tolist()
    ['cat', 'dog']
    """

    _task = "classifier"
    _meaning_of = Labels
    k_init: int | str
    repulsion_factor: float
    repulsion_mode: str
    assignment: str
    lambda_penalty: float
    label_smoothing: float
    prototype_scale: bool
    k_list: Any

    def __init__(
        self,
        k_init: int | str = 3,
        repulsion_factor: float = 0.05,
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
        repulsion_mode: str = "window",
        assignment: str = "hard",
        lambda_penalty: float = 0.1,
        label_smoothing: float = 0.0,
        prototype_scale: bool = False,
        k_list: Any = None,
    ) -> None:
        self._store(locals())

    # ---- classes

    def _codes(self) -> np.ndarray:
        """The core's labels of the classes, ascending."""
        return self._read("classes", "n_classes", dtype=np.int64)

    @property
    def classes_(self) -> Any:
        """Labels seen so far, ascending: array of shape (C,)."""
        return self._kept("classes", lambda: give(self._meaning.sorted(self._codes())[0], self._kind))

    @property
    def centroid_labels(self) -> Any:
        """Class of each prototype, array of shape (K,)."""

        def make():
            codes = self._read("centroid_labels", "k", dtype=np.int64)
            return give(self._meaning.write(codes), self._kind)

        return self._kept("centroid_labels", make)

    def _state_names(self) -> list[str]:
        return super()._state_names() + ([] if self._meaning.coded else ["centroid_labels"])

    def _new_model(self, lesson: Lesson) -> _core.Model:
        model = super()._new_model(lesson)
        self._set_class_k(model, lesson)
        return model

    def _before_batch(self, model: _core.Model, lesson: Lesson) -> None:
        if isinstance(self.k_list, dict):
            self._set_class_k(model, lesson)

    def _set_class_k(self, model: _core.Model, lesson: Lesson) -> None:
        if self.k_list is None:
            return
        codes = np.unique(lesson.targets["labels"])
        classes, order = lesson.meaning.sorted(codes)
        codes, classes = (codes if order is None else codes[order]).tolist(), classes.tolist()
        if isinstance(self.k_list, dict):
            unknown = [label for label in self.k_list if label not in classes]
            if unknown and not lesson.stream:
                raise ValueError(f"k_list names the class {unknown[0]!r}, which y has not")
            wanted = {code: self.k_list[label] for code, label in zip(codes, classes) if label in self.k_list}
        elif not isinstance(self.k_list, (list, tuple, np.ndarray)) or len(self.k_list) != len(codes):
            raise ValueError(
                f"k_list is {self.k_list!r}; it must be a dict, or a list of {len(codes)}, one per class"
            )
        else:
            wanted = dict(zip(codes, self.k_list))
        for code, k in wanted.items():
            if not isinstance(k, numbers.Integral) or isinstance(k, bool) or k < 1:
                raise ValueError(f"k_list holds {k!r}; it must hold integers >= 1")
            model.set_class_k(code, int(k))

    # ---- learning

    def partial_fit(self, X, y, classes=None, sample_weight=None, feature_mask=None) -> Self:
        """Phase 1 on one batch, as scikit-learn calls it: ``fit_batch`` that returns the estimator.

        Parameters
        ----------
        X, y
            As in ``fit``.
        classes : array-like of shape (C,), optional
            Labels that may come. Not needed: a class gets its prototypes from the batch that brings it. When
            given, a label that is not among them is an error.
        sample_weight, feature_mask
            As in ``fit``.

        Returns
        -------
        self
        """
        if classes is not None:
            known = set(vector_of(classes, "classes").tolist())
            for row, label in enumerate(vector_of(y).tolist()):
                if label not in known:
                    raise ValueError(
                        f"y has the label {label!r} in row {row}, which is not among the given classes"
                    )
        self.fit_batch(X, y, sample_weight, feature_mask)
        return self

    # ---- answers

    def predict(self, X, feature_mask=None) -> Any:
        """The most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n, D)
        feature_mask : array-like of shape (n, D) or (D,), optional
            1 where a value counts, 0 where it is missing.

        Returns
        -------
        array of shape (n,)
            Labels as ``fit`` was given them.

        Raises
        ------
        NotFittedError
            Before ``fit`` and ``fit_batch``.
        ValueError
            When X has another number of columns, or values that are not finite.
        """
        model, rows, batch = self._question(X, feature_mask)
        codes = np.empty(rows.n_rows, np.int64)
        model.predict_labels(batch, codes)
        return give(self._meaning.write(codes), rows.kind)

    def predict_proba(self, X, feature_mask=None, sparse=False) -> Any:
        """The probability of each class: the blended shares of its prototypes.

        Parameters
        ----------
        X : array-like of shape (n, D)
        feature_mask : array-like of shape (n, D) or (D,), optional
            1 where a value counts, 0 where it is missing.
        sparse : bool, default False
            A scipy matrix of the probabilities that are not 0. A row has ``top_k`` of them at most, so this is small
            however many classes there are, unless ``top_k=-1``.

        Returns
        -------
        array of float32 of shape (n, C), or scipy.sparse.csr_matrix
            Columns in the order of ``classes_``.

        Raises
        ------
        NotFittedError
            Before ``fit`` and ``fit_batch``.
        ValueError
            When X has another number of columns, or values that are not finite.
        """
        if sparse:
            return self._sparse_proba(X, feature_mask)
        model, rows, batch = self._question(X, feature_mask)
        return give(self._proba(model, rows.n_rows, batch), rows.kind)

    def predict_top(self, X, m=5, feature_mask=None) -> tuple[Any, Any]:
        """The most probable classes of each row, where a column for each class would not fit.

        Parameters
        ----------
        X : array-like of shape (n, D)
        m : int, default 5
            How many; all classes when there are fewer.
        feature_mask : array-like of shape (n, D) or (D,), optional
            1 where a value counts, 0 where it is missing.

        Returns
        -------
        labels : array of shape (n, m)
            As ``fit`` was given them, the most probable first; the first column is what ``predict`` returns.
        probabilities : array of float32 of shape (n, m)
            Of these; 0 for classes of which none of the ``top_k`` nearest prototypes is.

        Raises
        ------
        NotFittedError
            Before ``fit`` and ``fit_batch``.
        ValueError
            When ``m`` is below 1, X has another number of columns, or values that are not finite.
        """
        model, rows, batch = self._question(X, feature_mask)
        codes, proba = top_of(model, rows.n_rows, batch, m)
        labels = self._meaning.write(codes.reshape(-1)).reshape(codes.shape)
        return give(labels, rows.kind), give(proba, rows.kind)

    def _sparse_proba(self, X, feature_mask):
        """Some rows at a time, so that no more is held than the answer and SPARSE_BLOCK numbers."""
        from scipy.sparse import csr_matrix

        model = self._current()
        rows, mask, _ = self._rows(X, feature_mask)
        facts = model.describe()
        top_k, n_classes = int(facts["params"]["top_k"]), facts["n_classes"]
        width = min(top_k, n_classes) if top_k > 0 else n_classes
        proba, labels, lengths = [], [], [[0]]
        for begin in range(0, rows.n_rows, max(1, SPARSE_BLOCK // width)):
            end = min(rows.n_rows, begin + max(1, SPARSE_BLOCK // width))
            found, here = top_of(model, end - begin, part_of(rows, mask, begin, end), width)
            there = here > 0
            proba.append(here[there])
            labels.append(found[there])
            lengths.append(there.sum(axis=1))
        # Asked last: another thread may have brought classes in between, and none ever goes.
        codes = filled(model, lambda facts: facts["n_classes"], np.int64, partial(model.get, "classes"))
        order = self._meaning.sorted(codes)[1]
        column = np.arange(len(codes)) if order is None else np.argsort(order)
        columns = [column[np.searchsorted(codes, part)].astype(np.int32) for part in labels]
        begin = np.cumsum(np.concatenate(lengths))
        answer = csr_matrix((np.concatenate(proba), np.concatenate(columns), begin), shape=(rows.n_rows, len(codes)))
        answer.sort_indices()
        return answer

    def _proba(self, model: _core.Model, n_rows: int, batch: _core.Batch) -> np.ndarray:
        codes, proba = per_class(model, n_rows, np.float32, partial(model.predict_proba, batch))
        order = self._meaning.sorted(codes)[1]
        return proba if order is None else proba[:, order]

    def decision_function(self, X, feature_mask=None) -> Any:
        """How much speaks for each class.

        Parameters
        ----------
        X : array-like of shape (n, D)
        feature_mask : array-like of shape (n, D) or (D,), optional
            1 where a value counts, 0 where it is missing.

        Returns
        -------
        array of float32 of shape (n,) or (n, C)
            Two classes: probability of the second less that of the first. Otherwise the probabilities.

        Raises
        ------
        NotFittedError
            Before ``fit`` and ``fit_batch``.
        ValueError
            When X has another number of columns, or values that are not finite.
        """
        model, rows, batch = self._question(X, feature_mask)
        proba = self._proba(model, rows.n_rows, batch)
        return give(proba[:, 1] - proba[:, 0] if proba.shape[1] == 2 else proba, rows.kind)

    def score(self, X, y, sample_weight=None, feature_mask=None) -> float:
        """Share of the rows whose predicted class is right.

        Parameters
        ----------
        X, y, sample_weight, feature_mask
            As in ``fit``; labels never seen count as wrong.

        Returns
        -------
        float
        """
        model, rows, batch = self._question(X, feature_mask)
        codes = np.empty(rows.n_rows, np.int64)
        model.predict_labels(batch, codes)
        weight = weight_of(sample_weight, rows.n_rows)
        return float(
            accuracy_score(vector_of(y, "y", rows.n_rows), self._meaning.write(codes), sample_weight=weight)
        )
