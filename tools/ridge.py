"""Ridge regression on one vector an utterance, no speaker on both sides: the linear baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import audmetric
import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold

from serbench.harness.corpora.base import Corpus
from serbench.harness.metrics import ccc

__all__ = ["Values", "held_out", "in_folds", "recall_in_folds"]

Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
FOLDS = 10
INNER_FOLDS = 4
"""Those that the penalty is chosen in."""
PENALTIES = np.logspace(0, 5, 11)
"""On standardised features, summed over utterances."""
Score = Callable[[Values, Values], npt.NDArray[np.float64]]
"""Of targets (N, D) and predictions (P, N, D): (P, D), or (P, 1) for all dimensions together."""


def in_folds(features: Values, corpus: Corpus) -> dict[str, float]:
    """CCC of each dimension over predictions pooled from ten speaker-disjoint folds.

    Args:
        features: (N, K), in the order of `corpus.utterances`.
        corpus: has the labels and the speakers.
    """
    labels = _labels(corpus)
    pooled = _pooled(features, labels, _speakers(corpus), _ccc_each)
    return dict(zip(corpus.dimensions, _ccc_each(labels, pooled[None])[0].tolist(), strict=True))


def held_out(features: Values, corpus: Corpus) -> dict[str, float]:
    """CCC of each dimension on the corpus's test split, learnt from the two others."""
    testing = (corpus.utterances["split"] == "test").to_numpy()
    learnt, tested = np.flatnonzero(~testing), np.flatnonzero(testing)
    labels = _labels(corpus)
    found = _tuned(features, labels, _speakers(corpus), learnt, tested, _ccc_each)
    scores = _ccc_each(labels[tested], found[None])[0]
    return dict(zip(corpus.dimensions, scores.tolist(), strict=True))


def recall_in_folds(features: Values, corpus: Corpus) -> float:
    """Unweighted average recall of the column `emotion`, in the folds of `in_folds`.

    The category whose indicator is predicted highest is the guess.
    """
    emotion = corpus.utterances["emotion"].to_numpy(str)
    indicators = (emotion[:, None] == np.unique(emotion)).astype(float)
    pooled = _pooled(features, indicators, _speakers(corpus), _recall)
    return float(_recall(indicators, pooled[None])[0, 0])


def _labels(corpus: Corpus) -> Values:
    labels: Values = corpus.utterances[list(corpus.dimensions)].to_numpy(float)
    return labels


def _speakers(corpus: Corpus) -> npt.NDArray[np.str_]:
    return corpus.utterances["speaker"].to_numpy(str)


def _ccc_each(targets: Values, predicted: Values) -> Values:
    columns = range(targets.shape[1])
    scores: Values = np.array(
        [[ccc(targets[:, d], each[:, d]) for d in columns] for each in predicted]
    )
    return scores


def _recall(targets: Values, predicted: Values) -> Values:
    truth = targets.argmax(-1)
    guesses = predicted.argmax(-1)
    recalls: Values = np.array(
        [[audmetric.unweighted_average_recall(truth, each)] for each in guesses]
    )
    return recalls


def _pooled(
    features: Values, targets: Values, speakers: npt.NDArray[np.str_], score: Score
) -> Values:
    """Predictions (N, D), each made without the speaker's own fold."""
    pooled = np.empty_like(targets)
    for learnt, tested in _folds(FOLDS, speakers):
        pooled[tested] = _tuned(features, targets, speakers, learnt, tested, score)
    return pooled


def _tuned(
    features: Values,
    targets: Values,
    speakers: npt.NDArray[np.str_],
    learnt: Indices,
    tested: Indices,
    score: Score,
) -> Values:
    """Predictions (M, D), each with the penalty that does best in folds of the learnt speakers."""
    scores = [
        score(targets[learnt[b]], _fitted(features, targets, learnt[a], learnt[b]))
        for a, b in _folds(INNER_FOLDS, speakers[learnt])
    ]
    best = np.mean(scores, axis=0).argmax(axis=0)
    found = _fitted(features, targets, learnt, tested)
    return np.stack(
        [found[best[min(d, len(best) - 1)], :, d] for d in range(targets.shape[1])], axis=1
    )


def _fitted(features: Values, targets: Values, learnt: Indices, tested: Indices) -> Values:
    """Predictions (P, M, D) for every penalty, from one decomposition of the kernel matrix."""
    x, y = features[learnt], targets[learnt]
    mean, deviation, centre = x.mean(0), x.std(0) + 1e-12, y.mean(0)
    x = (x - mean) / deviation
    values, vectors = np.linalg.eigh(x @ x.T)
    turned = (vectors.T @ (y - centre)) / (values[:, None] + PENALTIES[:, None, None])
    kernel = (features[tested] - mean) / deviation @ x.T
    found: Values = kernel @ (vectors @ turned) + centre
    return found


def _folds(count: int, speakers: npt.NDArray[np.str_]) -> Iterator[tuple[Indices, Indices]]:
    yield from GroupKFold(count).split(speakers, groups=speakers)
