"""What each epoch of a run took and how well it validated: SQL in, a frame out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd
import sqlalchemy as sa

from serbench.harness.metrics import RANKED_DIMENSIONS
from serbench.harness.records import PhaseRow, RunRow, ScoreRow, translated

__all__ = ["epochs"]

RUN_AND_EPOCH = ["run_id", "epoch"]


def epochs(engine: sa.Engine, run_ids: Collection[int]) -> pd.DataFrame:
    """Every epoch of runs that trained, from 0, in order.

    Returns:
        frame with the columns run_id, epoch, train_s, fill_s (of the cache, 0 where nothing was
        filled), ccc (on the validation split, mean of activation and valence, or of the one there
        is; NaN where one is undefined), and paid, whether the run filled all of the cache it used,
        or used none

    Raises:
        DatabaseError: the database could not be read.
    """
    # Filling that belongs to no epoch comes before the first.
    epoch = sa.func.coalesce(PhaseRow.epoch, 0)
    seconds: tuple[Any, ...] = (
        PhaseRow.run_id,
        epoch.label("epoch"),
        PhaseRow.phase,
        sa.func.sum(PhaseRow.wall_s).label("wall_s"),
        sa.or_(~RunRow.cached, RunRow.cache_fill_s.is_not(None)).label("paid"),
    )
    times = (
        sa.select(*seconds)
        .join(RunRow, RunRow.id == PhaseRow.run_id)
        .where(PhaseRow.run_id.in_(run_ids), PhaseRow.phase.in_(("train", "cache_fill")))
        .group_by(PhaseRow.run_id, epoch, PhaseRow.phase)
    )
    validated: tuple[Any, ...] = (ScoreRow.run_id, ScoreRow.epoch, ScoreRow.value)
    scores = (
        sa.select(*validated)
        .join(RunRow, RunRow.id == ScoreRow.run_id)
        .where(
            ScoreRow.run_id.in_(run_ids),
            ScoreRow.corpus == RunRow.corpus,
            ScoreRow.split == "validation",
            ScoreRow.metric == "ccc",
            ScoreRow.dimension.in_(RANKED_DIMENSIONS),
            ScoreRow.epoch.is_not(None),
        )
    )
    return _joined(_frame(engine, times), _frame(engine, scores))


def _frame(engine: sa.Engine, query: sa.Select[Any]) -> pd.DataFrame:
    with translated(engine.url), engine.connect() as connection:
        result = connection.execute(query)
        frame: pd.DataFrame = pd.DataFrame(list(map(tuple, result)), columns=list(result.keys()))
    return frame


def _joined(times: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    def of(phase: str, name: str) -> pd.DataFrame:
        its = times[times["phase"] == phase]
        chosen: pd.DataFrame = its[[*RUN_AND_EPOCH, "wall_s"]].rename(columns={"wall_s": name})
        return chosen

    paid = times[[*RUN_AND_EPOCH, "paid"]].drop_duplicates(RUN_AND_EPOCH)
    ccc = scores.astype({"value": float}).groupby(RUN_AND_EPOCH)["value"]
    means = ccc.agg(lambda values: values.mean(skipna=False)).rename("ccc").reset_index()
    frame = of("train", "train_s").merge(of("cache_fill", "fill_s"), how="left", on=RUN_AND_EPOCH)
    frame = frame.merge(means, how="left", on=RUN_AND_EPOCH).merge(paid, on=RUN_AND_EPOCH)
    # Without rows, or with NULL, columns would hold objects.
    frame[["train_s", "fill_s", "ccc"]] = frame[["train_s", "fill_s", "ccc"]].astype(float)
    frame = frame.fillna({"fill_s": 0.0}).astype({"paid": bool})
    columns = [*RUN_AND_EPOCH, "train_s", "fill_s", "ccc", "paid"]
    ordered: pd.DataFrame = frame.sort_values(RUN_AND_EPOCH, ignore_index=True)[columns]
    return ordered
