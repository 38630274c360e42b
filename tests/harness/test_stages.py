"""Stages against the library's own forward, batches against single utterances, all families."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel

from serbench.harness import contract
from serbench.harness.backbone import Backbone, from_config, load, locate
from serbench.harness.stages import Stages, frame_mask

SMALL = {**contract.SMALL, "num_hidden_layers": 3}
NORMS: dict[str, dict[str, Any]] = {
    "group norm, post-norm": {},
    "layer norms, post-norm": {"feat_extract_norm": "layer", "conv_bias": True},
    "group norm, pre-norm": {"do_stable_layer_norm": True},
    "layer norms, pre-norm": {"feat_extract_norm": "layer", "do_stable_layer_norm": True},
}
CASES = [
    pytest.param(family, extra, id=f"{family}: {name}")
    for family in ("wav2vec2", "hubert", "wavlm")
    for name, extra in NORMS.items()
] + [
    pytest.param("hubert", {"conv_pos_batch_norm": True}, id="hubert: batch norm on positions"),
    pytest.param("hubert", {"feat_proj_layer_norm": False}, id="hubert: no projection norm"),
]
LENGTHS = torch.tensor([8000, 5431, 16000, 640])
TOLERANCE = 2e-5

every_encoder = pytest.mark.parametrize(("family", "extra"), CASES)


@pytest.fixture(autouse=True)
def no_gradient() -> Iterator[None]:
    with torch.no_grad():
        yield


def pair(family: str, extra: dict[str, Any]) -> tuple[Any, Backbone]:
    """The library's encoder as it is, and ours with the same weights."""
    config = AutoConfig.for_model(family, **SMALL, **extra)
    ours = from_config(config, name=family, normalize=True)
    ours.model.eval()
    # Under one configuration the two would share the kind of attention.
    library = AutoModel.from_config(copy.deepcopy(config), attn_implementation="eager").eval()
    library.load_state_dict(ours.model.state_dict())
    return library, ours


def waves() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(int(n), generator=generator) for n in LENGTHS]


def through(stages: Stages, waves: list[Tensor], *stops: int) -> Tensor:
    """A padded batch through all stages, resting at each of `stops`."""
    lengths = torch.tensor([len(wave) for wave in waves])
    batch = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    state, frames = stages.convolve(batch, lengths), stages.frames(lengths)
    start = 1
    for stop in (*stops, len(stages)):
        state = stages.run(state, frames, start, stop)
        assert state.shape[-1] == stages.width(stop)
        start = stop
    return state


@every_encoder
def test_staged_is_the_librarys_own_forward(family: str, extra: dict[str, Any]) -> None:
    library, ours = pair(family, extra)
    for wave in waves():
        expected = library(wave[None]).last_hidden_state
        torch.testing.assert_close(through(Stages(ours), [wave]), expected, atol=TOLERANCE, rtol=0)


@every_encoder
def test_a_batch_is_its_utterances_one_by_one(family: str, extra: dict[str, Any]) -> None:
    _, ours = pair(family, extra)
    stages = Stages(ours)
    together = through(stages, waves())
    for row, wave in zip(together, waves(), strict=True):
        alone = through(stages, [wave])[0]
        torch.testing.assert_close(row[: len(alone)], alone, atol=TOLERANCE, rtol=0)
        assert not row[len(alone) :].any(), "padding must stay zero"


def test_eager_attention_is_masked_too() -> None:
    _, ours = pair("wav2vec2", {})
    fused = through(Stages(ours), waves())
    ours.model.set_attn_implementation("eager")
    eager = through(Stages(ours), waves())
    torch.testing.assert_close(eager, fused, atol=TOLERANCE, rtol=0)


def test_the_library_alone_fails_that_for_a_group_norm_over_time() -> None:
    """If this passes one day, the own treatment of the first convolution can go."""
    library, _ = pair("wav2vec2", {})
    short, long = waves()[1], waves()[2]
    batch = torch.nn.utils.rnn.pad_sequence([short, long], batch_first=True)
    mask = (torch.arange(len(long)) < torch.tensor([[len(short)], [len(long)]])).long()
    padded = library(batch, attention_mask=mask).last_hidden_state[0]
    alone = library(short[None]).last_hidden_state[0]
    assert (padded[: len(alone)] - alone).abs().max() > 0.01


