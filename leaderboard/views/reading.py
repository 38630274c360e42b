"""What the pages read of the database, kept until it changes."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import streamlit as st

from serbench.harness import strategy
from serbench.harness.errors import SerbenchError
from serbench.harness.metrics import RANKED_DIMENSIONS
from serbench.harness.records import database_url
from serbench.leaderboard import (
    comparison,
    failures,
    queries,
    queries_aggregates,
    queries_enrolment,
    queries_epochs,
    queries_failures,
    ranking,
    settings,
)
from serbench.leaderboard.comparison import Comparison
from serbench.leaderboard.configurations import Group, groups
from serbench.leaderboard.differences import Parts, parts
from serbench.leaderboard.failures import Fit
from serbench.leaderboard.queries import Spreads
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.settings import Setting
from serbench.leaderboard.shortlist import Shortlist, shortlist

__all__ = [
    "Version",
    "all_settings",
    "compared",
    "current_sources",
    "database",
    "distributions",
    "enrolled",
    "epochs",
    "failure_kinds",
    "failures_of",
    "fits_of",
    "groups_of",
    "one_run",
    "parts_of",
    "persons",
    "predictions",
    "ranked",
    "scored",
    "seeds",
    "shortlisted",
    "test_corpora",
    "validation",
    "version",
]


Version: TypeAlias = tuple[tuple[int, int], ...]
BY_TEXT: dict[str | type[Any], Callable[[Any], Any]] = {tuple: repr}
"""How ids of runs key a cache: one by one, a thousand of them take longer than what they key."""
SERVED_S = 60
"""Seconds for which what was read of a server is shown, for it does not say when it changes."""


def database() -> str:
    """What `--db` names after `--`, else SERBENCH_DB, else runs.db in the current folder."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--db")
    given: str | None = parser.parse_known_args()[0].db
    return given or os.environ.get("SERBENCH_DB") or "runs.db"


