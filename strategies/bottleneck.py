"""Bottleneck adapters after each feed-forward block (Pfeiffer et al., 2021, arXiv:2005.00247)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serbench.harness.backbone import Backbone
from serbench.harness.strategy import Strategy, register

if TYPE_CHECKING:
    from torch import Tensor


@register("bottleneck")
@dataclass(frozen=True, kw_only=True)
class Bottleneck(Strategy):
    """Train a narrow residual network on the output of every feed-forward block."""

    lr: float = 3e-4
    """The middle of the three tried by Houlsby et al. (2019, arXiv:1902.00751)."""
    width: int = 64

    def adapt(self, backbone: Backbone) -> None:
        """Freeze the encoder and add the adapters, which start as the identity."""
        from torch import nn

        backbone.freeze()
        hidden_size = backbone.model.config.hidden_size
        layers: Any = backbone.layers
        for layer in layers:
            up = nn.Linear(self.width, hidden_size)
            nn.init.zeros_(up.weight)
            nn.init.zeros_(up.bias)
            layer.feed_forward.adapter = nn.Sequential(
                nn.Linear(hidden_size, self.width), nn.GELU(), up
            )
            layer.feed_forward.register_forward_hook(_add_adapter)


def _add_adapter(block: Any, _: Any, output: Tensor) -> Tensor:
    adapted: Tensor = output + block.adapter(output)
    return adapted
