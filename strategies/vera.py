"""VeRA: shared random projections, learnt scales (Kopiczko et al., 2024, arXiv:2310.11454)."""

from __future__ import annotations

from dataclasses import dataclass

from serbench.harness.backbone import Backbone
from serbench.harness.strategy import Strategy, register


@register("vera")
@dataclass(frozen=True, kw_only=True)
class Vera(Strategy):
    """Train two scale vectors around a random low-rank update that all layers share."""

    lr: float = 1e-2
    rank: int = 64
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    dropout: float = 0.0

    def adapt(self, backbone: Backbone) -> None:
        """Add the updates and freeze everything else."""
        from peft import VeraConfig

        backbone.inject(
            VeraConfig(r=self.rank, target_modules=list(self.targets), vera_dropout=self.dropout)
        )
