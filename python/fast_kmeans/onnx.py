# SPDX-License-Identifier: Apache-2.0
"""A fitted estimator as an ONNX graph, for runtimes that have neither this library nor Python.

The graph answers what ``predict`` and ``predict_proba`` answer, from rows of float32. Inside it counts in float64:
distances come from one matrix product, |x|^2 + |c|^2 - 2 x.c, which cancels where rows lie close to a prototype or
far from the origin, and routing raises distances to the fourth power; float32 would show. l1 distances have no such
product: a ``Scan`` over the features adds |x_d - c_d|, so that nothing is larger than rows times prototypes.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from . import _core

__all__ = ["to_onnx"]

OLDEST_OPSET = 17
IDW_FLOOR = 1e-6  # of 'scaled', in units of the model's scale
TINY = 1e-300  # instead of dividing by 0


def to_onnx(estimator, path=None, *, opset: int = OLDEST_OPSET) -> Any:
    """Write a fitted estimator as an ONNX model.

    The input ``X`` is float32 of any number of rows. The outputs are

    =========== ==========================================================================================
    classifier  ``label`` (integers, strings, ... as in ``classes_``), ``probabilities`` float32 (n, classes)
    regressor   ``values`` float64 (n, targets), also for one target
    clusterer   ``label`` int64
    multi-label ``label`` int64 (n, tags), what ``strategy='adaptive'`` predicts; ``probabilities`` float32
    =========== ==========================================================================================

    With ``missing='mask'`` a NaN in ``X`` is a missing value, as in ``predict``; otherwise the graph does not look
    for NaN, and its answer to one means nothing. Names of classes and features are in the model's metadata.

    Parameters
    ----------
    estimator : BaseFastKMeans
        A fitted estimator of any task.
    path : path-like, optional
        Where to write the model; the file appears whole or not at all.
    opset : int, default 17
        Version of the ONNX operators, 17 or later.

    Returns
    -------
    onnx.ModelProto

    Examples
    --------
    >>> import onnxruntime
    >>> from sklearn.datasets import load_iris
    >>> from fast_kmeans import FastKMeansClassifier
    >>> from fast_kmeans.onnx import to_onnx
    >>> X, y = load_iris(return_X_y=True)
    >>> model = FastKMeansClassifier(distance="euclidean").fit(X, y)
    >>> session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString())
    >>> label, probabilities = session.run(None, {"X": X[:2].astype("float32")})
    >>> label.tolist(), probabilities.shape
    ([0, 0], (2, 3))
    """
    onnx = _require_onnx()
    check_is_fitted(estimator)
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise ValueError(f"opset is {opset}; the installed onnx knows {OLDEST_OPSET} to {newest}")
    facts = _Facts(estimator)
    graph = _Graph(onnx, opset)
    {
        "classifier": _classify,
        "regressor": _regress,
        "clusterer": _cluster,
        "multilabel": _tag,
    }[facts.task](graph, facts)
    proto = graph.model(facts)
    if path is not None:
        _write_whole(path, proto.SerializeToString())
    return proto


class _Facts:
    """What a graph is made of: the model's numbers, in float64."""

    def __init__(self, estimator):
        self.estimator = estimator
        self.model = estimator._current()
        about = self.model.describe()
        params = about["params"]
        self.task, self.metric, self.soft = params["task"], params["distance"], params["soft_type"]
        self.masked = params["missing"] == "mask"
        self.k, self.dim = about["k"], about["dim"]
        self.scale = about["scale"] if about["scale"] > 0 else 1.0
        self.power = about["idw_power"]
        top_k = int(params["top_k"])
        self.width = self.k if top_k < 0 else min(top_k, self.k)
        if self.soft == "hard":
            self.width = 1
        self.points = self.get("centroids", (self.k, self.dim))
        self.feature_weights = self.get("feature_weights", self.dim)
        self.tau, self.bias = self.get("centroid_routing", (self.k, 2)).T.copy()
        self.n_targets = about["n_targets"]

    def get(self, name, shape, dtype=np.float64):
        out = np.empty(shape, dtype)
        self.model.get(name, out)
        return out


# ---- what each task answers


