"""Two corpora of one, with half of its annotators each, to test enrolment on people never seen.

    python tools/part_annotators.py embedded OUT
    serbench run "top-layers:layers=1+cache" --head annotators --corpus OUT/known \\
        --test-corpus OUT/strangers --enrol 5

The first is for training: labels and ratings are those of its annotators alone. The second is what
the others rated of the validation split, from which they enrol, and of the test split: neither a
voice of the training split nor anyone who rated in it is there. Annotators are parted by a seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
from collections.abc import Set
from pathlib import Path

from serbench.harness import corpora
from serbench.harness.corpora.base import Corpus
from serbench.harness.corpora.importing import write
from serbench.harness.plan import CorpusRef


def main() -> None:
    """Write both as folders that serbench reads."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("corpus", help="NAME or NAME=ROOT, with annotators who are known")
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--seed", type=int, default=0)
    asked = arguments.parse_args()
    name, _, root = asked.corpus.partition("=")
    corpus = corpora.load(CorpusRef(name, root or None))
    known, strangers = parted(corpus, asked.seed)
    for folder, part in (("known", known), ("strangers", strangers)):
        write(part, asked.out / folder)


def parted(corpus: Corpus, seed: int) -> tuple[Corpus, Corpus]:
    """A corpus of half of the annotators, and one of the others without its training split."""
    if corpus.ratings is None or corpus.anonymous:
        raise SystemExit(f"{corpus.name} does not say who gave a rating")
    people = sorted(corpus.ratings["annotator"].astype(str).unique())
    random.Random(seed).shuffle(people)
    half = len(people) // 2
    known, strangers = rated_by({*people[:half]}, corpus), rated_by({*people[half:]}, corpus)
    return dataclasses.replace(known, name=f"{corpus.name}-known"), unheard(strangers)


def rated_by(people: Set[str], corpus: Corpus) -> Corpus:
    """Only these annotators' ratings, the labels their means, and what none of them rated gone."""
    assert corpus.ratings is not None
    ratings = corpus.ratings[corpus.ratings["annotator"].astype(str).isin(people)]
    means = ratings.groupby(["utterance", "dimension"], observed=True)["value"].mean().unstack()
    table = corpus.utterances.drop(columns=list(corpus.dimensions))
    labelled = table[table["id"].isin(means.index)].join(means, on="id").reset_index(drop=True)
    return dataclasses.replace(
        corpus, utterances=labelled, ratings=ratings.reset_index(drop=True), folds=(), truth=None
    )


def unheard(corpus: Corpus) -> Corpus:
    """The corpus without its training split, whose place every other voice of validation takes."""
    assert corpus.ratings is not None
    table = corpus.utterances[corpus.utterances["split"] != "train"].reset_index(drop=True)
    ratings = corpus.ratings[corpus.ratings["utterance"].isin(table["id"])].reset_index(drop=True)
    voices = sorted(table["speaker"][table["split"] == "validation"].astype(str).unique())
    splits = table["split"].astype(str).mask(table["speaker"].isin(voices[::2]), "train")
    return dataclasses.replace(
        corpus,
        name=f"{corpus.name}-strangers",
        utterances=table.assign(split=splits),
        ratings=ratings,
    )


if __name__ == "__main__":
    main()
