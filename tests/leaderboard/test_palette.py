"""How charts tell names apart, and how much of a name they write."""

from __future__ import annotations

import re
from typing import Any

import altair as alt
import pandas as pd
import pytest

from serbench.leaderboard import palette, tradeoff_charts

SPEC = "top-layers:layers=3,pool=attention+bf16+cache"
HEAD = "@annotators:tasks=1+3,estimator=diffkde,schedule=interleaved,shared=false"


def names(count: int) -> list[str]:
    return [f"name-{place:02}" for place in range(count)]


def of(scale: alt.Scale) -> list[Any]:
    found: list[Any] = scale.to_dict()["range"]
    return found


def test_sixteen_names_have_sixteen_colours() -> None:
    assert len(set(of(palette.colours(names(16))))) == 16


def test_colours_that_are_alike_differ_in_their_fill() -> None:
    dots = [*zip(of(palette.colours(names(32))), of(palette.fills(names(32))), strict=True)]
    assert len(set(dots)) == 32
    assert {fill for _, fill in dots[:8]} == set(palette.COLOURS)
    assert {fill for _, fill in dots[8:16]} == {palette.HOLLOW}


def test_colours_that_are_alike_differ_in_their_dashes() -> None:
    shades, lines = of(palette.colours(names(24))), map(tuple, of(palette.dashes(names(24))))
    assert len({*zip(shades, lines, strict=True)}) == 24


def test_the_first_names_keep_their_colours_as_others_come() -> None:
    assert of(palette.colours(names(20)))[:3] == of(palette.colours(names(3)))


def test_a_legend_is_as_high_as_its_names() -> None:
    assert palette.legend_height([]) == 0
    assert palette.legend_height([SPEC + HEAD]) > palette.legend_height([SPEC]) > 0


def drawn(width: int, name: str) -> list[str]:
    """What a legend of one name says, line by line, in a chart of so many pixels."""
    convert = pytest.importorskip("vl_convert")
    each = pd.DataFrame(
        {"row": name, "run_id": 1, "epoch": [0, 1], "seconds": [1.0, 2.0], "ccc": 0.5}
    )
    chart = tradeoff_charts.learning(each, each, [name], 0.4).properties(width=width)
    svg = convert.vegalite_to_svg(chart.to_dict())
    (label,) = re.findall(r'role-legend-label".*?</g>', svg, re.DOTALL)
    return re.findall(r"<t(?:ext|span)[^>]*>([^<]+)</t", label)


def test_a_name_that_has_room_is_whole_and_its_head_has_a_line() -> None:
    assert drawn(500, SPEC) == [SPEC]
    assert drawn(500, SPEC + HEAD) == [SPEC, HEAD]


def test_a_name_without_room_loses_its_middle_and_keeps_its_ends() -> None:
    spec, head = drawn(260, SPEC + HEAD)
    assert len(spec) == len(head) < len(SPEC)
    for short, whole in ((spec, SPEC), (head, HEAD)):
        first, last = short.split("…")
        assert whole.startswith(first)
        assert whole.endswith(last)
        assert min(len(first), len(last)) > 10
