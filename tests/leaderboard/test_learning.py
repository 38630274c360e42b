from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from serbench.leaderboard import learning, queries, queries_epochs, ranking


def curves(recorder: Any) -> pd.DataFrame:
    engine = queries.open_for_reading(str(recorder.path))
    runs = queries.configurations(engine)
    rows = ranking.rank(runs, queries.evidence(engine, ranking.chosen_runs(runs)))
    epochs = queries_epochs.epochs(engine, [run["id"] for run in runs])
    return learning.curves(rows, epochs)


def seconds(each: pd.DataFrame, run_id: int) -> list[float]:
    found: list[float] = each[each["run_id"] == run_id]["seconds"].tolist()
    return found


def test_epochs_have_their_seconds_and_scores(recorder: Any) -> None:
    recorder("full", epoch_s=10.0)
    recorder("full", cached=True, epoch_s=1.0, fill_s=7.0)
    recorder("lora", cached=True, epoch_s=1.0)
    told = queries_epochs.epochs(recorder.engine, [1, 2, 3])
    assert told["epoch"].tolist() == [0, 1, 2] * 3
    assert told["train_s"].tolist() == [50, 10, 10, 5, 1, 1, 5, 1, 1]
    assert told["fill_s"].tolist() == [0, 0, 0, 7, 0, 0, 0, 0, 0]
    assert told["ccc"].tolist() == pytest.approx([0.0, 0.1, 0.2] * 3)
    assert told["paid"].tolist() == [True] * 6 + [False] * 3
    assert queries_epochs.epochs(recorder.engine, []).empty


def test_filling_the_cache_counts_also_for_those_that_found_it_filled(recorder: Any) -> None:
    recorder("full", cached=True, epoch_s=1.0, fill_s=7.0, seed=0)
    recorder("full", cached=True, epoch_s=1.0, seed=1)
    recorder("lora", epoch_s=1.0)
    each = curves(recorder)
    assert seconds(each, 1) == seconds(each, 2) == [12, 13, 14]
    assert seconds(each, 3) == [5, 6, 7]
    assert each["whole"].all()


def test_filling_that_nobody_measured_is_told(recorder: Any) -> None:
    recorder("full", cached=True, epoch_s=1.0)
    each = curves(recorder)
    assert seconds(each, 1) == [5, 6, 7]
    assert not each["whole"].any()
    assert learning.reached(each, 0.1)["whole"].tolist() == [False]


def epochs(**by_run: list[tuple[float, float]]) -> pd.DataFrame:
    """Of rows by their first letter: seconds and CCC of each run's epochs."""
    lines = [
        (name[0], name, epoch, seconds, ccc, True)
        for name, points in by_run.items()
        for epoch, (seconds, ccc) in enumerate(points)
    ]
    names = ["row", "run_id", "epoch", "seconds", "ccc", "whole"]
    frame: pd.DataFrame = pd.DataFrame(lines, columns=names)
    return frame


def test_the_median_run_reaches_the_target_or_the_row_does_not() -> None:
    each = epochs(
        a1=[(1, 0.1), (2, 0.5), (3, 0.4)],
        a2=[(1, 0.1), (4, 0.5)],
        a3=[(9, 0.1)],
        b1=[(1, 0.6)],
        b2=[(1, 0.1)],
        c1=[(1, 0.5)],
    )
    told = learning.reached(each, 0.5).set_index("row")
    assert told.index.tolist() == ["c", "a", "b"]
    assert told["seconds"].tolist() == pytest.approx([1, 4, np.nan], nan_ok=True)
    assert told["epochs"].tolist() == pytest.approx([1, 2, np.nan], nan_ok=True)
    assert told["reached"].tolist() == [1, 2, 1]
    assert told["runs"].tolist() == [1, 3, 2]
    assert told["best"].tolist() == [0.5, 0.5, 0.6]


def test_a_row_s_curve_ends_with_its_first_run() -> None:
    told = learning.means(epochs(a1=[(1, 0.1), (2, 0.5)], a2=[(3, 0.3)], b1=[(1, 0.2)]))
    assert told[["row", "seconds", "runs"]].values.tolist() == [["a", 2, 2], ["b", 1, 1]]
    assert told["ccc"].tolist() == pytest.approx([0.2, 0.2])


def test_runs_without_validation_have_no_curve(recorder: Any) -> None:
    recorder("full", cost_only=True, noise=None)
    each = curves(recorder)
    assert each.empty
    assert learning.reached(each, 0.5).empty
    assert learning.means(each).empty
