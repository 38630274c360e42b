"""The page of ranked rows."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from serbench.harness.metrics import METRICS, RANKINGS, noise_sentence
from serbench.leaderboard import contrasts, curves, exports, filters, tables, weights
from serbench.leaderboard.ranking import BEST, Row
from serbench.leaderboard.views.choices import Chosen
from serbench.leaderboard.views.reading import validation

__all__ = ["page"]

LONG_NAME = 34
"""Letters from which on names have several lines."""
NAME_WIDTH, LINE, LINES, MOST_HEIGHT = 240, 36, 66, 900
"""Pixels: of names, of a row of one line and of several (which Streamlit breaks from 65 on), and of
a table before it scrolls."""
MOST_WEIGHT = 10
ROW = "row"
"""Names the chosen row in the address."""
RUN_PAGE = "run"
"""Address of the page of one run."""


def page(chosen: Chosen) -> None:
    """Draw it."""
    rows = chosen.rows
    with st.sidebar:
        shown = _filtered(rows)
    if not shown:
        st.info("No row has all that was asked for in the sidebar.")
        return
    controls = st.container(horizontal=True)
    with controls.popover("Your own order", icon=":material/balance:"):
        given, labels = _weights(rows)
    frame = _table(chosen, shown, given)
    with controls.popover("Columns", icon=":material/view_column:"):
        columns = _columns(frame, rows[0].ranked_by)
        if not any(given.values()):
            frame = tables.best_first(frame, _order(frame[columns]))
    if any(given.values()):
        st.info(weights.sentence(given, labels), icon=":material/person:")
        frame = tables.best_first(frame, tables.OWN) if tables.OWN in frame else frame
    frame = frame[columns]
    with controls.popover("Download", icon=":material/download:"):
        _downloads(frame, rows)
    selected = show_table(_beneath_banners(frame, rows, shown), rows, shown)
    if selected is not None:
        _show_runs(selected)
    _show_legend(rows, shown)


def _filtered(rows: Sequence[Row]) -> list[Row]:
    """Let the reader choose rows by what they differ in."""
    chosen = {
        name: st.multiselect(
            name.capitalize(), values, key=f"ranking_{name}", bind="query-params", placeholder="All"
        )
        for name, values in filters.options(rows).items()
    }
    return filters.kept(rows, chosen)


def _weights(rows: Sequence[Row]) -> tuple[dict[str, float], dict[str, str]]:
    """Let the reader weigh measures; with the label of each."""
    labels = weights.known(rows)
    st.caption(
        "Give weights to put rows in an order of your own. A score counts in proportion, a cost by "
        "its logarithm, each from the worst to the best row of this comparison."
    )
    given = {
        key: st.slider(
            label,
            0,
            MOST_WEIGHT,
            key=f"ranking_weight_{key}",
            bind="query-params",
            help=METRICS[key].description if key in METRICS else None,
        )
        for key, label in labels.items()
    }
    return {key: float(weight) for key, weight in given.items()}, labels


def _table(chosen: Chosen, shown: Sequence[Row], given: Mapping[str, float]) -> pd.DataFrame:
    """All columns of the shown rows; own scores are told by all rows of the comparison."""
    rows = chosen.rows
    # A curve of every row of thousands would take longer than all else together.
    ids = tuple(run_id for row in shown[:BEST] for run_id in row.run_ids)
    own = dict(zip((row.run_ids for row in rows), weights.weighted(rows, given), strict=True))
    lines = curves.by_row(shown, validation(chosen.path, chosen.version, ids))
    return tables.table(shown, own=own, curves=lines)


def _columns(frame: pd.DataFrame, ranked_by: str) -> list[str]:
    """Let the reader add columns to the usual ones, and hide some of these."""
    usual = tables.usual(frame, ranked_by)
    more = [name for name in map(str, frame) if name not in usual]
    hidable = [name for name in usual if name not in tables.FIXED]
    added = st.multiselect(
        "Add columns", more, key="ranking_add", bind="query-params", placeholder="None more"
    )
    hidden = st.multiselect(
        "Hide columns", hidable, key="ranking_hide", bind="query-params", placeholder="None"
    )
    return [
        name for name in map(str, frame) if name in added or (name in usual and name not in hidden)
    ]


def _order(frame: pd.DataFrame) -> str:
    """Let the reader choose the column that orders the table."""
    known = [name for name in tables.formats(frame) if name != tables.CURVE]
    chosen = st.selectbox(
        "Order by", known, key="ranking_order", bind="query-params", required=True
    )
    return chosen or known[0]


def _beneath_banners(
    frame: pd.DataFrame, rows: Sequence[Row], shown: Sequence[Row]
) -> pd.DataFrame:
    """The table but for notes that stand above it, which its files say of every row."""
    if tables.NOTES not in frame:
        return frame
    told = tables.said_of_all(rows)
    notes = [tables.marks(shown[index], told) for index in frame.index]
    noted: pd.DataFrame = frame.assign(**{tables.NOTES: notes})
    return noted if any(notes) else noted.drop(columns=[tables.NOTES])


def _downloads(frame: pd.DataFrame, rows: Sequence[Row]) -> None:
    """Files of just what is shown of a comparison's rows."""
    numbers, title = tables.formats(frame), tables.heading(rows[0])
    for name, kind in exports.FORMATS.items():
        st.download_button(
            kind.label,
            functools.partial(kind.write, frame, numbers, title),
            file_name=f"ranking{kind.suffix}",
            mime=kind.mime,
            key=f"ranking_download_{name}",
            on_click="ignore",
            width="stretch",
        )
    more = tables.NOTES in frame and bool(tables.said_of_all(rows))
    notes = "Notes also say what stands above the table. " if more else ""
    st.caption(
        f"Rows, columns and order as chosen here. {notes}A click on a heading sorts on the screen "
        "alone."
    )


