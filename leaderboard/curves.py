"""How the validation CCC of rows went, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from serbench.leaderboard.ranking import Row

__all__ = ["by_row"]


def by_row(rows: Sequence[Row], validation: pd.DataFrame) -> dict[tuple[int, ...], list[float]]:
    """For each row that has any, by its `run_ids`, the CCC of each epoch.

    Of an epoch it is the mean over the row's runs. Epochs of which one of these has no CCC are left
    out, since the mean of the others would be of other runs.

    Args:
        rows: whose curves
        validation: from `queries_epochs.validation`, of all their runs
    """
    of = {run_id: row.run_ids for row in rows for run_id in row.run_ids}
    each = validation.assign(row=validation["run_id"].map(of)).dropna(subset=["row"])
    runs = each.groupby("row", sort=False)["run_id"].nunique()
    epochs = each.groupby(["row", "epoch"], sort=True)["ccc"].agg(["mean", "count"])
    whole = epochs[epochs["count"] == runs.reindex(epochs.index, level="row")]
    return {row: its["mean"].tolist() for row, its in whole.groupby(level="row", sort=False)}
