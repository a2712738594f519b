# SPDX-License-Identifier: Apache-2.0
"""The models' steps in plain PyTorch: what somebody would write who has the formulas and no kernels of their own.

Rows and prototypes are float32, distances squared euclidean, classes 0, 1, ... Work goes in batches of `BATCH`
rows, so that rows x prototypes never lie in memory at once.
"""

import math

import torch

BATCH = 10240
PUSHING_PASSES = 1
WINDOW = (0.8 / 1.2) ** 2  # nearly as close: smaller distance / larger one
MOST_PUSH = 0.5


def squared_distances(x, centres):
    return torch.cdist(x, centres, compute_mode="use_mm_for_euclid_dist").square_()


# ---- phase 1


def pull(x, rows_of, centres, centres_of):
    """Every prototype to the mean of its rows: class by class, each row to the nearest prototype of its class.
    Returns the masses too, and the mean of the distances."""
    sums, mass, total = torch.zeros_like(centres), torch.zeros(len(centres)), 0.0
    for rows, own in zip(rows_of, centres_of, strict=True):
        if len(rows) == 0:
            continue
        mine = x[rows]
        distance, nearest = squared_distances(mine, centres[own]).min(1)
        sums.index_add_(0, own[nearest], mine)
        mass.index_add_(0, own[nearest], torch.ones(len(rows)))
        total += float(distance.sum())
    moved = torch.where(mass[:, None] > 0, sums / mass.clamp(min=1)[:, None], centres)
    return moved, mass, total / max(float(mass.sum()), 1.0)


def push(x, y, centres, moved, mass, label, factor):
    """The nearest prototype of another class goes away from rows that it is nearly as close to as their own."""
    sums, pushed = torch.zeros_like(centres), torch.zeros(len(centres))
    for begin in range(0, len(x), BATCH):
        rows, classes = x[begin : begin + BATCH], y[begin : begin + BATCH]
        distance = squared_distances(rows, centres)
        own = label[None, :] == classes[:, None]
        nearest_own = distance.masked_fill(~own, math.inf).amin(1)
        nearest_other, other = distance.masked_fill(own, math.inf).min(1)
        close = torch.minimum(nearest_own, nearest_other) > WINDOW * torch.maximum(nearest_own, nearest_other)
        sums.index_add_(0, other[close], rows[close])
        pushed.index_add_(0, other[close], torch.ones(int(close.sum())))
    eta = (pushed / (mass + pushed).clamp(min=1)).clamp(max=MOST_PUSH)
    away = moved - sums / pushed.clamp(min=1)[:, None]
    return moved + factor * torch.where(pushed > 0, eta, 0.0)[:, None] * away


def fit_classes(x, y, centres, label, n_classes, passes, factor=0.05):
    rows_of = torch.argsort(y, stable=True).split(torch.bincount(y, minlength=n_classes).tolist())
    centres_of = [torch.nonzero(label == c)[:, 0] for c in range(n_classes)]
    for done in range(passes):
        moved, mass, scale = pull(x, rows_of, centres, centres_of)
        if done >= passes - PUSHING_PASSES:
            moved = push(x, y, centres, moved, mass, label, factor)
        centres = moved
    return centres, scale


def fit_tags(x, tagged, centres, tag, passes):
    """tagged: rows x tags, true where a row has a tag. Returns each tag's threshold of the best F1 as well."""
    n_tags = tagged.shape[1]
    rows_of = [torch.nonzero(column)[:, 0] for column in tagged.T]
    centres_of = [torch.nonzero(tag == t)[:, 0] for t in range(n_tags)]
    for _ in range(passes):
        centres, _, scale = pull(x, rows_of, centres, centres_of)
    nearest = torch.empty(len(x), n_tags)
    for begin in range(0, len(x), BATCH):
        distance = squared_distances(x[begin : begin + BATCH], centres)
        nearest[begin : begin + BATCH] = torch.full((len(distance), n_tags), math.inf).scatter_reduce_(
            1, tag.expand(len(distance), -1), distance, "amin"
        )
    score = -nearest / (0.25 * scale)
    bias, prior = torch.zeros(n_tags), tagged.float().mean(0)
    for _ in range(10):  # Newton: the mean probability is how frequent the tag is
        p = torch.sigmoid(score + bias)
        bias -= ((p.mean(0) - prior) / (p * (1 - p)).mean(0).clamp(min=1e-6)).clamp(-4, 4)
    score, order = score.sort(0, descending=True)
    right = tagged.gather(0, order).cumsum(0)
    f1 = 2 * right / (torch.arange(1, len(x) + 1)[:, None] + tagged.sum(0))
    return centres, torch.sigmoid(score.gather(0, f1.argmax(0)[None])[0] + bias)


# ---- phase 2


def finetune(x, y, centres, label, scale, epochs, lr, temperature=1.0, batch=256, top_k=8, warm_up=50):
    """Cross-entropy of the blended answer over the nearest prototypes and the nearest one of the row's class; Adam,
    the rate relative to the spread of the prototypes, rising over warm_up steps and falling along a cosine."""
    centres = centres.clone().requires_grad_()
    theta = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam(
        [
            {"params": [centres], "lr": lr * float(centres.detach().std(0).mean())},
            {"params": [theta], "lr": lr},
        ]
    )
    steps = epochs * math.ceil(len(x) / batch)
    warm_up = max(1, min(warm_up, steps // 10))

    def rate(step):
        return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            part, classes = x[rows], y[rows]
            norms = part.square().sum(1)[:, None] + centres.square().sum(1)
            distance = (norms - 2 * part @ centres.T).clamp(min=0)
            with torch.no_grad():
                near = distance.topk(min(top_k, len(centres)), 1, largest=False).indices
                own = distance.masked_fill(label[None, :] != classes[:, None], math.inf).argmin(
                    1, keepdim=True
                )
                doubled = (near == own).any(1)
            chosen = torch.cat([near, own], 1)
            gap = distance.gather(1, chosen)
            logit = -gap / (temperature * scale * theta.exp())
            extra = torch.zeros_like(logit)
            extra[doubled, -1] = -math.inf  # the own one is among the nearest already
            share = (logit + extra).log_softmax(1)
            right = label[chosen] == classes[:, None]
            loss = -share.masked_fill(~right, -math.inf).logsumexp(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return centres.detach(), temperature * float(theta.detach().exp())


# ---- phase 3


def shares(x, centres, top_k, tau):
    """The nearest prototypes of each row and what part of the answer is theirs."""
    distance, near = squared_distances(x, centres).topk(top_k, 1, largest=False)
    return near, (-distance / tau).softmax(1)


def predict_classes(x, centres, label, n_classes, top_k, tau):
    answer = torch.empty(len(x), dtype=torch.int64)
    for begin in range(0, len(x), BATCH):
        near, share = shares(x[begin : begin + BATCH], centres, top_k, tau)
        probability = torch.zeros(len(near), n_classes).scatter_add_(1, label[near], share)
        answer[begin : begin + BATCH] = probability.argmax(1)
    return answer


def predict_values(x, centres, target, top_k, tau):
    answer = torch.empty(len(x))
    for begin in range(0, len(x), BATCH):
        near, share = shares(x[begin : begin + BATCH], centres, top_k, tau)
        answer[begin : begin + BATCH] = (share * target[near]).sum(1)
    return answer
