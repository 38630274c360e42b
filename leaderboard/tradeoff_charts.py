"""What trade-offs look like: frames of rows in, Altair charts out."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd

from serbench.leaderboard.fronts import higher_is_better, title
from serbench.leaderboard.palette import (
    INK,
    LOOK,
    RULE,
    colours,
    dashes,
    fills,
    legend,
    legend_height,
    line_legend,
    shortened,
)
from serbench.leaderboard.placing import AWAY, Point, Side, sides
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.sweeps import Line
from serbench.leaderboard.tables import SCALES, marks, said_of_all

__all__ = [
    "SCALE_WORDS",
    "Kind",
    "Scale",
    "kind",
    "learning",
    "named",
    "pareto",
    "plotted",
    "sweep",
    "swept",
]

Kind = Literal["linear", "log", "symlog"]
Scale = Literal["automatic", "linear", "logarithmic"]
SCALE_WORDS: tuple[Scale, ...] = ("automatic", "linear", "logarithmic")

LOG_RATIO = 20
"""An automatic axis whose largest value is so many times its smallest is logarithmic."""
FAINT = 0.25
"""Opacity of what is never on the front."""
HEIGHT, SMALL = 420, 265
"""Pixels of a chart but for its legend."""
STRATEGY, SHORT = 120, 26
"""Pixels of a strategy in the legend, of which two have room on any screen, and letters of a name
there and in the picture."""
AXES = ("x", "x_low", "x_high", "y", "y_low", "y_high")
PADDING = 30
"""Pixels from the ends of an axis to the least and the largest value."""
WIDTHS = (*range(150, 500, 50), *range(500, 1_000, 100), 1_000, 1_250, 1_500, 10_000)
"""Pixels of a picture without its axes, from each of which to the next names are placed alike."""
AROUND = 205
"""Pixels of a chart above and below that picture, but for the lines of its legend of strategies."""
BENT: dict[Kind, Callable[[pd.Series[float]], Any]] = {
    "linear": lambda values: values,
    "log": np.log,
    "symlog": lambda values: np.sign(values) * np.log1p(np.abs(values)),
}
"""How values lie along an axis, by its kind."""
TITLE_LETTER, TITLE_LINE = 7, 12
"""Pixels of a letter in a chart's title, and letters of its lines where it has no room on one."""


