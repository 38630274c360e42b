"""The page of one run: of the chosen rows, or the one that the address names by `?run=ID`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from serbench.harness.errors import RequestError
from serbench.harness.metrics import DIMENSIONS, METRICS, written
from serbench.harness.run_page import facts
from serbench.leaderboard import run_charts, run_choice
from serbench.leaderboard.configurations import Configuration
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.views.choices import Chosen
from serbench.leaderboard.views.reading import one_run, predictions

__all__ = ["page"]

RUN = "run"
"""Names the run in the address."""
CONFIGURATION, OF_CONFIGURATION, GROUP = "run_configuration", "run_of_configuration", "run_group"
"""Keys of the boxes, and of the comparison that was drawn last."""
HEADLINES = ("epoch_s", "run_s", "cache_fill_s", "saved_activation_bytes", "trainable_params")
"""Beside the peak of memory, what stands on top."""

Run = Mapping[str, Any]


def page(chosen: Chosen) -> None:
    """Draw it."""
    members = run_choice.members(chosen.rows, chosen.group)
    asked = _asked(chosen.group.name, members)
    if asked is None and members:
        asked = str(run_choice.runs_of(members[0])[0]["id"])
    try:
        run = one_run(chosen.path, chosen.version, asked or "")
    except RequestError as error:
        _choose(members, None)
        st.error("The address names no run of this database.")
        st.code(str(error), language=None, wrap_lines=True)
        return
    _choose(members, run["id"])
    show_run(run, chosen)


def _asked(group: str, members: Sequence[Configuration]) -> str | None:
    """The run that the address names, unless the reader has turned to a comparison without it."""
    before, asked = st.session_state.get(GROUP, group), st.query_params.get(RUN)
    st.session_state[GROUP] = group
    there = any(asked == str(run["id"]) for each in members for run in run_choice.runs_of(each))
    if before != group and not there:
        st.query_params.pop(RUN, None)
        return None
    return asked


def _choose(members: Sequence[Configuration], run_id: int | None) -> None:
    """Let the reader choose a configuration and one of its runs, which goes into the address."""
    here = None if run_id is None else run_choice.of_run(members, run_id)
    its_runs = {} if here is None else {run["id"]: run for run in run_choice.runs_of(members[here])}
    st.session_state[CONFIGURATION] = here
    st.session_state[OF_CONFIGURATION] = run_id if here is not None else None
    left, right = st.columns((3, 2))
    left.selectbox(
        "Configuration",
        range(len(members)),
        index=None,
        format_func=lambda position: members[position].name,
        key=CONFIGURATION,
        required=True,
        placeholder="Choose one of this comparison",
        on_change=_turn_to_configuration,
        args=(members,),
    )
    right.selectbox(
        "Run",
        list(its_runs),
        index=None,
        format_func=lambda number: run_choice.label(its_runs[number]),
        key=OF_CONFIGURATION,
        required=True,
        on_change=_turn_to_run,
    )
    if run_id is not None and here is None:
        st.info("The run below is of none of the configurations that are chosen beside this page.")


def _turn_to_configuration(members: Sequence[Configuration]) -> None:
    position = st.session_state[CONFIGURATION]
    if position is not None:
        st.query_params[RUN] = str(run_choice.runs_of(members[position])[0]["id"])


def _turn_to_run() -> None:
    if st.session_state[OF_CONFIGURATION] is not None:
        st.query_params[RUN] = str(st.session_state[OF_CONFIGURATION])


def show_run(run: Run, chosen: Chosen) -> None:
    """Everything that is known of a run."""
    st.text(f"Run {run_choice.label(run, whole=True)}")
    _show_warnings(run)
    _show_headlines(run)
    _show_learning(run)
    _show_costs(run)
    _show_predictions(run, chosen)
    _show_scores(run)
    _show_provenance(run, chosen.rows)


def _show_warnings(run: Run) -> None:
    if run["status"] != "ok":
        st.error("This run did not end well.")
        st.code(run["message"] or run["status"], language=None, wrap_lines=True)
    if run["traceback"]:
        with st.expander("Traceback"):
            st.code(run["traceback"], language=None)
    for note in run["notes"] or ():
        with st.container(border=True):
            st.text(f"Note: {note}")


def _show_headlines(run: Run) -> None:
    keys = [*HEADLINES[:2], run_charts.peak_key(run), *HEADLINES[2:]]
    known = [key for key in keys if run[key] is not None]
    with st.container(horizontal=True):
        for key in known:
            metric = METRICS[key]
            st.metric(
                metric.label, written(key, run[key]), help=metric.description, width="content"
            )


def _show_learning(run: Run) -> None:
    curves = [run_charts.losses(run), run_charts.validations(run)]
    there = [curve for curve in curves if not curve.empty]
    if not there:
        return
    st.subheader("Learning")
    for column, curve in zip(st.columns(len(there)), there, strict=True):
        column.altair_chart(
            run_charts.learning(curve, run["best_epoch"]),
            alt="Training loss or validation CCC against the epoch",
        )
    if run["best_epoch"] is not None:
        st.caption(f"The model of epoch {run['best_epoch']} was kept (dashed line).")


def _show_costs(run: Run) -> None:
    phases, memory = run_charts.phases(run), run_charts.memory(run)
    if not phases.empty:
        st.subheader("Time", help=METRICS["run_s"].description)
        st.altair_chart(run_charts.phase_bar(phases), alt="Seconds of each phase, stacked")
        with st.expander("Phases as a table"):
            st.dataframe(run_charts.phase_table(run), hide_index=True, key="run_phases")
    if not memory.empty:
        peak = METRICS[run_charts.peak_key(run)]
        st.subheader("Memory", help=_meanings(memory))
        st.altair_chart(run_charts.memory_bar(memory), alt="Bytes of each part, stacked")
        rest = run_charts.REST in set(memory["part"])
        told = (
            f"“{run_charts.REST}” is up to the peak: {peak.description}"
            if rest
            else "No peak is known that exceeds these parts, which a run need not hold at once."
        )
        st.caption(told)


def _meanings(memory: pd.DataFrame) -> str:
    by_label = {metric.label: metric.description for metric in METRICS.values()}
    return " ".join(
        f"{part}: {by_label[part]}" for part in memory["part"] if part != run_charts.REST
    )


def _show_predictions(run: Run, chosen: Chosen) -> None:
    """Of the test split that is chosen beside the page, or of the run's own."""
    if run["status"] != "ok":
        return
    others = [each["name"] for each in run["elsewhere"] or ()]
    other = chosen.test_corpus if chosen.test_corpus in others else None
    st.subheader("Predictions")
    if others:
        st.text(f"On the test split of {other or run['corpus']}.")
    predicted = predictions(chosen.path, chosen.version, (run["id"],), other)
    known = [name for name in DIMENSIONS if name in set(predicted["dimension"])]
    if not known:
        st.info("This run kept no predictions of single utterances.")
        return
    totals = set()
    for name, column in zip(known, st.columns(len(known)), strict=True):
        points, count = run_charts.points(predicted, name)
        totals.add(count)
        column.markdown(f"**{name.capitalize()}**", help=METRICS[f"ccc_{name}"].description)
        if count:
            column.altair_chart(
                run_charts.scatter(points), alt=f"Predicted against labelled {name}"
            )
    most = max(totals)
    sampled = f", a sample of {run_charts.MOST_POINTS:,}" if most > run_charts.MOST_POINTS else ""
    st.caption(
        f"A dot for each of {most:,} utterances of the test split{sampled}; on the dashed line the "
        "prediction is the label."
    )


def _show_scores(run: Run) -> None:
    frame = run_charts.scores(run)
    if frame.empty:
        return
    st.subheader("Scores")
    three = st.column_config.NumberColumn(format="%.3f")
    columns = dict.fromkeys(("Value", "95 % from", "95 % to"), three)
    st.dataframe(frame, hide_index=True, placeholder="–", column_config=columns, key="run_scores")


def _show_provenance(run: Run, rows: Sequence[Row]) -> None:
    row = run_choice.row_of(rows, run["id"])
    st.subheader("Provenance")
    for title, its in facts(run, None if row is None else vars(row)).items():
        told = [(name, text) for name, text in its if name != "command"]
        width = max(len(name) for name, _ in told)
        st.caption(title.capitalize())
        lines = "\n".join(f"{name:<{width}}  {text}" for name, text in told)
        st.code(lines, language=None, wrap_lines=True)
    st.caption("Command")
    st.code(run_choice.repeating(run), language=None, wrap_lines=True)
    st.caption(
        "It repeats all runs of the command that made this one"
        + (", finished or not." if run["status"] == "ok" else " but those that are finished.")
    )
