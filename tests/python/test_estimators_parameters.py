# SPDX-License-Identifier: Apache-2.0
"""Constructor arguments: names, order and defaults, what is refused and when, what each means to the core."""

import inspect

import numpy as np
import pytest
from est_data import CLASS, EUCLIDEAN, KINDS, NAMES, NUMBERS, TAGS, X, fitted, unfitted
from sklearn.base import clone

import fast_kmeans
from fast_kmeans import (
    AsymmetricLoss,
    BaseFastKMeans,
    FastKMeansClassifier,
    FastKMeansClusterer,
    FastKMeansRegressor,
    FastMultiLabelKMeansClassifier,
    _core,
    onnx,
    plot,
)

GLOBAL = (
    "distance dtype init_mode soft_type temperature top_k auto_feature_weights negative_sampling diversity_reg l2_reg "
    "use_faiss use_compile"
).split()
OWN = {
    "clusterer": ["k_init"],
    "classifier": ["k_init", "repulsion_factor"],
    "multilabel": ["k_init", "asl_gamma_neg", "asl_gamma_pos", "asl_clip"],
    "regressor": ["k_targets", "k_features", "target_distance", "target_assignment"],
}
PYTHON_ONLY = {"device", "feature_weights", "n_threads", "k_list"}
ROWS = {row["name"]: row for row in _core.parameters()}


def signature(task):
    return inspect.signature(KINDS[task][0]).parameters


def default_of(row):
    """The core's default, as the constructor should have it."""
    text = row["default"]
    if text == "none":
        return None
    if text in (row["choices"] or "").split("|"):
        return text
    return {"bool": text == "true", "int": lambda: int(text), "real": lambda: float(text)}[row["kind"]]


