"""What the figures of compared rows look like: frames in, Altair charts out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import altair as alt
import pandas as pd

from serbench.leaderboard.palette import COLOURS, LOOK, RULE, legend, legend_height

__all__ = [
    "MOST_ROWS",
    "by_label",
    "by_speaker",
    "curves",
    "label_differences",
    "score_differences",
]

MOST_ROWS = len(COLOURS)
"""As many as are told apart by colours alone."""
LINE, SPACE = 16, 22
"""Pixels of a dot's height, and between those of one name and the next."""
AROUND, PLOT = 80, 300
"""Pixels of an axis with its title, and of what is drawn beside one that has no names."""


def score_differences(frame: pd.DataFrame, rows: Sequence[str]) -> alt.LayerChart:
    """Differences of scores with their 95 % intervals, and a line where there is none.

    Args:
        frame: from `contrasts.scores`, of scores of one unit
        rows: all names, the first of which the others are set against
    """
    names = list(dict.fromkeys(frame["Score"]))
    tooltip = [
        alt.Tooltip("Row:N"),
        alt.Tooltip("Score:N"),
        alt.Tooltip("Difference:Q", format="+.3f"),
        alt.Tooltip("low:Q", title="95 % from", format="+.3f"),
        alt.Tooltip("high:Q", title="95 % to", format="+.3f"),
        alt.Tooltip("Verdict:N"),
    ]
    encoded = _dotted("Score", "Row", names, rows)
    base = alt.Chart(frame.dropna(subset=["Difference"])).encode(**encoded, tooltip=tooltip)
    title = "Difference to the first row"
    layers = [
        _zero("x"),
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high:Q"),
        base.mark_point(filled=True, size=70, opacity=1).encode(
            x=alt.X("Difference:Q", title=title)
        ),
    ]
    return _layered(layers, _height(len(names), rows[1:]))


def by_speaker(
    frame: pd.DataFrame, speakers: Sequence[str], rows: Sequence[str], title: str
) -> alt.LayerChart:
    """A dot a speaker and row, with a line over single seeds.

    Args:
        frame: from `contrasts.error_by_speaker` or `contrasts.ccc_by_speaker`
        speakers: those that are drawn, the first on top
        rows: all names
        title: of the axis of differences
    """
    counts = dict(zip(frame["speaker"], frame["utterances"], strict=True))
    its = frame[frame["speaker"].isin(speakers)]
    its = its.assign(who=[f"{name} ({counts[name]})" for name in its["speaker"]])
    tooltip = [
        alt.Tooltip("row:N", title="Row"),
        alt.Tooltip("speaker:N", title="Speaker"),
        alt.Tooltip("utterances:Q", title="Utterances"),
        *_figures(first="First row", value="This row"),
        *_figures("+.3f", difference="Difference", lowest="Lowest seed", highest="Highest seed"),
    ]
    encoded = _dotted("who", "row", [f"{name} ({counts[name]})" for name in speakers], rows)
    base = alt.Chart(its).encode(**encoded, tooltip=tooltip)
    layers = [
        _zero("x"),
        base.mark_rule(opacity=0.6).encode(x=alt.X("lowest:Q", title=title), x2="highest:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=alt.X("difference:Q")),
    ]
    return _layered(layers, _height(len(speakers), rows[1:]))


def by_label(frame: pd.DataFrame, rows: Sequence[str], title: str) -> alt.LayerChart:
    """The error of each row by range of the label.

    Args:
        frame: from `contrasts.by_label`
        rows: all names
        title: of the axis of errors
    """
    base = alt.Chart(frame).encode(
        x=_ranges(frame),
        y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
        color=_colour("row", rows, rows),
        tooltip=[*_of_range(), *_figures(value="Error")],
    )
    return _layered(
        [base.mark_line(), base.mark_point(filled=True, size=60, opacity=1)],
        PLOT + legend_height(rows),
    )


def label_differences(frame: pd.DataFrame, rows: Sequence[str], title: str) -> alt.LayerChart:
    """How much larger the error of each row is than the first's, with 95 % intervals, likewise."""
    base = alt.Chart(frame.dropna(subset=["difference"])).encode(
        x=_ranges(frame),
        xOffset=alt.XOffset("row:N", sort=list(rows[1:])),
        color=_colour("row", rows[1:], rows),
        tooltip=[
            *_of_range(),
            *_figures("+.3f", difference="Difference", low="95 % from", high="95 % to"),
        ],
    )
    bounds = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2)
    layers = [
        _zero("y"),
        bounds.encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
        base.mark_point(filled=True, size=70, opacity=1).encode(y=alt.Y("difference:Q")),
    ]
    return _layered(layers, PLOT + legend_height(rows))


