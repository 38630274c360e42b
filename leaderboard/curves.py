"""How the validation CCC of rows went, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from serbench.harness.metrics import RANKED_DIMENSIONS
from serbench.leaderboard.ranking import Row

__all__ = ["by_row"]


def by_row(rows: Sequence[Row], validation: pd.DataFrame) -> dict[tuple[int, ...], list[float]]:
    """For each row that has any, by its `run_ids`, the CCC of each epoch.

    Of an epoch it is the mean over the ranked dimensions and over the row's runs. Epochs that not
    all of these reached are left out, since the mean of the others would be of other runs.

    Args:
        rows: whose curves
        validation: from `queries.validation`, of all their runs
    """
    ranked = validation[validation["dimension"].isin(RANKED_DIMENSIONS)]
    each = ranked.set_index(["run_id", "epoch", "dimension"])["ccc"].unstack("dimension")
    of_run = each.mean(axis=1, skipna=False).unstack("run_id").sort_index()
    found = {}
    for row in rows:
        there = [run_id for run_id in row.run_ids if run_id in of_run]
        curve = of_run[there].dropna().mean(axis=1).tolist() if there else []
        if curve:
            found[row.run_ids] = curve
    return found
