# SPDX-License-Identifier: Apache-2.0
"""Regression: prototypes that carry targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from ._arrays import Kind, give
from ._base import BaseFastKMeans
from ._labels import Numbers
from ._targets import numbers_of, weight_of


class FastKMeansRegressor(RegressorMixin, BaseFastKMeans):
    """Predict one number or several by blending the targets of the nearest prototypes.

    First the targets are grouped into strata, then each stratum gets prototypes among its rows. Fine-tuning
    moves the prototypes and their targets to lower the mean squared error. More prototypes in the blend make
    smoother answers: try ``top_k`` 16 or -1.

    Parameters
    ----------
    k_targets : int or 'auto', default 20
        Strata of the targets; 'auto': by their spread.
    k_features : int or 'auto', default 10
        Prototypes in each stratum; 'auto': by the spread of its rows.
    target_distance : {'cosine', 'euclidean', 'l1'}, default 'euclidean'
        How targets are grouped into strata.
    target_assignment : {'hard', 'mean', 'scaled', 'softmax_scaled'}, default 'scaled'
        How a prototype gets its target from its rows.
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
    prototype_scale : bool, default False
        A temperature and a bias for each prototype.

    Attributes
    ----------
    centroids : array of shape (K, D)
        The prototypes; of a tensor, ``grad`` holds the last gradient step's gradient
        (None where prototypes of sparse rows are kept without their zeros).
    centroids_csr : scipy.sparse.csr_matrix of shape (K, D)
        The same without zeros, at the cost of what is not 0 where ``fit`` kept prototypes of sparse rows so.
    centroid_weights : array of shape (K,)
        Mass of each: how many rows it stands for.
    centroid_targets : array of shape (K, M)
        Target of each prototype.
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
    >>> from sklearn.datasets import load_diabetes
    >>> from fast_kmeans import FastKMeansRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = FastKMeansRegressor(k_targets=5, k_features=3, distance="euclidean", top_k=-1)
    >>> model.fit(X, y).predict(X[:2]).shape
    (2,)
    >>> model.fit(X, y.reshape(-1, 1)).predict(X[:2]).shape
    (2, 1)
    """

    _task = "regressor"
    _meaning_of = Numbers
    k_targets: int | str
    k_features: int | str
    target_distance: str
    target_assignment: str
    prototype_scale: bool

    def __init__(
        self,
        k_targets: int | str = 20,
        k_features: int | str = 10,
        target_distance: str = "euclidean",
        target_assignment: str = "scaled",
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
        prototype_scale: bool = False,
    ) -> None:
        self._store(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @property
    def centroid_targets(self) -> Any:
        """Target of each prototype, array of shape (K, M)."""
        return self._shown("centroid_targets", "k", "n_targets")

    def _state_names(self) -> list[str]:
        return super()._state_names() + ["centroid_targets"]

    def predict(self, X, feature_mask=None) -> Any:
        """The blended targets of the nearest prototypes.

        Parameters
        ----------
        X : array-like of shape (n, D)
        feature_mask : array-like of shape (n, D) or (D,), optional
            1 where a value counts, 0 where it is missing.

        Returns
        -------
        array of shape (n,) or (n, M)
            As y was. numpy: float64; tensors: float64 for rows of float64, else float32.

        Raises
        ------
        NotFittedError
            Before ``fit`` and ``fit_batch``.
        ValueError
            When X has another number of columns, or values that are not finite.
        """
        model, rows, batch = self._question(X, feature_mask)
        values = self._values(model, rows.n_rows, batch)
        single = rows.kind is Kind.TORCH and "float64" not in str(getattr(X, "dtype", ""))
        return give(values, rows.kind, "float32" if single else "float64")

    def _values(self, model, n_rows: int, batch) -> np.ndarray:
        values = np.empty((n_rows, self._facts()["n_targets"]))
        model.predict_values(batch, values)
        return values[:, 0] if self._meaning.one_d else values

    def score(self, X, y, sample_weight=None, feature_mask=None) -> float:
        """The coefficient of determination, R2; the mean over several targets.

        Parameters
        ----------
        X, y, sample_weight, feature_mask
            As in ``fit``.

        Returns
        -------
        float
        """
        model, rows, batch = self._question(X, feature_mask)
        values = self._values(model, rows.n_rows, batch).reshape(rows.n_rows, -1)
        targets, _ = numbers_of(y, rows.n_rows)
        return float(r2_score(targets, values, sample_weight=weight_of(sample_weight, rows.n_rows)))
