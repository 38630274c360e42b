"""The page of two rows beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from serbench.leaderboard import tables
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.views.reading import compared, database, version

__all__ = ["page"]


def page(rows: Sequence[Row]) -> None:
    """Draw it."""
    show_comparison(rows, database())


def show_comparison(rows: Sequence[Row], path: str) -> None:
    """Two rows of the reader's choice beside each other."""
    names = {row.run_ids: row.name for row in rows if row.runs}
    if len(names) < 2:
        st.info("There are no two rows here whose runs ended well.")
        return
    left, right = st.columns(2)
    a = left.selectbox("A", list(names), format_func=names.__getitem__, key="a")
    others = [ids for ids in names if ids != a]
    b = right.selectbox("B", others, format_func=names.__getitem__, key="b")
    if a is None or b is None:  # a box that was cleared
        return
    told = compared(path, version(path), a, b)
    three = st.column_config.NumberColumn(format="%.3f")
    if told.ccc or told.distances or told.annotators:
        columns = dict.fromkeys(("A", "B", "A - B"), three)
        st.dataframe(tables.scores(told), hide_index=True, column_config=columns, key="scores")
    columns = {"A / B": st.column_config.NumberColumn(format="%.2f")}
    st.dataframe(tables.costs(told), hide_index=True, column_config=columns, key="costs")
    st.caption(" ".join(told.notes))
