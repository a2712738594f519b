# SPDX-License-Identifier: Apache-2.0
"""What pictures show: titles, labels, legends, how many points and images; not their pixels."""

import doctest
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.exceptions import NotFittedError

from fast_kmeans import (
    FastKMeansClassifier,
    FastKMeansClusterer,
    FastKMeansRegressor,
    FastMultiLabelKMeansClassifier,
)

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure

from fast_kmeans import plot

IRIS = load_iris()
X, NAMES = IRIS.data, np.array(["setosa", "versicolor", "virginica"])[IRIS.target]
DIGITS_X, DIGITS_Y = load_digits(return_X_y=True)


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def tuned():
    model = FastKMeansClassifier(distance="euclidean", soft_type="softmax_scaled").fit(X, NAMES)
    return model.finetune(X, NAMES, epochs=4, eval_fraction=0.2)


@pytest.fixture(scope="module")
def digits():
    return FastKMeansClassifier(k_init=4, distance="euclidean", min_weight=0).fit(DIGITS_X, DIGITS_Y)


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def points_of(ax):
    """How many points each scatter has, except those that only widen the limits."""
    return [len(drawn.get_offsets()) for drawn in ax.collections if drawn.get_alpha() != 0]


def draws(ax):
    ax.figure.canvas.draw()
    return ax


def test_a_given_axes_leaves_pyplot_alone(tuned, digits):
    for draw in (
        lambda ax: plot.learning_rate(tuned, ax=ax),
        lambda ax: plot.history(tuned, ax=ax),
        lambda ax: plot.feature_weights(tuned, ax=ax),
        lambda ax: plot.prototypes(tuned, X, NAMES, ax=ax),
        lambda ax: plot.images(digits, (8, 8), ax=ax),
    ):
        ax = Figure().subplots()
        assert draw(ax) is ax
        draws(ax)
    assert pyplot.get_fignums() == []


def test_without_axes_there_is_a_figure_to_show(tuned):
    ax = draws(plot.prototypes(tuned))
    assert pyplot.get_fignums() == [1] and ax.figure is pyplot.figure(1)


def test_the_search_for_a_learning_rate(tuned):
    ax = draws(plot.learning_rate(tuned))
    lines = [line for line in tuned.history_ if line["phase"] == "learning rate"]
    curve, lowest, chosen = ax.get_lines()
    np.testing.assert_array_equal(curve.get_xdata(), [line["lr"] for line in lines])
    np.testing.assert_array_equal(curve.get_ydata(), [line["loss"] for line in lines])
    assert lowest.get_ydata()[0] == curve.get_ydata().min()
    assert chosen.get_xdata()[0] == tuned.learning_rate_ and ax.get_xscale() == "log"
    assert ax.get_ylabel() == "cross-entropy (nats)"
    assert legend_of(ax)[2] == f"chosen: {tuned.learning_rate_:.2g}"


def test_the_last_search_is_shown():
    model = FastKMeansClassifier(distance="euclidean", soft_type="softmax_scaled").fit(X, NAMES)
    model.find_learning_rate(X, NAMES)
    n = len(model.history_)
    model.find_learning_rate(X[:60], NAMES[:60])
    curve = plot.learning_rate(model).get_lines()[0]
    assert len(curve.get_xdata()) == len(model.history_) - n
    assert curve.get_ydata()[-1] == model.history_[-1]["loss"]


def test_history_of_fine_tuning(tuned):
    ax = draws(plot.history(tuned))
    left, right = ax.figure.axes
    np.testing.assert_array_equal(left.get_lines()[0].get_xdata(), [1, 2, 3, 4])
    scores = [line["eval"] for line in tuned.history_ if line["phase"] == "finetune"]
    np.testing.assert_array_equal(right.get_lines()[0].get_ydata(), scores)
    assert right.get_lines()[1].get_ydata()[0] == max(scores)
    assert (ax.get_title(loc="left"), ax.get_xlabel()) == ("Fine-tuning", "epoch")
    assert right.get_ylabel() == "accuracy + log-probability / 1000 on held-out rows"
    assert legend_of(ax)[:2] == ["loss", "held-out score"]


def test_history_of_fit(tuned):
    ax = draws(plot.history(tuned, phase="fit"))
    lines = [line for line in tuned.history_ if line["phase"] == "fit"]
    left, right = ax.figure.axes
    np.testing.assert_array_equal(left.get_lines()[0].get_ydata(), [line["loss"] for line in lines])
    assert left.get_ylabel() == "mean squared distance to the nearest prototype"
    assert right.get_ylabel() == "largest move of a prototype" and right.get_yscale() == "log"
    assert (
        plot.history(FastKMeansClusterer(k_init=2, distance="l1").fit(X)).get_ylabel().startswith("mean l1")
    )


def test_history_says_what_is_missing(tuned):
    streamed = FastKMeansClusterer(k_init=2)
    streamed.fit_batch(X)
    with pytest.raises(ValueError, match="history is empty"):
        plot.history(streamed)
    with pytest.raises(ValueError, match="no finetune yet"):
        plot.history(FastKMeansClusterer(k_init=2).fit(X), phase="finetune")
    with pytest.raises(ValueError, match="phase is 'fitting'"):
        plot.history(tuned, phase="fitting")
    with pytest.raises(ValueError, match="find_learning_rate"):
        plot.learning_rate(streamed)


