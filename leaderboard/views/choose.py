"""The page that says which configuration to take within limits of the reader's choice."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from serbench.harness.metrics import METRICS
from serbench.leaderboard import recommendation
from serbench.leaderboard.configurations import Group
from serbench.leaderboard.fronts import description, value
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.recommendation import (
    LIMITED,
    Choice,
    Limits,
    Loosening,
    Recommendation,
    enough,
    limit_told,
    next_best,
    told,
)
from serbench.leaderboard.views.choices import Chosen

__all__ = ["page"]

GIGA = 1e9
MOST_STOPS = 100
"""Of a slider."""


class Box(NamedTuple):
    """Where a limit is typed."""

    label: str
    key: str
    """Its name in the address."""
    step: float


BOXES = {
    "memory_bytes": Box("Memory at most (GB)", "maxmemory", 0.1),
    "epoch_s": Box("An epoch at most (s)", "maxepoch", 1.0),
    "run_s": Box("The whole run at most (s)", "maxrun", 1.0),
    "disk_bytes": Box("Cache on disk at most (GB)", "maxdisk", 0.1),
    "ccc": Box("CCC at least", "minccc", 0.01),
}
"""By the names of `Limits`."""


def page(chosen: Chosen) -> None:
    """Draw it."""
    limits = chosen_limits(chosen.rows, chosen.group.memory)
    # Within limits it may be any of all, and not of a shortlist of the best.
    show_recommendation(recommended(chosen.key, limits, chosen.whole_group(), chosen))


def chosen_limits(rows: Sequence[Row], memory: str) -> Limits:
    """What the reader allows, to be typed or to be found with a slider; nothing is no limit."""
    measures = dict(zip(LIMITED, (memory, "epoch_s", "run_s", "cache_bytes", "ccc"), strict=True))
    columns = [column for _ in range(2) for column in st.columns(3)]
    given = {
        key: _limit(column, key, measure, [_figure(row, measure) for row in rows])
        for (key, measure), column in zip(measures.items(), columns, strict=False)
    }
    return Limits(**given)


def _figure(row: Row, measure: str) -> float | None:
    if measure == "cache_bytes" and not row.cached:
        return 0.0
    return value(vars(row), measure)


def _limit(
    place: DeltaGenerator, key: str, measure: str, figures: Sequence[float | None]
) -> float | None:
    """One limit, in the unit of its measure."""
    box, unit = BOXES[key], GIGA if key.endswith("_bytes") else 1.0
    given: float | None = place.number_input(
        box.label,
        min_value=0.0,
        max_value=1.0 if key == "ccc" else None,
        value=None,
        step=box.step,
        format="%.3f" if key == "ccc" else "%.4g",
        placeholder="no limit",
        key=box.key,
        bind="query-params",
        help=METRICS[measure].description if measure in METRICS else description(measure),
    )
    stops = [stop / unit for stop in _stops(key, figures)]
    if len(stops) > 2:
        _slider(place, box, stops, given)
    return None if given is None else given * unit


def _stops(key: str, figures: Iterable[float | None]) -> list[float]:
    """Limits at which a row comes in, and that is all of them but for the endless one."""
    known = sorted({limit for each in figures if (limit := enough(key, each)) is not None})
    some = known[:: -(-len(known) // MOST_STOPS) or 1]
    return [-math.inf, *some] if key == "ccc" else [*some, math.inf]


def _slider(place: DeltaGenerator, box: Box, stops: Sequence[float], given: float | None) -> None:
    """Another way to give a limit: it stands where the box says, and tells it when it is moved."""
    key = f"{box.key}_slider"
    endless = next(stop for stop in stops if math.isinf(stop))
    nearest = min(stops, key=lambda stop: abs(stop - (given or 0.0)))
    st.session_state[key] = endless if given is None else nearest
    place.select_slider(
        box.label,
        stops,
        format_func=lambda stop: "no limit" if math.isinf(stop) else f"{stop:.4g}",
        key=key,
        label_visibility="collapsed",
        on_change=_take_over,
        args=(box.key, key),
    )


def _take_over(key: str, slider: str) -> None:
    stop = st.session_state[slider]
    st.session_state[key] = None if math.isinf(stop) else stop


def show_recommendation(found: Recommendation) -> None:
    """What to take, why, what is next, what the limits ruled out, and the command."""
    with st.container(border=True):
        if found.chosen is None:
            show_way_out(found)
        else:
            show_choice(found, found.chosen)
    if found.rulings:
        show_rulings(found)
    if found.command:
        st.caption(
            "To run it again in this setting; a corpus that lies in a folder is NAME=FOLDER there:"
        )
        st.code(found.command, language=None, wrap_lines=True)


def show_choice(found: Recommendation, chosen: Choice) -> None:
    """The configuration with its figures, and how it stands to the runner-up."""
    st.caption("Recommended")
    st.code(chosen.name, language=None, wrap_lines=True)
    st.text(found.reason)
    columns = st.columns(len(LIMITED))
    for key, column in zip(LIMITED, columns, strict=True):
        column.metric(_headed(key), told(key, getattr(chosen, key)))
    st.text(next_best(found))
    both = {"Recommended": chosen, "Next": found.runner_up}
    frame = pd.DataFrame(
        [
            {"": title, "Configuration": each.name}
            | {_headed(key): told(key, getattr(each, key)) for key in LIMITED}
            for title, each in both.items()
            if each is not None
        ]
    )
    st.dataframe(frame, hide_index=True, key="choices")


def _headed(key: str) -> str:
    words = LIMITED[key]
    return words[0].upper() + words[1:]


def show_way_out(found: Recommendation) -> None:
    """What stands in the way where nothing fits, and how far it would have to give way."""
    st.text(found.reason)
    if found.nearest is None:
        return
    st.caption("Nearest to them")
    st.code(found.nearest, language=None, wrap_lines=True)
    for loosening in found.loosen:
        st.text(_way(loosening))


def _way(loosening: Loosening) -> str:
    key, limit = loosening.key, limit_told(loosening.key, loosening.limit)
    what = _headed(key)
    if loosening.to is None:
        return f"{what}: the limit ({limit}) must go, since it was not measured."
    by = abs(loosening.to - loosening.limit)
    return f"{what}: {limit_told(key, loosening.to)} instead of {limit}, {told(key, by)} away."


def show_rulings(found: Recommendation) -> None:
    """How many configurations each limit kept out."""
    frame = pd.DataFrame(
        [
            {
                "Limit": _headed(each.key),
                "Asked for": limit_told(each.key, each.limit),
                "Ruled out": each.ruled_out,
                "By it alone": each.alone,
                "Not measured": each.unknown,
            }
            for each in found.rulings
        ]
    )
    st.dataframe(frame, hide_index=True, key="rulings")
    st.caption(f"{found.fitting} of {found.candidates} configurations are within all limits.")


@st.cache_data(show_spinner="Choosing", max_entries=32)
def recommended(
    key: tuple[Hashable, ...], limits: Limits, _group: Group, _chosen: Chosen
) -> Recommendation:
    """What to take of a group; all but the last two key the cache."""
    by = _chosen.ranked_by
    best = recommendation.runs_of_best(_group, limits, by=by)
    return recommendation.of_group(_group, _chosen.parts(best), limits, by=by)
