# SPDX-License-Identifier: Apache-2.0
"""Sources: files, Arrow streams of real producers, iterators over batches; and models that learn from them."""

import collections
import gc
import itertools
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from core_objects import CONTEXT, HERE, TASKS, array, batch, rows, run_python, targets, unfitted
from fast_kmeans import _core

pa = pytest.importorskip("pyarrow")
Source, Batch = _core.Source, _core.Batch


def everything(source, max_rows=7):
    """All rows of a source: one array for each of its parts, lists of tags."""
    parts = collections.defaultdict(list)
    while (given := source.next(max_rows)) is not None:
        for name, value in given.items():
            if name == "tags" and value is not None:
                indptr, tags, _ = value
                parts["tags"] += [list(tags[a:b]) for a, b in itertools.pairwise(indptr)]
            elif name == "csr" and value is not None:
                values, indptr, indices, n_cols = value
                dense = np.zeros((len(indptr) - 1, n_cols))
                for i, (a, b) in enumerate(itertools.pairwise(indptr)):
                    dense[i, list(indices[a:b])] = values[a:b]
                parts["csr"].append(dense)
            elif isinstance(value, memoryview):
                parts[name].append(np.asarray(value))
        n = len(given["x"] if given["x"] is not None else given["csr"][1]) - (given["x"] is None)
        assert 1 <= n <= max_rows
        if "mask" in parts and given["mask"] is None:
            parts["mask"].append(np.ones(np.shape(given["x"]), np.float32))
    return {name: part if name == "tags" else np.concatenate(part) for name, part in parts.items()}


def pieces(task, sizes, n=60, dim=4):
    """The same rows always, as batches of these sizes."""
    x, more = rows(n, dim), targets(task, n)
    at = 0
    for size in itertools.cycle(sizes):
        end = min(at + size, n)
        part = {name: value[at:end] for name, value in more.items() if name != "tags"}
        if "tags" in more:
            indptr, tags, n_tags = more["tags"]
            part["tags"] = (indptr[at : end + 1] - indptr[at], tags[indptr[at] : indptr[end]], n_tags)
        yield Batch(x[at:end], **part)
        at = end
        if at == n:
            return


# ---- files


def test_a_csv_file(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,kind,b,w\n1,cat,2,1\n,dog,4,0.5\n5,\u00e9l\u00e9phant,6,2\n")
    source = Source.open(str(path), task="classifier", target="kind", weight="w", dtype="float64")
    assert source.tell() == "csv 11 2"
    first = source.next(2)
    assert first["dtype"] == "float64" and first["csr"] is None and first["tags"] is None and first["targets"] is None
    assert first["x"].tolist() == [[1, 2], [0, 4]] and first["mask"].tolist() == [[1, 1], [0, 1]]
    assert first["labels"].tolist() == [0, 1] and first["weight"].tolist() == [1, 0.5]
    assert source.class_names() == ["cat", "dog"]
    place = source.tell()
    assert source.next(2)["x"].tolist() == [[5, 6]] and source.next(2) is None
    assert first["x"].tolist() == [[1, 2], [0, 4]]  # what was given stays
    assert source.class_names() == ["cat", "dog", "\u00e9l\u00e9phant"]
    assert [source.column_name(i) for i in (0, 1, 2, -1)] == ["a", "b", None, None]
    assert source.note() == "header: yes; 2 feature columns"
    source.seek(place)
    assert source.next(9)["labels"].tolist() == [2]
    source.seek()
    assert source.next(9)["x"].shape == (3, 2)
    known = Source.open(str(path), task="classifier", target="kind", class_names=["dog", "fish"])
    assert known.next(3)["x"].shape == (3, 3) and known.class_names() == ["dog", "fish", "cat", "\u00e9l\u00e9phant"]


def test_other_files(tmp_path):
    path = tmp_path / "rows.svm"
    path.write_text("1,3 1:0.5 4:2\n 2:1\n0 3:1\n")
    source = Source.open(str(path), task="multilabel", index_base=1)
    given = source.next(3)
    values, indptr, indices, n_cols = given["csr"]
    assert (values.tolist(), indptr.tolist(), indices.tolist(), n_cols) == (
        [0.5, 2, 1, 1],
        [0, 2, 3, 4],
        [0, 3, 1, 2],
        4,
    )
    assert [list(part) for part in given["tags"][:2]] == [[0, 2, 2, 3], [1, 3, 0]] and given["tags"][2] == 4
    assert given["x"] is None and given["mask"] is None
    (tmp_path / "rows.data").write_text("1\t2\n3\t4\n")
    assert Source.open(str(tmp_path / "rows.data"), task="clusterer", format="tsv").next(5)["x"].tolist() == [
        [1, 2],
        [3, 4],
    ]
    for dtype, name in ("f2", "float16"), ("f4", "float32"), ("f8", "float64"):
        x = rows(5).astype(dtype)
        np.save(tmp_path / "x.npy", x)
        np.save(tmp_path / "y.npy", np.arange(10.0).reshape(5, 2))
        source = Source.open(str(tmp_path / "x.npy"), task="regressor", target=str(tmp_path / "y.npy"))
        given = source.next(4)
        assert given["dtype"] == name
        seen = np.asarray(given["x"])
        np.testing.assert_array_equal(seen.view(dtype), x[:4])
        np.testing.assert_array_equal(given["targets"], np.arange(8.0).reshape(4, 2))


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({}, TypeError, "task"),
        ({"task": "classify"}, ValueError, "task is 'classify'; valid: clusterer, classifier, multilabel, regressor"),
        ({"task": "clusterer", "format": "xls"}, ValueError, "format is 'xls'; valid: auto, csv"),
        ({"task": "clusterer", "missing": "drop"}, ValueError, "missing is 'drop'; valid: error, mask"),
        ({"task": "clusterer", "dtype": "float16"}, ValueError, "dtype is 'float16'; valid: float32, float64"),
        ({"task": "clusterer", "header": 3}, ValueError, "header is 3"),
        ({"task": "clusterer", "target": 3}, TypeError, "int"),
        ({"task": "clusterer", "class_names": "abc"}, TypeError, "class_names is one text"),
        ({"task": "clusterer", "class_names": 3}, TypeError, "int"),
        ({"task": "clusterer", "class_names": ["a", 3]}, TypeError, "class_names holds 3"),
        ({"task": "clusterer", "class_names": ["a", "b\0"]}, ValueError, "null character"),
        ({"task": "clusterer", "class_names": ["a", "a"]}, ValueError, '"a" twice'),
        ({"task": "classifier", "target": "nope"}, ValueError, 'no column is named "nope"'),
        ({"task": "clusterer", "colour": 3}, TypeError, "colour"),
    ],
)
def test_options_that_are_refused(tmp_path, options, error, words):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(error, match=words):
        Source.open(str(path), **options)


