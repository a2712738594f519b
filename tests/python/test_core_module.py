# SPDX-License-Identifier: Apache-2.0
"""The module: its functions, its documentation, _core.pyi, interpreters beside the first."""

import ast
import inspect
import pathlib

import numpy as np
import pytest
from core_objects import TASKS, run_python
from fast_kmeans import _core

STUB = pathlib.Path(_core.__file__).resolve().parents[0] / "_core.pyi"
if not STUB.exists():  # a link to a build folder
    STUB = pathlib.Path(_core.__spec__.origin).parent / "_core.pyi"
SPECIAL = {"__init__", "__new__"}


def test_version_and_isa():
    assert _core.__version__.count(".") == 2
    assert _core.isa() in ("avx512", "avx2_vnni", "avx2", "neon_dot", "neon", "scalar")


def test_isa_can_be_chosen():
    program = "import os; os.environ['FKM_ISA'] = 'scalar'\nfrom fast_kmeans import _core\nprint(_core.isa())"
    assert run_python(program).strip() == "scalar"


def test_parameters_say_what_a_model_takes():
    table = {row["name"]: row for row in _core.parameters()}
    assert table["distance"]["choices"] == "cosine|euclidean|l1" and table["distance"]["default"] == "cosine"
    assert table["temperature"]["kind"] == "real" and table["temperature"]["valid"] == "> 0"
    assert table["repulsion_factor"]["tasks"] == ("classifier",)
    assert table["random_state"]["tasks"] == TASKS
    assert all(
        set(row) == {"name", "kind", "choices", "default", "valid", "help", "tasks"} for row in table.values()
    )
    assert {row["kind"] for row in table.values()} == {"choice", "int", "real", "bool"}
    for name, row in table.items():  # every default is a value that the library takes
        _core.Model(_core.Context(1), {"task": "classifier", name: row["default"]})


def asymmetric_loss(p, positive, gamma_pos, gamma_neg, clip):
    """Ridnik et al. 2021, eq. 3-5."""
    shifted = np.maximum(p - clip, 0)
    return np.where(
        positive,
        -((1 - p) ** gamma_pos) * np.log(np.maximum(p, 1e-12)),
        -(shifted**gamma_neg) * np.log(1 - shifted),
    )


def test_asymmetric_loss_and_its_gradient():
    p = np.random.default_rng(3).uniform(0.07, 0.93, 200)
    positive = (np.arange(200) % 3 == 0).astype(np.uint8)
    loss, gradient = np.empty(200), np.empty(200)
    _core.asymmetric_loss(p, positive, 1.0, 4.0, 0.05, loss, gradient)
    np.testing.assert_allclose(loss, asymmetric_loss(p, positive, 1.0, 4.0, 0.05), rtol=1e-12)
    h = 1e-6
    slope = (asymmetric_loss(p + h, positive, 1, 4, 0.05) - asymmetric_loss(p - h, positive, 1, 4, 0.05)) / (
        2 * h
    )
    np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-9)
    alone = np.empty(200)
    _core.asymmetric_loss(p, positive.astype(bool), 1.0, 4.0, 0.05, gradient=alone)
    np.testing.assert_array_equal(alone, gradient)


def test_asymmetric_loss_refuses():
    p, positive, out = np.full(3, 0.5), np.ones(3, np.uint8), np.empty(3)
    with pytest.raises(ValueError, match=r"positive has shape \(2,\); expected \(3,\)"):
        _core.asymmetric_loss(p, positive[:2], 1, 4, 0.05, out)
    with pytest.raises(TypeError, match="probability has dtype float32; expected float64"):
        _core.asymmetric_loss(p.astype("f4"), positive, 1, 4, 0.05, out)
    with pytest.raises(ValueError):
        _core.asymmetric_loss(np.full(3, 1.5), positive, 1, 4, 0.05, out)
    with pytest.raises(ValueError):
        _core.asymmetric_loss(p, positive, -1, 4, 0.05, out)
    with pytest.raises(TypeError):
        _core.asymmetric_loss(p, positive, "one", 4, 0.05, out)


def documented():
    for name in dir(_core):
        thing = getattr(_core, name)
        if callable(thing):
            yield name, thing
        if isinstance(thing, type):
            for inner in vars(thing):
                if not inner.startswith("__") or inner in ("__copy__", "__deepcopy__", "__reduce__"):
                    yield f"{name}.{inner}", getattr(thing, inner)


