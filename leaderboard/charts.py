"""What annotators and distributions look like: frames in, Altair charts out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from serbench.leaderboard.palette import COLOURS, LOOK, colours, in_lines, legend
from serbench.leaderboard.spreads import WAYS

__all__ = ["heat_map", "persons", "raters"]

BOX, ROW, AROUND, ABOVE = 12, 72, 140, 38
"""Pixels of a box's height, of a row's with two of them and its name, of legend and axis, and from
the middle of a row's boxes up to the first line of its name."""
NAMED = 0.5
"""Share of a row's height that its name takes."""
MOST_DOTS = 200
"""Annotators a row of whom each is drawn; of more the quartiles say enough."""
SPREAD = ("mean", "lowest", "lower", "median", "upper", "highest")


def persons(
    each: pd.DataFrame, spread: pd.DataFrame, dimension: str, order: Sequence[str]
) -> alt.LayerChart:
    """How the CCC of single annotators is spread in each row: quartiles, and dots if not too many.

    Rows are at the same height in each dimension, also those that lack it.

    Args:
        each: from `spreads.persons`
        spread: from `spreads.quartiles`, of the same
        dimension: whose
        order: names of rows, first on top
    """
    ways = [way for way in WAYS.values() if way in set(spread["way"])]
    rows = [name for name in order if name in set(spread["row"])]
    each, spread = (frame[frame["dimension"] == dimension] for frame in (each, spread))
    # Names above their boxes, since beside them they would leave no room on a narrow screen.
    axis = alt.Axis(
        labelAlign="left",
        labelExpr=in_lines("datum.label", at_bottom=True),
        labelPadding=-4,
        labelOffset=-ABOVE,
        labelLimit=0,
        labelOverlap=False,
        ticks=False,
        domain=False,
    )
    bands = alt.Scale(domain=rows, paddingInner=NAMED, paddingOuter=NAMED)
    encoded: dict[str, Any] = {
        "y": alt.Y("row:N", title=None, axis=axis, scale=bands),
        "yOffset": alt.YOffset("way:N", scale=alt.Scale(domain=ways)),
        "color": alt.Color(
            "way:N",
            title=None,
            scale=colours(ways),
            legend=legend("top"),
        ),
    }
    told = [
        alt.Tooltip("row:N", title="Configuration"),
        alt.Tooltip("way:N", title="Predicted"),
        alt.Tooltip("annotators:Q", title="Annotators"),
        *(alt.Tooltip(f"{name}:Q", title=name.capitalize(), format=".3f") for name in SPREAD),
    ]
    base = alt.Chart(spread).encode(**encoded, tooltip=told)
    across = alt.X("lowest:Q", title="CCC of single annotators", scale=alt.Scale(zero=False))
    layers = [
        base.mark_rule().encode(x=across, x2="highest:Q"),
        base.mark_bar(size=BOX, opacity=0.35).encode(x="lower:Q", x2="upper:Q"),
        base.mark_tick(size=BOX, thickness=3).encode(x="median:Q"),
    ]
    if not spread.empty and spread["annotators"].max() <= MOST_DOTS:
        dots = alt.Chart(each).mark_circle(size=14, opacity=0.45)
        tooltip = [
            alt.Tooltip("annotator:N", title="Annotator"),
            alt.Tooltip("ccc:Q", title="CCC", format=".3f"),
        ]
        layers.append(dots.encode(**encoded, x="ccc:Q", tooltip=tooltip))
    height = AROUND + (len(rows) + NAMED) * ROW
    return alt.LayerChart(layer=layers, width="container", height=height, config=LOOK)


def raters(each: pd.DataFrame) -> alt.Chart:
    """How many utterances have how many raters.

    Args:
        each: from `spreads.agreement`
    """
    counts = each.groupby("raters", as_index=False).agg(utterances=("utterance", "size"))
    chart: alt.Chart = (
        alt.Chart(counts, width="container", height=220, config=LOOK)
        .mark_bar(color=COLOURS[0])
        .encode(
            x=alt.X("raters:O", title="Raters of an utterance", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("utterances:Q", title="Utterances", axis=alt.Axis(tickMinStep=1)),
            tooltip=[
                alt.Tooltip("raters:O", title="Raters"),
                alt.Tooltip("utterances:Q", title="Utterances"),
            ],
        )
    )
    return chart


def heat_map(cells: pd.DataFrame, most: float, title: str) -> alt.LayerChart:
    """A distribution over activation and valence, its masses as numbers.

    Args:
        cells: one of those from `spreads.cells`
        most: the mass that has the darkest colour, the same for all that are to be compared
        title: what is drawn above it
    """
    marks_at = [-1, -0.5, 0, 0.5, 1]
    axes: dict[str, Any] = {
        name: {
            "axis": alt.Axis(values=marks_at, grid=False, labelOverlap=False),
            "scale": alt.Scale(domain=[-1, 1]),
        }
        for name in ("activation", "valence")
    }
    base = alt.Chart(cells)
    squares = base.mark_rect().encode(
        x=alt.X("valence:Q", title="Valence", **axes["valence"]),
        x2="valence_to:Q",
        y=alt.Y("activation:Q", title="Activation", **axes["activation"]),
        y2="activation_to:Q",
        color=alt.Color("mass:Q", scale=alt.Scale(scheme="blues", domain=[0, most]), legend=None),
        tooltip=[
            alt.Tooltip("mass:Q", title="Mass", format=".4f"),
            alt.Tooltip("activation:Q", title="Activation from"),
            alt.Tooltip("activation_to:Q", title="to"),
            alt.Tooltip("valence:Q", title="Valence from"),
            alt.Tooltip("valence_to:Q", title="to"),
        ],
    )
    numbers = (
        base.transform_calculate(
            x="(datum.valence + datum.valence_to) / 2",
            y="(datum.activation + datum.activation_to) / 2",
        )
        .mark_text(fontSize=12)
        .encode(
            x="x:Q",
            y="y:Q",
            text=alt.Text("mass:Q", format=".2f"),
            color=alt.condition(
                alt.datum.mass > most / 2, alt.value("white"), alt.value("#222222")
            ),
        )
    )
    return alt.LayerChart(
        layer=[squares, numbers], width="container", height=300, title=title, config=LOOK
    )
