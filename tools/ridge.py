"""Ridge regression on one vector an utterance, no speaker on both sides: the linear baseline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import audmetric
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serbench.harness.corpora.base import Corpus

__all__ = ["Values", "ccc", "held_out", "in_folds", "recall_in_folds"]

Values = npt.NDArray[np.float64]
FOLDS = 10
INNER_FOLDS = 4
PENALTIES = np.logspace(0, 5, 11)


def in_folds(features: Values, corpus: Corpus) -> dict[str, float]:
    """CCC of each dimension over predictions pooled from ten speaker-disjoint folds.

    Args:
        features: (N, K), in the order of `corpus.utterances`.
        corpus: has the labels and the speakers.
    """
    pooled = np.empty((len(features), len(corpus.dimensions)))
    for learnt, tested in _folds(features, corpus):
        pooled[tested] = _predicted(features, corpus, learnt, tested)
    return _scored(pooled, corpus, np.arange(len(features)))


def held_out(features: Values, corpus: Corpus) -> dict[str, float]:
    """CCC of each dimension on the corpus's test split, learnt from the two others."""
    testing = (corpus.utterances["split"] == "test").to_numpy()
    learnt, tested = np.flatnonzero(~testing), np.flatnonzero(testing)
    return _scored(_predicted(features, corpus, learnt, tested), corpus, tested)


def recall_in_folds(features: Values, corpus: Corpus) -> float:
    """Unweighted average recall of the column `emotion`, in the folds of `in_folds`."""
    classes = corpus.utterances["emotion"].to_numpy(str)
    guessed = classes.copy()
    for learnt, tested in _folds(features, corpus):
        search = _search(RidgeClassifier(), "ridgeclassifier__alpha", "balanced_accuracy")
        search.fit(features[learnt], classes[learnt], groups=_speakers(corpus)[learnt])
        guessed[tested] = search.predict(features[tested])
    return float(audmetric.unweighted_average_recall(classes, guessed))


def ccc(truth: Values, values: Values) -> float:
    """Concordance correlation coefficient (Lin, 1989)."""
    return float(audmetric.concordance_cc(truth, values))


def _folds(features: Values, corpus: Corpus) -> Any:
    return GroupKFold(FOLDS).split(features, groups=_speakers(corpus))


def _speakers(corpus: Corpus) -> npt.NDArray[np.str_]:
    return corpus.utterances["speaker"].to_numpy(str)


def _predicted(
    features: Values, corpus: Corpus, learnt: npt.NDArray[np.intp], tested: npt.NDArray[np.intp]
) -> Values:
    """Of each dimension, (tested, D)."""
    columns = []
    for name in corpus.dimensions:
        labels = corpus.utterances[name].to_numpy(float)
        search = _search(Ridge(), "ridge__alpha", lambda model, x, y: ccc(y, model.predict(x)))
        search.fit(features[learnt], labels[learnt], groups=_speakers(corpus)[learnt])
        columns.append(search.predict(features[tested]))
    return np.stack(columns, axis=1)


def _search(model: Any, penalty: str, scoring: str | Callable[..., float]) -> GridSearchCV:
    """Standardised inputs, and the penalty that does best in folds of the training speakers."""
    pipeline = make_pipeline(StandardScaler(), model)
    return GridSearchCV(pipeline, {penalty: PENALTIES}, scoring=scoring, cv=GroupKFold(INNER_FOLDS))


def _scored(values: Values, corpus: Corpus, tested: npt.NDArray[np.intp]) -> dict[str, float]:
    return {
        name: ccc(corpus.utterances[name].to_numpy(float)[tested], values[:, column])
        for column, name in enumerate(corpus.dimensions)
    }
