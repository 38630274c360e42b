from __future__ import annotations

import dataclasses
import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serbench.harness import corpora
from serbench.harness.corpora.base import SPLITS, UNKNOWN, Corpus, Split
from serbench.harness.corpora.folds import chosen, parted, speaker_parts, speaker_splits
from serbench.harness.errors import CorpusError, RequestError
from serbench.harness.plan import CorpusRef


@pytest.fixture(scope="module")
def generated() -> Corpus:
    return corpora.load(CorpusRef("generated", "speakers=10,utterances=6"))


def with_folds(corpus: Corpus, count: int) -> Corpus:
    """The corpus with folds of its own: the k-th speaker tests, the next one validates."""
    names = sorted(set(corpus.utterances["speaker"]))

    def split(fold: int, speaker: int) -> Split:
        return "test" if speaker == fold else "validation" if speaker == fold + 1 else "train"

    folds = tuple({n: split(k, i) for i, n in enumerate(names)} for k in range(count))
    return dataclasses.replace(corpus, folds=folds)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("all", ("1/5", "2/5", "3/5", "4/5", "5/5")),
        ("all/3", ("1/3", "2/3", "3/3")),
        ("2", ("2/5",)),
        ("3, 1,3", ("3/5", "1/5")),
        ("10/10", ("10/10",)),
    ],
)
def test_folds_are_chosen_by_number(text: str, wanted: tuple[str, ...], generated: Corpus) -> None:
    assert chosen(text, generated) == wanted


def test_a_corpus_has_as_many_as_its_own_or_as_its_speakers_allow(generated: Corpus) -> None:
    assert chosen("all", with_folds(generated, 7)) == tuple(f"{k}/7" for k in range(1, 8))
    four = corpora.load(CorpusRef("generated", "speakers=4,utterances=3"))
    assert len(chosen("all", four)) == 4


@pytest.mark.parametrize("text", ["", "none", "1/", "/3", "0", "6", "1/2", "11/11", "1;2", "1/3/5"])
def test_what_is_no_fold_is_refused(text: str, generated: Corpus) -> None:
    with pytest.raises(RequestError, match="--folds"):
        chosen(text, generated)


def test_every_utterance_is_tested_once_and_validated_once(generated: Corpus) -> None:
    tested: Counter[str] = Counter()
    validated: Counter[str] = Counter()
    for fold in chosen("all/4", generated):
        table = parted(generated, fold).utterances
        assert set(table["split"]) == set(SPLITS)
        assert table.groupby("speaker")["split"].nunique().max() == 1
        tested.update(table["id"][table["split"] == "test"])
        validated.update(table["id"][table["split"] == "validation"])
    everything = dict.fromkeys(generated.utterances["id"], 1)
    assert tested == validated == everything


def test_a_fold_of_the_corpuss_own_is_taken_as_it_is(generated: Corpus) -> None:
    own = with_folds(generated, 6)
    table = parted(own, "3/6").utterances
    names = sorted(set(table["speaker"]))
    assert set(table["speaker"][table["split"] == "test"]) == {names[2]}
    assert set(table["speaker"][table["split"] == "validation"]) == {names[3]}
    other = parted(own, "3/5").utterances["split"]
    pd.testing.assert_series_equal(other, parted(generated, "3/5").utterances["split"])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=30, max_size=60),
    st.integers(3, 4),
    st.randoms(use_true_random=False),
)
def test_parts_rest_on_names_and_labels(speakers: list[str], count: int, random: Any) -> None:
    if len(set(speakers)) < count:
        with pytest.raises(CorpusError, match=f"at least {count} are needed"):
            speaker_parts(speakers, count)
        return
    labels = pd.DataFrame({"valence": [hash(s) % 7 + i % 3 for i, s in enumerate(speakers)]})
    parts = speaker_parts(speakers, count, labels)
    assert set(parts) == set(range(1, count + 1))
    assert len({(s, p) for s, p in zip(speakers, parts, strict=True)}) == len(set(speakers))
    order = list(range(len(speakers)))
    random.shuffle(order)
    again = speaker_parts(
        [speakers[i] for i in order], count, labels.iloc[order].reset_index(drop=True)
    )
    assert again == [parts[i] for i in order]


