"""The page of ranked rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from serbench.harness.records import open_database


def test_empty_database(page: Any, tmp_path: Path) -> None:
    open_database(str(tmp_path / "runs.db"))
    shown = page(tmp_path / "runs.db")
    assert "no runs yet" in shown.info[0].value
    assert not shown.dataframe


def test_filled_database(page: Any, filled: Any) -> None:
    shown = page(filled.path)
    frame = shown.dataframe[0].value
    assert frame["Configuration"].tolist()[-1] == "greedy"
    assert frame["Rank"].tolist()[:4] == [1, 1, 3, 3]
    assert any("batch of 16 does not fit" in note for note in frame["Notes"])
    assert "Generated data" in shown.warning[0].value
    assert {box.label for box in shown.selectbox} == {
        "Machine", "Corpus", "Backbone", "Ranked by", "Order by",
    }  # fmt: skip


def test_rows_with_scores_come_before_rows_of_cost_and_new_ones_before_old(
    page: Any, recorder: Any
) -> None:
    recorder("full", corpus_name="old")
    recorder("full", corpus_name="new")
    recorder("full", corpus_name="cost", cost_only=True, noise=None)
    corpora = page(recorder.path).selectbox(key="corpus")
    assert corpora.options == ["new", "old", "cost"]
    assert corpora.value == "new"


def test_one_comparison_at_a_time(page: Any, recorder: Any) -> None:
    recorder("full", backbone="tiny")
    recorder("full", backbone="large", backbone_hash="weights-2")
    recorder("lora", backbone="large", backbone_hash="weights-2", init="weights")
    shown = page(recorder.path)
    assert len(shown.dataframe[0].value) == 1
    shown.selectbox(key="backbone").select("large").run()
    assert shown.dataframe[0].value["Configuration"].tolist() == ["lora"]
    settings = shown.selectbox(key="setting")
    assert len(settings.options) == 2
    settings.select_index(1).run()
    assert shown.dataframe[0].value["Configuration"].tolist() == ["full"]


def test_the_noise_floor_is_told_below_the_table(page: Any, recorder: Any) -> None:
    recorder("full", epoch_s=10.0)
    assert "twice" not in legend(page(recorder.path))
    recorder("full", epoch_s=11.0, repeat=1)
    assert "up to 10.0 % in an epoch's time" in legend(page(recorder.path))


def test_rows_can_be_ranked_by_any_score_that_one_has(page: Any, spread: Any) -> None:
    shown = page(spread.path)
    assert shown.dataframe[0].value["Configuration"].tolist() == ["full", "lora", "vera"]
    options = shown.selectbox(key="by").options
    assert {"CCC", "TVD", "JSD told", "annotators' CCC"} <= {*options}
    assert "TVD true" not in options
    shown.selectbox(key="by").select("tvd").run()
    assert not shown.exception
    frame = shown.dataframe[0].value
    assert frame["Configuration"].tolist() == ["lora", "full", "vera"]
    assert frame["Rank"].tolist()[:2] == [1, 2]
    assert list(frame)[list(frame).index("Front") + 1] == "TVD"
    assert "beats in TVD, time and memory" in legend(shown)


def test_nothing_on_the_page_is_there_by_accident(page: Any, filled: Any) -> None:
    assert len(page(filled.path).markdown) == 0


def test_only_failures(page: Any, recorder: Any) -> None:
    recorder("full", status="failed", message="<img src=x onerror=alert(1)>")
    shown = page(recorder.path)
    assert "No run of this comparison has ended well" in shown.error[0].value
    assert shown.dataframe[0].value["Configuration"].tolist() == ["full"]
    assert not any("<img" in element.value for element in (*shown.markdown, *shown.caption))


def legend(shown: AppTest) -> str:
    return str(shown.caption[-1].value)
