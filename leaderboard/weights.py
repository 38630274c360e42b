"""A reader's own order: measures brought to one scale, and weighted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from serbench.harness.metrics import METRICS, RANKINGS
from serbench.leaderboard.ranking import Row

__all__ = ["SCORE", "known", "normalised", "sentence", "weighted"]

SCORE = "score"
"""Stands where the key of a measure does for what rows are ranked by."""
MEASURES = (
    SCORE,
    "epoch_s",
    "run_s",
    "peak_vram_bytes",
    "peak_host_anonymous_bytes",
)
NEXT_TO_NOTHING = 1e-6
"""What a cost of zero counts as, which has no logarithm."""


def known(rows: Sequence[Row]) -> dict[str, str]:
    """The measures that some row has and that can be weighted, each with its label."""
    return {
        key: RANKINGS[rows[0].ranked_by].label if key == SCORE else METRICS[key].label
        for key in (MEASURES if rows else ())
        if any(_value(row, key) is not None for row in rows)
    }


def normalised(rows: Sequence[Row], key: str) -> list[float | None]:
    """A measure of each row in [0, 1]: 1 for the best of them, 0 for the worst.

    Scores are in between in proportion; costs in proportion to their logarithm, so that half the
    cost is worth the same everywhere. All are 1 where all are equal; None for what lacks it.
    """
    values = [_value(row, key) for row in rows]
    if key == SCORE:
        higher = RANKINGS[rows[0].ranked_by].higher_is_better if rows else True
    else:
        higher = False
        values = [None if v is None else math.log(max(v, NEXT_TO_NOTHING)) for v in values]
    there = [value for value in values if value is not None]
    low, high = min(there, default=0.0), max(there, default=0.0)

    def share(value: float) -> float:
        if high == low:
            return 1.0
        return (value - low) / (high - low) if higher else (high - value) / (high - low)

    return [None if value is None else share(value) for value in values]


def weighted(rows: Sequence[Row], weights: Mapping[str, float]) -> list[float | None]:
    """The mean of each row's normalised measures, weighted: in [0, 1], 1 for the best in all.

    Args:
        rows: all rows of one group, since what is best and worst depends on them
        weights: by the keys of `known`, not negative; those at 0 do not count

    Returns:
        for each row its weighted score; None where it lacks a measure that counts, or none does
    """
    counted = {key: weight for key, weight in weights.items() if weight > 0}
    columns = {key: normalised(rows, key) for key in counted}
    total = sum(counted.values())

    def of(i: int) -> float | None:
        parts = [(weight, columns[key][i]) for key, weight in counted.items()]
        there = [weight * share for weight, share in parts if share is not None]
        return sum(there) / total if total and len(there) == len(parts) else None

    return [of(i) for i in range(len(rows))]


def sentence(weights: Mapping[str, float], labels: Mapping[str, str]) -> str:
    """Whose order it is, and by what."""
    told = ", ".join(f"{labels[key]} {weight:g}" for key, weight in weights.items() if weight > 0)
    return (
        f"This order is your own, by the weights that you gave ({told}); it is not a rank. "
        "It knows nothing of noise: rows that share a rank still cannot be told apart."
    )


def _value(row: Row, key: str) -> float | None:
    value: float | None = (
        RANKINGS[row.ranked_by].of(vars(row)) if key == SCORE else getattr(row, key)
    )
    return value
