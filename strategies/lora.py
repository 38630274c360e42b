"""LoRA: low-rank updates beside frozen weights (Hu et al., 2022, arXiv:2106.09685)."""

from __future__ import annotations

from dataclasses import dataclass

from serbench.harness.backbone import Backbone
from serbench.harness.errors import StrategyError
from serbench.harness.strategy import Strategy, register


@register("lora")
@dataclass(frozen=True, kw_only=True)
class Lora(Strategy):
    """Train low-rank updates of linear maps."""

    lr: float = 1e-3
    rank: int = 8
    alpha: int = 16
    """The update is scaled by alpha / rank."""
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    """Names of the linear maps; others are k_proj, out_proj, intermediate_dense, output_dense."""
    dropout: float = 0.1
    layers: int = 0
    """Only in so many layers from the output; in all if 0. The fewer, the more can be cached."""

    def adapt(self, backbone: Backbone) -> None:
        """Add the updates and freeze everything else."""
        from peft import LoraConfig

        count = len(backbone.layers)
        if not 0 <= self.layers <= count:
            raise StrategyError(f"lora: layers is from 0 to the backbone's {count}")
        chosen = [*range(count - self.layers, count)] if self.layers else None
        backbone.inject(
            LoraConfig(
                r=self.rank,
                lora_alpha=self.alpha,
                target_modules=list(self.targets),
                lora_dropout=self.dropout,
                layers_to_transform=chosen,
                layers_pattern="layers" if chosen else None,
            )
        )