def _cluster(graph, facts):
    graph.output("label", graph("ArgMin", _distances(graph, facts), axis=1, keepdims=0), "int64", ["rows"])


def _classify(graph, facts):
    classes = np.asarray(facts.estimator.classes_)
    owner = np.searchsorted(classes, np.asarray(facts.estimator.centroid_labels)).astype(np.int64)
    share, index = _route(graph, facts, _distances(graph, facts))
    if index is None:
        candidate = graph("Expand", graph.constant(owner), graph("Shape", share))
    else:
        candidate = graph("Gather", graph.constant(owner), index)
    nothing = graph.filled(len(classes), 0.0)
    sums = graph("ScatterElements", nothing, candidate, share, axis=1, reduction="add")
    names = classes if classes.dtype.kind in "biuf" else classes.astype(str).astype(object)
    if names.dtype.kind in "iu":
        names = names.astype(np.int64)
    graph.output(
        "label",
        graph("Gather", graph.constant(names), graph("ArgMax", sums, axis=1, keepdims=0)),
        names.dtype,
        ["rows"],
    )
    graph.output("probabilities", graph.cast(sums, "float32"), "float32", ["rows", len(classes)])


def _regress(graph, facts):
    targets = graph.constant(facts.get("centroid_targets", (facts.k, facts.n_targets)))
    share, index = _route(graph, facts, _distances(graph, facts))
    if index is None:
        values = graph("MatMul", share, targets)
    else:
        values = graph("Einsum", share, graph("Gather", targets, index), equation="nk,nkm->nm")
    graph.output("values", values, "float64", ["rows", facts.n_targets])


def _tag(graph, facts):
    """z = beta - alpha d / tau of each tag's nearest prototype; all prototypes of this task share one tau."""
    seen = facts.get("classes", facts.model.describe()["n_classes"], np.int64)
    n_tags = len(facts.estimator.classes_)
    owner = np.searchsorted(seen, facts.get("centroid_labels", facts.k, np.int64))
    lists = [np.flatnonzero(owner == i) for i in range(len(seen))]
    most = max(len(own) for own in lists)
    members = np.zeros((n_tags, most), np.int64)
    members[seen] = [np.resize(own, most) for own in lists]  # shorter lists are repeated
    slope, offset, threshold = np.zeros(n_tags), np.full(n_tags, -np.inf), np.full(n_tags, np.inf)
    alpha, offset[seen], threshold[seen] = facts.get("tag_scores", (len(seen), 3)).T
    slope[seen] = -alpha / facts.tau[0]
    distance = graph("Gather", _distances(graph, facts), graph.constant(members), axis=1)
    z = graph("Mul", graph.reduce("ReduceMin", distance, 2), graph.constant(slope))
    z = graph("Add", z, graph.constant(offset))
    chosen = graph.cast(graph("GreaterOrEqual", z, graph.constant(threshold)), "int64")
    graph.output("label", chosen, "int64", ["rows", n_tags])
    graph.output("probabilities", graph.cast(graph("Sigmoid", z), "float32"), "float32", ["rows", n_tags])


# ---- distances, routing


def _distances(graph, facts):
    """Rows x prototypes."""
    x = graph.cast("X", "float64")
    there = None
    centre = _centre(facts)
    if centre is not None:
        x = graph("Sub", x, graph.constant(centre))
    if facts.masked:
        missing = graph("IsNaN", "X")
        there = graph.cast(graph("Not", missing), "float64")
        x = graph("Where", missing, graph.constant(0.0), x)
    points = facts.points if centre is None else facts.points - centre
    return {"euclidean": _euclidean, "cosine": _cosine, "l1": _l1}[facts.metric](
        graph, facts, x, there, points
    )


def _centre(facts):
    """Near the prototypes' mean, in so few binary digits that subtracting it from rows and prototypes is exact as a
    rule: equal distances stay equal."""
    if facts.metric != "euclidean":
        return None
    mantissa, exponent = np.frexp(facts.points.mean(axis=0))
    return np.ldexp(np.round(mantissa * 256), exponent - 8)


def _column(values):
    return np.ascontiguousarray(values, dtype=np.float64).reshape(-1, 1)


