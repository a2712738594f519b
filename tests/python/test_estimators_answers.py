# SPDX-License-Identifier: Apache-2.0
"""Answers: labels of every kind, tags by every strategy, numbers of every shape, scores, similarities."""

import warnings

import numpy as np
import pytest
from est_data import CLASS, EUCLIDEAN, KINDS, NAMES, NUMBERS, TAGS, X, fitted, unfitted
from scipy import sparse
from sklearn.metrics import accuracy_score, r2_score

from fast_kmeans import (
    FastKMeansClassifier,
    FastKMeansClusterer,
    FastKMeansRegressor,
    FastMultiLabelKMeansClassifier,
)

# ---- labels


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1, 2]),
        np.array([-7, 5, 2**62]),
        np.array([1, 2, 200], np.uint8),
        np.array([0.0, 3.0, -1.0]),
        np.array(["b", "a", "c"]),
        np.array(["ä", "", "line\nbreak\\n"], object),
        [1, 2, 3],
        ["x", "y", "z"],
    ],
    ids=str,
)
def test_labels_come_back_as_they_were_given(labels):
    y = np.asarray(labels)[CLASS] if isinstance(labels, np.ndarray) else [labels[c] for c in CLASS]
    model = FastKMeansClassifier(**EUCLIDEAN).fit(X, y)
    expected = np.unique(np.asarray(y))
    assert model.classes_.tolist() == expected.tolist()
    assert model.classes_.dtype.kind == {"u": "i"}.get(expected.dtype.kind, expected.dtype.kind)
    assert (model.predict(X) == np.asarray(y)).mean() > 0.9
    assert model.predict(X).dtype == model.centroid_labels.dtype == model.classes_.dtype
    assert model.score(X, y) == accuracy_score(y, model.predict(X))


def test_truth_values_are_labels():
    model = FastKMeansClassifier(**EUCLIDEAN).fit(X, CLASS == 1)
    assert model.classes_.tolist() == [False, True] and model.predict(X).dtype == bool
    assert model.decision_function(X).shape == (90,)
    np.testing.assert_array_equal(model.decision_function(X) > 0, model.predict(X))


def test_labels_of_any_container():
    expected = FastKMeansClassifier(**EUCLIDEAN).fit(X, NAMES).predict(X).tolist()
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for y in (
        NAMES.astype(np.dtypes.StringDType()) if hasattr(np.dtypes, "StringDType") else NAMES,
        *(pandas.Series(NAMES, dtype=dtype) for dtype in ("object", "string", "category")),
        *(polars.Series(NAMES, dtype=dtype) for dtype in (polars.String, polars.Categorical)),
        tuple(NAMES.tolist()),
    ):
        assert FastKMeansClassifier(**EUCLIDEAN).fit(X, y).predict(X).tolist() == expected
    half = FastKMeansClassifier(**EUCLIDEAN).fit(X, CLASS.astype(np.float16))
    assert half.classes_.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "y, message",
    [
        (np.eye(3)[CLASS], r"y has shape \(90, 3\); labels should be a 1d array, one per row: not one-hot"),
        (np.eye(3, dtype=int)[CLASS], "1d array"),
        (CLASS + 0.5, "Unknown label type: continuous"),
        (np.where(CLASS == 1, np.nan, 0), "NaN"),
        (np.array([None, "a", "b"], object)[CLASS], "NaN|missing"),
        (np.array(["a", 1, "b"], object)[CLASS], "mixes text and int 1"),
        (np.array(["a\0b", "c", "d"], object)[CLASS], "NUL"),
        (np.array(["a\ud800", "c", "d"], object)[CLASS], "Unicode"),
        (np.full(90, 2**63, np.uint64), "at most 9223372036854775807"),
        (np.full(90, 1e17), "at most"),
        (CLASS + 1j, "Complex"),
        (None, "requires y to be passed, but the target y is None"),
        (CLASS[:-1], "inconsistent"),
    ],
    ids=lambda value: "" if isinstance(value, np.ndarray) else str(value),
)
def test_labels_that_are_none_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        FastKMeansClassifier().fit(X, y)


def test_labels_of_another_type_are_refused_later():
    model = FastKMeansClassifier(**EUCLIDEAN).fit(X, NAMES)
    with pytest.raises(ValueError, match="y holds numbers; the labels that the model learned are text"):
        model.fit_batch(X, CLASS)
    with pytest.raises(ValueError, match="truth values"):
        FastKMeansClassifier().fit(X, CLASS).fit_batch(X, CLASS == 1)
    model.fit_batch(X, NAMES.astype(object))  # both are text
    assert model.classes_.dtype.kind == "U"


