"""What a step through the bundled encoder takes, beside other convolutions of the same frame rate.

pytest tests/benchmarks/test_bundled_encoder.py --benchmark-enable --benchmark-only
"""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from transformers import AutoConfig, AutoModel

from serbench.harness.backbone import BUNDLE

SEVEN = {"conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2]}
CONVOLUTIONS: dict[str, dict[str, list[int]]] = {
    "bundled": {},
    "seven, narrow first": {"conv_dim": [16, 32, 64, 64, 96, 128, 192], **SEVEN},
    "seven of 64": {"conv_dim": [64] * 7, **SEVEN},
}


@pytest.mark.parametrize("convolutions", CONVOLUTIONS)
@pytest.mark.parametrize("part", ["convolutions, forward", "whole, forward and backward"])
def test_step(convolutions: str, part: str, benchmark: BenchmarkFixture) -> None:
    """8 x 2 s of noise in fp32."""
    benchmark.group = part
    chosen = CONVOLUTIONS[convolutions]
    config = AutoConfig.from_pretrained(BUNDLE / "tiny")
    config.update(
        {**chosen, "num_feat_extract_layers": len(chosen.get("conv_dim", config.conv_dim))}
    )
    model = AutoModel.from_config(config, dtype=torch.float32).eval()
    waves = torch.randn(8, 32_000, generator=torch.Generator().manual_seed(0))
    assert model(waves).last_hidden_state.shape == (8, 99, config.hidden_size)

    def step() -> None:
        if part.startswith("convolutions"):
            with torch.no_grad():
                model.feature_extractor(waves)
            return
        model(waves).last_hidden_state.square().mean().backward()
        model.zero_grad()

    step()
    benchmark(step)
