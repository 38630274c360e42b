"""How well annotators are predicted who enrolled with a few ratings: SQL in, a frame out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd
import sqlalchemy as sa

from serbench.harness.metrics import ENROLLED
from serbench.harness.records import RunRow, ScoreRow, translated

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
    columns: tuple[Any, ...] = (
        ScoreRow.run_id,
        RunRow.enrol.label("ratings"),
        ScoreRow.corpus,
        ScoreRow.metric.label("way"),
        ScoreRow.dimension,
        ScoreRow.value.label("ccc"),
    )
    query = (
        sa.select(*columns)
        .join(RunRow, RunRow.id == ScoreRow.run_id)
        .where(ScoreRow.run_id.in_(run_ids), ScoreRow.metric.startswith(ENROLLED, autoescape=True))
        .order_by(ScoreRow.id)
    )
    with translated(engine.url), engine.connect() as connection:
        rows = list(map(tuple, connection.execute(query)))
    frame: pd.DataFrame = pd.DataFrame(rows, columns=[column.key for column in columns])
    frame["way"] = frame["way"].str.removeprefix(ENROLLED)
    # A column with NULL would otherwise hold objects.
    frame["ccc"] = frame["ccc"].astype(float)
    return frame