def plotted(rows: Sequence[Row], standing: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """What `pareto` draws, in the units that people read.

    Args:
        rows: of one group
        standing: from `fronts.standing`, of the same group and measures
        x: one of `fronts.MEASURES`
        y: likewise

    Returns:
        `standing` with the columns name, strategy, rank, features (cached or live), notes (but
        for those that the page says of all rows) and opacity
    """
    told = said_of_all(rows)
    known = pd.DataFrame(
        [
            {
                "name": row.name,
                "strategy": row.strategy,
                "rank": row.rank,
                "features": "cached" if row.cached else "live",
                "notes": marks(row, told),
            }
            for row in rows
            if row.run_ids
        ],
        columns=["name", "strategy", "rank", "features", "notes"],
        index=pd.Index([row.run_ids for row in rows if row.run_ids], tupleize_cols=False),
    )
    frame: pd.DataFrame = standing.join(known, how="inner")
    for axis, measure in (("x", x), ("y", y)):
        columns = [name for name in AXES if name[0] == axis]
        frame[columns] /= SCALES[measure][0] if measure in SCALES else 1.0
    # Rows that are not among the nearest to the front; or all of them, where nothing is told.
    untold = FAINT if frame["share"].notna().any() else 1.0
    frame["opacity"] = (FAINT + (1 - FAINT) * frame["share"]).fillna(untold)
    plain: pd.DataFrame = frame.reset_index(drop=True)
    return plain


def pareto(
    points: pd.DataFrame,
    x: str,
    y: str,
    *,
    x_scale: Scale = "automatic",
    y_scale: Scale = "automatic",
) -> alt.LayerChart:
    """Two measures of rows with 95 % intervals and the front; the surer to be on it, the darker.

    Args:
        points: from `plotted`
        x: one of `fronts.MEASURES`
        y: likewise
        x_scale: linear, logarithmic, or whatever suits the values
        y_scale: likewise
    """
    kinds = kind(_drawn(points, "x"), x_scale), kind(_drawn(points, "y"), y_scale)
    across = alt.X("x:Q", title=title(x), scale=_scale(kinds[0]))
    up = alt.Y("y:Q", title=title(y), scale=_scale(kinds[1]))
    strategies = sorted(set(points["strategy"]))
    colour = alt.Color(
        "strategy:N",
        title="Strategy",
        scale=colours(strategies),
        legend=legend(
            "bottom",
            columns=alt.ExprRef(f"max(2, floor(width / {STRATEGY}))"),
            labelExpr=shortened("datum.label", SHORT),
        ),
    )
    opacity = alt.Opacity("opacity:Q", scale=None, legend=None)
    base = alt.Chart(points).encode(x=across, y=up)
    on_front = base.transform_filter(alt.datum.front)
    line = on_front.mark_line(
        interpolate="step-before" if higher_is_better(x) else "step-after",
        color=RULE,
        strokeDash=[4, 3],
    )
    sure_up = points.dropna(subset=["y_low", "y_high"])
    sure_across = points.dropna(subset=["x_low", "x_high"])
    up_bars = alt.Chart(sure_up).mark_rule(strokeWidth=1.5)
    across_bars = alt.Chart(sure_across).mark_rule(strokeWidth=1.5)
    dots = base.mark_point(size=80).encode(
        color=colour,
        fill=alt.Fill("strategy:N", title="Strategy", scale=fills(strategies)),
        opacity=opacity,
        shape=alt.Shape(
            "features:N",
            title="Features",
            scale=alt.Scale(domain=["live", "cached"], range=["circle", "diamond"]),
            legend=alt.Legend(orient="top", symbolFillColor=RULE, symbolStrokeColor=RULE),
        ),
        tooltip=_told(points, x, y),
    )
    first, above = _better(x), _better(y)
    names = (
        alt.Chart(named(points, kinds, first=first, above=above))
        .transform_filter("datum.width <= width && width < datum.wider")
        .transform_calculate(short=shortened("datum.name", SHORT))
        .mark_text(
            align=alt.ExprRef("datum.side < 0 ? 'right' : 'left'"),
            dx=alt.ExprRef(f"{AWAY} * datum.side"),
            dy=-AWAY * above,
            color=INK,
        )
        .encode(x=across, y=up, text="short:N")
    )
    up_bars = up_bars.encode(
        x=across, y=alt.Y("y_low:Q", title=title(y)), y2="y_high:Q", color=colour, opacity=opacity
    )
    across_bars = across_bars.encode(
        x=alt.X("x_low:Q", title=title(x)), x2="x_high:Q", y=up, color=colour, opacity=opacity
    )
    # A layer without marks is a picture without words to a screen reader.
    bars = [
        layer for layer, sure in ((up_bars, sure_up), (across_bars, sure_across)) if not sure.empty
    ]
    return _layered([line, *bars, dots, names], _height(strategies))


def named(
    points: pd.DataFrame, kinds: tuple[Kind, Kind], *, first: Side, above: Side
) -> pd.DataFrame:
    """Names of the front that have room, by the width of the picture; the surest choose first.

    Args:
        points: from `plotted`
        kinds: of both axes
        first: the side of a point on which its name is if there is room on both
        above: whether names are above points, or below

    Returns:
        frame with the columns x, y, name, side, and the pixels of width from which, and below
        which, the name is there: width and wider
    """
    its = points[points["front"].astype(bool)]
    front = its.sort_values("share", ascending=False, kind="stable")
    letters = front["name"].str.len().clip(upper=SHORT)
    strategies = set(points["strategy"])
    found = []
    for width, wider in itertools.pairwise(WIDTHS):
        across = _along(points, "x", kinds[0], width)
        up = _along(points, "y", kinds[1], _height_of_picture(strategies, width))
        places = list(map(Point, across[front.index], up[front.index], letters))
        chosen = list(sides(places, width, first=first, above=above))
        found.append(front[["x", "y", "name"]].assign(side=chosen, width=width, wider=wider))
    every: pd.DataFrame = pd.concat(found, ignore_index=True).dropna(subset="side")
    return every


def _height(strategies: Collection[str]) -> int:
    """Pixels of a chart that has these in its legend, on the narrowest screen in two columns."""
    return HEIGHT + legend_height([*strategies][::2])


def _height_of_picture(strategies: Collection[str], width: int) -> int:
    """What its legend leaves of that, which has the more columns the wider the picture."""
    legend = legend_height([*strategies][:: max(2, width // STRATEGY)])
    return _height(strategies) - AROUND - legend


def _better(measure: str) -> Side:
    """Where a measure is better: there, beyond the front, is nothing that a name could hide."""
    return 1 if higher_is_better(measure) else -1


def _along(points: pd.DataFrame, axis: str, kind: Kind, pixels: int) -> pd.Series[float]:
    """How far along an axis of so many pixels each point is."""
    bent, ends = BENT[kind](points[axis]), BENT[kind](_drawn(points, axis))
    span = ends.max() - ends.min()
    share = (bent - ends.min()) / span if span > 0 else bent.map(lambda _: 0.5)
    along: pd.Series[float] = PADDING + share * (pixels - 2 * PADDING)
    return along


def _drawn(points: pd.DataFrame, axis: str) -> pd.Series[float]:
    """All values that an axis has to have."""
    each = [points[name] for name in AXES if name[0] == axis]
    every: pd.Series[float] = pd.concat(each).dropna()
    return every


def _told(points: pd.DataFrame, x: str, y: str) -> list[alt.Tooltip]:
    told = [
        alt.Tooltip("name:N", title="Configuration"),
        alt.Tooltip("rank:N", title="Rank"),
    ]
    for axis, measure in (("x", x), ("y", y)):
        told.append(alt.Tooltip(f"{axis}:Q", title=title(measure), format=".4~g"))
        if points[f"{axis}_low"].notna().any():
            told += [
                alt.Tooltip(f"{axis}_low:Q", title="95 % from", format=".4~g"),
                alt.Tooltip(f"{axis}_high:Q", title="95 % to", format=".4~g"),
            ]
    if points["share"].notna().any():
        told.append(alt.Tooltip("share:Q", title="On the front in", format=".0%"))
    if points["notes"].any():
        told.append(alt.Tooltip("notes:N", title="Notes"))
    return told


def swept(lines: Sequence[Line], measured: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A measure against the setting that the rows of each line differ in.

    Args:
        lines: from `sweeps.sweeps`
        measured: from `fronts.measured`
        measure: what that is of

    Returns:
        frame with the columns line, setting, value, low and high, in the unit that people read
    """
    divisor = SCALES[measure][0] if measure in SCALES else 1.0
    found = measured.to_dict("index")
    told = [
        {"line": line.name, "setting": setting}
        | {name: figure / divisor for name, figure in found[row.run_ids].items()}
        for line in lines
        for setting, row in line.rows
        if row.run_ids in found
    ]
    frame: pd.DataFrame = pd.DataFrame(told, columns=["line", "setting", "value", "low", "high"])
    return frame


def sweep(points: pd.DataFrame, setting: str, measure: str, names: Sequence[str]) -> alt.LayerChart:
    """A measure against a setting, a line for rows that are alike but for it.

    Args:
        points: from `swept`
        setting: its name
        measure: one of `fronts.MEASURES`
        names: of all lines, so that each has its colour in every chart
    """
    across = alt.X(
        "setting:Q",
        title=setting,
        axis=alt.Axis(format="d", tickMinStep=1),
        scale=alt.Scale(zero=False, nice=False, padding=20),
    )
    colour = alt.Color(
        "line:N",
        title=None,
        scale=colours(names),
        legend=line_legend("bottom"),
    )
    limits = alt.Scale(zero=False)
    told = [
        alt.Tooltip("line:N", title="Configuration"),
        alt.Tooltip("setting:Q", title=setting),
        alt.Tooltip("value:Q", title=title(measure), format=".4~g"),
        alt.Tooltip("low:Q", title="95 % from", format=".4~g"),
        alt.Tooltip("high:Q", title="95 % to", format=".4~g"),
    ]
    base = alt.Chart(points).encode(x=across, color=colour)
    dash = alt.StrokeDash("line:N", title=None, scale=dashes(names))
    up = alt.Y("value:Q", title=None, scale=limits, axis=alt.Axis(format=".3~g"))
    line = base.encode(y=up, strokeDash=dash, tooltip=told)
    sure = points.dropna(subset=["low", "high"])
    low = alt.Y("low:Q", title=None, scale=limits)
    bars = alt.Chart(sure).mark_rule().encode(x=across, color=colour, y=low, y2="high:Q")
    # As in `pareto`, no layer without marks.
    layers = [*([] if sure.empty else [bars]), line.mark_line(point=alt.OverlayMarkDef(size=60))]
    # An axis of so small a chart has no room for its title.
    above = alt.Title(_in_lines(title(measure)), anchor="start", frame="bounds")
    return _layered(layers, SMALL + legend_height(names), title=above)


def _in_lines(text: str) -> alt.ExprRef:
    """A title of one line where the chart is wide enough."""
    whole, lines = json.dumps(text), json.dumps(textwrap.wrap(text, TITLE_LINE))
    return alt.ExprRef(f"width < {TITLE_LETTER * len(text)} ? {lines} : {whole}")


def learning(
    each: pd.DataFrame,
    means: pd.DataFrame,
    names: Sequence[str],
    target: float,
    *,
    x_scale: Scale = "automatic",
) -> alt.LayerChart:
    """Validation CCC against seconds of training: a line a row, a faint one a run, and a target.

    Args:
        each: from `learning.curves`
        means: from `learning.means`
        names: of the rows, in the order of the legend
        target: a CCC
        x_scale: of the seconds
    """
    colour = alt.Color(
        "row:N", title=None, sort=list(names), scale=colours(names), legend=line_legend("bottom")
    )
    dash = alt.StrokeDash("row:N", title=None, sort=list(names), scale=dashes(names))
    encoded: dict[str, Any] = {
        "x": alt.X(
            "seconds:Q",
            title="Seconds of training and cache filling",
            scale=_scale(kind(means["seconds"], x_scale)),
        ),
        "y": alt.Y("ccc:Q", title="Validation CCC", scale=alt.Scale(zero=False)),
        "color": colour,
    }
    told = [
        alt.Tooltip("row:N", title="Configuration"),
        alt.Tooltip("epoch:Q", title="Epochs"),
        alt.Tooltip("seconds:Q", title="Seconds", format=".4~g"),
        alt.Tooltip("ccc:Q", title="Validation CCC", format=".3f"),
    ]
    faint = alt.Chart(_from_one(each)).mark_line(opacity=FAINT, strokeWidth=1)
    mean = alt.Chart(_from_one(means)).mark_line(point=alt.OverlayMarkDef(size=50))
    wanted = alt.Chart(pd.DataFrame({"target": [target]})).mark_rule(
        color=RULE, strokeDash=[4, 3], strokeWidth=1.5
    )
    # The legend is as faint as what is drawn first.
    layers = [
        mean.encode(**encoded, strokeDash=dash, tooltip=told),
        faint.encode(**encoded, detail="run_id:N"),
        wanted.encode(y="target:Q"),
    ]
    return _layered(layers, HEIGHT + legend_height(names))


def _layered(layers: list[Any], height: int, **other: Any) -> alt.LayerChart:
    return alt.LayerChart(layer=layers, width="container", height=height, config=LOOK, **other)


def _from_one(epochs: pd.DataFrame) -> pd.DataFrame:
    counted: pd.DataFrame = epochs.assign(epoch=epochs["epoch"] + 1)
    return counted


def kind(values: pd.Series[float], asked: Scale) -> Kind:
    """Of an axis for some values; if it is to be logarithmic, only nearly so where it meets 0."""
    positive = len(values) > 0 and values.min() > 0
    wide = positive and values.max() / values.min() >= LOG_RATIO
    if asked == "logarithmic" or (asked == "automatic" and wide):
        return "log" if positive else "symlog"
    return "linear"


def _scale(kind: Kind) -> alt.Scale:
    """An axis of that kind, from the least value to the largest."""
    return alt.Scale(type=kind, zero=False, nice=False, padding=PADDING)
