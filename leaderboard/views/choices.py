"""What a reader chooses on several pages; the address keeps it, so that a view can be shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from serbench.harness.metrics import RANKINGS
from serbench.leaderboard import tables
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.views.reading import current_sources, database, ranked, version

__all__ = ["chosen_rows", "show_warnings"]


def chosen_rows() -> list[Row]:
    """The rows of one group, ranked: what all pages are of, and the reader chooses beside them.

    Stops the page, with a word, where there are none.

    Raises:
        DatabaseError: the database cannot be read.
    """
    path = database()
    current, problem = current_sources()
    if problem:
        st.warning("Stale rows cannot be told, for a strategy does not load:")
        st.code(problem, language=None)
    rows = ranked(path, version(path), current, "ccc")
    if not rows:
        st.info("There are no runs yet. `serbench run` measures some.")
        st.stop()
    with st.sidebar:
        rows = _one_group(rows)
        by, group = _chosen_ranking(rows), rows[0].group
    return [row for row in ranked(path, version(path), current, by) if row.group == group]


def _one_group(rows: Sequence[Row]) -> list[Row]:
    """Let the reader choose a machine, a corpus, a backbone, and a setting if there are several."""
    for title, key in (("Machine", "machine"), ("Corpus", "corpus"), ("Backbone", "backbone")):
        names = {getattr(row, key): _written(row, key) for row in sorted(rows, key=_interest)}
        chosen = _box(title, names, key)
        rows = [row for row in rows if getattr(row, key) == chosen]
    settings = {row.group: tables.setting(row) for row in rows}
    if len(settings) > 1:
        group = _box("Setting", settings, "setting")
        rows = [row for row in rows if row.group == group]
    return list(rows)


def _box(title: str, names: Mapping[str, str], key: str) -> str:
    chosen = st.selectbox(
        title,
        list(names),
        format_func=names.__getitem__,
        key=key,
        bind="query-params",
        required=True,
    )
    return chosen or next(iter(names))


def _interest(row: Row) -> tuple[bool, int]:
    """What is shown first: rows with scores, and of those the newest."""
    return row.cost_only, -max(row.run_ids, default=0)


def _written(row: Row, key: str) -> str:
    return f"{row.machine_name} ({row.machine[:6]})" if key == "machine" else getattr(row, key)


def show_warnings(rows: Sequence[Row]) -> None:
    """Say above the figures what holds for them."""
    if any(row.synthetic for row in rows):
        st.warning(
            "Generated data: costs are real, scores say nothing about speech.",
            icon=":material/science:",
        )
    if any(row.derived for row in rows):
        st.warning(
            "The labels of this corpus are derived from categories, not rated.",
            icon=":material/label:",
        )
    if any(row.cost_only for row in rows):
        st.info("These runs measured cost only; they are ranked by seconds an epoch.")
    if not any(row.runs for row in rows):
        st.error("No run of this comparison has ended well.")


def _chosen_ranking(rows: Sequence[Row]) -> str:
    """Let the reader choose what rows are ranked by, of what some row has."""
    known = {
        name: ranking.label
        for name, ranking in RANKINGS.items()
        if any(ranking.of(vars(row)) is not None for row in rows)
    }
    return _box("Ranked by", known, "by") if known else "ccc"
