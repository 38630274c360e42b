"""What each epoch of a run took and how well it validated: SQL in, frames out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd
import sqlalchemy as sa

from serbench.harness.metrics import RANKED_DIMENSIONS
from serbench.harness.records import PhaseRow, RunRow, ScoreRow
from serbench.leaderboard.queries import as_frame

__all__ = ["epochs", "validation"]


def validation(
    engine: sa.Engine, run_ids: Collection[int], dimensions: Collection[str] = RANKED_DIMENSIONS
) -> pd.DataFrame:
    """The CCC of runs on the validation split of their own corpus, after each epoch.

    Args:
        engine: from `queries.open_for_reading`
        dimensions: of which it is the mean, or that of those there are

    Returns:
        frame with the columns run_id, epoch (from 0) and ccc (NaN where that of one dimension is
        undefined), in this order

    Raises:
        DatabaseError: the database could not be read.
    """
    query = _validation(run_ids, dimensions).order_by(ScoreRow.run_id, ScoreRow.epoch)
    return as_frame(engine, query, ("ccc",))


def epochs(engine: sa.Engine, run_ids: Collection[int]) -> pd.DataFrame:
    """Every epoch of runs that trained, from 0, in order.

    Returns:
        frame with the columns run_id, epoch, train_s, fill_s (of the cache, 0 where nothing was
        filled), ccc (as in `validation`; NaN also where there is none), and paid, whether the run
        filled all of the cache it used, or used none

    Raises:
        DatabaseError: the database could not be read.
    """
    found = as_frame(engine, _epochs(run_ids), ("train_s", "fill_s", "ccc"))
    typed: pd.DataFrame = found.astype({"paid": bool})
    return typed


def _validation(run_ids: Collection[int], dimensions: Collection[str]) -> sa.Select[Any]:
    all_defined = sa.func.count() == sa.func.count(ScoreRow.value)
    return (
        sa.select(
            ScoreRow.run_id,
            ScoreRow.epoch,
            sa.case((all_defined, sa.func.avg(ScoreRow.value))).label("ccc"),
        )
        .join(RunRow, RunRow.id == ScoreRow.run_id)
        .where(
            ScoreRow.run_id.in_(run_ids),
            ScoreRow.corpus == RunRow.corpus,
            ScoreRow.split == "validation",
            ScoreRow.metric == "ccc",
            ScoreRow.dimension.in_(dimensions),
            ScoreRow.epoch.is_not(None),
        )
        .group_by(ScoreRow.run_id, ScoreRow.epoch)
    )


def _epochs(run_ids: Collection[int]) -> sa.Select[Any]:
    # Filling that belongs to no epoch comes before the first.
    epoch = sa.func.coalesce(PhaseRow.epoch, 0)
    took = (
        sa.select(
            PhaseRow.run_id,
            epoch.label("epoch"),
            _seconds("train").label("train_s"),
            _seconds("cache_fill").label("fill_s"),
        )
        .where(PhaseRow.run_id.in_(run_ids))
        .group_by(PhaseRow.run_id, epoch)
        .subquery()
    )
    scored = _validation(run_ids, RANKED_DIMENSIONS).subquery()
    same = sa.and_(scored.c.run_id == took.c.run_id, scored.c.epoch == took.c.epoch)
    paid = sa.or_(~RunRow.cached, RunRow.cache_fill_s.is_not(None))
    return (
        sa.select(
            took.c.run_id,
            took.c.epoch,
            took.c.train_s,
            sa.func.coalesce(took.c.fill_s, 0.0).label("fill_s"),
            scored.c.ccc,
            paid.label("paid"),
        )
        .join(RunRow, RunRow.id == took.c.run_id)
        .outerjoin(scored, same)
        .where(took.c.train_s.is_not(None))
        .order_by(took.c.run_id, took.c.epoch)
    )


def _seconds(phase: str) -> sa.ColumnElement[Any]:
    return sa.func.sum(sa.case((PhaseRow.phase == phase, PhaseRow.wall_s)))
