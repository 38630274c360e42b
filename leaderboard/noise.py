"""What of a difference is noise: how far the same run, made twice, differs from itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["DIGITS", "Noise", "noise_floor", "relative_gap"]

DIGITS = 6
"""Of a score: beyond them two runs differ by the order of their sums alone, as cached from live."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The largest differences between a run and its repeat; None where no pair has the figure."""

    pairs: int
    epoch_share: float | None
    """Of the seconds of a warm epoch, as a share of the shorter."""
    run_share: float | None
    """Of the seconds of the whole run, likewise."""
    ccc: float | None
    """Of the mean CCC that rows are ranked by where nothing else is asked for."""
    tvd: float | None


def relative_gap(a: float, b: float) -> float:
    """By which share the larger of two positive figures exceeds the smaller: exp |ln a/b| - 1."""
    return max(a, b) / min(a, b) - 1


def noise_floor(
    pairs: Sequence[tuple[Any, Any]],
    figure: Callable[[Any], float | None],
    *,
    relative: bool = False,
) -> float | None:
    """The largest gap between the two figures of a pair; None if no pair has both."""
    figures = [(figure(first), figure(second)) for first, second in pairs]
    return max(
        (
            relative_gap(a, b) if relative else abs(a - b)
            for a, b in figures
            if a is not None and b is not None
        ),
        default=None,
    )