def test_a_column_of_labels_warns_as_in_scikit_learn():
    with pytest.warns(match="A column-vector y was passed"):
        FastKMeansClassifier().fit(X, CLASS[:, None])


def test_probabilities_follow_classes_and_sum_to_one():
    for y in (CLASS, NAMES, CLASS - 9):
        model = FastKMeansClassifier(soft_type="softmax_scaled", top_k=-1, **EUCLIDEAN).fit(X, y)
        proba = model.predict_proba(X)
        assert proba.shape == (90, 3) and proba.dtype == np.float32
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(X))
        np.testing.assert_array_equal(model.decision_function(X), proba)


@pytest.mark.parametrize("y", [CLASS, NAMES, CLASS - 9], ids=["numbers", "text", "negative"])
@pytest.mark.parametrize("top_k", [2, -1])
def test_the_most_probable_are_those_of_all_probabilities(y, top_k):
    model = FastKMeansClassifier(soft_type="softmax_scaled", top_k=top_k, **EUCLIDEAN).fit(X, y)
    proba = model.predict_proba(X)
    for m in (1, 2, 3, 9):
        labels, top = model.predict_top(X, m)
        assert labels.shape == top.shape == (90, min(m, 3)) and top.dtype == np.float32
        np.testing.assert_array_equal(top, -np.sort(-proba, axis=1)[:, :m])
        columns = np.searchsorted(model.classes_, labels)
        np.testing.assert_array_equal(np.take_along_axis(proba, columns, axis=1), top)
        np.testing.assert_array_equal(labels[:, 0], model.predict(X))
    for wrong in (0, -3):
        with pytest.raises(ValueError, match=f"m is {wrong}; it must be at least 1"):
            model.predict_top(X, wrong)
    alone = model.predict_proba(X, sparse=True)
    assert sparse.issparse(alone) and alone.dtype == np.float32 and alone.nnz == np.count_nonzero(proba)
    np.testing.assert_array_equal(alone.toarray(), proba)


@pytest.mark.parametrize("top_k", [2, -1])
def test_sparse_probabilities_come_some_rows_at_a_time(monkeypatch, top_k):
    model = FastKMeansClassifier(soft_type="softmax_scaled", top_k=top_k, missing="mask", **EUCLIDEAN).fit(X, NAMES)
    mask = (np.arange(X.size).reshape(X.shape) % 5 > 0).astype(np.float32)
    for rows, masked in ((X, None), (X, mask), (sparse.csr_matrix(X), None)):
        proba = model.predict_proba(rows, feature_mask=masked)
        for block in (1, 7, 1 << 20):
            monkeypatch.setattr("fast_kmeans._classifier.SPARSE_BLOCK", block)
            alone = model.predict_proba(rows, feature_mask=masked, sparse=True)
            np.testing.assert_array_equal(alone.toarray(), proba)


def test_one_class_only():
    model = FastKMeansClassifier(**EUCLIDEAN).fit(X, np.full(90, "only"))
    assert model.classes_.tolist() == ["only"] and set(model.predict(X)) == {"only"}
    assert model.predict_proba(X).tolist() == [[1.0]] * 90
    assert model.finetune(X, np.full(90, "only"), lr=0.01).score(X, np.full(90, "only")) == 1


def test_partial_fit_takes_classes():
    model = FastKMeansClassifier(**EUCLIDEAN).partial_fit(X, NAMES, ["cat", "dog", "eel", "fox"])
    assert model.classes_.tolist() == ["cat", "dog", "eel"]
    with pytest.raises(ValueError, match="'eel' in row .* not among the given classes"):
        model.partial_fit(X, NAMES, classes=["cat", "dog"])
    tags = FastMultiLabelKMeansClassifier(**EUCLIDEAN).partial_fit(X, TAGS, classes=range(4))
    assert tags.predict(X).shape == (90, 4)


def test_score_weighs_rows_and_counts_unknown_labels_as_wrong():
    model = fitted("classifier")
    wrong = CLASS.copy()
    wrong[:9] = 77
    assert model.score(X, wrong) == pytest.approx(model.score(X, CLASS) - 0.1, abs=0.04)
    weight = np.where(np.arange(90) < 9, 0.0, 1.0)
    assert model.score(X, wrong, weight) == accuracy_score(CLASS, model.predict(X), sample_weight=weight)


# ---- tags


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool", "float32", "float64"])
def test_indicators_come_back_in_the_dtype_of_y(dtype):
    model = FastMultiLabelKMeansClassifier(**EUCLIDEAN).fit(X, TAGS.astype(dtype))
    assert model.predict(X).dtype == dtype
    assert (model.predict(X) == TAGS).mean() > 0.85


