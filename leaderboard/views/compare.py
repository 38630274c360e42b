"""The page of rows beside each other: how far apart they are, and where."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from serbench.harness.metrics import DIMENSIONS, METRICS, RANKINGS
from serbench.leaderboard import compare_charts, contrasts
from serbench.leaderboard.contrasts import ERRORS, FEWEST_UTTERANCES, Shared
from serbench.leaderboard.views.boxes import box
from serbench.leaderboard.views.choices import Chosen
from serbench.leaderboard.views.reading import compared, predictions, seeds, validation

__all__ = ["page"]

MOST_SPEAKERS = 30
"""Drawn in a figure; of more those at either end."""
Runs = Mapping[str, tuple[int, ...]]
"""Ids of the runs of each chosen row, by the row's name."""


def page(chosen: Chosen) -> None:
    """Draw rows of the reader's choice, each set against the first."""
    names = contrasts.named([row for row in chosen.rows if row.runs])
    if len(names) < 2:
        st.info("There are no two rows here whose runs ended well.")
        return
    if not {*names} & {*st.session_state.get("rows", ())}:
        # Those of another corpus would leave none.
        st.session_state.pop("rows", None)
    picked = st.multiselect(
        "Rows, each of which is set against the first",
        list(names),
        default=list(names)[:2],
        key="rows",
        bind="query-params",
        max_selections=compare_charts.MOST_ROWS,
    )
    if len(picked) < 2:
        st.info("Choose two rows or more.")
        return
    runs = {name: names[name].run_ids for name in picked}
    show_differences(runs, chosen)
    if not names[picked[0]].cost_only:
        show_where(runs, chosen)


def show_differences(runs: Runs, chosen: Chosen) -> None:
    """Every score and cost of the rows, and what can be told of their differences."""
    (first, its), *others = runs.items()
    told = {
        name: compared(chosen.path, chosen.key, ids, its, chosen.test_corpus, chosen.group)
        for name, ids in others
    }
    scores = contrasts.scores(told)
    ccc = scores[scores["Score"].isin(_in_ccc())].dropna(subset=["Difference"])
    if not ccc.empty:
        st.header("How far apart they are")
        st.altair_chart(
            compare_charts.score_differences(ccc, list(runs)),
            alt="Differences in CCC to the first row, with their 95 % intervals",
        )
    if not scores.empty:
        three = st.column_config.NumberColumn(format="%.3f")
        columns = dict.fromkeys(("Value", "First", "Difference", "low", "high"), three)
        st.dataframe(
            scores.rename(columns={"low": "95 % from", "high": "95 % to"}),
            hide_index=True,
            column_config={
                **columns,
                "95 % from": three,
                "95 % to": three,
                "Meaning": st.column_config.TextColumn(width="large"),
            },
            placeholder="–",
            key="scores",
        )
    st.header("What they cost")
    st.dataframe(
        contrasts.costs(told),
        hide_index=True,
        column_config={
            "Ratio": st.column_config.NumberColumn(format="%.2f"),
            "Meaning": st.column_config.TextColumn(width="large"),
        },
        placeholder="–",
        key="costs",
    )
    st.caption(f"“First” is {_plain(first)}, what the others are set against.")
    notes = dict.fromkeys(note for each in told.values() for note in each.notes)
    st.caption(" ".join(notes))


def _in_ccc() -> set[str]:
    return {
        ranking.label for ranking in RANKINGS.values() if METRICS[ranking.keys[0]].unit == "CCC"
    }


def _plain(name: str) -> str:
    """A name that Markdown leaves as it is."""
    return "".join(
        f"\\{letter}" if letter in "\\`*_{}[]()<>#+-.!|~$:" else letter for letter in name
    )


def show_where(runs: Runs, chosen: Chosen) -> None:
    """By speaker, by range of the label, and by epoch, of a dimension of the reader's choice."""
    of = seeds_of(runs, chosen)
    told = predictions(chosen.path, chosen.version, tuple(of), chosen.test_corpus)
    known = [name for name in DIMENSIONS if name in set(told["dimension"])]
    if not known:
        return
    st.header("Where they differ")
    left, right = st.columns(2)
    dimension = box("Dimension", {name: name.capitalize() for name in known}, "dimension", left)
    error = box("Error", ERRORS, "error", right)
    given = contrasts.shared(runs, of, told, dimension)
    if given is None:
        st.info("These rows have no seed and utterance in common.")
    else:
        show_speakers(given, error)
        show_labels(given, error)
    show_curves(runs, of, dimension, chosen)


def seeds_of(runs: Runs, chosen: Chosen) -> dict[int, int]:
    """The seeds of all their runs, by the ids of these."""
    return seeds(chosen.path, chosen.version, tuple(i for ids in runs.values() for i in ids))


def show_speakers(given: Shared, error: str) -> None:
    """Differences of the error and of the CCC by speaker."""
    left, right = st.columns(2)
    frames = {
        f"Difference in {ERRORS[error].lower()}": contrasts.error_by_speaker(given, error),
        "Difference in CCC": contrasts.ccc_by_speaker(given),
    }
    for (title, frame), column in zip(frames.items(), (left, right), strict=True):
        if frame.empty:
            column.info(f"No speaker has {FEWEST_UTTERANCES} utterances, so no CCC is told.")
            continue
        order = contrasts.ends(frame, MOST_SPEAKERS)
        column.altair_chart(
            compare_charts.by_speaker(frame, order, given.rows, title),
            alt=f"{title} to the first row, by speaker, from the lowest to the highest",
        )
    speakers = len(set(given.speakers))
    some = f" Of {speakers} speakers, those at either end." if speakers > MOST_SPEAKERS else ""
    st.caption(
        "By speaker, with the number of utterances in brackets: dot at the mean over seeds, line "
        f"from the lowest seed to the highest. {_base(given)}{some} The CCC is of speakers with at "
        f"least {FEWEST_UTTERANCES} utterances. In errors lower is better, in CCC higher."
    )


def _base(given: Shared) -> str:
    numbers = ", ".join(map(str, given.seeds))
    return f"Over the {len(given.labels):,} utterances and the seeds that all have ({numbers})."


def show_labels(given: Shared, error: str) -> None:
    """The error by range of the label, and its differences."""
    frame = contrasts.by_label(given, error)
    left, right = st.columns(2)
    title = ERRORS[error]
    left.altair_chart(
        compare_charts.by_label(frame, given.rows, title), alt=f"{title} by range of the label"
    )
    right.altair_chart(
        compare_charts.label_differences(frame, given.rows, "Difference in error"),
        alt=f"{title} less the first row's, with 95 % intervals, by range of the label",
    )
    st.caption(
        "By range of the label, each with about as many utterances: where errors are large at both "
        "ends, a row predicts too near the middle. Intervals are over speakers and seeds, paired."
    )


def show_curves(runs: Runs, of: Mapping[int, int], dimension: str, chosen: Chosen) -> None:
    """How the rows learn."""
    validated = validation(chosen.path, chosen.version, tuple(of), (dimension,))
    frame = contrasts.curves(runs, of, validated)
    if frame.empty:
        return
    st.header("How they learn")
    st.altair_chart(
        compare_charts.curves(frame, list(runs)),
        alt=f"CCC of {dimension} on the validation split, by epoch, a line a row",
    )
    st.caption("Mean over seeds, in a band from the lowest seed to the highest.")
