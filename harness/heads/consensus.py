"""The consensus head: one value a dimension, learnt by its concordance with the mean rating."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from serbench.harness.heads import Known
from serbench.harness.heads.base import PROJECTION, Head, pooled
from serbench.harness.heads.losses import ccc_loss
from serbench.harness.targets import Targets

__all__ = ["Consensus"]


class Consensus(Head):
    """Masked mean over frames, then the two linear maps of the library's sequence classifiers."""

    def __init__(self, known: Known) -> None:
        super().__init__()
        self.projector = nn.Linear(known.hidden_size, PROJECTION)
        self.classifier = nn.Linear(PROJECTION, len(known.dimensions))

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Predict (B, D) from (B, T, H); pooling and both maps are in fp32."""
        # The library projects before it pools; a linear map and a mean commute.
        predicted: Tensor = self.classifier(self.projector(pooled(hidden, lengths)))
        return predicted

    def loss(
        self, hidden: Tensor, lengths: Tensor, targets: Targets, tasks: Sequence[str]
    ) -> Tensor:
        """Mean over dimensions of 1 − CCC within the batch."""
        return ccc_loss(self(hidden, lengths), targets.labels)
