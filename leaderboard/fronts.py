"""How sure a place on the Pareto front is: the share of draws in which a row is on it."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from serbench.harness.bootstrap import interval, seed_draws
from serbench.harness.metrics import METRICS, RANKINGS
from serbench.leaderboard.configurations import Configuration, Group
from serbench.leaderboard.differences import Draws, Parts
from serbench.leaderboard.noise import DIGITS
from serbench.leaderboard.ranking import BEST
from serbench.leaderboard.tables import scaled_title

__all__ = [
    "MEASURES",
    "description",
    "higher_is_better",
    "measured",
    "on_front",
    "runs_near_front",
    "standing",
    "title",
    "value",
]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

OVER_SEEDS = (
    "epoch_s",
    "run_s",
    "cache_fill_s",
    "audio_s_per_s",
    "utilisation",
    "data_wait_s",
    "energy_j",
)
"""Costs of a row that are medians over seeds: draws of seeds say how sure they are."""
HIGHEST = (
    "peak_vram_bytes",
    "peak_reserved_bytes",
    "peak_host_bytes",
    "peak_host_anonymous_bytes",
    "saved_activation_bytes",
    "cache_bytes",
    "flops_per_step",
    "trainable_params",
    "total_params",
)
"""Costs that are the highest of any seed, or the same in all: one number, alike in every draw."""
MEASURES = (*OVER_SEEDS, *HIGHEST, *RANKINGS)
"""What rows can be plotted by."""


def title(measure: str) -> str:
    """Label and unit of one of `MEASURES`."""
    return scaled_title(measure) if measure in METRICS else RANKINGS[measure].label


def description(measure: str) -> str:
    """What one of `MEASURES` is, for a reader new to it."""
    if measure in METRICS:
        return METRICS[measure].description
    labels = " and ".join(METRICS[key].label for key in RANKINGS[measure].keys)
    return f"{RANKINGS[measure].label}: mean of {labels}, of those that there are."


def value(row: Mapping[str, Any], measure: str) -> float | None:
    """A row's figure of one of `MEASURES`."""
    if measure in RANKINGS:
        return RANKINGS[measure].of(row)
    figure: float | None = row[measure]
    return figure


def higher_is_better(measure: str) -> bool:
    """A measure without a direction counts as better when lower."""
    known = METRICS.get(measure) or RANKINGS[measure]
    return bool(known.higher_is_better)


def on_front(x: Floats, y: Floats) -> Bools:
    """Which points no other is as good as in both figures, and better in one; lower is better.

    Points that are equal in both are on it together, or not. One that lacks a figure is not.

    Args:
        x: array with shape (R, D), a figure of each of R points in each of D draws, or NaN
        y: likewise

    Returns:
        array with shape (R, D)
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(known, x, np.inf), np.where(known, y, np.inf)
    order = np.lexsort((y, x), axis=0)
    across, up = (np.take_along_axis(each, order, axis=0) for each in (x, y))
    before = np.full_like(up, np.inf)
    before[1:] = np.minimum.accumulate(up, axis=0)[:-1]
    # Equal points follow one another: the first of them speaks for all.
    first = np.full(up.shape, True)
    with np.errstate(invalid="ignore"):
        first[1:] = (np.diff(across, axis=0) != 0) | (np.diff(up, axis=0) != 0)
    places = np.where(first, np.arange(len(up))[:, None], 0)
    speaker = np.maximum.accumulate(places, axis=0)
    best = np.take_along_axis(up < before, speaker, axis=0)
    found = np.zeros_like(best)
    np.put_along_axis(found, order, best, axis=0)
    return found & known


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sample:
    """A row's figure, and what it is in each draw, (D,); None where that cannot be told."""

    run_ids: tuple[int, ...]
    value: float
    drawn: Floats | None

    @property
    def bounds(self) -> tuple[float, float]:
        """The 95 % interval; NaN for a figure that is one number."""
        bounds = None if self.drawn is None else interval(self.drawn)
        return (np.nan, np.nan) if bounds is None or bounds[0] == bounds[1] else bounds


def _values(group: Group, measure: str) -> list[float | None]:
    """A figure of each row."""
    if measure in RANKINGS:
        keys = group.scored(measure)
        return [member.score(keys) for member in group.members]
    usual = statistics.median if measure in OVER_SEEDS else max
    return [member.over_runs(measure, usual) for member in group.members]


def _samples(
    group: Group, members: Sequence[Configuration], draws: Draws, measure: str
) -> list[_Sample | None]:
    """A figure of each row, and in each draw those of some of them."""
    keys = group.scored(measure) if measure in RANKINGS else ()
    drawing = {id(member) for member in members}

    def drawn(member: Configuration) -> Floats | None:
        if id(member) not in drawing:
            return None
        if measure in RANKINGS:
            return draws.drawn(member, keys)
        return _drawn_cost(member.figures(measure), over_seeds=measure in OVER_SEEDS)

    values = _values(group, measure)
    return [
        None
        if value is None
        else _Sample(run_ids=_run_ids(member), value=value, drawn=drawn(member))
        for member, value in zip(group.members, values, strict=True)
    ]


