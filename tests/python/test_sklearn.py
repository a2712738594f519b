# SPDX-License-Identifier: Apache-2.0
"""scikit-learn's contract: its own checks on all four estimators, and the tools that people combine them with."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fast_kmeans import (
    FastKMeansClassifier,
    FastKMeansClusterer,
    FastKMeansRegressor,
    FastMultiLabelKMeansClassifier,
)

SEEDING = "seeding draws rows at random, so a row of weight 2 is not the row twice; scikit-learn's KMeans differs too"
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": SEEDING,
    "check_sample_weight_equivalence_on_sparse_data": SEEDING,
    "check_do_not_raise_errors_in_init_or_set_params": "string options are checked at construction: a typo shows at once",
}
ALL = [FastKMeansClusterer(), FastKMeansClassifier(), FastMultiLabelKMeansClassifier(), FastKMeansRegressor()]


@parametrize_with_checks(ALL, expected_failed_checks=lambda estimator: EXPECTED_FAILURES)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
