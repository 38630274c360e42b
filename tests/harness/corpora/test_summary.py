"""What a summary says of a corpus."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from serbench.harness.corpora.base import UNKNOWN, Corpus, Split
from serbench.harness.corpora.summary import raters_per_utterance, summarise


@pytest.fixture
def corpus() -> Corpus:
    speakers = ["a", "b", "c", UNKNOWN, UNKNOWN]
    table = pd.DataFrame(
        {
            "id": list("vwxyz"),
            "path": None,
            "speaker": speakers,
            "split": ["train", "validation", "test", "train", "test"],
            "samples": [16_000, 32_000, 192_000, 192_001, 400_000],
            "activation": [1.0, 1.0, 3.0, 5.0, math.nan],
            "valence": [2.0] * 5,
        }
    )
    rows = [
        (utterance, annotator, dimension, value)
        for dimension in ("activation", "dominance")
        for annotator, off in (("r1", 0.0), ("r2", 1.0), ("r3", 0.0))
        for utterance, value in (("v", 1.0 + off), ("w", 2.0 + off), ("x", 3.0 + off))
        if (annotator, utterance) != ("r3", "x")
    ]
    columns = ["utterance", "annotator", "dimension", "value"]
    fold: dict[str, Split] = dict.fromkeys(speakers, "train")
    return Corpus(
        name="five",
        utterances=table,
        minimum=1.0,
        maximum=5.0,
        ratings=pd.DataFrame(rows, columns=columns),
        folds=(fold, fold),
        derived=True,
        licence="CC0",
        citation="Nobody (2000)",
        notes="Nothing.",
    )


def test_everything_is_counted(corpus: Corpus) -> None:
    summary = summarise(corpus)
    assert (summary.name, summary.utterances, summary.folds) == ("five", 5, 2)
    assert (summary.speakers, summary.unknown_speaker) == (3, 2)
    assert summary.splits == {"train": 2, "validation": 1, "test": 2}
    assert summary.hours == pytest.approx(832_001 / 16_000 / 3600)
    assert (summary.licence, summary.citation, summary.notes) == (
        "CC0",
        "Nobody (2000)",
        "Nothing.",
    )
    assert (summary.derived, summary.synthetic) == (True, False)


def test_what_a_run_would_cut_is_counted(corpus: Corpus) -> None:
    lengths = summarise(corpus).durations
    assert (lengths.minimum_s, lengths.median_s, lengths.maximum_s) == (1, 12, 25)
    assert (lengths.longer, lengths.cut_s) == (2, 12)


def test_ratings_are_counted_by_annotator_and_utterance(corpus: Corpus) -> None:
    summary = summarise(corpus)
    assert (summary.annotators, summary.ratings) == (3, 8)
    assert summary.ratings_per_utterance == pytest.approx(8 / 3)
    assert sorted(raters_per_utterance(corpus)) == [2, 3, 3]


def test_labels_have_their_histogram_and_agreement(corpus: Corpus) -> None:
    labels = summarise(corpus).labels
    activation, valence = labels["activation"], labels["valence"]
    assert list(labels) == ["activation", "valence"], "what is only rated is no label"
    assert (activation.labelled, activation.histogram) == (4, (2, 0, 0, 0, 0, 1, 0, 0, 0, 1))
    assert (activation.minimum, activation.mean, activation.maximum) == (1, 2.5, 5)
    # r1 and r2 are a point apart; the third shares but two utterances with either.
    variance = np.var([1, 2, 3])
    assert activation.pairs == 1
    assert activation.agreement == pytest.approx(2 * variance / (2 * variance + 1))
    assert activation.alpha is not None
    assert (valence.agreement, valence.pairs, valence.alpha) == (None, 0, None)


def test_a_corpus_without_ratings_has_none(corpus: Corpus) -> None:
    plain = Corpus(name="plain", utterances=corpus.utterances, minimum=1, maximum=5)
    summary = summarise(plain)
    assert (summary.annotators, summary.ratings, summary.ratings_per_utterance) == (0, 0, None)
    assert summary.labels["activation"].alpha is None
