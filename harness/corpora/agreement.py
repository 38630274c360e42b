"""How far annotators agree: the concordance of each pair, and Krippendorff's alpha over all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serbench.harness.corpora.base import Corpus

__all__ = ["Pairs", "Rated", "alpha", "pairs", "rated"]

FEWEST_SHARED = 3
"""Utterances that a pair of annotators must share: over two, a concordance is chance."""
MOST_PAIRS = 10_000_000
"""Pairs of ratings of one utterance that are looked at in a dimension, so that utterances which
thousands of people rated take seconds, not hours."""
AT_ONCE = 1_000_000
"""Pairs of ratings in memory at a time, about 100 bytes each."""

Indices: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rated:
    """One dimension's ratings, as three arrays of shape (R,)."""

    utterances: Indices
    """Numbers of the utterances, from 0; the same in every dimension."""
    annotators: Indices
    """Likewise."""
    values: Floats
    """In [-1, 1]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Pairs of annotators who share at least 3 utterances."""

    ccc: Floats
    """Their CCC over what they share. A pair of which both always give one and the same value has
    none, and is left out."""
    sampled: bool
    """Those of some annotators, drawn at random, with everybody; not all."""


def rated(corpus: Corpus) -> dict[str, Rated]:
    """The ratings of each dimension that is both labelled and rated."""
    if corpus.ratings is None:
        return {}
    utterances, _ = pd.factorize(corpus.ratings["utterance"])
    annotators, _ = pd.factorize(corpus.ratings["annotator"])
    values = corpus.scaled(corpus.ratings["value"])
    dimensions = corpus.ratings["dimension"].to_numpy()
    chosen = {name: np.flatnonzero(dimensions == name) for name in corpus.dimensions}
    return {
        name: Rated(utterances=utterances[at], annotators=annotators[at], values=values[at])
        for name, at in chosen.items()
        if len(at)
    }


def alpha(ratings: Rated) -> float | None:
    """Krippendorff's alpha for interval data, at most 1; 0 is agreement by chance.

    1 - observed / expected disagreement, where the disagreement of two values is their squared
    difference. Within an utterance of n values the squared differences of all pairs add up to
    n times the squared deviations from the mean, so that no pairs need be formed: Krippendorff
    (2011), "Computing Krippendorff's alpha-reliability". None if no utterance has two ratings, or
    if all ratings are the same.
    """
    counts = np.bincount(ratings.utterances)
    paired = counts[ratings.utterances] > 1
    if not paired.any():
        return None
    utterances, values = ratings.utterances[paired], ratings.values[paired]
    means = np.bincount(utterances, values) / np.maximum(np.bincount(utterances), 1)
    sizes = counts[utterances]
    observed = ((values - means[utterances]) ** 2 * sizes / (sizes - 1)).sum()
    expected = ((values - values.mean()) ** 2).sum() * len(values) / (len(values) - 1)
    return float(1 - observed / expected) if expected > 1e-12 else None


def pairs(ratings: Rated, most: int = MOST_PAIRS) -> Pairs:
    """CCC of pairs of annotators; of all, unless that takes more than `most` pairs of ratings."""
    people = int(ratings.annotators.max()) + 1
    # In an order of chance, so that those who come before the limit are a fair sample.
    ranks = np.random.default_rng(0).permutation(people)[ratings.annotators]
    order = np.lexsort((ranks, ratings.utterances))
    utterances, ranks = ratings.utterances[order], ranks[order]
    # The partners of a rating are those of the same utterance that stand behind it.
    ends = np.cumsum(np.bincount(utterances))[utterances]
    partners = ends - np.arange(len(ends)) - 1
    # Pairs of ratings up to and with each annotator's.
    until = np.cumsum(np.bincount(ranks, partners, minlength=people).astype(np.int64))
    last = max(1, int(np.searchsorted(until, most, side="right")))
    found = [
        _concordances(ranks, ratings.values[order], rows, partners[rows], people)
        for rows in _portions(ranks, until[:last])
    ]
    return Pairs(ccc=np.concatenate(found), sampled=bool(until[last - 1] < until[-1]))


def _portions(ranks: Indices, until: Indices) -> Iterator[Indices]:
    """Rows of whole annotators, of so many that their pairs of ratings can be held at once."""
    by_rank = np.argsort(ranks, kind="stable")
    starts = np.searchsorted(ranks[by_rank], np.arange(len(until) + 1))
    done = 0
    while done < len(until):
        before = until[done - 1] if done else 0
        stop = max(done + 1, int(np.searchsorted(until, before + AT_ONCE, side="right")))
        yield by_rank[starts[done] : starts[stop]]
        done = stop


def _concordances(
    ranks: Indices, values: Floats, rows: Indices, partners: Indices, people: int
) -> Floats:
    """CCC of the pairs of annotators that `rows` make with the `partners` behind each."""
    first = np.repeat(rows, partners)
    behind = np.arange(len(first)) - np.repeat(np.cumsum(partners) - partners, partners)
    second = first + 1 + behind
    pair = ranks[first] * people + ranks[second]
    order = np.argsort(pair)
    starts = np.flatnonzero(np.diff(pair[order], prepend=-1))
    shared = np.diff(starts, append=len(pair))
    x, y = values[first[order]], values[second[order]]
    enough = shared >= FEWEST_SHARED
    mean_x, mean_y, squares, products = (
        np.add.reduceat(terms, starts)[enough] / shared[enough] if len(starts) else terms
        for terms in (x, y, x * x + y * y, x * y)
    )
    # 2 cov / (var + var + (difference of the means)²), with the means multiplied out.
    covariance = products - mean_x * mean_y
    spread = squares - 2 * mean_x * mean_y
    measured = spread > 1e-12
    ccc: Floats = 2 * covariance[measured] / spread[measured]
    return ccc