def _euclidean(graph, facts, x, there, points):
    w = facts.feature_weights
    square = graph("MatMul", graph("Mul", x, x), graph.constant(_column(w)))
    if there is None:
        product = graph(
            "Gemm",
            x,
            graph.constant(w * points),
            graph.constant((w * points**2).sum(axis=1)),
            alpha=-2.0,
            transB=1,
        )
        return graph("Add", product, square)
    both = np.concatenate([-2 * w * points, w * points**2], axis=1)
    product = graph("Gemm", graph("Concat", x, there, axis=1), graph.constant(both), transB=1)
    active = graph("MatMul", there, graph.constant(_column(w / facts.dim)))
    return graph("Div", graph("Add", product, square), graph("Max", active, graph.constant(TINY)))


def _cosine(graph, facts, x, there, points):
    w = facts.feature_weights
    norm = np.sqrt((w * points**2).sum(axis=1, keepdims=True))
    unit = points / np.where(norm > 0, norm, 1.0)
    length = graph("Sqrt", graph("MatMul", graph("Mul", x, x), graph.constant(_column(w))))
    product = graph("MatMul", x, graph.constant((w * unit).T))
    if there is not None:
        seen = graph("Sqrt", graph("MatMul", there, graph.constant((w * unit**2).T)))
        product = graph("Div", product, graph("Max", seen, graph.constant(TINY)))
    cosine = graph("Div", product, graph("Max", length, graph.constant(TINY)))
    distance = graph("Sub", graph.constant(1.0), cosine)
    if there is not None:  # a row without any value has distance 0
        active = graph("MatMul", there, graph.constant(_column(w)))
        distance = graph("Where", graph("Equal", active, graph.constant(0.0)), graph.constant(0.0), distance)
    return distance


def _l1(graph, facts, x, there, points):
    w = facts.feature_weights
    begin = graph.filled(facts.k, 0.0)
    columns = graph("Unsqueeze", graph("Mul", x, graph.constant(w)), graph.constant(np.array([1])))
    inputs = [begin, columns, graph.constant(w * points)]
    axes = [2, 1]
    if there is not None:
        inputs.append(graph("Unsqueeze", there, graph.constant(np.array([1]))))
        axes.append(2)
    distance = graph(
        "Scan",
        *inputs,
        body=graph.add_feature(facts, there is not None),
        num_scan_inputs=len(axes),
        scan_input_axes=axes,
    )
    if there is None:
        return distance
    active = graph("MatMul", there, graph.constant(_column(w / facts.dim)))
    return graph("Div", distance, graph("Max", active, graph.constant(TINY)))


def _route(graph, facts, distance):
    """Shares of the nearest prototypes, and their numbers: None when all prototypes share, in their order."""
    index = None
    if facts.width < facts.k:
        count = graph.constant(np.array([facts.width]))
        distance, index = graph("TopK", distance, count, axis=1, largest=0, outputs=2)
    if facts.soft == "mean":
        return graph(
            "ConstantOfShape", graph("Shape", distance), value=graph.tensor(np.array([1 / facts.width]))
        ), index
    return graph("Softmax", _logits(graph, facts, distance, index), axis=1), index


def _logits(graph, facts, distance, index):
    if facts.soft == "scaled":
        floor = graph.constant(IDW_FLOOR * facts.scale)
        distance = graph("Max", graph("Add", distance, floor), floor)
        return graph("Mul", graph("Log", distance), graph.constant(-facts.power))
    if facts.soft == "hard" or (np.ptp(facts.tau) == 0 and not facts.bias.any()):
        return graph("Mul", distance, graph.constant(-1 / facts.tau[0]))
    steepness, bias = graph.constant(-1 / facts.tau), graph.constant(facts.bias)
    if index is not None:
        steepness, bias = graph("Gather", steepness, index), graph("Gather", bias, index)
    return graph("Add", graph("Mul", distance, steepness), bias)


# ---- writing


