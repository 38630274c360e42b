"""Batches of ratings against a plain loop over the corpus's table."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from serbench.harness import heads
from serbench.harness.audio import Audio
from serbench.harness.corpora import embedded
from serbench.harness.corpora.base import Corpus
from serbench.harness.distributions import HARD, BinMass, Estimator
from serbench.harness.plan import Training
from serbench.harness.targets import Ratings, Targets, annotators_of, batch, ratings_of
from serbench.harness.trainer import Data
from serbench.harness.worker import _data, _with_ratings


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return embedded.load(None)


@pytest.fixture(scope="module")
def found(corpus: Corpus) -> Ratings:
    return ratings_of(corpus, corpus.dimensions, annotators_of(corpus))


def test_a_batch_has_the_ratings_of_its_utterances(corpus: Corpus, found: Ratings) -> None:
    indices = np.array([300, 4, 17, 4])
    labels = np.zeros((len(corpus.utterances), 3), np.float32)
    there = batch(indices, labels, found)
    assert there.utterance.tolist() == sorted(there.utterance.tolist())
    table = corpus.ratings
    assert table is not None
    for position, index in enumerate(indices):
        own = table[table["utterance"] == corpus.utterances["id"].iloc[index]]
        expected = own.pivot(index="annotator", columns="dimension", values="value")
        rows = (there.utterance == position).numpy()
        names = [found.annotators[i] for i in there.annotator[rows]]
        assert sorted(names) == sorted(expected.index)
        values = corpus.scaled(expected.loc[names, list(corpus.dimensions)])
        np.testing.assert_allclose(there.ratings[rows].numpy(), values, atol=1e-6)
    assert there.distributions.isnan().all(), "nobody asked"


def test_annotators_are_those_of_training_by_name(corpus: Corpus) -> None:
    names = annotators_of(corpus)
    assert list(names) == sorted(names)
    only = corpus.ratings
    assert only is not None
    train = corpus.utterances["id"][corpus.utterances["split"] == "train"]
    kept = only[only["utterance"].isin(train) | (only["annotator"] != names[0])]
    kept = kept[~(kept["utterance"].isin(train) & (kept["annotator"] == names[1]))]
    fewer = dataclasses.replace(corpus, ratings=kept)
    assert annotators_of(fewer) == (names[0], *names[2:])
    strangers = ratings_of(fewer, corpus.dimensions, annotators_of(fewer))
    unknown = {strangers.people[i] for i in strangers.person[strangers.annotator < 0]}
    assert unknown == {names[1]}


def test_nobody_is_known_where_raters_are_anonymous(corpus: Corpus) -> None:
    anonymous = dataclasses.replace(corpus, anonymous=True)
    assert annotators_of(anonymous) == ()
    ratings = ratings_of(anonymous, corpus.dimensions, ("a00",))
    assert set(ratings.annotator) == {-1}
    assert ratings.people == ()
    assert len(ratings.values) == len(corpus.ratings) / 3  # type: ignore[arg-type]


def test_a_corpus_without_ratings_has_none(corpus: Corpus) -> None:
    bare = dataclasses.replace(corpus, ratings=None)
    ratings = ratings_of(bare, corpus.dimensions, ())
    rows, utterance = ratings.of(np.arange(5))
    assert len(rows) == len(utterance) == 0
    assert np.isnan(ratings.distributions(np.arange(5))).all()


def made_up(rows: list[tuple[str, str, str, float]], **changes: Any) -> Corpus:
    table = pd.DataFrame(
        {
            "id": ["u0", "u1", "u2"],
            "path": None,
            "speaker": ["s0", "s1", "s2"],
            "split": ["train", "validation", "test"],
            "samples": 16_000,
            "activation": [1.0, 3.0, 5.0],
            "valence": [1.0, 3.0, 5.0],
        }
    )
    ratings = pd.DataFrame(rows, columns=["utterance", "annotator", "dimension", "value"])
    return Corpus(
        name="made-up", utterances=table, minimum=1, maximum=5, ratings=ratings, **changes
    )


def test_what_was_not_rated_is_nan_and_gives_no_distribution() -> None:
    corpus = made_up(
        [
            ("u0", "a", "activation", 2.0),
            ("u0", "a", "valence", 4.0),
            ("u0", "b", "activation", 1.0),
            ("u2", "b", "valence", 5.0),
            ("u2", "c", "activation", 5.0),
            ("u1", "a", "dominance", 5.0),
        ]
    )
    ratings = ratings_of(corpus, corpus.dimensions, annotators_of(corpus))
    assert ratings.annotators == ("a", "b")
    there = batch(np.arange(3), np.zeros((3, 2), np.float32), ratings)
    torch.testing.assert_close(
        there.ratings,
        torch.tensor([[-0.5, 0.5], [-1, np.nan], [np.nan, 1], [1, np.nan]], dtype=torch.float32),
        equal_nan=True,
    )
    assert there.annotator.tolist() == [0, 1, 1, -1]
    assert np.isnan(ratings.distributions(np.arange(3))).all(), "nobody, or one, rated both"


def test_distributions_are_the_published_estimate_of_the_ratings(found: Ratings) -> None:
    indices = np.array([2, 90])
    masses = found.distributions(indices)
    np.testing.assert_array_equal(masses, found.distributions(indices), "draws are fixed")
    rows, utterance = found.of(indices)
    expected = HARD.of_pairs(
        torch.from_numpy(found.values[rows][:, :2]).double(),
        torch.from_numpy(utterance),
        2,
        generator=torch.Generator().manual_seed(0),
    )
    np.testing.assert_allclose(masses, expected.numpy(), atol=1e-6)
    np.testing.assert_allclose(masses.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_what_is_imagined_is_well_formed() -> None:
    for annotators, ratings in ((0, 0), (2, 12)):
        there = Targets.imagined(4, 2, annotators)
        assert len(there.ratings) == len(there.utterance) == len(there.annotator) == ratings
        assert there.labels.shape == (4, 2)
        assert set(there.annotator.tolist()) <= {0, 1}


@pytest.mark.parametrize("text", ["distribution", "annotators:tasks=3", "annotators-onehot"])
@pytest.mark.parametrize(
    ("labels", "estimator"),
    [("labels=diffkde", HARD), ("labels=binmass,bandwidth=0.1", BinMass(0.1))],
)
def test_a_head_chooses_what_makes_the_distributions_that_it_learns(
    corpus: Corpus, text: str, labels: str, estimator: Estimator
) -> None:
    train = np.flatnonzero(corpus.utterances["split"] == "train")[::8]
    blank = np.zeros((len(corpus.utterances), len(corpus.dimensions)), np.float32)
    data = Data(Audio(lambda indices: [], np.zeros(len(blank), np.int64)), blank, {"train": train})
    chosen = heads.parse(f"{text}{',' if ':' in text else ':'}{labels}")
    told = _with_ratings(data, corpus, chosen.objective)
    assert told.ratings is not None
    assert told.distributions is not None
    expected = told.ratings.distributions(train, estimator)
    np.testing.assert_array_equal(told.distributions[train], expected)
    assert np.isnan(np.delete(told.distributions, train, axis=0)).all(), "not of other splits"
    assert np.isfinite(expected).all(axis=(1, 2)).mean() > 0.9


def test_annotators_are_those_of_the_utterances_that_are_used(corpus: Corpus) -> None:
    data = _data(corpus, Training(limit=10), False, again=False)
    told = _with_ratings(data, corpus, heads.parse("annotators").objective).ratings
    assert told is not None
    rows, _ = told.of(data.splits["train"])
    learnt = set(told.annotator[rows].tolist())
    assert learnt == set(range(len(told.annotators))), "nobody is numbered who teaches nothing"
    assert len(learnt) < len(annotators_of(corpus))


def test_who_rated_only_what_has_no_labels_is_no_annotator() -> None:
    corpus = made_up([("u0", "a", "activation", 2.0), ("u0", "b", "dominance", 2.0)])
    assert annotators_of(corpus) == ("a",)


def test_a_batch_takes_as_many_calls_whatever_its_size(corpus: Corpus, found: Ratings) -> None:
    """Nothing in Python is done for each rating, or for each utterance."""
    labels = np.zeros((len(corpus.utterances), 3), np.float32)
    calls = []
    for size in (2, 400):
        count = itertools.count()
        sys.setprofile(lambda *_, count=count: next(count))
        try:
            batch(np.arange(size), labels, found)
        finally:
            sys.setprofile(None)
        calls.append(next(count))
    assert calls[0] == calls[1]
