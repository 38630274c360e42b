"""The page of one run."""

from __future__ import annotations

from typing import Any

import pytest

from serbench.harness import run_page
from serbench.harness.plan import CorpusRef, Elsewhere
from serbench.leaderboard import queries

EVIL = "<img src=x onerror=alert(1)>"


def _codes(shown: Any) -> str:
    return "\n".join(element.value for element in shown.code)


def _interpreted(shown: Any) -> str:
    """All that Streamlit takes for Markdown."""
    kinds = (shown.markdown, shown.caption, shown.error, shown.info, shown.warning, shown.subheader)
    return "\n".join(element.value for kind in kinds for element in kind)


def test_the_first_run_of_the_first_row_is_shown(page: Any, filled: Any) -> None:
    shown = page(filled.path, "run")
    boxes = {box.label: box for box in shown.selectbox}
    assert boxes["Configuration"].options[0] == "full"
    assert boxes["Configuration"].value == 0
    assert shown.text[0].value == "Run 1: full, seed 0"
    assert {each.value for each in shown.subheader} == {
        "Learning", "Time", "Memory", "Predictions", "Scores", "Provenance",
    }  # fmt: skip
    assert len(shown.get("vega_lite_chart")) == 2 + 2 + 2
    assert "160 utterances" in _interpreted(shown)
    assert "sample" not in _interpreted(shown)


def test_choosing_goes_into_the_address(page: Any, filled: Any) -> None:
    shown = page(filled.path, "run")
    shown.selectbox(key="run_configuration").select(1).run()
    assert not shown.exception
    assert shown.text[0].value == "Run 2: lora, seed 0"
    assert shown.query_params["run"] == "2"
    shown.selectbox(key="run_of_configuration").select(10).run()
    assert shown.text[0].value == "Run 10: lora, seed 2"
    assert shown.query_params["run"] == "10"


def test_the_address_names_a_run(page: Any, filled: Any) -> None:
    shown = page(filled.path, "run", run="7")
    assert shown.text[0].value == "Run 7: top-layers, seed 1"
    assert shown.selectbox(key="run_configuration").value == 2
    assert shown.selectbox(key="run_of_configuration").value == 7
    assert not shown.info


def test_the_address_names_a_run_of_another_comparison(page: Any, filled: Any) -> None:
    other = filled("vera", corpus_name="other", noise=None, cost_only=True)
    shown = page(filled.path, "run", run=str(other))
    assert shown.text[0].value == f"Run {other}: vera, seed 0"
    assert "none of the configurations" in shown.info[0].value
    assert shown.selectbox(key="run_configuration").value is None
    shown.selectbox(key="corpus").select("other").run()
    shown.selectbox(key="corpus").select("made-up").run()
    assert shown.text[0].value == "Run 1: full, seed 0"


@pytest.mark.parametrize("asked", ["999", "abc", "-1", "", "9" * 5000, EVIL])
def test_no_such_run(page: Any, filled: Any, asked: str) -> None:
    shown = page(filled.path, "run", run=asked)
    assert [each.value for each in shown.error] == ["The address names no run of this database."]
    assert asked in _codes(shown)
    assert not shown.subheader
    assert "<img" not in _interpreted(shown)
    shown.selectbox(key="run_configuration").select(1).run()
    assert shown.text[0].value == "Run 2: lora, seed 0"


def test_all_that_the_terminal_says_of_a_run(page: Any, filled: Any) -> None:
    run = queries.run(filled.engine, 4)
    told = _codes(page(filled.path, "run", run="4"))
    for its in run_page.facts(run, None).values():
        for name, text in its:
            assert text in told, name
    assert "break-even" in told
    assert "serbench run --rerun" in told


def test_notes_and_failures_stay_text(page: Any, recorder: Any) -> None:
    recorder(
        EVIL, status="failed", message=EVIL, traceback=f"Traceback {EVIL}", notes=(EVIL, "*two*"),
        command=f"serbench run '{EVIL}'", corpus_name=EVIL,
    )  # fmt: skip
    shown = page(recorder.path, "run", run="1")
    assert "did not end well" in _interpreted(shown)
    assert EVIL in shown.code[0].value
    assert {f"Note: {EVIL}", "Note: *two*"} <= {each.value for each in shown.text}
    assert f"Traceback {EVIL}" in _codes(shown)
    assert f"serbench run '{EVIL}'" in _codes(shown)
    assert "--rerun" not in _codes(shown)
    assert "<img" not in _interpreted(shown)
    assert not shown.get("vega_lite_chart")


def test_a_run_of_cost_only_has_no_predictions(page: Any, recorder: Any) -> None:
    recorder("full", noise=None, cost_only=True)
    shown = page(recorder.path, "run")
    assert "kept no predictions" in _interpreted(shown)
    assert "Scores" not in {each.value for each in shown.subheader}


def test_predictions_on_a_further_corpus(page: Any, recorder: Any) -> None:
    other = Elsewhere(
        ref=CorpusRef("other"), name="other", hash="h", synthetic=False, derived=False
    )
    recorder("full", elsewhere=(other,))
    recorder("lora", noise=0.1)
    shown = page(recorder.path, "run", run="1")
    before = shown.get("vega_lite_chart")[-1].proto
    assert "On the test split of made-up." in {each.value for each in shown.text}
    shown.selectbox(key="tested_on").select("other").run()
    assert not shown.exception
    assert shown.query_params["run"] == "1"
    assert "On the test split of other." in {each.value for each in shown.text}
    assert shown.get("vega_lite_chart")[-1].proto != before
    assert {*shown.dataframe[-1].value["Corpus"]} == {"made-up", "other"}
