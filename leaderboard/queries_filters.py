"""What a command's filters can be in a database, told where one of them matches nothing."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from serbench.harness.errors import RequestError
from serbench.harness.records import MachineRow, RunRow
from serbench.leaderboard.queries import as_dicts, as_text, of_head

__all__ = ["require", "said"]

COLUMNS: dict[str, Any] = {
    "machine": MachineRow.key,
    "corpus": RunRow.corpus,
    "backbone": RunRow.backbone,
    "head": RunRow.head,
    "suite": RunRow.suite,
    "test_corpus": RunRow.elsewhere,
}
MOST = 6
"""Values that a message names, those of the most runs."""


def require(engine: sa.Engine, filters: Mapping[str, str | None]) -> None:
    """Make sure that some run matches each filter by itself.

    Args:
        engine: from `queries.open_for_reading`
        filters: those of `queries.configurations` that are text; None for one that is not used

    Raises:
        RequestError: the first that none matches, and what would be matched.
        DatabaseError: the database could not be read.
    """
    for name, value in filters.items():
        if value is not None and not _matched(engine, name, value):
            raise RequestError(
                f"there are no runs with {said({name: value})}, {_known(engine, name)}"
            )


def said(filters: Mapping[str, str | None]) -> str:
    """Filters as they stand on a command line."""
    given = ((name, value) for name, value in filters.items() if value is not None)
    return " ".join(f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in given)


def _matched(engine: sa.Engine, name: str, value: str) -> bool:
    if name != "head":
        return value in _values(engine, name)
    of_it = sa.select(RunRow.id).where(of_head(engine, value)).limit(1)
    return bool(as_dicts(engine, of_it))


def _known(engine: sa.Engine, name: str) -> str:
    values = [value for value, _ in _values(engine, name).most_common()]
    if not values:
        return "and none with any other"
    more = len(values) - MOST
    return f"only with {', '.join(values[:MOST])}{f' and {more} more' if more > 0 else ''}"


def _values(engine: sa.Engine, name: str) -> Counter[str]:
    """Of how many runs each value is."""
    value, runs = as_text(COLUMNS[name]).label("value"), sa.func.count().label("runs")
    query = sa.select(value, runs).select_from(RunRow).where(value.is_not(None)).group_by(value)
    if name == "machine":
        query = query.join(MachineRow, MachineRow.id == RunRow.machine_id)
    found: Counter[str] = Counter()
    for row in as_dicts(engine, query.order_by(value)):
        names = [row["value"]] if name != "test_corpus" else _names(row["value"])
        found.update(dict.fromkeys(names, row["runs"]))
    return found


def _names(elsewhere: str) -> list[str]:
    return [corpus["name"] for corpus in json.loads(elsewhere) or ()]