def test_files_that_fail(tmp_path):
    with pytest.raises(OSError, match="nothing-here.csv"):
        Source.open(str(tmp_path / "nothing-here.csv"), task="clusterer")
    with pytest.raises(ValueError, match="cannot tell the format"):
        (tmp_path / "rows").write_text("1,2\n")
        Source.open(str(tmp_path / "rows"), task="clusterer")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n3,4\n5,oops\n")
    source = Source.open(str(tmp_path / "bad.csv"), task="clusterer")
    assert source.next(10)["x"].shape == (2, 2)
    with pytest.raises(ValueError, match='line 4: column 1 .b.: "oops" is not a finite number'):
        source.next(10)
    for max_rows in 0, -1:
        with pytest.raises(ValueError, match="max_rows is"):
            source.next(max_rows)
    with pytest.raises(ValueError, match="not a position of a csv source"):
        source.seek("arrow 3")
    with pytest.raises(TypeError):
        Source()


# ---- Arrow streams

N = 50
NUMBERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"]


def number_columns():
    random = np.random.default_rng(5)
    return {name: random.integers(0, 100, N).astype(name) for name in NUMBERS} | {"bool": random.integers(0, 2, N) > 0}


def check_numbers(source, columns, dtype):
    given = everything(source)
    assert given["x"].dtype == dtype and "mask" not in given
    np.testing.assert_array_equal(given["x"], np.column_stack([c.astype(dtype) for c in columns.values()]))
    assert [source.column_name(i) for i in range(len(columns))] == list(columns)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_of_pyarrow(dtype):
    columns = number_columns()
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    check_numbers(Source.from_arrow(table, task="clusterer", dtype=dtype), columns, dtype)
    part = {name: values[7:31] for name, values in columns.items()}
    check_numbers(Source.from_arrow(table.slice(7, 24), task="clusterer", dtype=dtype), part, dtype)
    batches = table.to_batches(max_chunksize=9)
    reader = pa.RecordBatchReader.from_batches(table.schema, iter(batches))
    check_numbers(Source.from_arrow(reader, task="clusterer", dtype=dtype), columns, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_of_polars(dtype):
    pl = pytest.importorskip("polars")
    columns = {name: values for name, values in number_columns().items() if name != "float16"}
    frame = pl.DataFrame(columns)
    check_numbers(Source.from_arrow(frame, task="clusterer", dtype=dtype), columns, dtype)
    part = {name: values[7:31] for name, values in columns.items()}
    check_numbers(Source.from_arrow(frame[7:31], task="clusterer", dtype=dtype), part, dtype)
    chunked = pl.concat([frame[:20], frame[20:]], rechunk=False)
    check_numbers(Source.from_arrow(chunked, task="clusterer", dtype=dtype), columns, dtype)


def test_numbers_of_pandas():
    pd = pytest.importorskip("pandas")
    columns = {name: values for name, values in number_columns().items() if name != "float16"}
    frame = pd.DataFrame(columns)
    if not hasattr(frame, "__arrow_c_stream__"):
        pytest.skip("this pandas exports no streams")
    check_numbers(Source.from_arrow(frame, task="clusterer"), columns, "float32")
    frame = pd.DataFrame(
        {"a": [1, None, 3], "b": pd.array([4, 5, None], dtype="Int64"), "k": pd.Categorical(list("xyx"))}
    )
    source = Source.from_arrow(frame, task="classifier", target="k")
    given = source.next(5)
    assert given["x"].tolist() == [[1, 4], [0, 5], [3, 0]] and given["mask"].tolist() == [[1, 1], [0, 1], [1, 0]]
    assert given["labels"].tolist() == [0, 1, 0] and source.class_names() == ["x", "y"]


def test_missing_values_of_streams():
    x = np.arange(40.0).reshape(20, 2)
    holes = np.random.default_rng(2).random((20, 2)) < 0.3
    nulls = pa.table([pa.array(x[:, j], mask=holes[:, j]) for j in range(2)], names=["a", "b"])
    nans = pa.table([pa.array(np.where(holes[:, j], np.nan, x[:, j])) for j in range(2)], names=["a", "b"])
    for table in nulls, nulls.slice(0, 20), nans:
        given = everything(Source.from_arrow(table, task="clusterer"))
        np.testing.assert_array_equal(given["mask"], (~holes).astype("f4"))
        np.testing.assert_array_equal(given["x"], np.where(holes, 0, x).astype("f4"))
        row, column = np.argwhere(holes)[0]
        with pytest.raises(ValueError, match=rf"row {row}: column {column} \({'ab'[column]}\): the value is missing"):
            everything(Source.from_arrow(table, task="clusterer", missing="error"))


LABELS = ["b", "a name of more than twelve bytes", "b", "\u00e9", "a name of more than twelve bytes"] * 7


@pytest.mark.parametrize(
    "kind", ["string", "large_string", "string_view", "dictionary", "large dictionary", "polars", "categorical", "enum"]
)
def test_texts_are_labels(kind):
    if kind in ("polars", "categorical", "enum"):
        pl = pytest.importorskip("polars")
        dtype = {"polars": pl.String, "categorical": pl.Categorical, "enum": pl.Enum(sorted(set(LABELS)))}[kind]
        table = pl.DataFrame({"x": range(len(LABELS)), "y": pl.Series(LABELS, dtype=dtype)})
    else:
        types = {
            "dictionary": pa.dictionary(pa.int8(), pa.string()),
            "large dictionary": pa.dictionary(pa.int64(), pa.large_string()),
        }
        table = pa.table({"x": range(len(LABELS)), "y": pa.array(LABELS, pa.string())})
        table = table.set_column(1, "y", pa.array(LABELS, types.get(kind) or getattr(pa, kind)()))
    for part in table, table[3:20]:
        source = Source.from_arrow(part, task="classifier", target="y")
        given, names = everything(source), source.class_names()
        wanted = LABELS if part is table else LABELS[3:20]
        assert [names[label] for label in given["labels"]] == wanted
        assert names == list(dict.fromkeys(wanted))  # in order of appearance


def test_integers_are_labels():
    table = pa.table({"x": [1.0, 2, 3], "y": [7, -3, 7]})
    source = Source.from_arrow(table, task="classifier", target="y")
    assert source.next(9)["labels"].tolist() == [7, -3, 7] and source.class_names() == []
    source = Source.from_arrow(table, task="classifier", target="y", class_names=["-3"])
    assert source.next(9)["labels"].tolist() == [1, 0, 1] and source.class_names() == ["-3", "7"]


def test_lists_of_tags_and_of_features():
    tags = [[3, 1], [], [0], [2, 3]]
    x = np.arange(12, dtype=np.float32)
    features = pa.FixedSizeListArray.from_arrays(pa.array(x), 3)
    tables = [pa.table({"x": features, "tags": pa.array(tags, pa.list_(t))}) for t in (pa.int64(), pa.uint8())]
    tables.append(pa.table({"x": features, "tags": pa.array(tags, pa.large_list(pa.int32()))}))
    if pl := sys.modules.get("polars"):
        tables.append(pl.DataFrame({"x": pl.Series(x.reshape(4, 3), dtype=pl.Array(pl.Float32, 3)), "tags": tags}))
    for table in tables:
        given = everything(Source.from_arrow(table, task="multilabel", target="tags"), 3)
        np.testing.assert_array_equal(given["x"], x.reshape(4, 3))
        assert given["tags"] == [[1, 3], [], [0], [2, 3]]
        given = everything(Source.from_arrow(table[1:], task="multilabel", target="tags"), 3)
        np.testing.assert_array_equal(given["x"], x.reshape(4, 3)[1:])
        assert given["tags"] == [[], [0], [2, 3]]
    named = pa.table({"x": features, "tags": [["rock", "jazz"], [], ["pop"], ["jazz"]]})
    source = Source.from_arrow(named, task="multilabel", target="tags")
    assert everything(source)["tags"] == [[0, 1], [], [2], [1]] and source.class_names() == ["rock", "jazz", "pop"]


def test_targets_of_streams():
    y = np.arange(8.0).reshape(4, 2)
    table = pa.table(
        {
            "x": [1.0, 2, 3, 4],
            "u": y[:, 0],
            "v": y[:, 1],
            "y": pa.FixedSizeListArray.from_arrays(pa.array(y.ravel()), 2),
        }
    )
    given = everything(Source.from_arrow(table.select(["x", "u", "v"]), task="regressor", target="u,v"))
    np.testing.assert_array_equal(given["targets"], y)
    given = everything(Source.from_arrow(table.select(["x", "y"]), task="regressor", target="y"))
    np.testing.assert_array_equal(given["targets"], y)
    given = everything(Source.from_arrow(table.select(["x", "u"]), task="clusterer", weight="u"))
    np.testing.assert_array_equal(given["weight"], y[:, 0])


def test_what_streams_refuse():
    table = pa.table({"a": [1.0], "when": pa.array([0], pa.date32()), "k": pa.array(["x"]).dictionary_encode()})
    with pytest.raises(ValueError, match=r"column 1 \(when\): type date cannot be a feature"):
        Source.from_arrow(table, task="classifier", target="k")
    with pytest.raises(ValueError, match=r"column 1 \(k\): type dictionary of utf8 cannot be a feature"):
        Source.from_arrow(table.select(["a", "k"]), task="clusterer")
    with pytest.raises(ValueError, match=r"type float64 cannot be a classifier's target"):
        Source.from_arrow(pa.table({"a": [1.0], "b": [2.0]}), task="classifier", target="a")
    with pytest.raises(ValueError, match="holds one column of type float64; rows come from record batches"):
        Source.from_arrow(table["a"], task="clusterer")
    for nothing in None, 3, rows(), object():
        with pytest.raises(TypeError, match="stream must have __arrow_c_stream__"):
            Source.from_arrow(nothing, task="clusterer")
    with pytest.raises(TypeError, match="no capsule of the name 'arrow_array_stream'"):
        Source.from_arrow(table.schema.__arrow_c_schema__(), task="clusterer")

    class Odd:
        def __arrow_c_stream__(self):
            return self.what

    with pytest.raises(AttributeError, match="what"):
        Source.from_arrow(Odd(), task="clusterer")
    Odd.what = 5
    with pytest.raises(TypeError, match="5 is no capsule"):
        Source.from_arrow(Odd(), task="clusterer")


def test_a_capsule_is_used_once():
    table = pa.table({"a": [1.0, 2.0]})
    capsule = table.__arrow_c_stream__()
    source = Source.from_arrow(capsule, task="clusterer")
    with pytest.raises(ValueError, match="released already"):
        Source.from_arrow(capsule, task="clusterer")
    with pytest.raises(Exception):
        pa.RecordBatchReader._import_from_c_capsule(capsule)
    del capsule, table
    gc.collect()
    assert source.next(5)["x"].tolist() == [[1], [2]]
    capsule = pa.table({"a": ["text"]}).__arrow_c_stream__()
    with pytest.raises(ValueError, match="cannot be a feature"):
        Source.from_arrow(capsule, task="clusterer")
    with pytest.raises(ValueError, match="released already"):  # also when opening fails
        Source.from_arrow(capsule, task="clusterer")


def test_streams_are_released():
    before = pa.total_allocated_bytes()
    table = pa.table({"a": pa.array(rows(20000, 1)[:, 0].tolist())})
    reader = pa.RecordBatchReader.from_batches(table.schema, iter(table.to_batches(1000)))
    source = Source.from_arrow(reader, task="clusterer")
    source.next(10)
    del table, reader
    assert pa.total_allocated_bytes() > before
    del source
    gc.collect()
    assert pa.total_allocated_bytes() == before


def test_a_stream_goes_forward_only():
    x = rows(40)
    table = pa.table({f"c{j}": x[:, j] for j in range(4)})
    source = Source.from_arrow(table, task="clusterer")
    source.seek()
    source.next(15)
    assert source.tell() == "arrow 15"
    source.seek("arrow 15")
    with pytest.raises(NotImplementedError, match="cannot be read twice: at row 15, asked for row 0"):
        source.seek()
    source.seek("arrow 30")
    np.testing.assert_array_equal(source.next(100)["x"], x[30:])
    source = Source.from_arrow(table, task="clusterer")
    with pytest.raises(ValueError, match=r"row 41 lies beyond the end of the Arrow stream \(40 rows\)"):
        source.seek("arrow 41")
    model = unfitted("clusterer", batch_size="10")
    with pytest.raises(NotImplementedError, match="cannot be read twice"):
        model.fit_source(Source.from_arrow(table, task="clusterer"), epochs=2)


def test_errors_in_the_middle_of_a_stream():
    schema = pa.schema({"a": pa.float64()})

    def batches():
        yield pa.record_batch([pa.array([1.0, 2.0])], schema)
        yield pa.record_batch([pa.array([3.0])], schema)
        raise RuntimeError("the disk has melted")

    source = Source.from_arrow(pa.RecordBatchReader.from_batches(schema, batches()), task="clusterer")
    assert source.next(10)["x"].tolist() == [[1], [2], [3]]
    for _ in range(2):
        with pytest.raises(OSError, match="the Arrow stream: .*the disk has melted"):
            source.next(10)
    assert source.tell() == "arrow 3"


# ---- iterators over batches


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("sizes", [[60], [1], [25, 3], [7]])
def test_batches_go_out_in_pieces(task, sizes):
    x, more = rows(), targets(task)
    given = everything(Source.from_batches(lambda: pieces(task, sizes)), 10)
    np.testing.assert_array_equal(given["x"], x)
    if task == "multilabel":
        assert given["tags"] == [[i % 4] for i in range(60)]
    else:
        for name, value in more.items():
            np.testing.assert_array_equal(given[name], value)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_dense_batches_of_any_kind(dtype):
    wide = np.arange(30 * 9, dtype=dtype).reshape(30, 9)
    weight, mask = np.arange(30, dtype=np.float32), (np.arange(90).reshape(30, 3) % 4 > 0).astype(np.float32)
    source = Source.from_batches(lambda: iter([Batch(wide[:, 2:5], weight=weight, mask=mask)] * 2))
    for start in 0, 30:
        for at in 0, 8, 16, 24:
            given = source.next(8)
            part = slice(at, min(at + 8, 30))
            np.testing.assert_array_equal(np.asarray(given["x"]).view(dtype), wide[part, 2:5])
            np.testing.assert_array_equal(given["weight"], weight[part])
            np.testing.assert_array_equal(given["mask"], mask[part])
            assert source.tell() == f"batches {start + part.stop}"
    assert source.next(8) is None and source.next(8) is None


def test_sparse_batches():
    sparse = pytest.importorskip("scipy.sparse")
    x = sparse.random(50, 12, 0.2, "csr", np.float64, random_state=3)
    parts = (x.data, x.indptr.astype(np.int64), x.indices.astype(np.int32), 12)
    tags = (np.arange(51, dtype=np.int64) * 2, np.arange(100, dtype=np.int32) % 7, 7)
    given = everything(Source.from_batches(lambda: iter([Batch(csr=parts, tags=tags)])), 13)
    np.testing.assert_array_equal(given["csr"], x.toarray())
    assert given["tags"] == [[2 * i % 7, (2 * i + 1) % 7] for i in range(50)]
    empty = (np.empty(0), np.zeros(4, np.int64), np.empty(0, np.int32), 5)
    given = Source.from_batches(lambda: iter([Batch(csr=empty)])).next(9)
    assert [list(part) for part in given["csr"][:3]] == [[], [0, 0, 0, 0], []] and given["csr"][3] == 5


def test_offsets_that_lie():
    offsets = np.array([0, 2, 3, 4], np.int64)
    b = Batch(csr=(np.ones(4), offsets, np.array([0, 1, 0, 1], np.int32), 2))
    for at, lie in (1, -(10**12)), (1, 4), (2, 1), (2, 99), (3, 2), (3, 99), (3, -1):
        source = Source.from_batches(lambda: iter([b]))
        offsets[:] = 0, 2, 3, 4
        source.next(1)
        offsets[at] = lie
        with pytest.raises(ValueError, match="indptr"):
            source.next(1)


def test_learning_from_batches_is_learning_batch_by_batch():
    for task in TASKS:
        by_hand, streamed = (unfitted(task, batch_size="20", finetune_batch_size="16") for _ in range(2))
        for part in pieces(task, [20]):
            by_hand.fit_batch(part)
        streamed.fit_source(Source.from_batches(lambda task=task: pieces(task, [40, 20])))
        for name in "centroids", "centroid_weights":
            np.testing.assert_array_equal(array(by_hand, name), array(streamed, name))
        for part in pieces(task, [16]):
            by_hand.gradient_step(part)
        streamed.fit_source(Source.from_batches(lambda task=task: pieces(task, [48, 12])), gradient_step=True)
        np.testing.assert_array_equal(array(by_hand, "centroids"), array(streamed, "centroids"))


def test_every_source_of_the_same_rows_learns_the_same(tmp_path):
    x, y = rows(), targets("classifier")["labels"]
    columns = {f"c{j}": x[:, j] for j in range(4)} | {"y": y}
    table = pa.table(columns)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    reader = pa.RecordBatchReader.from_batches(table.schema, iter(table.to_batches(max_chunksize=11)))
    sources = [
        Source.from_batches(lambda: pieces("classifier", [20])),
        Source.from_arrow(table, task="classifier", target="y"),
        Source.from_arrow(reader, task="classifier", target="-1"),
        Source.open(str(tmp_path / "x.npy"), task="classifier", target=str(tmp_path / "y.npy")),
    ]
    files = []
    for source in sources:
        model = unfitted("classifier", batch_size="20")
        model.fit_source(source)
        files.append(model.to_bytes())
    assert len(set(files)) == 1


def test_progress_and_notes():
    seen = []
    model = unfitted("classifier", batch_size="25")
    model.fit_source(Source.from_batches(lambda: pieces("classifier", [60])), epochs=2, progress=seen.append)
    assert [(p["phase"], p["step"], p["epoch"], p["epochs"], p["rows"]) for p in seen] == [
        ("fit", 1, 1, 2, 25), ("fit", 2, 1, 2, 50), ("fit", 3, 1, 2, 60), ("fit", 4, 2, 2, 85), ("fit", 5, 2, 2, 110),
        ("fit", 6, 2, 2, 120),
    ]  # fmt: skip
    assert all(p["shift"] >= 0 and np.isnan(p["loss"]) and p["k"] == 6 for p in seen)
    source = Source.from_arrow(
        pa.table({"x": [1.0, 2, 3, 9], "y": ["b", "a", "b", "a"]}), task="classifier", target="y"
    )
    model = unfitted("classifier")
    model.fit_source(source)
    assert model.note("class_names") == "b\na"


def test_places_in_batches():
    starts = []

    def start():
        starts.append(1)
        return pieces("clusterer", [25])

    x = rows()
    source = Source.from_batches(start)
    assert starts == []
    source.seek()
    assert source.tell() == "batches 0" and starts == []
    source.next(10)
    source.next(10)
    place = source.tell()
    assert place == "batches 20" and starts == [1]
    source.seek(place)
    np.testing.assert_array_equal(source.next(10)["x"], x[20:25])  # on from where it is
    source.seek(place)
    assert starts == [1, 1]
    np.testing.assert_array_equal(source.next(10)["x"], x[20:25])
    source.seek("batches 58")
    np.testing.assert_array_equal(source.next(10)["x"], x[58:])
    assert source.next(10) is None
    source.seek()
    np.testing.assert_array_equal(source.next(99)["x"], x[:25])
    assert len(starts) == 3
    with pytest.raises(ValueError, match=r"row 61 lies beyond the end of the batches \(60 rows\)"):
        source.seek("batches 61")
    for bad in "batches", "batches -1", "batches 1 2", "arrow 1", "batches 99999999999999999999", "batches 0x":
        with pytest.raises(ValueError, match="is not a position in batches"):
            source.seek(bad)


def test_batches_that_start_once():
    source = Source.from_batches(iter([pieces("clusterer", [25])]).__next__, again=False)
    source.seek()
    source.next(10)
    source.seek("batches 10")
    source.seek("batches 30")
    with pytest.raises(NotImplementedError, match="cannot be started again: at row 30, asked for row 0"):
        source.seek()
    assert source.next(99)["x"].shape == (20, 4)
    model = unfitted("clusterer")
    with pytest.raises(NotImplementedError, match="cannot be started again"):
        model.fit_source(Source.from_batches(lambda: pieces("clusterer", [25]), again=False), epochs=2)


def test_empty_and_wrong_iterators():
    model = unfitted("clusterer")
    assert Source.from_batches(lambda: iter([])).next(3) is None
    with pytest.raises(ValueError, match="the source has no rows"):
        model.fit_source(Source.from_batches(list))
    none_at_all = Batch(csr=(np.empty(0), np.zeros(1, np.int64), np.empty(0, np.int32), 4))
    assert Source.from_batches(lambda: iter([none_at_all, batch("clusterer")])).next(99)["x"].shape == (60, 4)
    with pytest.raises(TypeError, match="what the iterator gives must be a Batch, not <class 'numpy.ndarray'>"):
        model.fit_source(Source.from_batches(lambda: iter([rows()])))
    with pytest.raises(TypeError, match="not iterable"):
        model.fit_source(Source.from_batches(lambda: 5))
    with pytest.raises(TypeError, match="start must be callable, not <class 'list'>"):
        Source.from_batches([])
    with pytest.raises(TypeError, match="source must be a Source, not <class 'int'>"):
        model.fit_source(5)
    for wrong in {"epochs": 0}, {"checkpoint_batches": -1}:
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} is"):
            model.fit_source(Source.from_batches(lambda: pieces("clusterer", [9])), **wrong)
    with pytest.raises(TypeError, match="progress must be callable"):
        model.fit_source(Source.from_batches(list), progress=5)
    assert not model.describe()["fitted"]


