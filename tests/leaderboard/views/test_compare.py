"""The page of rows beside each other."""

from __future__ import annotations

from typing import Any

from streamlit.testing.v1 import AppTest

from serbench.leaderboard import comparison, queries

BOXES = {"dimension", "error"}


def test_rows_are_set_against_the_first_as_in_the_terminal(page: Any, filled: Any) -> None:
    shown = page(filled.path, "compare")
    box = shown.multiselect(key="rows")
    assert box.options == ["full", "lora", "top-layers", "top-layers+cache"]
    assert box.value == ["full", "lora"]
    box.set_value(["lora", "full", "top-layers"]).run()
    assert not shown.exception
    engine = queries.open_for_reading(str(filled.path))
    runs = queries.configurations(engine)
    of = {name: [run["id"] for run in runs if run["label"] == name] for name in box.value}
    scores, costs = (element.value for element in shown.dataframe[:2])
    for name in ("full", "top-layers"):
        ids = (*of[name], *of["lora"])
        evidence = queries.evidence(engine, ids)
        told = comparison.compare(runs, evidence, of[name], of["lora"])
        its = scores[scores["Row"] == name]
        assert its["Difference"].tolist() == [each.difference for each in told.ccc]
        assert its["First"].tolist() == [each.b for each in told.ccc]
        ratios = costs[costs["Row"] == name]["Ratio"]
        assert ratios.tolist() == [cost.ratio for cost in told.costs]
    assert set(scores[scores["Row"] == "top-layers"]["Verdict"]) == {"worse"}
    assert scores["Row"].tolist()[:2] == ["full", "top-layers"]


def test_where_they_differ_is_drawn_by_dimension_and_error(page: Any, filled: Any) -> None:
    shown = page(filled.path, "compare")
    assert len(charts_of(shown)) == 1 + 2 + 2
    assert "160 utterances and the seeds that all have (0, 1, 2)" in captions(shown)
    shown.selectbox(key="dimension").select("valence").run()
    shown.selectbox(key="error").select("squared").run()
    assert not shown.exception
    # Validation is of valence alone.
    assert len(charts_of(shown)) == 1 + 2 + 2 + 1
    told = [chart.proto.alt for chart in charts_of(shown)]
    assert all(told)
    assert "mean squared error to the first row" in told[1]


def test_one_row_chosen_is_compared_with_none(page: Any, filled: Any) -> None:
    shown = page(filled.path, "compare")
    shown.multiselect(key="rows").set_value(["lora"]).run()
    assert not shown.exception
    assert "Choose two rows" in shown.info[0].value
    assert not shown.dataframe


def test_another_corpus_has_its_own_rows(page: Any, recorder: Any) -> None:
    for corpus in ("old", "new"):
        recorder(f"full-{corpus}", corpus_name=corpus)
        recorder(f"lora-{corpus}", corpus_name=corpus)
    shown = page(recorder.path, "compare")
    shown.selectbox(key="corpus").select("old").run()
    assert not shown.exception
    assert {*shown.multiselect(key="rows").value} == {"full-old", "lora-old"}


def test_the_boxes_tell_the_caches_types_apart(page: Any, recorder: Any) -> None:
    recorder("lora", cached=True)
    recorder("lora", cached=True, cache_dtype="float16")
    names = {"lora+cache", "lora+cache (float16)"}
    assert {*page(recorder.path, "compare").multiselect(key="rows").options} == names


def test_a_single_row_is_compared_with_none(page: Any, recorder: Any) -> None:
    recorder("full")
    recorder("lora", status="failed")
    shown = page(recorder.path, "compare")
    assert "two rows" in shown.info[0].value
    assert not shown.multiselect


def test_rows_without_a_seed_in_common_have_their_curves_still(page: Any, recorder: Any) -> None:
    recorder("full", seed=0)
    recorder("lora", seed=1)
    shown = page(recorder.path, "compare")
    shown.selectbox(key="dimension").select("valence").run()
    assert not shown.exception
    assert "no seed and utterance in common" in shown.info[-1].value
    assert "validation" in charts_of(shown)[-1].proto.alt


def test_rows_of_cost_only_have_costs_alone(page: Any, recorder: Any) -> None:
    recorder("full", cost_only=True, noise=None)
    recorder("lora", cost_only=True, noise=None, epoch_s=5.0)
    shown = page(recorder.path, "compare")
    (costs,) = (element.value for element in shown.dataframe)
    assert costs.set_index("Cost").loc["Epoch", "Ratio"] in (0.5, 2.0)
    assert not charts_of(shown)
    assert not {box.key for box in shown.selectbox} & BOXES


def test_comparisons_have_the_distances(page: Any, spread: Any) -> None:
    frame = page(spread.path, "compare").dataframe[0].value.set_index("Score")
    assert frame.loc["TVD", "Verdict"] == "better"
    assert frame.loc["CCC valence", "Verdict"] == "worse"


def test_a_name_is_no_markdown(page: Any, recorder: Any) -> None:
    recorder("*full*")
    recorder("lora", noise=2.0)
    assert r"\*full\*" in captions(page(recorder.path, "compare"))


def captions(shown: AppTest) -> str:
    return " ".join(element.value for element in shown.caption)


def charts_of(shown: AppTest) -> list[Any]:
    return list(shown.get("arrow_vega_lite_chart") or shown.get("vega_lite_chart"))
