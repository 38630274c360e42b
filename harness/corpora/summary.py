"""What a corpus holds, in a few numbers: utterances, hours, labels, and how raters agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serbench.harness.backbone import SAMPLE_RATE_HZ
from serbench.harness.corpora import agreement
from serbench.harness.corpora.base import SPLITS, UNKNOWN, Corpus
from serbench.harness.plan import Training

__all__ = [
    "BINS",
    "CUT_S",
    "Durations",
    "LabelSummary",
    "Summary",
    "raters_per_utterance",
    "seconds",
    "summarise",
]

BINS = 10
"""Equal parts of the scale in a histogram of labels."""
CUT_S = Training().max_seconds
"""Where a run cuts long utterances, unless it is told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Durations:
    """How long utterances are, in seconds."""

    minimum_s: float
    median_s: float
    maximum_s: float
    longer: int
    """Utterances longer than `cut_s`."""
    cut_s: float


@dataclass(frozen=True, kw_only=True)
class LabelSummary:
    """One dimension's labels, on the corpus's own scale."""

    labelled: int
    minimum: float
    mean: float
    maximum: float
    histogram: tuple[int, ...]
    """Utterances in ten equal bins from the lower to the upper end of the scale."""
    agreement: float | None
    """Mean CCC over the pairs of annotators who share at least 3 utterances; None without any."""
    pairs: int
    """How many pairs that mean is over."""
    sampled: bool
    """It is over some annotators' pairs, drawn at random: all would take too long."""
    alpha: float | None
    """Krippendorff's alpha for interval data; None if nobody rated what somebody else rated."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a corpus holds, in a few numbers."""

    name: str
    utterances: int
    hours: float
    durations: Durations
    speakers: int
    """Those that are known."""
    unknown_speaker: int
    """Utterances whose speaker nobody knows."""
    splits: dict[str, int]
    """Utterances in each split."""
    folds: int
    """The corpus's own; 0 if it has none."""
    annotators: int | None
    """None if they are not told apart."""
    ratings: int
    """Of an utterance by an annotator, in whatever dimensions."""
    ratings_per_utterance: float | None
    """Mean number of annotators of a rated utterance."""
    labels: dict[str, LabelSummary]
    synthetic: bool
    derived: bool
    licence: str | None
    citation: str | None
    notes: str | None


def summarise(corpus: Corpus) -> Summary:
    """Count what is in a corpus, from its tables alone."""
    table = corpus.utterances
    known = table["speaker"] != UNKNOWN
    raters, rated = raters_per_utterance(corpus), agreement.rated(corpus)
    return Summary(
        name=corpus.name,
        utterances=len(table),
        hours=float(seconds(corpus).sum()) / 3600,
        durations=_durations(seconds(corpus)),
        speakers=int(table["speaker"][known].nunique()),
        unknown_speaker=int((~known).sum()),
        splits={split: int((table["split"] == split).sum()) for split in SPLITS},
        folds=len(corpus.folds),
        annotators=_annotators(corpus),
        ratings=int(raters.sum()),
        ratings_per_utterance=float(raters.mean()) if len(raters) else None,
        labels={name: _label_summary(corpus, name, rated.get(name)) for name in corpus.dimensions},
        synthetic=corpus.synthetic,
        derived=corpus.derived,
        licence=corpus.licence,
        citation=corpus.citation,
        notes=corpus.notes,
    )


def _annotators(corpus: Corpus) -> int | None:
    if corpus.ratings is None:
        return 0
    return None if corpus.anonymous else int(corpus.ratings["annotator"].nunique())


def seconds(corpus: Corpus) -> NDArray[np.float64]:
    """How long each utterance is, (N,)."""
    return corpus.utterances["samples"].to_numpy(np.float64) / SAMPLE_RATE_HZ


def raters_per_utterance(corpus: Corpus) -> NDArray[np.int64]:
    """Number of annotators of each utterance that anybody rated, in no particular order."""
    if corpus.ratings is None:
        return np.zeros(0, np.int64)
    once = corpus.ratings[["utterance", "annotator"]].drop_duplicates()
    counts: NDArray[np.int64] = np.bincount(pd.factorize(once["utterance"])[0])
    return counts


def _durations(lengths_s: NDArray[np.float64]) -> Durations:
    return Durations(
        minimum_s=float(lengths_s.min()),
        median_s=float(np.median(lengths_s)),
        maximum_s=float(lengths_s.max()),
        longer=int((lengths_s > CUT_S).sum()),
        cut_s=CUT_S,
    )


def _label_summary(corpus: Corpus, dimension: str, ratings: agreement.Rated | None) -> LabelSummary:
    values = corpus.utterances[dimension].dropna().to_numpy(dtype=np.float64)
    counts, _ = np.histogram(values, bins=BINS, range=(corpus.minimum, corpus.maximum))
    pairs = None if ratings is None else agreement.pairs(ratings)
    return LabelSummary(
        labelled=len(values),
        minimum=float(values.min()),
        mean=float(values.mean()),
        maximum=float(values.max()),
        histogram=tuple(int(count) for count in counts),
        agreement=float(pairs.ccc.mean()) if pairs is not None and len(pairs.ccc) else None,
        pairs=0 if pairs is None else len(pairs.ccc),
        sampled=pairs is not None and pairs.sampled,
        alpha=None if ratings is None else agreement.alpha(ratings),
    )
