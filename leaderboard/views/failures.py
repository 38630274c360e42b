"""The page of what did not end well, in the whole database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from serbench.harness.metrics import METRICS
from serbench.leaderboard import failures, run_charts, run_choice
from serbench.leaderboard.configurations import Run
from serbench.leaderboard.failures import Fit
from serbench.leaderboard.queries_failures import FILTERS
from serbench.leaderboard.ranking import machine_name
from serbench.leaderboard.views.choices import Chosen
from serbench.leaderboard.views.reading import failure_kinds, failures_of, fits_of, one_run

__all__ = ["page"]

ANY = ""
"""Stands where a column's value does for all of them: a box whose value is None shows as empty."""
MOST = 500
"""Failures listed at once."""
LINK = st.column_config.LinkColumn("Run", display_text=r"run=(\d+)$")


def page(chosen: Chosen) -> None:
    """Draw it, whatever comparison is chosen."""
    kinds = failure_kinds(chosen.path, chosen.version)
    if not kinds:
        st.success("Nothing failed: every run in this database ended well.")
        return
    st.caption("All runs of the database that did not end well, of whichever comparison.")
    wanted = _filters(kinds)
    shown = failures_of(chosen.path, chosen.version, wanted, MOST)
    if not shown:
        st.info("No run that did not end well has all of these together.")
        return
    st.dataframe(
        failures.table(shown),
        hide_index=True,
        column_config={"Run": LINK},
        key="failures",
    )
    count = failures.count(kinds, wanted)
    if count > len(shown):
        st.caption(f"The newest {len(shown):,} of {count:,}; the boxes above find the others.")
    show_failure(_one(shown), chosen)


def _filters(kinds: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    wanted: dict[str, str | None] = {}
    columns = st.columns(len(FILTERS))
    for key, column in zip(FILTERS, columns, strict=True):
        names = {ANY: "any", **{kind[key]: _written(kind, key) for kind in kinds}}
        value = column.selectbox(
            key.capitalize(),
            sorted(names),
            format_func=names.__getitem__,
            key=f"failed_{key}",
            bind="query-params",
            required=True,
        )
        wanted[key] = value or None
    return wanted


def _written(kind: Mapping[str, Any], key: str) -> str:
    if key == "machine":
        return f"{machine_name(kind)} ({kind['machine'][:6]})"
    return str(kind[key])


def _one(shown: Sequence[Run]) -> Run:
    """The failure that the reader wants to know more of."""
    by_id = {run["id"]: run for run in shown}
    number = st.selectbox(
        "Run that did not end well",
        list(by_id),
        format_func=lambda number: run_choice.label(by_id[number], whole=True),
        key="failed_run",
        bind="query-params",
        required=True,
    )
    return by_id.get(number, shown[0])


def show_failure(failure: Run, chosen: Chosen) -> None:
    """Why a run did not end well, and what to do about it."""
    whole = one_run(chosen.path, chosen.version, failure["id"])
    st.caption("Message")
    st.code(whole["message"] or whole["status"], language=None, wrap_lines=True)
    if whole["traceback"]:
        with st.expander("Traceback"):
            st.code(whole["traceback"], language=None)
    st.caption("Command that repeats it, and whatever else of its command is not finished")
    st.code(run_choice.repeating(whole), language=None, wrap_lines=True)
    if failure["status"] == "oom":
        _show_fits(fits_of(chosen.path, chosen.version, failure["id"]))
    else:
        st.subheader("What to do")
        st.markdown(_listed(failures.advice(failure["status"])))


def _show_fits(found: Sequence[Fit]) -> None:
    st.subheader("What would fit")
    if found:
        peak = METRICS[run_charts.peak_key(found[0].run)].description
        columns = {"Run": LINK, "Peak memory": st.column_config.TextColumn(help=peak)}
        st.dataframe(failures.fitting(found), hide_index=True, column_config=columns, key="fitting")
        st.caption("Fitted on the same machine, with the same corpus and encoder; nearest first.")
        return
    st.caption(
        "Of this machine, corpus and encoder nothing is known to fit. What saves memory in general:"
    )
    st.markdown(_listed(failures.advice("oom")))


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