@every_encoder
def test_any_rest_on_the_way_changes_nothing(family: str, extra: dict[str, Any]) -> None:
    _, ours = pair(family, extra)
    stages = Stages(ours)
    whole = through(stages, waves())
    for depth in range(2, len(stages)):
        torch.testing.assert_close(through(stages, waves(), depth), whole, atol=0, rtol=0)


@every_encoder
def test_mixed_layers_are_the_librarys_hidden_states(family: str, extra: dict[str, Any]) -> None:
    library, ours = pair(family, extra)
    ours.mix_layers()
    assert ours.layer_weights is not None
    ours.layer_weights.copy_(torch.tensor([0.1, -0.3, 0.2, 0.5]))
    stages, wave = Stages(ours), waves()[0]
    states = torch.stack(library(wave[None], output_hidden_states=True).hidden_states)
    expected = torch.einsum("kbth,k->bth", states, ours.layer_weights.softmax(0))
    expected /= ours.mixture_scale
    mixed = stages.output(through(stages, [wave], 3))
    torch.testing.assert_close(mixed, expected, atol=TOLERANCE, rtol=0)


def test_a_mixture_of_unnormalised_states_is_of_usual_size() -> None:
    """The bundled encoder's states are some fourteen times larger than what its last norm gives."""
    encoder = load(locate("tiny"))
    encoder.mix_layers()
    stages = Stages(encoder)
    noise = 0.05 * torch.randn(16_000, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mixed = stages.output(through(stages, [noise], 3))
    assert 0.8 < mixed.square().mean().sqrt() < 1.25
    assert encoder.mixture_scale > 5
    post_norm = pair("wav2vec2", {})[1]
    post_norm.mix_layers()
    assert post_norm.mixture_scale == 1


def test_frames_are_the_librarys() -> None:
    library, ours = pair("wav2vec2", {})
    samples = torch.arange(400, 4000, 7)
    expected = library._get_feat_extract_output_lengths(samples)
    assert torch.equal(Stages(ours).frames(samples), expected)


def test_names_follow_the_chain() -> None:
    _, post = pair("wav2vec2", {})
    _, pre = pair("wav2vec2", {"do_stable_layer_norm": True})
    shared = ("convolutions", "projection", "layer 0", "layer 1", "layer 2")
    assert Stages(post).names == shared
    assert Stages(pre).names == (*shared, "final norm")


@pytest.mark.parametrize(
    ("trainable", "depth"),
    [
        ((), 5),
        (("encoder.layers.2.",), 4),
        (("encoder.layers.1.feed_forward.",), 3),
        (("encoder.pos_conv_embed.",), 1),
        (("encoder.layer_norm.",), 1),
        (("feature_projection.", "encoder.layers.2."), 1),
        (("feature_extractor.conv_layers.0.layer_norm.",), 0),
    ],
)
def test_the_frozen_prefix_ends_where_something_learns(
    trainable: tuple[str, ...], depth: int
) -> None:
    _, ours = pair("wav2vec2", {})
    for name, parameter in ours.model.named_parameters():
        parameter.requires_grad_(name.startswith(trainable) if trainable else False)
    assert Stages(ours).frozen_depth() == depth


def test_only_stages_that_learn_have_dropout() -> None:
    _, ours = pair("wav2vec2", {})
    stages = Stages(ours)
    stages.set_training(4)
    assert [layer.training for layer in ours.layers] == [False, False, True]
    assert not ours.model.encoder.dropout.training
    stages.set_training(1)
    assert ours.model.encoder.dropout.training


def test_no_mask_where_nothing_is_padded() -> None:
    device = torch.device("cpu")
    assert frame_mask(torch.tensor([3, 3]), 3, device) is None
    mask = frame_mask(torch.tensor([1, 3]), 3, device)
    assert mask is not None
    assert mask.tolist() == [[True, False, False], [True, True, True]]
