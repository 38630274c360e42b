"""The page of single annotators, and of distributions as heat maps."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

from serbench.harness.metrics import METRICS
from serbench.harness.plan import CorpusRef, Elsewhere
from serbench.leaderboard import queries

OTHERS = [
    Elsewhere(ref=CorpusRef(name), name=name, hash="m", synthetic=False, derived=False)
    for name in ("other", "third")
]


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


def test_who_is_counted_is_told(page: Any, spread: Any) -> None:
    shown = page(spread.path, "annotators")
    assert "each of 12 annotators with at least 10 ratings" in captions(shown)


def test_headings_explain_themselves(page: Any, spread: Any) -> None:
    shown = page(spread.path, "annotators")
    helped = {each.value: each.proto.help for each in shown.markdown}
    assert helped["**Valence**"].split("\n\n") == [
        METRICS[f"annotator_ccc{end}_valence"].description for end in ("", "_told")
    ]
    assert any(METRICS["jsd_told"].description in each.proto.help for each in shown.caption)


def test_dominance_is_shown_where_it_was_rated(page: Any, spread: Any) -> None:
    with spread.engine.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE annotators SET dimension = 'dominance' "
                "WHERE dimension = 'activation' AND run_id = 1"
            )
        )
    shown = page(spread.path, "annotators")
    assert [each.value for each in shown.markdown] == [
        "**Activation**", "**Valence**", "**Dominance**",
    ]  # fmt: skip
    assert "the dominance that single annotators rated" in shown.markdown[2].proto.help


def test_annotators_who_enrolled_have_a_table(page: Any, recorder: Any) -> None:
    for seed in (0, 1):
        recorder("full", spread=1.0, seed=seed, elsewhere=(*OTHERS,), enrol=5)
        recorder("lora", spread=2.0, seed=seed, elsewhere=(*OTHERS,))
    shown = page(recorder.path, "annotators")
    table = shown.dataframe[0]
    assert list(table.value) == [
        "Configuration", "Corpus", "Ratings", "Predicted by", "Activation", "Valence",
    ]  # fmt: skip
    assert len(table.value) == 2 * 4
    best = table.value.iloc[0]
    assert best["Configuration"] == "full"
    assert (best["Ratings"], best["Predicted by"]) == (5, "the nearest annotator")
    assert best["Valence"] == pytest.approx(0.495)
    columns = json.loads(table.proto.columns)
    assert all(columns[name]["help"] for name in table.value)
    shown.selectbox(key="tested_on").select("third").run()
    assert not shown.exception
    assert set(shown.dataframe[0].value["Corpus"]) == {"third"}


def test_who_enrolled_is_told_where_nobody_rated_enough(page: Any, recorder: Any) -> None:
    recorder("full", elsewhere=(*OTHERS,), enrol=5)
    shown = page(recorder.path, "annotators")
    assert [each.value for each in shown.header] == ["Annotators who enrolled"]
    assert len(shown.dataframe[0].value) == 2 * 4


def test_rows_without_annotators_have_no_such_section(page: Any, filled: Any) -> None:
    shown = page(filled.path, "annotators")
    assert not charts_of(shown)
    assert "No row here" in shown.info[0].value


def captions(shown: AppTest) -> str:
    return " ".join(element.value for element in shown.caption)


def charts_of(shown: AppTest) -> list[Any]:
    return list(shown.get("arrow_vega_lite_chart") or shown.get("vega_lite_chart"))
