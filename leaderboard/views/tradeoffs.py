"""The page of one measure against another."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from serbench.harness.metrics import METRICS, SCORED
from serbench.leaderboard import charts, tables
from serbench.leaderboard.ranking import Row

__all__ = ["page"]

COSTS = (
    "epoch_s",
    "run_s",
    "peak_vram_bytes",
    "peak_host_anonymous_bytes",
    "saved_activation_bytes",
    "energy_j",
    "trainable_params",
)
GOODS = (*SCORED, "audio_s_per_s", "utilisation")


def page(rows: Sequence[Row]) -> None:
    """Draw it."""
    show_plot(rows)


def show_plot(rows: Sequence[Row]) -> None:
    """One measure against another, with the front."""

    def known(keys: Sequence[str]) -> list[str]:
        return [key for key in keys if any(getattr(row, key) is not None for row in rows)]

    costs, goods = known(COSTS), known(GOODS)
    if not costs or not goods:
        return
    left, right = st.columns(2)
    x = left.selectbox("Cost", costs, format_func=tables.scaled_title, key="x")
    y = right.selectbox("Gain", goods, format_func=tables.scaled_title, key="y")
    if x is None or y is None:  # a box that was cleared
        return
    axes = f"{tables.scaled_title(y)} against {tables.scaled_title(x)}"
    st.altair_chart(charts.pareto(rows, x, y), alt=f"{axes}: a dot a row, and the Pareto front")
    st.caption(" ".join(METRICS[key].description for key in (x, y)))
