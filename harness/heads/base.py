"""What every head's network is: frame states in, predictions and their loss out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from serbench.harness.targets import Targets

__all__ = ["PROJECTION", "Answer", "Head", "pooled"]

PROJECTION = 256
"""Width between the two linear maps: `classifier_proj_size` of the library's configurations."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """All that a head says of a batch, in units where the scale is [-1, 1].

    What has `told` in its name was said knowing who gave the ratings, which are those of the
    targets; None for what a head cannot say.
    """

    labels: Tensor
    """(B, D), the consensus; NaN in a dimension that the head does not predict."""
    distributions: Tensor | None = None
    """(B, CELLS, CELLS) over activation and valence."""
    told_ratings: Tensor | None = None
    """(P, D), each rating; as in `labels` where it is not known who gave it."""
    told_distributions: Tensor | None = None
    """(B, CELLS, CELLS), of who rated both dimensions; as in `distributions` where nobody is known
    to have."""


class Head(nn.Module, ABC):
    """Pools frame states and predicts, in units where the scale is [-1, 1]."""

    turns: tuple[tuple[str, ...], ...] = (("consensus",),)
    """For each optimiser step of a mini-batch the tasks whose losses are added up for it."""
    predicts: tuple[bool, ...] | None = None
    """Whether it predicts each dimension; None if it predicts all."""

    @abstractmethod
    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Take (B, T, H) states, zero where padded, and (B,) valid frames to (B, D) labels."""

    @abstractmethod
    def loss(
        self, hidden: Tensor, lengths: Tensor, targets: Targets, tasks: Sequence[str]
    ) -> Tensor:
        """A scalar: the losses of some of the tasks in `turns`, added up."""

    def answer(self, hidden: Tensor, lengths: Tensor, targets: Targets) -> Answer:
        """All that it has to say; of `targets` it uses only who rated which dimensions."""
        return Answer(labels=self(hidden, lengths))

    def everybody(self, hidden: Tensor, lengths: Tensor) -> Tensor | None:
        """The rating that each annotator would give, (B, A, D); None if it predicts no persons."""
        return None

    def begin_epoch(self, epoch: int) -> None:
        """Change what is learnt before epoch `epoch` (from 0)."""


def pooled(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Mean over valid frames, (B, H) in fp32, of (B, T, H) states that are zero where padded."""
    counts = lengths.float().to(hidden.device, non_blocking=True)
    return hidden.sum(dim=1, dtype=torch.float32) / counts[:, None]