class _Graph:
    """A graph under construction: call it with an operator and its inputs to get the name of the result."""

    def __init__(self, onnx, opset):
        self.onnx, self.opset = onnx, opset
        self.nodes, self.constants, self.outputs = [], {}, []

    def __call__(self, operator, *inputs, outputs=1, **attributes):
        names = [f"{operator.lower()}_{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def tensor(self, array, name=""):
        return self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)

    def constant(self, value):
        """Name of an initializer; equal ones are kept once."""
        array = np.asarray(value, np.float64) if isinstance(value, float) else np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes() if array.dtype != object else tuple(array))
        if key not in self.constants:
            name = f"constant_{len(self.constants)}"
            tensor = self.tensor(array, name)
            del tensor.dims[:]
            tensor.dims.extend(array.shape)
            self.constants[key] = tensor
        return self.constants[key].name

    def cast(self, name, dtype):
        return self("Cast", name, to=self.type_of(dtype))

    def reduce(self, operator, name, axis):
        if self.opset >= 18:
            return self(operator, name, self.constant(np.array([axis])), keepdims=0)
        return self(operator, name, axes=[axis], keepdims=0)

    def filled(self, n_cols, value):
        """Rows x n_cols of one value."""
        shape = self("Concat", self("Shape", "X", start=0, end=1), self.constant(np.array([n_cols])), axis=0)
        return self("ConstantOfShape", shape, value=self.tensor(np.array([value])))

    def type_of(self, dtype):
        dtype = np.dtype(dtype)
        if dtype == object:
            return self.onnx.TensorProto.STRING
        return self.onnx.helper.np_dtype_to_tensor_dtype(dtype)

    def output(self, name, result, dtype, shape):
        self.nodes[[list(node.output) for node in self.nodes].index([result])].output[0] = name
        self.outputs.append(self.onnx.helper.make_tensor_value_info(name, self.type_of(dtype), shape))

    def add_feature(self, facts, masked):
        """Body of the scan: total + |x - c| of one feature, times what is there of it."""
        body = _Graph(self.onnx, self.opset)
        helper, double = self.onnx.helper, self.onnx.TensorProto.DOUBLE
        inputs = [("total", ["rows", facts.k]), ("x", ["rows", 1]), ("c", [facts.k])]
        gap = body("Abs", body("Sub", "x", "c"))
        if masked:
            inputs.append(("there", ["rows", 1]))
            gap = body("Mul", gap, "there")
        body.output("sum", body("Add", "total", gap), "float64", ["rows", facts.k])
        inputs = [helper.make_tensor_value_info(name, double, shape) for name, shape in inputs]
        return helper.make_graph(body.nodes, "feature", inputs, body.outputs)

    def model(self, facts):
        helper = self.onnx.helper
        rows = helper.make_tensor_value_info("X", self.onnx.TensorProto.FLOAT, ["rows", facts.dim])
        graph = helper.make_graph(
            self.nodes, f"fast_kmeans {facts.task}", [rows], self.outputs, list(self.constants.values())
        )
        operators = [helper.make_opsetid("", self.opset)]
        proto = helper.make_model(
            graph,
            opset_imports=operators,
            ir_version=helper.find_min_ir_version_for(operators),
            producer_name="fast-kmeans-suite",
            producer_version=_core.__version__,
        )
        helper.set_model_props(proto, _metadata(facts))
        if proto.ByteSize() >= 2**31:
            raise ValueError(
                f"{facts.k} prototypes of {facts.dim} features need {proto.ByteSize()} bytes; "
                f"an ONNX file holds at most {2**31 - 1}"
            )
        return proto


def _metadata(facts):
    about = {
        "task": facts.task,
        "distance": facts.metric,
        "soft_type": facts.soft,
        "n_prototypes": str(facts.k),
    }
    if facts.task in ("classifier", "multilabel"):
        about["classes"] = json.dumps(np.asarray(facts.estimator.classes_).tolist(), ensure_ascii=False)
    names = getattr(facts.estimator, "feature_names_in_", None)
    if names is not None:
        about["feature_names"] = json.dumps(list(names), ensure_ascii=False)
    return about


def _write_whole(path, data):
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _require_onnx():
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError(
            "writing ONNX models needs the package onnx: pip install fast-kmeans-suite[onnx]"
        ) from error
    return onnx