def show_table(frame: pd.DataFrame, rows: Sequence[Row], shown: Sequence[Row]) -> Row | None:
    """The ranked table of what is shown of all rows; which of them is chosen in it."""
    row_height = LINES if _has_long_names(frame) else LINE
    # A selection is of a place in the table, and means another row once rows change.
    key = f"ranking_table_{_digest(frame[tables.NAME])}"
    names = contrasts.named(rows)
    lines = [shown[index] for index in frame.index]
    asked = names.get(st.query_params.get(ROW, ""))
    event = st.dataframe(
        frame,
        hide_index=True,
        column_config=_column_config(frame),
        placeholder="–",
        row_height=row_height,
        height=min((len(frame) + 1) * row_height + 2, MOST_HEIGHT),
        key=key,
        on_select=lambda: _name_in_address(_selected(st.session_state[key], lines), names),
        selection_mode="single-row",
        selection_default={
            "selection": {"rows": [place for place, row in enumerate(lines) if row is asked]}
        },
        alt="Ranked configurations, one a line",
    )
    return _selected(event, lines)


def _selected(event: Any, lines: Sequence[Row]) -> Row | None:
    places = event["selection"]["rows"]
    return lines[places[0]] if places and places[0] < len(lines) else None


def _name_in_address(selected: Row | None, names: Mapping[str, Row]) -> None:
    """Let the address say which row is chosen, so that whoever opens it sees the same one."""
    name = next((name for name, row in names.items() if row is selected), None)
    if name is None:
        st.query_params.pop(ROW, None)
    else:
        st.query_params[ROW] = name


def _digest(names: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(names).encode(), digest_size=8).hexdigest()


def _has_long_names(frame: pd.DataFrame) -> bool:
    return bool(frame[tables.NAME].str.len().max() > LONG_NAME)


def _column_config(frame: pd.DataFrame) -> dict[str, Any]:
    told, numbers = tables.explanations(frame), tables.formats(frame)
    config: dict[str, Any] = {
        name: st.column_config.NumberColumn(format=numbers[name], help=told.get(name))
        if name in numbers
        else st.column_config.TextColumn(help=told.get(name))
        for name in map(str, frame)
    }
    config["Rank"] = st.column_config.NumberColumn(format="%.0f", pinned=True, help=told["Rank"])
    config[tables.NAME] = st.column_config.TextColumn(
        width=NAME_WIDTH if _has_long_names(frame) else None, pinned=True, help=told[tables.NAME]
    )
    if tables.NOTES in frame:
        config[tables.NOTES] = st.column_config.TextColumn(width=110, help=told[tables.NOTES])
    if tables.CURVE in frame:
        lines = frame[tables.CURVE].dropna()
        low, high = min(map(min, lines)), max(map(max, lines))
        config[tables.CURVE] = st.column_config.LineChartColumn(
            width=120,
            help=told[tables.CURVE],
            # The browser refuses an axis without length.
            y_min=low if low < high else None,
            y_max=high if low < high else None,
        )
    return config


def _show_runs(row: Row) -> None:
    """Links from a chosen row to the pages of its runs."""
    st.text(row.name)
    if not row.run_ids:
        st.caption("None of its runs ended well.")
    # Streamlit knows pages by their address, whatever they draw.
    target = st.Page(lambda: None, title="Run", url_path=RUN_PAGE)
    with st.container(horizontal=True):
        for run_id in row.run_ids:
            st.page_link(
                target,
                label=f"Run {run_id}",
                icon=":material/description:",
                query_params={"run": str(run_id)},
            )


def _show_legend(rows: Sequence[Row], shown: Sequence[Row]) -> None:
    curves_of = f"The first {BEST} by rank have a curve. " if len(shown) > BEST else ""
    part = (
        f"{len(shown)} of the {len(rows)} rows of this comparison are shown; ranks are among all. "
        if len(shown) < len(rows)
        else ""
    )
    st.caption(
        f"{part}{curves_of}Rows that share a rank cannot be told apart: the 95 % interval of their "
        "difference, from a bootstrap over speakers and seeds, includes zero, or it is no larger "
        "than a run's from its own repeat. Rows of cost only share ranks by seconds. ● marks rows "
        f"that no other beats in {RANKINGS[rows[0].ranked_by].label}, time and memory together. "
        f"{noise_sentence(vars(rows[0]))}"
    )
