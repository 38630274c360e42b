"""Which rows differ in one whole-number setting alone, and so tell what that setting does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from serbench.harness.plan import named
from serbench.leaderboard.configurations import identity
from serbench.leaderboard.ranking import Row

__all__ = ["Line", "sweeps"]

REST = ("precision", "cached", "cache_dtype", "head", "source_hash")
"""What rows must share besides strategy and group, and the settings but the one."""


@dataclass(frozen=True)
class Line:
    """Rows that differ in one setting alone, by its value upwards."""

    name: str
    """Theirs, without that setting."""
    rows: tuple[tuple[int, Row], ...]


def sweeps(rows: Sequence[Row]) -> dict[tuple[str, str], list[Line]]:
    """By strategy and setting the lines that have at least two values of it, longest first.

    Args:
        rows: of one group
    """
    found: dict[tuple[str, str], dict[str, dict[int, Row]]] = {}
    for row in rows:
        for setting, value in row.config.items():
            if row.runs and type(value) is int:
                lines = found.setdefault((row.strategy, setting), {})
                lines.setdefault(_rest(row, setting), {})[value] = row
    told = {
        key: [_line(key[1], line) for line in lines.values() if len(line) > 1]
        for key, lines in sorted(found.items())
    }
    kept = [(key, lines) for key, lines in told.items() if lines]
    return dict(sorted(kept, key=lambda each: -max(len(line.rows) for line in each[1])))


def _rest(row: Row, setting: str) -> str:
    others = {name: value for name, value in row.config.items() if name != setting}
    return identity({**vars(row), "others": others}, (*REST, "others"))


def _line(setting: str, by_value: dict[int, Row]) -> Line:
    # A label may state what is the default: the shortest one has least of that.
    name = min((_without(row, setting) for row in by_value.values()), key=len)
    return Line(name, tuple(sorted(by_value.items())))


def _without(row: Row, setting: str) -> str:
    stated = rf"{re.escape(setting)}=-?\d+"
    label = re.sub(rf":{stated},", ":", row.label)
    label = re.sub(rf"[:,]{stated}(?=[,+]|$)", "", label)
    name = named(label, row.head)
    return name if row.cache_dtype in (None, "auto") else f"{name} ({row.cache_dtype})"
