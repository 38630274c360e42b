"""The page: `streamlit run leaderboard/app.py -- --db runs.db`, or `serbench leaderboard`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
import streamlit as st

from serbench.harness import strategy
from serbench.harness.errors import DatabaseError, SerbenchError
from serbench.harness.metrics import (
    METRICS,
    RANKED_DIMENSIONS,
    RANKINGS,
    SCORED,
    noise_sentence,
)
from serbench.leaderboard import charts, comparison, queries, ranking, spreads, tables
from serbench.leaderboard.comparison import Comparison
from serbench.leaderboard.queries import Spreads
from serbench.leaderboard.ranking import Row

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
# Comments, since Streamlit would draw strings. Letters from which on names have a wide column.
LONG_NAME = 30
# Stands where an utterance does for all: a box whose value is None shows as empty.
EVERY = ""
# Of utterances: by which column, and whether upwards.
ORDERS = {"highest TVD": ("tvd", False), "lowest TVD": ("tvd", True), "name": ("utterance", True)}


def database() -> str:
    """What `--db` names after `--`, else SERBENCH_DB, else runs.db in the current folder."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--db")
    given: str | None = parser.parse_known_args()[0].db
    return given or os.environ.get("SERBENCH_DB") or "runs.db"


def version(url_or_path: str) -> tuple[tuple[int, int], ...]:
    """Changes whenever the database's file or its write-ahead log does."""
    files = [Path(f"{url_or_path}{suffix}") for suffix in ("", "-wal")]
    stats = [file.stat() for file in files if file.is_file()]
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)


@st.cache_data(show_spinner="Ranking the runs", ttl=60, max_entries=4)
def ranked(
    url_or_path: str, version: tuple[tuple[int, int], ...], current: Mapping[str, str], by: str
) -> list[Row]:
    """All rows of a database; `version` keys the cache."""
    engine = queries.open_for_reading(url_or_path)
    runs = queries.configurations(engine)
    evidence = queries.evidence(engine, ranking.chosen_runs(runs))
    return ranking.rank(runs, evidence, by=by, current=current)


@st.cache_data(show_spinner="Comparing the rows", ttl=60, max_entries=32)
def compared(
    url_or_path: str,
    version: tuple[tuple[int, int], ...],
    a: tuple[int, ...],
    b: tuple[int, ...],
) -> Comparison:
    """Two rows by the ids of their runs; `version` keys the cache."""
    engine = queries.open_for_reading(url_or_path)
    runs = queries.configurations(engine)
    return comparison.compare(runs, queries.evidence(engine, (*a, *b)), a, b)


@st.cache_data(show_spinner="Reading the annotators", ttl=60, max_entries=4)
def persons(
    url_or_path: str, version: tuple[tuple[int, int], ...], run_ids: tuple[int, ...]
) -> pd.DataFrame:
    """The annotators of runs; `version` keys the cache."""
    return queries.annotators(queries.open_for_reading(url_or_path), run_ids)


@st.cache_data(show_spinner=False, ttl=60, max_entries=32)
def seeds(
    url_or_path: str, version: tuple[tuple[int, int], ...], run_ids: tuple[int, ...]
) -> dict[int, int]:
    """The seeds of runs; `version` keys the cache."""
    return queries.seeds(queries.open_for_reading(url_or_path), run_ids)


@st.cache_data(show_spinner="Reading the distributions", ttl=60, max_entries=4)
def distributions(
    url_or_path: str, version: tuple[tuple[int, int], ...], run_ids: tuple[int, ...]
) -> Spreads:
    """The distributions of the runs of one seed; `version` keys the cache."""
    return queries.spreads(queries.open_for_reading(url_or_path), run_ids)


@st.cache_data(show_spinner=False, ttl=60)
def current_sources() -> tuple[dict[str, str], str | None]:
    """Source hash of every registered strategy, and what stood in the way of finding them."""
    try:
        strategy.discover()
    except SerbenchError as error:
        return {}, str(error)
    return {entry.name: entry.source_hash for entry in strategy.entries()}, None


def one_group(rows: Sequence[Row]) -> list[Row]:
    """Let the reader choose a machine, a corpus, a backbone, and a setting if there are several."""
    columns = st.columns(3)
    for column, (title, key) in zip(
        columns,
        (("Machine", "machine"), ("Corpus", "corpus"), ("Backbone", "backbone")),
        strict=True,
    ):
        names = {getattr(row, key): _written(row, key) for row in sorted(rows, key=_interest)}
        chosen = column.selectbox(title, list(names), format_func=names.__getitem__, key=key)
        rows = [row for row in rows if getattr(row, key) == chosen]
    settings = {row.group: tables.setting(row) for row in rows}
    if len(settings) > 1:
        group = st.selectbox(
            "Setting", list(settings), format_func=settings.__getitem__, key="setting"
        )
        rows = [row for row in rows if row.group == group]
    return list(rows)


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


def chosen_ranking(rows: Sequence[Row]) -> str:
    """Let the reader choose what rows are ranked by, of what some row has."""
    known = [
        name
        for name, ranking in RANKINGS.items()
        if any(ranking.of(vars(row)) is not None for row in rows)
    ]
    if not known:
        return "ccc"
    words = {name: ranking.label for name, ranking in RANKINGS.items()}
    by = st.selectbox("Ranked by", known, format_func=words.__getitem__, key="by", width=320)
    return by or "ccc"


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


def show_comparison(rows: Sequence[Row], path: str) -> None:
    """Two rows of the reader's choice beside each other."""
    names = {row.run_ids: row.name for row in rows if row.runs}
    if len(names) < 2:
        return
    st.subheader("Compare two rows")
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


def show_annotators(rows: Sequence[Row], path: str) -> None:
    """Single annotators in all rows, and the distributions of one row."""
    rated = [row for row in rows if RANKINGS["annotator_ccc"].of(vars(row)) is not None]
    spread = [row for row in rows if row.tvd is not None]
    if not rated and not spread:
        return
    st.subheader("Annotators")
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
    st.altair_chart(charts.pareto(rows, x, y))
    st.caption(" ".join(METRICS[key].description for key in (x, y)))


def main() -> None:
    """Draw the page."""
    st.set_page_config(page_title="serbench", page_icon=":material/graphic_eq:", layout="wide")
    st.title("Finetuning strategies for speech emotion recognition")
    path = database()
    current, problem = current_sources()
    if problem:
        st.warning("Stale rows cannot be told, for a strategy does not load:")
        st.code(problem, language=None)
    try:
        rows = ranked(path, version(path), current, "ccc")
    except DatabaseError as error:
        st.error("The database cannot be read.")
        st.code(str(error), language=None)
        st.stop()
    if not rows:
        st.info("There are no runs yet. `serbench run` measures some.")
        st.stop()
    rows = one_group(rows)
    show_warnings(rows)
    by = chosen_ranking(rows)
    group = rows[0].group
    rows = [row for row in ranked(path, version(path), current, by) if row.group == group]
    show_table(rows)
    show_comparison(rows, path)
    show_annotators(rows, path)
    show_plot(rows)


main()
