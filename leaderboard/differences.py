"""How sure a score is, and whether two can be told apart: draws of units, seeds by number."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from serbench.harness.bootstrap import (
    FEWEST_SPEAKERS,
    bootstrap_ccc,
    bootstrap_mean,
    interval,
    seed_draws,
    speaker_draws,
)
from serbench.harness.metrics import SCORED
from serbench.leaderboard.configurations import Configuration, Run
from serbench.leaderboard.noise import DIGITS
from serbench.leaderboard.queries import DISTANCES, Evidence

__all__ = ["Difference", "Draws", "Part", "Parts", "on_shared_utterances", "paired_seeds", "parts"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Unit = Literal["speaker", "annotator"]
FEWEST_SEEDS = 2
"""A single seed that two rows share says nothing of what another would have given."""


@dataclass(frozen=True)
class Part:
    """What of a run one of its scores comes from: arrays with shape (N,)."""

    statistic: Callable[..., Floats]
    """The score in each draw, as `bootstrap_ccc` tells it of several runs at once."""
    values: tuple[Floats, ...]
    unit: Unit
    """What a draw takes or leaves as a whole, with all that is of it."""
    number: Ints
    """Units as numbers, in the order of their names."""

    def __add__(self, other: Part) -> Part:
        values = zip(self.values, other.values, strict=True)
        joined = tuple(np.concatenate(each) for each in values)
        number = np.concatenate((self.number, other.number))
        return Part(self.statistic, joined, self.unit, number)


Parts: TypeAlias = Mapping[tuple[int, str], Part]


def parts(evidence: Evidence) -> dict[tuple[int, str], Part]:
    """What scores come from, by run (of a fold, if there are any) and key of the score.

    Draws are of speakers with all their utterances, and for the annotators' CCC of annotators.

    Args:
        evidence: from `queries.evidence`
    """
    predictions, distances = evidence.predictions, evidence.distances
    annotators = evidence.annotators
    named = pd.concat([predictions["speaker"], distances["speaker"]])
    speaker = pd.factorize(named, sort=True)[0]
    person = pd.factorize(annotators["annotator"], sort=True)[0]
    found: dict[tuple[int, str], Part] = {}
    known = predictions["label"].notna().to_numpy()
    pairs = _arrays(predictions, "predicted", "label")
    measured, told = _arrays(distances, *DISTANCES), _arrays(annotators, "ccc", "ccc_told")
    for (run_id, dimension), given in _grouped(predictions, "run_id", "dimension"):
        rows = given[known[given]]
        found[run_id, f"ccc_{dimension}"] = _part(pairs, rows, "speaker", speaker)
    for (run_id,), rows in _grouped(distances, "run_id"):
        for key, values in zip(DISTANCES, measured, strict=True):
            found[run_id, key] = _part((values,), rows, "speaker", speaker[len(predictions) :])
    for (run_id, dimension), rows in _grouped(annotators, "run_id", "dimension"):
        for column, values in zip(("ccc", "ccc_told"), told, strict=True):
            key = f"annotator_{column}_{dimension}"
            found[run_id, key] = _part((values,), rows, "annotator", person)
    return {
        key: part
        for key, part in found.items()
        if key[1] in SCORED and part.number.size and not np.isnan(part.values[0]).all()
    }


def _grouped(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[tuple[Any, ...], Ints]]:
    for key, rows in frame.groupby(list(columns), sort=False).indices.items():
        yield key if isinstance(key, tuple) else (key,), np.asarray(rows, np.intp)


def _arrays(frame: pd.DataFrame, *columns: str) -> tuple[Floats, ...]:
    return tuple(frame[column].to_numpy(np.float64) for column in columns)


def _part(columns: Sequence[Floats], rows: Ints, unit: Unit, numbers: Ints) -> Part:
    statistic = bootstrap_ccc if len(columns) == 2 else bootstrap_mean
    return Part(statistic, tuple(column[rows] for column in columns), unit, numbers[rows])


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One configuration's score less another's; None for what cannot be told."""

    value: float | None
    """Mean over `seeds`; of all seeds of both where these are empty."""
    low: float | None
    high: float | None
    """Ends of the 95 % interval over units (speakers, or annotators) and seeds."""
    apart: bool
    """The interval leaves out 0, the rows' means differ the same way, and by more than noise, which
    is never less than the last of a score's `DIGITS`."""
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
    """The scores of configurations of one group in each draw of its speakers, or annotators.

    All draw the same ones. With fewer than `FEWEST_SPEAKERS` there is too little to draw from, and
    nothing is told.
    """

    def __init__(self, members: Sequence[Configuration], found: Parts) -> None:
        ids = {i for member in members for run in member.seeds for i in run["ids"]}
        self._parts = {key: part for key, part in found.items() if key[0] in ids}
        self._units = {unit: self._present(unit) for unit in get_args(Unit)}
        self._drawn: dict[tuple[tuple[tuple[int, ...], ...], str], Floats | None] = {}

    def _present(self, unit: Unit) -> Ints:
        seen = [part.number for part in self._parts.values() if part.unit == unit]
        return np.unique(np.concatenate(seen)) if seen else np.empty(0, np.intp)

    @property
    def speakers(self) -> int:
        """How many speakers there are to draw from."""
        return len(self._units["speaker"])

    @property
    def enough(self) -> bool:
        """Whether anything can be told from so many."""
        return self.speakers >= FEWEST_SPEAKERS

    def interval(self, member: Configuration, keys: Sequence[str]) -> tuple[float, float] | None:
        """The 95 % interval of the mean of a configuration's scores."""
        drawn = self.drawn(member, keys)
        return None if drawn is None else interval(drawn)

    def drawn(self, member: Configuration, keys: Sequence[str]) -> Floats | None:
        """The mean of a configuration's scores in each draw, (D,); None if nothing can be told."""
        each = self._of_runs(member.seeds, keys)
        return None if each is None else _drawn_seeds(each)

    def difference(
        self,
        a: Configuration,
        b: Configuration,
        keys: Sequence[str],
        *,
        noise: float | None = None,
    ) -> Difference:
        """The mean of `a`'s scores less that of `b`'s; whatever tells rows apart tells it by this.

        Args:
            noise: the largest difference that two runs of one configuration had
        """
        seeds = paired_seeds(a, b)
        value = _less(_over(a, seeds, keys), _over(b, seeds, keys))
        overall = _less(a.score(keys), b.score(keys))
        bounds = self._bounds(a, b, seeds, keys)
        low, high = bounds or (None, None)
        apart = (
            bounds is not None
            and overall is not None
            and abs(overall) > max(noise or 0.0, 10**-DIGITS)
            and (bounds[0] > 0 if overall > 0 else bounds[1] < 0)
        )
        return Difference(value=value, low=low, high=high, apart=apart, seeds=seeds)

    def _bounds(
        self, a: Configuration, b: Configuration, seeds: Sequence[int], keys: Sequence[str]
    ) -> tuple[float, float] | None:
        first = self._of_runs(_chosen(a, seeds), keys)
        second = self._of_runs(_chosen(b, seeds), keys)
        if first is None or second is None:
            return None
        if seeds:
            return interval(_drawn_seeds(first - second))
        # Whichever of the two is named first, each gets the same draws.
        turned = _numbers(a) > _numbers(b)
        drawn = _drawn_seeds(first, unpaired=turned) - _drawn_seeds(second, unpaired=not turned)
        return interval(drawn)

    def _of_runs(self, runs: Sequence[Run], keys: Sequence[str]) -> Floats | None:
        """Mean of the scores of each run in each draw, (D, runs)."""
        ids = tuple(run["ids"] for run in runs)
        each = [self._of_score(ids, key) for key in keys]
        known = [drawn for drawn in each if drawn is not None]
        if not known or len(known) < len(each):
            return None
        return np.asarray(functools.reduce(operator.add, known) / len(known))

    def _of_score(self, runs: tuple[tuple[int, ...], ...], key: str) -> Floats | None:
        """A score of each run in each draw, (D, runs), over what all folds of the run tell."""
        if (runs, key) not in self._drawn:
            there = bool(runs) and all(self._tells((i, key)) for ids in runs for i in ids)
            self._drawn[runs, key] = self._draw(runs, key) if there else None
        return self._drawn[runs, key]

    def _tells(self, key: tuple[int, str]) -> bool:
        part = self._parts.get(key)
        return part is not None and len(self._units[part.unit]) >= FEWEST_SPEAKERS

    def _draw(self, runs: tuple[tuple[int, ...], ...], key: str) -> Floats:
        whole = [functools.reduce(operator.add, (self._parts[i, key] for i in ids)) for ids in runs]
        values = zip(*(part.values for part in whole), strict=True)
        number = np.concatenate([part.number for part in whole])
        run = np.repeat(np.arange(len(runs)), [part.number.size for part in whole])
        units = self._units[whole[0].unit]
        column, counts = np.searchsorted(units, number), speaker_draws(len(units))
        drawn = whole[0].statistic(*map(np.concatenate, values), column, counts, run=run)
        return np.asarray(drawn.T)


