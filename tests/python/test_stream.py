"""test_stream.py — fit_stream: files, Arrow, iterables; checkpoints and going on after a crash.

SPDX-License-Identifier: Apache-2.0"""

import gzip

import numpy as np
import pytest
import scipy.sparse as sp

import fast_kmeans
from fast_kmeans import (
    FastKMeansClassifier,
    FastKMeansClusterer,
    FastKMeansRegressor,
    FastMultiLabelKMeansClassifier,
)

draw = np.random.default_rng(0)
X = draw.normal(size=(600, 4)).astype(np.float32)
Y = np.array(["red", "green", "blue"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0)]
SETTINGS = {"distance": "euclidean", "batch_size": 64, "k_init": 3}


def batches():
    for begin in range(0, 600, 50):
        yield X[begin : begin + 50], Y[begin : begin + 50]


def classifier(**more):
    return FastKMeansClassifier(**SETTINGS | more)


def loop(model, epochs=1):
    """What fit_stream promises for one epoch: fit_batch on batches of at most batch_size rows."""
    for _ in range(epochs):
        for begin in range(0, 600, 50):
            model.fit_batch(X[begin : begin + 50], Y[begin : begin + 50])
    return model


@pytest.fixture
def csv(tmp_path):
    lines = ["a,b,c,d,colour"] + [",".join([*map(repr, row), label]) for row, label in zip(X.tolist(), Y)]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress((tmp_path / "rows.csv").read_bytes()))
    return tmp_path / "rows.csv"


@pytest.fixture
def table():
    pa = pytest.importorskip("pyarrow")
    return pa.table({name: X[:, i] for i, name in enumerate("abcd")} | {"colour": Y})


# ---- what is learned


def test_an_iterable_is_learned_as_fit_batch_does():
    streamed = classifier().fit_stream(batches())
    np.testing.assert_array_equal(streamed.centroids, loop(classifier()).centroids)
    np.testing.assert_array_equal(streamed.centroid_labels, loop(classifier()).centroid_labels)
    assert streamed.classes_.tolist() == ["blue", "green", "red"]
    assert streamed.n_features_in_ == 4


def test_a_large_batch_goes_in_pieces_of_batch_size():
    pieces = classifier()
    for begin in range(0, 600, 64):
        pieces.fit_batch(X[begin : begin + 64], Y[begin : begin + 64])
    whole = classifier().fit_stream([(X, Y)])
    np.testing.assert_array_equal(whole.centroids, pieces.centroids)


def test_files_tables_and_arrays_give_the_same_bits(csv, table):
    from_file = classifier().fit_stream(csv, target="colour", epochs=2)
    for source in (str(csv), csv.with_suffix(".csv.gz")):
        other = classifier().fit_stream(source, target=4, epochs=2)
        np.testing.assert_array_equal(other.centroids, from_file.centroids)
    for source in (table, table.slice(0)):
        other = classifier().fit_stream(source, target="colour", epochs=2)
        np.testing.assert_array_equal(other.centroids, from_file.centroids)
        assert other.feature_names_in_.tolist() == from_file.feature_names_in_.tolist() == list("abcd")
    assert from_file.score(X, Y) > 0.7


def test_polars_and_readers(table):
    pl = pytest.importorskip("polars")
    expected = classifier().fit_stream(table, target="colour")
    for source in (pl.from_arrow(table), table.to_reader(max_chunksize=7)):
        model = classifier().fit_stream(source, target="colour")
        np.testing.assert_array_equal(model.centroids, expected.centroids)


def test_gradient_steps():
    model = classifier(soft_type="softmax_scaled").fit(X, Y)
    before = model.score(X, Y)
    model.fit_stream(lambda: batches(), epochs=20, gradient_step=True)
    assert model.score(X, Y) > before
    assert model.optimizer.steps == 20 * 12


def test_weights_and_masks():
    weight = draw.random(600).astype(np.float32)
    mask = (draw.random(X.shape) > 0.2).astype(np.float32)
    streamed = classifier().fit_stream([(X[:60], Y[:60], weight[:60], mask[:60])])
    single = classifier()
    single.fit_batch(X[:60], Y[:60], weight[:60], mask[:60])
    np.testing.assert_array_equal(streamed.centroids, single.centroids)
    np.testing.assert_array_equal(streamed.centroid_feature_weights, single.centroid_feature_weights)


