"""Heads that predict every annotator, all at once, and learn what they say together.

Tavernor, El-Tawil and Mower Provost (Interspeech 2024), arXiv:2408.11956.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from serbench.harness.distributions import Estimator
from serbench.harness.heads import PLANE, Known
from serbench.harness.heads.base import PROJECTION, Answer, Head, pooled
from serbench.harness.heads.losses import ccc_loss, cross_entropy
from serbench.harness.targets import Targets

__all__ = ["AnnotatorHead", "Layer", "OneHot", "Towers"]

AT_ONCE = 200_000
"""Annotators times utterances whose one-hot inputs are in memory together."""


class Layer(nn.Module):
    """A linear map to one value for each annotator and dimension, W[d, a] · x[d] + b[d, a].

    Of an utterance's own annotators alone it is computed by gathering their rows.

    Args:
        annotators: A.
        dimensions: D.
        width: of x.
        shared: add a map that is the same for everybody; all others then start from it, at zero.
    """

    def __init__(self, annotators: int, dimensions: int, width: int, *, shared: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dimensions, annotators, width))
        self.bias = nn.Parameter(torch.zeros(dimensions, annotators))
        self.shared = Layer(1, dimensions, width, shared=False) if shared else None
        if not shared:
            # As nn.Linear(width, 1) starts.
            nn.init.uniform_(self.weight, -(width**-0.5), width**-0.5)
            nn.init.uniform_(self.bias, -(width**-0.5), width**-0.5)

    def forward(self, inputs: Tensor, utterance: Tensor, annotator: Tensor) -> Tensor:
        """(P, D) for pairs of an utterance and an annotator.

        Args:
            inputs: (D, B, width).
            utterance: (P,) rows of `inputs`.
            annotator: (P,).
        """
        chosen = self.weight.index_select(1, annotator)
        products = (chosen * inputs.index_select(1, utterance)).sum(2)
        said: Tensor = (products + self.bias.index_select(1, annotator)).T
        return said if self.shared is None else said + self.shared.mean(inputs)[utterance]

    def everybody(self, inputs: Tensor, annotators: int) -> Tensor:
        """(B, A, D) for the first A annotators."""
        weight, bias = self.weight[:, :annotators], self.bias[:, None, :annotators]
        said = torch.baddbmm(bias, inputs, weight.mT).permute(1, 2, 0)
        return said if self.shared is None else said + self.shared.mean(inputs)[:, None]

    def mean(self, inputs: Tensor, annotators: int | None = None) -> Tensor:
        """(B, D), the mean over the first annotators, none of whom is computed for it."""
        weight, bias = self.weight[:, :annotators].mean(1), self.bias[:, :annotators].mean(1)
        said = torch.einsum("dbw,dw->bd", inputs, weight) + bias
        return said if self.shared is None else said + self.shared.mean(inputs)


class AnnotatorHead(Head):
    """What heads of annotators share: the tasks, and the answers.

    Task 1 is each rating, task 2 the mean rating, task 3 the distribution of the ratings, of the
    same utterance's annotators; `consensus` is the label itself. Who has not rated a dimension does
    not count in its mean, nor in a distribution over it.
    """

    def __init__(
        self, known: Known, estimator: Estimator, turns: tuple[tuple[str, ...], ...]
    ) -> None:
        super().__init__()
        self.projector = nn.Linear(known.hidden_size, PROJECTION)
        self.turns, self.estimator = turns, estimator
        names = list(known.dimensions)
        self._plane = [names.index(name) for name in PLANE if name in names]
        if {task for turn in turns for task in turn} == {"3"}:
            self.predicts = tuple(name in PLANE for name in names)

    @abstractmethod
    def _inputs(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Of the layer that knows the annotators."""

    @abstractmethod
    def _pairs(self, inputs: Tensor, utterance: Tensor, annotator: Tensor) -> Tensor:
        """(P, D) what annotators say of utterances."""

    @abstractmethod
    def _everybody(self, inputs: Tensor) -> Tensor:
        """(B, A, D) what all annotators say of all utterances."""

    @abstractmethod
    def _consensus(self, inputs: Tensor) -> Tensor:
        """(B, D) predicted labels."""

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(B, D): the mean over all annotators, or what stands for it."""
        return self._learnt(self._consensus(self._inputs(hidden, lengths)))

    def everybody(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(B, A, D)."""
        return self._learnt(self._everybody(self._inputs(hidden, lengths)))

    def _learnt(self, said: Tensor) -> Tensor:
        """(..., D) with NaN in the dimensions that it does not predict."""
        if self.predicts is None:
            return said
        return said.masked_fill(~torch.tensor(self.predicts, device=said.device), torch.nan)

    def loss(
        self, hidden: Tensor, lengths: Tensor, targets: Targets, tasks: Sequence[str]
    ) -> Tensor:
        """The tasks' losses added up; each CCC's is summed over dimensions, as published."""
        inputs = self._inputs(hidden, lengths)
        if tuple(tasks) == ("consensus",):
            return _summed(self._consensus(inputs), targets.labels)
        said = self._pairs(inputs, targets.utterance, targets.annotator)
        losses = {
            "1": lambda: _summed(said, targets.ratings),
            "2": lambda: _summed(*_means(said, targets)),
            "3": lambda: cross_entropy(self._distributions(said, targets), targets.distributions),
            "consensus": lambda: _summed(self._consensus(inputs), targets.labels),
        }
        return torch.stack([losses[task]() for task in tasks]).sum()

    def _distributions(self, said: Tensor, targets: Targets) -> Tensor:
        count = len(targets.labels)
        # What nobody rated goes to an utterance of its own: to pick the rest would wait for the
        # device.
        utterance = targets.utterance.masked_fill(~self._rated_plane(targets), count)
        return self.estimator.of_pairs(said[:, self._plane], utterance, count + 1)[:count]

    def _rated_plane(self, targets: Targets) -> Tensor:
        """(P,) whether both activation and valence were rated."""
        return ~targets.ratings[:, self._plane].isnan().any(1)

    def answer(self, hidden: Tensor, lengths: Tensor, targets: Targets) -> Answer:
        """With all annotators, and with those who are known to have rated, what they rated."""
        inputs = self._inputs(hidden, lengths)
        labels = self._learnt(self._consensus(inputs))
        known = targets.annotator >= 0
        rows, who = targets.utterance[known], targets.annotator[known]
        said = self._learnt(self._pairs(inputs, rows, who))
        told = labels[targets.utterance].clone()
        told[known] = said
        if len(self._plane) < len(PLANE):
            return Answer(labels=labels, told_ratings=told)
        seed = torch.Generator(labels.device).manual_seed(0)
        estimator = self.estimator.without_gradient
        masses = estimator.of_everybody(self._everybody(inputs)[..., self._plane], generator=seed)
        rated = self._rated_plane(targets)[known]
        of_raters = estimator.of_pairs(
            said[rated][:, self._plane], rows[rated], len(labels), generator=seed.manual_seed(0)
        )
        strangers = of_raters.isnan().flatten(1).any(1)
        return Answer(
            labels=labels,
            distributions=masses,
            told_ratings=told,
            told_distributions=torch.where(strangers[:, None, None], masses, of_raters),
        )


