"""The page of single annotators, and of distributions as heat maps."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from serbench.harness.metrics import RANKED_DIMENSIONS, RANKINGS
from serbench.leaderboard import charts, spreads, tables
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.views.reading import database, distributions, persons, seeds, version

__all__ = ["page"]

EVERY = ""
"""Stands where an utterance does for all: a box whose value is None shows as empty."""
ORDERS = {"highest TVD": ("tvd", False), "lowest TVD": ("tvd", True), "name": ("utterance", True)}
"""Of utterances: by which column, and whether upwards."""


def page(rows: Sequence[Row]) -> None:
    """Draw it."""
    show_annotators(rows, database())


def show_annotators(rows: Sequence[Row], path: str) -> None:
    """Single annotators in all rows, and the distributions of one row."""
    rated = [row for row in rows if RANKINGS["annotator_ccc"].of(vars(row)) is not None]
    spread = [row for row in rows if row.tvd is not None]
    if not rated and not spread:
        st.info("No row here predicts annotators or distributions; `serbench run --head` does.")
        return
    if rated:
        show_persons(rated, path)
    if spread:
        show_distributions(spread, path)


def show_persons(rows: Sequence[Row], path: str) -> None:
    """How well single annotators are predicted, by row."""
    run_ids = tuple(run_id for row in rows for run_id in row.run_ids)
    each = spreads.persons(rows, persons(path, version(path), run_ids))
    known = [name for name in RANKED_DIMENSIONS if name in set(each["dimension"])]
    for dimension, column in zip(known, st.columns(len(known)), strict=True):
        its = each[each["dimension"] == dimension]
        column.markdown(f"**{dimension.capitalize()}**")
        chart = charts.persons(its, spreads.quartiles(its), [row.name for row in rows])
        column.altair_chart(chart)
    st.caption(
        "CCC over each annotator's own ratings, mean over seeds: line from the lowest to the "
        "highest annotator, box from the first to the third quartile, tick at the median."
    )


def show_distributions(rows: Sequence[Row], path: str) -> None:
    """Rated and predicted distributions of a row, beside each other."""
    names = {row.run_ids: row.name for row in rows}
    of_row, of_seed, of_order = st.columns((3, 1, 2))
    ids = of_row.selectbox("Distributions of", list(names), format_func=names.__getitem__, key="of")
    if ids is None:  # a box that was cleared
        return
    of = seeds(path, version(path), ids)
    seed = of_seed.selectbox("Seed", sorted(set(of.values())), key="seed")
    told = distributions(path, version(path), tuple(i for i in ids if of[i] == seed))
    order = of_order.selectbox("Utterances by", list(ORDERS), key="order")
    utterance = chosen_utterance(told.utterances, order or next(iter(ORDERS)))
    maps = spreads.cells(told, utterance)
    most = max(frame["mass"].max() for frame in maps.values())
    for (name, frame), column in zip(maps.items(), st.columns(len(maps)), strict=True):
        column.altair_chart(charts.heat_map(frame, most, spreads.MAPS[name]))
    st.caption(tables.distances(told.utterances, utterance))


def chosen_utterance(utterances: pd.DataFrame, order: str) -> str | None:
    """Let the reader choose an utterance; None for all together."""
    column, upwards = ORDERS[order]
    ordered = utterances.sort_values([column, "utterance"], ascending=[upwards, True])
    lines = zip(ordered["utterance"], ordered["tvd"], ordered["raters"], strict=True)
    words = {
        EVERY: f"mean over all {len(ordered):,}",
        **{name: f"{name} (TVD {tvd:.3f}, {raters} raters)" for name, tvd, raters in lines},
    }
    chosen = st.selectbox("Utterance", list(words), format_func=words.__getitem__, key="utterance")
    return chosen or None
