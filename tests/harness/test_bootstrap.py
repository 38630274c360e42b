from __future__ import annotations

import audmetric
import numpy as np
import pytest

from serbench.harness.bootstrap import (
    bootstrap_ccc,
    bootstrap_mean,
    interval,
    seed_draws,
    speaker_draws,
)


def sample(offset: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(5)
    labels = generator.uniform(1, 7, 90) + offset
    predicted = 0.7 * labels + 0.3 * offset + generator.standard_normal(90)
    return predicted, labels, generator.integers(0, 6, 90)


def test_one_draw_of_everybody_is_the_ccc() -> None:
    predicted, labels, speaker = sample()
    drawn = bootstrap_ccc(predicted, labels, speaker, np.ones((1, 6)))
    assert drawn[0] == pytest.approx(audmetric.concordance_cc(labels, predicted), abs=1e-12)


def test_by_hand() -> None:
    # means 2 and 3, population variances 2/3 each, covariance 2/3: 4/3 / (2/3 + 2/3 + 1)
    drawn = bootstrap_ccc(
        np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]), np.array([0, 1, 2]), np.ones((1, 3))
    )
    assert drawn[0] == pytest.approx((4 / 3) / (7 / 3))


def test_same_as_the_naive_loop() -> None:
    predicted, labels, speaker = sample()
    counts = speaker_draws(6, draws=50)
    naive = []
    for draw in counts.astype(int):
        chosen = np.concatenate(
            [np.tile(np.flatnonzero(speaker == who), times) for who, times in enumerate(draw)]
        )
        naive.append(audmetric.concordance_cc(labels[chosen], predicted[chosen]))
    assert bootstrap_ccc(predicted, labels, speaker, counts) == pytest.approx(naive, abs=1e-12)


def test_far_from_zero_loses_nothing() -> None:
    near = bootstrap_ccc(*sample(), speaker_draws(6))
    far = bootstrap_ccc(*sample(offset=1e6), speaker_draws(6))
    assert far == pytest.approx(near, abs=1e-6)


def test_draws_are_fixed_and_whole() -> None:
    assert (speaker_draws(7) == speaker_draws(7)).all()
    assert (speaker_draws(7).sum(axis=1) == 7).all()
    assert speaker_draws(7).shape == (1000, 7)
    # A speaker is left out of a draw with probability (6/7)^7 = 0.34.
    assert (speaker_draws(7) == 0).mean() == pytest.approx(0.34, abs=0.03)


def test_seeds_are_drawn_apart_from_speakers() -> None:
    assert (seed_draws(3) == seed_draws(3)).all()
    assert (seed_draws(3).sum(axis=1) == 3).all()
    together = np.corrcoef(seed_draws(3)[:, 0], speaker_draws(3)[:, 0])[0, 1]
    assert abs(together) < 0.1
    # All three draws fall on one seed with probability 1/27, more than an end of the interval.
    assert (seed_draws(3)[:, 0] == 3).mean() > 0.025


def test_undefined_draws_are_left_out_of_the_interval() -> None:
    constant = bootstrap_ccc(np.ones(4), np.ones(4), np.array([0, 0, 1, 1]), speaker_draws(2))
    assert np.isnan(constant).all()
    assert interval(constant) is None
    assert interval(np.array([np.nan, 0.5, 0.5])) == (0.5, 0.5)


def test_a_prediction_that_is_no_number_makes_all_draws_undefined() -> None:
    predicted, labels, speaker = sample()
    predicted[3] = np.nan
    assert np.isnan(bootstrap_ccc(predicted, labels, speaker, speaker_draws(6))).all()


def test_nothing_is_undefined_in_all_draws() -> None:
    nothing, nobody = np.empty(0), np.empty(0, np.intp)
    assert np.isnan(bootstrap_ccc(nothing, nothing, nobody, speaker_draws(6))).all()
    assert np.isnan(bootstrap_mean(nothing, nobody, speaker_draws(6))).all()


def test_interval_is_the_central_95_percent() -> None:
    low, high = interval(np.linspace(0, 1, 1001)) or (None, None)
    assert (low, high) == pytest.approx((0.025, 0.975))


def test_unpaired_seeds_are_drawn_by_themselves() -> None:
    together = np.corrcoef(seed_draws(3)[:, 0], seed_draws(3, unpaired=True)[:, 0])[0, 1]
    assert abs(together) < 0.1
    assert (seed_draws(3, unpaired=True).sum(axis=1) == 3).all()


def test_runs_at_once_are_as_each_alone() -> None:
    counts = speaker_draws(6)
    short = sample(offset=-3.0)
    runs = [sample(), sample(offset=9.0), (short[0][:40], short[1][:40], short[2][:40])]
    runs[1][0][3] = np.nan
    number = np.repeat(np.arange(3), [len(each[0]) for each in runs])
    predicted, labels, speaker = map(np.concatenate, zip(*runs, strict=True))
    together = bootstrap_ccc(predicted, labels, speaker, counts, run=number)
    alone = np.stack([bootstrap_ccc(*each, counts) for each in runs])
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    assert np.isnan(together).all(axis=1).tolist() == [False, True, False]
    means = bootstrap_mean(predicted, speaker, counts, run=number)
    expected = np.stack([bootstrap_mean(each[0], each[2], counts) for each in runs])
    np.testing.assert_allclose(means, expected, rtol=1e-12)
