from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from serbench.leaderboard import curves, queries
from serbench.leaderboard.ranking import Row

Make = Callable[..., Row]


def scored(*lines: tuple[int, int, str, float | None]) -> pd.DataFrame:
    columns = ["run_id", "epoch", "dimension", "ccc"]
    frame: pd.DataFrame = pd.DataFrame(lines, columns=columns).astype({"ccc": float})
    return frame


def test_a_curve_is_the_mean_over_dimensions_and_runs(row: Make) -> None:
    given = scored(
        (1, 1, "valence", 0.4), (1, 1, "activation", 0.6), (1, 0, "valence", 0.1),
        (1, 0, "activation", 0.3), (2, 0, "valence", 0.4), (2, 0, "activation", 0.4),
        (2, 1, "valence", 0.7), (2, 1, "activation", 0.7), (1, 0, "dominance", 99.0),
        (3, 0, "valence", 99.0),
    )  # fmt: skip
    found = curves.by_row([row(run_ids=(1, 2))], given)
    assert found == {(1, 2): pytest.approx([0.3, 0.6])}


def test_epochs_that_a_run_lacks_are_left_out(row: Make) -> None:
    given = scored((1, 0, "valence", 0.2), (1, 1, "valence", 0.9), (2, 0, "valence", 0.4))
    assert curves.by_row([row(run_ids=(1, 2))], given) == {(1, 2): pytest.approx([0.3])}


def test_an_undefined_dimension_leaves_its_epoch_out(row: Make) -> None:
    given = scored(
        (1, 0, "valence", None), (1, 0, "activation", 0.9), (1, 1, "valence", 0.2),
        (1, 1, "activation", 0.4),
    )  # fmt: skip
    assert curves.by_row([row(run_ids=(1,))], given) == {(1,): pytest.approx([0.3])}


def test_rows_that_were_not_validated_have_none(row: Make) -> None:
    assert curves.by_row([row(run_ids=()), row(run_ids=(7,))], scored()) == {}


def test_only_the_runs_that_are_asked_for_are_read(recorder: Any) -> None:
    first, second = recorder("full"), recorder("lora")
    found = queries.validation(queries.open_for_reading(str(recorder.path)), (second,))
    assert first != second
    assert found.columns.tolist() == ["run_id", "epoch", "dimension", "ccc"]
    assert found["run_id"].unique().tolist() == [second]
    assert found.sort_values("epoch")["ccc"].tolist() == pytest.approx([0.0, 0.1, 0.2])