@pytest.mark.parametrize("task", KINDS)
def test_positional_arguments_come_in_the_documented_order(task):
    positional = [name for name, p in signature(task).items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == OWN[task] + GLOBAL
    assert all(p.kind is not p.VAR_KEYWORD for p in signature(task).values())


@pytest.mark.parametrize("task", KINDS)
def test_names_and_defaults_are_those_of_the_core(task):
    wanted = {name: row for name, row in ROWS.items() if task in row["tasks"] and name != "task"}
    wanted["negative_sampling"] = ROWS["negative_sampling"]  # in every constructor, as documented
    assert set(signature(task)) - PYTHON_ONLY == set(wanted)
    for name, row in wanted.items():
        expected = default_of(row)
        expected = expected() if callable(expected) else expected
        assert signature(task)[name].default == expected, name
    assert [signature(task)[name].default for name in ("device", "feature_weights", "n_threads")] == [
        None,
        None,
        -1,
    ]


@pytest.mark.parametrize("task", KINDS)
def test_arguments_are_stored_as_they_are_and_cloned(task):
    weights = [1.0, 2.0, 3.0, 4.0]
    model = unfitted(
        task, feature_weights=weights, random_state=np.random.RandomState(1), temperature=np.float32(0.5)
    )
    assert model.get_params()["feature_weights"] is weights
    assert model.get_params()["temperature"].dtype == np.float32
    copy = clone(model)
    assert copy.get_params()["feature_weights"] == weights and copy is not model
    assert copy.set_params(top_k=7).top_k == 7
    with pytest.raises(ValueError, match="Invalid parameter 'k_means'"):
        model.set_params(k_means=3)
    with pytest.raises(TypeError, match="k_means"):
        KINDS[task][0](k_means=3)


def test_the_base_cannot_be_made():
    with pytest.raises(TypeError):
        BaseFastKMeans()
    assert all(issubclass(cls, BaseFastKMeans) for cls, _ in KINDS.values())


@pytest.mark.parametrize(
    "name, value, valid",
    [
        ("distance", "manhattan", "cosine, euclidean, l1"),
        ("dtype", "int8", "float32, float16, bfloat16, float64"),
        ("init_mode", "pca", "kmeans\\+\\+, random"),
        ("soft_type", "soft", "hard, mean, scaled, softmax_scaled"),
        ("missing", "drop", "error, mask"),
        ("top_k_train", "all", "'auto'"),
        ("k_max", "none", "None"),
        ("temperature", "1", "> 0"),
        ("negative_sampling", "all", "None"),
        ("device", "gpu", "cpu, cuda"),
        ("device", "cuda:x", "cpu, cuda"),
    ],
)
@pytest.mark.parametrize("task", KINDS)
def test_a_wrong_word_shows_at_construction(task, name, value, valid):
    with pytest.raises(ValueError, match=rf"{name} is '{value}'.*{valid}"):
        unfitted(task, **{name: value})


def test_words_of_one_task_show_at_construction():
    for cls, name in [
        (FastKMeansClassifier, "repulsion_mode"),
        (FastKMeansClassifier, "assignment"),
        (FastKMeansRegressor, "target_distance"),
        (FastKMeansRegressor, "target_assignment"),
        (FastKMeansRegressor, "k_targets"),
        (FastMultiLabelKMeansClassifier, "k_init"),
    ]:
        with pytest.raises(ValueError, match=f"{name} is 'odd'"):
            cls(**{name: "odd"})


BAD = {
    "temperature": [0, -1, float("nan"), None, "auto", True, [1]],
    "top_k": [0, -2, 2.5, None, True],
    "top_k_train": [0, -1, 1.5],
    "idw_power": [0, -1],
    "auto_feature_weights": [1, None, 0.5],
    "negative_sampling": [0, -1],
    "diversity_reg": [-0.1],
    "l2_reg": [-1, float("inf")],
    "use_compile": [2],
    "random_state": [-1, "seed", 1.5],
    "batch_size": [0, -5, None],
    "finetune_batch_size": [0],
    "learning_rate": [0, 11, -0.1],
    "k_max": [0, -1],
    "min_weight": [-1],
    "truncation_threshold": [-1e-9],
    "merge_threshold": [-1],
    "percentile_threshold": [-0.1, 1.1],
    "decay": [0, 1.5],
    "noise": [-1],
    "n_threads": [-2, 0, 1.5, True],
    "init_mode": [None, 3, [[1.0, 2.0]]],
    "feature_weights": [[1, 2], [-1, 1, 1, 1], [0, 0, 0, 0], [1, np.nan, 1, 1]],
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("task", KINDS)
def test_every_argument_is_checked_again_in_fit(task, name):
    for value in BAD[name]:
        model = unfitted(task).set_params(**{name: value})
        with pytest.raises((ValueError, TypeError), match="[a-z]"):
            model.fit(X, KINDS[task][1])
        assert not hasattr(model, "centroids")
        with pytest.raises((ValueError, TypeError)):
            model.fit_batch(X, KINDS[task][1])
        assert not hasattr(model, "n_features_in_")


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("temperature", 0, "temperature is 0; it must be a number > 0"),
        ("top_k", 0, "top_k is 0; it must be an integer >= 1, or -1 for all"),
        ("k_max", 0, "k_max is 0; it must be an integer >= 1 or None"),
        ("learning_rate", 11, r"learning_rate is 11.*in \(0, 10\]"),
        ("k_init", "3", "k_init is '3'; it must be an integer >= 1 or 'auto'"),
        ("distance", "far", "distance is 'far'; valid: cosine, euclidean, l1"),
        ("k_init", 2.0, "k_init is 2.0; it must be an integer >= 1 or 'auto'"),
        ("sparse", "yes", "sparse is 'yes'; it must be True or False"),
        ("n_threads", -2, "n_threads is -2; it must be >= 1, or -1"),
    ],
)
def test_errors_name_the_parameter_the_value_and_what_is_valid(name, value, message):
    model = FastKMeansClassifier()
    with pytest.raises(ValueError, match=message):
        model.set_params(**{name: value}).fit(X, CLASS)


def test_errors_of_one_task():
    for task, name, values in [
        ("clusterer", "k_init", [0, -1, 2.0, None]),
        ("classifier", "repulsion_factor", [-0.1]),
        ("classifier", "lambda_penalty", [-0.1]),
        ("classifier", "label_smoothing", [1.0, -0.1]),
        ("classifier", "prototype_scale", [None]),
        ("multilabel", "asl_clip", [1.0, -0.1]),
        ("multilabel", "asl_gamma_neg", [-1]),
        ("regressor", "k_targets", [0, -1]),
        ("regressor", "k_features", [0, None]),
    ]:
        for value in values:
            with pytest.raises(ValueError, match=f"{name} is "):
                unfitted(task).set_params(**{name: value}).fit(X, KINDS[task][1])


