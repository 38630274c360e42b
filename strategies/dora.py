"""DoRA: LoRA on the direction, and a learnt magnitude (Liu et al., 2024, arXiv:2402.09353)."""

from __future__ import annotations

from dataclasses import dataclass

from serbench.harness.backbone import Backbone
from serbench.harness.strategy import Strategy, register


@register("dora")
@dataclass(frozen=True, kw_only=True)
class Dora(Strategy):
    """Train low-rank updates of the weights' direction, and their magnitude."""

    lr: float = 1e-3
    rank: int = 8
    alpha: int = 16
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    dropout: float = 0.1

    def adapt(self, backbone: Backbone) -> None:
        """Add the updates and freeze everything else."""
        from peft import LoraConfig

        backbone.inject(
            LoraConfig(
                r=self.rank,
                lora_alpha=self.alpha,
                target_modules=list(self.targets),
                lora_dropout=self.dropout,
                use_dora=True,
            )
        )
