"""What runs scored after each of their epochs: SQL in, a frame out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd
import sqlalchemy as sa

from serbench.harness.records import ScoreRow, translated

__all__ = ["validation"]


def validation(engine: sa.Engine, run_ids: Collection[int]) -> pd.DataFrame:
    """The CCC of each dimension on the validation split after each epoch.

    Args:
        engine: from `queries.open_for_reading`

    Returns:
        frame with the columns run_id, dimension, epoch (from 0) and ccc

    Raises:
        DatabaseError: the database could not be read.
    """
    table = ScoreRow
    columns: tuple[Any, ...] = (table.run_id, table.dimension, table.epoch, table.value)
    query = (
        sa.select(*columns)
        .where(table.run_id.in_(run_ids), table.metric == "ccc", table.epoch.is_not(None))
        .order_by(table.id)
    )
    with translated(engine.url), engine.connect() as connection:
        rows = list(map(tuple, connection.execute(query)))
    frame: pd.DataFrame = pd.DataFrame(rows, columns=["run_id", "dimension", "epoch", "ccc"])
    # A column with NULL would otherwise hold objects.
    frame["ccc"] = frame["ccc"].astype(float)
    return frame
