"""BitFit: bias terms only (Ben Zaken et al., 2022, arXiv:2106.10199)."""

from __future__ import annotations

from dataclasses import dataclass

from serbench.harness.backbone import Backbone
from serbench.harness.strategy import Strategy, register


@register("bitfit")
@dataclass(frozen=True, kw_only=True)
class BitFit(Strategy):
    """Train the bias terms only."""

    lr: float = 1e-3

    def adapt(self, backbone: Backbone) -> None:
        """Leave the biases trainable; the convolutions stay frozen, as in full finetuning."""
        for name, parameter in backbone.model.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
        backbone.convolutions.requires_grad_(False)