def test_sparse_rows():
    rows = sp.csr_matrix(np.maximum(X, 0))
    streamed = classifier(distance="cosine").fit_stream([(rows[:300], Y[:300]), (rows[300:], Y[300:])])
    by_hand = classifier(distance="cosine", batch_size=64)
    for part in (slice(0, 300), slice(300, 600)):
        for begin in range(part.start, part.stop, 64):
            end = min(begin + 64, part.stop)
            by_hand.fit_batch(rows[begin:end], Y[begin:end])
    np.testing.assert_array_equal(streamed.centroids, by_hand.centroids)


def test_every_task(table):
    clusters = FastKMeansClusterer(**SETTINGS).fit_stream(X[i : i + 60] for i in range(0, 600, 60))
    assert clusters.predict(X).max() == 2
    numbers = FastKMeansRegressor(k_targets=4, k_features=2, distance="euclidean").fit_stream([(X, X[:, 0])])
    assert numbers.predict(X).shape == (600,) and numbers.score(X, X[:, 0]) > 0.5
    tags = FastMultiLabelKMeansClassifier(**SETTINGS).fit_stream([(X, X[:, :3] > 0)])
    assert tags.predict(X).shape == (600, 3)
    regressor = FastKMeansRegressor(k_targets=4, k_features=2, distance="euclidean")
    regressor.fit_stream(table.drop_columns("colour"), target=["a", "b"])
    assert regressor.predict(X[:, 2:]).shape == (600, 2)


def test_torch_in_torch_out():
    torch = pytest.importorskip("torch")
    model = classifier().fit_stream([(torch.from_numpy(X), torch.arange(600) % 3)])
    assert isinstance(model.centroids, torch.Tensor)


def test_labels_stay_what_they_were():
    model = classifier().fit_stream([(X, np.arange(600) % 3 - 7)])
    assert model.classes_.tolist() == [-7, -6, -5]
    model.fit_stream([(X[:9], np.full(9, 40))])
    assert model.classes_.tolist() == [-7, -6, -5, 40]


def test_k_list_by_name(csv):
    for source, target in ((csv, "colour"), (batches(), None)):
        model = classifier(k_list={"green": 5}, min_weight=0).fit_stream(source, target)
        counts = dict(zip(*np.unique(model.centroid_labels, return_counts=True)))
        assert counts == {"blue": 3, "green": 5, "red": 3}


# ---- going on


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "table", "function", "list"])
def test_after_a_crash_the_end_is_the_same_bit_for_bit(kind, csv, table, tmp_path):
    source = {
        "csv": csv,
        "csv.gz": csv.with_suffix(".csv.gz"),
        "table": table,
        "function": batches,
        "list": list(batches()),
    }[kind]
    target = None if kind in ("function", "list") else "colour"
    undisturbed = classifier().fit_stream(source, target, epochs=3, checkpoint=tmp_path / "whole.fkm")

    seen = []

    def crash(progress):
        seen.append(progress["rows"])
        if len(seen) == 17:
            raise ConnectionError("the plug was pulled")

    checkpoint = tmp_path / "broken.fkm"
    with pytest.raises(ConnectionError, match="plug"):
        classifier().fit_stream(
            source, target, epochs=3, checkpoint=checkpoint, checkpoint_batches=3, callbacks=crash
        )
    again = fast_kmeans.load(checkpoint)
    again.fit_stream(source, target, epochs=3, checkpoint=checkpoint, checkpoint_batches=3, resume=True)
    np.testing.assert_array_equal(again.centroids, undisturbed.centroids)
    np.testing.assert_array_equal(again.classes_, undisturbed.classes_)
    assert fast_kmeans.load(checkpoint).predict(X).tolist() == undisturbed.predict(X).tolist()


def test_resume_never_replaces_a_checkpoint_by_a_beginner(tmp_path):
    checkpoint = tmp_path / "long.fkm"
    classifier().fit_stream(batches, epochs=2, checkpoint=checkpoint, resume=True)  # nothing is there yet
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=r"resume=True.*long\.fkm.*fast_kmeans\.load"):
        classifier().fit_stream(batches, checkpoint=checkpoint, resume=True)
    assert checkpoint.read_bytes() == before


def test_options_of_files_are_checked_by_name(tmp_path):
    with pytest.raises(TypeError, match="fit_stream.*'sep'.*format, header, index_base, n_cols"):
        classifier().fit_stream(tmp_path / "rows.csv", target="label", sep=";")
    with pytest.raises(ValueError, match="format is 'parquet'; valid: auto, csv, tsv, libsvm, npy"):
        classifier().fit_stream(tmp_path / "rows.csv", target="label", format="parquet")


def test_a_checkpoint_in_the_middle_knows_the_names(tmp_path):
    models = []

    def look(progress):
        if progress["step"] == 5:
            models.append(fast_kmeans.load(tmp_path / "middle.fkm"))

    classifier().fit_stream(batches, checkpoint=tmp_path / "middle.fkm", checkpoint_batches=1, callbacks=look)
    assert models[0].classes_.tolist() == ["blue", "green", "red"]


