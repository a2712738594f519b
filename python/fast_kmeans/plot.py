# SPDX-License-Identifier: Apache-2.0
"""Pictures of fitted estimators, by matplotlib.

Each function draws on ``ax`` and returns it; without ``ax`` it makes a figure of its own through pyplot, which
``plt.show()`` shows. Colours are those of Okabe and Ito (2008), which people with any colour vision can tell apart;
beyond seven classes the shape of the marker changes too.
"""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

__all__ = ["feature_weights", "history", "images", "learning_rate", "prototypes"]

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#4D4D4D")
MARKERS = "osD^vP*X"
FIRST, SECOND, QUIET = COLOURS[0], COLOURS[3], "#999999"
NUMBERS = "cividis"  # colour map of numbers
MOST_IN_LEGEND = 12  # classes; beyond, names stand at prototypes
MOST_WRITTEN = 300  # prototypes that are their class's name, where classes are many and names short
MOST_NAMED = 60  # prototypes of a clusterer whose numbers are written
MOST_ROWS = 4000  # rows drawn
MOST_CAPTIONED = 200  # images with a number below

LOSSES = {
    "clusterer": "mean distance to the nearest prototype",
    "classifier": "cross-entropy (nats)",
    "multilabel": "asymmetric loss",
    "regressor": "standardised mean squared error",
}
SCORES = {
    "clusterer": "minus mean distance",
    "classifier": "accuracy + log-probability / 1000",
    "multilabel": "micro F1",
    "regressor": "minus standardised RMSE",
}


# ---- how learning went


def learning_rate(estimator, ax=None) -> Any:
    """Draw what the last learning-rate search saw: the smoothed loss at each rate, and the rate it chose.

    Parameters
    ----------
    estimator : BaseFastKMeans
        After ``find_learning_rate``, or ``finetune`` without ``lr``.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fast_kmeans import FastKMeansClassifier, plot
    >>> X, y = load_iris(return_X_y=True)
    >>> model = FastKMeansClassifier(distance="euclidean").fit(X, y).finetune(X, y, epochs=2)
    >>> plot.learning_rate(model).get_xlabel()
    'learning rate (relative to the spread of the prototypes)'
    """
    lines = _lines(estimator, "learning rate")
    if not lines:
        raise ValueError("there was no learning-rate search: call find_learning_rate, or finetune without lr")
    starts = [i for i, line in enumerate(lines) if line["epoch"] == lines[0]["epoch"]]
    lines = lines[starts[-1] :]
    rate, loss = _column(lines, "lr"), _column(lines, "loss")
    ax = _axes(ax, (6, 3.8))
    ax.plot(rate, loss, color=FIRST, lw=2, label="smoothed loss")
    lowest = int(np.nanargmin(loss))
    ax.plot(rate[lowest], loss[lowest], "o", color=FIRST, label=f"lowest, at {rate[lowest]:.2g}")
    chosen = estimator.learning_rate_
    ax.axvline(chosen, color=SECOND, ls="--", label=f"chosen: {chosen:.2g}")
    ax.set_xscale("log")
    ax.set(xlabel="learning rate (relative to the spread of the prototypes)", ylabel=_loss_name(estimator))
    _finish(ax)
    _title(ax, "Learning-rate search", *ax.get_legend_handles_labels())
    return ax


