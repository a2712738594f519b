# SPDX-License-Identifier: Apache-2.0
"""The supervised models against torch_reference: a function measures one engine at one case, as in clustering.py.

Both start from the same prototypes; fine-tuning and answers from a model that FastKMeans has fitted, untimed.
"""

import numpy as np

RATE = 0.03
WARM = 1024
PASSES_BEFORE = 3  # of the untimed fit


def tensors(case, *names):
    import torch

    torch.set_num_threads(case.threads)
    return [torch.from_numpy(case.array(name)) for name in names]


def classifier_of(case, start, label):
    from fast_kmeans import FastKMeansClassifier

    return FastKMeansClassifier(
        distance="euclidean",
        soft_type="softmax_scaled",
        init_mode=(start, label),
        n_threads=case.threads,
        min_weight=0,
    )


def accuracy(case, answer):
    return float((np.asarray(answer) == case.array("y_test")).mean())


# ---- classifier: fit


def fit_fastkmeans(case, clock):
    x, y, start, label = (case.array(name) for name in ("x", "y", "start", "start_label"))
    classifier_of(case, start, label).fit(start, label, max_iters=1)
    model = clock.run(
        lambda: classifier_of(case, start, label).fit(x, y, max_iters=case.passes, tol=0), per=case.passes
    )
    return {"accuracy": accuracy(case, model.predict(case.array("x_test")))}


def fit_torch(case, clock):
    from . import torch_reference as reference

    x, y, start, label, test = tensors(case, "x", "y", "start", "start_label", "x_test")
    reference.fit_classes(start, label, start, label, case.classes, 1)
    centres, scale = clock.run(
        lambda: reference.fit_classes(x, y, start, label, case.classes, case.passes), per=case.passes
    )
    answer = reference.predict_classes(test, centres, label, case.classes, 5, 0.25 * scale)
    return {"accuracy": accuracy(case, answer)}


# ---- classifier: fine-tuning and answers


def fitted(case):
    x, y, start, label = (case.array(name) for name in ("x", "y", "start", "start_label"))
    return classifier_of(case, start, label).fit(x, y, max_iters=PASSES_BEFORE, tol=0)


def as_tensors(model):
    """What the reference needs of a fitted model: prototypes, labels, scale and the temperature in use."""
    import torch

    facts = model._model.describe()
    centres = torch.from_numpy(np.ascontiguousarray(model.centroids, np.float32))
    return centres, torch.from_numpy(np.asarray(model.centroid_labels)), facts["scale"], facts["temperature"]


def finetune_fastkmeans(case, clock):
    model, x, y = fitted(case), case.array("x"), case.array("y")
    fitted_few = classifier_of(case, case.array("start"), case.array("start_label"))
    fitted_few.fit(case.array("start"), case.array("start_label"), max_iters=1)
    fitted_few.finetune(x[:WARM], y[:WARM], epochs=1, lr=RATE)
    clock.run(lambda: model.finetune(x, y, epochs=case.passes, lr=RATE), per=case.passes, once=True)
    return {"accuracy": accuracy(case, model.predict(case.array("x_test")))}


def finetune_torch(case, clock):
    from . import torch_reference as reference

    x, y, test = tensors(case, "x", "y", "x_test")
    centres, label, scale, _ = as_tensors(fitted(case))
    reference.finetune(x[:WARM], y[:WARM], centres, label, scale, 1, RATE)
    centres, temperature = clock.run(
        lambda: reference.finetune(x, y, centres, label, scale, case.passes, RATE), per=case.passes, once=True
    )
    answer = reference.predict_classes(test, centres, label, case.classes, 5, temperature * scale)
    return {"accuracy": accuracy(case, answer)}


def predict_fastkmeans(case, clock):
    model, x = fitted(case), case.array("x_test")
    model.predict(x[:64])
    return {"accuracy": accuracy(case, clock.run(lambda: model.predict(x)))}


def predict_torch(case, clock):
    from . import torch_reference as reference

    (x,) = tensors(case, "x_test")
    model = fitted(case)
    centres, label, _, temperature = as_tensors(model)
    reference.predict_classes(x[:64], centres, label, case.classes, 5, temperature)
    answer = clock.run(lambda: reference.predict_classes(x, centres, label, case.classes, 5, temperature))
    return {
        "accuracy": accuracy(case, answer),
        "agree": float((answer.numpy() == model.predict(case.array("x_test"))).mean()),
    }


# ---- multi-label: fit; regressor: answers


def tags_fastkmeans(case, clock):
    from fast_kmeans import FastMultiLabelKMeansClassifier

    x, y, start, tag = (case.array(name) for name in ("x", "y", "start", "start_label"))
    one_each = np.zeros((len(tag), case.classes), bool)
    one_each[np.arange(len(tag)), tag] = True

    def fit(rows, tags, passes):
        return FastMultiLabelKMeansClassifier(
            distance="euclidean",
            soft_type="softmax_scaled",
            init_mode=(start, one_each),
            n_threads=case.threads,
            min_weight=0,
        ).fit(rows, tags, max_iters=passes, tol=0)

    fit(start, one_each, 1)
    model = clock.run(lambda: fit(x, y, case.passes), per=case.passes)
    return {"inertia": own_inertia(case, model.centroids, model.centroid_labels)} if case.judge else {}


def tags_torch(case, clock):
    from . import torch_reference as reference

    x, y, start, tag = tensors(case, "x", "y", "start", "start_label")
    reference.fit_tags(x[:WARM], y[:WARM], start, tag, 1)
    centres, _ = clock.run(lambda: reference.fit_tags(x, y, start, tag, case.passes), per=case.passes)
    return {"inertia": own_inertia(case, centres.numpy(), case.array("start_label"))} if case.judge else {}


def own_inertia(case, centres, tag):
    """Of each row to the nearest prototype of each of its tags."""
    x, y, total = case.array("x"), case.array("y"), 0.0
    tag = np.asarray(tag).reshape(-1)
    for t in range(y.shape[1]):
        mine, own = x[y[:, t]].astype(np.float64), np.asarray(centres)[tag == t]
        total += ((mine[:, None] - own) ** 2).sum(2).min(1).sum()
    return float(total)


def regressor_of(case):
    from fast_kmeans import FastKMeansRegressor

    return FastKMeansRegressor(
        k_targets=case.classes,
        k_features=case.k // case.classes,
        distance="euclidean",
        soft_type="softmax_scaled",
        n_threads=case.threads,
    ).fit(case.array("x"), case.array("y"), max_iters=PASSES_BEFORE)


def error(case, answer):
    return float(np.sqrt(np.mean((np.asarray(answer) - case.array("y_test")) ** 2)))


def values_fastkmeans(case, clock):
    model, x = regressor_of(case), case.array("x_test")
    model.predict(x[:64])
    return {"rmse": error(case, clock.run(lambda: model.predict(x)))}


def values_torch(case, clock):
    import torch

    from . import torch_reference as reference

    (x,) = tensors(case, "x_test")
    model = regressor_of(case)
    centres = torch.from_numpy(np.ascontiguousarray(model.centroids, np.float32))
    target = torch.from_numpy(np.asarray(model.centroid_targets, np.float32).reshape(-1))
    tau = model._model.describe()["temperature"]
    reference.predict_values(x[:64], centres, target, 5, tau)
    return {"rmse": error(case, clock.run(lambda: reference.predict_values(x, centres, target, 5, tau)))}
