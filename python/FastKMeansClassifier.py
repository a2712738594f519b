# SPDX-License-Identifier: Apache-2.0
"""`from FastKMeansClassifier import FastKMeansClassifier`: the classifier for sparse rows under its first name."""

from fast_kmeans.sparse import FastKMeansClassifier

__all__ = ["FastKMeansClassifier"]
