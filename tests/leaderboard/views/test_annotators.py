"""The page of single annotators, and of distributions as heat maps."""

from __future__ import annotations

from typing import Any

from streamlit.testing.v1 import AppTest

from serbench.leaderboard import queries


def test_distributions_lie_beside_each_other(page: Any, spread: Any) -> None:
    shown = page(spread.path, "annotators")
    # Two of annotators, and three heat maps: nobody knows the true one.
    assert len(charts_of(shown)) == 2 + 3
    assert shown.selectbox(key="of").options == ["full", "lora"]
    assert shown.selectbox(key="seed").options == ["0", "1"]
    box = shown.selectbox(key="utterance")
    assert len(box.options) == 161
    assert (box.value, box.options[0]) == ("", "mean over all 160")
    first = queries.spreads(queries.open_for_reading(str(spread.path)), [1]).utterances
    worst = first.sort_values("tvd").iloc[-1]
    assert box.options[1] == (
        f"{worst['utterance']} (TVD {worst['tvd']:.3f}, {worst['raters']} raters)"
    )
    told = [element.value for element in shown.caption if "raters an utterance" in element.value]
    assert f"TVD {first['tvd'].mean():.3f}, TVD told {first['tvd_told'].mean():.3f}" in told[0]
    box.select(worst["utterance"]).run()
    assert not shown.exception
    assert f"TVD {worst['tvd']:.3f}, " in "".join(element.value for element in shown.caption)


def test_utterances_are_sorted_and_a_seed_is_chosen(page: Any, spread: Any) -> None:
    shown = page(spread.path, "annotators")
    shown.selectbox(key="seed").select(1).run()
    shown.selectbox(key="order").select("lowest TVD").run()
    assert not shown.exception
    of_seed = queries.spreads(queries.open_for_reading(str(spread.path)), [4]).utterances
    best = of_seed.sort_values("tvd").iloc[0]
    assert shown.selectbox(key="utterance").options[1].startswith(best["utterance"])
    shown.selectbox(key="order").select("name").run()
    assert shown.selectbox(key="utterance").options[1].startswith("u000 ")


def test_rows_without_annotators_have_no_such_section(page: Any, filled: Any) -> None:
    shown = page(filled.path, "annotators")
    assert not charts_of(shown)
    assert "No row here" in shown.info[0].value


def charts_of(shown: AppTest) -> list[Any]:
    return list(shown.get("arrow_vega_lite_chart") or shown.get("vega_lite_chart"))
