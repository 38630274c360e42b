from __future__ import annotations

import pytest

from serbench.leaderboard.noise import noise_floor, relative_gap


def test_a_gap_is_the_same_from_either_end() -> None:
    assert relative_gap(10.0, 12.5) == relative_gap(12.5, 10.0) == 0.25
    assert relative_gap(3.0, 3.0) == 0.0


def test_the_floor_is_the_largest_gap_of_the_pairs_that_have_the_figure() -> None:
    pairs = [(10.0, 11.0), (8.0, 10.0), (None, 99.0), (1.0, None)]
    assert noise_floor(pairs, lambda figure: figure, relative=True) == pytest.approx(0.25)
    assert noise_floor(pairs, lambda figure: figure) == pytest.approx(2.0)


def test_without_a_pair_there_is_no_floor() -> None:
    assert noise_floor([], lambda figure: figure) is None
    assert noise_floor([(1.0, None)], lambda figure: figure) is None
