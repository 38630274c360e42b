"""The consensus head: one value a dimension, learnt by its concordance with the mean rating."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from serbench.harness.heads.base import Head

__all__ = ["Consensus", "build", "ccc_loss"]

PROJECTION = 256
"""Width between the two linear maps: `classifier_proj_size` of the library's configurations."""


class Consensus(Head):
    """Masked mean over frames, then the two linear maps of the library's sequence classifiers."""

    def __init__(self, hidden_size: int, dimensions: int) -> None:
        super().__init__()
        self.projector = nn.Linear(hidden_size, PROJECTION)
        self.classifier = nn.Linear(PROJECTION, dimensions)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Predict (B, D) from (B, T, H); pooling and both maps are in fp32."""
        counts = lengths.float().to(hidden.device, non_blocking=True)
        # The library projects before it pools; a linear map and a mean commute.
        pooled = hidden.sum(dim=1, dtype=torch.float32) / counts[:, None]
        predicted: Tensor = self.classifier(self.projector(pooled))
        return predicted

    def loss(self, predicted: Tensor, labels: Tensor) -> Tensor:
        """Mean over dimensions of 1 − CCC within the batch."""
        return ccc_loss(predicted, labels)


def build(hidden_size: int, dimensions: int) -> Consensus:
    """A consensus head for states of `hidden_size` values."""
    return Consensus(hidden_size, dimensions)


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
