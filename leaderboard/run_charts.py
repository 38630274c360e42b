"""What one run looks like: how it learnt, where its time and memory went, what it predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

import altair as alt
import pandas as pd

from serbench.harness.metrics import DIMENSIONS, METRICS, size, stored
from serbench.harness.results import PhaseName
from serbench.leaderboard.palette import COLOURS, LOOK, RULE

__all__ = [
    "MOST_POINTS",
    "learning",
    "losses",
    "memory",
    "memory_bar",
    "peak_key",
    "phase_bar",
    "phase_table",
    "phases",
    "points",
    "scatter",
    "scores",
    "validations",
]

Run = Mapping[str, Any]
"""As `queries.run` gives it."""

MOST_POINTS = 2000
"""Utterances of a scatter: more are slow to draw, and lie on each other."""
PARTS = ("weight_bytes", "gradient_bytes", "optimizer_bytes", "saved_activation_bytes")
REST = "Rest"
BAR, LINE, COLUMNS = 44, 20, 3
"""Pixels of the height of a single bar, and of a line of its legend; names on such a line."""


def losses(run: Run) -> pd.DataFrame:
    """Training loss by epoch, from 0: frame with the columns epoch and loss."""
    lines = [(each["epoch"], each["loss"]) for each in run["epochs"] if each["loss"] is not None]
    frame: pd.DataFrame = pd.DataFrame(lines, columns=["epoch", "loss"])
    return frame


def validations(run: Run) -> pd.DataFrame:
    """Validation CCC by epoch, from 0: frame with the columns epoch, dimension and ccc."""
    lines = [
        (each["epoch"], dimension, value)
        for each in run["epochs"]
        for dimension, value in each["validation"].items()
        if value is not None
    ]
    frame: pd.DataFrame = pd.DataFrame(lines, columns=["epoch", "dimension", "ccc"])
    return frame


def learning(frame: pd.DataFrame, best_epoch: int | None) -> alt.LayerChart:
    """How a run learnt: its loss, or its validation CCC, by epoch.

    Args:
        frame: from `losses` or `validations`
        best_epoch: the epoch whose model was kept, which is marked
    """
    scored = "ccc" in frame
    key, title = ("ccc", "Validation CCC") if scored else ("loss", "Training loss")
    epoch = alt.X("epoch:Q", title="Epoch", axis=alt.Axis(tickMinStep=1, format="d"))
    tooltip = [alt.Tooltip("epoch:Q", title="Epoch")]
    line = alt.Chart(frame).mark_line(point=True)
    if scored:
        known = [name for name in DIMENSIONS if name in set(frame["dimension"])]
        colours = [COLOURS[DIMENSIONS.index(name)] for name in known]
        scale = alt.Scale(domain=known, range=colours)
        legend = alt.Legend(orient="top")
        line = line.encode(color=alt.Color("dimension:N", title=None, scale=scale, legend=legend))
        tooltip.append(alt.Tooltip("dimension:N", title="Dimension"))
    else:
        line = alt.Chart(frame).mark_line(point={"color": COLOURS[0]}, color=COLOURS[0])
    tooltip.append(alt.Tooltip(f"{key}:Q", title=title, format=".4f"))
    up = alt.Y(f"{key}:Q", title=title, scale=alt.Scale(zero=False))
    layers: list[Any] = [line.encode(x=epoch, y=up, tooltip=tooltip)]
    if best_epoch is not None:
        kept = pd.DataFrame({"epoch": [best_epoch]})
        rule = alt.Chart(kept).mark_rule(color=RULE, strokeDash=[4, 3])
        told = [alt.Tooltip("epoch:Q", title="Model kept of epoch")]
        layers.insert(0, rule.encode(x=epoch, tooltip=told))
    height = 290 if scored else 260
    return alt.LayerChart(layer=layers, width="container", height=height, config=LOOK)


def phases(run: Run) -> pd.DataFrame:
    """When each phase began and ended, were there nothing between them.

    Returns:
        frame with the columns phase, epoch, wall_s, start_s, end_s and shade, by which an epoch
        is told from the next
    """
    lines = [
        {
            "phase": _title(each["phase"]),
            "epoch": each["epoch"],
            "wall_s": each["wall_s"],
            "shade": 1.0 if each["epoch"] is None or each["epoch"] % 2 == 0 else 0.7,
        }
        for each in run["phases"]
    ]
    frame: pd.DataFrame = pd.DataFrame(lines, columns=["phase", "epoch", "wall_s", "shade"])
    ends = frame["wall_s"].astype(float).cumsum()
    whole: pd.DataFrame = frame.assign(start_s=ends - frame["wall_s"], end_s=ends)
    return whole


def phase_bar(frame: pd.DataFrame) -> alt.Chart:
    """Where a run's time went: `phases` after each other, as one bar."""
    order = [_title(name) for name in get_args(PhaseName)]
    bar: alt.Chart = _bar(frame, "phase", order).encode(
        x=alt.X(
            "start_s:Q",
            title=None,
            scale=alt.Scale(nice=False),
            axis=alt.Axis(labelExpr="datum.label + ' s'", tickCount=5),
        ),
        x2="end_s:Q",
        opacity=alt.Opacity("shade:Q", scale=None),
        tooltip=[
            alt.Tooltip("phase:N", title="Phase"),
            alt.Tooltip("epoch:Q", title="Epoch"),
            alt.Tooltip("wall_s:Q", title="Seconds", format=".3f"),
        ],
    )
    return bar


