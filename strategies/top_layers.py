"""Partial finetuning of the last transformer layers (Sampath et al., 2025, arXiv:2503.03756)."""

from __future__ import annotations

from dataclasses import dataclass

from serbench.harness.backbone import Backbone
from serbench.harness.errors import StrategyError
from serbench.harness.strategy import Strategy, register


@register("top-layers")
@dataclass(frozen=True, kw_only=True)
class TopLayers(Strategy):
    """Train the last transformer layers and freeze all before them."""

    lr: float = 1e-4
    layers: int = 3
    """How many, counted from the output; the paper recommends three."""

    def adapt(self, backbone: Backbone) -> None:
        """Leave the last `layers` layers trainable."""
        if not 1 <= self.layers <= len(backbone.layers):
            raise StrategyError(
                f"top-layers: layers is from 1 to the backbone's {len(backbone.layers)}, "
                f"not {self.layers}"
            )
        backbone.freeze()
        backbone.layers[-self.layers :].requires_grad_(True)
