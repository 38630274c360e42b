"""Whether this device computes an encoder's kernels right in a given precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from serbench.harness.prefix import autocast
from serbench.harness.strategy import Precision

__all__ = ["TOLERANCE", "Check", "check_kernels"]

TOLERANCE = 0.05
"""Relative error allowed: 16-bit rounding stays under 0.01, a wrong kernel is near 1."""
FRAMES = 160


@dataclass(frozen=True)
class Check:
    """One kind of kernel, and its error against fp32 (norm of the difference over the norm)."""

    kernel: str
    relative_error: float

    @property
    def right(self) -> bool:
        """Whether the error is that of rounding."""
        return self.relative_error < TOLERANCE


@torch.no_grad()
def check_kernels(model: nn.Module, device: torch.device, precision: Precision) -> list[Check]:
    """Compare each distinct convolution and linear map of `model` with its own fp32 result.

    Known to fail: bf16 grouped `Conv1d` on CPUs with torch 2.13, wherever the channels a group are
    no multiple of 16; the forward pass is silently wrong by a relative 0.9.
    """
    checks: dict[str, Check] = {}
    for module in model.modules():
        kernel = _kernel(module)
        if kernel is None or kernel in checks:
            continue
        x = _probe(module, device)
        exact = module(x).float()
        with autocast(device, precision):
            rough = module(x).float()
        error = float((rough - exact).norm() / exact.norm().clamp(min=1e-12))
        checks[kernel] = Check(kernel, error)
    return list(checks.values())


def _kernel(module: Any) -> str | None:
    if isinstance(module, nn.Conv1d):
        return (
            f"Conv1d {module.in_channels}→{module.out_channels}, kernel {module.kernel_size[0]}, "
            f"stride {module.stride[0]}, {module.groups} groups"
        )
    if type(module) is nn.Linear:
        return f"Linear {module.in_features}→{module.out_features}"
    return None


def _probe(module: Any, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if isinstance(module, nn.Conv1d):
        shape = (2, module.in_channels, FRAMES)
    else:
        shape = (2, FRAMES, module.in_features)
    return torch.randn(shape, generator=generator).to(device)