def test_exceptions_come_out_as_they_are(tmp_path):
    class Melted(Exception):
        pass

    error = Melted("quite", 5)

    def start():
        yield from itertools.islice(pieces("classifier", [20]), 2)
        raise error

    model, learned = unfitted("classifier", batch_size="20"), unfitted("classifier", batch_size="20")
    for part in itertools.islice(pieces("classifier", [20]), 2):
        learned.fit_batch(part)
    source = Source.from_batches(start)
    with pytest.raises(Melted) as caught:
        model.fit_source(source)
    assert caught.value is error and caught.traceback[-1].name == "start"
    np.testing.assert_array_equal(array(model, "centroids"), array(learned, "centroids"))  # what was learned stays
    with pytest.raises(RuntimeError, match="have failed before and were not started again"):
        source.next(5)
    source.seek()
    assert source.next(5)["x"].shape == (5, 4)

    def refuse():
        raise error

    for raising in Source.from_batches(refuse), Source.from_batches(start):
        with pytest.raises(Melted) as caught:
            while True:
                raising.next(60)
        assert caught.value is error


def test_an_interrupt_inside_the_iterator_keeps_a_checkpoint(tmp_path):
    def start():
        yield from itertools.islice(pieces("clusterer", [20]), 2)
        raise KeyboardInterrupt

    path = str(tmp_path / "model")
    model = unfitted("clusterer", batch_size="20")
    with pytest.raises(KeyboardInterrupt):
        model.fit_source(Source.from_batches(start), checkpoint=path)
    resumed = _core.Model.load(CONTEXT, path)
    resumed.fit_source(Source.from_batches(lambda: pieces("clusterer", [20])), resume=True)
    whole = unfitted("clusterer", batch_size="20")
    whole.fit_source(Source.from_batches(lambda: pieces("clusterer", [20])))
    assert resumed.to_bytes() == whole.to_bytes()


