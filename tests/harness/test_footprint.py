"""Bytes and operations of a step against what they are by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from serbench.harness import strategy
from serbench.harness.backbone import load, locate
from serbench.harness.convolutions import FrozenConvolutions
from serbench.harness.footprint import bytes_of, matmul_flops_per_s, observed
from serbench.harness.stages import Stages


def test_a_linear_map_forward_and_backward() -> None:
    linear = nn.Linear(20, 30)
    x = torch.randn(4, 20, requires_grad=True)
    step = observed(lambda: linear(x).sum(), linear.parameters())
    assert step.flops == 3 * 2 * 4 * 20 * 30, "forward, gradient of the input, of the weights"
    assert step.saved_activation_bytes == 4 * 20 * 4, "the input, and not the weights"


def test_what_does_not_learn_takes_no_backward() -> None:
    linear = nn.Linear(20, 30).requires_grad_(False)
    step = observed(lambda: linear(torch.randn(4, 20)), linear.parameters())
    assert (step.flops, step.saved_activation_bytes) == (2 * 4 * 20 * 30, 0)


def test_a_storage_that_is_saved_twice_counts_once() -> None:
    x = torch.randn(50, requires_grad=True)

    def forward() -> Tensor:
        y = x * 2
        return (y * y[:25].sum() + y.exp()).sum()

    kept = observed(forward, [x]).saved_activation_bytes
    assert kept == 4 * (50 + 50 + 1), "y, exp(y) and the sum"


def products_in_place() -> Tensor:
    return torch.zeros(4, 5).addmm_(torch.randn(4, 7), torch.randn(7, 5))


def attention() -> Tensor:
    query, key, value = torch.randn(3, 2, 4, 10, 16, requires_grad=True)
    return functional.scaled_dot_product_attention(query, key, value).sum()


@pytest.mark.parametrize(
    ("step", "flops"),
    [(products_in_place, 2 * 4 * 7 * 5), (attention, (2 + 5) * 2 * 2 * 4 * 10 * 10 * 16)],
)
def test_operations_that_torch_leaves_out(step: Any, flops: int) -> None:
    """Forward two products, backward five: flash attention computes the weights once more."""
    assert observed(step, []).flops == flops


def test_frozen_convolutions_count_as_many_operations_as_the_librarys() -> None:
    encoder = load(locate("tiny"))
    waves, samples = torch.randn(2, 16_000), torch.tensor([16_000, 16_000])

    @torch.no_grad()
    def flops(convolve: Any) -> int:
        return observed(lambda: convolve(waves, samples), []).flops

    ours = flops(FrozenConvolutions(encoder.convolutions, torch.float32))
    assert ours == pytest.approx(flops(Stages(encoder).convolve), rel=0.03)


def test_three_layers_of_the_base_geometry() -> None:
    """Forward and twice that backward over 199 frames: 6 operations a weight and frame, and the
    attention's products of frames with frames."""
    strategy.discover()
    encoder = load(locate("wav2vec2-base", "random"))
    strategy.parse("top-layers:layers=3").strategy.adapt(encoder)
    stages = Stages(encoder)
    frames = torch.tensor([199])
    states = torch.randn(1, 199, 768)

    def forward() -> Tensor:
        return stages.run(states, frames, stages.frozen_depth()).sum()

    weights = 3 * (4 * 768 * 768 + 2 * 768 * 3072)
    linear, products = 6 * 199 * weights, 3 * 6 * 2 * 199 * 199 * 768
    # The first layer's input needs no gradient.
    saved = 3 * 2 * 199 * 768 * 768
    assert observed(forward, encoder.model.parameters()).flops == linear + products - saved


def test_bytes_by_dtype_and_shared_storage() -> None:
    shared = torch.zeros(10)
    tensors: list[Tensor] = [shared, shared[2:], torch.zeros(10, dtype=torch.bfloat16)]
    assert bytes_of(tensors) == 40 + 20


def test_the_matmul_peak_is_a_plausible_rate() -> None:
    """Between a tenth of a GFLOP/s and a thousand TFLOP/s for one CPU."""
    assert 1e8 < matmul_flops_per_s(torch.device("cpu"), "fp32") < 1e15