@pytest.mark.parametrize("name, thing", list(documented()))
def test_everything_is_documented(name, thing):
    assert thing.__doc__ and len(thing.__doc__) > 5
    if not inspect.isdatadescriptor(thing) and not inspect.isclass(thing):
        inspect.signature(thing)


def stub_functions():
    """(dotted name, ast of the function) of everything in _core.pyi."""
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        if isinstance(node, ast.ClassDef) and not any(
            getattr(base, "id", "") == "Protocol" for base in node.bases
        ):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}", inner


def stub_signature(node):
    """[(name, kind, default)] without self and cls."""
    arguments = node.args
    positional = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(positional) - len(arguments.defaults)) + [
        ast.unparse(d) for d in arguments.defaults
    ]
    found = [(a.arg, "positional", d) for a, d in zip(positional, defaults)]
    found += [
        (a.arg, "keyword", d and ast.unparse(d)) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults)
    ]
    return [one for one in found if one[0] not in ("self", "cls")]


def real_signature(thing):
    found = []
    for p in inspect.signature(thing).parameters.values():
        kind = "keyword" if p.kind is p.KEYWORD_ONLY else "positional"
        found.append((p.name, kind, None if p.default is p.empty else repr(p.default)))
    return [one for one in found if one[0] not in ("self", "type")]


@pytest.mark.parametrize(
    "name, node", list(stub_functions()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_stub_is_what_is_there(name, node):
    owner, _, last = name.rpartition(".")
    thing = getattr(_core, owner) if owner else _core
    if last in SPECIAL:
        real = real_signature(thing)
    elif any(getattr(d, "id", "") == "property" for d in node.decorator_list):
        assert inspect.isdatadescriptor(getattr(thing, last))
        return
    else:
        real = real_signature(getattr(thing, last))
    said = [(n, kind, d and repr(ast.literal_eval(d))) for n, kind, d in stub_signature(node)]
    assert in_order(real) == in_order(said)


def in_order(signature):
    """Keywords have none."""
    return [p for p in signature if p[1] == "positional"] + sorted(p for p in signature if p[1] == "keyword")


def test_stub_leaves_nothing_out():
    told = {name for name, _ in stub_functions()} | {"InterruptedByCallback"}
    there = {name for name, _ in documented() if not name.rpartition(".")[2].startswith("_")}
    classes = {name.split(".")[0] for name in told if "." in name}
    assert there - told <= classes


def test_types_cannot_be_changed_or_derived():
    for kind in (_core.Context, _core.Batch, _core.Model):
        with pytest.raises(TypeError):
            kind.name = 1
        with pytest.raises(TypeError):
            type("Derived", (kind,), {})


def test_context():
    assert _core.Context(3).n_threads == 3
    assert _core.Context().n_threads >= 1
    with pytest.raises(ValueError, match="n_threads is -2"):
        _core.Context(-2)
    with pytest.raises(ValueError, match="memory_limit is -1 bytes"):
        _core.Context(memory_limit=-1)
    with pytest.raises(NotImplementedError, match="cuda:0"):
        _core.Context(device="cuda:0")
    with pytest.raises(ValueError, match="tpu"):
        _core.Context(device="tpu")
    with pytest.raises(TypeError):
        _core.Context("many")


def test_a_second_interpreter():
    """Its own module, types and exception; what the first has is untouched."""
    said = run_python(
        """
        import array, textwrap
        from fast_kmeans import _core
        try:
            import _interpreters as interpreters
            second = interpreters.create("legacy")
        except ImportError:
            import _xxsubinterpreters as interpreters
            second = interpreters.create(isolated=False)
        program = f'''
        import sys; sys.path[:0] = {sys.path!r}
        import importlib.machinery, importlib.util, array
        loader = importlib.machinery.ExtensionFileLoader("fast_kmeans._core", {_core.__file__!r})
        core = importlib.util.module_from_spec(importlib.util.spec_from_loader("fast_kmeans._core", loader))
        loader.exec_module(core)
        x = memoryview(array.array("f", range(40))).cast("B").cast("f", (10, 4))
        model = core.Model(core.Context(2), {{"task": "clusterer", "k_init": "2"}})
        try:
            model.fit(core.Batch(x), progress=lambda p: True)
        except core.InterruptedByCallback:
            print("second", flush=True)
        '''
        interpreters.run_string(second, textwrap.dedent(program))
        interpreters.destroy(second)
        x = memoryview(array.array("f", range(40))).cast("B").cast("f", (10, 4))
        _core.Model(_core.Context(2), {"task": "clusterer", "k_init": "2"}).fit(_core.Batch(x))
        print("first")
        """
    )
    assert said.split() == ["second", "first"]
