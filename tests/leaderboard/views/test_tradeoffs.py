"""The page of one measure against another."""

from __future__ import annotations

from typing import Any

from streamlit.testing.v1 import AppTest


def charts(shown: AppTest) -> int:
    return len(shown.get("arrow_vega_lite_chart") or shown.get("vega_lite_chart"))


def table(shown: AppTest, column: str) -> Any:
    return next(each.value for each in shown.dataframe if column in each.value)


def test_axes_can_be_chosen(page: Any, filled: Any) -> None:
    shown = page(filled.path, "tradeoffs")
    assert "Epoch (s)" in table(shown, "Front")
    shown.selectbox(key="x").select("peak_vram_bytes").run()
    shown.selectbox(key="y").select("run_s").run()
    shown.selectbox(key="xscale").select("logarithmic").run()
    assert not shown.exception
    assert {"GPU memory (GiB)", "Whole run (s)"} < {*table(shown, "Front")}
    assert "on the GPU" in "".join(element.value for element in shown.caption)


def test_the_front_has_the_share_of_draws(page: Any, filled: Any) -> None:
    shares = table(page(filled.path, "tradeoffs"), "Front").set_index("Configuration")
    assert shares["Front"].to_dict()["top-layers+cache"] == "●"
    assert shares["Draws on the front"].to_dict()["top-layers+cache"] == 100
    assert 0 <= shares["Draws on the front"].min() < 100
    assert shares["Draws on the front"].is_monotonic_decreasing
    assert "greedy" not in shares.index


def test_rows_without_a_varied_setting_say_so(page: Any, filled: Any) -> None:
    shown = page(filled.path, "tradeoffs")
    assert "whole-number setting" in shown.info[0].value
    assert charts(shown) == 2


def test_a_setting_is_drawn_against_score_time_and_memory(page: Any, recorder: Any) -> None:
    for count in (1, 2, 3):
        recorder.spec(f"top-layers:layers={count}", noise=3.0 / count, epoch_s=10.0 * count)
    for rank in (4, 8):
        recorder.spec(f"lora:rank={rank}")
    shown = page(recorder.path, "tradeoffs")
    assert shown.selectbox(key="sweep").options == ["top-layers:layers", "lora:rank"]
    assert charts(shown) == 1 + 3 + 1
    shown.selectbox(key="sweep").select("lora:rank").run()
    assert not shown.exception
    assert charts(shown) == 1 + 3 + 1


def test_the_target_is_reached_or_not(page: Any, filled: Any) -> None:
    shown = page(filled.path, "tradeoffs")
    shown.number_input(key="target").set_value(0.05).run()
    reached = table(shown, "Seconds").set_index("Configuration")["Seconds"]
    # Valence is 0, 0.1, 0.2 after a cold epoch of five times a warm one's time, and one, and two.
    assert reached.to_dict() == {
        "full": "600.00",
        "lora": "360.00",
        "top-layers": "150.00",
        "top-layers+cache": "70.00",
    }
    shown.number_input(key="target").set_value(0.25).run()
    assert set(table(shown, "Seconds")["Seconds"]) == {"not reached"}
    shown.multiselect(key="curves").set_value([]).run()
    assert not shown.exception
    assert charts(shown) == 1


def test_cost_only_has_no_curves(page: Any, recorder: Any) -> None:
    recorder("full", cost_only=True, noise=None)
    # There are validation scores only where there is validation.
    shown = page(recorder.path, "tradeoffs")
    assert "validated" in shown.info[-1].value
    assert table(shown, "Front")["Configuration"].tolist() == ["full"]


def test_failures_alone_have_nothing_to_draw(page: Any, recorder: Any) -> None:
    recorder("full", status="failed")
    shown = page(recorder.path, "tradeoffs")
    assert charts(shown) == 0
    assert "No two measures" in shown.info[0].value


def test_names_are_not_interpreted(page: Any, recorder: Any) -> None:
    recorder("a*b_c`<img src=x>")
    shown = page(recorder.path, "tradeoffs")
    assert table(shown, "Front")["Configuration"].tolist() == ["a*b_c`<img src=x>"]
    assert not any("<img" in element.value for element in (*shown.markdown, *shown.caption))
