# SPDX-License-Identifier: Apache-2.0
"""Arrays in and out of the extension: which are taken, which are refused and why, and that all are given back."""

import array
import ctypes
import gc
import sys
import weakref

import numpy as np
import pytest
from core_objects import CONTEXT, TASKS, answer, batch, fitted, rows, targets, unfitted
from core_objects import array as array_of
from fast_kmeans import _core

NAMES = {"f2": "float16", "f4": "float32", "f8": "float64"}


def labels_of(model, x, **more):
    out = np.empty(len(x), np.int64)
    model.predict_labels(_core.Batch(x, **more), out)
    return out


@pytest.fixture(scope="module")
def clusterer():
    return fitted("clusterer", distance="euclidean")


# ---- rows that are taken


@pytest.mark.parametrize("dtype", NAMES)
def test_dtypes_of_rows(clusterer, dtype):
    x = rows().astype(dtype)
    np.testing.assert_array_equal(labels_of(clusterer, x), labels_of(clusterer, x.astype("f8")))


def test_rows_may_lie_apart(clusterer):
    x = rows(40)
    wide = np.full((40, 9), np.nan, np.float32)
    wide[:, 3:7] = x
    np.testing.assert_array_equal(labels_of(clusterer, wide[:, 3:7]), labels_of(clusterer, x))
    np.testing.assert_array_equal(labels_of(clusterer, x[::3]), labels_of(clusterer, x[::3].copy()))


def test_one_row_and_one_column():
    model = fitted("clusterer", dim=1, distance="euclidean")
    x = rows(10, 5)
    np.testing.assert_array_equal(labels_of(model, x[:, 2:3]), labels_of(model, x[:, 2:3].copy()))
    assert labels_of(model, x[-1:, :1]).shape == (1,)
    assert labels_of(model, x[::-1][:1, :1]).shape == (1,)
    assert labels_of(model, np.asfortranarray(x[:, :1])).shape == (10,)


def test_plain_buffers(clusterer):
    x = rows(5)
    view = memoryview(array.array("f", x.ravel().tolist())).cast("B").cast("f", (5, 4))
    np.testing.assert_array_equal(labels_of(clusterer, view), labels_of(clusterer, x))
    np.testing.assert_array_equal(labels_of(clusterer, x.astype("<f4")), labels_of(clusterer, x))
    readonly = x.copy()
    readonly.flags.writeable = False
    np.testing.assert_array_equal(labels_of(clusterer, readonly), labels_of(clusterer, x))


# ---- rows that are refused


@pytest.mark.parametrize(
    "x, error, words",
    [
        ([[1.0, 2.0]], TypeError, "x must be an array .*not <class 'list'>"),
        (rows().astype("i4"), TypeError, "x has dtype int32; expected float16, bfloat16, float32, float64"),
        (rows().astype(">f4"), TypeError, "x has dtype '>f'"),
        (rows().astype("c8"), TypeError, "x has dtype 'Zf'"),
        (rows() > 0, TypeError, "x has dtype bool"),
        (np.empty((3, 4), object), TypeError, "x has dtype 'O'"),
        (
            np.empty((3, 4), "M8[s]"),
            TypeError,
            "x is <class 'numpy.ndarray'> of a dtype that cannot be borrowed",
        ),
        (b"12345678", TypeError, "x has dtype uint8"),
        (rows()[0], ValueError, r"x has shape \(4,\); expected \(any, any\)"),
        (np.float32(3), ValueError, "x has 0 dimensions"),
        (rows().reshape(5, 12, 4), ValueError, "x has 3 dimensions"),
        (np.asfortranarray(rows()), ValueError, "x has values 60 apart along its last axis"),
        (rows()[:, ::2], ValueError, "x has values 2 apart"),
        (rows()[:, ::-1], ValueError, "x has values -1 apart"),
        (rows()[::-1], ValueError, "x has rows of 4 values that lie -4 apart; pass a contiguous copy"),
        (np.broadcast_to(rows()[0], (9, 4)), ValueError, "x has rows of 4 values that lie 0 apart"),
        (np.lib.stride_tricks.sliding_window_view(np.arange(9, dtype="f4"), 4), ValueError, "lie 1 apart"),
        (np.zeros(3, [("a", "i2"), ("b", "f4", (4,))])["b"], ValueError, "stride of 18 bytes"),
        (
            np.frombuffer(bytes(81), "f4", 20, offset=1).reshape(5, 4),
            ValueError,
            "x is not aligned to its 4-byte",
        ),
    ],
    ids=lambda value: "" if not isinstance(value, str) else value[:24],
)
def test_rows_refused(x, error, words):
    with pytest.raises(error, match=words):
        _core.Batch(x)


