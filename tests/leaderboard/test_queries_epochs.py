"""Epochs of runs, whose mean over dimensions the database takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from serbench.harness.records import ScoreRow
from serbench.leaderboard import curves, queries_epochs

UNDEFINED = None


@pytest.fixture
def score(recorder: Any) -> Callable[..., None]:
    """Adds a score of the first run, which has none of the validation besides."""
    recorder("full")
    validation = sa.delete(ScoreRow).where(ScoreRow.split == "validation")
    with recorder.engine.begin() as connection:
        connection.execute(validation)

    def add(epoch: int, dimension: str, value: float | None, **other: Any) -> None:
        usual = {"run_id": 1, "corpus": "made-up", "split": "validation", "metric": "ccc"}
        told = {"epoch": epoch, "dimension": dimension, "value": value}
        with recorder.engine.begin() as connection:
            connection.execute(sa.insert(ScoreRow), {**usual, **told, **other})

    return add


def test_the_mean_is_over_the_dimensions_asked_for(
    recorder: Any, score: Callable[..., None]
) -> None:
    for epoch, values in enumerate([(0.3, 0.1, 0.9), (0.6, 0.4, UNDEFINED)]):
        for dimension, value in zip(("activation", "valence", "dominance"), values, strict=True):
            score(epoch, dimension, value)
    score(0, "valence", 99.0, corpus="other")
    score(0, "valence", 99.0, split="test")
    score(0, "valence", 99.0, metric="tvd")
    found = queries_epochs.validation(recorder.engine, [1])
    assert found.columns.tolist() == ["run_id", "epoch", "ccc"]
    assert found.values.tolist() == [[1, 0, pytest.approx(0.2)], [1, 1, pytest.approx(0.5)]]
    valence = queries_epochs.validation(recorder.engine, [1], ["valence"])
    assert valence["ccc"].tolist() == [0.1, 0.4]
    dominance = queries_epochs.validation(recorder.engine, [1], ["dominance"])
    assert dominance["ccc"].tolist() == pytest.approx([0.9, np.nan], nan_ok=True)


def test_an_undefined_dimension_leaves_its_epoch_out(
    recorder: Any, score: Callable[..., None], row: Callable[..., Any]
) -> None:
    score(0, "valence", UNDEFINED)
    score(0, "activation", 0.9)
    score(1, "valence", 0.2)
    score(1, "activation", 0.4)
    score(2, "valence", 0.7)
    validation = queries_epochs.validation(recorder.engine, [1])
    epochs = queries_epochs.epochs(recorder.engine, [1])
    for found in (validation, epochs):
        assert found["ccc"].tolist() == pytest.approx([np.nan, 0.3, 0.7], nan_ok=True)
    assert curves.by_row([row(run_ids=(1,))], validation) == {(1,): pytest.approx([0.3, 0.7])}


def test_what_is_undefined_everywhere_is_a_number_still(
    recorder: Any, score: Callable[..., None]
) -> None:
    score(0, "valence", UNDEFINED)
    assert queries_epochs.validation(recorder.engine, [1])["ccc"].dtype == float
    assert queries_epochs.epochs(recorder.engine, [1])["ccc"].dtype == float
    assert queries_epochs.validation(recorder.engine, [])["ccc"].dtype == float


def test_only_the_runs_that_are_asked_for_are_read(recorder: Any) -> None:
    first, second = recorder("full"), recorder("lora")
    assert first != second
    found = queries_epochs.validation(recorder.engine, [second])
    assert found["run_id"].tolist() == [second] * 3
    assert found["ccc"].tolist() == pytest.approx([0.0, 0.1, 0.2])
    assert {*queries_epochs.epochs(recorder.engine, [second])["run_id"]} == {second}