def test_feature_weights():
    frame = pytest.importorskip("pandas").DataFrame(X, columns=IRIS.feature_names)
    model = FastKMeansClassifier(distance="euclidean", auto_feature_weights=True).fit(frame, NAMES)
    ax = draws(plot.feature_weights(model))
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, np.sort(model.feature_weights)[::-1])
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert sorted(names) == sorted(IRIS.feature_names) and names[0].startswith("petal")
    assert ax.get_title(loc="left") == "Feature weights" and ax.yaxis_inverted()


def test_the_largest_of_many_feature_weights(digits):
    ax = draws(plot.feature_weights(digits, most=12))
    assert len(ax.patches) == 12 and ax.get_title(loc="left") == "Feature weights: 12 largest of 64"
    assert ax.get_yticklabels()[0].get_text() == "feature 0"


def test_images_are_in_blocks_of_classes(digits):
    ax = draws(plot.images(digits, (8, 8)))
    (mosaic,) = (image.get_array() for image in ax.images)
    shown = np.isfinite(mosaic.filled(np.nan)).sum()
    assert shown == digits.centroids.size
    assert [text.get_text() for text in ax.get_yticklabels()] == [str(digit) for digit in range(10)]
    captions = [float(text.get_text()) for text in ax.texts]
    own = np.sort(digits.centroid_weights[digits.centroid_labels == 0])[::-1]
    np.testing.assert_allclose(captions[: len(own)], own, rtol=0.01)
    heaviest = np.argmax(np.where(digits.centroid_labels == 0, digits.centroid_weights, 0))
    np.testing.assert_allclose(mosaic[:8, :8], digits.centroids[heaviest].reshape(8, 8), rtol=1e-6)
    assert ax.get_title() == "40 prototypes, each with its mass"


def test_only_the_heaviest_of_many_images(digits):
    ax = draws(plot.images(digits, (8, 8), most=20))
    assert len(ax.texts) == 20 and ax.get_title().startswith("20 of 40 prototypes, the heaviest")
    many = FastKMeansClassifier(k_init=100, distance="euclidean", min_weight=0).fit(DIGITS_X, DIGITS_Y)
    ax = draws(plot.images(many, (8, 8), most=1000))
    assert len(many.centroids) > 900 and not ax.texts  # no room for numbers
    assert np.isfinite(ax.images[0].get_array().filled(np.nan)).sum() == many.centroids.size


def test_images_of_other_tasks():
    regressor = FastKMeansRegressor(k_targets=3, k_features=2, distance="euclidean").fit(
        DIGITS_X, DIGITS_Y * 1.0
    )
    captions = [float(text.get_text()) for text in draws(plot.images(regressor, (8, 8))).texts]
    assert captions == sorted(captions) and len(captions) == len(regressor.centroids)
    clusterer = FastKMeansClusterer(k_init=5, distance="euclidean").fit(DIGITS_X)
    ax = draws(plot.images(clusterer, (8, 8)))
    captions = [float(text.get_text()) for text in ax.texts]
    assert captions == sorted(captions, reverse=True) and len(ax.get_yticks()) == 0


def test_images_of_colours():
    rows = np.random.default_rng(0).random((30, 12))
    ax = draws(plot.images(FastKMeansClusterer(k_init=3, distance="euclidean").fit(rows), (2, 2, 3)))
    assert ax.images[0].get_array().shape[2] == 3


def test_images_need_their_shape(digits):
    with pytest.raises(ValueError, match="63 pixels; prototypes have 64"):
        plot.images(digits, (7, 9))


def test_prototypes_and_rows_of_classes(tuned):
    ax = draws(plot.prototypes(tuned, X, NAMES))
    k = len(tuned.centroids)
    assert sum(points_of(ax)) == k + 150
    assert legend_of(ax) == [*tuned.classes_, f"prototype of {tuned.centroid_weights.mean():.3g} rows"]
    assert ax.get_xlabel().startswith("component 1 (") and ax.get_ylabel().startswith("component 2 (")


def test_two_features_are_drawn_as_they_are():
    model = FastKMeansClassifier(distance="euclidean").fit(X[:, :2], NAMES)
    ax = draws(plot.prototypes(model))
    drawn = np.vstack([points.get_offsets() for points in ax.collections])
    order = np.argsort(model.centroid_labels, kind="stable")
    np.testing.assert_allclose(drawn, model.centroids[order], rtol=1e-6)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("feature 0", "feature 1")


def test_projections_keep_as_much_as_two_directions_can():
    """Prototypes in a plane of a space of 50 dimensions keep their distances."""
    rng = np.random.default_rng(1)
    plane = np.linalg.qr(rng.normal(size=(50, 2)))[0]
    rows = rng.normal(size=(200, 2)) @ plane.T + 7
    model = FastKMeansClusterer(k_init=8, distance="euclidean").fit(rows)
    ax = plot.prototypes(model)
    drawn, C = ax.collections[0].get_offsets(), model.centroids
    distances = [np.linalg.norm(points[:, None] - points[None], axis=2) for points in (np.asarray(drawn), C)]
    np.testing.assert_allclose(*distances, atol=1e-4)
    assert ax.get_ylabel().startswith("component 2")


