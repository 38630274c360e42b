"""How charts tell names apart and write them: colours, shapes, dashes, ink, and long names."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import Any, Literal

import altair as alt

__all__ = [
    "COLOURS",
    "HOLLOW",
    "INK",
    "LOOK",
    "MORE_COLOURS",
    "RULE",
    "colours",
    "dashes",
    "fills",
    "in_lines",
    "legend",
    "legend_height",
    "line_legend",
    "shortened",
]

COLOURS = ["#0068B0", "#D08000", "#009E73", "#C46EA8", "#B03A2E", "#4398D6", "#6F7A10", "#8C8C8C"]
"""Okabe and Ito's palette, which the colour-blind can tell apart, its light shades darkened until
each stands out (3:1) from a white background and from a dark one."""
MORE_COLOURS = [
    "#B83D7A", "#5CA300", "#7052CC", "#EB6666", "#5C6666", "#99663D", "#9970E0", "#7070AD",
]  # fmt: skip
"""Of such shades those eight that are furthest from each other in OKLab, also to those who see no
red or no green, and from the first, whose dots are full and theirs hollow."""
DASHES = ([1, 0], [6, 3], [2, 2])
"""Each of as many names as there are in `COLOURS`."""
HOLLOW = "transparent"
INK = "currentColor"
"""Of what is read: what the page's own text has in the theme that is shown."""
RULE = "#7A7A7A"
"""Of lines that are no data: they stand out from either background."""
LOOK: dict[str, Any] = {
    "axis": {"labelColor": INK, "titleColor": INK},
    "legend": {"labelColor": INK, "titleColor": INK},
    "title": {"color": INK},
}
"""What all charts are configured by, beyond Streamlit's theme, whose ink is too faint to read."""
LETTERS = "max(20, floor((width - 24) / 6))"
"""Of a line of a name: as many as have room beside a symbol."""
ENTRY, LINE = 24, 14
"""Pixels of a name in a legend, and of its second line."""


def colours(names: Sequence[str]) -> alt.Scale:
    """The colour of each name."""
    return alt.Scale(domain=list(names), range=_in_turn([*COLOURS, *MORE_COLOURS], len(names)))


def fills(names: Sequence[str]) -> alt.Scale:
    """What each name's dots are filled with: its colour, or nothing where colours are too alike."""
    first, more = len(COLOURS), len(MORE_COLOURS)
    full = [*COLOURS, *[HOLLOW] * more, *[HOLLOW] * first, *MORE_COLOURS]
    return alt.Scale(domain=list(names), range=_in_turn(full, len(names)))


def dashes(names: Sequence[str]) -> alt.Scale:
    """How each name's line is dashed, for the same reason."""
    each = [dash for dash in DASHES for _ in COLOURS]
    return alt.Scale(domain=list(names), range=_in_turn(each, len(names)))


def _in_turn(values: Sequence[Any], count: int) -> list[Any]:
    return list(itertools.islice(itertools.cycle(values), count))


def legend(orient: Literal["top", "bottom"], **other: Any) -> alt.Legend:
    """A legend that has room for the names of rows, but for what is said to be other."""
    usual = {
        "columns": 1,
        "labelExpr": in_lines("datum.label"),
        "labelFontSize": 12,
        "labelLimit": 0,
        "rowPadding": 4,
        "symbolOpacity": 1,
        "symbolSize": 100,
        "symbolStrokeWidth": 2,
    }
    return alt.Legend(orient=orient, **{**usual, **other})


def line_legend(orient: Literal["top", "bottom"]) -> alt.Legend:
    """The same of lines, which may be dashed."""
    return legend(orient, symbolSize=250, symbolType="stroke")


def legend_height(names: Collection[str]) -> int:
    """Pixels that a `legend` of these takes."""
    return sum(ENTRY + LINE * ("@" in name) for name in names)


def in_lines(text: str, letters: str | int = LETTERS, *, at_bottom: bool = False) -> str:
    """The name that a Vega expression has, as one that breaks it before its head.

    Args:
        text: the expression
        letters: that have room on a line
        at_bottom: whether a name of one line stands where others have their second
    """
    at, whole = f"indexof({text}, '@')", shortened(text, letters)
    parts = f"slice({text}, 0, {at})", f"slice({text}, {at})"
    spec, head = (shortened(part, letters) for part in parts)
    one = f"['', {whole}]" if at_bottom else whole
    return f"{at} < 0 ? {one} : [{spec}, {head}]"


def shortened(text: str, letters: str | int) -> str:
    """The text that a Vega expression has, as one that leaves out the middle of long ones."""
    end = f"floor({letters} / 2)"
    short = f"slice({text}, 0, {letters} - {end} - 1) + '…' + slice({text}, -{end})"
    return f"(length({text}) > {letters} ? {short} : {text})"