def test_numbers_of_numpy_are_numbers():
    model = FastKMeansClassifier(
        k_init=np.int64(2),
        temperature=np.float32(0.5),
        top_k=np.int8(-1),
        auto_feature_weights=np.bool_(True),
        random_state=np.uint32(7),
        **EUCLIDEAN,
    )
    params = model.fit(X, CLASS)._facts()["params"]
    assert [
        params[name] for name in ("k_init", "temperature", "top_k", "auto_feature_weights", "random_state")
    ] == [
        "2",
        "0.5",
        "-1",
        "true",
        "7",
    ]


@pytest.mark.parametrize("task", KINDS)
def test_every_parameter_reaches_the_core(task):
    other = {
        "distance": "l1",
        "dtype": "float64",
        "init_mode": "random",
        "soft_type": "softmax_scaled",
        "temperature": 2.0,
        "top_k": 3,
        "auto_feature_weights": True,
        "diversity_reg": 0.5,
        "l2_reg": 0.25,
        "use_compile": True,
        "random_state": 5,
        "batch_size": 50,
        "top_k_train": 9,
        "idw_power": 3.0,
        "finetune_batch_size": 16,
        "learning_rate": 0.5,
        "missing": "mask",
        "k_max": 40,
        "auto_scale": True,
        "min_weight": 0.01,
        "truncation_threshold": 0.001,
        "sparse": True,
        "merge_threshold": 0.125,
        "relative_merge": True,
        "percentile_threshold": 0.25,
        "decay": 0.5,
        "noise": 0.125,
        "normalize_prototypes": False,
        "k_init": 2,
        "repulsion_factor": 0.5,
        "repulsion_mode": "glvq",
        "assignment": "linear",
        "lambda_penalty": 0.5,
        "label_smoothing": 0.25,
        "prototype_scale": True,
        "negative_sampling": 2,
        "asl_gamma_neg": 2.0,
        "asl_gamma_pos": 0.5,
        "asl_clip": 0.125,
        "k_targets": "auto",
        "k_features": "auto",
        "target_distance": "l1",
        "target_assignment": "mean",
    }
    names = set(signature(task)) - PYTHON_ONLY - {"use_faiss"}
    params = KINDS[task][0](**{name: other[name] for name in names}).fit(X, KINDS[task][1])._facts()["params"]
    for name in names:
        assert params[name] == str(other[name]).lower().removesuffix(".0"), name


def test_what_this_build_lacks_is_said():
    for device in ("cuda", "cuda:1"):
        with pytest.raises(RuntimeError, match="this build has no CUDA backend"):
            FastKMeansClusterer(device=device).fit(X)
    assert FastKMeansClusterer(device="cpu").fit(X).k_init == 3


# ---- arguments that are more than a word or a number


def test_random_state_is_a_seed_a_generator_or_none():
    def centroids(random_state):
        return FastKMeansClusterer(k_init=8, init_mode="random", random_state=random_state).fit(X).centroids

    assert np.array_equal(centroids(1), centroids(1)) and not np.array_equal(centroids(1), centroids(2))
    for make in (np.random.RandomState, np.random.default_rng):
        state = make(3)
        first, second = centroids(state), centroids(state)
        assert not np.array_equal(first, second)
        assert np.array_equal(first, centroids(make(3)))
    assert not np.array_equal(centroids(None), centroids(None))
    assert centroids(2**64 - 1).shape == (8, 4)


def test_n_threads_makes_no_difference():
    one, two = (
        FastKMeansClassifier(distance="euclidean", n_threads=n).fit(X, CLASS).finetune(X, CLASS)
        for n in (1, 2)
    )
    assert np.array_equal(one.centroids, two.centroids)


def test_feature_weights_are_argument_before_and_attribute_after():
    model = FastKMeansClusterer(feature_weights=[1, 1, 0, 2], **EUCLIDEAN)
    assert model.feature_weights == [1, 1, 0, 2]
    model.fit(X)
    np.testing.assert_allclose(model.feature_weights, [1, 1, 0, 2])
    assert model.get_params()["feature_weights"] == [1, 1, 0, 2]
    other = FastKMeansClusterer(feature_weights=[4, 4, 0, 8], **EUCLIDEAN).fit(X)
    np.testing.assert_allclose(other.feature_weights, [1, 1, 0, 2])
    moved = X.copy()
    moved[:, 2] += 1000
    np.testing.assert_array_equal(model.predict(moved), model.predict(X))
    with pytest.raises(ValueError, match="feature_weights"):
        FastKMeansClusterer(feature_weights=[1, 2, 3]).fit(X)
    np.testing.assert_array_equal(FastKMeansClusterer().fit(X).feature_weights, np.ones(4))


