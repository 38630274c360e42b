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
    of_run = validation.pivot(index="epoch", columns="run_id", values="ccc").sort_index()
    found = {}
    for row in rows:
        there = [run_id for run_id in row.run_ids if run_id in of_run]
        curve = of_run[there].dropna().mean(axis=1).tolist() if there else []
        if curve:
            found[row.run_ids] = curve
    return found
