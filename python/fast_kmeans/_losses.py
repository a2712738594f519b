# SPDX-License-Identifier: Apache-2.0
"""The loss that fine-tuning of tags lowers, to be used by itself."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from . import _core
from ._arrays import Kind, host_array, kind_of

REDUCTIONS = ("mean", "sum", "none")


class AsymmetricLoss:
    """Asymmetric loss of probabilities (Ridnik et al. 2021): absent tags that are already improbable stop
    mattering.

    Of a tag that is there, -(1 - p)^gamma_pos log p; of one that is not, -q^gamma_neg log(1 - q) with
    q = max(p - clip, 0).

    Parameters
    ----------
    gamma_neg : float, default 4.0
        Focus on hard negatives, >= 0.
    gamma_pos : float, default 1.0
        Focus on hard positives, >= 0.
    clip : float, default 0.05
        Negatives less probable than this are ignored; in [0, 1).
    reduction : {'mean', 'sum', 'none'}, default 'mean'
        Over all entries; 'none' gives the loss of each.

    Examples
    --------
    >>> from fast_kmeans import AsymmetricLoss
    >>> loss = AsymmetricLoss()
    >>> loss([0.5, 0.04], [1, 0]) == -0.5 * 0.5 * __import__("math").log(0.5)
    True
    """

    def __init__(
        self, gamma_neg: float = 4.0, gamma_pos: float = 1.0, clip: float = 0.05, reduction: str = "mean"
    ) -> None:
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction is {reduction!r}; valid: {', '.join(REDUCTIONS)}")
        self.gamma_neg = gamma_neg
        self.gamma_pos = gamma_pos
        self.clip = clip
        self.reduction = reduction
        try:
            self._losses(np.empty(0), np.empty(0))
        except ValueError as error:
            raise ValueError(str(error).removeprefix("asl_")) from None

    def __call__(self, probability, target) -> Any:
        """The loss of probabilities.

        Parameters
        ----------
        probability : array-like or tensor of any shape
            In [0, 1].
        target : array-like or tensor of the same shape
            0 and 1, or truth values.

        Returns
        -------
        float, array or tensor
            Of tensors a tensor with a gradient; of arrays a float, or an array of float64 with
            ``reduction='none'``.

        Raises
        ------
        ValueError
            For a probability outside [0, 1], a target that is neither 0 nor 1, or shapes that differ.
        """
        if kind_of(probability) is Kind.TORCH:
            losses = _torch_function().apply(probability, target, self)
        else:
            losses, _ = self._losses(probability, target)
        if self.reduction == "none":
            return losses
        reduced = losses.mean() if self.reduction == "mean" else losses.sum()
        return reduced if kind_of(reduced) is Kind.TORCH else float(reduced)

    def _losses(self, probability, target) -> tuple[np.ndarray, np.ndarray]:
        """Loss and its derivative by the probability, entry by entry."""
        probability = np.ascontiguousarray(host_array(probability, "probability"), np.float64)
        target = np.asarray(host_array(target, "target"))
        if target.shape != probability.shape:
            raise ValueError(f"target has shape {target.shape}, probability {probability.shape}")
        if not np.isin(target, (0, 1)).all():
            raise ValueError("target must hold 0 and 1")
        loss, gradient = np.empty_like(probability), np.empty_like(probability)
        positive = np.ascontiguousarray(target, np.uint8).reshape(-1)
        settings = self.gamma_pos, self.gamma_neg, self.clip
        _core.asymmetric_loss(
            probability.reshape(-1), positive, *settings, loss.reshape(-1), gradient.reshape(-1)
        )
        return loss, gradient

    def __repr__(self) -> str:
        return (
            f"AsymmetricLoss(gamma_neg={self.gamma_neg}, gamma_pos={self.gamma_pos}, clip={self.clip}, "
            f"reduction={self.reduction!r})"
        )


@functools.cache
def _torch_function():
    import torch

    class Losses(torch.autograd.Function):
        @staticmethod
        def forward(ctx, probability, target, loss):
            losses, gradient = loss._losses(probability, target)
            ctx.save_for_backward(torch.from_numpy(gradient).to(probability.dtype))
            return torch.from_numpy(losses).to(probability.dtype)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, upstream):
            (gradient,) = ctx.saved_tensors
            return upstream * gradient, None, None

    return Losses
