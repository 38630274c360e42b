"""Weighted sum of all frozen layers, SUPERB's way (Yang et al., 2021, arXiv:2105.01051)."""

from __future__ import annotations

from dataclasses import dataclass

from serbench.harness.backbone import Backbone
from serbench.harness.strategy import Strategy, register


@register("weighted-sum")
@dataclass(frozen=True, kw_only=True)
class WeightedSum(Strategy):
    """Train the head and one weight a layer, on frozen states of all layers."""

    lr: float = 1e-2

    def adapt(self, backbone: Backbone) -> None:
        """Freeze the encoder and mix its layers."""
        backbone.freeze()
        backbone.mix_layers()
