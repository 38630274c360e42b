"""The distribution head: a mass for each cell over activation and valence, predicted directly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from serbench.harness.distributions import CELLS, expectation
from serbench.harness.heads import PLANE, Known
from serbench.harness.heads.base import PROJECTION, Answer, Head, pooled
from serbench.harness.heads.losses import cross_entropy
from serbench.harness.targets import Targets

__all__ = ["Distribution"]


class Distribution(Head):
    """The consensus head's maps with a softmax over cells; its labels are the expectation."""

    turns = (("distribution",),)

    def __init__(self, known: Known) -> None:
        super().__init__()
        self.projector = nn.Linear(known.hidden_size, PROJECTION)
        self.classifier = nn.Linear(PROJECTION, CELLS**2)
        self.predicts = tuple(name in PLANE for name in known.dimensions)
        self._columns = [known.dimensions.index(name) for name in PLANE]

    def masses(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(B, CELLS, CELLS), each adding up to 1."""
        logits: Tensor = self.classifier(self.projector(pooled(hidden, lengths)))
        masses: Tensor = logits.softmax(1).unflatten(1, (CELLS, CELLS))
        return masses

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(B, D), NaN but in activation and valence."""
        return self._labels(self.masses(hidden, lengths))

    def _labels(self, masses: Tensor) -> Tensor:
        labels = masses.new_full((len(masses), len(self.predicts or ())), torch.nan)
        labels[:, self._columns] = expectation(masses)
        return labels

    def loss(
        self, hidden: Tensor, lengths: Tensor, targets: Targets, tasks: Sequence[str]
    ) -> Tensor:
        """Cross-entropy with the distribution of the ratings."""
        return cross_entropy(self.masses(hidden, lengths), targets.distributions)

    def answer(self, hidden: Tensor, lengths: Tensor, targets: Targets) -> Answer:
        """Labels and masses from one pass."""
        masses = self.masses(hidden, lengths)
        return Answer(labels=self._labels(masses), distributions=masses)
