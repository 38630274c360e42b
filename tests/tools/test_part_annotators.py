"""Corpora of one corpus whose annotators, and voices in training, have nothing in common."""

from __future__ import annotations

import numpy as np
from part_annotators import parted

from serbench.harness import corpora
from serbench.harness.corpora.base import SPLITS, Corpus
from serbench.harness.plan import CorpusRef


def people(corpus: Corpus) -> set[str]:
    assert corpus.ratings is not None
    return set(corpus.ratings["annotator"])


def voices(corpus: Corpus, *splits: str) -> set[str]:
    table = corpus.utterances
    return set(table["speaker"][table["split"].isin(splits)])


def test_strangers_are_in_no_training() -> None:
    known, strangers = parted(corpora.load(CorpusRef("embedded")), seed=0)
    assert len(people(known)) == len(people(strangers)) == 28
    assert not people(known) & people(strangers)
    assert not voices(known, "train") & voices(strangers, *SPLITS)
    assert voices(known, "test") == voices(strangers, "test")
    for split in SPLITS:
        assert len(strangers.subset(split))


def test_labels_are_of_the_annotators_that_are_left() -> None:
    whole = corpora.load(CorpusRef("embedded"))
    for part in parted(whole, seed=1):
        assert part.ratings is not None
        chosen = part.ratings[part.ratings["dimension"] == "valence"]
        means = chosen.groupby("utterance", observed=True)["value"].mean()
        labels = part.utterances.set_index("id")["valence"]
        np.testing.assert_allclose(labels, means[labels.index], rtol=1e-12)
    same = parted(whole, seed=1)[1].utterances
    assert same.equals(part.utterances)
