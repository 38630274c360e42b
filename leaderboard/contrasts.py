"""Where rows differ: by score, by speaker, by range of the label, and as they learn."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from serbench.harness.bootstrap import (
    FEWEST_SPEAKERS,
    bootstrap_mean,
    interval,
    seed_draws,
    speaker_draws,
)
from serbench.harness.metrics import METRICS, RANKINGS, ccc_by_group, written
from serbench.leaderboard.comparison import Accuracy, Comparison
from serbench.leaderboard.ranking import Row

__all__ = [
    "ERRORS",
    "FEWEST_UTTERANCES",
    "Shared",
    "by_label",
    "ccc_by_speaker",
    "costs",
    "curves",
    "ends",
    "error_by_speaker",
    "named",
    "scores",
    "shared",
]

Floats = npt.NDArray[np.float64]
ERRORS = {"absolute": "Mean absolute error", "squared": "Mean squared error"}
FEWEST_UTTERANCES = 10
"""Of a speaker whose CCC is told: one over a handful says more of them than of the speaker."""
BINS = 5
"""Ranges of the label, with about as many utterances in each."""


def named(rows: Sequence[Row]) -> dict[str, Row]:
    """Rows by a name that tells them apart, and that stays the same as others come and go.

    Rows of one name have different settings, or the sources of different times: a few letters
    that these give are added to each.
    """
    often = Counter(row.name for row in rows)
    return {row.name if often[row.name] == 1 else f"{row.name} #{_mark(row)}": row for row in rows}


def _mark(row: Row) -> str:
    told = (row.strategy, sorted(row.config.items()), row.precision, row.cached, row.head)
    text = repr((*told, row.cache_dtype, row.source_hash))
    return hashlib.blake2b(text.encode(), digest_size=3).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Shared:
    """What R rows predict of one dimension, for the N utterances and S seeds that all have."""

    rows: tuple[str, ...]
    """Names; the first is what the others are set against."""
    seeds: tuple[int, ...]
    speakers: npt.NDArray[np.str_]
    """(N,)"""
    labels: Floats
    """(N,)"""
    predicted: Floats
    """(R, S, N)"""

    def errors(self, error: str) -> Floats:
        """Of each utterance, (R, S, N), by the name of one of `ERRORS`."""
        off = self.predicted - self.labels
        return np.abs(off) if error == "absolute" else off**2


def shared(
    rows: Mapping[str, Sequence[int]],
    seeds: Mapping[int, int],
    predictions: pd.DataFrame,
    dimension: str,
) -> Shared | None:
    """What rows predict where all do; None if there is no such utterance or seed.

    Args:
        rows: ids of their runs by their names, which are of one group
        seeds: by the ids of the runs
        predictions: from `queries.predictions`, of all of them
    """
    row_of = {run_id: name for name, run_ids in rows.items() for run_id in run_ids}
    its = predictions[predictions["dimension"] == dimension].dropna(subset=["predicted", "label"])
    its = its.assign(row=its["run_id"].map(row_of), seed=its["run_id"].map(seeds))
    table = its.set_index(["utterance", "row", "seed"])["predicted"].unstack(["row", "seed"])
    there = set(table.columns)
    numbers = sorted(set(seeds.values()))
    common = [seed for seed in numbers if all((row, seed) in there for row in rows)]
    table = table.loc[:, [(row, seed) for row in rows for seed in common]].dropna()
    if table.empty:
        return None
    facts = its.drop_duplicates("utterance").set_index("utterance").loc[table.index]
    return Shared(
        rows=tuple(rows),
        seeds=tuple(common),
        speakers=facts["speaker"].to_numpy(np.str_),
        labels=facts["label"].to_numpy(np.float64),
        predicted=table.to_numpy(np.float64).T.reshape(len(rows), len(common), -1),
    )


def error_by_speaker(given: Shared, error: str) -> pd.DataFrame:
    """How much larger each row's mean error is than the first's, by speaker.

    Args:
        error: one of `ERRORS`

    Returns:
        frame with a line for each speaker and each row but the first, and the columns row, speaker,
        utterances (how many), first and value (the mean errors of the first row and of this one),
        difference, and lowest and highest: that of single seeds
    """
    names, number = np.unique(given.speakers, return_inverse=True)
    counts = np.bincount(number)
    means = _over_seeds(
        given.errors(error), lambda values: np.bincount(number, values, len(names)) / counts
    )
    return _differences(given.rows, names, counts, means)


def ccc_by_speaker(given: Shared) -> pd.DataFrame:
    """How much higher each row's CCC is than the first's, as `error_by_speaker`.

    Speakers with fewer than `FEWEST_UTTERANCES` are left out, as are those whose CCC is undefined.
    """
    names, number = np.unique(given.speakers, return_inverse=True)
    counts = np.bincount(number)
    found = _over_seeds(
        given.predicted,
        lambda predicted: ccc_by_group(given.labels, predicted, number, len(names)),
    )
    kept = (counts >= FEWEST_UTTERANCES) & np.isfinite(found).all(axis=(0, 1))
    return _differences(given.rows, names[kept], counts[kept], found[:, :, kept])


def _over_seeds(values: Floats, of_one: Any) -> Floats:
    """What a function makes of the (N,) of each row and seed: (R, S, whatever)."""
    return np.array([[of_one(seed) for seed in row] for row in values])


def _differences(
    rows: Sequence[str], speakers: npt.NDArray[np.str_], counts: npt.NDArray[Any], values: Floats
) -> pd.DataFrame:
    """Lines of `error_by_speaker`, from (R, S, speakers)."""
    off = values[1:] - values[0]
    columns = {
        "first": np.broadcast_to(values[0].mean(axis=0), off[:, 0].shape),
        "value": values[1:].mean(axis=1),
        "difference": off.mean(axis=1),
        "lowest": off.min(axis=1),
        "highest": off.max(axis=1),
    }
    others = len(rows) - 1
    frame: pd.DataFrame = pd.DataFrame(
        {
            "row": np.repeat(rows[1:], len(speakers)),
            "speaker": np.tile(speakers, others),
            "utterances": np.tile(counts, others),
            **{name: column.ravel() for name, column in columns.items()},
        }
    )
    return frame


def ends(by_speaker: pd.DataFrame, most: int) -> list[str]:
    """Speakers in the order of the mean difference over rows; of too many those at either end."""
    order = by_speaker.groupby("speaker")["difference"].mean().sort_values().index.tolist()
    return order if len(order) <= most else [*order[: most // 2], *order[-(most - most // 2) :]]


def by_label(given: Shared, error: str, *, bins: int = BINS) -> pd.DataFrame:
    """The mean error of each row by range of the label, and how much larger than the first's it is.

    Args:
        error: one of `ERRORS`
        bins: ranges that the label's quantiles bound; fewer where labels tie

    Returns:
        frame with a line for each range and row, and the columns row, range (in words), start and
        end (of the range), utterances and speakers (how many), value, difference (NaN for the first
        row), and low and high: its 95 % interval over speakers and seeds, NaN if there are too few
        speakers
    """
    edges = np.unique(np.quantile(given.labels, np.linspace(0, 1, bins + 1)))
    ranges = max(len(edges) - 1, 1)
    number = np.clip(np.searchsorted(edges, given.labels, side="right") - 1, 0, ranges - 1)
    errors = given.errors(error)
    lines = []
    for i in range(ranges):
        at = number == i
        if not at.any():
            continue
        start, end = float(edges[i]), float(edges[min(i + 1, len(edges) - 1)])
        facts = {
            "range": f"{start:.2f} to {end:.2f}",
            "start": start,
            "end": end,
            "utterances": int(at.sum()),
            "speakers": len(set(given.speakers[at])),
        }
        lines += [
            {"row": row, **facts, **_set_against(errors[0][:, at], its[:, at], given.speakers[at])}
            for row, its in zip(given.rows, errors, strict=True)
        ]
    frame: pd.DataFrame = pd.DataFrame(lines)
    of_first = frame["row"] == given.rows[0]
    frame.loc[of_first, ["difference", "low", "high"]] = np.nan
    return frame


def _set_against(first: Floats, its: Floats, speakers: npt.NDArray[np.str_]) -> dict[str, float]:
    """Mean error and its difference to the first's with its interval, from both, (S, N)."""
    off = its - first
    low, high = _bounds(off, speakers) or (np.nan, np.nan)
    return {"value": its.mean(), "difference": off.mean(), "low": low, "high": high}


