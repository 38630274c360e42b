"""How soon rows get how well: validation CCC against the seconds that training had taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from serbench.leaderboard.ranking import Row

__all__ = ["curves", "means", "reached"]


def curves(rows: Sequence[Row], epochs: pd.DataFrame) -> pd.DataFrame:
    """The validation CCC of each run after each epoch, and the seconds that had gone until then.

    These are of training and of filling the cache; validating is no part of them. A run that found
    its cache filled is told as if it had filled it, in the median time of the row's runs that did.

    Args:
        rows: of one group
        epochs: from `queries_epochs.epochs`, of all their runs

    Returns:
        frame with the columns row (its name), run_id, epoch, seconds, ccc and whole: False where no
        run of the row filled its cache, so that what this took is not in the seconds
    """
    names = {run_id: row.name for row in rows for run_id in row.run_ids}
    given = epochs.assign(row=epochs["run_id"].map(names)).dropna(subset=["row"])
    fills = given[given["paid"]].groupby(["row", "run_id"])["fill_s"].sum().groupby("row").median()
    found = given["paid"]
    first = given["epoch"] == given.groupby("run_id")["epoch"].transform("min")
    usual = given["row"].map(fills).fillna(0.0).astype(float).where(first, 0.0)
    spent = given["train_s"] + given["fill_s"].where(found, usual)
    known = given.assign(
        seconds=spent.groupby(given["run_id"]).cumsum(), whole=given["row"].isin(fills.index)
    )
    columns = ["row", "run_id", "epoch", "seconds", "ccc", "whole"]
    told: pd.DataFrame = known.dropna(subset=["ccc"])[columns]
    return told


def means(each: pd.DataFrame) -> pd.DataFrame:
    """The curve of each row: median seconds and mean CCC over its runs, while all of them go on.

    Args:
        each: from `curves`

    Returns:
        frame with the columns row, epoch, seconds, ccc and runs (how many)
    """
    grouped = each.groupby(["row", "epoch"], as_index=False, sort=False)
    told = grouped.agg(
        seconds=("seconds", "median"), ccc=("ccc", "mean"), runs=("run_id", "nunique")
    )
    all_runs = told["row"].map(each.groupby("row")["run_id"].nunique())
    kept: pd.DataFrame = told[told["runs"] == all_runs].reset_index(drop=True)
    return kept


def reached(each: pd.DataFrame, target: float) -> pd.DataFrame:
    """When each row has reached a validation CCC, soonest first.

    Args:
        each: from `curves`
        target: the CCC

    Returns:
        frame with the columns row, seconds (median over runs, of which one that never gets there
        counts as endless; NaN if so many do not that the median is), epochs (likewise, from 1),
        reached and runs (how many did, of how many), best (highest CCC of any of them), and whole
        as in `curves`
    """
    there = each[each["ccc"] >= target].sort_values("epoch").groupby("run_id").first()
    runs = each.groupby("run_id").agg(
        row=("row", "first"), best=("ccc", "max"), whole=("whole", "first")
    )
    runs["seconds"] = there["seconds"].reindex(runs.index).fillna(np.inf)
    runs["epochs"] = (there["epoch"].reindex(runs.index) + 1).fillna(np.inf)
    told = runs.groupby("row", as_index=False).agg(
        seconds=("seconds", "median"),
        epochs=("epochs", "median"),
        reached=("seconds", lambda seconds: int(np.isfinite(seconds).sum())),
        runs=("seconds", "size"),
        best=("best", "max"),
        whole=("whole", "first"),
    )
    ordered: pd.DataFrame = told.replace(np.inf, np.nan).sort_values(
        ["seconds", "best"], ascending=[True, False], ignore_index=True
    )
    return ordered