def history(estimator, ax=None, phase: str | None = None) -> Any:
    """Draw how the loss went down while the estimator learned.

    Parameters
    ----------
    estimator : BaseFastKMeans
        A fitted estimator.
    ax : matplotlib.axes.Axes, optional
        Where to draw.
    phase : {'fit', 'finetune'}, optional
        Passes over the data of ``fit``, or epochs of ``finetune``; None: ``finetune`` if there was any.
        The right axis is the score on held-out rows where there were any; for ``fit`` without them,
        how far the prototype that moved most moved.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fast_kmeans import FastKMeansClusterer, plot
    >>> X, _ = load_iris(return_X_y=True)
    >>> plot.history(FastKMeansClusterer(distance="euclidean").fit(X)).get_xlabel()
    'pass over the data'
    """
    if phase not in (None, "fit", "finetune"):
        raise ValueError(f"phase is {phase!r}; valid: 'fit', 'finetune', None")
    lines = _lines(estimator, phase or "finetune")
    if not lines and phase is None:
        lines = _lines(estimator, "fit")
    if not lines:
        raise ValueError(
            "the history is empty: fit_batch alone keeps none" if phase is None else f"no {phase} yet"
        )
    tuned = lines[0]["phase"] == "finetune"
    step = np.arange(1, len(lines) + 1)
    ax = _axes(ax, (6, 3.8))
    drawn = ax.plot(step, _column(lines, "loss"), color=FIRST, lw=2, marker=_dot(step), label="loss")
    ax.set_xlabel("epoch" if tuned else "pass over the data")
    ax.set_ylabel(_loss_name(estimator) if tuned else _distance_name(estimator), color=FIRST)
    ax.xaxis.get_major_locator().set_params(integer=True)
    _finish(ax)
    score, shift = _column(lines, "eval"), _column(lines, "shift")
    if np.isfinite(score).any():
        best = int(np.nanargmax(score))
        right, name = ax.twinx(), f"{SCORES[_task(estimator)]} on held-out rows"
        drawn += right.plot(
            step, score, color=SECOND, lw=2, ls="--", marker=_dot(step), label="held-out score"
        )
        drawn += right.plot(
            step[best], score[best], "o", ms=9, mfc="none", color=SECOND, label=f"best: {score[best]:.3g}"
        )
    elif (shift > 0).any():
        right, name = ax.twinx(), "largest move of a prototype"
        shift[shift <= 0] = np.nan  # passes in which nothing moved have no logarithm
        drawn += right.plot(step, shift, color=SECOND, lw=2, ls="--", marker=_dot(step), label="largest move")
        right.set_yscale("log")
    else:
        right = None
    if right is not None:
        right.set_ylabel(name, color=SECOND)
        right.spines["top"].set_visible(False)
    _title(ax, "Fine-tuning" if tuned else "Fit", drawn, [line.get_label() for line in drawn])
    return ax


# ---- what was learned


def feature_weights(estimator, ax=None, most: int = 30) -> Any:
    """Draw the weights of the features, the largest first.

    Parameters
    ----------
    estimator : BaseFastKMeans
        A fitted estimator; without ``auto_feature_weights`` or ``feature_weights`` all weights are 1.
    ax : matplotlib.axes.Axes, optional
        Where to draw.
    most : int, default 30
        How many features are drawn.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fast_kmeans import FastKMeansClassifier, plot
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = FastKMeansClassifier(distance="euclidean", auto_feature_weights=True).fit(X, y)
    >>> [text.get_text() for text in plot.feature_weights(model).get_yticklabels()][:2]
    ['petal length (cm)', 'petal width (cm)']
    """
    check_is_fitted(estimator)
    weights = _numpy(estimator.feature_weights)
    names = getattr(estimator, "feature_names_in_", None)
    order = np.argsort(-weights, kind="stable")[:most]
    ax = _axes(ax, (6, 0.9 + 0.24 * len(order)))
    ax.barh(np.arange(len(order)), weights[order], color=FIRST, height=0.7)
    ax.axvline(1, color=SECOND, ls="--", label="1: all features alike")
    ax.set_yticks(np.arange(len(order)), [f"feature {d}" if names is None else str(names[d]) for d in order])
    ax.set_ylim(len(order) - 0.4, -0.6)
    part = f": {len(order)} largest of {len(weights)}" if len(order) < len(weights) else ""
    ax.set_xlabel(f"weight in the distance (sum {weights.sum():.4g})")
    _finish(ax, grid="x")
    _title(ax, f"Feature weights{part}", *ax.get_legend_handles_labels())
    return ax