def test_one_feature_is_a_line():
    ax = draws(plot.prototypes(FastKMeansClusterer(k_init=2, distance="euclidean").fit(X[:, :1]), X[:, :1]))
    assert points_of(ax) == [150, 2] and ax.get_ylabel() == ""


def test_clusters_have_numbers():
    model = FastKMeansClusterer(k_init=7, distance="cosine").fit(X)
    ax = draws(plot.prototypes(model, X, NAMES))
    assert [text.get_text() for text in ax.texts] == [str(j) for j in range(7)]
    assert legend_of(ax)[:3] == sorted(set(NAMES))
    assert points_of(plot.prototypes(model)) == [7]


def test_targets_are_colours():
    rows, y = load_diabetes(return_X_y=True)
    for target in (y, np.column_stack([y, -y])):
        model = FastKMeansRegressor(distance="euclidean").fit(rows, target)
        ax = draws(plot.prototypes(model, rows, target))
        assert points_of(ax) == [442, len(model.centroids)]
        bar = ax.figure.axes[1]
        assert bar.get_ylabel() == "target" and bar.get_ylim() == (y.min(), y.max())


def test_many_classes_are_names_in_the_picture():
    y = np.arange(150) % 20
    model = FastKMeansClassifier(k_init=2, distance="euclidean", min_weight=0).fit(X, y)
    ax = draws(plot.prototypes(model, X, y))
    assert len(ax.texts) == len(model.centroids) and legend_of(ax) == ["prototype of class a"]
    long = np.array([f"class {c}" for c in y])
    ax = draws(plot.prototypes(FastKMeansClassifier(k_init=2, distance="euclidean").fit(X, long), X, long))
    assert [text.get_text() for text in ax.texts] == sorted(set(long))


def test_tags():
    Y = np.column_stack([IRIS.target == 0, IRIS.target > 0, IRIS.target == 2]).astype(int)
    model = FastMultiLabelKMeansClassifier(distance="euclidean").fit(X, Y)
    ax = draws(plot.prototypes(model, X, Y))
    assert legend_of(ax)[:3] == ["0", "1", "2"] and sum(points_of(ax)) == 150 + len(model.centroids)


@pytest.mark.parametrize("k", [2, 30, 1000])
def test_from_two_to_a_thousand_prototypes(k):
    rows = np.random.default_rng(2).normal(size=(2000, 3))
    model = FastKMeansClusterer(k_init=k, distance="euclidean", min_weight=0).fit(rows, max_iters=2)
    area = draws(plot.prototypes(model)).collections[0].get_sizes()
    assert len(area) == k and area.min() > 2 and area.max() < 1000
    assert np.corrcoef(area, model.centroid_weights)[0, 1] > 0.7 or np.ptp(model.centroid_weights) < 100


def test_many_rows_are_thinned():
    rows = np.random.default_rng(3).normal(size=(9001, 3))
    model = FastKMeansClusterer(k_init=2, distance="euclidean").fit(rows)
    ax = plot.prototypes(model, rows, np.arange(9001) % 2)
    assert 2000 < sum(points_of(ax)) <= 4002


def test_every_kind_of_rows():
    torch, sparse = pytest.importorskip("torch"), pytest.importorskip("scipy.sparse")
    model = FastKMeansClassifier(distance="euclidean", dtype="bfloat16")
    model.fit(torch.from_numpy(X).bfloat16(), torch.from_numpy(IRIS.target))
    missing = X.copy()
    missing[0, 0] = np.nan
    for rows in (torch.from_numpy(X), sparse.csr_matrix(X), sparse.coo_array(X), X.tolist(), missing):
        ax = draws(plot.prototypes(model, rows, torch.from_numpy(IRIS.target)))
        assert sum(points_of(ax)) == 150 + len(model.centroids)
        assert all(np.isfinite(points.get_offsets()).all() for points in ax.collections)
    draws(plot.feature_weights(model))
    draws(plot.images(model, (2, 2)))


def test_mistakes_are_named(tuned, monkeypatch):
    for draw in (plot.prototypes, plot.history, plot.learning_rate, plot.feature_weights):
        with pytest.raises(NotFittedError):
            draw(FastKMeansClassifier())
    with pytest.raises(ValueError, match="y has 3 entries, X has 150 rows"):
        plot.prototypes(tuned, X, NAMES[:3])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"fast-kmeans-suite\[plot\]"):
        plot.prototypes(tuned)


def test_pictures_cost_nothing_until_they_are_drawn():
    code = "import sys, fast_kmeans; assert not {'matplotlib', 'onnx'} & set(sys.modules); fast_kmeans.plot.images"
    code += "; assert 'matplotlib' not in sys.modules and callable(fast_kmeans.onnx.to_onnx)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_examples():
    assert doctest.testmod(plot).failed == 0