@pytest.mark.parametrize(
    "name, value, error, words",
    [
        ("weight", np.ones(60), TypeError, "weight has dtype float64; expected float32"),
        ("weight", np.ones(59, "f4"), ValueError, r"weight has shape \(59,\); expected \(60,\)"),
        ("weight", np.ones((60, 1), "f4"), ValueError, r"weight has shape \(60, 1\); expected \(60,\)"),
        ("weight", np.ones(120, "f4")[::2], ValueError, "weight has values 2 apart"),
        ("weight", np.ones(60, "f4")[::-1], ValueError, "weight has values -1 apart"),
        ("weight", 1.0, TypeError, "weight must be an array"),
        ("mask", np.ones((60, 3), "f4"), ValueError, r"mask has shape \(60, 3\); expected \(60, 4\)"),
        ("mask", np.ones((60, 8), "f4")[:, :4], ValueError, "mask has rows of 4 values that lie 8 apart"),
        ("mask", np.ones((60, 4), bool), TypeError, "mask has dtype bool; expected float32"),
        ("labels", np.ones(60, "i4"), TypeError, "labels has dtype int32; expected int64"),
        ("labels", np.ones(60, "u8"), TypeError, "labels has dtype uint64; expected int64"),
        ("targets", np.ones(60), ValueError, r"targets has shape \(60,\); expected \(60, any\)"),
        ("targets", np.ones((60, 1), "f4"), TypeError, "targets has dtype float32; expected float64"),
        ("tags", [1], TypeError, "tags must be a tuple"),
        ("tags", (1, 2), TypeError, "tags must be"),
        (
            "tags",
            (np.zeros(61, "i8"), np.zeros(0, "i8"), 3),
            TypeError,
            "tags has dtype int64; expected int32",
        ),
        (
            "tags",
            (np.zeros(60, "i8"), np.zeros(0, "i4"), 3),
            ValueError,
            r"tags indptr has shape \(60,\); expected \(61,\)",
        ),
        (
            "tags",
            (np.full(61, 7), np.zeros(6, "i4"), 3),
            ValueError,
            "tags indptr ends at 7, but there are 6 entries",
        ),
    ],
)
def test_what_lies_beside_rows_is_refused(name, value, error, words):
    with pytest.raises(error, match=words):
        _core.Batch(rows(), **{name: value})


def csr(dtype="f4", n=60, dim=4):
    """All values stored."""
    x = rows(n, dim).astype(dtype)
    return x, (
        x.ravel(),
        np.arange(n + 1, dtype=np.int64) * dim,
        np.tile(np.arange(dim, dtype=np.int32), n),
        dim,
    )


@pytest.mark.parametrize("dtype", NAMES)
def test_csr(clusterer, dtype):
    dense, parts = csr(dtype)
    out = np.empty(60, np.int64)
    b = _core.Batch(csr=parts)
    assert (b.n_rows, b.n_cols) == (60, 4)
    clusterer.predict_labels(b, out)
    np.testing.assert_array_equal(out, labels_of(clusterer, dense))


def test_csr_without_values(clusterer):
    out = np.empty(3, np.int64)
    clusterer.predict_labels(
        _core.Batch(csr=(np.empty(0, "f4"), np.zeros(4, "i8"), np.empty(0, "i4"), 4)), out
    )
    np.testing.assert_array_equal(out, labels_of(clusterer, np.zeros((3, 4), "f4")))


