# SPDX-License-Identifier: Apache-2.0
"""The mathematics of the four models, written down once more: plain float64 formulas of whole matrices, for
tests to compare with. Nothing here is fast and nothing here calls the library.

Shapes: x n x D, c K x D, d n x K (distances), chosen n x K (bool: the set S), r n x K (shares, 0 outside S).
Everything a gradient flows through is a torch tensor, so torch.autograd is the oracle of the derivatives.
"""

import json
import math

import numpy as np
import torch

EPSILON = 1e-6  # of 'scaled', in units of s
torch.set_num_threads(1)  # matrices are small
WINDOW = (0.8 / 1.2) ** 2  # repulsion acts where min(d+, d-) / max(d+, d-) exceeds this


def tensor(values, grad=False):
    return torch.tensor(np.asarray(values, dtype=np.float64), dtype=torch.float64, requires_grad=grad)


# ---- distance ----------------------------------------------------------------------------------------------


def distances(metric, x, c, weights=None, mask=None):
    """n x K. Active weight a = w m, A = sum a; what is masked is 0 before anything touches it. A = 0:
    distance 0."""
    n, dim = x.shape
    a = torch.ones(n, dim, dtype=torch.float64) if mask is None else tensor(mask)
    x = torch.where(a > 0, x, torch.zeros_like(x))
    if weights is not None:
        a = a * weights
    a, x, c = a[:, None, :], x[:, None, :], c[None, :, :]
    total = a.sum(-1)
    if metric == "cosine":
        dot = (a * x * c).sum(-1)
        square = (a * x * x).sum(-1) * (a * c * c).sum(-1)
        empty = square <= 0
        cosine = dot / torch.where(empty, torch.ones_like(square), square).sqrt()
        d = 1 - torch.where(empty, torch.zeros_like(cosine), cosine)
    else:
        gap = (x - c).abs() if metric == "l1" else (x - c) ** 2
        d = dim / torch.where(total > 0, total, torch.ones_like(total)) * (a * gap).sum(-1)
    return torch.where(total > 0, d, torch.zeros_like(d))


def similarity(metric, d, scale):
    return 1 - d if metric == "cosine" else 1 / (1 + d / scale)


# ---- routing -----------------------------------------------------------------------------------------------


def order(d):
    """Prototypes of each row, nearest first, ties to the lower number."""
    return torch.tensor(np.argsort(d.detach().numpy(), axis=1, kind="stable"))


def candidates(d, top_k, allowed=None):
    """The set S: the top_k nearest (-1: all); allowed (K, bool) leaves prototypes out."""
    n, k = d.shape
    d = d.detach().clone()
    if allowed is not None:
        d[:, ~allowed] = math.inf
    chosen = torch.zeros(n, k, dtype=torch.bool)
    chosen.scatter_(1, order(d)[:, : k if top_k == -1 else top_k], True)
    return chosen if allowed is None else chosen & allowed


def nearest_of(d, same):
    """The nearest prototype among those of `same` (n x K, bool), as n x K bool."""
    return candidates(torch.where(same, d.detach(), torch.full_like(d, math.inf)), 1)


def power_of(metric, idw_power=None):
    return idw_power or (8 if metric == "l1" else 4)


def shares(soft, d, chosen, *, power=4, scale=1.0, tau=1.0, bias=0.0, shift=None):
    """r of 'hard', 'mean', 'scaled' and 'softmax_scaled'. tau, bias: a number or one for each prototype;
    shift: added to the logits (sampled classes)."""
    if soft == "hard":
        return nearest_of(d, chosen).to(torch.float64)
    if soft == "mean":
        return chosen / chosen.sum(1, keepdim=True).to(torch.float64)
    logit = -power * torch.log(EPSILON * scale + d) if soft == "scaled" else bias - d / tau
    if shift is not None:
        logit = logit + shift
    return torch.softmax(torch.where(chosen, logit, torch.full_like(logit, -math.inf)), dim=1)


def class_sums(r, class_of, n_classes):
    """p_c: n x C."""
    return r @ torch.nn.functional.one_hot(torch.as_tensor(class_of), n_classes).to(torch.float64)


# ---- losses ------------------------------------------------------------------------------------------------


def weighted_mean(values, u=None):
    return values.mean() if u is None else (tensor(u) * values).sum() / tensor(u).sum()


def cross_entropy(p, y, u=None, smoothing=0.0):
    """-sum_c t_c log p_c, t the smoothed one-hot of y. A class without a candidate has p_c = 0 whatever
    prototypes do: its share of the smoothing stays with y."""
    n, n_classes = p.shape
    there = p > 0
    t = there * torch.tensor(smoothing / n_classes, dtype=torch.float64)
    t[torch.arange(n), torch.as_tensor(y)] += 1 - t.sum(1)
    return weighted_mean(-torch.where(there, t * torch.log(torch.where(there, p, 1.0)), 0.0).sum(1), u)


def squared_error(r, targets, y, std, u=None):
    """Mean over targets of ((sum_j r_j t_j - y) / std)^2."""
    return weighted_mean((((r @ targets - tensor(y)) / tensor(std)) ** 2).mean(1), u)


def tag_scores(d, tag_of, n_tags, tau, alpha, beta):
    """z_l = alpha_l max_{j in l} (-d_j / tau) + beta_l: n x L."""
    tag_of = torch.as_tensor(tag_of)
    best = torch.stack([(-d[:, tag_of == tag] / tau).max(1).values for tag in range(n_tags)], 1)
    return alpha * best + beta


