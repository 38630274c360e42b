"""Agreement between annotators, against plain loops and another implementation."""

from __future__ import annotations

import itertools

import krippendorff
import numpy as np
import pytest
from numpy.typing import NDArray

from serbench.harness.corpora import agreement
from serbench.harness.corpora.agreement import Rated, alpha, pairs
from serbench.harness.metrics import ccc

Matrix = NDArray[np.float64]


def rated(matrix: Matrix) -> Rated:
    """From (annotators, utterances), NaN where nobody rated, in an order of chance."""
    at = np.argwhere(~np.isnan(matrix))
    np.random.default_rng(0).shuffle(at)
    annotators, utterances = at.T
    return Rated(
        utterances=utterances, annotators=annotators, values=matrix[annotators, utterances]
    )


def random_ratings(seed: int, annotators: int, utterances: int, share: float) -> Matrix:
    rng = np.random.default_rng(seed)
    felt = rng.normal(0, 0.4, utterances) + rng.normal(0, 0.2, (annotators, 1))
    heard: Matrix = felt + rng.normal(0, 0.3, (annotators, utterances))
    heard = heard.clip(-1, 1).round(1)
    heard[rng.random(heard.shape) > share] = np.nan
    return heard


def plainly(matrix: Matrix) -> list[float]:
    """CCC of every pair of annotators who share three utterances."""
    found = []
    for one, other in itertools.combinations(matrix, 2):
        shared = ~np.isnan(one) & ~np.isnan(other)
        if shared.sum() >= 3:
            found.append(ccc(one[shared], other[shared]))
    return sorted(found)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.15, 0.5, 1.0])
def test_alpha_is_that_of_the_package(seed: int, share: float) -> None:
    matrix = random_ratings(seed, annotators=9, utterances=40, share=share)
    known = krippendorff.alpha(reliability_data=matrix, level_of_measurement="interval")
    assert alpha(rated(matrix)) == pytest.approx(known, abs=1e-12)


def test_alpha_of_those_who_agree_by_chance_or_not_at_all() -> None:
    same = np.tile(np.linspace(-1, 1, 9), (4, 1))
    assert alpha(rated(same)) == pytest.approx(1)
    opposed = np.stack([same[0], -same[0]])
    assert alpha(rated(opposed)) == pytest.approx(-0.889, abs=1e-3)
    alone = np.where(np.eye(9) == 1, same[0], np.nan)
    assert alpha(rated(alone)) is None, "nobody rated what somebody else rated"
    assert alpha(rated(np.full((3, 9), 0.5))) is None, "nothing to tell chance by"


@pytest.mark.parametrize("at_once", [1, 13, agreement.AT_ONCE])
def test_pairs_are_those_of_a_plain_loop(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "AT_ONCE", at_once)
    matrix = random_ratings(0, annotators=14, utterances=60, share=0.3)
    found = pairs(rated(matrix))
    assert not found.sampled
    np.testing.assert_allclose(np.sort(found.ccc), plainly(matrix), atol=1e-12)


def test_an_utterance_that_thousands_rated_takes_a_sample_of_pairs() -> None:
    """All pairs would be 32 million: seconds, and gigabytes if held at once."""
    matrix = random_ratings(1, annotators=4000, utterances=4, share=1.0)
    whole = pairs(rated(matrix[:400]))
    found = pairs(rated(matrix), most=200_000)
    assert found.sampled
    assert not whole.sampled
    assert 40_000 < len(found.ccc) <= 50_000
    assert found.ccc.mean() == pytest.approx(whole.ccc.mean(), abs=0.1)


def test_pairs_without_three_utterances_in_common_or_without_spread_are_none() -> None:
    few = np.full((2, 5), np.nan)
    few[:, :2] = [[0.1, 0.2], [0.3, 0.1]]
    assert len(pairs(rated(few)).ccc) == 0
    assert len(pairs(rated(np.zeros((2, 5)))).ccc) == 0