def phase_table(run: Run) -> pd.DataFrame:
    """Everything that was stored of a run's phases, one a line; columns that all lack left out."""
    frame: pd.DataFrame = pd.DataFrame(run["phases"])
    known: pd.DataFrame = frame.dropna(axis="columns", how="all")
    return known


def _title(phase: str) -> str:
    return phase.replace("_", " ")


def peak_key(run: Run) -> str:
    """The measure that tells what a run needed where it computed."""
    on_gpu = run["peak_vram_bytes"] is not None
    return "peak_vram_bytes" if on_gpu else "peak_host_anonymous_bytes"


def memory(run: Run) -> pd.DataFrame:
    """What a run's memory was for: the parts that are known, and the rest up to its peak.

    The rest is left out if no part is known, or if the parts alone are more than the peak.

    Returns:
        frame with the columns part, bytes, told (the bytes for people), start and end
    """
    known = {METRICS[key].label: run[key] for key in PARTS if run[key] is not None}
    peak = run[peak_key(run)]
    if known and peak is not None and peak > sum(known.values()):
        known[REST] = peak - sum(known.values())
    frame: pd.DataFrame = pd.DataFrame(known.items(), columns=["part", "bytes"])
    ends = frame["bytes"].astype(float).cumsum()
    told = frame["bytes"].map(size)
    whole: pd.DataFrame = frame.assign(told=told, start=ends - frame["bytes"], end=ends)
    return whole


def memory_bar(frame: pd.DataFrame) -> alt.Chart:
    """What a run's memory was for: `memory`, as one bar."""
    order = [METRICS[key].label for key in PARTS]
    bar: alt.Chart = _bar(frame, "part", [*order, REST]).encode(
        x=alt.X(
            "start:Q",
            title=None,
            scale=alt.Scale(nice=False),
            axis=alt.Axis(labelExpr="format(datum.value, '~s') + 'B'", tickCount=5),
        ),
        x2="end:Q",
        tooltip=[alt.Tooltip("part:N", title="Part"), alt.Tooltip("told:N", title="Memory")],
    )
    return bar


def _bar(frame: pd.DataFrame, key: str, order: list[str]) -> alt.Chart:
    """One bar whose parts keep their colours, whichever of them there are."""
    there = [name for name in order if name in set(frame[key])]
    shades = [RULE if name == REST else COLOURS[order.index(name)] for name in there]
    colour = alt.Color(
        f"{key}:N",
        title=None,
        scale=alt.Scale(domain=there, range=shades),
        legend=alt.Legend(orient="top", columns=COLUMNS),
    )
    height = 110 + LINE * math.ceil(len(there) / COLUMNS)
    bar = alt.Chart(frame, width="container", height=height, config=LOOK).mark_bar(height=BAR)
    coloured: alt.Chart = bar.encode(color=colour)
    return coloured


def points(predictions: pd.DataFrame, dimension: str) -> tuple[pd.DataFrame, int]:
    """Pairs of a label and a prediction, at most `MOST_POINTS`, and how many there are in all.

    Args:
        predictions: from `queries.predictions`, of one run
        dimension: whose

    Returns:
        frame with the columns utterance, speaker, label, predicted; the same sample each time
    """
    names = ["utterance", "speaker", "label", "predicted"]
    every = predictions.loc[predictions["dimension"] == dimension, names].dropna()
    if len(every) <= MOST_POINTS:
        return every, len(every)
    return every.sample(MOST_POINTS, random_state=0), len(every)


def scatter(frame: pd.DataFrame) -> alt.LayerChart:
    """Predictions against labels: `points`, and the line on which they would be equal."""
    both = frame[["label", "predicted"]]
    ends = [float(both.min().min()), float(both.max().max())]
    scale = alt.Scale(domain=ends, nice=True, zero=False)
    diagonal = (
        alt.Chart(pd.DataFrame({"label": ends, "predicted": ends}))
        .mark_line(color=RULE, strokeDash=[4, 3])
        .encode(x="label:Q", y="predicted:Q")
    )
    dots = (
        alt.Chart(frame)
        .mark_circle(size=36, opacity=0.65, color=COLOURS[0])
        .encode(
            x=alt.X("label:Q", title="Label", scale=scale),
            y=alt.Y("predicted:Q", title="Prediction", scale=scale),
            tooltip=[
                alt.Tooltip("utterance:N", title="Utterance"),
                alt.Tooltip("speaker:N", title="Speaker"),
                alt.Tooltip("label:Q", title="Label", format=".3f"),
                alt.Tooltip("predicted:Q", title="Prediction", format=".3f"),
            ],
        )
    )
    return alt.LayerChart(layer=[diagonal, dots], width="container", height=300, config=LOOK)


def scores(run: Run) -> pd.DataFrame:
    """The final scores of a run, one a line, with their 95 % intervals and what they mean."""
    lines = []
    for each in run["scores"]:
        if each["epoch"] is not None:
            continue
        label, meaning = stored(each["metric"], each["dimension"])
        lines.append(
            {
                "Corpus": each["corpus"],
                "Split": each["split"],
                "Score": label,
                "Value": each["value"],
                "95 % from": each["low"],
                "95 % to": each["high"],
                "Meaning": meaning,
            }
        )
    frame: pd.DataFrame = pd.DataFrame(lines)
    return frame
