"""Layer norms only, as in the study of frozen random networks (Frankle et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass

from serbench.harness.backbone import Backbone
from serbench.harness.strategy import Strategy, register


@register("norms")
@dataclass(frozen=True, kw_only=True)
class Norms(Strategy):
    """Train the transformer layers' norms only."""

    lr: float = 1e-3
    biases: bool = True
    """Also the norms' biases, not only their scales."""

    def adapt(self, backbone: Backbone) -> None:
        """Leave the layers' norms trainable."""
        backbone.freeze()
        for name, parameter in backbone.layers.named_parameters():
            wanted = "layer_norm" in name and (self.biases or name.endswith("weight"))
            parameter.requires_grad_(wanted)
