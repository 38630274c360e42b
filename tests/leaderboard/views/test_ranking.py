"""The page of ranked rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from serbench.harness.metrics import METRICS
from serbench.harness.records import open_database
from serbench.leaderboard import tables
from serbench.leaderboard.views import ranking


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
    assert "Synthetic data: costs are real" in shown.warning[0].value
    assert {box.label for box in shown.selectbox} == {
        "Machine", "Corpus", "Backbone", "Ranked by", "Order by",
    }  # fmt: skip


def test_notes_that_stand_above_the_table_are_in_its_files(
    page: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[pd.DataFrame] = []
    monkeypatch.setattr(ranking, "_downloads", lambda frame, title: files.append(frame))
    recorder("full", synthetic=True)
    recorder("lora", synthetic=True, status="failed", message="too hot")
    shown = page(recorder.path)
    assert "Synthetic data" in shown.warning[0].value
    notes = shown.dataframe[0].value["Notes"].tolist()
    assert not any("synthetic" in note for note in notes)
    assert "1 failed" in notes[1]
    assert files[-1]["Notes"].tolist() == [f"synthetic data; {note}" for note in notes]


def test_a_column_of_notes_that_all_stand_above_is_left_out(row: Any) -> None:
    rows = [row(synthetic=True), row(synthetic=True, label="lora", name="lora", run_ids=(2,))]
    frame = tables.best_first(tables.table(rows), "Rank")
    assert "Notes" in frame
    assert "Notes" not in ranking._beneath_banners(frame, rows, rows)
    # Other rows are not synthetic, and have no note.
    mixed = [*rows, row()]
    assert ranking._beneath_banners(frame, mixed, rows).equals(frame)
    assert ranking._beneath_banners(frame[["Rank"]], rows, rows).columns.tolist() == ["Rank"]


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


def test_filters_keep_the_ranks_of_the_whole_comparison(page: Any, filled: Any) -> None:
    shown = page(filled.path)
    assert [box.label for box in shown.sidebar.multiselect] == ["Strategy", "Caching"]
    shown.multiselect(key="ranking_strategy").select("top-layers").run()
    shown.multiselect(key="ranking_caching").select("cached").run()
    assert not shown.exception
    frame = shown.dataframe[0].value
    assert frame["Configuration"].tolist() == ["top-layers+cache"]
    assert frame["Rank"].tolist() == [3]
    assert "1 of the 5 rows" in legend(shown)


def test_filters_that_no_row_meets(page: Any, filled: Any) -> None:
    shown = page(filled.path)
    shown.multiselect(key="ranking_strategy").select("full").run()
    shown.multiselect(key="ranking_caching").select("cached").run()
    assert not shown.exception
    assert not shown.dataframe
    assert "No row has all" in shown.info[0].value


def test_a_filter_does_not_outlive_its_comparison(page: Any, recorder: Any) -> None:
    recorder("full", backbone="tiny")
    recorder("lora", backbone="tiny")
    recorder("vera", backbone="large", backbone_hash="weights-2")
    recorder("ia3", backbone="large", backbone_hash="weights-2")
    shown = page(recorder.path)
    assert set(shown.dataframe[0].value["Configuration"]) == {"vera", "ia3"}
    shown.multiselect(key="ranking_strategy").select("vera").run()
    shown.selectbox(key="backbone").select("tiny").run()
    assert not shown.exception
    assert set(shown.dataframe[0].value["Configuration"]) == {"full", "lora"}


def test_columns_are_added_and_hidden(page: Any, filled: Any) -> None:
    shown = page(filled.path)
    usual = list(shown.dataframe[0].value)
    assert "CCC valence 95 %" in usual
    assert "Throughput (audio s/s)" not in usual
    shown.multiselect(key="ranking_add").select("Throughput (audio s/s)").run()
    shown.multiselect(key="ranking_hide").select("Notes").run()
    assert not shown.exception
    wanted = {*usual, "Throughput (audio s/s)"} - {"Notes"}
    assert {*shown.dataframe[0].value} == wanted


def test_a_column_orders_the_table(page: Any, filled: Any) -> None:
    shown = page(filled.path)
    shown.selectbox(key="ranking_order").select("Epoch (s)").run()
    assert not shown.exception
    names = shown.dataframe[0].value["Configuration"].tolist()
    assert names == ["top-layers+cache", "top-layers", "lora", "full", "greedy"]
    assert not [note for note in shown.info if "your own" in note.value]


def test_weights_make_an_order_that_is_said_to_be_no_rank(page: Any, filled: Any) -> None:
    shown = page(filled.path)
    assert "Own score" not in shown.dataframe[0].value
    shown.slider(key="ranking_weight_epoch_s").set_value(10).run()
    shown.slider(key="ranking_weight_score").set_value(1).run()
    assert not shown.exception
    assert "(CCC 1, Epoch 10); it is not a rank" in shown.info[0].value
    frame = shown.dataframe[0].value
    assert frame["Configuration"].tolist() == [
        "top-layers+cache", "top-layers", "lora", "full", "greedy",
    ]  # fmt: skip
    assert frame["Rank"].tolist()[:4] == [3, 3, 1, 1]
    assert frame["Own score"].tolist()[0] == pytest.approx(10 / 11, abs=0.01)
    assert "ranking_order" not in {box.key for box in shown.selectbox}
    whole = frame["Own score"].tolist()[1]
    shown.multiselect(key="ranking_caching").select("live").run()
    # What is filtered away is still best and worst.
    assert shown.dataframe[0].value["Own score"].tolist()[0] == whole


def test_validation_is_a_line_of_its_epochs(page: Any, filled: Any) -> None:
    frame = page(filled.path).dataframe[0].value
    assert list(frame["Validation CCC"][0]) == pytest.approx([0.0, 0.1, 0.2])
    assert frame["Validation CCC"].tolist()[-1] is None


@pytest.mark.parametrize(("scores", "axis"), [((0.5, 0.5), None), ((0.2, 0.5), 0.2)])
def test_lines_share_an_axis_unless_it_has_no_length(
    page: Any,
    filled: Any,
    monkeypatch: pytest.MonkeyPatch,
    scores: tuple[float, ...],
    axis: float | None,
) -> None:
    lines = [(1, epoch, "valence", score) for epoch, score in enumerate(scores)]
    frame = pd.DataFrame(lines, columns=["run_id", "epoch", "dimension", "ccc"])
    monkeypatch.setattr(ranking, "validation", lambda *_: frame)
    config = json.loads(page(filled.path).dataframe[0].proto.columns)["Validation CCC"]
    assert config["type_config"].get("y_min") == axis


def test_costs_alone_are_weighed_where_there_are_no_scores(page: Any, recorder: Any) -> None:
    recorder("full", cost_only=True, noise=None)
    shown = page(recorder.path)
    assert shown.slider
    assert "ranking_weight_score" not in {slider.key for slider in shown.slider}


def test_headings_explain_themselves(page: Any, filled: Any) -> None:
    columns = json.loads(page(filled.path).dataframe[0].proto.columns)
    assert columns["Epoch (s)"]["help"] == METRICS["epoch_s"].description
    assert columns["Validation CCC"]["type_config"]["type"] == "line_chart"
    assert all(column["help"] for name, column in columns.items() if name != "_index")


def test_a_chosen_row_leads_to_its_runs(page: Any, filled: Any) -> None:
    chosen = {"selection": {"rows": [1], "columns": [], "cells": []}}
    shown = page(filled.path)
    key = shown.dataframe[0].proto.id.rpartition("-")[2]
    assert not shown.get("page_link")
    shown.session_state[key] = chosen
    shown.run()
    assert not shown.exception
    assert shown.text[0].value == "lora"
    links = [link.proto for link in shown.get("page_link")]
    assert [(link.page, link.query_string) for link in links] == [
        ("run", "run=2"), ("run", "run=6"), ("run", "run=10"),
    ]  # fmt: skip


def test_the_address_chooses_a_row(page: Any, filled: Any) -> None:
    shown = page(filled.path, row="top-layers")
    assert shown.text[0].value == "top-layers"
    assert len(shown.get("page_link")) == 3
    # Wherever an order puts it.
    shown.selectbox(key="ranking_order").select("Epoch (s)").run()
    assert not shown.exception
    assert shown.text[0].value == "top-layers"
    shown.multiselect(key="ranking_strategy").select("full").run()
    assert not shown.text


def test_an_address_that_names_no_row_chooses_none(page: Any, filled: Any) -> None:
    assert not page(filled.path, row="<b>none</b>").text


def legend(shown: AppTest) -> str:
    return str(shown.caption[-1].value)
