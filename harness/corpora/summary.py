"""What a corpus holds, in a few numbers: utterances, hours, labels, and how raters agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from serbench.harness.backbone import SAMPLE_RATE_HZ
from serbench.harness.corpora.base import SPLITS, Corpus

__all__ = ["LabelSummary", "Summary", "summarise"]


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
    """Mean CCC over all pairs of annotators who share at least 3 utterances; None without any."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a corpus holds, in a few numbers."""

    name: str
    utterances: int
    hours: float
    speakers: int
    splits: dict[str, int]
    """Utterances in each split."""
    annotators: int
    ratings_per_utterance: float | None
    """Mean number of annotators of a rated utterance."""
    labels: dict[str, LabelSummary]


def summarise(corpus: Corpus) -> Summary:
    """Count what is in a corpus, from its tables alone."""
    table, ratings = corpus.utterances, corpus.ratings
    per_utterance = None
    if ratings is not None and len(ratings):
        pairs = ratings[["utterance", "annotator"]].drop_duplicates()
        per_utterance = len(pairs) / pairs["utterance"].nunique()
    return Summary(
        name=corpus.name,
        utterances=len(table),
        hours=int(table["samples"].sum()) / SAMPLE_RATE_HZ / 3600,
        speakers=int(table["speaker"].nunique()),
        splits={split: int((table["split"] == split).sum()) for split in SPLITS},
        annotators=0 if ratings is None else int(ratings["annotator"].nunique()),
        ratings_per_utterance=per_utterance,
        labels={name: _label_summary(corpus, name) for name in corpus.dimensions},
    )


def _label_summary(corpus: Corpus, dimension: str) -> LabelSummary:
    values = corpus.utterances[dimension].dropna().to_numpy(dtype=np.float64)
    counts, _ = np.histogram(values, bins=10, range=(corpus.minimum, corpus.maximum))
    return LabelSummary(
        labelled=len(values),
        minimum=float(values.min()),
        mean=float(values.mean()),
        maximum=float(values.max()),
        histogram=tuple(int(count) for count in counts),
        agreement=_agreement(corpus, dimension),
    )


def _agreement(corpus: Corpus, dimension: str) -> float | None:
    if corpus.ratings is None or dimension not in set(corpus.ratings["dimension"].unique()):
        return None
    one = corpus.ratings[corpus.ratings["dimension"] == dimension]
    utterance, _ = pd.factorize(one["utterance"])
    annotator, names = pd.factorize(one["annotator"])
    order = np.lexsort((annotator, utterance))
    utterance, annotator = utterance[order], annotator[order]
    value = corpus.scaled(one["value"])[order]
    sums = []
    first, apart = np.arange(len(order)), 0
    # All pairs at once would be many times the ratings: one by one those so many places apart.
    while len(first):
        apart += 1
        first = first[first + apart < len(order)]
        first = first[utterance[first] == utterance[first + apart]]
        x, y = value[first], value[first + apart]
        terms = {"n": 1.0, "x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y}
        pair = annotator[first] * len(names) + annotator[first + apart]
        sums.append(pd.DataFrame(terms, index=pair).groupby(level=0).sum())
    shared = pd.concat(sums).groupby(level=0).sum()
    means = shared[shared["n"] >= 3].pipe(lambda table: table.div(table["n"], axis=0))
    # 2 cov / (var + var + (difference of the means)²), with the means multiplied out.
    covariance = means["xy"] - means["x"] * means["y"]
    spread = means["xx"] + means["yy"] - 2 * means["x"] * means["y"]
    measured = spread > 1e-12
    if not measured.any():
        return None
    return float((2 * covariance[measured] / spread[measured]).mean())
