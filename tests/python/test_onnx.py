# SPDX-License-Identifier: Apache-2.0
"""ONNX graphs answer what predict and predict_proba answer, by onnxruntime, and what float64 formulas say."""

import doctest
import itertools
import json
import os
import sys

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from fast_kmeans import (
    FastKMeansClassifier,
    FastKMeansClusterer,
    FastKMeansRegressor,
    FastMultiLabelKMeansClassifier,
)

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

METRICS = ("cosine", "euclidean", "l1")
SOFT_TYPES = ("hard", "mean", "scaled", "softmax_scaled")
IRIS = load_iris()
IRIS_X = StandardScaler().fit_transform(IRIS.data).astype(np.float32)
DIGITS_X, DIGITS_Y = load_digits(return_X_y=True)
DIGITS_X = DIGITS_X.astype(np.float32)


def session_of(estimator, **options):
    proto = estimator.to_onnx(**options)
    onnx.checker.check_model(proto, full_check=True)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(proto.SerializeToString(), settings)


def answers(estimator, X, **options):
    session = session_of(estimator, **options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": np.asarray(X, np.float32)}), strict=True))


def check_classifier(model, X, tolerance=1e-5):
    out = answers(model, X)
    proba = np.asarray(model.predict_proba(X))
    np.testing.assert_allclose(out["probabilities"], proba, atol=tolerance)
    best = np.sort(proba, axis=1)
    clear = np.ones(len(X), bool) if proba.shape[1] == 1 else best[:, -1] - best[:, -2] > 2 * tolerance
    np.testing.assert_array_equal(out["label"][clear], np.asarray(model.predict(X))[clear])
    assert clear.any() or model.soft_type == "mean"  # of which all classes have the same part
    return out


def tags_of_digits():
    """Which digit, whether it is even, whether it is larger than 4; and a tag that no row has."""
    Y = np.zeros((len(DIGITS_Y), 13), int)
    Y[np.arange(len(DIGITS_Y)), DIGITS_Y] = 1
    Y[:, 10], Y[:, 11] = DIGITS_Y % 2 == 0, DIGITS_Y > 4
    return Y


@pytest.mark.parametrize("distance, soft_type", list(itertools.product(METRICS, SOFT_TYPES)))
def test_classifiers_of_every_kind(distance, soft_type):
    for top_k in (1, 3, -1):
        model = FastKMeansClassifier(k_init=4, distance=distance, soft_type=soft_type, top_k=top_k)
        check_classifier(model.fit(IRIS_X, IRIS.target), IRIS_X)
    check_classifier(model.fit(DIGITS_X[:900], DIGITS_Y[:900]), DIGITS_X)


@pytest.mark.parametrize("distance, soft_type", list(itertools.product(METRICS, SOFT_TYPES[2:])))
def test_fine_tuned_classifiers(distance, soft_type):
    """Feature weights, and a temperature and a bias for each prototype."""
    model = FastKMeansClassifier(
        k_init=3,
        distance=distance,
        soft_type=soft_type,
        prototype_scale=True,
        auto_feature_weights=True,
        top_k=4,
    )
    model.fit(DIGITS_X[:600], DIGITS_Y[:600]).finetune(DIGITS_X[:600], DIGITS_Y[:600], epochs=2, lr=0.05)
    assert np.ptp(model.feature_weights) > 0.1
    check_classifier(model, DIGITS_X)
    if soft_type == "softmax_scaled":
        routing = np.empty((len(model.centroids), 2))
        model._model.get("centroid_routing", routing)
        assert (np.ptp(routing, axis=0) > 1e-6).all()


@pytest.mark.parametrize("distance, soft_type", list(itertools.product(METRICS, SOFT_TYPES)))
def test_regressors_of_every_kind(distance, soft_type):
    X, y = load_diabetes(return_X_y=True)
    X = (20 * X).astype(np.float32)
    two = np.column_stack([y, 1e6 - 1e4 * y])
    for top_k, target in itertools.product((1, 5, -1), (y, two)):
        model = FastKMeansRegressor(
            k_targets=5, k_features=4, distance=distance, soft_type=soft_type, top_k=top_k
        )
        model.fit(X, target)
        values = answers(model, X)["values"]
        assert values.shape == (len(X), 1 if target is y else 2)
        expected = model.predict(X).reshape(values.shape)
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("distance", METRICS)
def test_clusterers(distance):
    for X in (IRIS_X, DIGITS_X):
        model = FastKMeansClusterer(k_init=7, distance=distance).fit(X)
        np.testing.assert_array_equal(answers(model, X)["label"], model.predict(X))


@pytest.mark.parametrize("distance, k_init", list(itertools.product(METRICS, (1, 3))))
def test_taggers(distance, k_init):
    Y = tags_of_digits()
    model = FastMultiLabelKMeansClassifier(distance=distance, k_init=k_init).fit(DIGITS_X[:700], Y[:700])
    model.finetune(DIGITS_X[:700], Y[:700], epochs=1, lr=0.03)
    out = answers(model, DIGITS_X)
    proba = model.predict_proba(DIGITS_X)
    assert out["probabilities"].shape == Y.shape and (out["probabilities"][:, 12] == 0).all()
    np.testing.assert_allclose(out["probabilities"], proba, atol=1e-5)
    differ = out["label"] != model.predict(DIGITS_X)
    assert differ.mean() < 1e-3  # only where a score is at its threshold
    assert (out["label"].sum(axis=0) > 0).sum() >= 12


def test_tags_whose_first_rows_come_later():
    Y = tags_of_digits()
    order = np.argsort(-DIGITS_Y[:500], kind="stable")  # the model discovers tag 9 first
    model = FastMultiLabelKMeansClassifier(distance="euclidean", k_init=2).fit(
        DIGITS_X[:500][order], Y[:500][order]
    )
    np.testing.assert_allclose(
        answers(model, DIGITS_X)["probabilities"], model.predict_proba(DIGITS_X), atol=1e-5
    )


def float64_probabilities(model, X):
    """p_c = sum of (1e-6 s + d)^-4 over all prototypes of c, normalised; s as the model says."""
    X, C = np.asarray(X, np.float64), np.asarray(model.centroids, np.float64)
    if model.distance == "cosine":
        unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (X, C)]
        d = ((unit[0][:, None] - unit[1][None]) ** 2).sum(axis=2) / 2
    else:
        d = (model.feature_weights * (X[:, None] - C[None]) ** 2).sum(axis=2)
    r = (1e-6 * model._model.describe()["scale"] + d) ** -4.0
    r /= r.sum(axis=1, keepdims=True)
    return np.stack([r[:, model.centroid_labels == c].sum(axis=1) for c in model.classes_], axis=1)


