"""The page that says which configuration to take."""

from __future__ import annotations

import math
from typing import Any

from streamlit.testing.v1 import AppTest


def texts(shown: AppTest) -> str:
    return "\n".join(element.value for element in shown.text)


def codes(shown: AppTest) -> list[str]:
    return [element.value for element in shown.code]


def test_something_is_recommended_and_why(page: Any, filled: Any) -> None:
    shown = page(filled.path, "choose")
    name, command = codes(shown)
    assert name == "lora"
    assert command.startswith("serbench run lora --backbone tiny")
    assert "cannot be told apart" in texts(shown)
    assert "Next is full" in texts(shown)
    (choices,) = (element.value for element in shown.dataframe)
    assert choices["Configuration"].tolist() == ["lora", "full"]
    assert choices["CCC"].notna().all()


def test_limits_rule_out(page: Any, filled: Any) -> None:
    shown = page(filled.path, "choose")
    shown.number_input(key="maxepoch").set_value(30.0).run()
    shown.number_input(key="maxdisk").set_value(0.0).run()
    assert not shown.exception
    assert codes(shown)[0] == "top-layers"
    rulings = shown.dataframe[-1].value
    assert rulings["Ruled out"].tolist() == [2, 1]
    assert rulings["Asked for"].tolist() == ["at most 30 s", "none"]
    assert "1 of 4 configurations" in "".join(element.value for element in shown.caption)


def test_a_slider_gives_the_limits_at_which_rows_come_in(page: Any, filled: Any) -> None:
    shown = page(filled.path, "choose")
    slider = shown.select_slider(key="maxepoch_slider")
    assert slider.options == ["5", "25", "60", "100", "no limit"]
    assert slider.value == math.inf
    slider.set_value(25.0).run()
    assert not shown.exception
    assert shown.number_input(key="maxepoch").value == 25.0
    assert shown.dataframe[-1].value["Asked for"].tolist() == ["at most 25 s"]
    shown.number_input(key="maxepoch").set_value(70.0).run()
    assert shown.select_slider(key="maxepoch_slider").value == 60.0
    shown.select_slider(key="maxepoch_slider").set_value(math.inf).run()
    assert shown.number_input(key="maxepoch").value is None
    scores = shown.select_slider(key="minccc_slider")
    assert scores.options[0] == "no limit"
    scores.set_value(float(scores.options[-1])).run()
    assert shown.number_input(key="minccc").value == float(scores.options[-1])
    assert "2 of 4 configurations" in "".join(element.value for element in shown.caption)


def test_a_slider_that_nothing_depends_on_is_left_out(page: Any, recorder: Any) -> None:
    recorder("full")
    assert not page(recorder.path, "choose").select_slider


def test_where_nothing_fits_the_way_out_is_told(page: Any, filled: Any) -> None:
    shown = page(filled.path, "choose")
    shown.number_input(key="maxmemory").set_value(2.0).run()
    assert not shown.exception
    assert "None of the 4 configurations" in texts(shown)
    assert "Memory: at most 2.15 GB instead of at most 2 GB, 150 MB away." in texts(shown)
    assert len(codes(shown)) == 1


def test_the_best_is_by_what_rows_are_ranked_by(page: Any, spread: Any) -> None:
    shown = page(spread.path, "choose")
    assert codes(shown)[0] == "full"
    shown.selectbox(key="by").select("tvd").run()
    assert not shown.exception
    assert codes(shown)[0] == "lora"


def test_failures_alone_recommend_nothing(page: Any, recorder: Any) -> None:
    recorder("full", status="failed")
    shown = page(recorder.path, "choose")
    assert "No run here ended well" in texts(shown)
    assert not shown.code


def test_a_single_row_has_no_next(page: Any, recorder: Any) -> None:
    recorder("a*b_c`<img src=x>")
    shown = page(recorder.path, "choose")
    assert codes(shown)[0] == "a*b_c`<img src=x>"
    assert "only configuration here" in texts(shown)
    assert not any("<img" in element.value for element in (*shown.markdown, *shown.caption))
