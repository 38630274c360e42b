"""What did not end well, counted and chosen in SQL, and what did end well in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from serbench.harness.records import EnvironmentRow, MachineRow, RunRow
from serbench.leaderboard.configurations import CONFIGURATION
from serbench.leaderboard.queries import as_dicts, as_text, run_rows
from serbench.leaderboard.settings import OF_ENVIRONMENT, OF_MACHINE

__all__ = ["FILTERS", "fitted", "kinds", "newest"]

FILTERS: dict[str, Any] = {
    "status": RunRow.status,
    "strategy": RunRow.strategy,
    "corpus": RunRow.corpus,
    "machine": MachineRow.key,
}
"""What failures can be chosen by."""
PLACE = ("machine_id", "device", "corpus", "backbone", "init")
"""What a run must share with one that did not fit to say what would have."""

RUN: Any = RunRow.__table__.c
MACHINE = tuple(column.label(name) for name, column in OF_MACHINE.items())
LISTED = (
    "id", "status", "message", "started_at", "label", "head", "head_config", "seed", "repeat",
    "fold", "corpus", "elsewhere", "synthetic", "derived", "backbone",
)  # fmt: skip
"""Columns that a failure is told by."""
OF_CONFIGURATION = tuple(name for name in CONFIGURATION if name in RUN)
PEAKS = ("peak_vram_bytes", "peak_host_anonymous_bytes")
NEWEST_FIRST = (RunRow.started_at.desc(), RunRow.id.desc())
FAILED = RunRow.status != "ok"


def kinds(engine: sa.Engine) -> list[dict[str, Any]]:
    """Which of `FILTERS` failures have together, the machine's parts, and how many `runs` do.

    Args:
        engine: from `queries.open_for_reading`

    Raises:
        DatabaseError: the database could not be read.
    """
    return as_dicts(engine, _counted())


def _counted() -> sa.Select[Any]:
    of_run = [column for name, column in FILTERS.items() if name != "machine"]
    return (
        sa.select(*of_run, *MACHINE, sa.func.count().label("runs"))
        .join(MachineRow, MachineRow.id == RunRow.machine_id)
        .where(FAILED)
        .group_by(*of_run, MachineRow.id)
    )


def newest(
    engine: sa.Engine, wanted: Mapping[str, str | None], *, most: int
) -> list[dict[str, Any]]:
    """Runs that did not end well and have what is wanted, newest first, as `queries.run_rows`.

    Each has `later`, the id of the newest run after it that did the same and ended well, or None.

    Args:
        wanted: by the names of `FILTERS`; None is anything
        most: so many at most

    Raises:
        DatabaseError: the database could not be read.
    """
    return run_rows(engine, _newest(wanted, most))


def _newest(wanted: Mapping[str, str | None], most: int) -> sa.Select[Any]:
    same = [FILTERS[name] == value for name, value in wanted.items() if value is not None]
    # Chosen first, since the rest is asked of each.
    chosen = (
        sa.select(RunRow.id)
        .join(MachineRow, MachineRow.id == RunRow.machine_id)
        .where(FAILED, *same)
        .order_by(*NEWEST_FIRST)
        .limit(most)
        .subquery()
    )
    return (
        sa.select(*(as_text(RUN[name]) for name in LISTED), *MACHINE, _later().label("later"))
        .join(chosen, chosen.c.id == RunRow.id)
        .join(MachineRow, MachineRow.id == RunRow.machine_id)
        .order_by(*NEWEST_FIRST)
    )


def _later() -> sa.ScalarSelect[Any]:
    again = aliased(RunRow)
    return (
        sa.select(again.id)
        .where(
            again.fingerprint == RunRow.fingerprint,
            again.status == "ok",
            sa.tuple_(again.started_at, again.id) > sa.tuple_(RunRow.started_at, RunRow.id),
        )
        .order_by(again.started_at.desc(), again.id.desc())
        .limit(1)
        .correlate(RunRow)
        .scalar_subquery()
    )


def fitted(engine: sa.Engine, run_id: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run that failed, and those that ended well in its place, oldest first, as `run_rows`.

    Of each configuration there is the newest; a few more where the database words the same
    settings in two ways.

    Raises:
        DatabaseError: the database could not be read.
    """
    # Together, so that a head has one label.
    rows = run_rows(engine, _fitted(run_id))
    (run,) = (row for row in rows if row["id"] == run_id)
    return run, [row for row in rows if row["id"] != run_id]


def _fitted(run_id: int) -> sa.Select[Any]:
    run = aliased(RunRow)
    place = [getattr(run, name) == RUN[name] for name in PLACE]
    names = (*OF_CONFIGURATION, "environment_id", "head", "fold", "status")
    nth = sa.func.row_number().over(
        partition_by=[as_text(RUN[name]) for name in names],
        order_by=NEWEST_FIRST,
    )
    each = (
        sa.select(RunRow.id, nth.label("nth"))
        .join(run, sa.and_(run.id == run_id, *place))
        .where(sa.or_(RunRow.status == "ok", RunRow.id == run_id))
        .subquery()
    )
    told = dict.fromkeys((*LISTED, *OF_CONFIGURATION, *PEAKS))
    return (
        sa.select(*(as_text(RUN[name]) for name in told), *MACHINE, *OF_ENVIRONMENT.values())
        .join(each, each.c.id == RunRow.id)
        .join(MachineRow, MachineRow.id == RunRow.machine_id)
        .join(EnvironmentRow, EnvironmentRow.id == RunRow.environment_id)
        .where(each.c.nth == 1)
        .order_by(RunRow.started_at, RunRow.id)
    )