def test_batches_live_as_long_as_they_must():
    class Rows(np.ndarray):
        pass

    made = []

    def alive():
        return sum(x() is not None for x in made)

    def start():
        for i in range(4):
            x = rows(10, seed=i).view(Rows)
            made.append(weakref.ref(x))
            b = Batch(x)
            del x
            yield b
            del b

    source = Source.from_batches(start)
    for i in range(4):
        assert alive() == min(i, 1)
        source.next(6)
        source.next(6)
        assert alive() == 1  # until the next call
    assert source.next(6) is None and alive() == 0
    source.seek()
    source.next(6)
    assert alive() == 1
    del source
    gc.collect()
    assert alive() == 0


def test_a_source_in_a_cycle_is_collected():
    class Feed:
        def __init__(self):
            self.source = Source.from_batches(self.start)

        def start(self):
            while True:
                yield Batch(rows(10))

    feed = Feed()
    feed.source.next(4)
    gone = weakref.ref(feed)
    del feed
    gc.collect()
    assert gone() is None


def test_iterators_may_use_the_library():
    other, helper = unfitted("clusterer"), unfitted("classifier")
    model = unfitted("clusterer", batch_size="20")
    errors = []

    def start():
        for part in pieces("clusterer", [20]):
            other.fit_batch(part)
            helper.fit_source(Source.from_batches(lambda: pieces("classifier", [30])))
            for call in (lambda: source.next(5), source.tell, source.class_names, lambda: model.fit_batch(part)):
                with pytest.raises(RuntimeError) as caught:
                    call()
                errors.append(str(caught.value))
            yield part

    source = Source.from_batches(start)
    model.fit_source(source)
    assert len(errors) == 12 and all("in use" in error for error in errors[:3])
    np.testing.assert_array_equal(array(model, "centroids"), array(other, "centroids"))
    assert source.tell() == "batches 60"  # free again


