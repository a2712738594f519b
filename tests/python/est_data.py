# SPDX-License-Identifier: Apache-2.0
"""Small data and one estimator of each task, for the tests of the estimators."""

import numpy as np
from sklearn.datasets import make_blobs

from fast_kmeans import (
    FastKMeansClassifier,
    FastKMeansClusterer,
    FastKMeansRegressor,
    FastMultiLabelKMeansClassifier,
)

X, CLASS = make_blobs(90, 4, centers=[[0] * 4, [6] * 4, [-6, 6, 0, 3]], cluster_std=1.5, random_state=0)
X = X.astype(np.float32)
NAMES = np.array(["cat", "dog", "eel"])[CLASS]
TAGS = np.stack([CLASS == 0, CLASS != 1, X[:, 0] > 0, CLASS == 2], axis=1).astype(np.int64)
NUMBERS = X @ np.array([1.0, -2.0, 0.5, 3.0]) + 10.0

EUCLIDEAN = {"distance": "euclidean", "n_threads": 1}
KINDS = {
    "clusterer": (FastKMeansClusterer, None),
    "classifier": (FastKMeansClassifier, CLASS),
    "multilabel": (FastMultiLabelKMeansClassifier, TAGS),
    "regressor": (FastKMeansRegressor, NUMBERS),
}


def unfitted(task, **arguments):
    if task == "regressor":
        arguments = {"k_targets": 4, "k_features": 2} | arguments
    return KINDS[task][0](**EUCLIDEAN | arguments)


def fitted(task, **arguments):
    return unfitted(task, **arguments).fit(X, KINDS[task][1])


def answers(model):
    """Everything a model says of X, as numpy, for comparing models bit by bit."""
    methods = ("predict", "predict_proba", "transform", "decision_function")
    return {name: np.asarray(getattr(model, name)(X)) for name in methods if hasattr(model, name)}


def assert_same_answers(model, other):
    found, expected = answers(model), answers(other)
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
