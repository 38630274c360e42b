"""What a head learns from: consensus labels, who rated what how, and the ratings' distributions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from serbench.harness.corpora.base import Corpus
from serbench.harness.distributions import CELLS, HARD, Estimator
from serbench.harness.heads import FEWEST_RATERS, PLANE

__all__ = ["FEWEST_RATERS", "Ratings", "Targets", "annotators_of", "batch", "ratings_of"]

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Targets:
    """A batch of B utterances with P ratings, all values where the scale is [-1, 1].

    `utterance` (P,) is the position of each rating's utterance in the batch, ascending, and
    `annotator` (P,) the number of who gave it, -1 for one who has rated nothing in training.
    """

    labels: Tensor
    """(B, D), NaN where there is no label."""
    utterance: Tensor
    annotator: Tensor
    ratings: Tensor
    """(P, D), NaN where that dimension was not rated."""
    distributions: Tensor
    """(B, CELLS, CELLS) of the ratings; NaN for fewer than two raters, or if nobody asked."""

    def to(self, device: torch.device) -> Targets:
        """The same on a device, copied without waiting."""
        return Targets(
            labels=self.labels.to(device, non_blocking=True),
            utterance=self.utterance.to(device, non_blocking=True),
            annotator=self.annotator.to(device, non_blocking=True),
            ratings=self.ratings.to(device, non_blocking=True),
            distributions=self.distributions.to(device, non_blocking=True),
        )

    @classmethod
    def imagined(cls, utterances: int, dimensions: int, annotators: int) -> Targets:
        """Something to learn from in a step that is only looked at: three ratings an utterance."""
        labels = torch.linspace(-1, 1, utterances)[:, None].expand(-1, dimensions)
        utterance = torch.arange(utterances).repeat_interleave(3 if annotators else 0)
        shift = torch.linspace(-0.2, 0.2, 3).repeat(utterances)[: len(utterance), None]
        return cls(
            labels=labels,
            utterance=utterance,
            annotator=torch.arange(len(utterance)) % max(1, annotators),
            ratings=labels[utterance] + shift,
            distributions=torch.full((utterances, CELLS, CELLS), 1 / CELLS**2),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Ratings:
    """All ratings of N utterances, one after the other's: those of i are `starts[i]` to
    `starts[i + 1]`."""

    starts: Indices
    """(N + 1,)."""
    annotator: Indices
    """(R,) numbers of those who rated in training, -1 for others."""
    person: Indices
    """(R,) numbers of those who rated in this corpus."""
    values: Floats
    """(R, D) in [-1, 1], NaN where that dimension was not rated."""
    annotators: tuple[str, ...]
    """Names of those who rated in training, by number."""
    people: tuple[str, ...]
    """Names of those who rated in this corpus, by number; none where nobody is known."""
    plane: tuple[int, int] | None
    """Columns of activation and valence; None if one of them is missing."""

    @classmethod
    def none(cls, utterances: int, dimensions: int) -> Ratings:
        """Of a corpus without any."""
        return cls(
            starts=np.zeros(utterances + 1, np.int64),
            annotator=np.empty(0, np.int64),
            person=np.empty(0, np.int64),
            values=np.empty((0, dimensions), np.float32),
            annotators=(),
            people=(),
            plane=None,
        )

    def of(self, indices: Indices) -> tuple[Indices, Indices]:
        """The rows of utterances' ratings, and for each the position of its utterance in
        `indices`."""
        counts = self.starts[indices + 1] - self.starts[indices]
        utterance = np.repeat(np.arange(len(indices)), counts)
        before = np.cumsum(counts) - counts
        return np.arange(len(utterance)) + (self.starts[indices] - before)[utterance], utterance

    @functools.cached_property
    def on_plane(self) -> npt.NDArray[np.bool_]:
        """(R,) whether both activation and valence were rated."""
        if self.plane is None:
            return np.zeros(len(self.values), bool)
        activation, valence = self.plane
        known: npt.NDArray[np.bool_] = ~np.isnan(self.values[:, activation])
        return known & ~np.isnan(self.values[:, valence])

    def distributions(self, indices: Indices, estimator: Estimator = HARD) -> Floats:
        """(M, CELLS, CELLS) of utterances; unless another estimator is given, as published.

        NaN for fewer than `FEWEST_RATERS`. Where it draws, the same list of utterances in the same
        order gives the same; in another list, or another place of it, an utterance has other draws.
        """
        rows, utterance = self.of(indices)
        kept = self.on_plane[rows]
        rows, utterance = rows[kept], utterance[kept]
        if self.plane is None or not len(rows):
            return np.full((len(indices), CELLS, CELLS), np.nan, np.float32)
        found = estimator.of_pairs(
            torch.from_numpy(self.values[rows][:, list(self.plane)].astype(np.float64)),
            torch.from_numpy(utterance),
            len(indices),
            generator=torch.Generator().manual_seed(0),
        ).numpy()
        few = np.bincount(utterance, minlength=len(indices)) < FEWEST_RATERS
        found[few] = np.nan
        distributions: Floats = found.astype(np.float32)
        return distributions


def annotators_of(corpus: Corpus, learnt_from: Indices | None = None) -> tuple[str, ...]:
    """Names of those who have rated what is learnt from, sorted, so that numbers are stable.

    Args:
        corpus: whose labelled dimensions count.
        learnt_from: utterances; the whole training split if None.
    """
    if corpus.ratings is None or corpus.anonymous:
        return ()
    learnt = corpus.indices("train") if learnt_from is None else learnt_from
    inside = corpus.ratings["utterance"].isin(corpus.utterances["id"].iloc[learnt])
    inside &= corpus.ratings["dimension"].isin(corpus.dimensions)
    return tuple(sorted(corpus.ratings["annotator"][inside].astype(str).unique()))


def ratings_of(corpus: Corpus, dimensions: Sequence[str], annotators: Sequence[str]) -> Ratings:
    """A corpus's ratings in some dimensions; `annotators` are numbered as they stand there."""
    count = len(corpus.utterances)
    if corpus.ratings is None:
        return Ratings.none(count, len(dimensions))
    table = corpus.ratings[corpus.ratings["dimension"].isin(dimensions)]
    utterance = pd.Index(corpus.utterances["id"]).get_indexer_for(table["utterance"])
    who, people = pd.factorize(table["annotator"], sort=True)
    column = pd.Index(dimensions).get_indexer_for(table["dimension"])
    wide = max(1, len(people))
    pairs, row = np.unique(utterance * wide + who, return_inverse=True)
    values = np.full((len(pairs), len(dimensions)), np.nan, np.float32)
    values[row, column] = corpus.scaled(table["value"])
    person = pairs % wide
    number = pd.Index(list(annotators), dtype=object).get_indexer_for(people.astype(str))
    known = np.full(len(person), -1) if corpus.anonymous else number[person]
    plane = tuple(list(dimensions).index(name) for name in PLANE if name in dimensions)
    return Ratings(
        starts=np.searchsorted(pairs // wide, np.arange(count + 1)),
        annotator=known.astype(np.int64),
        person=person,
        values=values,
        annotators=tuple(annotators),
        people=() if corpus.anonymous else tuple(people.astype(str)),
        plane=(plane[0], plane[1]) if len(plane) == 2 else None,
    )


def batch(
    indices: Indices, labels: Floats, ratings: Ratings, distributions: Floats | None = None
) -> Targets:
    """What is known of the utterances `indices`.

    Args:
        labels: (N, D) of all utterances.
        distributions: (N, CELLS, CELLS) of all utterances, if they are wanted.
    """
    rows, utterance = ratings.of(indices)
    chosen = (
        np.full((len(indices), CELLS, CELLS), np.nan, np.float32)
        if distributions is None
        else distributions[indices]
    )
    return Targets(
        labels=torch.from_numpy(labels[indices]),
        utterance=torch.from_numpy(utterance),
        annotator=torch.from_numpy(ratings.annotator[rows]),
        ratings=torch.from_numpy(ratings.values[rows]),
        distributions=torch.from_numpy(chosen),
    )
