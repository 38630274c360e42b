from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from serbench.leaderboard import curves
from serbench.leaderboard.ranking import Row

Make = Callable[..., Row]


def scored(*lines: tuple[int, int, float | None]) -> pd.DataFrame:
    columns = ["run_id", "epoch", "ccc"]
    frame: pd.DataFrame = pd.DataFrame(lines, columns=columns).astype({"ccc": float})
    return frame


def test_a_curve_is_the_mean_over_runs(row: Make) -> None:
    given = scored((1, 1, 0.5), (1, 0, 0.2), (2, 0, 0.4), (2, 1, 0.7), (3, 0, 99.0))
    found = curves.by_row([row(run_ids=(1, 2))], given)
    assert found == {(1, 2): pytest.approx([0.3, 0.6])}


def test_epochs_that_a_run_lacks_are_left_out(row: Make) -> None:
    given = scored((1, 0, 0.2), (1, 1, 0.9), (2, 0, 0.4))
    assert curves.by_row([row(run_ids=(1, 2))], given) == {(1, 2): pytest.approx([0.3])}


def test_an_undefined_score_leaves_its_epoch_out(row: Make) -> None:
    given = scored((1, 0, None), (1, 1, 0.3), (2, 0, 0.9), (2, 1, 0.3))
    assert curves.by_row([row(run_ids=(1, 2))], given) == {(1, 2): pytest.approx([0.3])}


def test_rows_that_were_not_validated_have_none(row: Make) -> None:
    assert curves.by_row([row(run_ids=()), row(run_ids=(7,))], scored()) == {}