def test_one_thread_at_a_time():
    begun, go_on = threading.Event(), threading.Event()

    def start():
        begun.set()
        assert go_on.wait(30)
        yield from pieces("clusterer", [20])

    source = Source.from_batches(start)
    model = unfitted("clusterer")
    thread = threading.Thread(target=model.fit_source, args=(source,))
    thread.start()
    assert begun.wait(30)
    with pytest.raises(RuntimeError, match="in use by another call"):
        source.next(5)
    with pytest.raises(RuntimeError, match="in use by another call"):
        unfitted("clusterer").fit_source(source)
    go_on.set()
    thread.join()
    assert source.tell() == "batches 60" and model.describe()["fitted"]


# ---- kill and resume

KINDS = ["batches", "one batch", "arrow", "csv"]


def write_rows(folder):
    x, y = rows(300, 3), np.arange(300) * 7 % 5
    lines = ["a,b,c,y"] + [",".join(map(repr, map(float, row))) + f",class {label}" for row, label in zip(x, y)]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return x, y


def source_of(kind, folder, model=None):
    """The rows of write_rows, from a new source; model: with the names of classes that it knows."""
    x, y = rows(300, 3), np.arange(300) * 7 % 5
    if kind == "csv":
        names = model and model.note("class_names")
        return Source.open(
            str(folder / "rows.csv"), task="classifier", target="y", class_names=names and names.split("\n")
        )
    if kind == "arrow":
        table = pa.table({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": [f"class {label}" for label in y]})
        reader = pa.RecordBatchReader.from_batches(table.schema, iter(table.to_batches(max_chunksize=37)))
        return Source.from_arrow(reader, task="classifier", target="y")
    size = 300 if kind == "one batch" else 33
    return Source.from_batches(
        lambda: (Batch(x[a : a + size], labels=y[a : a + size].astype(np.int64)) for a in range(0, 300, size))
    )


def fresh_model():
    return unfitted("classifier", batch_size="32", finetune_batch_size="32")


@pytest.mark.parametrize("gradient_step", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_stopped_anywhere_and_resumed_it_is_the_same_model(tmp_path, kind, gradient_step):
    write_rows(tmp_path)
    epochs = 1 if kind == "arrow" else 2
    begun = fresh_model()
    begun.fit_source(source_of(kind, tmp_path))
    start = begun.copy if gradient_step else fresh_model
    whole = start()
    whole.fit_source(source_of(kind, tmp_path), epochs=epochs, gradient_step=gradient_step)
    path = str(tmp_path / "model")
    for stop in 1, 4, 10, 13:
        model = start()
        try:
            model.fit_source(
                source_of(kind, tmp_path), epochs=epochs, gradient_step=gradient_step, checkpoint=path,
                progress=lambda p, stop=stop: p["step"] == stop,
            )  # fmt: skip
        except _core.InterruptedByCallback:
            pass
        model = _core.Model.load(CONTEXT, path)
        source = source_of(kind, tmp_path, model)
        model.fit_source(source, epochs=epochs, gradient_step=gradient_step, resume=True)
        assert model.to_bytes() == whole.to_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_it_is_the_same_model(tmp_path, kind):
    write_rows(tmp_path)
    whole = fresh_model()
    whole.fit_source(source_of(kind, tmp_path))
    path = str(tmp_path / "model")
    program = f"""
        import os, pathlib
        from test_core_source import *
        model = fresh_model()
        model.fit_source(source_of({kind!r}, pathlib.Path({str(tmp_path)!r})), checkpoint={path!r}, checkpoint_batches=2,
                         progress=lambda p: p["step"] == 5 and os.kill(os.getpid(), signal.SIGKILL))
    """
    with pytest.raises(AssertionError, match=r"status -9"):
        run_python(program)
    model = _core.Model.load(CONTEXT, path)
    assert model.to_bytes() != whole.to_bytes()
    model.fit_source(source_of(kind, tmp_path, model), resume=True)
    assert model.to_bytes() == whole.to_bytes()


# ---- Ctrl-C

SLOW = {
    "an endless list": "Source.from_batches(lambda: itertools.repeat(batch('clusterer')))",
    "empty batches": "Source.from_batches(lambda: itertools.repeat(EMPTY))",
    "a slow generator": "Source.from_batches(lambda: (time.sleep(0.01) or batch('clusterer') for _ in itertools.count()))",
    "a generator that sleeps": "Source.from_batches(lambda: (time.sleep(60) for _ in range(1)))",
    "an Arrow stream": "endless_stream(1)",
    "an Arrow stream of empty batches": "endless_stream(0)",
}


def endless_stream(n):
    schema = pa.schema({"a": pa.float64()})
    empty = pa.record_batch([pa.array([1.0] * n, pa.float64())], schema)
    return Source.from_arrow(pa.RecordBatchReader.from_batches(schema, itertools.repeat(empty)), task="clusterer")


def test_ctrl_c():
    program = f"""
import signal, sys, time
sys.path[:0] = {sys.path!r}
from test_core_source import *
signal.signal(signal.SIGINT, signal.default_int_handler)
EMPTY = Batch(csr=(np.empty(0), np.zeros(1, np.int64), np.empty(0, np.int32), 4))
for text in SLOW.values():
    model = unfitted("clusterer", batch_size="1000000")
    source = eval(text)
    try:
        print("begun", flush=True)
        model.fit_source(source)
    except KeyboardInterrupt:
        print("stopped", time.monotonic(), flush=True)
        print(source.tell(), model.describe()["fitted"], flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=HERE) as process:
        for name in SLOW:
            assert process.stdout.readline() == "begun\n", name
            time.sleep(0.4)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            word, when = process.stdout.readline().split()
            assert word == "stopped" and float(when) - sent < 1.5, name
            assert re.fullmatch(r"(batches|arrow) \d+ (True|False)\n", process.stdout.readline()), name
    assert process.returncode == 0