def test_strategies():
    model = fitted("multilabel")
    proba = model.predict_proba(X)
    assert proba.shape == (90, 4) and proba.dtype == np.float32 and ((proba >= 0) & (proba <= 1)).all()
    two = model.predict(X, "top_k", 2)
    assert (two.sum(axis=1) == 2).all()
    for row in range(90):
        assert set(np.flatnonzero(two[row])) == set(np.argsort(-proba[row], kind="stable")[:2])
    gap = model.predict(X, strategy="gap")
    assert (gap.sum(axis=1) >= 1).all()
    for row in range(90):
        order = np.argsort(-proba[row], kind="stable")
        cut = np.argmax(-np.diff(np.sort(proba[row])[::-1].astype(np.float64))) + 1
        assert set(np.flatnonzero(gap[row])) == set(order[:cut]), row
    np.testing.assert_array_equal(model.predict(X), model.predict(X, strategy="adaptive"))
    assert model.score(X, TAGS) == accuracy_score(TAGS, model.predict(X))
    for wrong in ("best", None, 3):
        with pytest.raises(ValueError, match="valid: adaptive, gap, top_k"):
            model.predict(X, strategy=wrong)
    with pytest.raises(ValueError, match="top_k is 0"):
        model.predict(X, strategy="top_k", top_k=0)


def test_the_most_probable_tags():
    model = fitted("multilabel")
    proba = model.predict_proba(X)
    tags, top = model.predict_top(X, 2)
    np.testing.assert_array_equal(tags, np.argsort(-proba, axis=1, kind="stable")[:, :2])
    np.testing.assert_array_equal(top, np.take_along_axis(proba, tags, axis=1))
    assert model.predict_top(X, 77)[0].shape == (90, 4)


def test_tags_from_lists_and_sparse_matrices():
    expected = fitted("multilabel").predict_proba(X)
    for y in (TAGS.tolist(), sparse.csr_array(TAGS), sparse.csc_matrix(TAGS), TAGS.astype(bool)):
        model = unfitted("multilabel").fit(X, y)
        np.testing.assert_array_equal(model.predict_proba(X), expected)
        assert model.score(X, y) == fitted("multilabel").score(X, TAGS)


@pytest.mark.parametrize(
    "y", [TAGS * 2, TAGS * 0.5, TAGS - 1, np.zeros_like(TAGS), TAGS[:5], TAGS[:, :, None], [[0], [1, 2]] * 45]
)
def test_tags_that_are_none_are_refused(y):
    with pytest.raises(ValueError):
        FastMultiLabelKMeansClassifier().fit(X, y)


@pytest.mark.parametrize("y", [CLASS, NAMES, CLASS.astype(float) - 4, CLASS == 2, CLASS.tolist()])
def test_one_label_per_row_is_answered_with_one_label(y):
    model = FastMultiLabelKMeansClassifier(**EUCLIDEAN).fit(X, y)
    assert model.classes_.tolist() == sorted(set(np.asarray(y).tolist()))
    found = model.predict(X)
    assert found.shape == (90,) and (found == np.asarray(y)).mean() > 0.9
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], found)
    assert model.score(X, y) == accuracy_score(y, found)
    assert set(model.centroid_labels.tolist()) == set(model.classes_.tolist())
    with pytest.raises(ValueError, match="one label per row"):
        model.fit_batch(X, TAGS)
    model.finetune(X, y, epochs=2, lr=0.01)


def test_tag_numbers_may_follow_an_indicator_matrix():
    model = fitted("multilabel")
    model.fit_batch(X[:5], [3, 0, 1, 2, 3])
    assert model.predict(X).shape == (90, 4)
    model.fit_batch(X[:1], [5])
    assert model.predict(X).shape == (90, 6)


# ---- numbers


def test_predictions_have_the_shape_of_y():
    one = fitted("regressor").predict(X)
    assert one.shape == (90,) and one.dtype == np.float64
    column = unfitted("regressor").fit(X, NUMBERS[:, None])
    assert column.predict(X).shape == (90, 1)
    np.testing.assert_array_equal(column.predict(X)[:, 0], one)
    two = unfitted("regressor").fit(X, np.c_[NUMBERS, -NUMBERS])
    assert two.predict(X).shape == (90, 2) and two.centroid_targets.shape == (len(two.centroids), 2)
    np.testing.assert_allclose(two.predict(X)[:, 0], -two.predict(X)[:, 1], rtol=1e-6)
    assert two.score(X, np.c_[NUMBERS, -NUMBERS]) == pytest.approx(
        r2_score(np.c_[NUMBERS, -NUMBERS], two.predict(X)), rel=1e-12
    )
    assert fitted("regressor").score(X, NUMBERS) == pytest.approx(r2_score(NUMBERS, one), rel=1e-12)