@pytest.mark.parametrize(
    "distance, offset", [("euclidean", 0), ("euclidean", 2**20), ("cosine", 0), ("cosine", 64)]
)
def test_graphs_are_right_where_distances_cancel(distance, offset):
    """Rows far from the origin, and nearly parallel ones, against formulas in float64 and not against predict."""
    X = (IRIS.data + offset).astype(np.float32)
    weights = np.array([0.7, 1.4, 0.3, 1.6]) if distance == "euclidean" else None
    model = FastKMeansClassifier(distance=distance, top_k=-1, feature_weights=weights).fit(X, IRIS.target)
    np.testing.assert_allclose(answers(model, X)["probabilities"], float64_probabilities(model, X), atol=1e-5)


@pytest.mark.parametrize("distance", ["euclidean", "l1"])
def test_rows_far_from_the_origin(distance):
    X = (IRIS.data + 4096).astype(np.float32)
    check_classifier(FastKMeansClassifier(distance=distance).fit(X, IRIS.target), X)


@pytest.mark.parametrize("distance", METRICS)
def test_rows_on_prototypes_and_rows_of_zeros(distance):
    model = FastKMeansClassifier(distance=distance).fit(DIGITS_X[:500], DIGITS_Y[:500])
    X = np.vstack([model.centroids, np.zeros((1, 64)), DIGITS_X[:1] * 100]).astype(np.float32)
    check_classifier(model, X)


def test_prototypes_that_nearly_coincide_share_rows():
    """Closer than 1e-6 of the scale nothing is nearer than another."""
    rows = np.array([0, 0, 0.0007, 0.0007, 9, 11], np.float32).reshape(-1, 1)
    model = FastKMeansClassifier(k_init=1, distance="euclidean", repulsion_factor=0).fit(
        rows, [0, 0, 1, 1, 2, 2]
    )
    out = check_classifier(model, rows)
    assert 0.01 < out["probabilities"][0, 1] < 0.4


@pytest.mark.parametrize("distance", METRICS)
def test_missing_values(distance):
    X = DIGITS_X.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    X[3] = np.nan  # nothing is known of it
    options = {"distance": distance, "missing": "mask", "auto_feature_weights": True}
    for rows in (X, DIGITS_X):
        check_classifier(FastKMeansClassifier(**options).fit(X, DIGITS_Y), rows)
        clusters = FastKMeansClusterer(k_init=6, **options).fit(X)
        np.testing.assert_array_equal(answers(clusters, rows)["label"], clusters.predict(rows))
        regressor = FastKMeansRegressor(**options).fit(X, DIGITS_Y * 2.5)
        np.testing.assert_allclose(
            answers(regressor, rows)["values"][:, 0], regressor.predict(rows), atol=2e-4
        )


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["setosa", "é ü", 'a, "b"']),
        np.array(["setosa", "b", "a"], object),
        np.array([-7, 2**40, 3]),
        np.array([2.0, -1.0, 7.0]),
        np.array([3, 1, 2], np.uint8),
    ],
    ids=["text", "objects", "integers", "floats", "bytes"],
)
def test_labels_come_back(labels):
    y = labels[IRIS.target]
    model = FastKMeansClassifier(distance="euclidean").fit(IRIS_X, y)
    out = check_classifier(model, IRIS_X)
    assert out["label"].tolist() == model.predict(IRIS_X).tolist()
    (classes,) = [p.value for p in model.to_onnx().metadata_props if p.key == "classes"]
    assert json.loads(classes) == np.unique(y).tolist()


