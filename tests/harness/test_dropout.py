"""Light dropout against what dropout is: its mean, its gradient, its repeatability; attention."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig

from serbench.harness import contract
from serbench.harness.backbone import from_config
from serbench.harness.dropout import ATTENTION, Bits, LightDropout, attend, lighten
from serbench.harness.stages import Stages


def test_it_drops_the_share_it_says_and_keeps_the_mean() -> None:
    x = torch.full((1000, 1000), 2.0)
    y = LightDropout(0.1, Bits(0))(x)
    # A standard deviation of the share is 0.0003.
    assert (y == 0).float().mean() == pytest.approx(0.1, abs=0.0015)
    assert y.mean() == pytest.approx(2.0, abs=0.004)
    assert y.unique().tolist() == pytest.approx([0.0, 2 / 0.9], abs=1e-4)


def test_neighbours_are_dropped_independently() -> None:
    dropped = (LightDropout(0.5, Bits(0))(torch.ones(1_000_001)) == 0).float()
    for apart in (1, 2, 3, 4, 8):
        both = (dropped[apart:] * dropped[:-apart]).mean()
        assert both == pytest.approx(0.25, abs=0.003)


def test_its_gradient_has_the_same_mask() -> None:
    x = torch.randn(50, 7, requires_grad=True)
    y = LightDropout(0.3, Bits(1))(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x, y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mask_is_kept_in_a_byte_an_element(dtype: torch.dtype) -> None:
    kept: list[torch.Tensor] = []
    x = torch.randn(64, 64, dtype=dtype, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # type: ignore[func-returns-value]
        y = LightDropout(0.3, Bits(1))(x)
    assert y.dtype == dtype
    assert sum(t.untyped_storage().nbytes() for t in kept) == 64 * 64


def test_seeds_repeat_and_draws_differ() -> None:
    x = torch.ones(100)
    first, second = LightDropout(0.5, Bits(3)), LightDropout(0.5, Bits(3))
    draws = [first(x), first(x)]
    assert not torch.equal(*draws)
    assert torch.equal(draws[0], second(x))
    assert not torch.equal(draws[0], LightDropout(0.5, Bits(4))(x))


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.5, False)])
def test_it_changes_nothing_where_nothing_is_dropped(p: float, training: bool) -> None:
    x = torch.ones(10)
    assert LightDropout(p, Bits(0)).train(training)(x) is x


def test_everything_may_be_dropped() -> None:
    assert not LightDropout(1.0, Bits(0))(torch.ones(10)).any()


class Attention(nn.Module):
    """What `attend` looks at in a library's attention."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.light_dropout = LightDropout(p, Bits(0))


@pytest.mark.parametrize("mask", ["none", "valid frames", "numbers to add"])
def test_attention_without_anything_dropped_is_fused_attention(mask: str) -> None:
    """The path that training takes, with a dropout so rare that none occurs."""
    query, key, value = torch.randn(3, 2, 4, 9, 8)
    valid = (torch.arange(9) < torch.tensor([[9], [6]]))[:, None, None, :]
    given: Any = {"none": None, "valid frames": valid, "numbers to add": torch.randn(2, 4, 9, 9)}
    fused = attend(Attention(0.0), query, key, value, given[mask])[0]
    ours = attend(Attention(0.0), query, key, value, given[mask], dropout=1e-9)[0]
    torch.testing.assert_close(ours, fused)
    assert ours.shape == (2, 9, 4, 8)


def encoders(family: str, **changes: Any) -> tuple[Any, Any]:
    config = AutoConfig.for_model(family, **{**contract.SMALL, **changes})
    plain = from_config(config, name=family, normalize=True)
    light = copy.deepcopy(plain)
    lighten(light.model, seed=0)
    return plain, light


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm"])
def test_in_eval_mode_an_encoder_is_what_it_was(family: str) -> None:
    plain, light = encoders(family, hidden_dropout=0.1, attention_dropout=0.1)
    waves, samples = torch.randn(2, 8000), torch.tensor([8000, 5000])
    results = []
    for encoder in (plain, light):
        encoder.model.eval()
        stages = Stages(encoder)
        frames = stages.frames(samples)
        results.append(stages.run(stages.convolve(waves, samples), frames, 1))
    torch.testing.assert_close(*results, atol=2e-5, rtol=0)
    assert light.model.state_dict().keys() == plain.model.state_dict().keys()
    assert light.model.config._attn_implementation == ATTENTION


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm"])
@pytest.mark.parametrize("where", ["hidden_dropout", "attention_dropout", "activation_dropout"])
def test_every_dropout_of_an_encoder_is_light(family: str, where: str) -> None:
    """With one kind of dropout left on, two passes differ; and PyTorch's generator stands still."""
    off = dict.fromkeys(
        ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0
    )
    _, light = encoders(family, layerdrop=0.0, **{**off, where: 0.2})
    light.model.train()
    stages, samples = Stages(light), torch.tensor([8000])
    states, frames = stages.convolve(torch.randn(1, 8000), samples), stages.frames(samples)
    before = torch.get_rng_state()
    first, second = stages.run(states, frames, 1), stages.run(states, frames, 1)
    assert not torch.allclose(first, second)
    assert torch.equal(before, torch.get_rng_state())
