"""The page of one measure against another, of a setting's effect, and of time to a target."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from serbench.harness.metrics import RANKINGS, SCORED
from serbench.leaderboard import (
    fronts,
    learning,
    ranking,
    tradeoff_charts,
)
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.sweeps import Line, sweeps
from serbench.leaderboard.tradeoff_charts import SCALE_WORDS, Scale
from serbench.leaderboard.views.boxes import box
from serbench.leaderboard.views.choices import Chosen
from serbench.leaderboard.views.reading import epochs

__all__ = ["page"]

COSTS = (
    "epoch_s",
    "run_s",
    "peak_vram_bytes",
    "peak_host_anonymous_bytes",
    "saved_activation_bytes",
    "cache_bytes",
    "energy_j",
    "trainable_params",
)
GOODS = (*(name for name in RANKINGS if name not in SCORED), *SCORED, "audio_s_per_s")
FIRST_CURVES = 6
"""Rows whose curves are drawn until the reader chooses others."""


def page(chosen: Chosen) -> None:
    """Draw it."""
    show_front(chosen)
    show_sweeps(chosen)
    show_learning(chosen)


def show_front(chosen: Chosen) -> None:
    """Two measures of the reader's choice, their front, and how sure a place on it is."""
    rows = chosen.rows
    known = [key for key in fronts.MEASURES if _known(rows, key)]
    costs = [key for key in COSTS if key in known]
    goods = [key for key in GOODS if key in known]
    if len(known) < 2:
        st.info("No two measures of these rows are known.")
        return
    left, right = st.columns(2)
    x = _measure(left, "Across", costs, known, "x")
    y = _measure(right, "Up", [key for key in (*goods, *costs) if key != x], known, "y")
    left, right = st.columns(2)
    x_scale, y_scale = _scale(left, "Axis across", "xscale"), _scale(right, "Axis up", "yscale")
    standing = stood(chosen.key, x, y, chosen)
    points = tradeoff_charts.plotted(rows, standing, x, y)
    if points.empty:
        st.info("No row here has both of these.")
        return
    st.altair_chart(
        tradeoff_charts.pareto(points, x, y, x_scale=x_scale, y_scale=y_scale),
        alt=f"{fronts.title(y)} against {fronts.title(x)}: a dot a row, and the Pareto front",
    )
    st.caption(_sure(points))
    show_shares(points, x, y)
    st.caption(" ".join(dict.fromkeys(map(fronts.description, (x, y)))))


def _known(rows: Sequence[Row], measure: str) -> bool:
    return any(fronts.value(vars(row), measure) is not None for row in rows)


def _measure(
    place: DeltaGenerator,
    label: str,
    first: Sequence[str],
    known: Sequence[str],
    key: str,
) -> str:
    names = {each: fronts.title(each) for each in dict.fromkeys((*first, *known))}
    return box(label, names, key, place)


def _scale(place: DeltaGenerator, label: str, key: str) -> Scale:
    chosen = box(label, {word: word for word in SCALE_WORDS}, key, place)
    return next(word for word in SCALE_WORDS if word == chosen)


def _sure(points: pd.DataFrame) -> str:
    what = "Bars are 95 % intervals; the dashed line is the front, which no row beats in both. "
    if points["share"].isna().all():
        return what + "There are too few test speakers to tell how sure a place on it is."
    if points["share"].isna().any():
        what += f"Of the {points['share'].count()} rows nearest to it draws are told. "
    return what + (
        "The fainter a row, the fewer draws have it on the front: each is of test speakers and "
        "seeds, the same for all rows. In a draw, a score is that of its speakers and seeds, a "
        "time or energy the median over its seeds; memory, disk and counts stay as they are."
    )


def show_shares(points: pd.DataFrame, x: str, y: str) -> None:
    """The same as a table."""
    ordered = points.sort_values(["share", "front", "x"], ascending=[False, False, True])
    frame = pd.DataFrame(
        {
            "Configuration": ordered["name"],
            "Front": ordered["front"].map({True: "●", False: ""}),
            "Draws on the front": 100 * ordered["share"],
            fronts.title(x): ordered["x"],
            fronts.title(y): ordered["y"],
        }
    )
    percent = st.column_config.ProgressColumn(
        min_value=0,
        max_value=100,
        format="%.0f %%",
        help="Share of the bootstrap's draws in which no other row beats this one in both.",
    )
    figures = {
        fronts.title(key): st.column_config.NumberColumn(
            format="%.4g", help=fronts.description(key)
        )
        for key in (x, y)
    }
    st.dataframe(
        frame,
        hide_index=True,
        column_config={"Draws on the front": percent, **figures},
        placeholder="–",
        key="shares",
    )


