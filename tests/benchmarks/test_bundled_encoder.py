"""What narrow first convolutions save: a step through the bundled encoder and through a wide one.

pytest tests/benchmarks/test_bundled_encoder.py --benchmark-only --benchmark-min-rounds=20
"""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from transformers import AutoConfig, AutoModel

from serbench.harness.backbone import BUNDLE

WIDTHS: dict[str, dict[str, list[int]]] = {
    "bundled": {},
    "64 throughout": {"conv_dim": [64] * 7},
}


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("part", ["convolutions, forward", "whole, forward and backward"])
def test_step(widths: str, part: str, benchmark: BenchmarkFixture) -> None:
    """8 x 2 s of noise in fp32; rounds of the two widths alternate within a part."""
    benchmark.group = part
    config = AutoConfig.from_pretrained(BUNDLE / "tiny", **WIDTHS[widths])
    model = AutoModel.from_config(config, dtype=torch.float32).eval()
    waves = torch.randn(8, 32_000, generator=torch.Generator().manual_seed(0))

    def step() -> None:
        if part.startswith("convolutions"):
            with torch.no_grad():
                model.feature_extractor(waves)
            return
        model(waves).last_hidden_state.square().mean().backward()
        model.zero_grad()

    step()
    benchmark(step)
