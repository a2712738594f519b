# SPDX-License-Identifier: Apache-2.0
"""k-means, with everything that prototypes can do here."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClusterMixin

from ._arrays import give
from ._base import BaseFastKMeans
from ._labels import Nothing
from ._lessons import Lesson


class FastKMeansClusterer(ClusterMixin, BaseFastKMeans):
    """Find groups of rows: k-means.

    Starting points are chosen far from each other (greedy k-means++), then every row goes to its nearest
    prototype and every prototype to the mean of its rows, until nothing moves. Fine-tuning lowers the mean
    distance to the nearest prototype.

    Parameters
    ----------
    k_init : int or 'auto', default 3
        Number of clusters; 'auto' asks the spread of the rows.
    distance : {'cosine', 'euclidean', 'l1'}, default 'cosine'
        How far a row is from a prototype; 'euclidean' is the squared distance.
    dtype : {'float32', 'float16', 'bfloat16', 'float64'}, default 'float32'
        Storage of the prototypes; sums are float32, or float64 for 'float64'.
    init_mode : {'kmeans++', 'random'} or array-like of shape (K, D), default 'kmeans++'
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

    Attributes
    ----------
    centroids : array of shape (K, D)
        The prototypes; of a tensor, ``grad`` holds the last gradient step's gradient
        (None where prototypes of sparse rows are kept without their zeros).
    centroids_csr : scipy.sparse.csr_matrix of shape (K, D)
        The same without zeros, at the cost of what is not 0 where ``fit`` kept prototypes of sparse rows so.
    centroid_weights : array of shape (K,)
        Mass of each: how many rows it stands for.
    labels_ : array of int64 of shape (n,)
        Cluster of each row of the last ``fit``.
    inertia_ : float
        Weighted sum of the distances of these rows to their prototypes.
    cluster_centers_ : array of shape (K, D)
        ``centroids`` under scikit-learn's name.
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
    >>> from fast_kmeans import FastKMeansClusterer
    >>> X = [[1.0, 2.0], [1.0, 4.0], [10.0, 2.0], [10.0, 4.0]]
    >>> model = FastKMeansClusterer(k_init=2, distance="euclidean").fit(X)
    >>> sorted(model.centroids.tolist())
    [[1.0, 3.0], [10.0, 3.0]]
    >>> model.inertia_
    4.0
    >>> bool(model.predict([[0.0, 0.0]])[0] == model.labels_[0])
    True
    """

    _task = "clusterer"
    _meaning_of = Nothing
    k_init: int | str

    def __init__(
        self,
        k_init: int | str = 3,
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

    @property
    def cluster_centers_(self) -> Any:
        """``centroids``, array of shape (K, D)."""
        return self.centroids

    def _fit_answers(self, lesson: Lesson) -> dict:
        return {"nearest": np.empty(lesson.batch.n_rows, np.int64), "distance": np.empty(lesson.batch.n_rows)}

    def _after_fit(self, lesson: Lesson, answers: dict, answered: bool) -> None:
        nearest, distance = answers["nearest"], answers["distance"]
        if not answered:
            self._model.nearest(lesson.batch, 1, index=nearest[:, None], distance=distance[:, None])
        self.labels_ = give(nearest, lesson.kind)
        self.inertia_ = float(distance.sum() if lesson.weight is None else lesson.weight @ distance)

    def predict(self, X, feature_mask=None) -> Any:
        """The number of the nearest prototype.

        Parameters
        ----------
        X : array-like of shape (n, D)
        feature_mask : array-like of shape (n, D) or (D,), optional
            1 where a value counts, 0 where it is missing.

        Returns
        -------
        array of int64 of shape (n,)

        Raises
        ------
        NotFittedError
            Before ``fit`` and ``fit_batch``.
        ValueError
            When X has another number of columns, or values that are not finite.
        """
        model, rows, batch = self._question(X, feature_mask)
        labels = np.empty(rows.n_rows, np.int64)
        model.predict_labels(batch, labels)
        return give(labels, rows.kind)

    def fit_predict(self, X, y=None, sample_weight=None, feature_mask=None, **fit_params) -> Any:
        """``fit``, then the clusters of the same rows.

        Parameters
        ----------
        X, y, sample_weight, feature_mask
            As in ``fit``.
        **fit_params
            Other arguments of ``fit``.

        Returns
        -------
        array of int64 of shape (n,)
        """
        return self.fit(X, y, sample_weight, feature_mask, **fit_params).labels_

    def score(self, X, y=None, sample_weight=None, feature_mask=None) -> float:
        """Minus the sum of the distances to the nearest prototypes, as scikit-learn's KMeans has it.

        Parameters
        ----------
        X, y, sample_weight, feature_mask
            As in ``fit``.

        Returns
        -------
        float
        """
        model = self._fitted()
        lesson = self._lesson(X, None, sample_weight, feature_mask, anew=False, grow=False)
        return -model.scores(lesson.batch)["sse"]
