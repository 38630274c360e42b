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
        "Machine", "Corpus", "Backbone", "Ranked by", "Cost", "Gain", "A", "B",
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


@pytest.fixture
def spread(recorder: Any) -> Any:
    """Two rows with distributions, the better by CCC the worse by TVD, and one without."""
    for seed in (0, 1):
        recorder("full", noise=0.1, spread=2.0, seed=seed)
        recorder("lora", noise=1.0, spread=0.5, seed=seed)
        recorder("vera", noise=3.0, seed=seed)
    return recorder


def charts_of(shown: AppTest) -> list[Any]:
    return list(shown.get("arrow_vega_lite_chart") or shown.get("vega_lite_chart"))


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
    assert "beats in TVD, time and memory" in shown.caption[0].value


def test_distributions_lie_beside_each_other(page: Any, spread: Any) -> None:
    shown = page(spread.path)
    assert "Annotators" in [element.value for element in shown.subheader]
    # Two of annotators, three heat maps (nobody knows the true one), and the plot.
    assert len(charts_of(shown)) == 2 + 3 + 1
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
    shown = page(spread.path)
    shown.selectbox(key="seed").select(1).run()
    shown.selectbox(key="order").select("lowest TVD").run()
    assert not shown.exception
    of_seed = queries.spreads(queries.open_for_reading(str(spread.path)), [4]).utterances
    best = of_seed.sort_values("tvd").iloc[0]
    assert shown.selectbox(key="utterance").options[1].startswith(best["utterance"])
    shown.selectbox(key="order").select("name").run()
    assert shown.selectbox(key="utterance").options[1].startswith("u000 ")


def test_rows_without_annotators_have_no_such_section(page: Any, filled: Any) -> None:
    shown = page(filled.path)
    assert [element.value for element in shown.subheader] == ["Compare two rows"]
    assert len(charts_of(shown)) == 1


def test_comparisons_have_the_distances(page: Any, spread: Any) -> None:
    shown = page(spread.path)
    frame = shown.dataframe[1].value.set_index("Score")
    assert frame.loc["TVD", "Better"] == "B"
    assert frame.loc["CCC valence", "Better"] == "A"


def test_nothing_on_the_page_is_there_by_accident(page: Any, filled: Any) -> None:
    assert len(page(filled.path).markdown) == 0


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
