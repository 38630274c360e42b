"""Scores of a test split against loops over pandas' groups."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from serbench.harness.corpora import embedded
from serbench.harness.corpora.base import Corpus
from serbench.harness.heads.base import Answer
from serbench.harness.metrics import ccc
from serbench.harness.results import Annotator, Distributions, Predictions, Score
from serbench.harness.scoring import ON_PLANE, Scored
from serbench.harness.targets import Ratings, annotators_of, ratings_of
from serbench.harness.trainer import Evaluation

LEAST = 12


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return embedded.load(None)


@pytest.fixture(scope="module")
def ratings(corpus: Corpus) -> Ratings:
    return ratings_of(corpus, corpus.dimensions, annotators_of(corpus))


@pytest.fixture(scope="module")
def evaluation(corpus: Corpus, ratings: Ratings) -> Evaluation:
    """In two batches, in an order of its own, of a head that says something of everything."""
    rng = np.random.default_rng(0)
    indices = rng.permutation(np.flatnonzero(corpus.utterances["split"] == "test"))
    predicted = rng.uniform(-1, 1, (len(indices), 3)).astype(np.float32)
    answers = []
    for part in np.array_split(np.arange(len(indices)), 2):
        rows, _ = ratings.of(indices[part])
        masses = rng.dirichlet(np.ones(16), (2, len(part))).reshape(2, -1, 4, 4)
        answers.append(
            Answer(
                labels=torch.from_numpy(predicted[part]),
                distributions=torch.from_numpy(masses[0]).float(),
                told_ratings=torch.from_numpy(rng.uniform(-1, 1, (len(rows), 3))).float(),
                told_distributions=torch.from_numpy(masses[1]).float(),
            )
        )
    labels = corpus.scaled(corpus.utterances[list(corpus.dimensions)])[indices]
    scores = tuple(ccc(labels[:, d], predicted[:, d]) for d in range(3))
    return Evaluation(indices, predicted, scores, tuple(answers))


def scored(corpus: Corpus, ratings: Ratings, evaluation: Evaluation, **changes: Any) -> Scored:
    facts: dict[str, Any] = {"dimensions": corpus.dimensions, "least_ratings": LEAST, **changes}
    return Scored(corpus=corpus, evaluation=evaluation, ratings=ratings, **facts)


def scores(found: list[Any]) -> dict[tuple[str, str], Score]:
    return {(m.metric, m.dimension): m for m in found if isinstance(m, Score)}


@pytest.fixture(scope="module")
def told(corpus: Corpus, ratings: Ratings, evaluation: Evaluation) -> list[Any]:
    return list(scored(corpus, ratings, evaluation).messages())


@pytest.fixture(scope="module")
def pairs(corpus: Corpus, evaluation: Evaluation, ratings: Ratings) -> pd.DataFrame:
    """A row for each rating of activation: who gave it of what, and what was predicted of it."""
    found = []
    said = torch.cat([a.told_ratings for a in evaluation.answers if a.told_ratings is not None])
    rows, utterance = ratings.of(evaluation.indices)
    for position, (row, u) in enumerate(zip(rows, utterance, strict=True)):
        found.append(
            {
                "utterance": corpus.utterances["id"].iloc[evaluation.indices[u]],
                "annotator": ratings.people[ratings.person[row]],
                "rated": ratings.values[row, 0],
                "said": evaluation.predicted[u, 0],
                "told": said[position, 0].item(),
            }
        )
    table: pd.DataFrame = pd.DataFrame(found)
    return table


def test_single_ratings_are_those_of_the_corpus(corpus: Corpus, pairs: pd.DataFrame) -> None:
    table = corpus.ratings
    assert table is not None
    own = table[(table["dimension"] == "activation") & table["utterance"].isin(pairs["utterance"])]
    merged = pairs.merge(own.astype({"utterance": str, "annotator": str}))
    assert len(merged) == len(pairs) == len(own)
    np.testing.assert_allclose(merged["rated"], corpus.scaled(merged["value"]), atol=1e-6)


def test_ccc_of_pairs_and_of_annotators(told: list[Any], pairs: pd.DataFrame) -> None:
    found = scores(told)
    for suffix, column in (("", "said"), ("_told", "told")):
        value = ccc(pairs["rated"].to_numpy(), pairs[column].to_numpy())
        assert found[f"pair_ccc{suffix}", "activation"].value == pytest.approx(value)
        each = {
            name: ccc(group["rated"].to_numpy(), group[column].to_numpy())
            for name, group in pairs.groupby("annotator")
            if len(group) >= LEAST
        }
        mean = found[f"annotator_ccc{suffix}", "activation"].value
        assert mean == pytest.approx(np.mean(list(each.values())))
        (rows,) = (m for m in told if isinstance(m, tuple) and m and m[0].dimension == "activation")
        assert all(isinstance(row, Annotator) for row in rows)
        values = {row.annotator: row.ccc if not suffix else row.ccc_told for row in rows}
        assert values == pytest.approx(each)
        counts = pairs["annotator"].value_counts()
        assert {row.annotator: row.ratings for row in rows} == {n: counts[n] for n in each}


def test_ccc_of_the_mean_of_those_who_rated(
    corpus: Corpus, told: list[Any], pairs: pd.DataFrame
) -> None:
    means = pairs.groupby("utterance")["told"].mean()
    labels = corpus.utterances.set_index("id").loc[means.index, "activation"]
    value = ccc(corpus.scaled(labels), means.to_numpy())
    assert scores(told)["ccc_told", "activation"].value == pytest.approx(value)


def test_whoever_did_not_rate_a_dimension_is_not_in_its_mean(
    corpus: Corpus, ratings: Ratings, evaluation: Evaluation, pairs: pd.DataFrame
) -> None:
    rows, _ = ratings.of(evaluation.indices)
    absent = np.random.default_rng(1).random(len(rows)) < 0.4
    values = ratings.values.copy()
    values[rows[absent], 0] = np.nan
    partly = dataclasses.replace(ratings, values=values)
    found = scores(list(scored(corpus, partly, evaluation).messages()))
    means = pairs[~absent].groupby("utterance")["told"].mean()
    labels = corpus.utterances.set_index("id").loc[means.index, "activation"]
    value = ccc(corpus.scaled(labels), means.to_numpy())
    assert found["ccc_told", "activation"].value == pytest.approx(value)


def test_distances_of_distributions(
    corpus: Corpus, ratings: Ratings, evaluation: Evaluation, told: list[Any]
) -> None:
    found = scores(told)
    rated = ratings.distributions(evaluation.indices).astype(float)
    truth = embedded.plane_mass(corpus, 4)[evaluation.indices]
    said, knowing = (
        torch.cat([getattr(a, name) for a in evaluation.answers]).numpy().astype(float)
        for name in ("distributions", "told_distributions")
    )
    for suffix, p, q in (("", said, rated), ("_told", knowing, rated), ("_true", said, truth)):
        distances = [abs(a - b).sum() / 2 for a, b in zip(p, q, strict=True)]
        score = found[f"tvd{suffix}", ON_PLANE]
        assert score.value == pytest.approx(np.mean(distances), rel=1e-5)
        assert score.low is not None
        assert score.low < score.value < score.high  # type: ignore[operator]
        divergences = [jensenshannon(a.ravel(), b.ravel()) ** 2 for a, b in zip(p, q, strict=True)]
        assert found[f"jsd{suffix}", ON_PLANE].value == pytest.approx(
            np.mean(divergences), rel=1e-5
        )
        for axis, dimension in ((2, "activation"), (1, "valence")):
            along = abs(p.sum(axis) - q.sum(axis)).sum(1) / 2
            assert found[f"tvd{suffix}", dimension].value == pytest.approx(along.mean(), rel=1e-5)
    (message,) = (m for m in told if isinstance(m, Distributions))
    assert message.utterances == tuple(corpus.utterances["id"].iloc[evaluation.indices])
    assert np.mean(message.distances["tvd_true"]) == pytest.approx(  # type: ignore[arg-type]
        found["tvd_true", ON_PLANE].value
    )
    assert min(message.raters) >= 3


def test_expectations_are_of_the_cells_centres(
    corpus: Corpus, evaluation: Evaluation, told: list[Any]
) -> None:
    said = torch.cat([a.distributions for a in evaluation.answers if a.distributions is not None])
    centres = np.array([-0.75, -0.25, 0.25, 0.75])
    valence = said.sum(1).numpy() @ centres
    labels = corpus.scaled(corpus.utterances["valence"])[evaluation.indices]
    value = scores(told)["expectation_ccc", "valence"].value
    assert value == pytest.approx(ccc(labels, valence), rel=1e-4)


def test_a_head_of_labels_alone_has_scores_of_pairs_but_none_of_distributions(
    corpus: Corpus, ratings: Ratings, evaluation: Evaluation
) -> None:
    bare = dataclasses.replace(
        evaluation, answers=tuple(Answer(labels=a.labels) for a in evaluation.answers)
    )
    found = list(scored(corpus, ratings, bare).messages())
    kinds = {metric for metric, _ in scores(found)}
    assert kinds == {"ccc", "pair_ccc", "annotator_ccc"}
    assert not any(isinstance(message, Distributions) for message in found)


def test_without_ratings_there_are_labels_alone(corpus: Corpus, evaluation: Evaluation) -> None:
    none = Ratings.none(len(corpus.utterances), 3)
    bare = dataclasses.replace(corpus, ratings=None)
    found = list(scored(bare, none, evaluation).messages())
    assert {metric for metric, _ in scores(found)} == {"ccc"}
    assert sum(isinstance(message, Predictions) for message in found) == 3


def test_where_raters_are_strangers_nothing_is_said_of_them(
    corpus: Corpus, evaluation: Evaluation
) -> None:
    strangers = ratings_of(corpus, corpus.dimensions, ())
    found = scores(list(scored(corpus, strangers, evaluation).messages()))
    assert not any(metric.endswith("_told") for metric, _ in found)
    assert ("annotator_ccc", "valence") in found, "what everybody is told counts for each"


def test_a_dimension_that_is_not_predicted_has_no_score(
    corpus: Corpus, ratings: Ratings, evaluation: Evaluation
) -> None:
    predicted = evaluation.predicted.copy()
    predicted[:, 2] = np.nan
    partly = dataclasses.replace(evaluation, predicted=predicted)
    found = list(scored(corpus, ratings, partly).messages())
    assert "dominance" not in {dimension for _, dimension in scores(found)}
    assert "dominance" not in {m.dimension for m in found if isinstance(m, Predictions)}
