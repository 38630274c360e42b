"""The page of what did not end well."""

from __future__ import annotations

from typing import Any

import pytest

from serbench.harness.plan import Training
from serbench.leaderboard.views import failures

EVIL = "<img src=x onerror=alert(1)>"


def _interpreted(shown: Any) -> str:
    """All that Streamlit takes for Markdown."""
    kinds = (shown.markdown, shown.caption, shown.error, shown.info, shown.warning, shown.subheader)
    return "\n".join(element.value for kind in kinds for element in kind)


def test_nothing_failed(page: Any, recorder: Any) -> None:
    recorder("full")
    shown = page(recorder.path, "failures")
    assert "Nothing failed" in shown.success[0].value
    assert not shown.dataframe


def test_failures_of_all_comparisons(page: Any, filled: Any) -> None:
    filled("lora", status="failed", corpus_name="other", message="no such file", traceback="Trace")
    shown = page(filled.path, "failures")
    assert shown.dataframe[0].value["Configuration"].tolist() == ["lora", "greedy"]
    assert shown.selectbox(key="failed_run").options == [
        "14: lora, seed 0, failed", "13: greedy, seed 0, oom",
    ]  # fmt: skip
    assert [each.value for each in shown.code] == ["no such file", "Trace", "serbench run"]
    assert "What to do" in shown.subheader[0].value


def test_the_address_keeps_filters_and_the_run(page: Any, filled: Any) -> None:
    filled("lora", status="failed", corpus_name="other")
    filled("vera", status="failed", corpus_name="other")
    shown = page(filled.path, "failures", failed_status="failed", failed_strategy="lora")
    assert shown.dataframe[0].value["Configuration"].tolist() == ["lora"]
    shown.selectbox(key="failed_status").select("").run()
    shown.selectbox(key="failed_strategy").select("").run()
    shown.selectbox(key="failed_corpus").select("made-up").run()
    assert shown.dataframe[0].value["Configuration"].tolist() == ["greedy"]
    shown = page(filled.path, "failures", failed_run="14: lora, seed 0, failed")
    assert shown.selectbox(key="failed_run").value == 14
    shown = page(filled.path, "failures", failed_status="oom", failed_corpus="other")
    assert "has all of these together" in shown.info[0].value


def test_of_many_the_newest_are_shown_and_all_are_counted(
    page: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST", 2)
    for seed in range(3):
        recorder("full", status="failed", seed=seed)
    recorder("lora", status="oom")
    shown = page(recorder.path, "failures")
    assert shown.dataframe[0].value["Run"].tolist() == ["run?run=4", "run?run=3"]
    assert any("newest 2 of 4" in each.value for each in shown.caption)
    shown = page(recorder.path, "failures", failed_status="oom")
    assert shown.dataframe[0].value["Run"].tolist() == ["run?run=4"]
    assert not any("newest" in each.value for each in shown.caption)


def test_what_would_fit_is_of_the_data(page: Any, recorder: Any) -> None:
    recorder("full", training=Training(epochs=3, batch_size=4))
    recorder("full", status="oom", message="out of memory")
    shown = page(recorder.path, "failures")
    fitting = shown.dataframe[1].value
    assert fitting["Otherwise"].tolist() == ["batch size 4 instead of 16"]
    assert "--batch-size" not in _interpreted(shown)


def test_without_data_there_is_general_advice(page: Any, recorder: Any) -> None:
    recorder("full", status="oom")
    shown = page(recorder.path, "failures")
    assert len(shown.dataframe) == 1
    assert "--batch-size" in _interpreted(shown)
    assert shown.code[0].value == "oom"


def test_what_failures_say_stays_text(page: Any, recorder: Any) -> None:
    recorder(
        EVIL, status="failed", message=f"{EVIL} *two*", traceback=EVIL, machine=EVIL,
        command=f"serbench run '{EVIL}'", corpus_name=EVIL, backbone=EVIL,
    )  # fmt: skip
    shown = page(recorder.path, "failures")
    said = [each.value for each in shown.code]
    assert said == [f"{EVIL} *two*", EVIL, f"serbench run '{EVIL}'"]
    assert "<img" not in _interpreted(shown)
    assert "*two*" not in _interpreted(shown)
