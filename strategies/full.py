"""Full finetuning: the transformer and its projection learn (Wagner et al., 2023, TPAMI 45)."""

from __future__ import annotations

from dataclasses import dataclass

from serbench.harness.backbone import Backbone
from serbench.harness.strategy import Strategy, register


@register("full")
@dataclass(frozen=True, kw_only=True)
class Full(Strategy):
    """Train everything, the convolutions only on request."""

    lr: float = 1e-4
    convolutions: bool = False
    """Also train the convolutional feature encoder, which is usually kept as it was pretrained."""

    def adapt(self, backbone: Backbone) -> None:
        """Freeze the convolutions unless they are asked for."""
        backbone.convolutions.requires_grad_(self.convolutions)