def asymmetric(p, positive, gamma_pos, gamma_neg, clip):
    """Ridnik et al. 2021, each probability on its own."""
    moved = torch.clamp(p - clip, min=0)
    there = (1 - p) ** gamma_pos * torch.log(torch.where(positive, p, 1.0))
    absent = moved**gamma_neg * torch.log(1 - moved)
    return -torch.where(positive, there, absent)


def diversity(metric, c, class_of, scale, weights=None):
    """Mean over pairs of a class of sim^2."""
    class_of = torch.as_tensor(class_of)
    i, j = torch.triu_indices(len(c), len(c), 1)
    keep = class_of[i] == class_of[j]
    if not keep.any():
        return c.sum() * 0
    d = torch.stack(
        [
            distances(metric, c[a : a + 1], c[b : b + 1], weights)[0, 0]
            for a, b in zip(i[keep], j[keep], strict=True)
        ]
    )
    return (similarity(metric, d, scale) ** 2).mean()


# ---- phase 1 -----------------------------------------------------------------------------------------------


def unit_rows(x, a=None):
    """Rows of length 1 under their active weights a."""
    length = np.sqrt(((np.ones_like(x) if a is None else a) * x * x).sum(1, keepdims=True))
    return x / np.where(length > 0, length, 1)


def directions(x, weights=None, mask=None):
    """What rows count as under cosine: unit rows; where a mask hides part of a row, what is left has its
    share of the length, sqrt(A / D)."""
    m = np.ones_like(x) if mask is None else mask
    a = m if weights is None else weights * m
    return unit_rows(np.where(m > 0, x, 0), a) * np.sqrt(a.mean(1, keepdims=True))


def own_nearest(metric, x, c, same, weights=None, mask=None):
    """(index, distance) of the nearest prototype among `same` (n x K bool); ties to the lower number."""
    d = distances(metric, tensor(x), tensor(c), None if weights is None else tensor(weights), mask).numpy()
    d = np.where(same, d, np.inf)
    index = d.argmin(1)
    return index, d[np.arange(len(x)), index]


def sums(x, u, mask, index, k):
    """n_jd = sum u m and the means by prototype and coordinate over the rows assigned to it."""
    share = u[:, None] * mask
    n = np.zeros((k, x.shape[1]))
    total = np.zeros((k, x.shape[1]))
    np.add.at(n, index, share)
    np.add.at(total, index, share * np.where(mask > 0, x, 0))
    return n, total / np.where(n > 0, n, 1)


def ema(c, age, n, mean, decay=1.0):
    """W += n; c += (n / W)(mean - c), by coordinate. Returns (c, W)."""
    age = age * decay + n
    return c + np.where(age > 0, n / np.where(age > 0, age, 1), 0) * (mean - c), age


def inside_window(own, other):
    return np.minimum(own, other) > WINDOW * np.maximum(own, other)


def push(c, mass, weight, mean, factor):
    """c_- += factor eta (c_- - mean of the pushing rows), eta = min(1/2, W_push / (W_- + W_push)); by
    prototype."""
    eta = np.minimum(0.5, weight / np.where(mass + weight > 0, mass + weight, 1))[:, None]
    return c + np.where(weight[:, None] > 0, factor * eta * (c - mean), 0)


def feature_importance(x, class_of, u=None, mask=None):
    """ANOVA: w = max(1e-3, 1 - V_w / V_t), scaled to sum D; weights and masks count rows of a feature. A
    constant feature says nothing."""
    u = np.ones(len(x)) if u is None else np.asarray(u, dtype=np.float64)
    share = u[:, None] * (np.ones_like(x) if mask is None else mask)
    x = np.where(share > 0, x, 0)

    def scatter(rows):
        count = share[rows].sum(0)
        mean = (share[rows] * x[rows]).sum(0) / np.where(count > 0, count, 1)
        return (share[rows] * (x[rows] - mean) ** 2).sum(0)

    total = scatter(np.full(len(x), True))
    within = sum(scatter(class_of == c) for c in np.unique(class_of))
    w = np.maximum(1e-3, 1 - np.where(total > 0, within, 1) / np.where(total > 0, total, 1))
    return w * x.shape[1] / w.sum()


# ---- answers of the multi-label model ----------------------------------------------------------------------


def by_gap(p):
    """Sorted by probability, cut after the largest drop, at least one."""
    yes = np.zeros(p.shape, dtype=np.uint8)
    for row, answer in zip(p, yes, strict=True):
        by_size = np.argsort(-row, kind="stable")
        drop = row[by_size][:-1] - row[by_size][1:]
        answer[by_size[: 1 + (int(np.argmax(drop)) if len(drop) else 0)]] = 1
    return yes


def by_rank(p, top_k):
    yes = np.zeros(p.shape, dtype=np.uint8)
    np.put_along_axis(yes, np.argsort(-p, axis=1, kind="stable")[:, :top_k], 1, axis=1)
    return yes


def f1(yes, truth):
    hits = np.logical_and(yes, truth).sum()
    both = yes.sum() + truth.sum()
    return 2 * hits / both if both else 0.0


# ---- the model file ----------------------------------------------------------------------------------------


def tensors_of(data):
    """Every tensor of a model file (safetensors; docs/model-file.md) as float64 or integers."""
    data = bytes(data)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    types = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}
    out = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in types:
            continue
        begin, end = entry["data_offsets"]
        flat = np.frombuffer(data[8 + size + begin : 8 + size + end], dtype=types[entry["dtype"]])
        out[name] = flat.reshape(entry["shape"]).copy()
    return out
