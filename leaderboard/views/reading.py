"""What the pages read of the database, kept until it changes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import streamlit as st

from serbench.harness import strategy
from serbench.harness.errors import SerbenchError
from serbench.leaderboard import comparison, queries, ranking
from serbench.leaderboard.comparison import Comparison
from serbench.leaderboard.queries import Spreads
from serbench.leaderboard.ranking import Row

__all__ = [
    "compared",
    "current_sources",
    "database",
    "distributions",
    "persons",
    "ranked",
    "seeds",
    "validation",
    "version",
]


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


@st.cache_data(show_spinner=False, ttl=60, max_entries=8)
def validation(
    url_or_path: str, version: tuple[tuple[int, int], ...], run_ids: tuple[int, ...]
) -> pd.DataFrame:
    """The validation CCC of runs by epoch; `version` keys the cache."""
    return queries.validation(queries.open_for_reading(url_or_path), run_ids)


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
