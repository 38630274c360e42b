from __future__ import annotations

from collections.abc import Callable

import pytest

from serbench.leaderboard import filters
from serbench.leaderboard.ranking import Row


@pytest.fixture
def rows(row: Callable[..., Row]) -> list[Row]:
    return [
        row(strategy="full"),
        row(strategy="lora", precision="bf16"),
        row(strategy="lora", cached=True),
    ]


def test_only_what_rows_differ_in_can_be_chosen(rows: list[Row]) -> None:
    assert filters.options(rows) == {
        "strategy": ["full", "lora"],
        "precision": ["bf16", "fp32"],
        "caching": ["cached", "live"],
    }
    assert filters.options(rows[:1]) == filters.options([]) == {}


def test_a_row_is_kept_that_has_one_of_each(rows: list[Row]) -> None:
    assert filters.kept(rows, {"strategy": ["lora"]}) == rows[1:]
    assert filters.kept(rows, {"strategy": ["lora"], "caching": ["cached"]}) == rows[2:]
    assert filters.kept(rows, {"strategy": ["full", "lora"], "precision": ["fp32"]}) == rows[::2]
    assert filters.kept(rows, {"strategy": ["full"], "caching": ["cached"]}) == []


def test_where_nothing_is_chosen_all_is_kept(rows: list[Row]) -> None:
    assert filters.kept(rows, {"strategy": [], "head": []}) == rows
    assert filters.kept(rows, {}) == rows
