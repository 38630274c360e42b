"""AdaLoRA: ranks re-allocated by importance (Zhang et al., 2023, arXiv:2303.10512)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from serbench.harness.backbone import Backbone
from serbench.harness.strategy import Strategy, register

if TYPE_CHECKING:
    from torch import Tensor


@register("adalora")
@dataclass(frozen=True, kw_only=True)
class AdaLora(Strategy):
    """Train updates in SVD form and take rank from where it matters least."""

    lr: float = 1e-3
    rank: int = 8
    """Mean rank that remains."""
    initial_rank: int = 12
    alpha: int = 16
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    dropout: float = 0.1
    orthogonality: float = 0.5
    """Weight of the penalty that keeps the factors of each update orthogonal."""

    def adapt(self, backbone: Backbone) -> None:
        """Add the updates, their budget falling between 10 % and 50 % of the planned steps."""
        from peft import AdaLoraConfig

        steps = backbone.total_steps
        backbone.inject(
            AdaLoraConfig(
                target_r=self.rank,
                init_r=self.initial_rank,
                lora_alpha=self.alpha,
                target_modules=list(self.targets),
                lora_dropout=self.dropout,
                total_step=steps,
                tinit=steps // 10,
                tfinal=steps // 2,
                deltaT=max(1, steps // 100),
            )
        )

    def after_step(self, backbone: Backbone, step: int) -> None:
        """Update the importance of each direction and mask the least important."""
        backbone.tuner.base_model.update_and_allocate(step)

    def penalty(self, backbone: Backbone) -> Tensor:
        """Mean squared distance of PᵀP and QQᵀ from the identity, over all updates."""
        import torch

        terms = []
        for name, parameter in backbone.model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                gram = parameter @ parameter.T if "lora_A" in name else parameter.T @ parameter
                identity = torch.eye(len(gram), device=gram.device)
                terms.append((gram - identity).square().sum())
        return self.orthogonality * torch.stack(terms).mean()
