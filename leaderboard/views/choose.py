"""The page that says which configuration to take within limits of the reader's choice."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from serbench.harness.metrics import METRICS
from serbench.leaderboard import recommendation
from serbench.leaderboard.fronts import description
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.recommendation import (
    LIMITED,
    Choice,
    Limits,
    Loosening,
    Recommendation,
    limit_told,
    next_best,
    told,
)
from serbench.leaderboard.views.choices import Chosen
from serbench.leaderboard.views.reading import Version

__all__ = ["page"]

GIGA = 1e9


def page(chosen: Chosen) -> None:
    """Draw it."""
    limits = chosen_limits(chosen.rows)
    given = chosen.path, chosen.version, chosen.group.name, chosen.ranked_by
    show_recommendation(recommended(*given, limits, chosen))


def chosen_limits(rows: Sequence[Row]) -> Limits:
    """What the reader allows, a box each; an empty one limits nothing."""
    left, middle, right = st.columns(3)
    memory = "peak_host_anonymous_bytes"
    if any(row.peak_vram_bytes is not None for row in rows):
        memory = "peak_vram_bytes"
    memory_gb = _limit(left, "Memory at most (GB)", memory, "maxmemory", 0.1)
    epoch_s = _limit(middle, "An epoch at most (s)", "epoch_s", "maxepoch", 1.0)
    run_s = _limit(right, "The whole run at most (s)", "run_s", "maxrun", 1.0)
    left, middle, _ = st.columns(3)
    disk_gb = _limit(left, "Cache on disk at most (GB)", "cache_bytes", "maxdisk", 0.1)
    ccc = _limit(middle, "CCC at least", "ccc", "minccc", 0.01)
    return Limits(
        memory_bytes=None if memory_gb is None else memory_gb * GIGA,
        epoch_s=epoch_s,
        run_s=run_s,
        disk_bytes=None if disk_gb is None else disk_gb * GIGA,
        ccc=ccc,
    )


def _limit(place: DeltaGenerator, label: str, measure: str, key: str, step: float) -> float | None:
    return place.number_input(
        label,
        min_value=0.0,
        max_value=1.0 if measure == "ccc" else None,
        value=None,
        step=step,
        format="%.3f" if measure == "ccc" else "%.4g",
        placeholder="no limit",
        key=key,
        bind="query-params",
        help=METRICS[measure].description if measure in METRICS else description(measure),
    )


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


@st.cache_data(show_spinner="Choosing", ttl=60, max_entries=32)
def recommended(
    path: str, version: Version, group: str, by: str, limits: Limits, _chosen: Chosen
) -> Recommendation:
    """What to take of a group; all but the last key the cache."""
    best = recommendation.runs_of_best(_chosen.group, limits, by=by)
    return recommendation.of_group(_chosen.group, _chosen.parts(best), limits, by=by)
