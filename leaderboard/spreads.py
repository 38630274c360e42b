"""What rows say of single annotators and of distributions, as frames that charts draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from serbench.harness.metrics import DIMENSIONS, RANKED_DIMENSIONS, STAND_INS, tvd
from serbench.leaderboard.queries import Spreads
from serbench.leaderboard.ranking import Row

__all__ = ["MAPS", "WAYS", "agreed", "agreement", "cells", "enrolled", "persons", "quartiles"]

WAYS = {"ccc": "not told who rated", "ccc_told": "told who rated"}
"""By the column of the table of annotators how predictions were made."""
MAPS = {
    "rated": "Rated",
    "predicted": "Predicted",
    "told": "Told who rated",
    "true": "True",
}
"""By the column of the table of distributions what a heat map of it is called."""
QUARTILES = {"lowest": 0.0, "lower": 0.25, "median": 0.5, "upper": 0.75, "highest": 1.0}


def persons(rows: Sequence[Row], annotators: pd.DataFrame) -> pd.DataFrame:
    """The CCC of each annotator by row, mean over seeds (and folds).

    Args:
        rows: of one group, of which those without annotators are left out
        annotators: as in `queries.Evidence`, of all their runs

    Returns:
        frame with the columns row, dimension, way (one of `WAYS`' values), annotator and ccc
    """
    names = {run_id: row.name for row in rows for run_id in row.run_ids}
    given = annotators.assign(row=annotators["run_id"].map(names))
    who = ["row", "dimension", "annotator"]
    ways = pd.concat(
        [
            given[[*who, column]].rename(columns={column: "ccc"}).assign(way=way)
            for column, way in WAYS.items()
        ]
    )
    means: pd.DataFrame = ways.dropna().groupby([*who, "way"], as_index=False)["ccc"].mean()
    return means


def quartiles(each: pd.DataFrame) -> pd.DataFrame:
    """How that is spread over annotators: a line a row, dimension and way.

    Args:
        each: from `persons`

    Returns:
        frame with the columns row, dimension, way, annotators (how many), mean, and lowest, lower,
        median, upper, highest: the quartiles
    """
    grouped = each.groupby(["row", "dimension", "way"])["ccc"]
    spread = grouped.agg(annotators="size", mean="mean")
    for name, share in QUARTILES.items():
        spread[name] = grouped.quantile(share)
    return spread.reset_index()


def enrolled(rows: Sequence[Row], scores: pd.DataFrame) -> pd.DataFrame:
    """The CCC of annotators who enrolled, mean over seeds (and folds); NaN if one has none.

    Args:
        rows: of one group, in the order that is wanted
        scores: from `queries_enrolment.enrolled`, of their runs

    Returns:
        frame with a line for each way of predicting them, and the columns Configuration, Corpus,
        Ratings, Predicted by, and the name of each dimension
    """
    names = {run_id: row.name for row in rows for run_id in row.run_ids}
    given = scores.assign(
        Configuration=pd.Categorical(
            scores["run_id"].map(names), list(dict.fromkeys(names.values())), ordered=True
        ),
        by=pd.Categorical(scores["way"].map(STAND_INS), list(STAND_INS.values()), ordered=True),
    ).rename(columns={"corpus": "Corpus", "ratings": "Ratings", "by": "Predicted by"})
    who = ["Configuration", "Corpus", "Ratings", "Predicted by"]
    means = given.pivot_table("ccc", who, "dimension", aggfunc=_whole_mean, observed=True)
    known = [name for name in DIMENSIONS if name in means]
    titled = means[known].rename(columns=str.capitalize).rename_axis(columns=None)
    frame: pd.DataFrame = titled.reset_index()
    return frame


def _whole_mean(values: pd.Series[float]) -> float:
    return float(values.mean(skipna=False))


def cells(spreads: Spreads, utterance: str | None) -> dict[str, pd.DataFrame]:
    """The heat maps of an utterance, or of the mean over all utterances if None.

    Returns:
        by the keys of `MAPS` those that there are, each a frame with a line a cell: mass, and its
        edges in [-1, 1], activation, activation_to, valence, valence_to
    """
    names = spreads.utterances["utterance"].to_numpy()
    at = np.full(len(names), True) if utterance is None else names == utterance
    return {name: _cells(masses[at].mean(axis=0)) for name, masses in spreads.masses.items()}


def _cells(masses: npt.NDArray[np.float64]) -> pd.DataFrame:
    count = len(masses)
    edges = np.linspace(-1, 1, count + 1)
    row, column = np.divmod(np.arange(count * count), count)
    frame: pd.DataFrame = pd.DataFrame(
        {
            "activation": edges[row],
            "activation_to": edges[row + 1],
            "valence": edges[column],
            "valence_to": edges[column + 1],
            "mass": masses.ravel(),
        }
    )
    return frame


def agreement(spreads: Spreads) -> pd.DataFrame:
    """How far the raters of each utterance agree, as far as its rated distribution tells.

    Positions are the middles of the distribution's cells, on a scale from -1 to 1.

    Returns:
        frame with a line an utterance, and the columns utterance, raters (how many), fullest (the
        largest mass of a cell), apart (TVD between its distribution and the mean over utterances),
        and for each dimension `mean_` and `sd_`: mean and standard deviation of its distribution
    """
    rated = spreads.masses["rated"]
    count = rated.shape[-1]
    middles = (np.arange(count) + 0.5) * 2 / count - 1
    columns = {
        "fullest": rated.max(axis=(1, 2)),
        "apart": tvd(rated, np.broadcast_to(rated.mean(axis=0), rated.shape)),
    }
    for name, over in zip(RANKED_DIMENSIONS, (2, 1), strict=True):
        masses = rated.sum(axis=over)
        mean = masses @ middles
        columns[f"mean_{name}"] = mean
        columns[f"sd_{name}"] = np.sqrt(np.maximum(masses @ middles**2 - mean**2, 0))
    frame: pd.DataFrame = spreads.utterances[["utterance", "raters"]].assign(**columns)
    return frame


def agreed(each: pd.DataFrame) -> pd.DataFrame:
    """What all utterances together tell of it.

    Args:
        each: from `agreement`

    Returns:
        frame with a line a figure, and the columns Figure, Value and Meaning
    """
    lines = [
        ("Raters", each["raters"].mean(), "Of an utterance, mean over utterances."),
        (
            "Fullest cell",
            each["fullest"].mean(),
            "Share of an utterance's distribution in its fullest cell, mean over utterances: 1 if "
            "all raters of each utterance choose the same cell, 1/16 if they know nothing.",
        ),
        (
            "TVD to the mean",
            each["apart"].mean(),
            "Between an utterance's distribution and the mean over all, mean over utterances: what "
            "whoever predicts the same for every utterance gets at best about.",
        ),
    ]
    for name in RANKED_DIMENSIONS:
        within, between = (each[f"sd_{name}"] ** 2).mean(), each[f"mean_{name}"].var(ddof=0)
        share = between / (within + between) if within + between > 0 else np.nan
        lines += [
            (
                f"Spread of {name} within",
                np.sqrt(within),
                "Standard deviation of an utterance's ratings about their mean, on a scale from -1 "
                "to 1: the smaller, the more raters agree.",
            ),
            (
                f"Spread of {name} between",
                np.sqrt(between),
                "Standard deviation of the utterances' mean ratings, on the same scale.",
            ),
            (
                f"Share of {name} between",
                share,
                "Share of the variance of all ratings that lies between utterances: 1 if raters "
                "agree wholly. With few raters an utterance it is too high, since the mean of few "
                "ratings varies by itself.",
            ),
        ]
    frame: pd.DataFrame = pd.DataFrame(lines, columns=["Figure", "Value", "Meaning"])
    return frame
