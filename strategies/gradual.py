"""Gradual unfreezing from the last layer down (Howard & Ruder, 2018, arXiv:1801.06146)."""

from __future__ import annotations

from dataclasses import dataclass

from serbench.harness.backbone import Backbone
from serbench.harness.strategy import Strategy, register


@register("gradual")
@dataclass(frozen=True, kw_only=True)
class Gradual(Strategy):
    """Train the last layers first, and more of them with every epoch."""

    lr: float = 1e-4
    first: int = 1
    """Layers that train in the first epoch."""
    step: int = 1
    """Layers that join with each epoch after it."""

    def adapt(self, backbone: Backbone) -> None:
        """Leave the first epoch's layers trainable."""
        backbone.freeze()
        self._unfreeze(backbone, self.first)

    def on_epoch_start(self, backbone: Backbone, epoch: int) -> None:
        """Unfreeze the layers that join."""
        self._unfreeze(backbone, self.first + epoch * self.step)

    def _unfreeze(self, backbone: Backbone, count: int) -> None:
        backbone.layers[-min(count, len(backbone.layers)) :].requires_grad_(True)
