"""Intervals of rows and of differences, and by which seeds two rows are paired."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from serbench.harness.bootstrap import bootstrap_ccc, interval, seed_draws, speaker_draws
from serbench.leaderboard.configurations import Configuration
from serbench.leaderboard.differences import Draws, paired_seeds, parts
from serbench.leaderboard.queries import Evidence

UTTERANCES, SPEAKERS = 60, 6
SPEAKER = np.arange(UTTERANCES) % SPEAKERS
LABELS = np.random.default_rng(0).uniform(1, 7, UTTERANCES)


class Made:
    """Configurations with made-up predictions, and all of these in one frame."""

    def __init__(self, speakers: int = SPEAKERS) -> None:
        self.frames: list[pd.DataFrame] = []
        self.speakers = speakers

    def row(self, *seeds: int, noise: float = 1.0, **scores: float) -> Configuration:
        """One seed's score is the number that it is named by, if any: `s0=0.5`."""
        runs = []
        for seed in seeds:
            run_id = len(self.frames)
            self.frames.append(self._predictions(run_id, noise))
            score = scores.get(f"s{seed}", 0.5)
            ccc = {"ccc_activation": score, "ccc_valence": None}
            runs.append({"id": run_id, "ids": (run_id,), "seed": seed, "fold": None, **ccc})
        well = tuple(runs)
        return Configuration(newest=runs[-1], runs=well, seeds=well, failures=(), repeated=())

    def _predictions(self, run_id: int, noise: float) -> pd.DataFrame:
        generator = np.random.default_rng(run_id)
        frame: pd.DataFrame = pd.DataFrame(
            {
                "run_id": run_id,
                "dimension": "activation",
                "speaker": [f"s{i % self.speakers}" for i in SPEAKER],
                "predicted": LABELS + noise * generator.standard_normal(UTTERANCES),
                "label": LABELS,
            }
        )
        return frame

    def draws(self, *members: Configuration) -> Draws:
        return Draws(members, parts(Evidence(predictions=pd.concat(self.frames))))

    def drawn(self, member: Configuration) -> list[Any]:
        """The draws of each seed, straight from the bootstrap."""
        frames = [self.frames[run["id"]]["predicted"].to_numpy() for run in member.seeds]
        return [
            bootstrap_ccc(predicted, LABELS, SPEAKER, speaker_draws(SPEAKERS))
            for predicted in frames
        ]


def test_predictions_without_a_label_are_left_out() -> None:
    frame = pd.DataFrame(
        {
            "run_id": [7, 8, 7, 7, 7],
            "dimension": ["valence", "valence", "activation", "valence", "valence"],
            "speaker": ["b", "a", "a", "c", "a"],
            "predicted": [1.0, 2.0, 3.0, 4.0, 5.0],
            "label": [1.5, 2.5, np.nan, np.nan, 5.5],
        }
    )
    found = parts(Evidence(predictions=frame))
    assert set(found) == {(7, "ccc_valence"), (8, "ccc_valence")}
    predicted, labels = found[7, "ccc_valence"].values
    assert (predicted.tolist(), labels.tolist()) == ([1.0, 5.0], [1.5, 5.5])
    assert found[7, "ccc_valence"].number.tolist() == [1, 0]
    assert parts(Evidence(predictions=frame.head(0))) == {}


@pytest.mark.parametrize(
    ("first", "second", "paired"),
    [
        ((0, 1, 2), (0, 1, 2), (0, 1, 2)),
        ((0, 1, 2), (1, 2, 3), (1, 2)),
        ((0, 1, 2), (2, 3, 4), ()),
        ((0, 1), (2, 3), ()),
        ((0,), (0, 1), ()),
        ((0,), (0,), (0,)),
        ((0,), (1,), ()),
    ],
)
def test_seeds_are_paired_by_their_numbers(
    first: tuple[int, ...], second: tuple[int, ...], paired: tuple[int, ...]
) -> None:
    made = Made()
    assert paired_seeds(made.row(*first), made.row(*second)) == paired