def show_sweeps(chosen: Chosen) -> None:
    """What a setting does to score, time and memory."""
    st.subheader("What a setting does")
    rows = chosen.rows
    found = sweeps(rows)
    if not found:
        st.info("No rows here differ in one whole-number setting alone.")
        return
    names = {f"{strategy}:{setting}": (strategy, setting) for strategy, setting in found}
    name = box("Setting of a strategy", {name: name for name in names}, "sweep")
    lines, setting = found[names[name]], names[name][1]
    measures = [chosen.ranked_by, "epoch_s", chosen.group.memory]
    shown = [
        key for key in measures if _known([row for line in lines for _, row in line.rows], key)
    ]
    for measure, column in zip(shown, st.columns(len(shown) or 1), strict=False):
        show_sweep(column, lines, setting, measure, chosen)
    st.caption(
        "Rows of a line differ in this setting alone. Bars are 95 % intervals, of scores over "
        "speakers and seeds, of times over seeds."
    )


def show_sweep(
    place: DeltaGenerator,
    lines: Sequence[Line],
    setting: str,
    measure: str,
    chosen: Chosen,
) -> None:
    """One measure against it."""
    points = tradeoff_charts.swept(lines, figures(chosen.key, measure, chosen), measure)
    names = [line.name for line in lines]
    place.altair_chart(
        tradeoff_charts.sweep(points, setting, measure, names),
        alt=f"{fronts.title(measure)} against {setting}: a line a row",
    )


def show_learning(chosen: Chosen) -> None:
    """Validation CCC against seconds, and when each row reaches a target."""
    st.subheader("Time to a CCC")
    rows = chosen.rows[: ranking.BEST]
    if len(chosen.rows) > len(rows):
        st.caption(f"Of the first {len(rows)} of {len(chosen.rows):,} rows of the ranking.")
    run_ids = tuple(run_id for row in rows for run_id in row.run_ids)
    each = learning.curves(rows, epochs(chosen.path, chosen.version, run_ids))
    if each.empty:
        st.info("No run here was validated after its epochs.")
        return
    left, right = st.columns(2)
    usual = math.floor(100 * each.groupby("row")["ccc"].max().median()) / 100
    target = left.number_input(
        "Validation CCC to reach",
        min_value=-1.0,
        max_value=1.0,
        value=usual,
        step=0.01,
        format="%.3f",
        key="target",
        bind="query-params",
        help="Mean CCC of activation and valence on the validation split.",
    )
    x_scale = _scale(right, "Axis of seconds", "timescale")
    drawable = set(each["row"].unique())
    known = [row.name for row in rows if row.name in drawable]
    names = st.multiselect(
        "Curves of", known, default=known[:FIRST_CURVES], key="curves", bind="query-params"
    )
    if names:
        drawn = each[each["row"].isin(names)]
        means = learning.means(drawn)
        chart = tradeoff_charts.learning(drawn, means, names, target, x_scale=x_scale)
        st.altair_chart(chart, alt="Validation CCC against seconds: a line a row")
    show_reached(learning.reached(each, target))


def show_reached(reached: pd.DataFrame) -> None:
    """A line a row: when it has reached the target."""
    frame = pd.DataFrame(
        {
            "Configuration": reached["row"],
            "Seconds": [_or_not(value, "{:.2f}") for value in reached["seconds"]],
            "Epochs": [_or_not(value, "{:g}") for value in reached["epochs"]],
            "Runs that reach it": [
                f"{there} of {runs}"
                for there, runs in zip(reached["reached"], reached["runs"], strict=True)
            ],
            "Best": reached["best"],
            "Cache filling": reached["whole"].map({True: "", False: "not measured"}),
        }
    )
    if reached["whole"].all():
        frame = frame.drop(columns="Cache filling")
    st.dataframe(
        frame,
        hide_index=True,
        column_config={"Best": st.column_config.NumberColumn(format="%.3f")},
        key="reached",
    )
    st.caption(
        "Seconds of training and of filling the cache, without validation: median over runs, of "
        "which one that never gets there counts as endless. A run that found its cache filled is "
        "told with the row's usual filling; where no run of a row filled its cache, that is not in "
        "its seconds. Faint lines are single runs, the others median seconds and mean CCC."
    )


def _or_not(value: float, form: str) -> str:
    return "not reached" if math.isnan(value) else form.format(value)


@st.cache_data(show_spinner="Drawing speakers and seeds", max_entries=32)
def stood(key: tuple[Hashable, ...], x: str, y: str, _chosen: Chosen) -> pd.DataFrame:
    """Two measures of a group's rows; all but the last key the cache."""
    near = fronts.runs_near_front(_chosen.group, x, y)
    return fronts.standing(_chosen.group, _chosen.parts(near), x, y)


@st.cache_data(show_spinner="Drawing speakers and seeds", max_entries=32)
def figures(key: tuple[Hashable, ...], measure: str, _chosen: Chosen) -> pd.DataFrame:
    """A measure of a group's rows; all but the last key the cache."""
    best = ranking.runs_of_best(_chosen.group, _chosen.ranked_by)
    return fronts.measured(_chosen.group, _chosen.parts(best), measure)