def test_a_stream_may_change_the_shape_but_not_the_number_of_targets():
    model = fitted("regressor")
    model.fit_batch(X, NUMBERS[:, None])
    assert model.predict(X).shape == (90,)
    with pytest.raises(ValueError, match="batch has 2 targets, the model expects 1"):
        model.fit_batch(X, np.c_[NUMBERS, NUMBERS])


@pytest.mark.parametrize(
    "y", [np.full(90, np.nan), np.full(90, np.inf), NUMBERS[:-1], ["a"] * 90, None, 1j * NUMBERS]
)
def test_numbers_that_are_none_are_refused(y):
    with pytest.raises(ValueError):
        FastKMeansRegressor().fit(X, y)


# ---- clusters


def test_clusters():
    model = fitted("clusterer")
    assert model.labels_.dtype == np.int64 and model.labels_.shape == (90,)
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    np.testing.assert_array_equal(unfitted("clusterer").fit_predict(X), model.labels_)
    distance = ((X[:, None].astype(float) - model.centroids[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(distance.argmin(axis=1), model.labels_)
    assert model.inertia_ == pytest.approx(distance.min(axis=1).sum(), rel=1e-5)
    assert model.score(X) == pytest.approx(-model.inertia_, rel=1e-6)
    weight = np.linspace(0, 2, 90)
    heavy = unfitted("clusterer").fit(X, sample_weight=weight)
    distance = ((X[:, None].astype(float) - heavy.centroids[None]) ** 2).sum(axis=2).min(axis=1)
    assert heavy.inertia_ == pytest.approx((weight * distance).sum(), rel=1e-5)
    assert heavy.score(X, sample_weight=weight) == pytest.approx(-heavy.inertia_, rel=1e-5)
    assert model.cluster_centers_ is model.centroids
    assert len(np.unique(model.labels_)) == 3
    model.fit_batch(X)
    assert not hasattr(model, "labels_") and not hasattr(model, "inertia_")


def test_y_means_nothing_to_a_clusterer():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = FastKMeansClusterer(**EUCLIDEAN).fit(X, "nonsense")
    np.testing.assert_array_equal(model.labels_, fitted("clusterer").labels_)


# ---- all


@pytest.mark.parametrize("task", KINDS)
def test_transform_gives_similarities_to_prototypes(task):
    model = fitted(task)
    similarity = model.transform(X)
    assert similarity.shape == (90, len(model.centroids)) and similarity.dtype == np.float32
    assert (similarity > 0).all() and (similarity <= 1).all()
    near = ((X[:, None] - model.centroids[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (similarity.argmax(axis=1) == near).mean() > 0.98
    np.testing.assert_array_equal(unfitted(task).fit_transform(X, KINDS[task][1]), similarity)
    assert len(model.get_feature_names_out()) == len(model.centroids)
    assert model.get_feature_names_out()[0] == type(model).__name__.lower() + "0"


@pytest.mark.parametrize("task", KINDS)
def test_an_answer_depends_on_its_row_alone(task):
    model = fitted(task)
    together = np.asarray(model.predict(X))
    np.testing.assert_array_equal(together, np.concatenate([model.predict(X[i : i + 1]) for i in range(90)]))


@pytest.mark.parametrize("task", KINDS)
def test_answers_need_a_fitted_model_and_rows_that_fit(task):
    for method in ("predict", "predict_proba", "decision_function", "transform", "score", "explain"):
        if not hasattr(KINDS[task][0], method):
            continue
        more = (KINDS[task][1],) if method == "score" else ()
        with pytest.raises(AttributeError, match=f"{KINDS[task][0].__name__} instance is not fitted yet"):
            getattr(unfitted(task), method)(X, *more)
        with pytest.raises(ValueError, match="X has 3 features, but .* is expecting 4 features as input"):
            getattr(fitted(task), method)(X[:, :3], *more)
        for wrong in (X[0], X[:0], X * np.nan, "X", None):
            with pytest.raises((ValueError, TypeError)):
                getattr(fitted(task), method)(wrong, *more)


@pytest.mark.parametrize("task", KINDS)
def test_explain_names_the_prototypes(task):
    why = fitted(task).explain(X[:3])
    assert why.prototypes.shape[0] == 3 and why.describe(0)
    assert fitted(task).explain(X[:3], top_k=1).prototypes.shape == (3, 1)


@pytest.mark.parametrize("task", KINDS)
def test_docstrings_say_what_is_there(task):
    cls = KINDS[task][0]
    for name in cls().get_params():
        assert f"    {name} : " in cls.__doc__, name
    for name in dir(cls):
        if not name.startswith("_") and callable(getattr(cls, name)) and not name.startswith("set_"):
            assert getattr(cls, name).__doc__, name