def _summed(predicted: Tensor, labels: Tensor) -> Tensor:
    return ccc_loss(predicted, labels) * labels.shape[1]


def _means(said: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """(B, D) over what those who rated are predicted to say, and labels, NaN where nobody did."""
    rated = ~targets.ratings.isnan()
    zeros = said.new_zeros(len(targets.labels), said.shape[1])
    sums = zeros.index_add(0, targets.utterance, said.masked_fill(~rated, 0.0))
    counts = zeros.index_add(0, targets.utterance, rated.to(said.dtype))
    labels = targets.labels.masked_fill(counts == 0, torch.nan)
    return sums / counts.clamp(min=1), labels


class Towers(AnnotatorHead):
    """A tower for each dimension over a shared trunk, and on it one linear map an annotator.

    Args:
        known: what is predicted.
        estimator: makes a distribution of predictions.
        turns: as in `Head`.
        width: of a tower.
        shared: all annotators depart from one map, at zero; otherwise each begins at random.
        pseudo: a further annotator, whose ratings are the labels, stands for the consensus; without
            one, the mean of all annotators does.
        warmup: epochs in which the shared map alone is learnt, as a consensus head.
    """

    def __init__(
        self,
        known: Known,
        estimator: Estimator,
        turns: tuple[tuple[str, ...], ...],
        *,
        width: int,
        shared: bool,
        pseudo: bool,
        warmup: int,
    ) -> None:
        super().__init__(known, estimator, turns)
        dimensions = len(known.dimensions)
        self.annotators, self.pseudo = known.annotators, pseudo
        self.towers = nn.Linear(PROJECTION, dimensions * width)
        self.layer = Layer(known.annotators + pseudo, dimensions, width, shared=shared)
        self.warmup, self.warming = warmup, warmup > 0
        self._turns = turns

    def begin_epoch(self, epoch: int) -> None:
        """Learn the consensus first, and then the annotators."""
        self.warming = epoch < self.warmup
        self.turns = (("consensus",),) if self.warming else self._turns

    def _inputs(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        towers = self.towers(self.projector(pooled(hidden, lengths))).relu()
        inputs: Tensor = towers.unflatten(1, (len(self.layer.bias), -1)).transpose(0, 1)
        return inputs

    def _pairs(self, inputs: Tensor, utterance: Tensor, annotator: Tensor) -> Tensor:
        said: Tensor = self.layer(inputs, utterance, annotator)
        return said

    def _everybody(self, inputs: Tensor) -> Tensor:
        return self.layer.everybody(inputs, self.annotators)

    def _consensus(self, inputs: Tensor) -> Tensor:
        if self.warming and self.layer.shared is not None:
            # The others are all at zero, and stay there.
            return self.layer.shared.mean(inputs)
        if not self.pseudo:
            return self.layer.mean(inputs, self.annotators)
        rows = torch.arange(inputs.shape[1], device=inputs.device)
        return self._pairs(inputs, rows, torch.full_like(rows, self.annotators))


class OneHot(AnnotatorHead):
    """Who rates is an input: a one-hot code beside the pooled states, then a hidden layer.

    A linear map of a one-hot code is a row of its weights, so that neither the codes nor the
    states repeated for each annotator are formed.
    """

    def __init__(
        self, known: Known, estimator: Estimator, turns: tuple[tuple[str, ...], ...]
    ) -> None:
        super().__init__(known, estimator, turns)
        self.codes = nn.Embedding(known.annotators, PROJECTION)
        # As the columns of a linear map from all inputs together would start.
        bound = (known.hidden_size + known.annotators) ** -0.5
        nn.init.uniform_(self.codes.weight, -bound, bound)
        self.classifier = nn.Linear(PROJECTION, len(known.dimensions))

    def _inputs(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        projected: Tensor = self.projector(pooled(hidden, lengths))
        return projected

    def _pairs(self, inputs: Tensor, utterance: Tensor, annotator: Tensor) -> Tensor:
        joined = inputs.index_select(0, utterance) + self.codes(annotator)
        said: Tensor = self.classifier(joined.relu())
        return said

    def _everybody(self, inputs: Tensor) -> Tensor:
        return torch.cat([self._of(inputs, codes) for codes in self._portions(inputs)], dim=1)

    def _consensus(self, inputs: Tensor) -> Tensor:
        sums = [self._of(inputs, codes).sum(1) for codes in self._portions(inputs)]
        return torch.stack(sums).sum(0) / len(self.codes.weight)

    def _portions(self, inputs: Tensor) -> tuple[Tensor, ...]:
        portions: tuple[Tensor, ...] = self.codes.weight.split(max(1, AT_ONCE // len(inputs)))
        return portions

    def _of(self, inputs: Tensor, codes: Tensor) -> Tensor:
        said: Tensor = self.classifier((inputs[:, None] + codes).relu())
        return said
