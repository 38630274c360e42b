from __future__ import annotations

from typing import Any

from serbench.leaderboard.sweeps import sweeps


def layers(row: Any, count: int, label: str, **given: Any) -> Any:
    config = {"layers": count, "lr": 0.1, "bias": True}
    facts = {"strategy": "top", "label": label, "run_ids": (count,), "config": config}
    return row(**{**facts, **given})


def test_rows_that_differ_in_one_number_are_a_line(row: Any) -> None:
    rows = [
        layers(row, 3, "top:layers=3"),
        layers(row, 1, "top:layers=1"),
        layers(row, 2, "top"),
        layers(row, 1, "top:layers=1+cache", cached=True),
        layers(row, 2, "top:layers=2+cache", cached=True),
        layers(row, 4, "top:layers=4+bf16", precision="bf16"),
        row(strategy="full", config={}),
    ]
    found = sweeps(rows)
    assert list(found) == [("top", "layers")]
    live, cached = found["top", "layers"]
    assert (live.name, [value for value, _ in live.rows]) == ("top", [1, 2, 3])
    assert (cached.name, [value for value, _ in cached.rows]) == ("top+cache", [1, 2])
    assert live.rows[0][1] is rows[1]


def test_another_setting_or_head_is_another_line(row: Any) -> None:
    other = {"layers": 2, "lr": 0.2, "bias": True}
    assert not sweeps([layers(row, 1, "top"), layers(row, 2, "top:lr=0.2", config=other)])
    assert not sweeps([layers(row, 1, "top"), layers(row, 2, "top", head="distribution")])
    assert not sweeps([layers(row, 1, "top"), layers(row, 2, "top", runs=0)])


def test_only_whole_numbers_count_and_a_truth_is_none(row: Any) -> None:
    rows = [
        layers(row, 1, "top", config={"lr": 0.1, "bias": bias, "kind": kind})
        for bias, kind in ((True, "a"), (False, "b"))
    ]
    assert not sweeps(rows)


def test_names_lose_that_setting_alone(row: Any) -> None:
    def named(label: str, **given: Any) -> str:
        pair = [layers(row, count, label, **given) for count in (1, 2)]
        return sweeps(pair)["top", "layers"][0].name

    assert named("top:layers=1,lr=0.1+bf16") == "top:lr=0.1+bf16"
    assert named("top:lr=0.1,layers=1") == "top:lr=0.1"
    assert named("top:sublayers=1") == "top:sublayers=1"
    assert named("top:layers=1", head="distribution") == "top@distribution"
    assert named("top:layers=1+cache", cached=True, cache_dtype="float16") == "top+cache (float16)"
