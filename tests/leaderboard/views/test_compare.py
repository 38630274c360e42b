"""The page of two rows beside each other."""

from __future__ import annotations

from typing import Any

from serbench.leaderboard import comparison, queries


def test_two_rows_are_compared_as_in_the_terminal(page: Any, filled: Any) -> None:
    shown = page(filled.path, "compare")
    assert shown.selectbox(key="a").options == ["full", "lora", "top-layers", "top-layers+cache"]
    assert shown.selectbox(key="b").options == ["lora", "top-layers", "top-layers+cache"]
    shown.selectbox(key="b").select_index(1).run()
    assert not shown.exception
    engine = queries.open_for_reading(str(filled.path))
    runs = queries.configurations(engine)
    a, b = ([run["id"] for run in runs if run["label"] == name] for name in ("full", "top-layers"))
    told = comparison.compare(runs, queries.evidence(engine, (*a, *b)), a, b)
    ccc, costs = (element.value for element in shown.dataframe[:2])
    assert ccc["A - B"].tolist() == [each.difference for each in told.ccc]
    assert ccc["Better"].tolist() == ["A", "A", "A"]
    assert costs["A / B"].tolist() == [cost.ratio for cost in told.costs]
    assert shown.caption[0].value == " ".join(told.notes)


def test_the_boxes_tell_the_caches_types_apart(page: Any, recorder: Any) -> None:
    recorder("lora", cached=True)
    recorder("lora", cached=True, cache_dtype="float16")
    names = {"lora+cache", "lora+cache (float16)"}
    assert {*page(recorder.path, "compare").selectbox(key="a").options} == names


def test_a_single_row_is_compared_with_none(page: Any, recorder: Any) -> None:
    recorder("full")
    recorder("lora", status="failed")
    shown = page(recorder.path, "compare")
    assert "two rows" in shown.info[0].value
    assert not {box.label for box in shown.selectbox} & {"A", "B"}


def test_comparisons_have_the_distances(page: Any, spread: Any) -> None:
    shown = page(spread.path, "compare")
    frame = shown.dataframe[0].value.set_index("Score")
    assert frame.loc["TVD", "Better"] == "B"
    assert frame.loc["CCC valence", "Better"] == "A"