def _run_ids(member: Configuration) -> tuple[int, ...]:
    return tuple(run_id for run in member.seeds for run_id in run["ids"])


def _drawn_cost(figures: Sequence[float], *, over_seeds: bool) -> Floats:
    if not over_seeds:
        return np.array([float(max(figures))])
    counts = seed_draws(len(figures)).astype(np.intp)
    # A draw's seeds by number, each as often as it was drawn.
    numbers = np.tile(np.arange(len(figures)), len(counts))
    drawn = np.repeat(numbers, counts.ravel()).reshape(counts.shape)
    return np.asarray(np.median(np.asarray(figures, np.float64)[drawn], axis=1))


def measured(group: Group, found: Parts, measure: str) -> pd.DataFrame:
    """A figure of each row of a group that has it.

    Args:
        group: whose rows are meant
        found: from `differences.parts`
        measure: one of `MEASURES`

    Returns:
        frame by run_ids (as in `Row`) with the columns value, low, high: the 95 % interval
    """
    draws = Draws(group.members, found)
    samples = [each for each in _samples(group, group.members, draws, measure) if each]
    frame: pd.DataFrame = pd.DataFrame(
        [(each.value, *each.bounds) for each in samples], columns=["value", "low", "high"]
    )
    frame.index = _index(samples)
    frame[["value", "low", "high"]] = frame[["value", "low", "high"]].astype(float)
    return frame


def standing(group: Group, found: Parts, x: str, y: str) -> pd.DataFrame:
    """Two figures of each row of a group that has both, and how sure it is to be on their front.

    A draw is one of speakers and seeds, the same for all rows. In it a score is that of these
    speakers and seeds, a time the median over these seeds, and any other cost what it always is.

    Args:
        group: whose rows are meant
        found: from `differences.parts`, of `runs_near_front`
        x: one of `MEASURES`
        y: likewise

    Returns:
        frame by run_ids (as in `Row`) with the columns x, x_low, x_high, y, y_low, y_high (95 %
        intervals), front (whether it is on the front) and share (of the draws in which it is; NaN
        if that cannot be told, as of rows that are not among the nearest to it)
    """
    near = [group.members[i] for i in _near_front(group, x, y)]
    draws = Draws(near, found)
    pairs = zip(*(_samples(group, near, draws, measure) for measure in (x, y)), strict=True)
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    frame: pd.DataFrame = pd.DataFrame(
        [(a.value, *a.bounds, b.value, *b.bounds) for a, b in known],
        columns=["x", "x_low", "x_high", "y", "y_low", "y_high"],
    ).astype(float)
    points = [_turned(frame[[name]].to_numpy(), key) for name, key in (("x", x), ("y", y))]
    frame["front"] = on_front(*points)[:, 0]
    ids = {_run_ids(member) for member in near}
    among = [a.run_ids in ids for a, _ in known]
    drawn = list(itertools.compress(known, among))
    frame["share"] = np.nan
    if drawn:
        frame.loc[among, "share"] = _shares(*zip(*drawn, strict=True), x=x, y=y)
    frame.index = _index([a for a, _ in known])
    return frame


def runs_near_front(group: Group, x: str, y: str) -> list[int]:
    """Ids of the runs whose evidence `standing` will look at."""
    near = [group.members[i] for i in _near_front(group, x, y)]
    return [run_id for member in near for run_id in _run_ids(member)]


def _near_front(group: Group, x: str, y: str) -> list[int]:
    """Positions of the `BEST` rows nearest to it: the front, what is it without that, and so on."""
    points = [_turned(np.array(_values(group, key), np.float64)[:, None], key) for key in (x, y)]
    left = np.flatnonzero(np.isfinite(points[0] + points[1])[:, 0])
    found: list[int] = []
    while left.size and len(found) < BEST:
        on = on_front(*(each[left] for each in points))[:, 0]
        found += left[on].tolist()
        left = left[~on]
    return found[:BEST]


def _shares(first: Sequence[_Sample], second: Sequence[_Sample], *, x: str, y: str) -> Floats:
    found = []
    for samples, key in ((first, x), (second, y)):
        drawn = [each.drawn for each in samples if each.drawn is not None]
        if len(drawn) < len(samples):
            return np.full(len(samples), np.nan)
        found.append(_turned(np.stack(np.broadcast_arrays(*drawn)), key))
    on = on_front(*map(np.ascontiguousarray, np.broadcast_arrays(*found)))
    return np.asarray(on.mean(axis=1), np.float64)


def _turned(values: Floats, measure: str) -> Floats:
    """Such that lower is better, and scores are equal that differ by the order of sums alone."""
    known = np.round(values, DIGITS) if measure in RANKINGS else values
    return -known if higher_is_better(measure) else known


def _index(samples: Sequence[_Sample]) -> pd.Index[Any]:
    ids = [each.run_ids for each in samples]
    found: pd.Index[Any] = pd.Index(ids, name="run_ids", tupleize_cols=False)
    return found
