"""The losses that several heads learn by."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ccc_loss", "cross_entropy"]


def ccc_loss(predicted: Tensor, labels: Tensor) -> Tensor:
    """Mean over dimensions of 1 − CCC (Lin, 1989), moments over the batch's own utterances.

    Args:
        predicted: (B, D).
        labels: (B, D), NaN where there is no label.

    Returns:
        A scalar; dimensions with fewer than two labels do not count.
    """
    known = ~labels.isnan()
    count = known.sum(0)
    # A masked NaN would still make the gradient NaN.
    labels = labels.nan_to_num()

    def mean(values: Tensor) -> Tensor:
        return values.masked_fill(~known, 0.0).sum(0) / count.clamp(min=1)

    p_mean, l_mean = mean(predicted), mean(labels)
    p, y = predicted - p_mean, labels - l_mean
    spread = mean(p * p) + mean(y * y) + (p_mean - l_mean) ** 2
    ccc = 2 * mean(p * y) / spread.clamp(min=1e-8)
    usable = count > 1
    return torch.where(usable, 1 - ccc, 0.0).sum() / usable.sum().clamp(min=1)


def cross_entropy(predicted: Tensor, truth: Tensor) -> Tensor:
    """−Σ q log(p + 1e-8), the mean over the utterances that have a distribution; 0 if none has.

    Args:
        predicted: p, (B, …) masses.
        truth: q, (B, …), NaN throughout for an utterance without.
    """
    q = truth.flatten(1)
    known = ~q.isnan().any(1)
    # Where there is nothing to learn, the prediction may be NaN, and so would its gradient be.
    p = predicted.flatten(1).masked_fill(~known[:, None], 1.0)
    each = -(q.nan_to_num() * (p + 1e-8).log()).sum(1)
    return each.sum() / known.sum().clamp(min=1)