def test_truth_values_and_a_single_class():
    for y in (IRIS.target > 0, np.full(150, 4)):
        model = FastKMeansClassifier(distance="euclidean").fit(IRIS_X, y)
        assert answers(model, IRIS_X)["label"].tolist() == model.predict(IRIS_X).tolist()


def test_classes_first_seen_in_a_later_batch():
    """Their numbers follow the others', their places are those of the alphabet."""
    y = np.array(["m", "z", "a"])[IRIS.target]
    model = FastKMeansClassifier(distance="euclidean")
    for order in (y != "a", y == "a"):
        model.fit_batch(IRIS_X[order], y[order])
    assert model.classes_.tolist() == ["a", "m", "z"]
    check_classifier(model, IRIS_X)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_storage_types(dtype):
    check_classifier(
        FastKMeansClassifier(distance="euclidean", dtype=dtype).fit(DIGITS_X, DIGITS_Y), DIGITS_X
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_models_of_tensors(dtype):
    torch = pytest.importorskip("torch")
    X = torch.from_numpy(IRIS_X)
    model = FastKMeansClassifier(distance="euclidean", dtype=dtype).fit(X, torch.from_numpy(IRIS.target))
    out = answers(model, IRIS_X)
    np.testing.assert_allclose(out["probabilities"], model.predict_proba(X).numpy(), atol=1e-5)


def test_glvq_and_given_exponents():
    for options in (
        {"repulsion_mode": "glvq"},
        {"idw_power": 2.5},
        {"temperature": 3.0, "soft_type": "softmax_scaled"},
    ):
        check_classifier(
            FastKMeansClassifier(distance="euclidean", **options).fit(DIGITS_X, DIGITS_Y), DIGITS_X
        )


@pytest.mark.parametrize("opset", [17, 18, 21])
def test_versions_of_operators(opset):
    model = FastMultiLabelKMeansClassifier(distance="l1").fit(DIGITS_X[:300], tags_of_digits()[:300])
    assert model.to_onnx(opset=opset).opset_import[0].version == opset
    proba = answers(model, DIGITS_X[:50], opset=opset)["probabilities"]
    np.testing.assert_allclose(proba, model.predict_proba(DIGITS_X[:50]), atol=1e-5)


def test_any_number_of_rows():
    for distance in METRICS:
        model = FastKMeansClassifier(distance=distance).fit(IRIS_X, IRIS.target)
        session = session_of(model)
        whole = session.run(["probabilities"], {"X": IRIS_X})[0]
        for n in (1, 2, 149):
            part = session.run(["probabilities"], {"X": IRIS_X[:n]})[0]
            np.testing.assert_allclose(part, whole[:n], atol=1e-7)


def test_the_interface_of_a_graph():
    X = pytest.importorskip("pandas").DataFrame(IRIS.data, columns=IRIS.feature_names)
    model = FastKMeansClassifier(distance="euclidean").fit(X, IRIS.target)
    proto = model.to_onnx()
    (rows,) = proto.graph.input
    assert rows.name == "X" and rows.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert [dim.dim_value for dim in rows.type.tensor_type.shape.dim] == [0, 4]
    assert [output.name for output in proto.graph.output] == ["label", "probabilities"]
    facts = {prop.key: prop.value for prop in proto.metadata_props}
    assert facts["task"] == "classifier" and facts["distance"] == "euclidean"
    assert json.loads(facts["feature_names"]) == IRIS.feature_names
    assert proto.producer_name == "fast-kmeans-suite" and proto.producer_version
    assert len(proto.graph.node) <= 20


def test_files_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    model = FastKMeansClusterer(k_init=2, distance="euclidean").fit(IRIS_X)
    path = tmp_path / "model.onnx"
    proto = model.to_onnx(path)
    assert onnx.load(path) == proto
    before = path.read_bytes()

    def fails(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="no space"):
        model.to_onnx(path)
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


def test_mistakes_are_named(monkeypatch):
    with pytest.raises(NotFittedError):
        FastKMeansClusterer().to_onnx()
    model = FastKMeansClusterer(k_init=2, distance="euclidean").fit(IRIS_X)
    for opset in (16, 999):
        with pytest.raises(ValueError, match=f"opset is {opset}"):
            model.to_onnx(opset=opset)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"fast-kmeans-suite\[onnx\]"):
        model.to_onnx()


def test_examples():
    import fast_kmeans.onnx

    assert doctest.testmod(fast_kmeans.onnx).failed == 0
