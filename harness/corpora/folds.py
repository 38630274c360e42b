"""Which speakers go where: splits and folds in which nobody is on two sides."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serbench.harness.corpora.base import SPLITS, Corpus, Split
from serbench.harness.errors import CorpusError, RequestError

__all__ = ["FOLDS", "chosen", "parted", "speaker_parts", "speaker_splits"]

SHARES: dict[Split, float] = {"train": 0.6, "validation": 0.2, "test": 0.2}
FOLDS = 5
"""How many folds a corpus without its own has, unless a number is given."""
FEWEST = len(SPLITS)
ORDERS = 64
"""Hashed orders of the speakers that are tried; fewer if there are so many speakers that any order
is balanced."""
DEALT = 200_000
"""Speakers dealt in all orders together, at most."""

P = TypeVar("P", bound=Hashable)
Sums = NDArray[np.float64]


def chosen(text: str, corpus: Corpus) -> tuple[str, ...]:
    """The folds that are asked for, each as `NUMBER/COUNT`, numbered from 1.

    Args:
        text: `all`, or numbers joined by commas; `/COUNT` behind either asks for so many folds
            where the corpus has none of its own, or others.
        corpus: to be parted.

    Raises:
        RequestError: the text is none of these, or the corpus has too few speakers.
    """
    match = re.fullmatch(r"(all|\d+(?:,\d+)*)(?:/(\d+))?", text.replace(" ", ""))
    if match is None:
        raise RequestError(f"--folds takes all, all/10, or numbers such as 1,2 or 1/10: '{text}'")
    speakers = int(corpus.utterances["speaker"].nunique())
    usual = len(corpus.folds) or max(FEWEST, min(FOLDS, speakers))
    count = int(match[2]) if match[2] else usual
    if count < FEWEST:
        raise RequestError(
            f"--folds {text}: at least {FEWEST} folds are needed, to test, validate and train on"
        )
    if count > speakers:
        raise RequestError(
            f"--folds {text}: {corpus.name} has {speakers} speakers, too few for {count} folds"
        )
    numbers = range(1, count + 1) if match[1] == "all" else [int(n) for n in match[1].split(",")]
    wrong = [number for number in numbers if not 1 <= number <= count]
    if wrong:
        raise RequestError(f"--folds {text}: there is no fold {wrong[0]}, only 1 to {count}")
    return tuple(dict.fromkeys(f"{number}/{count}" for number in numbers))


def parted(corpus: Corpus, fold: str) -> Corpus:
    """The corpus with the splits of one fold.

    It is the corpus's own fold if it has as many. Otherwise the speakers are dealt to as many
    parts, of which one tests, the next one validates, and the others train.

    Args:
        corpus: to be parted.
        fold: `NUMBER/COUNT`, as `chosen` gives it.
    """
    number, count = (int(part) for part in fold.split("/"))
    speakers = corpus.utterances["speaker"]
    if count == len(corpus.folds):
        own = corpus.folds[number - 1]
        splits = [own[speaker] for speaker in speakers]
    else:
        parts = speaker_parts(list(speakers), count, corpus.utterances[list(corpus.dimensions)])
        roles: dict[int, Split] = {number: "test", number % count + 1: "validation"}
        splits = [roles.get(part, "train") for part in parts]
    return dataclasses.replace(corpus, utterances=corpus.utterances.assign(split=splits))


def speaker_parts(
    speakers: Sequence[str], count: int, labels: pd.DataFrame | None = None
) -> list[int]:
    """The part, from 1, of each utterance, so that no speaker is in two and all are alike.

    As `speaker_splits`, with equal shares.

    Raises:
        CorpusError: there are fewer speakers than parts.
    """
    return _balanced(speakers, dict.fromkeys(range(1, count + 1), 1 / count), labels)


def speaker_splits(speakers: Sequence[str], labels: pd.DataFrame | None = None) -> list[Split]:
    """Train, validation or test for each utterance, so that no speaker is in two of them.

    About 60, 20 and 20 % of the utterances, at least one speaker each. Of some hashed orders of the
    speakers the one is taken whose shares, and mean `labels` (a row an utterance), are nearest to
    the whole corpus's; so the result rests on the names and labels only, not on the order of rows.
    All utterances of unknown speakers count as one speaker's.

    Raises:
        CorpusError: there are fewer than three speakers.
    """
    return _balanced(speakers, SHARES, labels)


def _balanced(
    speakers: Sequence[str], shares: Mapping[P, float], labels: pd.DataFrame | None
) -> list[P]:
    sizes = Counter(speakers)
    if len(sizes) < len(shares):
        parts = ", ".join(map(str, shares))
        raise CorpusError(
            f"{len(sizes)} speakers cannot be parted into {parts}: "
            f"at least {len(shares)} are needed"
        )
    names = sorted(sizes)
    sums = None if labels is None else _label_sums(names, speakers, labels)
    orders = max(1, min(ORDERS, DEALT // len(sizes)))
    candidates = [_dealt(sizes, shares, salt) for salt in range(orders)]
    best = min(candidates, key=lambda dealt: _imbalance(dealt, names, sizes, shares, sums))
    return [best[speaker] for speaker in speakers]


def _label_sums(names: Sequence[str], speakers: Sequence[str], labels: pd.DataFrame) -> Sums:
    """For each of `names` the sums of the standardised labels, then their counts, (S, 2, D)."""
    values = labels.to_numpy(dtype=np.float64)
    known = ~np.isnan(values)
    counts = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, values - np.nansum(values, axis=0) / counts, 0.0)
    deviations = np.sqrt((centred**2).sum(axis=0) / counts)
    standard = centred / np.where(deviations > 0, deviations, 1.0)
    sums = np.zeros((len(names), 2, values.shape[1]))
    which = pd.Index(names).get_indexer(pd.Index(speakers))
    np.add.at(sums, which, np.stack([standard, known], axis=1))
    return sums


def _dealt(sizes: Mapping[str, int], shares: Mapping[P, float], salt: int) -> dict[str, P]:
    """Deal the speakers, in a hashed order, to the part that is emptiest for its share."""
    total = sum(sizes.values())
    held = dict.fromkeys(shares, 0)
    dealt: dict[str, P] = {}
    for speaker in sorted(sizes, key=lambda name: _hashed(salt, name)):
        part = min(shares, key=lambda name: held[name] / (shares[name] * total))
        dealt[speaker] = part
        held[part] += sizes[speaker]
    return dealt


def _imbalance(
    dealt: Mapping[str, P],
    names: Sequence[str],
    sizes: Mapping[str, int],
    shares: Mapping[P, float],
    sums: Sums | None,
) -> float:
    total = sum(sizes.values())
    cost = 0.0
    for part, share in shares.items():
        members = [i for i, name in enumerate(names) if dealt[name] == part]
        cost += abs(sum(sizes[names[i]] for i in members) / total - share)
        if sums is not None:
            cost += _label_distance(sums[members].sum(axis=0))
    # Sums in another order of rows differ in the last bits, which must not decide.
    return round(cost, 9)


def _label_distance(sums: Sums) -> float:
    """Mean distance of a part's mean labels from the corpus's, in tenths of a deviation."""
    totals, counts = sums
    # A part without a label in some dimension is worse than any imbalance.
    distances = np.where(counts > 0, np.abs(totals) / np.maximum(counts, 1), 100.0)
    return float(distances.mean()) / 10


def _hashed(salt: int, name: str) -> str:
    return hashlib.blake2b(json.dumps([salt, name]).encode(), digest_size=16).hexdigest()
