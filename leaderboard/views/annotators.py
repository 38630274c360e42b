"""The page of single annotators, and of distributions as heat maps."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from serbench.harness.metrics import DIMENSIONS, ENROLLED, METRICS, RANKINGS, annotated
from serbench.leaderboard import charts, spreads, tables
from serbench.leaderboard.contrasts import named
from serbench.leaderboard.queries import Spreads
from serbench.leaderboard.ranking import BEST, Row
from serbench.leaderboard.views.choices import Chosen
from serbench.leaderboard.views.reading import distributions, enrolled, persons, seeds

__all__ = ["page"]

EVERY = "all of them"
"""Stands where an utterance does for the mean over all."""
ORDERS = {"highest TVD": ("tvd", False), "lowest TVD": ("tvd", True), "name": ("utterance", True)}
"""Of utterances: by which column, and whether upwards."""
DISTRIBUTIONS = (
    "Of an utterance's ratings over activation and valence, each on a scale from -1 to 1: what was "
    "rated, beside what was predicted. The numbers are shares, which add up to 1."
)
COLUMNS = {
    "Corpus": "Tested on, and not trained on.",
    "Ratings": "That each annotator enrolled with, of utterances that are not tested.",
    "Predicted by": (
        "Who of the annotators known from training stands for a new one: nearest is whose ratings "
        "of the same utterances would have had the least squared error."
    ),
}
"""What columns mean that are no score."""


def page(chosen: Chosen) -> None:
    """Draw single annotators in all rows, who enrolled, and the distributions of one row."""
    rows = chosen.rows
    rated = [row for row in rows if RANKINGS["annotator_ccc"].of(vars(row)) is not None]
    newcomers = who_enrolled(chosen)
    spread = [row for row in rows if row.tvd is not None]
    if not rated and newcomers.empty and not spread:
        st.info("No row here predicts annotators or distributions; `serbench run --head` does.")
        return
    if rated:
        show_persons(rated, chosen)
    if not newcomers.empty:
        show_enrolled(spreads.enrolled(rows, newcomers))
    if spread:
        show_distributions(spread, chosen)


def show_persons(rows: Sequence[Row], chosen: Chosen) -> None:
    """How well single annotators are predicted, by row."""
    st.header("Single annotators")
    if len(rows) > BEST:
        st.caption(f"In the first {BEST} of {len(rows)} rows.")
    rows = rows[:BEST]
    run_ids = tuple(run_id for row in rows for run_id in row.run_ids)
    found = persons(chosen.path, chosen.version, run_ids, chosen.test_corpus)
    each = spreads.persons(rows, found)
    spread = spreads.quartiles(each)
    known = [name for name in DIMENSIONS if name in set(each["dimension"])]
    for dimension, column in zip(known, st.columns(len(known)), strict=True):
        ways = set(each.loc[each["dimension"] == dimension, "way"])
        column.markdown(f"**{dimension.capitalize()}**", help=meaning(dimension, ways))
        column.altair_chart(
            charts.persons(each, spread, dimension, [row.name for row in rows]),
            alt=f"CCC of {dimension} over annotators, by row: quartiles and single annotators",
        )
    fewest, most = spread["annotators"].min(), spread["annotators"].max()
    annotators = f"{most}" if fewest == most else f"{fewest} to {most}"
    st.caption(
        f"CCC over the own ratings of each of {annotators} annotators with at least "
        f"{rows[0].training['least_ratings']} ratings of the test split, mean over seeds: line "
        "from the lowest to the highest annotator, box from the first to the third quartile, tick "
        "at the median."
    )


def meaning(dimension: str, ways: Collection[str]) -> str:
    """What is drawn of a dimension, for each way in which it was predicted."""
    told = [
        annotated(dimension, column.removeprefix("ccc"))
        for column, way in spreads.WAYS.items()
        if way in ways
    ]
    return "\n\n".join(told)


def who_enrolled(chosen: Chosen) -> pd.DataFrame:
    """Scores of newcomers of further corpora, or of the one that is chosen, by run."""
    run_ids = tuple(run_id for row in chosen.rows for run_id in row.run_ids)
    found = enrolled(chosen.path, chosen.version, run_ids)
    its: pd.DataFrame = found[found["corpus"] == (chosen.test_corpus or found["corpus"])]
    return its


def show_enrolled(frame: pd.DataFrame) -> None:
    """How well newcomers are predicted who enrolled with a few ratings."""
    st.header("Annotators who enrolled")
    texts = {**tables.explanations(frame), **COLUMNS}
    scores = {
        name.capitalize(): st.column_config.NumberColumn(
            format="%.3f", help=annotated(name, ENROLLED)
        )
        for name in DIMENSIONS
    }
    others = {name: st.column_config.Column(help=text) for name, text in texts.items()}
    st.dataframe(
        frame, hide_index=True, column_config={**others, **scores}, placeholder="–", key="enrolled"
    )
    st.caption(
        "Annotators of a further corpus, whom no model here has learnt from, each enrolled with a "
        "few ratings, by which others stand for them. Mean over seeds."
    )


def show_distributions(rows: Sequence[Row], chosen: Chosen) -> None:
    """Rated and predicted distributions of a row, beside each other, and how far raters agree."""
    st.header("Distributions", help=DISTRIBUTIONS)
    names = named(rows)
    left, right = st.columns((3, 1))
    name = box(left, "Distributions of", list(names), "distributions")
    ids = names[name].run_ids
    of = seeds(chosen.path, chosen.version, ids)
    numbers = {str(seed): seed for seed in sorted(set(of.values()))}
    seed = numbers[box(right, "Seed", list(numbers), "distributions_seed")]
    of_seed = tuple(i for i in ids if of[i] == seed)
    told = distributions(chosen.path, chosen.version, of_seed, chosen.test_corpus)
    utterance = chosen_utterance(told.utterances)
    maps = spreads.cells(told, utterance)
    most = max(frame["mass"].max() for frame in maps.values())
    of_what = utterance or "all utterances"
    for (key, frame), column in zip(maps.items(), st.columns(len(maps)), strict=True):
        column.altair_chart(
            charts.heat_map(frame, most, spreads.MAPS[key]),
            alt=f"{spreads.MAPS[key]} distribution of {of_what} over activation and valence",
        )
    measures = tables.known_distances(told.utterances)
    st.caption(
        tables.distances(told.utterances, utterance),
        help="\n\n".join(f"{METRICS[key].label}: {METRICS[key].description}" for key in measures),
    )
    show_agreement(told)


def chosen_utterance(utterances: pd.DataFrame) -> str | None:
    """Let the reader choose an utterance; None for all together."""
    left, right = st.columns((1, 3))
    column, upwards = ORDERS[box(left, "Utterances by", list(ORDERS), "utterances_by")]
    ordered = utterances.sort_values([column, "utterance"], ascending=[upwards, True])
    chosen = box(right, "Utterance", [EVERY, *ordered["utterance"]], "utterance")
    return None if chosen == EVERY else chosen


def box(where: DeltaGenerator, title: str, options: Sequence[str], key: str) -> str:
    """One of the options, which the address keeps as it stands there."""
    chosen = where.selectbox(title, options, key=key, bind="query-params", required=True)
    return chosen or options[0]


def show_agreement(told: Spreads) -> None:
    """How far those who rated agree, whatever was predicted."""
    st.header("Agreement of raters")
    if "rated" not in told.masses:
        st.info("The database holds no rated distributions of this row.")
        return
    each = spreads.agreement(told)
    left, right = st.columns((1, 2))
    left.altair_chart(charts.raters(each), alt="How many utterances have how many raters")
    right.dataframe(
        spreads.agreed(each),
        hide_index=True,
        column_config={
            "Value": st.column_config.NumberColumn(format="%.3f"),
            "Meaning": st.column_config.TextColumn(width="large"),
        },
        key="agreement",
    )
    st.caption(
        f"Of the {len(each):,} utterances of the test split that have a distribution, as the head "
        "of this row estimates it from their ratings. Single ratings are not in the database, nor "
        "who rated which utterance, so that agreement of one rater with another, or Krippendorff's "
        "alpha, cannot be told here: `serbench corpus check` tells it from the corpus."
    )
