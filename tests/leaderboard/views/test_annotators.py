"""The page of single annotators, and of distributions as heat maps."""

from __future__ import annotations

from typing import Any

from streamlit.testing.v1 import AppTest

from serbench.leaderboard import queries


def test_distributions_lie_beside_each_other(page: Any, spread: Any) -> None:
    shown = page(spread.path, "annotators")
    # Two of annotators, three heat maps, since nobody knows the true one, and one of raters.
    assert len(charts_of(shown)) == 2 + 3 + 1
    assert all(chart.proto.alt for chart in charts_of(shown))
    assert shown.selectbox(key="distributions").options == ["full", "lora"]
    assert shown.selectbox(key="distributions_seed").options == ["0", "1"]
    box = shown.selectbox(key="utterance")
    assert len(box.options) == 161
    assert box.value == box.options[0]
    first = queries.spreads(queries.open_for_reading(str(spread.path)), [1]).utterances
    worst = first.sort_values("tvd").iloc[-1]
    assert box.options[1] == worst["utterance"]
    told = f"TVD {first['tvd'].mean():.3f}, TVD told {first['tvd_told'].mean():.3f}"
    assert told in captions(shown)
    box.select(worst["utterance"]).run()
    assert not shown.exception
    assert f"{worst['raters']} raters; TVD {worst['tvd']:.3f}, " in captions(shown)


def test_utterances_are_sorted_and_a_seed_is_chosen(page: Any, spread: Any) -> None:
    shown = page(spread.path, "annotators")
    shown.selectbox(key="distributions_seed").select("1").run()
    shown.selectbox(key="utterances_by").select("lowest TVD").run()
    assert not shown.exception
    of_seed = queries.spreads(queries.open_for_reading(str(spread.path)), [4]).utterances
    best = of_seed.sort_values("tvd").iloc[0]
    assert shown.selectbox(key="utterance").options[1] == best["utterance"]
    shown.selectbox(key="utterances_by").select("name").run()
    assert shown.selectbox(key="utterance").options[1] == "u000"


def test_agreement_is_told_and_what_cannot_be(page: Any, spread: Any) -> None:
    shown = page(spread.path, "annotators")
    frame = shown.dataframe[0].value.set_index("Figure")
    told = queries.spreads(queries.open_for_reading(str(spread.path)), [1])
    assert frame.loc["Raters", "Value"] == told.utterances["raters"].mean()
    assert 0 < frame.loc["Share of valence between", "Value"] < 1
    assert "Single ratings are not in the database" in captions(shown)


def test_rows_without_annotators_have_no_such_section(page: Any, filled: Any) -> None:
    shown = page(filled.path, "annotators")
    assert not charts_of(shown)
    assert "No row here" in shown.info[0].value


def captions(shown: AppTest) -> str:
    return " ".join(element.value for element in shown.caption)


def charts_of(shown: AppTest) -> list[Any]:
    return list(shown.get("arrow_vega_lite_chart") or shown.get("vega_lite_chart"))
