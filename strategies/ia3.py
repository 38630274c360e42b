"""(IA)³: learnt rescaling of keys, values and feed-forward (Liu et al., 2022, arXiv:2205.05638)."""

from __future__ import annotations

from dataclasses import dataclass

from serbench.harness.backbone import Backbone
from serbench.harness.strategy import Strategy, register


@register("ia3")
@dataclass(frozen=True, kw_only=True)
class IA3(Strategy):
    """Train one scale a channel of keys, values and inner activations."""

    lr: float = 3e-3

    def adapt(self, backbone: Backbone) -> None:
        """Add the scales and freeze everything else."""
        from peft import IA3Config

        backbone.inject(
            IA3Config(
                target_modules=["k_proj", "v_proj", "output_dense"],
                feedforward_modules=["output_dense"],
            )
        )