def version(url_or_path: str) -> Version:
    """Changes whenever the database's file or its write-ahead log does; for a server, in time.

    A log without anything in it is made by reading, and says nothing.
    """
    url = database_url(url_or_path)
    if url.get_backend_name() != "sqlite":
        return ((int(time.time()) // SERVED_S, 0),)
    files = [Path(f"{url.database}{suffix}") for suffix in ("", "-wal")]
    stats = [file.stat() for file in files if file.is_file()]
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats if stat.st_size)


@st.cache_data(show_spinner=False, max_entries=4)
def all_settings(url_or_path: str, version: Version) -> list[Setting]:
    """What a database has runs of, first what has scores, and of that the newest.

    `version` keys the cache.
    """
    found = settings.settings(queries.open_for_reading(url_or_path))
    return sorted(found, key=lambda setting: (setting.cost_only, -setting.newest))


@st.cache_data(show_spinner=False, max_entries=32)
def test_corpora(url_or_path: str, version: Version, setting: Setting) -> list[str]:
    """The further corpora that some run of a setting was tested on; `version` keys the cache."""
    return queries_aggregates.test_corpora(queries.open_for_reading(url_or_path), setting)


@st.cache_data(show_spinner=False, max_entries=32)
def scored(url_or_path: str, version: Version, setting: Setting) -> list[str]:
    """Which scores some run of a setting has; `version` keys the cache."""
    return queries_aggregates.scored(queries.open_for_reading(url_or_path), setting)


@st.cache_data(show_spinner=False, max_entries=32)
def shortlisted(
    url_or_path: str, version: Version, setting: Setting, by: str, keys: tuple[str, ...]
) -> Shortlist | None:
    """What is to be read of a setting, as `shortlist` tells it; `version` keys the cache.

    Args:
        url_or_path: of the database
        version: keys the cache
        setting: one of many runs
        by: what rows are ranked by
        keys: those of its scores that there are
    """
    engine = queries.open_for_reading(url_or_path)
    return shortlist(queries_aggregates.aggregates(engine, setting, keys), by)


# Not copied for every look at it: nothing in a group can be changed.
@st.cache_resource(show_spinner=False, max_entries=8)
def groups_of(
    url_or_path: str,
    version: Version,
    setting: Setting,
    test_corpus: str | None,
    by: str | None,
    _shortlist: Shortlist | None,
) -> list[Group]:
    """The runs of a setting, by what compares: several where they are of different folds.

    Those of most folds come first. With a further corpus only those runs are there that were tested
    on it, with their scores on it.

    Args:
        url_or_path: of the database
        version: keys the cache
        setting: whose runs
        test_corpus: a further one
        by: by what the shortlist was made, and None without one, which keys the cache
        _shortlist: which of them; all if None
    """
    engine = queries.open_for_reading(url_or_path)
    run_ids = None if _shortlist is None else _shortlist.run_ids
    runs = queries.configurations(engine, setting, run_ids, test_corpus=test_corpus)
    return sorted(groups(runs), key=lambda group: -len(group.members[0].folds))


# As `groups_of`.
@st.cache_resource(show_spinner=False, max_entries=4, hash_funcs=BY_TEXT)
def parts_of(
    url_or_path: str, version: Version, run_ids: tuple[int, ...], test_corpus: str | None
) -> Parts:
    """What the scores of runs come from; `version` keys the cache."""
    engine = queries.open_for_reading(url_or_path)
    return parts(queries.evidence(engine, run_ids, test_corpus=test_corpus))


@st.cache_data(show_spinner=False, max_entries=8)
def ranked(
    url_or_path: str,
    version: Version,
    current: Mapping[str, str],
    name: str,
    by: str,
    test_corpus: str | None,
    whole: bool,
    _group: Group,
) -> list[Row]:
    """The rows of a group from `groups_of`; all but the group itself, whose name it is, keys it.

    `whole` says that it is all of the setting, and no shortlist.
    """
    best = tuple(sorted(ranking.runs_of_best(_group, by)))
    found = parts_of(url_or_path, version, best, test_corpus)
    return ranking.rank_group(_group, found, by=by, current=current)


@st.cache_data(show_spinner="Comparing the rows", max_entries=32)
def compared(
    url_or_path: str,
    key: tuple[Hashable, ...],
    a: tuple[int, ...],
    b: tuple[int, ...],
    test_corpus: str | None,
    _group: Group,
) -> Comparison:
    """Two rows of a group, by the ids of their runs; these and the group's `key` key the cache."""
    evidence = queries.evidence(
        queries.open_for_reading(url_or_path), (*a, *b), test_corpus=test_corpus
    )
    return comparison.of_group(_group, evidence, a, b)


@st.cache_data(show_spinner=False, max_entries=16, hash_funcs=BY_TEXT)
def validation(
    url_or_path: str,
    version: Version,
    run_ids: tuple[int, ...],
    dimensions: tuple[str, ...] = RANKED_DIMENSIONS,
) -> pd.DataFrame:
    """The validation CCC of runs by epoch, mean over dimensions; `version` keys the cache."""
    engine = queries.open_for_reading(url_or_path)
    return queries_epochs.validation(engine, run_ids, dimensions)


@st.cache_data(show_spinner="Reading the annotators", max_entries=4)
def persons(
    url_or_path: str,
    version: Version,
    run_ids: tuple[int, ...],
    test_corpus: str | None,
) -> pd.DataFrame:
    """The annotators of runs; `version` keys the cache."""
    engine = queries.open_for_reading(url_or_path)
    return queries.annotators(engine, run_ids, test_corpus=test_corpus)


@st.cache_data(show_spinner=False, max_entries=32)
def seeds(url_or_path: str, version: Version, run_ids: tuple[int, ...]) -> dict[int, int]:
    """The seeds of runs; `version` keys the cache."""
    return queries.seeds(queries.open_for_reading(url_or_path), run_ids)


@st.cache_data(show_spinner="Reading the distributions", max_entries=4)
def distributions(
    url_or_path: str,
    version: Version,
    run_ids: tuple[int, ...],
    test_corpus: str | None,
) -> Spreads:
    """The distributions of the runs of one seed; `version` keys the cache."""
    engine = queries.open_for_reading(url_or_path)
    return queries.spreads(engine, run_ids, test_corpus=test_corpus)


@st.cache_data(show_spinner="Counting the failures", max_entries=4)
def failure_kinds(url_or_path: str, version: Version) -> list[dict[str, Any]]:
    """What did not end well, counted; `version` keys the cache."""
    return queries_failures.kinds(queries.open_for_reading(url_or_path))


@st.cache_data(show_spinner="Reading the failures", max_entries=8)
def failures_of(
    url_or_path: str, version: Version, wanted: Mapping[str, str | None], most: int
) -> list[dict[str, Any]]:
    """The newest runs that did not end well and have what is wanted; `version` keys the cache."""
    return queries_failures.newest(queries.open_for_reading(url_or_path), wanted, most=most)


@st.cache_data(show_spinner="Reading what fitted", max_entries=8)
def fits_of(url_or_path: str, version: Version, run_id: int) -> list[Fit]:
    """What would fit instead of a run; `version` keys the cache."""
    engine = queries.open_for_reading(url_or_path)
    return failures.fits(*queries_failures.fitted(engine, run_id))


@st.cache_data(show_spinner="Reading the run", max_entries=32)
def one_run(url_or_path: str, version: Version, run_id: int | str) -> dict[str, Any]:
    """One run whole; `version` keys the cache.

    Raises:
        RequestError: there is no run of that id.
    """
    return queries.run(queries.open_for_reading(url_or_path), run_id)


@st.cache_data(show_spinner=False, max_entries=8)
def predictions(
    url_or_path: str,
    version: Version,
    run_ids: tuple[int, ...],
    test_corpus: str | None,
) -> pd.DataFrame:
    """What runs predicted of a test split; `version` keys the cache."""
    engine = queries.open_for_reading(url_or_path)
    return queries.predictions(engine, run_ids, test_corpus=test_corpus)


@st.cache_data(show_spinner=False, max_entries=8, hash_funcs=BY_TEXT)
def epochs(url_or_path: str, version: Version, run_ids: tuple[int, ...]) -> pd.DataFrame:
    """The epochs of runs; `version` keys the cache."""
    return queries_epochs.epochs(queries.open_for_reading(url_or_path), run_ids)


@st.cache_data(show_spinner=False, max_entries=8)
def enrolled(url_or_path: str, version: Version, run_ids: tuple[int, ...]) -> pd.DataFrame:
    """The scores of annotators who enrolled with runs; `version` keys the cache."""
    return queries_enrolment.enrolled(queries.open_for_reading(url_or_path), run_ids)


@st.cache_data(show_spinner=False, ttl=60)
def current_sources() -> tuple[dict[str, str], str | None]:
    """Source hash of every registered strategy, and what stood in the way of finding them."""
    try:
        strategy.discover()
    except SerbenchError as error:
        return {}, str(error)
    return {entry.name: entry.source_hash for entry in strategy.entries()}, None