def curves(frame: pd.DataFrame, rows: Sequence[str]) -> alt.LayerChart:
    """The mean over seeds by epoch, in a band from the lowest seed to the highest.

    Args:
        frame: from `contrasts.curves`
        rows: all names
    """
    epochs = int(frame["epoch"].max())
    base = alt.Chart(frame).encode(
        x=alt.X(
            "epoch:Q",
            title="Epoch",
            axis=alt.Axis(format="d", tickMinStep=1, grid=False, tickCount=min(epochs, 10)),
            scale=alt.Scale(domain=[1, max(epochs, 2)], nice=False),
        ),
        color=_colour("row", rows, rows),
        tooltip=[
            alt.Tooltip("row:N", title="Row"),
            alt.Tooltip("epoch:Q", title="Epoch"),
            *_figures(mean="Mean", lowest="Lowest seed", highest="Highest seed"),
            alt.Tooltip("seeds:Q", title="Seeds"),
        ],
    )
    title = "CCC on the validation split"
    scale = alt.Scale(zero=False)
    layers = [
        base.mark_area(opacity=0.2).encode(
            y=alt.Y("lowest:Q", title=title, scale=scale), y2="highest:Q"
        ),
        base.mark_line(point=True).encode(y=alt.Y("mean:Q", title=title, scale=scale)),
    ]
    return _layered(layers, PLOT + legend_height(rows))


def _layered(layers: list[Any], height: int) -> alt.LayerChart:
    return alt.LayerChart(layer=layers, width="container", height=height, config=LOOK)


def _height(names: int, rows: Sequence[str]) -> int:
    return AROUND + legend_height(rows) + names * max(SPACE, LINE * len(rows))


def _zero(channel: Literal["x", "y"]) -> alt.Chart:
    line: alt.Chart = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(
        color=RULE, strokeDash=[4, 3]
    )
    encoded: alt.Chart = line.encode(**{channel: "zero:Q"})
    return encoded


def _dotted(names: str, row: str, order: Sequence[str], rows: Sequence[str]) -> dict[str, Any]:
    """Names one below the other, the rows of each beside its name."""
    return {
        "y": alt.Y(
            f"{names}:N",
            title=None,
            sort=list(order),
            axis=alt.Axis(labelLimit=180, labelOverlap=False),
        ),
        "yOffset": alt.YOffset(f"{row}:N", sort=list(rows[1:])),
        "color": _colour(row, rows[1:], rows),
    }


def _colour(field: str, shown: Sequence[str], rows: Sequence[str]) -> alt.Color:
    """Every row in the colour that it has in all charts."""
    colours = dict(zip(rows, COLOURS, strict=False))
    return alt.Color(
        f"{field}:N",
        title=None,
        scale=alt.Scale(domain=list(shown), range=[colours[name] for name in shown]),
        legend=legend("top"),
    )


def _ranges(frame: pd.DataFrame) -> alt.X:
    order = frame.drop_duplicates("range").sort_values("start")["range"].tolist()
    return alt.X("range:N", title="Label", sort=order, axis=alt.Axis(labelAngle=-30))


def _of_range() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("row:N", title="Row"),
        alt.Tooltip("range:N", title="Label"),
        alt.Tooltip("utterances:Q", title="Utterances"),
        alt.Tooltip("speakers:Q", title="Speakers"),
    ]


def _figures(number: str = ".3f", /, **titles: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:Q", title=title, format=number) for name, title in titles.items()]
