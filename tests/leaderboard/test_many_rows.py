"""Groups of more rows than have intervals."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serbench.harness.metrics import unranked_sentence
from serbench.leaderboard import queries, ranking
from serbench.leaderboard.ranking import Row


@pytest.fixture
def few(best: Callable[[int], None]) -> None:
    """Two rows of a group are told apart."""
    best(2)


def ranked(recorder: Any, by: str = "ccc") -> list[Row]:
    engine = queries.open_for_reading(str(recorder.path))
    runs = queries.configurations(engine)
    chosen = ranking.chosen_runs(runs, by=by)
    assert len(chosen) <= 2 * ranking.BEST
    return ranking.rank(runs, queries.evidence(engine, chosen), by=by)


def word(rows: list[Row]) -> str:
    return unranked_sentence([vars(row) for row in rows])


@pytest.fixture
def four(recorder: Any) -> Any:
    """Rows whose order by TVD is that by CCC turned round, with two seeds each, and a failure."""
    recorder("broken", status="failed")
    for seed in (0, 1):
        for i, name in enumerate(("d", "c", "b", "a")):
            recorder(name, noise=(3.0, 1.0, 0.3, 0.1)[i], spread=(0.2, 0.4, 1.0, 3.0)[i], seed=seed)
    return recorder


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("by", "order"), [("ccc", "abcd"), ("tvd", "dcba")])
def test_the_best_have_ranks_and_intervals_and_the_others_follow(
    four: Any, by: str, order: str
) -> None:
    rows = ranked(four, by)
    assert [row.label for row in rows] == [*order, "broken"]
    assert [row.rank for row in rows] == [1, 2, None, None, None]
    for row in rows[:2]:
        assert None not in (row.ccc_valence_low, row.tvd_high)
    for row in rows[2:4]:
        assert row.ccc_valence is not None
        assert (row.ccc_valence_low, row.tvd_high) == (None, None)
        assert row.epoch_s == 10.0
    assert word(rows).startswith(f"Of 5 rows the 2 best by {by.upper()} have")


def test_few_rows_need_no_word(four: Any) -> None:
    rows = ranked(four)
    assert [row.rank for row in rows] == [1, 2, 3, 4, None]
    assert word(rows) == ""


@pytest.mark.usefixtures("few")
def test_rows_of_cost_are_all_ranked(recorder: Any) -> None:
    for i in range(4):
        recorder(f"s{i}", epoch_s=10.0 + i, cost_only=True, noise=None)
    rows = ranked(recorder)
    assert [row.rank for row in rows] == [1, 2, 3, 4]
    assert word(rows) == ""


@pytest.mark.usefixtures("few")
def test_the_page_says_so(page: Any, four: Any) -> None:
    shown = page(four.path, configurations="all")
    assert "Of 5 rows the 2 best by CCC" in shown.info[0].value
    assert shown.dataframe[0].value["Configuration"].tolist() == [*"abcd", "broken"]


def test_the_front_is_what_nothing_dominates() -> None:
    chance = random.Random(0)
    points: list[tuple[float | None, ...]] = [
        tuple(chance.choice((1.0, 2.0, 3.0, 4.0, None)) for _ in range(3)) for _ in range(300)
    ]
    whole = np.array([point for point in points if None not in point], float)

    def dominated(point: tuple[float | None, ...]) -> bool:
        its = np.array(point, float)
        return bool(((whole <= its).all(axis=1) & (whole < its).any(axis=1)).any())

    expected = [None not in point and not dominated(point) for point in points]
    assert ranking.not_dominated(points) == expected


def test_a_row_that_lacks_a_dimension_is_not_behind_the_best(row: Any) -> None:
    both = {"ccc_activation": 0.5, "ccc_valence": 0.4}
    rows = [row(**both), row(ccc_activation=0.6, rank=None)]
    assert word(rows) == ""
    assert word([*rows, row(**both, rank=None)]).startswith("Of 3 rows the 1 best by CCC")
