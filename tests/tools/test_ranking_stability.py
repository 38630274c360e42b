"""Agreement of two rankings, on rankings whose agreement is known."""

from __future__ import annotations

from typing import Any

import pytest
import ranking_stability
from ranking_stability import line, parted, score, swapped


def rows(*scores: float, ranks: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    return {
        name: {"ccc_activation": value, "ccc_valence": value, "rank": rank}
        for name, value, rank in zip("abcd", scores, ranks, strict=True)
    }


def test_the_same_order_agrees() -> None:
    told = [{"a": 0.9, "b": 0.5, "c": 0.1}, {"c": 0.3, "b": 0.4, "a": 0.8}]
    assert swapped(told) == []
    assert line("x", told) == "| x | 1.00 | 0 of 3 |"


def test_one_pair_of_neighbours_changes_places() -> None:
    told = [{"a": 0.9, "b": 0.5, "c": 0.1}, {"a": 0.5, "b": 0.9, "c": 0.1}]
    assert swapped(told) == [("a", "b")]
    assert line("x", told) == "| x | 0.33 | 1 of 3 |"


def test_what_was_told_apart_and_did_not_hold_is_named() -> None:
    first = rows(0.9, 0.8, 0.2, 0.1, ranks=(1, 1, 3, 3))
    held = rows(0.8, 0.9, 0.1, 0.2, ranks=(1, 1, 3, 3))
    assert parted(first, held, [score(first), score(held)]) == (
        "Pairs with different ranks: 4 and 4, in both 4; of those of either, 0 change places."
    )
    turned = rows(0.1, 0.9, 0.2, 0.8, ranks=(4, 1, 3, 1))
    said = parted(first, turned, [score(first), score(turned)])
    assert "- `a` against `c` (+0.700, -0.100)" in said
    assert "`a` against `d`" in said
    assert "`b` against" not in said


def test_databases_of_other_configurations_do_not_compare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {"a.db": rows(0.9, 0.1, 0.2, 0.3, ranks=(1, 1, 1, 1)), "b.db": {}}
    monkeypatch.setattr(ranking_stability, "ranked", found.get)
    monkeypatch.setattr("sys.argv", ["ranking_stability.py", "a.db", "b.db"])
    with pytest.raises(SystemExit, match="only one has a, b, c, d"):
        ranking_stability.main()