def test_a_callback_stops_the_stream_with_a_usable_model():
    model = classifier().fit_stream(batches(), callbacks=lambda progress: progress["step"] == 3)
    assert model.centroid_weights.sum() == pytest.approx(150 + 0, rel=0.1)
    assert model.score(X, Y) > 0.5


def test_batches_before_an_error_stay_learned():
    def failing():
        yield X[:50], Y[:50]
        yield X[50:100, :3], Y[50:100]

    model = classifier()
    with pytest.raises(ValueError, match="3.*4"):
        model.fit_stream(failing())
    expected = classifier()
    expected.fit_batch(X[:50], Y[:50])
    np.testing.assert_array_equal(model.centroids, expected.centroids)


# ---- what is refused


def test_what_cannot_be_read_again_says_so_before_anything_is_learned():
    model = classifier()
    with pytest.raises(NotImplementedError, match="generator, can be read only once"):
        model.fit_stream(batches(), epochs=2)
    assert not hasattr(model, "centroids")
    model.fit_stream(batches())


@pytest.mark.parametrize("index", [None, "shuffled", "named"])
def test_the_index_of_a_frame_is_no_column(index):
    pandas, arrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    rows = pandas.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])]).assign(y=Y)
    if index is not None:
        rows.index = pandas.Index(np.arange(len(rows))[::-1] * 1000, name=None if index == "shuffled" else index)
    for epochs in (1, 2):
        model = classifier().fit_stream(rows, target="y", epochs=epochs)
        assert model.feature_names_in_.tolist() == [f"x{i}" for i in range(X.shape[1])]
        table = arrow.Table.from_pandas(rows, preserve_index=False)
        expected = classifier().fit_stream(table, target="y", epochs=epochs)
        np.testing.assert_array_equal(model.centroids, expected.centroids)


def test_frames_in_a_stream_have_names_that_stay():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    model = classifier().fit_stream([(frame[:300], Y[:300]), (X[300:], Y[300:])])
    assert model.feature_names_in_.tolist() == list(frame.columns)
    turned = frame[frame.columns[::-1]]
    before = model.centroids
    for other in (model, classifier()):
        with pytest.raises(ValueError, match="the source yields the columns .* before, they were"):
            other.fit_stream([(frame[:9], Y[:9]), (turned, Y)] if other is not model else [(turned, Y)])
    np.testing.assert_array_equal(model.centroids, before)


@pytest.mark.parametrize(
    "source, more, error, words",
    [
        (42, {}, TypeError, "int"),
        ([{"x": X, "y": Y}], {}, TypeError, r"yields a dict; it must be \(X, y\)"),
        ([(X, Y)], {"epochs": "2"}, TypeError, "epochs is '2'; it must be an integer"),
        ([], {}, ValueError, "no batches"),
        ([(X, Y, None, None, None)], {}, ValueError, "5"),
        ([(X, Y)], {"target": "y"}, ValueError, "target"),
        ([(X, Y)], {"header": 1}, ValueError, "header"),
        ("/no/such/file.csv", {"target": "y"}, OSError, "no/such"),
        ([(X, Y)], {"epochs": 0}, ValueError, "epochs"),
        ([(X[:, :0], Y)], {}, ValueError, "0"),
        ([(X, Y[:-1])], {}, ValueError, "599"),
    ],
)
def test_wrong_sources_are_refused(source, more, error, words):
    model = classifier()
    with pytest.raises(error, match=words):
        model.fit_stream(source, **more)
    assert not hasattr(model, "centroids")


def test_the_batch_at_fault_is_told():
    rounds = []

    def second_round_fails():
        rounds.append(True)
        yield X[:300], Y[:300]
        yield X, Y if len(rounds) == 1 else Y[:-1]

    model = classifier().fit_stream([(X, Y)])
    with pytest.raises(ValueError) as caught:
        model.fit_stream(second_round_fails, epochs=2)
    assert caught.value.__notes__ == ["in batch 2 of the source"]


def test_text_labels_after_numbers_are_refused(csv):
    model = classifier().fit(X, np.arange(600) % 3)
    before = model.centroids
    with pytest.raises(ValueError, match="text"):
        model.fit_stream(csv, target="colour")
    np.testing.assert_array_equal(model.centroids, before)


def test_gradient_steps_need_phase_1():
    with pytest.raises(ValueError, match="not fitted"):
        classifier().fit_stream(batches(), gradient_step=True)