@pytest.mark.parametrize(
    "change, error, words",
    [
        ({1: np.zeros(0, "i8")}, ValueError, "csr indptr is empty"),
        ({1: np.array([0, 4], "i4")}, TypeError, "csr indptr has dtype int32; expected int64"),
        ({2: np.zeros(3, "i4")}, ValueError, r"csr indices has shape \(3,\); expected \(240,\)"),
        ({2: np.zeros(240, "i8")}, TypeError, "csr indices has dtype int64"),
        ({0: np.zeros((240, 1), "f4")}, ValueError, "csr values has shape"),
        ({1: np.array([0, 241])}, ValueError, "csr indptr ends at 241, but there are 240 entries"),
        ({3: "four"}, TypeError, "str"),
    ],
)
def test_csr_refused(change, error, words):
    parts = list(csr()[1])
    for i, value in change.items():
        parts[i] = value
    with pytest.raises(error, match=words):
        _core.Batch(csr=tuple(parts))


def test_csr_values_are_checked_by_the_library(clusterer):
    out = np.empty(60, np.int64)
    for at, value in ((0, -1), (5, 3), (7, 1000)):
        _, parts = csr()
        parts[2][at] = value
        with pytest.raises(ValueError):
            clusterer.predict_labels(_core.Batch(csr=parts), out)
    _, parts = csr()
    with pytest.raises(NotImplementedError, match="mask"):
        clusterer.predict_labels(_core.Batch(csr=parts, mask=np.ones((60, 4), "f4")), out)


def test_offsets_changed_after_borrowing_are_noticed(clusterer):
    """The arrays stay the caller's: they are looked at again in each call."""
    _, parts = csr()
    b = _core.Batch(csr=parts)
    parts[1][-1] = 1 << 40
    with pytest.raises(ValueError, match="csr indptr ends at 1099511627776, but there are 240 entries"):
        clusterer.predict_labels(b, np.empty(60, np.int64))
    given = targets("multilabel")
    b = _core.Batch(rows(), **given)
    given["tags"][0][-1] = 61
    with pytest.raises(ValueError, match="tags indptr ends at 61, but there are 60 entries"):
        fitted("multilabel").fit_batch(b)


def test_batch_needs_rows_of_one_kind():
    with pytest.raises(ValueError, match="neither x nor csr"):
        _core.Batch()
    with pytest.raises(ValueError, match="both x and csr"):
        _core.Batch(rows(), csr=csr()[1])
    with pytest.raises(TypeError):
        _core.Batch(rows(), None)  # keyword only


@pytest.mark.parametrize("shape", [(0, 4), (5, 0), (0, 0)])
def test_empty_rows_are_refused_by_the_library(clusterer, shape):
    b = _core.Batch(np.empty(shape, np.float32))
    assert (b.n_rows, b.n_cols) == shape
    with pytest.raises(ValueError, match="0 rows|0 columns"):
        clusterer.predict_labels(b, np.empty(shape[0], np.int64))
    with pytest.raises(ValueError, match="0 rows|0 columns"):
        clusterer.fit_batch(b)


def test_huge_shapes_do_not_overflow(clusterer):
    one = np.lib.stride_tricks.as_strided(np.zeros(1, "f4"), (1 << 40, 4), (16, 4))
    with pytest.raises(ValueError, match=rf"out has shape \(3,\); expected \({1 << 40},\)"):
        clusterer.predict_labels(_core.Batch(one), np.empty(3, np.int64))
    with pytest.raises(ValueError, match=rf"index has shape \(60, 2\); expected \(60, {2**62}\)"):
        clusterer.nearest(batch("clusterer"), 2**62, index=np.empty((60, 2), np.int64))


# ---- outputs

OUTPUTS = [
    ("clusterer", "predict_labels", (60,), "i8"),
    ("classifier", "predict_labels", (60,), "i8"),
    ("classifier", "predict_proba", (60, 3), "f4"),
    ("multilabel", "predict_proba", (60, 4), "f4"),
    ("multilabel", "predict_tags", (60, 4), "u1"),
    ("regressor", "predict_values", (60, 2), "f8"),
    ("clusterer", "transform", (60, 2), "f4"),
    ("clusterer", "feature_importance", (4,), "f8"),
]


def fill(model, method, out, b=None):
    b = b or batch(model.describe()["params"]["task"])
    between = ("gap", 1) if method == "predict_tags" else ()
    getattr(model, method)(b, *between, out)


