# SPDX-License-Identifier: Apache-2.0
"""scikit-learn's contract: its own checks on all four estimators, and the tools that people combine them with."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingRegressor, VotingClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from fast_kmeans import (
    FastKMeansClassifier,
    FastKMeansClusterer,
    FastKMeansRegressor,
    FastMultiLabelKMeansClassifier,
)

SEEDING = (
    "the check also shuffles rows: seeding draws them by their place, and columns of transform follow the order in which "
    "classes appeared; a row of weight 2 is thus not the row twice. scikit-learn's KMeans differs too"
)
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": SEEDING,
    "check_sample_weight_equivalence_on_sparse_data": SEEDING,
    "check_do_not_raise_errors_in_init_or_set_params": "words are checked at construction: a typo shows at once",
}
ALL = [FastKMeansClusterer(), FastKMeansClassifier(), FastMultiLabelKMeansClassifier(), FastKMeansRegressor()]


@parametrize_with_checks(ALL, expected_failed_checks=lambda estimator: EXPECTED_FAILURES)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# ---- tools of scikit-learn


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.mark.parametrize("name", EXPECTED_FAILURES)
@pytest.mark.parametrize("estimator", ALL, ids=lambda estimator: type(estimator).__name__)
def test_every_expected_failure_is_one(estimator, name):
    """Else the list is too long."""
    with pytest.raises((AssertionError, ValueError)):
        getattr(estimator_checks, name)(type(estimator).__name__, clone(estimator))


def test_types_for_scikit_learn():
    assert is_clusterer_like(FastKMeansClusterer())
    assert is_classifier(FastKMeansClassifier()) and is_classifier(FastMultiLabelKMeansClassifier())
    assert is_regressor(FastKMeansRegressor())
    for estimator in ALL:
        tags = get_tags(estimator)
        assert tags.input_tags.sparse and not tags.input_tags.allow_nan
        assert tags.target_tags.required == (not isinstance(estimator, FastKMeansClusterer))
        assert get_tags(clone(estimator).set_params(missing="mask")).input_tags.allow_nan
    assert get_tags(FastMultiLabelKMeansClassifier()).classifier_tags.multi_label
    assert get_tags(FastKMeansRegressor()).target_tags.multi_output


def is_clusterer_like(estimator):
    return get_tags(estimator).estimator_type == "clusterer"


def test_pipelines_and_grid_search(iris):
    X, y = iris
    pipe = make_pipeline(StandardScaler(), FastKMeansClassifier(distance="euclidean", n_threads=1))
    grid = {"fastkmeansclassifier__k_init": [1, 4], "fastkmeansclassifier__soft_type": ["hard", "scaled"]}
    search = GridSearchCV(pipe, grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.9 and search.predict(X).shape == (150,)
    assert search.best_estimator_.predict_proba(X).shape == (150, 3)
    assert cross_val_score(pipe, X, y, cv=3).mean() > 0.85
    assert cross_val_predict(pipe, X, y, cv=3, method="decision_function").shape == (150, 3)
    with pytest.raises(ValueError, match="distance is 'odd'"):
        GridSearchCV(pipe, {"fastkmeansclassifier__distance": ["odd"]}, error_score="raise", cv=2).fit(X, y)


def test_scorers_read_probabilities(iris):
    X, y = iris
    model = FastKMeansClassifier(soft_type="softmax_scaled", top_k=-1, n_threads=1)
    assert cross_val_score(model, X, y, scoring="neg_log_loss", cv=3).max() < 0
    assert cross_val_score(model, X, y == 1, scoring="roc_auc", cv=3).min() > 0.5
    tags = np.stack([y == 0, y == 1, X[:, 0] > 5.8], axis=1).astype(int)
    tagger = FastMultiLabelKMeansClassifier(distance="euclidean", n_threads=1)
    scores = cross_val_score(
        tagger, X, tags, scoring="average_precision", cv=KFold(3, shuffle=True, random_state=0)
    )
    assert scores.min() > 0.8
    assert cross_val_score(FastKMeansRegressor(n_threads=1), X[:, :3], X[:, 3], scoring="r2", cv=3).shape == (
        3,
    )
    assert cross_val_score(FastKMeansClusterer(n_threads=1), X, cv=3).max() < 0


def test_voting_calibration_and_chains(iris):
    X, y = iris
    voting = VotingClassifier(
        [
            ("one", FastKMeansClassifier(n_threads=1)),
            ("two", FastKMeansClassifier(distance="l1", n_threads=1)),
        ],
        voting="soft",
    )
    assert voting.fit(X, y).score(X, y) > 0.9
    calibrated = CalibratedClassifierCV(FastKMeansClassifier(n_threads=1), cv=3).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    bagged = BaggingRegressor(FastKMeansRegressor(k_targets=4, k_features=2, n_threads=1), 3, random_state=0)
    assert bagged.fit(X[:, :3], X[:, 3]).score(X[:, :3], X[:, 3]) > 0.7


def test_a_clusterer_as_a_step_that_makes_features(iris):
    X, y = iris
    pipe = make_pipeline(
        FastKMeansClusterer(k_init=12, distance="euclidean", n_threads=1), LogisticRegression()
    )
    assert pipe.fit(X, y).score(X, y) > 0.85
    assert pipe[:-1].get_feature_names_out().tolist() == [f"fastkmeansclusterer{i}" for i in range(12)]


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("estimator", ALL, ids=lambda estimator: type(estimator).__name__)
def test_set_output(estimator, library, iris):
    frames = pytest.importorskip(library)
    X, y = iris
    frame = (
        frames.DataFrame(X, ["a", "b", "c", "d"])
        if library == "polars"
        else frames.DataFrame(X, columns=list("abcd"))
    )
    model = clone(estimator).set_output(transform=library)
    for shown in (model.fit_transform(frame, y), model.transform(frame)):
        assert isinstance(shown, frames.DataFrame)
        assert list(shown.columns) == model.get_feature_names_out().tolist()
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(shown.to_numpy(), clone(estimator).fit(X, y).transform(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["b", "a", "c", "d"]])


def test_columns_of_a_table(iris):
    pandas = pytest.importorskip("pandas")
    X, y = iris
    frame = pandas.DataFrame(X, columns=list("abcd")).assign(kind=np.array(["x", "y", "z"])[y])
    pipe = make_pipeline(
        ColumnTransformer([("scaled", StandardScaler(), list("abcd")), ("coded", OneHotEncoder(), ["kind"])]),
        FastKMeansClassifier(n_threads=1),
    )
    assert pipe.fit(frame, frame["kind"]).score(frame, frame["kind"]) > 0.95
    assert set(pipe.predict(frame)) == {"x", "y", "z"}


def test_metadata_is_routed(iris):
    X, y = iris
    mask = np.ones_like(X)
    mask[::2, 0] = 0
    weight = np.linspace(0.5, 1.5, 150)
    with config_context(enable_metadata_routing=True):
        model = FastKMeansClassifier(n_threads=1).set_fit_request(sample_weight=True, feature_mask=True)
        model = model.set_predict_request(feature_mask=True).set_score_request(
            sample_weight=False, feature_mask=True
        )
        pipe = make_pipeline(FunctionTransformer(), model).fit(X, y, sample_weight=weight, feature_mask=mask)
        direct = FastKMeansClassifier(n_threads=1).fit(X, y, sample_weight=weight, feature_mask=mask)
        np.testing.assert_array_equal(pipe[-1].centroids, direct.centroids)
        assert pipe[-1].centroid_feature_weights.shape == direct.centroids.shape
        found = pipe.predict(X, feature_mask=mask)
        np.testing.assert_array_equal(found, direct.predict(X, feature_mask=mask))
        search = GridSearchCV(model, {"k_init": [1, 3]}, cv=3).fit(
            X, y, sample_weight=weight, feature_mask=mask
        )
        assert hasattr(search.best_estimator_, "centroid_feature_weights")
        with pytest.raises(UnsetMetadataPassedError):
            make_pipeline(FunctionTransformer(), FastKMeansClassifier()).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("estimator", ALL, ids=lambda estimator: type(estimator).__name__)
def test_parallel_jobs(estimator, iris):
    X, y = iris
    scores = [
        cross_val_score(clone(estimator).set_params(n_threads=1), X, y, cv=3, n_jobs=jobs)
        for jobs in (None, 2)
    ]
    np.testing.assert_array_equal(*scores)
