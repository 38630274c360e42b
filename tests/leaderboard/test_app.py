from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import serbench.leaderboard
from serbench.harness.records import open_database
from serbench.leaderboard import comparison, queries

APP = Path(next(iter(serbench.leaderboard.__path__))) / "app.py"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(path: Path) -> AppTest:
        monkeypatch.setenv("SERBENCH_DB", str(path))
        page = AppTest.from_file(str(APP), default_timeout=60).run()
        assert not page.exception
        assert page.title[0].value == "Finetuning strategies for speech emotion recognition"
        return page

    return run


def test_missing_database(page: Any, tmp_path: Path) -> None:
    shown = page(tmp_path / "none.db")
    assert "cannot be read" in shown.error[0].value
    assert "none.db" in shown.code[0].value
    assert not shown.dataframe


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
        "Machine", "Corpus", "Backbone", "Cost", "Gain", "A", "B",
    }  # fmt: skip
    assert len(shown.get("arrow_vega_lite_chart") or shown.get("vega_lite_chart")) == 1


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
    assert shown.dataframe[0].value["Configuration"].tolist() == ["full"]
    settings = shown.selectbox(key="setting")
    assert len(settings.options) == 2
    settings.select_index(1).run()
    assert shown.dataframe[0].value["Configuration"].tolist() == ["lora"]


def test_axes_can_be_chosen(page: Any, filled: Any) -> None:
    shown = page(filled.path)
    shown.selectbox(key="x").select("peak_vram_bytes").run()
    assert not shown.exception
    assert "GPU" in shown.caption[-1].value


def test_two_rows_are_compared_as_in_the_terminal(page: Any, filled: Any) -> None:
    shown = page(filled.path)
    assert shown.subheader[0].value == "Compare two rows"
    assert shown.selectbox(key="a").options == ["full", "lora", "top-layers", "top-layers+cache"]
    assert shown.selectbox(key="b").options == ["lora", "top-layers", "top-layers+cache"]
    shown.selectbox(key="b").select_index(1).run()
    assert not shown.exception
    engine = queries.open_for_reading(str(filled.path))
    runs = queries.configurations(engine)
    a, b = ([run["id"] for run in runs if run["label"] == name] for name in ("full", "top-layers"))
    told = comparison.compare(runs, queries.evidence(engine, (*a, *b)), a, b)
    ccc, costs = (element.value for element in shown.dataframe[1:3])
    assert ccc["A - B"].tolist() == [each.difference for each in told.ccc]
    assert ccc["Better"].tolist() == ["A", "A", "A"]
    assert costs["A / B"].tolist() == [cost.ratio for cost in told.costs]
    assert shown.caption[1].value == " ".join(told.notes)


def test_the_boxes_tell_the_caches_types_apart(page: Any, recorder: Any) -> None:
    recorder("lora", cached=True)
    recorder("lora", cached=True, cache_dtype="float16")
    names = {"lora+cache", "lora+cache (float16)"}
    assert {*page(recorder.path).selectbox(key="a").options} == names


def test_a_single_row_is_compared_with_none(page: Any, recorder: Any) -> None:
    recorder("full")
    recorder("lora", status="failed")
    shown = page(recorder.path)
    assert not shown.subheader
    assert {box.label for box in shown.selectbox} >= {"Machine", "Cost"}
    assert not {box.label for box in shown.selectbox} & {"A", "B"}


def test_the_noise_floor_is_told_below_the_table(page: Any, recorder: Any) -> None:
    recorder("full", epoch_s=10.0)
    assert "twice" not in page(recorder.path).caption[0].value
    recorder("full", epoch_s=11.0, repeat=1)
    assert "up to 10.0 % in an epoch's time" in page(recorder.path).caption[0].value


def test_only_failures(page: Any, recorder: Any) -> None:
    recorder("full", status="failed", message="<img src=x onerror=alert(1)>")
    shown = page(recorder.path)
    assert "No run of this comparison has ended well" in shown.error[0].value
    assert shown.dataframe[0].value["Configuration"].tolist() == ["full"]
    assert not any("<img" in element.value for element in (*shown.markdown, *shown.caption))


def test_db_on_the_command_line_wins(
    page: Any, filled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["app.py", "--db", str(filled.path)])
    assert page(tmp_path / "none.db").dataframe