@pytest.mark.parametrize("task, method, shape, dtype", OUTPUTS)
def test_outputs(task, method, shape, dtype):
    model = fitted(task)
    out = np.full(shape, 77, dtype)
    fill(model, method, out)
    assert not (out == 77).any()

    with pytest.raises(ValueError, match="out has shape .*; expected"):
        fill(model, method, np.empty((shape[0] + 1, *shape[1:]), dtype))
    with pytest.raises(ValueError, match="out has shape .*; expected"):
        fill(model, method, np.empty((*shape[:-1], shape[-1] - 1), dtype))
    with pytest.raises(ValueError, match="out has shape"):
        fill(model, method, np.empty((*shape, 1)[-2:] if len(shape) == 1 else shape[0], dtype))
    with pytest.raises(TypeError, match="out has dtype int16"):
        fill(model, method, np.empty(shape, "i2"))
    with pytest.raises(TypeError, match="out must be an array .*not <class 'NoneType'>"):
        fill(model, method, None)

    locked = np.full(shape, 77, dtype)
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        fill(model, method, locked)
    assert (locked == 77).all()
    with pytest.raises(ValueError, match="out is read-only"):
        fill(model, method, memoryview(locked))
    with pytest.raises(ValueError, match="out has (values|rows)"):
        fill(model, method, np.empty((*shape[:-1], 2 * shape[-1]), dtype)[..., ::2])
    if len(shape) == 2:
        with pytest.raises(ValueError, match="out has (values|rows)"):
            fill(model, method, np.empty(shape, dtype, order="F"))
        with pytest.raises(ValueError, match="out has rows"):
            fill(model, method, np.empty((2 * shape[0], shape[1]), dtype)[::2])


def test_bool_outputs_for_bytes():
    model = fitted("multilabel")
    out, flags = np.empty((60, 4), np.uint8), np.empty((60, 4), bool)
    fill(model, "predict_tags", out)
    fill(model, "predict_tags", flags)
    np.testing.assert_array_equal(out.astype(bool), flags)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method, dtype", sorted({(method, dtype) for _, method, _, dtype in OUTPUTS[:-1]}))
def test_unfitted_and_wrong_tasks_write_nothing(task, method, dtype):
    """Whatever is passed as out: the library refuses before it writes."""
    dims = next(len(shape) for _, m, shape, _ in OUTPUTS if m == method)
    tiny = np.full((60, 1)[:dims], 7, dtype)
    with pytest.raises(RuntimeError):
        fill(unfitted(task), method, tiny, batch(task))
    assert (tiny == 7).all()
    if method != "transform" and (task, method) not in {o[:2] for o in OUTPUTS}:
        with pytest.raises(RuntimeError, match="has no"):
            fill(fitted(task), method, tiny)
        assert (tiny == 7).all()


def test_get_checks_its_output():
    model = fitted("classifier")
    with pytest.raises(ValueError, match=r"out has shape \(2, 4\); expected \(6, 4\)"):
        model.get("centroids", np.empty((2, 4)))
    with pytest.raises(TypeError, match="out has dtype float32; expected float64"):
        model.get("centroids", np.empty((6, 4), "f4"))
    with pytest.raises(ValueError, match="no array called 'centres'"):
        model.get("centres", np.empty((6, 4)))
    for name in ("centroid_ages", "centroid_targets", "centroid_gradients", "tag_scores"):
        with pytest.raises(RuntimeError):
            model.get(name, np.empty((6, 4)))
    with pytest.raises(RuntimeError):
        unfitted("classifier").get("classes", np.empty(1, np.int64))


def test_nearest_outputs_are_optional():
    model, b = fitted("classifier"), batch("classifier")
    index, distance, routing = np.empty((60, 8), np.int64), np.empty((60, 8)), np.empty((60, 8))
    model.nearest(b, 8, index, distance, routing)
    assert (index[:, 6:] == -1).all() and (distance[:, 6:] == np.inf).all() and (routing[:, 6:] == 0).all()
    assert (np.diff(distance[:, :6]) >= 0).all()
    alone = np.empty((60, 8))
    model.nearest(b, 8, distance=alone)
    np.testing.assert_array_equal(alone, distance)
    with pytest.raises(ValueError):
        model.nearest(b, 8)
    with pytest.raises(ValueError, match="top_k is 0"):
        model.nearest(b, 0, index)
    with pytest.raises(ValueError, match=r"routing has shape \(60, 8\); expected \(60, 3\)"):
        model.nearest(b, 3, routing=routing)


