"""What a corpus holds, in a few numbers: utterances, hours, labels, and how raters agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
        raters = ratings.groupby("utterance")["annotator"].nunique()
        per_utterance = float(raters.mean())
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
    if corpus.ratings is None:
        return None
    one = corpus.ratings[corpus.ratings["dimension"] == dimension][["utterance", "annotator"]]
    one = one.assign(x=corpus.scaled(corpus.ratings.loc[one.index, "value"]))
    pairs = one.merge(one.rename(columns={"annotator": "other", "x": "y"}), on="utterance")
    pairs = pairs[pairs["annotator"] < pairs["other"]]
    pairs = pairs.assign(xx=pairs["x"] ** 2, yy=pairs["y"] ** 2, xy=pairs["x"] * pairs["y"])
    grouped = pairs.groupby(["annotator", "other"])[["x", "y", "xx", "yy", "xy"]]
    means = grouped.mean()[grouped.size() >= 3]
    # 2 cov / (var + var + (difference of the means)²), with the means multiplied out.
    covariance = means["xy"] - means["x"] * means["y"]
    spread = means["xx"] + means["yy"] - 2 * means["x"] * means["y"]
    measured = spread > 1e-12
    if not measured.any():
        return None
    return float((2 * covariance[measured] / spread[measured]).mean())
