"""A strategy that trains nothing is caught, and so is a frozen parameter that moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from serbench.harness.backbone import Backbone
from serbench.harness.contract import encoder, learn
from serbench.harness.errors import StrategyError
from serbench.harness.guard import Guard
from serbench.harness.strategy import Strategy, Variant


@dataclass(frozen=True, kw_only=True)
class Idle(Strategy):
    """Freezes everything, and does not say that this is meant."""

    def adapt(self, backbone: Backbone) -> None:
        backbone.freeze()


@dataclass(frozen=True, kw_only=True)
class Still(Strategy):
    """Lets the last layer learn, at a rate of nothing."""

    lr: float = 0.0

    def adapt(self, backbone: Backbone) -> None:
        backbone.freeze()
        backbone.layers[-1].requires_grad_(True)

    def param_groups(self, model: Any, lr: float) -> list[dict[str, Any]]:
        trainable = [p for p in model.parameters() if p.requires_grad]
        return [{"params": trainable, "lr": lr, "weight_decay": 0.0}]


@dataclass(frozen=True, kw_only=True)
class Unused(Strategy):
    """Trains a parameter that no prediction rests on."""

    def adapt(self, backbone: Backbone) -> None:
        backbone.freeze()
        backbone.layers[-1].extra = torch.nn.Linear(2, 2)


@dataclass(frozen=True, kw_only=True)
class Partly(Strategy):
    """Trains the last layer, and a parameter that no prediction rests on."""

    def adapt(self, backbone: Backbone) -> None:
        backbone.freeze()
        backbone.layers[-1].requires_grad_(True)
        backbone.layers[-1].extra = torch.nn.Parameter(torch.zeros(2))


@dataclass(frozen=True, kw_only=True)
class Meddling(Strategy):
    """Says that the last layer learns, and changes the first one too."""

    def adapt(self, backbone: Backbone) -> None:
        backbone.freeze()
        backbone.layers[-1].requires_grad_(True)

    def after_step(self, backbone: Backbone, step: int) -> None:
        with torch.no_grad():
            first: Any = backbone.layers[0]
            first.layer_norm.weight[0] += 1e-3


@dataclass(frozen=True, kw_only=True)
class Contradicting(Idle):
    """Says that nothing learns, and lets something learn."""

    head_only: ClassVar[bool] = True

    def adapt(self, backbone: Backbone) -> None:
        """Leave everything trainable."""


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Idle, "leaves nothing in the backbone to learn"),
        (Still, "nothing in the backbone moved"),
        (Unused, "2 of its 2 trainable tensors .* take no part in the prediction"),
        (Partly, r"1 of its \d+ trainable tensors .*extra.* take no part"),
        (Meddling, r"moved what it had frozen: .*layers\.0\.layer_norm\.weight"),
        (Contradicting, "is head_only, yet trains"),
    ],
)
def test_a_strategy_that_does_not_do_what_it_says_is_caught(
    cls: type[Strategy], message: str, tmp_path: Path
) -> None:
    with pytest.raises(StrategyError, match=message):
        learn(Variant("odd", cls()), "wav2vec2", tmp_path)


def _swap(weight: torch.Tensor) -> None:
    weight[[0, 1]] = weight[[1, 0]]


def _opposite(weight: torch.Tensor) -> None:
    weight[0] += 1.0
    weight[1] -= 1.0


@pytest.mark.parametrize("change", [_swap, _opposite])
def test_changes_that_leave_the_sum_alone_are_seen(
    change: Callable[[torch.Tensor], None],
) -> None:
    backbone = encoder("wav2vec2")
    guard = Guard(backbone, "label", head_only=False)
    with torch.no_grad():
        change(backbone.model.encoder.layers[0].feed_forward.output_dense.weight[:, 0])
    with pytest.raises(StrategyError, match=r"layers\.0\.feed_forward\.output_dense\.weight"):
        guard.check(frozenset())
