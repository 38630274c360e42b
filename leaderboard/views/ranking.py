"""The page of ranked rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from serbench.harness.metrics import RANKINGS, SCORED, noise_sentence
from serbench.leaderboard import tables
from serbench.leaderboard.ranking import Row

__all__ = ["page"]

LONG_NAME = 30
"""Letters from which on names have a wide column."""


def page(rows: Sequence[Row]) -> None:
    """Draw it."""
    show_table(rows)


def show_table(rows: Sequence[Row]) -> None:
    """The ranked table."""
    frame = tables.table(rows)
    long = frame["Configuration"].str.len().max() > LONG_NAME
    width: Literal["medium", "large"] = "large" if long else "medium"
    scores = {tables.scaled_title(key) for key in SCORED}
    figures = frame.select_dtypes("number").columns.difference(["Rank", "Seeds"])
    columns = {
        "Configuration": st.column_config.TextColumn(width=width, pinned=True),
        **{
            name: st.column_config.NumberColumn(format="%.3f" if name in scores else "%.4g")
            for name in figures
        },
    }
    st.dataframe(frame, hide_index=True, column_config=columns, placeholder="–", key="ranking")
    st.caption(
        "Rows that share a rank cannot be told apart: the 95 % interval of their difference, from "
        "a bootstrap over speakers and seeds, includes zero, or it is no larger than "
        "a run's from its own repeat. Rows of cost only share ranks by seconds. ● marks rows that "
        f"no other beats in {RANKINGS[rows[0].ranked_by].label}, time and memory together. "
        f"{noise_sentence(vars(rows[0]))}"
    )
