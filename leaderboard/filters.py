"""Which rows of a comparison a reader wants to see."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from serbench.leaderboard.ranking import Row

__all__ = ["FACETS", "kept", "options"]

FACETS: dict[str, Callable[[Row], str]] = {
    "strategy": lambda row: row.strategy,
    "head": lambda row: row.head,
    "precision": lambda row: row.precision,
    "caching": lambda row: "cached" if row.cached else "live",
}
"""What rows of one comparison differ in, by its name."""


def options(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The values of each facet of which the rows have several, in order."""
    found = {name: sorted({of(row) for row in rows}) for name, of in FACETS.items()}
    return {name: values for name, values in found.items() if len(values) > 1}


def kept(rows: Sequence[Row], chosen: Mapping[str, Collection[str]]) -> list[Row]:
    """The rows with one of the chosen values of each facet; with any where none is chosen."""
    wanted = [(FACETS[name], values) for name, values in chosen.items() if values]
    return [row for row in rows if all(of(row) in values for of, values in wanted)]
