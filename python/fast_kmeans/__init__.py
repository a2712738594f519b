# SPDX-License-Identifier: Apache-2.0
"""FastKMeans: clustering, classification, tagging and regression by prototypes, on endless rows.

Four estimators with scikit-learn's manners on a core in C:

>>> from sklearn.datasets import load_iris
>>> from fast_kmeans import FastKMeansClassifier
>>> X, y = load_iris(return_X_y=True)
>>> model = FastKMeansClassifier(k_init=3, distance="euclidean").fit(X, y)
>>> bool(model.score(X, y) > 0.9)
True
"""

from ._base import BaseFastKMeans
from ._classifier import FastKMeansClassifier
from ._clusterer import FastKMeansClusterer
from ._core import __version__
from ._losses import AsymmetricLoss
from ._multilabel import FastMultiLabelKMeansClassifier
from ._regressor import FastKMeansRegressor
from ._storage import load

__all__ = [
    "AsymmetricLoss",
    "BaseFastKMeans",
    "FastKMeansClassifier",
    "FastKMeansClusterer",
    "FastKMeansRegressor",
    "FastMultiLabelKMeansClassifier",
    "__version__",
    "load",
]


def __dir__():
    return sorted([*globals(), "onnx", "plot", "sparse"])


def __getattr__(name):
    """``fast_kmeans.sparse``, and what needs extras, is imported when it is used."""
    if name in ("onnx", "plot", "sparse"):
        from importlib import import_module

        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
