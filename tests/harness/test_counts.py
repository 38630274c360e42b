"""Trainable parameters against the arithmetic of the paper, on the base geometry."""

from __future__ import annotations

import copy

import pytest

from serbench.harness import strategy
from serbench.harness.backbone import Backbone, load, locate
from serbench.harness.stages import Stages

HIDDEN, LAYERS, LAYER = 768, 12, 7_087_872


@pytest.fixture(scope="module")
def base() -> Backbone:
    """To be copied, for its random weights take longer to draw."""
    return load(locate("wav2vec2-base", "random"))


@pytest.mark.parametrize(
    ("label", "trainable", "depth"),
    [
        # All but the convolutions and the mask embedding.
        ("full", 94_371_712 - 4_200_448 - 768, 1),
        ("full:convolutions=true", 94_371_712 - 768, 0),
        ("top-layers", 21_263_616, 11),
        ("top-layers:layers=3", 3 * LAYER, 11),
        ("top-layers:layers=12", 12 * LAYER, 2),
        ("frozen", 0, 14),
        ("weighted-sum", LAYERS + 1, 14),
        # Two maps of 768 to 768 a layer, each with 2 x 768 x rank.
        ("lora:rank=8", LAYERS * 2 * 2 * HIDDEN * 8, 2),
        ("lora:rank=4,targets=q_proj,layers=3", 3 * 2 * HIDDEN * 4, 11),
        # LoRA and one magnitude for each output.
        ("dora:rank=8", LAYERS * 2 * (2 * HIDDEN * 8 + HIDDEN), 2),
        # Keys, values, and the inner activations.
        ("ia3", LAYERS * (HIDDEN + HIDDEN + 4 * HIDDEN), 2),
        # A scale a rank and a scale an output, for two maps a layer.
        ("vera:rank=64", LAYERS * 2 * (64 + HIDDEN), 2),
        # P, Q and the singular values at the initial rank.
        ("adalora:initial_rank=12", LAYERS * 2 * (2 * HIDDEN * 12 + 12), 2),
        ("bottleneck:width=64", LAYERS * (2 * HIDDEN * 64 + 64 + HIDDEN), 2),
        ("gradual:first=2", 2 * LAYER, 12),
        # Biases of the projection's norm and map, positions, encoder norm, and of each layer.
        ("bitfit", 512 + 3 * HIDDEN + LAYERS * (4 + 2 + 1) * HIDDEN + LAYERS * 4 * HIDDEN, 1),
    ],
)
def test_as_many_train_as_the_arithmetic_says(
    label: str, trainable: int, depth: int, base: Backbone
) -> None:
    strategy.discover()
    encoder = copy.deepcopy(base)
    encoder.total_steps = 100
    strategy.parse(label).strategy.adapt(encoder)
    assert sum(p.numel() for _, p in encoder.trainable()) == trainable
    assert Stages(encoder).frozen_depth() == depth


def test_three_layers_are_77_5_percent_fewer() -> None:
    assert pytest.approx(0.775, abs=5e-4) == 1 - 21_263_616 / 94_371_712
