"""What is scored of a test split: labels, single ratings, annotators, and distributions.

Scores whose name ends in `_told` are of predictions that were made knowing who rated, those in
`_true` are against the distribution that simulated annotators rate by.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from serbench.harness.bootstrap import (
    FEWEST_SPEAKERS,
    bootstrap_ccc,
    bootstrap_mean,
    interval,
    speaker_draws,
)
from serbench.harness.corpora.base import Corpus
from serbench.harness.distributions import CELLS, expectation
from serbench.harness.heads import PLANE
from serbench.harness.metrics import ON_PLANE, ccc, ccc_by_group, jsd, tvd
from serbench.harness.results import Annotator, Distributions, Message, Predictions, Score
from serbench.harness.targets import Ratings
from serbench.harness.trainer import Evaluation

__all__ = ["ON_PLANE", "Scored"]

DISTANCES = {"tvd": tvd, "jsd": jsd}

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Drawing = Callable[[Indices, Floats], Floats]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """An evaluation of a corpus's test split, from which all that is told of it comes."""

    corpus: Corpus
    dimensions: tuple[str, ...]
    """Columns of what was predicted."""
    evaluation: Evaluation
    ratings: Ratings
    """Of this corpus in those dimensions, annotators numbered as in training."""
    least_ratings: int
    """From which on an annotator has a CCC."""

    def messages(self) -> Iterator[Message]:
        """Everything that can be told of this corpus and head, in no more words than needed."""
        for column, dimension in self._both():
            yield from self._labels(column, dimension)
        if len(self._rows):
            for column, dimension in self._both():
                yield from self._single_ratings(column, dimension)
        if self._masses("distributions") is not None and len(self._rated[0]):
            yield from self._distributions()

    def _both(self) -> Iterator[tuple[int, str]]:
        """Column and name of the dimensions that the corpus has and the head predicts."""
        for column, dimension in enumerate(self.dimensions):
            predicted = not np.isnan(self.evaluation.predicted[:, column]).all()
            if predicted and dimension in self.corpus.dimensions:
                yield column, dimension

    @functools.cached_property
    def _table(self) -> pd.DataFrame:
        table: pd.DataFrame = self.corpus.utterances.iloc[self.evaluation.indices]
        return table

    @functools.cached_property
    def _labelled(self) -> Floats:
        """(M, D) labels in [-1, 1]."""
        unlabelled = np.full(len(self._table), np.nan)
        columns = [
            self.corpus.scaled(self._table[name]) if name in self._table else unlabelled
            for name in self.dimensions
        ]
        return np.stack(columns, axis=1)

    def _labels(self, column: int, dimension: str) -> Iterator[Message]:
        known = self._table[dimension].notna().to_numpy()
        chosen = self._table[known]
        predicted = self.corpus.unscaled(self.evaluation.predicted[known, column])
        labels = chosen[dimension].to_numpy(np.float64)
        bounds = _bounds(
            chosen["speaker"],
            lambda speaker, draws: bootstrap_ccc(predicted, labels, speaker, draws),
        )
        yield self._score("ccc", dimension, self.evaluation.ccc[column], bounds)
        yield Predictions(
            corpus=self.corpus.name,
            split="test",
            dimension=dimension,
            utterances=tuple(chosen["id"]),
            speakers=tuple(chosen["speaker"]),
            predicted=tuple(map(float, predicted)),
            labels=tuple(map(float, labels)),
        )

    @functools.cached_property
    def _pairs(self) -> tuple[Indices, Indices]:
        return self.ratings.of(self.evaluation.indices)

    @property
    def _rows(self) -> Indices:
        """(P,) of the ratings of what was tested."""
        return self._pairs[0]

    @property
    def _utterance(self) -> Indices:
        """(P,) the position of each rating's utterance in the evaluation."""
        return self._pairs[1]

    def _stacked(self, name: str) -> Floats | None:
        """What all batches answered under a name; None if the head does not say it."""
        said = [getattr(answer, name) for answer in self.evaluation.answers]
        if not said or said[0] is None:
            return None
        joined: Floats = torch.cat(said).float().cpu().numpy().astype(np.float64)
        return joined

    @functools.cached_property
    def _told_ratings(self) -> Floats | None:
        known = self.ratings.annotator[self._rows] >= 0
        return self._stacked("told_ratings") if known.any() else None

    def _single_ratings(self, column: int, dimension: str) -> Iterator[Message]:
        """How well each rating is predicted, over all of them and by annotator."""
        rated = self.ratings.values[self._rows, column].astype(np.float64)
        said = {"": self.evaluation.predicted[self._utterance, column].astype(np.float64)}
        if self._told_ratings is not None:
            said["_told"] = self._told_ratings[:, column]
            known = ~np.isnan(rated)
            means = _means(said["_told"][known], self._utterance[known], len(self._table))
            yield self._score("ccc_told", dimension, ccc(self._labelled[:, column], means))
        for suffix, predicted in said.items():
            yield self._score(f"pair_ccc{suffix}", dimension, ccc(rated, predicted))
        if self.ratings.people:
            yield from self._by_annotator(dimension, rated, said)

    def _by_annotator(
        self, dimension: str, rated: Floats, said: dict[str, Floats]
    ) -> Iterator[Message]:
        person = self.ratings.person[self._rows]
        people = self.ratings.people
        counts = np.bincount(person[~np.isnan(rated)], minlength=len(people))
        found = {
            suffix: ccc_by_group(rated, predicted, person, len(people))
            for suffix, predicted in said.items()
        }
        enough = (counts >= self.least_ratings) & ~np.isnan(found[""])
        for suffix, each in found.items():
            if enough.any():
                yield self._score(f"annotator_ccc{suffix}", dimension, float(each[enough].mean()))
        yield tuple(
            Annotator(
                corpus=self.corpus.name,
                split="test",
                dimension=dimension,
                annotator=people[i],
                ratings=int(counts[i]),
                ccc=float(found[""][i]),
                ccc_told=float(found["_told"][i]) if "_told" in found else None,
            )
            for i in np.flatnonzero(enough)
        )

    @functools.cached_property
    def _rated(self) -> tuple[Indices, Floats]:
        """Positions (K,) of utterances whose ratings have a distribution, and that of each."""
        found = self.ratings.distributions(self.evaluation.indices).astype(np.float64)
        kept = np.flatnonzero(~np.isnan(found).any(axis=(1, 2)))
        return kept, found[kept]

    def _masses(self, name: str) -> Floats | None:
        found = self._stacked(name)
        return None if found is None else found[self._rated[0]]

    @functools.cached_property
    def _true(self) -> Floats | None:
        if self.corpus.truth is None:
            return None
        return self.corpus.truth(CELLS)[self.evaluation.indices[self._rated[0]]]

    def _distributions(self) -> Iterator[Message]:
        kept, rated = self._rated
        predicted = self._masses("distributions")
        assert predicted is not None
        told = self._masses("told_distributions") if self._told_ratings is not None else None
        pairs = {"": (predicted, rated)}
        if told is not None:
            pairs["_told"] = told, rated
        if self._true is not None:
            pairs["_true"] = predicted, self._true
        distances: dict[str, Floats] = {}
        for suffix, (p, q) in pairs.items():
            for name, distance in DISTANCES.items():
                distances[name + suffix] = distance(p, q)
                yield self._mean(name + suffix, ON_PLANE, distances[name + suffix])
                for axis, dimension in enumerate(PLANE):
                    along = distance(p.sum(axis=2 - axis), q.sum(axis=2 - axis))
                    yield self._mean(name + suffix, dimension, along)
        yield from self._expectations(predicted)
        rows = self._table.iloc[kept]
        every = (f"{name}{suffix}" for name in DISTANCES for suffix in ("", "_told", "_true"))
        nothing: tuple[None, ...] = (None,) * len(kept)
        yield Distributions(
            corpus=self.corpus.name,
            split="test",
            utterances=tuple(rows["id"]),
            raters=tuple(self._raters[kept].tolist()),
            masses={"rated": rated, "predicted": predicted, "told": told, "true": self._true},
            distances={
                name: tuple(distances[name].tolist()) if name in distances else nothing
                for name in every
            },
        )

    @functools.cached_property
    def _raters(self) -> Indices:
        """(M,) who rated both dimensions."""
        on_plane = self.ratings.on_plane[self._rows]
        return np.bincount(self._utterance[on_plane], minlength=len(self._table))

    def _expectations(self, predicted: Floats) -> Iterator[Message]:
        """CCC of the distributions' expectations with the labels."""
        said = expectation(torch.from_numpy(predicted)).numpy()
        for axis, dimension in enumerate(PLANE):
            if dimension in self.dimensions:
                labels = self._labelled[self._rated[0], self.dimensions.index(dimension)]
                yield self._score("expectation_ccc", dimension, ccc(labels, said[:, axis]))

    def _mean(self, metric: str, dimension: str, values: Floats) -> Score:
        bounds = _bounds(
            self._table["speaker"].iloc[self._rated[0]],
            lambda speaker, draws: bootstrap_mean(values, speaker, draws),
        )
        return self._score(metric, dimension, float(values.mean()), bounds)

    def _score(
        self,
        metric: str,
        dimension: str,
        value: float,
        bounds: tuple[float, float] | None = None,
    ) -> Score:
        low, high = bounds or (None, None)
        return Score(
            corpus=self.corpus.name,
            split="test",
            metric=metric,
            dimension=dimension,
            value=value,
            low=low,
            high=high,
        )


def _bounds(speakers: pd.Series[str], drawn: Drawing) -> tuple[float, float] | None:
    """The 95 % interval over speakers; none with too few of them."""
    names, index = np.unique(speakers.to_numpy(str), return_inverse=True)
    if len(names) < FEWEST_SPEAKERS:
        return None
    return interval(drawn(index, speaker_draws(len(names))))


def _means(values: Floats, group: Indices, groups: int) -> Floats:
    """Mean of each group, NaN for an empty one."""
    counts = np.bincount(group, minlength=groups)
    sums = np.bincount(group, values, minlength=groups)
    means: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means
