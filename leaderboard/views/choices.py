"""What a reader chooses on several pages; the address keeps it, so that a view can be shared."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import streamlit as st

from serbench.harness.metrics import RANKINGS, SCORED, unranked_sentence
from serbench.leaderboard.configurations import Group
from serbench.leaderboard.differences import Parts
from serbench.leaderboard.ranking import BEST, Row, machine_name
from serbench.leaderboard.setting_names import group_names, setting_names
from serbench.leaderboard.settings import Setting
from serbench.leaderboard.shortlist import Shortlist, has_shortlist
from serbench.leaderboard.views.boxes import box
from serbench.leaderboard.views.reading import (
    Version,
    all_settings,
    current_sources,
    database,
    groups_of,
    parts_of,
    ranked,
    scored,
    shortlisted,
    test_corpora,
    version,
)

__all__ = ["Chosen", "chosen", "show_warnings"]

OWN = ""
"""Stands for the corpus that was trained on."""
THE_BEST, ALL = "the best", "all"
"""Which of many configurations are read."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """One group of a database, ranked: what all pages are of."""

    path: str
    version: Version
    setting: Setting
    test_corpus: str | None
    """The further corpus that scores are of; None for the test split of their own."""
    shortlist: Shortlist | None
    """What the group is part of; None if it is whole."""
    group: Group
    rows: Sequence[Row]

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What tells this choice from any other, by which what is found of it can be kept."""
        return self.path, self.version, self.group.name, self.ranked_by, self.shortlist is None

    @property
    def ranked_by(self) -> str:
        """As in `RANKINGS`."""
        return self.rows[0].ranked_by

    def whole_group(self) -> Group:
        """The group with all configurations of its setting."""
        if self.shortlist is None:
            return self.group
        whole = groups_of(self.path, self.version, self.setting, self.test_corpus, None, None)
        return next(group for group in whole if group.name == self.group.name)

    def parts(self, run_ids: Iterable[int]) -> Parts:
        """What the scores of some of its runs come from."""
        return parts_of(self.path, self.version, tuple(sorted(run_ids)), self.test_corpus)


def chosen() -> Chosen:
    """What the reader chooses beside all pages.

    Stops the page, with a word, where there are none.

    Raises:
        DatabaseError: the database cannot be read.
    """
    path = database()
    now = version(path)
    current, problem = current_sources()
    if problem:
        st.warning("Stale rows cannot be told, for a strategy does not load:")
        st.code(problem, language=None)
    known = all_settings(path, now)
    if not known:
        st.info("There are no runs yet. `serbench run` measures some.")
        st.stop()
    with st.sidebar:
        setting = _one_setting(known)
        test_corpus = _chosen_test_corpus(setting, test_corpora(path, now, setting))
        by, few = None, None
        if test_corpus is None and has_shortlist(setting):
            by, few = _chosen_part(path, now, setting)
        groups = groups_of(path, now, setting, test_corpus, by if few else None, few)
        group = _one_group(groups)
        by = by or _chosen_ranking([key for key in SCORED if group.scored(key)])
    rows = ranked(path, now, current, group.name, by, test_corpus, few is None, group)
    return Chosen(
        path=path,
        version=now,
        setting=setting,
        test_corpus=test_corpus,
        shortlist=few,
        group=group,
        rows=rows,
    )


def _one_setting(known: Sequence[Setting]) -> Setting:
    """Let the reader choose a machine, a corpus, a backbone, and a setting if there are several."""
    for title, key in (("Machine", "machine"), ("Corpus", "corpus"), ("Backbone", "backbone")):
        chosen = box(title, {getattr(each, key): _written(each, key) for each in known}, key)
        known = [each for each in known if getattr(each, key) == chosen]
    names = setting_names(known)
    if len(names) == 1:
        return known[0]
    return known[list(names).index(box("Setting", {name: name for name in names}, "setting"))]


def _chosen_test_corpus(setting: Setting, others: Sequence[str]) -> str | None:
    """Let the reader choose what scores are of, if some runs were tested on a further corpus."""
    if not others:
        return None
    names = {OWN: f"{setting.corpus} (trained on)", **{name: name for name in others}}
    return box("Tested on", names, "tested_on") or None


def _chosen_part(path: str, now: Version, setting: Setting) -> tuple[str, Shortlist | None]:
    """Let the reader choose what rows are ranked by, and whether the best by it are enough.

    Gives also which they are; None for all of them.
    """
    known = scored(path, now, setting)
    by = _chosen_ranking(known)
    keys = tuple(key for key in RANKINGS[by].keys if key in known)
    few = shortlisted(path, now, setting, by, keys)
    names = {each: each for each in (THE_BEST, ALL)}
    if few is not None and box("Configurations", names, "configurations") == ALL:
        few = None
    return by, few


def _one_group(groups: Sequence[Group]) -> Group:
    """Let the reader choose which folds, if there are rows of different ones."""
    if len(groups) == 1:
        return groups[0]
    chosen = box("Scores of", group_names(groups), "folds")
    return next(group for group in groups if group.name == chosen)


def _written(setting: Setting, key: str) -> str:
    value: str = getattr(setting, key)
    return f"{machine_name(vars(setting))} ({value[:6]})" if key == "machine" else value


def show_warnings(given: Chosen) -> None:
    """Say above the figures what holds for them."""
    rows, few = given.rows, given.shortlist
    if any(row.synthetic for row in rows):
        st.warning(
            "Synthetic data: costs are real, scores need not hold for real speech.",
            icon=":material/science:",
        )
    if any(row.derived for row in rows):
        st.warning(
            "The labels of this corpus are derived from categories, not rated.",
            icon=":material/label:",
        )
    if any(row.cost_only for row in rows):
        st.info("These runs measured cost only; they are ranked by seconds an epoch.")
    if few is not None:
        st.info(
            f"Of {few.of:,} configurations {few.configurations:,} are read: the {BEST} best by "
            f"{RANKINGS[given.ranked_by].label}, which have ranks and intervals, those on the "
            "front of it, time and memory, and what these are told against. Beside the page all "
            "can be chosen, which takes longer; the page Choose asks all in any case."
        )
    elif told := unranked_sentence([vars(row) for row in rows]):
        st.info(told)
    if not any(row.runs for row in rows):
        st.error("No run of this comparison has ended well.")


def _chosen_ranking(known: Sequence[str]) -> str:
    """Let the reader choose what rows are ranked by, of the scores that are known."""
    names = {
        name: ranking.label
        for name, ranking in RANKINGS.items()
        if any(key in known for key in ranking.keys)
    }
    return box("Ranked by", names, "by") if names else "ccc"