# ---- lifetime


def counts(things):
    return [sys.getrefcount(thing) for thing in things]


def test_arrays_live_as_long_as_the_batch(clusterer):
    x = rows(50)
    expected = labels_of(clusterer, x)
    gone = weakref.ref(x)
    b = _core.Batch(x)
    del x
    gc.collect()
    assert gone() is not None
    out = np.empty(50, np.int64)
    clusterer.predict_labels(b, out)
    np.testing.assert_array_equal(out, expected)
    del b
    assert gone() is None


def test_what_is_borrowed_cannot_be_resized():
    memory = bytearray(rows(5).tobytes())
    x = memoryview(memory).cast("f", (5, 4))
    b = _core.Batch(x)
    del x
    with pytest.raises(BufferError):
        memory.extend(b"1234")
    del b
    memory.extend(b"1234")
    numbers = array.array("q", range(5))
    b = _core.Batch(rows(5), labels=numbers)
    with pytest.raises(BufferError):
        numbers.append(1)
    del b
    numbers.append(1)


def test_every_reference_is_given_back():
    x, mask, weight = rows(), np.ones((60, 4), "f4"), np.ones(60, "f4")
    labels, numbers = targets("classifier")["labels"], targets("regressor")["targets"]
    indptr, tags, _ = targets("multilabel")["tags"]
    values, offsets, indices, _ = csr()[1]
    out = np.empty(60, np.int64)
    everything = [
        x,
        mask,
        weight,
        labels,
        numbers,
        indptr,
        tags,
        values,
        offsets,
        indices,
        out,
        None,
        CONTEXT,
    ]
    everything += [_core.Batch, _core.Model]
    model = fitted("classifier")

    def use():
        b = _core.Batch(x, weight=weight, mask=mask, labels=labels, tags=(indptr, tags, 4), targets=numbers)
        model.predict_labels(b, out)
        sparse = _core.Batch(csr=(values, offsets, indices, 4), labels=labels)
        model.predict_labels(sparse, out)
        copy = model.copy()
        copy.fit_batch(b)
        for bad in (
            lambda: _core.Batch(x, weight=weight, mask=mask, labels=labels, targets=labels),
            lambda: _core.Batch(x, weight=weight, mask=mask, labels=labels, tags=(indptr, tags[:5], 4)),
            lambda: _core.Batch(csr=(values, offsets, indices[:5], 4)),
            lambda: model.predict_labels(b, out[:5]),
            lambda: model.nearest(b, 2, out),
            lambda: model.set_start(x, labels[:5]),
            lambda: _core.Model(CONTEXT, {"task": "juggler"}),
            lambda: _core.Model(CONTEXT, {"task": 1}),
        ):
            with pytest.raises((ValueError, TypeError)):
                bad()

    use()
    before = counts(everything)
    for _ in range(20):
        use()
    gc.collect()
    after = counts(everything)
    # None is immortal or shared with whatever else runs
    assert [a - b for a, b in zip(after, before) if abs(a - b) > 2] == []


def test_a_cycle_through_an_array_is_collected():
    class Array(np.ndarray):
        pass

    x = rows().view(Array)
    x.batch = _core.Batch(x)
    gone = weakref.ref(x)
    del x
    gc.collect()
    assert gone() is None


def test_a_model_keeps_its_context():
    context = _core.Context(2)
    model = _core.Model(context, {"task": "clusterer", "k_init": "2"})
    del context
    gc.collect()
    model.fit(batch("clusterer"))
    assert array_of(model, "centroids").shape == (2, 4)


def test_a_batch_serves_many_calls_and_models():
    b = batch("classifier")
    first, second = fitted("classifier"), fitted("clusterer")
    for _ in range(3):
        first.fit_batch(b)
        answer(first, b), answer(second, b)


# ---- DLPack, from a maker whose every move is seen

PYTHON = ctypes.pythonapi
PYTHON.PyCapsule_New.restype = ctypes.py_object
PYTHON.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
PYTHON.PyCapsule_IsValid.argtypes = [ctypes.py_object, ctypes.c_char_p]
RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class Legacy(ctypes.Structure):
    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("release", RELEASE)]


