"""How sure a CCC is, and whether two can be told apart: draws of speakers, seeds by number."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from serbench.harness.bootstrap import (
    FEWEST_SPEAKERS,
    bootstrap_ccc,
    interval,
    seed_draws,
    speaker_draws,
)
from serbench.leaderboard.configurations import Configuration, Run

__all__ = ["Difference", "Draws", "Part", "paired_seeds", "parts"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
FEWEST_SEEDS = 2
"""A single seed that two rows share says nothing of what another would have given."""


@dataclass(frozen=True)
class Part:
    """A run's predictions of one dimension, where there is a label: arrays with shape (N,)."""

    predicted: Floats
    label: Floats
    speaker: Ints
    """Speakers as numbers, in the order of their names."""


def parts(predictions: pd.DataFrame) -> dict[tuple[int, str], Part]:
    """Predictions by run (of a fold, if there are any) and dimension.

    Args:
        predictions: from `queries.predictions`
    """
    speaker = pd.factorize(predictions["speaker"], sort=True)[0]
    dimension, dimensions = pd.factorize(predictions["dimension"])
    run_id, run_ids = pd.factorize(predictions["run_id"])
    predicted = predictions["predicted"].to_numpy(dtype=np.float64)
    label = predictions["label"].to_numpy(dtype=np.float64)
    part = run_id * len(dimensions) + dimension
    found = {}
    order = np.flatnonzero(~np.isnan(label))
    order = order[np.argsort(part[order], kind="stable")]
    for rows in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
        if rows.size:
            key = int(run_ids[run_id[rows[0]]]), str(dimensions[dimension[rows[0]]])
            found[key] = Part(predicted[rows], label[rows], speaker[rows])
    return found


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One configuration's CCC less another's; None for what cannot be told."""

    value: float | None
    """Mean over `seeds`; of all seeds of both where these are empty."""
    low: float | None
    high: float | None
    """Ends of the 95 % interval over speakers and seeds."""
    apart: bool
    """The interval leaves out 0, the rows' means differ the same way, and by more than noise."""
    seeds: tuple[int, ...]
    """The seeds by which the two are paired; empty if they are not."""


def paired_seeds(a: Configuration, b: Configuration) -> tuple[int, ...]:
    """The seeds that two configurations have in common, if these are enough to pair them by.

    Two seeds at least are, and so is one that is all that either has.
    """
    first, second = _numbers(a), _numbers(b)
    shared = tuple(seed for seed in first if seed in second)
    return shared if len(shared) >= FEWEST_SEEDS or first == second else ()


def _numbers(member: Configuration) -> tuple[int, ...]:
    return tuple(run["seed"] for run in member.seeds)


class Draws:
    """The CCC of configurations of one group in each draw of its speakers.

    All draw the same speakers. With fewer than `FEWEST_SPEAKERS` there is too little to draw from,
    and nothing is told.
    """

    def __init__(
        self, members: Sequence[Configuration], found: Mapping[tuple[int, str], Part]
    ) -> None:
        ids = {i for member in members for run in member.seeds for i in run["ids"]}
        self._parts = {key: part for key, part in found.items() if key[0] in ids}
        seen = [part.speaker for part in self._parts.values()]
        self._speakers: Ints = np.unique(np.concatenate(seen)) if seen else np.empty(0, np.intp)
        self._drawn: dict[tuple[tuple[int, ...], str], Floats] = {}

    @property
    def speakers(self) -> int:
        """How many speakers there are to draw from."""
        return len(self._speakers)

    @property
    def enough(self) -> bool:
        """Whether anything can be told from so many."""
        return self.speakers >= FEWEST_SPEAKERS

    @functools.cached_property
    def _counts(self) -> Floats:
        return speaker_draws(self.speakers)

    def interval(
        self, member: Configuration, dimensions: Sequence[str]
    ) -> tuple[float, float] | None:
        """The 95 % interval of a configuration's mean CCC over dimensions."""
        drawn = self._of_runs(member.seeds, dimensions)
        return None if drawn is None else interval(_drawn_seeds(drawn))

    def difference(
        self,
        a: Configuration,
        b: Configuration,
        dimensions: Sequence[str],
        *,
        noise: float | None = None,
    ) -> Difference:
        """`a`'s mean CCC over dimensions less `b`'s; whatever tells rows apart tells it by this.

        Args:
            noise: the largest difference that two runs of one configuration had
        """
        seeds = paired_seeds(a, b)
        value = _less(_over(a, seeds, dimensions), _over(b, seeds, dimensions))
        overall = _less(a.score(dimensions), b.score(dimensions))
        bounds = self._bounds(a, b, seeds, dimensions)
        low, high = bounds or (None, None)
        apart = (
            bounds is not None
            and overall is not None
            and abs(overall) > (noise or 0.0)
            and (bounds[0] > 0 if overall > 0 else bounds[1] < 0)
        )
        return Difference(value=value, low=low, high=high, apart=apart, seeds=seeds)

    def _bounds(
        self, a: Configuration, b: Configuration, seeds: Sequence[int], dimensions: Sequence[str]
    ) -> tuple[float, float] | None:
        first = self._of_runs(_chosen(a, seeds), dimensions)
        second = self._of_runs(_chosen(b, seeds), dimensions)
        if first is None or second is None:
            return None
        if seeds:
            return interval(_drawn_seeds(first - second))
        # Whichever of the two is named first, each gets the same draws.
        turned = _numbers(a) > _numbers(b)
        drawn = _drawn_seeds(first, unpaired=turned) - _drawn_seeds(second, unpaired=not turned)
        return interval(drawn)

    def _of_runs(self, runs: Sequence[Run], dimensions: Sequence[str]) -> Floats | None:
        """Mean CCC over dimensions of each run in each draw of speakers, (D, runs)."""
        known = all((i, d) in self._parts for run in runs for i in run["ids"] for d in dimensions)
        if not (self.enough and runs and dimensions and known):
            return None
        each = [np.mean([self._of_run(run["ids"], d) for d in dimensions], axis=0) for run in runs]
        return np.stack(each, axis=1)

    def _of_run(self, ids: tuple[int, ...], dimension: str) -> Floats:
        """CCC in each draw, over what all folds of a run predicted."""
        key = ids, dimension
        if key not in self._drawn:
            found = [self._parts[i, dimension] for i in ids]
            predicted = np.concatenate([part.predicted for part in found])
            label = np.concatenate([part.label for part in found])
            speaker = np.concatenate([part.speaker for part in found])
            column = np.searchsorted(self._speakers, speaker)
            self._drawn[key] = bootstrap_ccc(predicted, label, column, self._counts)
        return self._drawn[key]


def _chosen(member: Configuration, seeds: Sequence[int]) -> tuple[Run, ...]:
    return tuple(run for run in member.seeds if run["seed"] in seeds or not seeds)


def _over(member: Configuration, seeds: Sequence[int], dimensions: Sequence[str]) -> float | None:
    values = [run[f"ccc_{d}"] for run in _chosen(member, seeds) for d in dimensions]
    return float(np.mean(values)) if values and None not in values else None


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _drawn_seeds(each: Floats, *, unpaired: bool = False) -> Floats:
    """Mean over the seeds of each draw, (D,), from those of each seed, (D, seeds)."""
    seeds = each.shape[1]
    return np.asarray((each * seed_draws(seeds, unpaired=unpaired)).sum(axis=1) / seeds)
