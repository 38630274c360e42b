"""What the summary of a large corpus takes, and agreement where thousands rated the same.

OMP_NUM_THREADS=1 pytest tests/benchmarks/test_corpus_summary.py --benchmark-enable --benchmark-only
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pytest_benchmark.fixture import BenchmarkFixture

from serbench.harness.corpora.agreement import Rated, pairs
from serbench.harness.corpora.base import SPLITS, Corpus
from serbench.harness.corpora.summary import summarise
from serbench.harness.metrics import DIMENSIONS

UTTERANCES, SPEAKERS, ANNOTATORS, EACH = 100_000, 1500, 30_000, 5
CONTROLS = 10
"""Utterances that every annotator rated."""


def made_up() -> Corpus:
    """A corpus of a crowd: each utterance by five neighbours in a list of 30,000 annotators."""
    rng = np.random.default_rng(0)
    names = np.array([f"MSP-PODCAST_{number:06}" for number in range(UTTERANCES)])
    speakers = rng.integers(0, SPEAKERS, UTTERANCES)
    steps = rng.integers(1, 4, (UTTERANCES, EACH)).cumsum(axis=1)
    annotators = (rng.integers(0, ANNOTATORS, (UTTERANCES, 1)) + steps) % ANNOTATORS
    felt = rng.uniform(1.5, 6.5, (UTTERANCES, len(DIMENSIONS)))
    rated = pd.DataFrame(
        {
            "utterance": np.repeat(names, EACH),
            "annotator": [f"WORKER{number:08}" for number in annotators.ravel()],
        }
    )
    heard = np.repeat(felt, EACH, axis=0) + rng.normal(0, 0.8, (UTTERANCES * EACH, len(DIMENSIONS)))
    values = heard.round().clip(1, 7).T
    return Corpus(
        name="crowd",
        utterances=pd.DataFrame(
            {
                "id": names,
                "path": None,
                "speaker": [f"s{number}" for number in speakers],
                "split": np.array(SPLITS)[speakers % len(SPLITS)],
                "samples": rng.integers(32_000, 200_000, UTTERANCES),
                **dict(zip(DIMENSIONS, felt.T, strict=True)),
            }
        ),
        minimum=1,
        maximum=7,
        ratings=pd.concat(
            [
                rated.assign(dimension=name, value=column)
                for name, column in zip(DIMENSIONS, values, strict=True)
            ]
        ),
    )


def test_summary(benchmark: BenchmarkFixture) -> None:
    """100,000 utterances, 500,000 ratings by 30,000 annotators, in three dimensions."""
    summary = benchmark(summarise, made_up())
    assert summary.ratings == UTTERANCES * EACH
    assert all(label.pairs > 0 and not label.sampled for label in summary.labels.values())


def test_agreement_where_everybody_rated_the_same(benchmark: BenchmarkFixture) -> None:
    """Ten utterances by 30,000 annotators each: of 4.5 billion pairs of ratings a sample."""
    values = np.random.default_rng(0).uniform(-1, 1, CONTROLS * ANNOTATORS)
    ratings = Rated(
        utterances=np.repeat(np.arange(CONTROLS), ANNOTATORS),
        annotators=np.tile(np.arange(ANNOTATORS), CONTROLS),
        values=values,
    )
    found = benchmark(pairs, ratings)
    assert found.sampled
    assert len(found.ccc) > 900_000