def test_parts_have_like_sizes_and_labels() -> None:
    rng = np.random.default_rng(0)
    speakers = [f"s{i}" for i in rng.integers(0, 40, 2000)]
    own = {name: rng.normal() for name in sorted(set(speakers))}
    labels = pd.DataFrame({"valence": [own[s] + rng.normal() for s in speakers]})

    def spread(parts: list[int]) -> float:
        return float(labels["valence"].groupby(np.array(parts)).mean().std())

    parts = speaker_parts(speakers, 5, labels)
    sizes = np.bincount(parts)[1:]
    assert sizes.min() > 0.8 * 400
    assert sizes.max() < 1.2 * 400
    names = sorted(set(speakers))
    dealt = [dict(zip(rng.permutation(names), np.arange(40) % 5, strict=True)) for _ in range(50)]
    by_chance = np.median([spread([each[s] for s in speakers]) for each in dealt])
    assert spread(parts) < 0.6 * by_chance


def test_unknown_speakers_stay_together() -> None:
    speakers = [UNKNOWN if i % 4 == 0 else f"s{i % 9}" for i in range(120)]
    parts = speaker_parts(speakers, 4)
    assert len({p for s, p in zip(speakers, parts, strict=True) if s == UNKNOWN}) == 1


def test_so_many_speakers_are_parted_in_seconds() -> None:
    names = [f"speaker{i}" for i in range(100_000)]
    sizes = np.bincount(speaker_parts(names, 5))[1:]
    assert set(sizes) == {20_000}


def test_splits_by_speaker_are_about_60_20_20() -> None:
    speakers = [f"s{i % 20}" for i in range(1000)]
    shares = pd.Series(speaker_splits(speakers)).value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.6, abs=0.05)
    assert shares["validation"] == pytest.approx(0.2, abs=0.05)


def test_splits_by_speaker_stay_as_they_were() -> None:
    assert speaker_splits(list("abcde")) == ["train", "train", "test", "train", "validation"]


def test_splits_by_speaker_keep_the_labels_alike() -> None:
    speakers = [f"s{i:02d}" for i in range(30) for _ in range(10)]
    labels = pd.DataFrame({"valence": [float(i < 15) for i in range(30) for _ in range(10)]})
    splits = pd.Series(speaker_splits(speakers, labels))
    means = labels["valence"].groupby(splits).mean()
    assert means.sub(0.5).abs().max() < 0.2


def test_a_split_without_labels_is_avoided() -> None:
    speakers = [f"s{i}" for i in range(9) for _ in range(4)]
    labels = pd.DataFrame({"valence": [1.0 if i < 3 else math.nan for i in range(36)]})
    labels.loc[12, "valence"] = labels.loc[24, "valence"] = 2.0
    splits = pd.Series(speaker_splits(speakers, labels))
    assert set(splits[labels["valence"].notna()]) == set(SPLITS)


def test_two_speakers_are_too_few() -> None:
    with pytest.raises(CorpusError, match="2 speakers cannot be parted"):
        speaker_splits(["a", "b", "a"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=3, max_size=12), st.randoms(use_true_random=False))
def test_splits_by_speaker_are_disjoint_whole_and_free_of_the_order(
    sizes: list[int], random: Any
) -> None:
    speakers = [f"s{i}" for i, size in enumerate(sizes) for _ in range(size)]
    labels = [float(i % 7) for i in range(len(speakers))]
    order = random.sample(range(len(speakers)), len(speakers))
    splits = speaker_splits(speakers, pd.DataFrame({"valence": labels}))
    shuffled = speaker_splits(
        [speakers[i] for i in order], pd.DataFrame({"valence": [labels[i] for i in order]})
    )
    assert shuffled == [splits[i] for i in order]
    assert set(splits) == set(SPLITS)
    assert len(set(zip(speakers, splits, strict=True))) == len(sizes)
