"""Frozen convolutions as products against the library's own layers, all kinds of norms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig

from serbench.harness import contract, convolutions
from serbench.harness.backbone import Backbone, from_config, load, locate
from serbench.harness.convolutions import GRID, FrozenConvolutions
from serbench.harness.stages import Stages

SEVEN = {
    "conv_dim": [24] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_feat_extract_layers": 7,
}
WIDE = {
    "conv_dim": [16, 24, 32],
    "conv_kernel": [20, 7, 5],
    "conv_stride": [10, 3, 5],
    "num_feat_extract_layers": 3,
}
CASES: dict[str, dict[str, Any]] = {
    "group norm": SEVEN,
    "group norm and biases": {**SEVEN, "conv_bias": True},
    "layer norms": {**SEVEN, "feat_extract_norm": "layer"},
    "layer norms and biases": {**SEVEN, "feat_extract_norm": "layer", "conv_bias": True},
    "kernels of several strides and a rest": WIDE,
}
LENGTHS = torch.tensor([8000, 5431, 16000, 640])


@pytest.fixture(autouse=True)
def no_gradient() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(params=CASES)
def encoder(request: pytest.FixtureRequest) -> Backbone:
    config = AutoConfig.for_model("wav2vec2", **{**contract.SMALL, **CASES[request.param]})
    encoder = from_config(config, name="small", normalize=True)
    encoder.model.eval()
    for parameter in encoder.convolutions.parameters():
        if parameter.dim() == 1:  # norms and biases, which start at 1 and 0
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return encoder


def batch(offset: float = 0.0) -> Tensor:
    waves = 0.5 * torch.randn(len(LENGTHS), int(LENGTHS.max()), generator=seeded()) + offset
    return waves.masked_fill(torch.arange(waves.shape[1]) >= LENGTHS[:, None], 0.0)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_they_are_the_librarys_convolutions(encoder: Backbone, offset: float) -> None:
    """Also for sound with a constant offset, where the variance is a small difference."""
    assert FrozenConvolutions.covers(encoder.convolutions)
    ours = FrozenConvolutions(encoder.convolutions, torch.float32)(batch(offset), LENGTHS)
    expected = Stages(encoder).convolve(batch(offset), LENGTHS)
    torch.testing.assert_close(ours, expected, atol=2e-5, rtol=0)


def test_a_batch_is_its_utterances_one_by_one(encoder: Backbone) -> None:
    convolve = FrozenConvolutions(encoder.convolutions, torch.float32)
    together = convolve(batch(), LENGTHS)
    for row, wave, length in zip(together, batch(), LENGTHS, strict=True):
        alone = convolve(wave[None, : int(length)], length[None])[0]
        torch.testing.assert_close(row[: len(alone)], alone, atol=2e-5, rtol=0)
        assert not row[len(alone) :].any(), "padding must stay zero"


def test_in_16_bits_they_are_off_by_rounding_only(encoder: Backbone) -> None:
    ours = FrozenConvolutions(encoder.convolutions, torch.bfloat16)(batch(), LENGTHS)
    expected = Stages(encoder).convolve(batch(), LENGTHS)
    assert ours.dtype == torch.bfloat16
    assert (ours.float() - expected).norm() < 0.03 * expected.norm()


def test_few_shapes_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each length of its own would be a set-up of its own in every product."""
    convolve = FrozenConvolutions(load(locate("tiny")).convolutions, torch.float32)
    shapes = set()

    def gelu(x: Tensor) -> Tensor:
        shapes.add(x.shape)
        return x

    monkeypatch.setattr(convolutions, "_gelu_", gelu)
    lengths = torch.arange(16_000, 16_000 + 2 * GRID * 320, 317)
    waves = torch.randn(len(lengths), int(lengths.max()), generator=seeded())
    convolve(waves.masked_fill(torch.arange(waves.shape[1]) >= lengths[:, None], 0.0), lengths)
    assert len(shapes) <= 5 * 4, "of each of five layers few lengths, not one for each utterance"


@pytest.mark.parametrize("change", ["another module", "a hook", "dilation", "other activation"])
def test_what_is_not_known_is_left_to_the_library(change: str) -> None:
    config = AutoConfig.for_model("wav2vec2", **{**contract.SMALL, **SEVEN})
    extractor: Any = from_config(config, name="small", normalize=True).convolutions
    layer = extractor.conv_layers[2]
    if change == "dilation":
        layer.conv.dilation = (2,)
    elif change == "a hook":
        layer.conv.register_forward_hook(lambda *_: None)
    elif change == "other activation":
        layer.activation = torch.nn.ReLU()
    else:
        layer.conv = torch.nn.Sequential(layer.conv)
    assert not FrozenConvolutions.covers(extractor)