def test_starting_prototypes():
    start = X[[0, 1, 2, 3, 4]]
    model = FastKMeansClusterer(init_mode=start, **EUCLIDEAN).fit(X, max_iters=1)
    assert len(model.centroids) == 5
    far = np.array([[100.0] * 4, [-100.0] * 4])
    one = FastKMeansClusterer(init_mode=far, min_weight=0, **EUCLIDEAN)
    one.fit_batch(X[:1])
    assert np.abs(one.centroids).max() > 50  # a stream begins where it was told to
    labels = NAMES[[0, 1, 2, 3, 4]]
    model = FastKMeansClassifier(init_mode=(start, labels), **EUCLIDEAN).fit(X, NAMES)
    kept = set(zip(*np.unique(labels, return_counts=True), strict=True))
    assert kept <= set(zip(*np.unique(model.centroid_labels, return_counts=True), strict=True))
    tags = FastMultiLabelKMeansClassifier(init_mode=(X[:2], [0, 1]), **EUCLIDEAN).fit(X, TAGS)
    assert (tags.centroid_labels == 0).sum() == (tags.centroid_labels == 1).sum() == 1
    assert FastKMeansRegressor(init_mode=start, **EUCLIDEAN).fit(X, NUMBERS).centroid_targets.shape == (5, 1)


def test_wrong_starting_prototypes():
    for start in (X[:3], (X[:3],), (X[:3], [0, 1]), (X[:3], [[0, 1]])):
        with pytest.raises(ValueError):
            FastKMeansClassifier(init_mode=start).fit(X, CLASS)
    with pytest.raises(ValueError, match="init_mode has the label 'fox' in row 1"):
        FastKMeansClassifier(init_mode=(X[:2], ["cat", "fox"])).fit(X, NAMES)
    with pytest.raises(ValueError, match="columns"):
        FastKMeansClusterer(init_mode=X[:, :3]).fit(X)
    with pytest.raises(ValueError, match="init_mode is an array of float32"):
        FastKMeansClusterer(init_mode=X[0]).fit(X)
    with pytest.raises(ValueError, match="each must have one"):
        FastMultiLabelKMeansClassifier(init_mode=(X[:2], [[1, 1], [0, 1]])).fit(X, TAGS)


def test_k_list_by_label_and_by_order():
    def counts(k_list, y=NAMES):
        model = FastKMeansClassifier(k_init=2, k_list=k_list, **EUCLIDEAN).fit(X, y)
        return dict(zip(*np.unique(model.centroid_labels, return_counts=True), strict=True))

    assert counts({"dog": 5}) == {"cat": 2, "dog": 5, "eel": 2}
    assert counts([1, 4, 3]) == {"cat": 1, "dog": 4, "eel": 3}
    assert counts({2: 4, 0: 1}, CLASS) == {0: 1, 1: 2, 2: 4}
    assert counts(np.array([3, 1, 1]), CLASS - 5) == {-5: 3, -4: 1, -3: 1}
    for wrong in ([1, 2], {"dog": 0}, {"dog": 1.5}, [1, 2, "3"], {"fox": 2}, 5):
        with pytest.raises(ValueError, match="k_list"):
            counts(wrong)


def test_k_list_serves_classes_that_come_later():
    model = FastKMeansClassifier(k_init=1, k_list={"eel": 4, "dog": 2}, **EUCLIDEAN)
    for name in ("cat", "dog", "eel"):
        model.fit_batch(X[NAMES == name], NAMES[NAMES == name])
    assert dict(zip(*np.unique(model.centroid_labels, return_counts=True), strict=True)) == {
        "cat": 1,
        "dog": 2,
        "eel": 4,
    }


def test_automatic_numbers_of_prototypes():
    assert 1 <= len(FastKMeansClusterer(k_init="auto", **EUCLIDEAN).fit(X).centroids) <= 3 * np.sqrt(90) + 1
    tight = FastKMeansClassifier(k_init="auto", **EUCLIDEAN).fit(
        np.repeat(X[:2], 20, axis=0), np.repeat([0, 1], 20)
    )
    assert len(tight.centroids) == 2  # all rows of a class are the same: one prototype
    auto = FastKMeansRegressor(k_targets="auto", k_features="auto", **EUCLIDEAN).fit(X, NUMBERS)
    assert len(auto.centroids) > 4
    assert len(FastKMeansClassifier(k_init=20, k_max=12, **EUCLIDEAN).fit(X, CLASS).centroids) <= 12