def test_shared_seeds_are_drawn_together_and_others_left_out() -> None:
    made = Made()
    a = made.row(0, 1, 2, noise=0.5, s0=0.9, s1=0.8, s2=0.7)
    b = made.row(1, 2, 3, s1=0.5, s2=0.6, s3=0.1)
    told = made.draws(a, b).difference(a, b, ("ccc_activation",))
    of_a, of_b = made.drawn(a), made.drawn(b)
    weights = seed_draws(2) / 2
    by_hand = (of_a[1] - of_b[0]) * weights[:, 0] + (of_a[2] - of_b[1]) * weights[:, 1]
    assert told.seeds == (1, 2)
    assert told.value == pytest.approx((0.8 - 0.5 + 0.7 - 0.6) / 2)
    assert (told.low, told.high) == pytest.approx(interval(by_hand))


def test_rows_that_share_no_two_seeds_are_drawn_apart() -> None:
    made = Made()
    a, b = made.row(0, 1, s0=0.9, s1=0.7), made.row(1, 2, 3, s1=0.1, s2=0.2, s3=0.3)
    told = made.draws(a, b).difference(a, b, ("ccc_activation",))
    of_a = np.stack(made.drawn(a), axis=1) * seed_draws(2)
    of_b = np.stack(made.drawn(b), axis=1) * seed_draws(3, unpaired=True)
    assert told.seeds == ()
    assert told.value == pytest.approx(0.8 - 0.2)
    assert (told.low, told.high) == pytest.approx(
        interval(of_a.sum(axis=1) / 2 - of_b.sum(axis=1) / 3)
    )


@pytest.mark.parametrize("seeds", [(0, 1, 2), (2, 3, 4), (3,)])
def test_turned_round_it_is_the_same_difference(seeds: tuple[int, ...]) -> None:
    made = Made()
    a, b = made.row(0, 1, 2, noise=0.5), made.row(*seeds, s0=0.1, s3=0.3)
    draws = made.draws(a, b)
    one = draws.difference(a, b, ("ccc_activation",))
    other = draws.difference(b, a, ("ccc_activation",))
    assert one.apart == other.apart
    assert (one.value, one.low, one.high) == pytest.approx(
        tuple(-(figure or 0) for figure in (other.value, other.high, other.low))
    )


def test_what_is_told_apart() -> None:
    made = Made()
    good, bad = made.row(0, 1, noise=0.1, s0=0.9, s1=0.9), made.row(0, 1, noise=3.0, s0=0.2, s1=0.2)
    draws = made.draws(good, bad)
    assert draws.difference(good, bad, ("ccc_activation",)).apart
    assert draws.difference(bad, good, ("ccc_activation",)).apart
    assert not draws.difference(good, good, ("ccc_activation",)).apart


def test_a_difference_below_the_noise_floor_is_none() -> None:
    made = Made()
    good, bad = made.row(0, 1, noise=0.1, s0=0.9, s1=0.9), made.row(0, 1, noise=3.0, s0=0.2, s1=0.2)
    draws = made.draws(good, bad)
    assert draws.difference(good, bad, ("ccc_activation",), noise=0.6).apart
    assert not draws.difference(good, bad, ("ccc_activation",), noise=0.8).apart


def test_shared_seeds_that_contradict_the_rows_tell_nothing() -> None:
    made = Made()
    good = made.row(0, 1, 2, noise=0.1, s0=0.9, s1=0.9, s2=-0.9)
    bad = made.row(0, 1, 3, noise=3.0, s0=0.4, s1=0.4, s3=0.4)
    told = made.draws(good, bad).difference(good, bad, ("ccc_activation",))
    assert told.low is not None
    assert told.low > 0
    assert not told.apart, "over all its seeds the first is the worse"


def test_too_few_speakers_tell_nothing() -> None:
    made = Made(speakers=4)
    a, b = made.row(0, noise=0.1, s0=0.9), made.row(0, noise=5.0, s0=0.1)
    draws = made.draws(a, b)
    told = draws.difference(a, b, ("ccc_activation",))
    assert (draws.speakers, draws.enough) == (4, False)
    assert draws.interval(a, ("ccc_activation",)) is None
    assert told.value == pytest.approx(0.8)
    assert (told.low, told.high, told.apart) == (None, None, False)


def test_a_dimension_that_a_row_lacks_tells_nothing() -> None:
    made = Made()
    a, b = made.row(0), made.row(0)
    told = made.draws(a, b).difference(a, b, ("ccc_activation", "ccc_valence"))
    assert (told.value, told.low, told.apart) == (None, None, False)
