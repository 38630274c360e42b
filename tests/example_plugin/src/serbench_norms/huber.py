"""Labels by their Huber loss (Huber, 1964): what is far off pulls no harder than `delta`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from serbench.harness.heads import Known, Objective, register
from serbench.harness.heads.base import Head, pooled
from serbench.harness.targets import Targets


@register("huber")
@dataclass(frozen=True, kw_only=True)
class Huber(Objective):
    """The labels, by their Huber loss."""

    delta: float = 0.5
    """From which distance on the loss is linear, where the scale is [-1, 1]."""

    def build(self, known: Known) -> Head:
        """The network."""
        return Network(known, self.delta)


class Network(Head):
    """A linear map of the mean frame state."""

    def __init__(self, known: Known, delta: float) -> None:
        super().__init__()
        self.classifier = nn.Linear(known.hidden_size, len(known.dimensions))
        self.delta = delta

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(B, D) labels from (B, T, H) states."""
        predicted: Tensor = self.classifier(pooled(hidden, lengths))
        return predicted

    def loss(
        self, hidden: Tensor, lengths: Tensor, targets: Targets, tasks: Sequence[str]
    ) -> Tensor:
        """A scalar; utterances without a label do not count."""
        known = ~targets.labels.isnan()
        predicted = self(hidden, lengths)[known]
        return nn.functional.huber_loss(predicted, targets.labels[known], delta=self.delta)
