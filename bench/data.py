# SPDX-License-Identifier: Apache-2.0
"""Rows to measure on, the same in every run: mixtures, noise, heavy tails, directions, repeated rows, and real sets.

`make(kind, n, dim, seed)` gives float32 rows. Kinds:

hierarchical  50 groups of 20 Gaussians each, of unequal sizes. The spread of a Gaussian falls as a power of the
              coordinate's number, and everything is rotated at random: like embeddings, a few directions say most.
isotropic     N(0, 1) in every coordinate: nothing to find, nothing to skip.
heavy         exp of a Gaussian, times a scale for each row: a few values dwarf the others.
sphere        the mixture, each row of length 1.
duplicates    rows drawn from n / 10 different rows of the mixture.
"""

import pathlib
import sys

import numpy as np

GROUPS, PER_GROUP = 50, 20
POWER = 0.6  # of the spectrum: coordinate i has standard deviation (1 + i)^-POWER
BLOCK = 65536


def hierarchical(n, dim, seed):
    shape = np.random.default_rng(
        [dim, 1]
    )  # centres and rotation: rows of every seed come from the same mixture
    spread = (1.0 + np.arange(dim)) ** -POWER
    rotation = np.linalg.qr(shape.standard_normal((dim, dim)))[0].astype(np.float32)
    groups = 3 * shape.standard_normal((GROUPS, 1, dim)) * spread
    centres = (groups + 1.5 * shape.standard_normal((GROUPS, PER_GROUP, dim)) * spread).reshape(-1, dim)
    share = np.exp(shape.standard_normal(len(centres)))
    rows = np.random.default_rng([seed, dim, 2])
    out = np.empty((n, dim), np.float32)
    for begin in range(0, n, BLOCK):
        end = min(begin + BLOCK, n)
        which = rows.choice(len(centres), end - begin, p=share / share.sum())
        noise = rows.standard_normal((end - begin, dim), np.float32) * spread.astype(np.float32)
        out[begin:end] = (centres[which].astype(np.float32) + noise) @ rotation
    return out


def isotropic(n, dim, seed):
    return np.random.default_rng([seed, dim, 3]).standard_normal((n, dim), np.float32)


def heavy(n, dim, seed):
    rows = np.random.default_rng([seed, dim, 4])
    return np.exp(rows.standard_normal((n, dim), np.float32)) * np.exp(
        rows.standard_normal((n, 1), np.float32)
    )


def sphere(n, dim, seed):
    rows = hierarchical(n, dim, seed)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def duplicates(n, dim, seed):
    rows = hierarchical(max(n // 10, 1), dim, seed)
    return rows[np.random.default_rng([seed, 5]).integers(len(rows), size=n)]


KINDS = {made.__name__: made for made in (hierarchical, isotropic, heavy, sphere, duplicates)}


def make(kind, n, dim, seed=0):
    """Rows of a kind, C-contiguous float32."""
    return np.ascontiguousarray(KINDS[kind](n, dim, seed), np.float32)


def classes(n, dim, n_classes, per_class, seed=0):
    """Rows and labels: each class has per_class Gaussians, near enough to each other that classes overlap."""
    shape = np.random.default_rng([dim, n_classes, 6])
    centres = shape.standard_normal((n_classes * per_class, dim), np.float32) * np.float32(
        2.2 / np.sqrt(np.sqrt(dim))
    )
    rows = np.random.default_rng([seed, dim, n_classes, 7])
    which = rows.permutation(n) % len(centres)  # every class has rows
    x = centres[which] + rows.standard_normal((n, dim), np.float32)
    return x, (which % n_classes).astype(np.int64)


def tags(n, dim, n_tags, per_tag, seed=0):
    """Rows and an indicator matrix: three tags a row, the row near the mean of one Gaussian of each."""
    shape = np.random.default_rng([dim, n_tags, 8])
    centres = shape.standard_normal((n_tags, per_tag, dim), np.float32)
    rows = np.random.default_rng([seed, dim, n_tags, 9])
    indicator = np.zeros((n, n_tags), bool)
    x = rows.standard_normal((n, dim), np.float32)
    for _ in range(3):
        tag = rows.permutation(n) % n_tags
        x += centres[tag, rows.integers(per_tag, size=n)]
        indicator[np.arange(n), tag] = True
    return x, indicator


def targets(n, dim, seed=0):
    """Rows of a mixture and one number each, a smooth function of a few coordinates."""
    x = make("hierarchical", n, dim, seed)
    return x, (x[:, 0] + x[:, 1] * x[:, 2] + x[:, 3] ** 2).astype(np.float64)


def real(folder, name):
    """x, y, x_test, y_test of a published set, read by the folder's load.py; None where there is none."""
    folder = pathlib.Path(folder)
    if not (folder / "load.py").exists():
        return None
    sys.path.insert(0, str(folder))
    try:
        from load import load

        found = load(name)
    finally:
        sys.path.remove(str(folder))
    x, test = (np.ascontiguousarray(found[part], np.float32) for part in ("X_train", "X_test"))
    return x, np.asarray(found["y_train"]), test, np.asarray(found["y_test"])
