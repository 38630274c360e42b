"""How well annotators are predicted who enrolled with a few ratings: SQL in, a frame out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd
import sqlalchemy as sa

from serbench.harness.metrics import ENROLLED
from serbench.harness.records import RunRow, ScoreRow
from serbench.leaderboard.queries import as_frame

__all__ = ["enrolled"]


def enrolled(engine: sa.Engine, run_ids: Collection[int]) -> pd.DataFrame:
    """The scores of annotators of further corpora who enrolled with runs.

    Args:
        engine: from `queries.open_for_reading`

    Returns:
        frame with the columns run_id, ratings (that each enrolled with), corpus, way (one of
        `STAND_INS`), dimension and ccc

    Raises:
        DatabaseError: the database could not be read.
    """
    found = as_frame(engine, _enrolled(run_ids), ("ccc",))
    frame: pd.DataFrame = found.assign(way=found["way"].str.removeprefix(ENROLLED))
    return frame


def _enrolled(run_ids: Collection[int]) -> sa.Select[Any]:
    columns: tuple[Any, ...] = (
        ScoreRow.run_id,
        RunRow.enrol.label("ratings"),
        ScoreRow.corpus,
        ScoreRow.metric.label("way"),
        ScoreRow.dimension,
        ScoreRow.value.label("ccc"),
    )
    return (
        sa.select(*columns)
        .join(RunRow, RunRow.id == ScoreRow.run_id)
        .where(ScoreRow.run_id.in_(run_ids), ScoreRow.metric.startswith(ENROLLED, autoescape=True))
        .order_by(ScoreRow.id)
    )