@pytest.mark.parametrize(
    "dtype, shown", [("float16", "float16"), ("bfloat16", "float32"), ("float64", "float64")]
)
@pytest.mark.parametrize("task", KINDS)
def test_prototypes_come_in_the_dtype_of_the_model(task, dtype, shown):
    model = fitted(task, dtype=dtype)
    assert model.centroids.dtype == shown
    assert model.centroid_weights.dtype == "float64"
    assert model.predict(X).shape[0] == 90


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("max_iters", "9", "max_iters is '9'; it must be an integer"),
        ("max_iters", 2.5, "max_iters is 2.5; it must be an integer"),
        ("tol", None, "tol is None; it must be a number"),
        ("eval_fraction", "half", "eval_fraction is 'half'; it must be a number"),
    ],
)
def test_arguments_of_fit_of_the_wrong_kind_are_named(name, value, words):
    with pytest.raises(TypeError, match=words):
        unfitted("classifier").fit(X, CLASS, **{name: value})


@pytest.mark.parametrize("name", ["max_iters", "epochs"])
def test_numbers_of_passes_have_a_range(name):
    model = fitted("classifier", soft_type="softmax_scaled")
    learn = model.fit if name == "max_iters" else model.finetune
    with pytest.raises(ValueError, match=f"{name} is {2**63}; at most {2**63 - 1} is possible"):
        learn(X, CLASS, **{name: 2**63})


@pytest.mark.parametrize("name", ["epochs", "early_stopping_rounds"])
@pytest.mark.parametrize("value", ["3", 2.5, True])
def test_arguments_of_finetune_of_the_wrong_kind_are_named(name, value):
    model = fitted("classifier", soft_type="softmax_scaled")
    with pytest.raises(TypeError, match=f"{name} is {value!r}; it must be an integer"):
        model.finetune(X, CLASS, **{name: value})


@pytest.mark.parametrize("value", ["3", 2.5, True])
def test_arguments_of_answers_of_the_wrong_kind_are_named(value):
    tags, classes = fitted("multilabel"), fitted("classifier")
    calls = {
        "m": [lambda: classes.predict_top(X, value), lambda: tags.predict_top(X, value)],
        "top_k": [lambda: tags.predict(X, "top_k", value), lambda: classes.explain(X, top_k=value)],
    }
    for name, some in calls.items():
        for call in some:
            with pytest.raises(TypeError, match=f"{name} is {value!r}; it must be an integer"):
                call()


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_have_a_range(seed):
    with pytest.raises(ValueError, match=f"random_state is {seed}; it must be in 0 to {2**64 - 1}"):
        unfitted("clusterer", random_state=seed).fit(X)
    assert hasattr(unfitted("clusterer", random_state=2**64 - 1).fit(X), "centroids")


def test_starting_prototypes_with_labels_are_refused_where_there_are_none():
    with pytest.raises(ValueError, match="init_mode is a tuple that is no array"):
        unfitted("regressor", init_mode=(X[:3], NUMBERS[:3])).fit(X, NUMBERS)


def test_the_loss_names_its_arguments():
    with pytest.raises(ValueError, match="^gamma_neg is -1"):
        AsymmetricLoss(gamma_neg=-1)
    with pytest.raises(ValueError, match="^clip is 1"):
        AsymmetricLoss(clip=1)


def test_public_calls_tell_their_types():
    """What type checkers call untyped is an error in strict code that uses it."""
    public = [*(getattr(fast_kmeans, name) for name in fast_kmeans.__all__ if name != "__version__")]
    public += [fast_kmeans.sparse.FastKMeansClassifier, *(getattr(plot, name) for name in plot.__all__), onnx.to_onnx]
    calls = {f"{c.__module__}.{c.__qualname__}": c for c in public}
    for cls in filter(inspect.isclass, public):
        own = inspect.getmembers(cls, lambda m: inspect.isroutine(m) or isinstance(m, property))
        calls |= {f"{cls.__name__}.{n}": getattr(m, "fget", m) for n, m in own if not n.startswith("_")}
    for name, call in calls.items():
        if inspect.isclass(call) or "sklearn" in call.__module__ or name.endswith("_request"):
            continue
        assert "return" in inspect.get_annotations(inspect.unwrap(call)), name