def images(estimator, shape, ax=None, cmap: str = "gray_r", most: int = 400) -> Any:
    """Draw prototypes as images, a block of rows for each class, the heaviest first.

    A regressor's prototypes go by their target, a clusterer's by their mass. All images share one scale.

    Parameters
    ----------
    estimator : BaseFastKMeans
        A fitted estimator whose features are pixels.
    shape : tuple
        (height, width), or (height, width, 3) of colours between 0 and 1.
    ax : matplotlib.axes.Axes, optional
        Where to draw.
    cmap : str or matplotlib.colors.Colormap, default 'gray_r'
        Colours of pixels.
    most : int, default 400
        How many images are drawn at most; of each class the heaviest.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fast_kmeans import FastKMeansClassifier, plot
    >>> X, y = load_digits(return_X_y=True)
    >>> ax = plot.images(FastKMeansClassifier(distance="euclidean").fit(X, y), shape=(8, 8))
    >>> len(ax.get_yticklabels())
    10
    """
    check_is_fitted(estimator)
    points, mass = _numpy(estimator.centroids), _numpy(estimator.centroid_weights)
    if int(np.prod(shape)) != points.shape[1] or len(shape) not in (2, 3):
        raise ValueError(
            f"shape is {tuple(shape)}, {int(np.prod(shape))} pixels; prototypes have {points.shape[1]}"
        )
    blocks, captions = _blocks(estimator, mass, most)
    n_shown = sum(len(block) for _, block in blocks)
    grid = _Grid([len(block) for _, block in blocks], shape, captioned=n_shown <= MOST_CAPTIONED)
    ax = _axes(ax, grid.inches)
    low, high = np.quantile(points, [0.002, 0.998])  # a single wild pixel does not grey the rest
    ax.imshow(grid.mosaic(points, [block for _, block in blocks]), cmap=cmap, vmin=low, vmax=high)
    for b, (_, block) in enumerate(blocks if grid.caption else ()):
        for i, j in enumerate(block):
            top, left = grid.corner(b, i)
            at = left + (grid.width - 1) / 2, top + grid.height - 0.3
            ax.text(*at, captions[j], ha="center", va="top", fontsize=grid.text_size(captions), color="0.35")
    ticks = [(grid.middle(b), name) for b, (name, _) in enumerate(blocks) if name]
    ax.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    part = (
        f"{n_shown} of {len(points)} prototypes, the heaviest"
        if n_shown < len(points)
        else f"{n_shown} prototypes"
    )
    ax.set_title(
        part + (f", each with its {_caption_meaning(estimator)}" if grid.caption else ""), fontsize="medium"
    )
    return ax


def prototypes(estimator, X=None, y=None, ax=None) -> Any:
    """Draw prototypes, and rows if there are any, in two dimensions.

    Two features are drawn as they are; more are projected onto the two directions in which the prototypes vary most
    (principal components, for display only). The area of a prototype is its mass.

    Parameters
    ----------
    estimator : BaseFastKMeans
        A fitted estimator.
    X : array-like of shape (n_samples, n_features), optional
        Rows to draw as small dots; of more than 4000, every so many.
    y : array-like of shape (n_samples,), optional
        Their classes or targets, which give colours. For tags: an indicator matrix; rows of one tag get its colour.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fast_kmeans import FastKMeansClassifier, plot
    >>> X, y = load_iris(return_X_y=True)
    >>> ax = plot.prototypes(FastKMeansClassifier(distance="euclidean").fit(X, y), X, y)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['0', '1', '2', 'prototype of 16.7 rows']
    """
    check_is_fitted(estimator)
    task = _task(estimator)
    view = _View(estimator)
    given, ax = ax is not None, _axes(ax, (7, 5))
    _show_axes_names(ax, view)
    place, mass = view.place(_numpy(estimator.centroids)), _numpy(estimator.centroid_weights)
    area = _areas(mass)
    if X is not None:
        X, y = _some_rows(X, y)
        X = view.place(X)
    if task == "regressor":
        target = _numpy(estimator.centroid_targets)
        _draw_numbers(ax, place, area, target[:, 0] if target.ndim > 1 else target, X, _first_column(y))
        written = False
    else:
        written = _draw_classes(ax, estimator, place, area, X, y)
    _finish(ax)
    _add_legend(ax, task, mass, area, given, written)
    return ax


# ---- prototypes in two dimensions


