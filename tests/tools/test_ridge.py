"""The linear baseline finds what is linear, and never learns from those it is tested on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import ridge

from serbench.harness.corpora import generated
from serbench.harness.corpora.base import Corpus


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return generated.load("speakers=12,utterances=10")


def test_it_finds_a_linear_relation(corpus: Corpus) -> None:
    rng = np.random.default_rng(0)
    labels = corpus.utterances[list(corpus.dimensions)].to_numpy()
    features = np.column_stack([labels, rng.normal(size=(len(labels), 20))])
    for scores in (ridge.in_folds(features, corpus), ridge.held_out(features, corpus)):
        assert [*scores] == [*corpus.dimensions]
        assert min(scores.values()) > 0.95


def test_knowing_the_speaker_helps_nobody(corpus: Corpus) -> None:
    """Labels that follow the speaker alone cannot be told for a speaker never met."""
    table = corpus.utterances
    means = np.linspace(1, 5, table["speaker"].nunique())
    means = np.random.default_rng(1).permutation(means)
    known = dict(zip(table["speaker"].unique(), means, strict=True))
    own = dataclasses.replace(
        corpus, utterances=table.assign(activation=table["speaker"].map(known)), ratings=None
    )
    speakers = table["speaker"].to_numpy(str)
    one_hot = (speakers[:, None] == np.unique(speakers)).astype(float)
    assert ridge.in_folds(one_hot, own)["activation"] < 0.2


def test_recall_of_categories(corpus: Corpus) -> None:
    table = corpus.utterances
    emotion = np.where(table["activation"] > 3, "loud", "low")
    named = dataclasses.replace(corpus, utterances=table.assign(emotion=emotion))
    told = table[["activation"]].to_numpy()
    noise = np.random.default_rng(2).normal(size=(len(table), 3))
    assert ridge.recall_in_folds(told, named) > 0.85
    assert 0.3 < ridge.recall_in_folds(noise, named) < 0.7
