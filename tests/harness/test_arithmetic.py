"""Kernels against fp32: rounding passes, a wrong result does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from serbench.harness.arithmetic import check_kernels
from serbench.harness.backbone import load, locate

CPU = torch.device("cpu")


def test_the_bundled_geometry_computes_right_in_bf16() -> None:
    checks = check_kernels(load(locate("tiny")).model, CPU, "bf16")
    assert all(check.right for check in checks)
    kernels = " ".join(check.kernel for check in checks)
    assert "12 groups" in kernels
    assert "Linear 192→768" in kernels
    assert any(check.relative_error > 0 for check in checks), "nothing was rounded"


def test_fp32_is_compared_with_itself() -> None:
    checks = check_kernels(nn.Sequential(nn.Linear(8, 8)), CPU, "fp32")
    assert [check.relative_error for check in checks] == [0.0]


def test_a_wrong_kernel_is_told() -> None:
    class Wrong(nn.Conv1d):
        def forward(self, input: Tensor) -> Tensor:
            output = super().forward(input)
            return output.roll(1, dims=1) if output.dtype == torch.bfloat16 else output

    (check,) = check_kernels(nn.Sequential(Wrong(8, 8, 3)), CPU, "bf16")
    assert not check.right


def test_the_known_fault_is_told_where_it_is() -> None:
    """Grouped bf16 convolutions with 12 channels a group: right, or told to be wrong."""
    module = nn.Conv1d(192, 192, 32, padding=16, groups=16)
    (check,) = check_kernels(nn.Sequential(module), CPU, "bf16")
    with torch.no_grad():
        x = torch.randn(2, 192, 160, generator=torch.Generator().manual_seed(5))
        exact = module(x)
        with torch.autocast("cpu", torch.bfloat16):
            rough = module(x).float()
    off = float((rough - exact).norm() / exact.norm())
    assert check.relative_error == pytest.approx(off, rel=0.3)
    assert check.right == (off < 0.05)