class _View:
    """From features to two coordinates."""

    def __init__(self, estimator):
        points = _numpy(estimator.centroids)
        self.unit = estimator._model.describe()["params"]["distance"] == "cosine" and points.shape[1] > 2
        names = getattr(estimator, "feature_names_in_", None)
        self.names = [
            f"feature {d}" if names is None else str(names[d]) for d in range(min(2, points.shape[1]))
        ]
        self.middle, self.axes = np.zeros(points.shape[1]), np.eye(points.shape[1])[:2]
        if points.shape[1] > 2:
            points = self._unit(points)
            self.middle = points.mean(axis=0)
            _, spread, directions = np.linalg.svd(points - self.middle, full_matrices=False)
            share = spread**2 / max(float((spread**2).sum()), 1e-300)
            self.axes = directions[:2]
            self.names = [
                f"component {i + 1} ({share[i]:.0%} of the prototypes' variance)"
                for i in range(len(self.axes))
            ]

    def _unit(self, points):
        if not self.unit:
            return points
        length = np.linalg.norm(points, axis=1, keepdims=True)
        return points / np.where(length > 0, length, 1)

    def place(self, points):
        points = np.where(np.isnan(points), self.middle, points)
        placed = (self._unit(points) - self.middle) @ self.axes.T
        return np.hstack([placed, np.zeros((len(placed), 2 - placed.shape[1]))])


def _show_axes_names(ax, view):
    ax.set_xlabel(view.names[0])
    if len(view.names) > 1:
        ax.set_ylabel(view.names[1])
    else:
        ax.set_yticks([])


def _areas(mass):
    """Points squared, by mass: prototypes of a large model are smaller, none is too small to see."""
    typical = np.clip(1600 / np.sqrt(len(mass)), 16, 220)
    return typical * np.clip(mass / max(float(mass.mean()), 1e-300), 0.2, 4)


