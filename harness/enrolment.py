"""Whom a new annotator is like: those of training who come nearest to a few of their ratings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from serbench.harness.metrics import ccc_by_group
from serbench.harness.targets import Ratings

__all__ = ["Enrolment", "Everybody", "Likeness"]

RANDOM_DRAWS = 10
"""Of the control, whose mean is told: a single draw is a matter of luck."""

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Everybody = Callable[[Indices], Iterable[tuple[Indices, Tensor]]]
"""From utterances to batches of them, each with what all A annotators say, (B, A, D)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Likeness:
    """For each of C new annotators those of training that stand for them."""

    nearest: Indices
    """(C, 2), the nearest first."""
    random: Indices
    """(C, RANDOM_DRAWS)."""

    def ways(self) -> dict[str, list[Indices]]:
        """By name the sets (C, n) of annotators whose mean stands for each; several are drawn."""
        draws = [self.random[:, [i]] for i in range(self.random.shape[1])]
        return {"one": [self.nearest[:, :1]], "two": [self.nearest], "random": draws}


@dataclass(frozen=True, kw_only=True, eq=False)
class Enrolment:
    """A corpus whose annotators the head does not know, and the ratings that they enrol with.

    Args:
        ratings: of that corpus.
        outside: utterances that are not tested on, from which they enrol.
        each: ratings that each enrols with; who has fewer there is left out.
        seed: of what is drawn.
    """

    ratings: Ratings
    outside: Indices
    each: int
    seed: int

    @property
    def people(self) -> Indices:
        """(C,) numbers of those who enrol."""
        return np.unique(self.ratings.person[self._rows])

    @property
    def _rows(self) -> Indices:
        """(C * each,) ratings that are enrolled with."""
        rng = np.random.default_rng(self.seed)
        rows, _ = self.ratings.of(self.outside)
        rows = rng.permutation(rows)
        person = self.ratings.person[rows]
        order = np.argsort(person, kind="stable")
        rows, person = rows[order], person[order]
        starts = np.searchsorted(person, person)
        counts = np.searchsorted(person, person, side="right") - starts
        chosen = (np.arange(len(rows)) - starts < self.each) & (counts >= self.each)
        kept: Indices = rows[chosen]
        return kept

    def likeness(self, everybody: Everybody) -> Likeness | None:
        """Find the annotators with the least squared error over all rated dimensions.

        None if nothing is said of anybody.
        """
        rows, people = self._rows, self.people
        utterance = np.searchsorted(self.ratings.starts, rows, side="right") - 1
        who = np.searchsorted(people, self.ratings.person[rows])
        errors: Tensor | None = None
        for indices, said in everybody(np.unique(utterance)):
            here = np.flatnonzero(np.isin(utterance, indices))
            position = np.searchsorted(np.sort(indices), utterance[here])
            there = torch.from_numpy(np.argsort(indices)[position]).to(said.device)
            values = torch.from_numpy(self.ratings.values[rows[here]]).to(said.device)
            each = (said[there] - values[:, None]).square().nansum(2)
            if errors is None:
                errors = each.new_zeros(len(people), said.shape[1])
            errors.index_add_(0, torch.from_numpy(who[here]).to(said.device), each)
        if errors is None:
            return None
        near = errors.topk(min(2, errors.shape[1]), largest=False).indices.cpu().numpy()
        rng = np.random.default_rng([self.seed, 1])
        return Likeness(
            nearest=near, random=rng.integers(errors.shape[1], size=(len(people), RANDOM_DRAWS))
        )

    def scores(
        self, likeness: Likeness, tested: Indices, everybody: Everybody, least_ratings: int
    ) -> Iterator[tuple[str, int, float]]:
        """CCC of those who enrolled, the unweighted mean over who has enough ratings to be tested.

        Args:
            likeness: of `people`.
            tested: utterances.
            everybody: what is said of them.
            least_ratings: that are enough.

        Yields:
            how annotators were stood for (`one`, `two`, `random`, or `none` by all of them), the
            dimension's column, and the CCC
        """
        people = self.people
        rows, _ = self.ratings.of(tested)
        rows = rows[np.isin(self.ratings.person[rows], people)]
        who = np.searchsorted(people, self.ratings.person[rows])
        said = self._said(likeness, rows, who, everybody)
        for column in range(self.ratings.values.shape[1]):
            rated = self.ratings.values[rows, column].astype(np.float64)
            enough = np.bincount(who[~np.isnan(rated)], minlength=len(people)) >= least_ratings
            for name, draws in said.items():
                found = [ccc_by_group(rated, d[:, column], who, len(people))[enough] for d in draws]
                values = np.concatenate(found)
                if np.isfinite(values).any():
                    yield name, column, float(np.nanmean(values))

    def _said(
        self, likeness: Likeness, rows: Indices, who: Indices, everybody: Everybody
    ) -> dict[str, list[Floats]]:
        """By way and draw what is said of the ratings in `rows`, (P, D)."""
        utterance = np.searchsorted(self.ratings.starts, rows, side="right") - 1
        ways, nothing = likeness.ways(), np.full((len(rows), self.ratings.values.shape[1]), np.nan)
        said = {name: [nothing.copy() for _ in draws] for name, draws in ways.items()}
        said["none"] = [nothing.copy()]
        for indices, all_say in everybody(np.unique(utterance)):
            here = np.flatnonzero(np.isin(utterance, indices))
            position = np.searchsorted(np.sort(indices), utterance[here])
            predicted = all_say.float().cpu().numpy()[np.argsort(indices)[position]]
            for name, draws in ways.items():
                for number, stand_ins in enumerate(draws):
                    chosen = np.take_along_axis(predicted, stand_ins[who[here], :, None], axis=1)
                    said[name][number][here] = chosen.mean(axis=1)
            said["none"][0][here] = predicted.mean(axis=1)
        return said