def _bounds(values: Floats, speakers: npt.NDArray[np.str_]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of (S, N), over speakers and seeds."""
    names, number = np.unique(speakers, return_inverse=True)
    if len(names) < FEWEST_SPEAKERS:
        return None
    counts = speaker_draws(len(names))
    drawn = np.stack([bootstrap_mean(each, number, counts) for each in values], axis=1)
    return interval((drawn * seed_draws(len(values))).mean(axis=1))


def curves(
    rows: Mapping[str, Sequence[int]],
    seeds: Mapping[int, int],
    validation: pd.DataFrame,
) -> pd.DataFrame:
    """The CCC on the validation split after each epoch, over seeds; folds count for their mean.

    Args:
        rows: ids of their runs by their names
        seeds: by the ids of the runs
        validation: from `queries_epochs.validation`, of all of them and one dimension

    Returns:
        frame with the columns row, epoch (from 1), mean, lowest, highest and seeds (how many)
    """
    row_of = {run_id: name for name, run_ids in rows.items() for run_id in run_ids}
    its = validation.dropna(subset=["ccc"])
    its = its.assign(
        row=its["run_id"].map(row_of), seed=its["run_id"].map(seeds), epoch=its["epoch"] + 1
    )
    each = its.groupby(["row", "epoch", "seed"])["ccc"].mean().groupby(["row", "epoch"])
    spread = each.agg(mean="mean", lowest="min", highest="max", seeds="size")
    frame: pd.DataFrame = spread.reset_index()
    return frame


def scores(told: Mapping[str, Comparison]) -> pd.DataFrame:
    """One line a score and row: its value, the first row's, and their difference.

    Args:
        told: of each row as A with the first as B, by the row's name

    Returns:
        frame with the columns Score, Row, Value, 95 %, First, Difference, low, high (its 95 %
        interval), Verdict and Meaning, those of one score together
    """
    lines = [
        {
            "Score": RANKINGS[each.key].label,
            "Row": name,
            "Value": each.a,
            "First": each.b,
            "Difference": each.difference,
            "low": each.difference_low,
            "high": each.difference_high,
            "Verdict": _verdict(each),
            "Meaning": _meaning(each.key),
        }
        for name, comparison in told.items()
        for each in (*comparison.ccc, *comparison.distances, *comparison.annotators)
    ]
    columns = ("Score", "Row", "Value", "First", "Difference", "low", "high")
    return _together(lines, (*columns, "Verdict", "Meaning"), columns[2:])


def _meaning(key: str) -> str:
    if key in METRICS:
        return METRICS[key].description
    return f"Mean of {' and '.join(METRICS[part].label for part in RANKINGS[key].keys)}."


def _verdict(each: Accuracy) -> str:
    if each.difference is None:
        return "one of the two has none"
    return {"A": "better", "B": "worse", None: "cannot be told apart"}[each.better]


def _together(
    lines: list[dict[str, Any]], columns: tuple[str, ...], figures: tuple[str, ...]
) -> pd.DataFrame:
    """A frame in which the lines of all rows on one thing, named in the first column, are next."""
    places = {name: i for i, name in enumerate(dict.fromkeys(line[columns[0]] for line in lines))}
    ordered = sorted(lines, key=lambda line: places[line[columns[0]]])
    frame: pd.DataFrame = pd.DataFrame(ordered, columns=columns)
    for name in figures:
        frame[name] = frame[name].astype(float)
    return frame


def costs(told: Mapping[str, Comparison]) -> pd.DataFrame:
    """One line a cost and row: its figure, the first row's, and their ratio; as `scores`."""
    lines = [
        {
            "Cost": METRICS[cost.key].label,
            "Row": name,
            "Value": written(cost.key, cost.a),
            "First": written(cost.key, cost.b),
            "Ratio": cost.ratio,
            "Noise": "within the noise" if cost.tie else "",
            "Meaning": METRICS[cost.key].description,
        }
        for name, comparison in told.items()
        for cost in comparison.costs
    ]
    columns = ("Cost", "Row", "Value", "First", "Ratio", "Noise", "Meaning")
    return _together(lines, columns, ("Ratio",))