def _some_rows(X, y):
    if hasattr(X, "tocsr"):
        X = X.tocsr()
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    if y is not None and len(_numpy(y)) != n:
        raise ValueError(f"y has {len(_numpy(y))} entries, X has {n} rows")
    every = slice(None, None, max(1, -(-n // MOST_ROWS)))
    X = X[every].toarray() if hasattr(X, "tocsr") else _numpy(X)[every]
    return np.asarray(X, np.float64), None if y is None else _numpy(y)[every]


def _first_column(y):
    return None if y is None else np.asarray(y, np.float64).reshape(len(y), -1)[:, 0]


def _draw_numbers(ax, place, area, target, X, y):
    """Colours are targets, on one scale for rows and prototypes."""
    both = target if y is None else np.concatenate([target, y])
    scale = {"cmap": NUMBERS, "vmin": np.nanmin(both), "vmax": np.nanmax(both)}
    if X is not None:
        colours = {"color": QUIET} if y is None else {"c": y, **scale}
        ax.scatter(*X.T, s=6, alpha=0.5, lw=0, zorder=1, label="row", **colours)
    drawn = ax.scatter(*place.T, s=area, c=target, zorder=2, **_edge(place), **scale)
    ax.figure.colorbar(drawn, ax=ax, label="target")


def _draw_classes(ax, estimator, place, area, X, y):
    """Each class has a colour and a marker; a clusterer's prototypes have numbers instead. Returns whether prototypes
    are drawn as the names of their classes."""
    task = _task(estimator)
    names, owner = _owners(estimator)
    if y is not None and np.ndim(y) == 2:  # tags
        y = np.where((y != 0).sum(axis=1) == 1, (y != 0).argmax(axis=1), -1)
    if task == "clusterer" and y is not None:
        names = np.unique(y)
    few = len(names) <= MOST_IN_LEGEND
    if X is not None:
        rest = np.ones(len(X), bool) if y is None else ~np.isin(y, names)
        faint = {"lw": 0, "zorder": 1, "alpha": 0.5 if len(X) <= 1000 else 0.3}
        if rest.any():
            ax.scatter(*X[rest].T, s=6, color=QUIET, **faint)
        for c, name in enumerate(names if y is not None else ()):
            label = str(name) if few and task == "clusterer" else None
            ax.scatter(*X[y == name].T, s=8, label=label, **faint, **_style(c))
    if task == "clusterer":
        ax.scatter(*place.T, s=area, color="black", zorder=2, **_edge(place))
        if len(place) <= MOST_NAMED:
            _write_beside(ax, place, range(len(place)), area)
        return False
    written = not few and len(place) <= MOST_WRITTEN and max(len(str(name)) for name in names) <= 3
    for c, name in enumerate(names):
        own = owner == c
        if written:
            _write_at(ax, place[own], str(name), area[own], _style(c)["color"])
        else:
            label = str(name) if few else None
            ax.scatter(*place[own].T, s=area[own], zorder=2, label=label, **_edge(place), **_style(c))
    if not few and not written:
        heaviest = [np.flatnonzero(owner == c)[np.argmax(area[owner == c])] for c in range(len(names))]
        _write_beside(ax, place[heaviest], names, area[heaviest])
    return written


def _style(c):
    return {"color": COLOURS[c % len(COLOURS)], "marker": MARKERS[c // len(COLOURS) % len(MARKERS)]}


def _edge(place):
    return {"edgecolors": "white", "lw": 1 if len(place) <= 200 else 0.4}


def _outline():
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=2.5, foreground="white")]


def _write_beside(ax, place, names, area):
    for at, name, size in zip(place, names, area, strict=True):
        beside = 0.5 * np.sqrt(size) + 1  # points
        ax.annotate(
            str(name),
            at,
            (beside, beside),
            textcoords="offset points",
            fontsize="small",
            zorder=3,
            path_effects=_outline(),
        )


def _write_at(ax, place, name, area, colour):
    """The name of a class in place of its markers."""
    ax.scatter(*place.T, s=area, alpha=0, zorder=2)  # the limits of the picture know them
    for at, size in zip(place, area, strict=True):
        ax.text(
            *at,
            name,
            ha="center",
            va="center",
            fontsize=float(np.clip(1.2 * np.sqrt(size), 6, 13)),
            color=colour,
            weight="bold",
            zorder=3,
            path_effects=_outline(),
            clip_on=True,
        )


def _add_legend(ax, task, mass, area, given, written):
    """Above a picture with a colour bar, on the right of other pictures of our own, anywhere in a given one."""
    from matplotlib.lines import Line2D

    handles, names = ax.get_legend_handles_labels()
    side = float(np.sqrt(np.clip(np.median(area), 25, 120)))
    about = Line2D(
        [], [], ls="", marker="o", ms=side, mfc="black" if task == "clusterer" else QUIET, mec="white"
    )
    of = f"prototype of {mass.mean():.3g} rows"
    if written:
        about, of = Line2D([], [], ls="", marker="$a$", ms=7, color=QUIET), "prototype of class a"
    handles, names = [*handles, about], [*names, of]
    if task == "regressor":
        _title(ax, "", handles, names)
    elif given:
        ax.legend(handles, names, fontsize="small")
    else:
        ax.legend(handles, names, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    for handle in ax.get_legend().legend_handles[:-1]:
        handle.set(sizes=[50], alpha=1)


# ---- images


def _blocks(estimator, mass, most):
    """[(name, prototypes in order)], and a caption for each prototype."""
    task = _task(estimator)
    heavy = np.argsort(-mass, kind="stable")
    captions = [f"{m:.3g}" for m in mass]
    if task == "clusterer":
        return [("", heavy[:most])], captions
    if task == "regressor":
        target = _first_column(_numpy(estimator.centroid_targets))
        shown = heavy[:most]
        return [("", shown[np.argsort(target[shown], kind="stable")])], [f"{t:.3g}" for t in target]
    names, owner = _owners(estimator)
    each = max(1, most // len(names))
    return [(str(name), heavy[owner[heavy] == c][:each]) for c, name in enumerate(names[:most])], captions


def _caption_meaning(estimator):
    return "target" if _task(estimator) == "regressor" else "mass"


class _Grid:
    """Blocks of images in one mosaic of pixels: each block begins a new row, and a gap sets it off."""

    def __init__(self, counts, shape, captioned):
        self.shape, (self.height, self.width) = tuple(shape), shape[:2]
        side = max(self.height, self.width)
        self.caption = max(1, round(0.3 * side)) if captioned else 0
        self.gap = max(1, round(0.08 * side))
        self.step = self.height + self.gap + self.caption, self.width + self.gap
        self.n_columns = self._columns(counts)
        n_rows = np.array([-(-count // self.n_columns) for count in counts])
        height = n_rows * self.step[0] + (self.gap if len(counts) > 1 else 0)
        self.top = np.concatenate([[0], np.cumsum(height)])
        self.n_rows = n_rows
        self.pixels = int(self.top[-1]), self.n_columns * self.step[1]
        self.scale = min(0.9, 9 / self.n_columns, 14 * self.step[1] / self.pixels[0])  # inches of a column
        high = self.scale * self.pixels[0] / self.step[1]
        self.inches = max(3.0, self.n_columns * self.scale + 0.9), max(1.6, high + 0.5)

    def _columns(self, counts):
        """As many as the largest class has, up to 20; one block: about half as wide again as high."""
        if len(counts) > 1:
            return min(max(counts), 20)
        return int(np.clip(np.ceil(np.sqrt(1.6 * counts[0] * self.step[0] / self.step[1])), 1, 40))

    def corner(self, block, i):
        """Top and left of image i of a block."""
        return self.top[block] + i // self.n_columns * self.step[0], i % self.n_columns * self.step[1]

    def middle(self, block):
        return self.top[block] + (self.n_rows[block] * self.step[0] - self.gap - self.caption) / 2 - 0.5

    def mosaic(self, points, blocks):
        """NaN, which is drawn as nothing, between images of numbers; white between images of colours."""
        pixels = np.full((*self.pixels, *self.shape[2:]), np.nan if len(self.shape) == 2 else 1.0)
        for b, block in enumerate(blocks):
            for i, j in enumerate(block):
                top, left = self.corner(b, i)
                image = points[j].reshape(self.shape)
                pixels[top : top + self.height, left : left + self.width] = (
                    image if image.ndim == 2 else image.clip(0, 1)
                )
        return pixels

    def text_size(self, captions):
        """In points; the longest caption is as wide as an image."""
        inches = self.scale * self.width / self.step[1]
        return float(np.clip(72 * inches / (0.62 * max(map(len, captions))), 3, 9))


# ---- common to all


def _axes(ax, size):
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install fast-kmeans-suite[plot]") from error
    return pyplot.subplots(figsize=size, layout="constrained")[1]


def _finish(ax, grid="both"):
    ax.grid(axis=grid, color="0.9", lw=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _title(ax, text, handles, names):
    """A title and below it the legend, both above the picture: they cover nothing."""
    ax.set_title(text, loc="left", pad=22)
    ax.legend(
        handles,
        names,
        frameon=False,
        fontsize="small",
        ncols=len(names),
        loc="lower left",
        borderaxespad=0.2,
        bbox_to_anchor=(0, 1),
        columnspacing=1.2,
        handlelength=1.6,
    )


def _task(estimator):
    return estimator._model.describe()["params"]["task"]


def _distance_name(estimator):
    kind = {"euclidean": "squared distance", "l1": "l1 distance", "cosine": "cosine distance"}
    return f"mean {kind[estimator._model.describe()['params']['distance']]} to the nearest prototype"


def _loss_name(estimator):
    return _distance_name(estimator) if _task(estimator) == "clusterer" else LOSSES[_task(estimator)]


def _owners(estimator):
    """Names of the classes, and the place of each prototype's among them."""
    if _task(estimator) == "clusterer":
        return np.zeros(0), np.zeros(0)
    labels = _numpy(estimator.centroid_labels)
    return np.unique(labels, return_inverse=True)


def _lines(estimator, phase):
    check_is_fitted(estimator)
    return [line for line in estimator.history_ if line["phase"] == phase]


def _column(lines, name):
    return np.array([line[name] for line in lines], float)


def _dot(step):
    """Few steps are few points, not a line."""
    return "o" if len(step) < 15 else None


def _numpy(values):
    """numpy of what an estimator gives or takes: arrays, tensors, tables."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        return (values.double() if values.is_floating_point() else values).numpy()
    values = np.asarray(values)
    return values.astype(np.float64) if values.dtype.kind == "f" else values