class Versioned(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_uint32 * 2),
        ("context", ctypes.c_void_p),
        ("release", RELEASE),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    ]


class Maker:
    """An array that speaks DLPack only."""

    def __init__(
        self,
        x,
        versioned=True,
        device=(1, 0),
        version=(1, 0),
        flags=0,
        code=2,
        strides="given",
        lanes=1,
        offset=0,
    ):
        self.x, self.versioned, self.device, self.released = x, versioned, device, 0
        self.asked = []
        self.on_release = RELEASE(self.count)
        numbers = ctypes.c_int64 * x.ndim
        self.shape = numbers(*x.shape)
        self.strides = None if strides is None else numbers(*[s // x.itemsize for s in x.strides])
        tensor = Tensor(
            x.ctypes.data - offset,
            device,
            x.ndim,
            code,
            8 * x.itemsize,
            lanes,
            self.shape,
            self.strides,
            offset,
        )
        self.managed = (
            Versioned(version, None, self.on_release, flags, tensor)
            if versioned
            else Legacy(tensor, None, self.on_release)
        )

    def count(self, managed):
        assert managed == ctypes.addressof(self.managed)
        self.released += 1

    def __dlpack_device__(self):
        return self.device

    def capsule(self):
        name = b"dltensor_versioned" if self.versioned else b"dltensor"
        return PYTHON.PyCapsule_New(ctypes.addressof(self.managed), name, None)

    def __dlpack__(self, **options):
        self.asked.append(options)
        if options and not self.versioned:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        return self.capsule()


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_dlpack_is_borrowed_and_released_once(clusterer, versioned, dtype):
    x = rows().astype(dtype)
    maker = Maker(x, versioned)
    b = _core.Batch(maker)
    assert maker.asked == [{"max_version": (1, 0)}] + [{}] * (not versioned)
    out = np.empty(60, np.int64)
    for _ in range(3):
        clusterer.predict_labels(b, out)
    np.testing.assert_array_equal(out, labels_of(clusterer, x))
    assert maker.released == 0
    del b
    assert maker.released == 1


@pytest.mark.parametrize("versioned", [False, True])
def test_dlpack_capsule_is_taken_once(clusterer, versioned):
    maker = Maker(rows(), versioned)
    capsule = maker.capsule()
    b = _core.Batch(capsule)
    with pytest.raises(TypeError, match="x is no DLPack capsule, or one that was used before"):
        _core.Batch(capsule)
    used = b"used_dltensor_versioned" if versioned else b"used_dltensor"
    assert PYTHON.PyCapsule_IsValid(capsule, used)
    del capsule
    assert maker.released == 0
    del b
    assert maker.released == 1


def test_dlpack_bfloat16(clusterer):
    x = rows()
    upper = (x.view(np.uint32) >> 16).astype(np.uint16)
    cut = (upper.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(labels_of_maker(clusterer, Maker(upper, code=4)), labels_of(clusterer, cut))


def labels_of_maker(model, maker):
    out = np.empty(maker.x.shape[0], np.int64)
    model.predict_labels(_core.Batch(maker), out)
    return out


def test_dlpack_layouts(clusterer):
    x = rows()
    expected = labels_of(clusterer, x)
    np.testing.assert_array_equal(labels_of_maker(clusterer, Maker(x, strides=None)), expected)
    np.testing.assert_array_equal(labels_of_maker(clusterer, Maker(x, offset=64)), expected)
    np.testing.assert_array_equal(labels_of_maker(clusterer, Maker(x[::2])), expected[::2])
    np.testing.assert_array_equal(
        labels_of_maker(clusterer, Maker(x, device=(3, 0))), expected
    )  # pinned memory


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize(
    "changes, error, words",
    [
        (dict(device=(2, 1)), NotImplementedError, "x is on cuda:1; this build works on the CPU"),
        (dict(device=(10, 0)), NotImplementedError, "x is on rocm:0"),
        (dict(device=(99, 0)), NotImplementedError, "x is on device type 99:0"),
        (dict(code=0), TypeError, "x has dtype int32"),
        (dict(code=5), TypeError, "x has dtype code 5, 32 bits"),
        (dict(lanes=2), TypeError, "x has dtype code 2, 32 bits"),
    ],
)
def test_dlpack_refused(versioned, changes, error, words):
    maker = Maker(rows(), versioned, **changes)
    with pytest.raises(error, match=words):
        _core.Batch(maker)
    assert maker.released == (0 if "device" in changes else 1), "a foreign device is not asked for a tensor"
    capsule_of = Maker(rows(), versioned, **changes)
    with pytest.raises(error, match=words):
        _core.Batch(capsule_of.capsule())
    assert capsule_of.released == 1


def test_dlpack_of_another_major_version():
    maker = Maker(rows(), version=(2, 0))
    with pytest.raises(BufferError, match="version 2; this build reads version 1"):
        _core.Batch(maker)
    assert maker.released == 1


@pytest.mark.parametrize("versioned", [False, True])
def test_dlpack_shapes_refused(versioned):
    for x in (rows()[0], rows().reshape(5, 12, 4), np.asfortranarray(rows()), rows()[::-1]):
        maker = Maker(x, versioned)
        with pytest.raises(ValueError):
            _core.Batch(maker)
        assert maker.released == 1


def test_dlpack_outputs(clusterer):
    """Written through, unless the maker says read-only."""
    maker = Maker(np.full(60, -7), code=0)
    clusterer.predict_labels(batch("clusterer"), maker)
    np.testing.assert_array_equal(maker.x, labels_of(clusterer, rows()))
    assert maker.released == 1
    locked = Maker(np.full(60, -7), code=0, flags=1)
    with pytest.raises(ValueError, match="out is read-only"):
        clusterer.predict_labels(batch("clusterer"), locked)
    assert locked.released == 1 and (locked.x == -7).all()


def test_dlpack_makers_that_fail():
    class Broken(Maker):
        def __dlpack__(self, **options):
            raise BufferError("not today")

    class Vague(Maker):
        def __dlpack_device__(self):
            return "cpu"

    class Liar(Maker):
        def __dlpack__(self, **options):
            return 5

    class Silent:
        def __dlpack__(self):
            return 1

    with pytest.raises(BufferError, match="not today"):
        _core.Batch(Broken(rows()))
    with pytest.raises(TypeError, match="__dlpack_device__ gave no pair"):
        _core.Batch(Vague(rows()))
    with pytest.raises(TypeError, match="no DLPack capsule"):
        _core.Batch(Liar(rows()))
    with pytest.raises(AttributeError):
        _core.Batch(Silent())


def test_torch(clusterer):
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(rows())
    expected = labels_of(clusterer, rows())
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        y = x.to(dtype)
        out = torch.empty(60, dtype=torch.int64)
        clusterer.predict_labels(_core.Batch(y), out)
        np.testing.assert_array_equal(out.numpy(), labels_of(clusterer, y.double().numpy()))
    np.testing.assert_array_equal(labels_of(clusterer, x[::2]), expected[::2])
    with pytest.raises(ValueError):
        _core.Batch(x.T)
    with pytest.raises(BufferError):
        _core.Batch(x.requires_grad_())
    model = fitted("classifier")
    b = _core.Batch(
        torch.from_numpy(rows()), labels=torch.arange(60), weight=torch.ones(60), mask=torch.ones(60, 4)
    )
    model.fit_batch(b)
    empty = torch.empty(0, dtype=torch.int32)
    fitted("multilabel").fit_batch(
        _core.Batch(rows(2), tags=(torch.tensor([0, 0, 1]), torch.tensor([3], dtype=torch.int32), 4))
    )
    with pytest.raises(ValueError):
        fitted("classifier").fit_batch(
            _core.Batch(torch.empty(0, 4), labels=torch.empty(0, dtype=torch.int64))
        )
    csr_parts = (torch.empty(0), torch.zeros(4, dtype=torch.int64), empty, 4)
    out = np.empty(3, np.int64)
    clusterer.predict_labels(_core.Batch(csr=csr_parts), out)


def test_torch_memory_is_freed():
    torch = pytest.importorskip("torch")
    x = torch.zeros(10, 4)
    gone = weakref.ref(x.untyped_storage())
    b = _core.Batch(x)
    del x
    gc.collect()
    assert b.n_rows == 10
    del b, gone
