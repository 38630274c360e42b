from __future__ import annotations

from collections.abc import Callable

import pytest

from serbench.leaderboard import weights
from serbench.leaderboard.ranking import Row

Make = Callable[..., Row]


@pytest.fixture
def three(row: Make) -> list[Row]:
    """From the most accurate to the fastest."""
    return [
        row(ccc_valence=0.8, epoch_s=100.0),
        row(ccc_valence=0.7, epoch_s=10.0),
        row(ccc_valence=0.4, epoch_s=1.0),
    ]


def test_best_is_one_and_worst_is_zero_whichever_way_is_better(three: list[Row]) -> None:
    assert weights.normalised(three, weights.SCORE) == pytest.approx([1.0, 0.75, 0.0])
    assert weights.normalised(three, "epoch_s") == pytest.approx([0.0, 0.5, 1.0])


def test_a_distance_is_better_when_lower(row: Make) -> None:
    rows = [row(ranked_by="tvd", tvd=value) for value in (0.2, 0.6)]
    assert weights.normalised(rows, weights.SCORE) == [1.0, 0.0]


def test_equal_rows_are_all_best(row: Make) -> None:
    assert weights.normalised([row(epoch_s=2.0), row(epoch_s=2.0)], "epoch_s") == [1.0, 1.0]


def test_a_cost_of_nothing_is_best(row: Make) -> None:
    rows = [row(peak_vram_bytes=0), row(peak_vram_bytes=2**30)]
    assert weights.normalised(rows, "peak_vram_bytes") == [1.0, 0.0]


def test_weights_make_a_mean(three: list[Row]) -> None:
    found = weights.weighted(three, {weights.SCORE: 1, "epoch_s": 3})
    assert found == pytest.approx([0.25, (0.75 + 3 * 0.5) / 4, 0.75])
    assert weights.weighted(three, {weights.SCORE: 2, "epoch_s": 6}) == pytest.approx(found)
    assert weights.weighted(three, {weights.SCORE: 7, "epoch_s": 0}) == pytest.approx([1, 0.75, 0])


def test_no_weight_makes_no_order(three: list[Row]) -> None:
    assert weights.weighted(three, {}) == [None] * 3
    assert weights.weighted(three, {weights.SCORE: 0}) == [None] * 3
    assert weights.weighted([], {weights.SCORE: 1}) == []


def test_what_lacks_a_measure_that_counts_has_no_score(three: list[Row], row: Make) -> None:
    rows = [*three, row(ccc_valence=0.9)]
    assert weights.weighted(rows, {"epoch_s": 1})[-1] is None
    assert weights.weighted(rows, {weights.SCORE: 1, "epoch_s": 0})[-1] == 1.0


def test_only_what_some_row_has_can_be_weighed(three: list[Row]) -> None:
    assert weights.known(three) == {weights.SCORE: "CCC", "epoch_s": "Epoch"}
    assert weights.known([]) == {}


def test_the_order_says_whose_it_is(three: list[Row]) -> None:
    said = weights.sentence({weights.SCORE: 2, "epoch_s": 0}, weights.known(three))
    assert "(CCC 2)" in said
    assert "your own" in said
    assert "not a rank" in said
