"""What a head is: frame states in, predictions and their loss out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

__all__ = ["Head"]


class Head(nn.Module, ABC):
    """Pools frame states and predicts every dimension, in units where the scale is [-1, 1]."""

    @abstractmethod
    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Take (B, T, H) states, zero where padded, and (B,) valid frames to (B, D) predictions."""

    @abstractmethod
    def loss(self, predicted: Tensor, labels: Tensor) -> Tensor:
        """A scalar from (B, D) predictions and (B, D) labels, NaN where there is no label."""