def on_shared_utterances(
    evidence: Evidence, a: Configuration, b: Configuration
) -> tuple[Evidence, Configuration, Configuration]:
    """Two configurations as they are where both have distributions, in every seed."""
    distances = evidence.distances
    has = [
        set(distances.loc[distances["run_id"].isin(run["ids"]), "utterance"])
        for run in (*a.seeds, *b.seeds)
    ]
    kept: pd.DataFrame = distances[distances["utterance"].isin(set.intersection(*has))]

    def measured(member: Configuration) -> Configuration:
        return replace(member, seeds=tuple(_measured_on(kept, run) for run in member.seeds))

    return replace(evidence, distances=kept), measured(a), measured(b)


def _measured_on(distances: pd.DataFrame, run: Run) -> Run:
    means = distances.loc[distances["run_id"].isin(run["ids"]), list(DISTANCES)].mean()
    return {**run, **{key: None if np.isnan(mean) else mean for key, mean in means.items()}}


def _chosen(member: Configuration, seeds: Sequence[int]) -> tuple[Run, ...]:
    return tuple(run for run in member.seeds if run["seed"] in seeds or not seeds)


def _over(member: Configuration, seeds: Sequence[int], keys: Sequence[str]) -> float | None:
    values = [run[key] for run in _chosen(member, seeds) for key in keys]
    return float(np.mean(values)) if values and None not in values else None


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _drawn_seeds(each: Floats, *, unpaired: bool = False) -> Floats:
    """Mean over the seeds of each draw, (D,), from those of each seed, (D, seeds)."""
    seeds = each.shape[1]
    return np.asarray((each * seed_draws(seeds, unpaired=unpaired)).sum(axis=1) / seeds)
