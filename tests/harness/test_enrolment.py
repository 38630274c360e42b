"""New annotators who are somebody's double are found, and stand-ins say what they say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from serbench.harness.enrolment import Enrolment, Indices, Likeness
from serbench.harness.metrics import STAND_INS, ccc
from serbench.harness.targets import Ratings

UTTERANCES, KNOWN, NEW, EACH = 80, 12, 5, 6
DOUBLES = np.array([7, 2, 11, 2, 0])
"""Whom each new annotator rates like."""
SAID = np.random.default_rng(3).uniform(-1, 1, (UTTERANCES, KNOWN, 2)).astype(np.float32)
OUTSIDE, TESTED = np.arange(50), np.arange(50, UTTERANCES)


def ratings(unrated: float = 0.0, shy: int | None = None) -> Ratings:
    """Everybody rates everything, but for a share of it, and for the shy one's first part."""
    rng = np.random.default_rng(0)
    rows = [(u, c) for u in range(UTTERANCES) for c in range(NEW) if not (c == shy and u < 48)]
    utterance, person = np.array(rows).T
    values = SAID[utterance, DOUBLES[person]].copy()
    values[rng.random(values.shape) < unrated] = np.nan
    return Ratings(
        starts=np.searchsorted(utterance, np.arange(UTTERANCES + 1)),
        annotator=np.full(len(rows), -1),
        person=person,
        values=values,
        annotators=(),
        people=tuple("abcde"),
        plane=(0, 1),
    )


def everybody(indices: Indices) -> Iterator[tuple[Indices, Tensor]]:
    """In batches whose utterances are in no order."""
    shuffled = np.random.default_rng(1).permutation(indices)
    for batch in np.array_split(shuffled, 3):
        yield batch, torch.from_numpy(SAID[batch])


def enrolment(**changes: object) -> Enrolment:
    return Enrolment(ratings=ratings(**changes), outside=OUTSIDE, each=EACH, seed=0)  # type: ignore[arg-type]


def likeness(there: Enrolment) -> Likeness:
    found = there.likeness(everybody)
    assert found is not None
    return found


def test_doubles_are_found_by_a_few_ratings() -> None:
    there = enrolment(unrated=0.2)
    assert there.people.tolist() == list(range(NEW))
    found = likeness(there)
    assert found.nearest[:, 0].tolist() == DOUBLES.tolist()
    assert (found.nearest[:, 0] != found.nearest[:, 1]).all()


def test_nobody_is_like_those_of_whom_nothing_is_said() -> None:
    assert enrolment().likeness(lambda _: iter(())) is None


def test_whoever_has_too_few_ratings_does_not_enrol() -> None:
    there = enrolment(shy=1)
    assert there.people.tolist() == [0, 2, 3, 4]
    assert likeness(there).nearest[:, 0].tolist() == [7, 11, 2, 0]


def test_everybody_enrols_with_as_many_and_never_with_what_is_tested() -> None:
    there = enrolment()
    rows = there._rows
    assert np.bincount(there.ratings.person[rows]).tolist() == [EACH] * NEW
    utterance = np.searchsorted(there.ratings.starts, rows, side="right") - 1
    assert set(utterance) <= set(OUTSIDE.tolist())
    assert len(set(utterance)) > EACH, "not the same for everybody"


def test_stand_ins_say_what_they_say() -> None:
    there = enrolment()
    found = likeness(there)
    scores = {(w, d): v for w, d, v in there.scores(found, TESTED, everybody, 10)}
    assert {way for way, _ in scores} == {"one", "two", "random", "none"} == {*STAND_INS}
    for d in range(2):
        assert scores["one", d] == pytest.approx(1)
        rated = SAID[TESTED][:, DOUBLES, d]
        pairs = SAID[TESTED][:, found.nearest, d].mean(2)
        expected = np.mean([ccc(rated[:, c], pairs[:, c]) for c in range(NEW)])
        assert scores["two", d] == pytest.approx(expected, rel=1e-5)
        mean = SAID[TESTED, :, d].mean(1)
        expected = np.mean([ccc(rated[:, c], mean) for c in range(NEW)])
        assert scores["none", d] == pytest.approx(expected, rel=1e-4)
        drawn = SAID[TESTED][:, found.random, d]
        each = [
            ccc(rated[:, c], drawn[:, c, i])
            for c in range(NEW)
            for i in range(found.random.shape[1])
        ]
        assert scores["random", d] == pytest.approx(np.mean(each), rel=1e-4)


def test_nobody_with_enough_tested_ratings_has_a_score() -> None:
    there = enrolment()
    assert not list(there.scores(likeness(there), TESTED, everybody, 1000))
