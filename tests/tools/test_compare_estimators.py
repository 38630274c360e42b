"""The figures of estimators, where they are known otherwise."""

from __future__ import annotations

import math

import compare_estimators
import numpy as np
import pytest
import torch
from compare_estimators import (
    Group,
    Sample,
    cosine,
    differences,
    drawn,
    groups,
    judged,
    lost,
    many_ratings,
    masses,
    sample,
    speed,
    table,
    truths,
    tvd,
)

from serbench.harness.corpora import embedded, generated
from serbench.harness.distributions import HARD, BinMass, DiffKDE

SMALL = DiffKDE(bins=32, sharpness=32.0, observations=100)


@pytest.fixture(scope="module")
def ratings() -> Sample:
    return sample(embedded.load(None), 12, 0)


def agreed(activation: float) -> Sample:
    """Two ratings of an utterance, the same."""
    values = torch.tensor([[activation, 0.0]]).double().repeat(2, 1)
    return Sample(values, torch.zeros(2, dtype=torch.int64), 1, None, None)


def test_what_is_beyond_the_ends_is_lost() -> None:
    assert lost(DiffKDE(), agreed(1.0), 0) == pytest.approx(0.5, abs=2e-3)
    assert lost(DiffKDE(), agreed(0.9), 0) == pytest.approx(0.31, abs=2e-3)
    assert lost(DiffKDE(), agreed(0.0), 0) == pytest.approx(0, abs=2e-3)
    assert lost(BinMass(), agreed(1.0), 0) == lost(HARD, agreed(1.0), 0) == 0


def test_other_draws_of_the_labels_are_near_and_not_the_same(ratings: Sample) -> None:
    hard = masses(HARD, ratings, 0)
    assert tvd(hard, hard) == 0
    assert 0 < tvd(masses(HARD, ratings, 1), hard) < 0.1
    assert tvd(torch.eye(4)[None] / 4, torch.eye(4).fliplr()[None] / 4) == 1


def test_many_ratings_are_those_of_the_truth() -> None:
    corpus = embedded.load(None)
    assert corpus.truth is not None
    drawn_values = many_ratings(corpus.truth(12), np.random.default_rng(0))
    points = (3 * (drawn_values + 1)).round().long()
    assert torch.allclose(points.double() / 3 - 1, drawn_values)
    found = torch.stack([torch.bincount(points[..., k].flatten(), minlength=7) for k in (0, 1)])
    expected = torch.from_numpy(embedded.truth(corpus)[:, :2].mean(axis=0))
    assert torch.allclose(found.double() / points[..., 0].numel(), expected, atol=0.01)


def test_truth_is_known_of_simulated_annotators_alone(ratings: Sample) -> None:
    unknown = sample(generated.load("speakers=4,utterances=4"), 5, 0)
    assert unknown.utterances == 5
    assert all(map(math.isnan, truths(BinMass(), unknown, 0)))
    near, nearer = truths(BinMass(0.15), ratings, 0)
    assert 0 < nearer < near < 0.5


def test_differences_are_the_derivatives(ratings: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_estimators, "FINE", SMALL)
    monkeypatch.setattr(compare_estimators, "DRAWS", 2)
    monkeypatch.setattr(compare_estimators, "SHIFT", 1e-4)
    for group in groups(ratings, 8, 0):
        slopes = differences(group)
        assert cosine(slopes.once, drawn(SMALL, group)[0]).min() > 0.9999


def test_a_gradient_is_judged_by_the_way_to_the_ratings(
    ratings: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_estimators, "FINE", SMALL)
    found = groups(ratings, 6, 0)
    slopes = [differences(group) for group in found]
    back = [torch.stack([g.predicted - g.ratings] * 2) for g in found]
    name, repeat, _, _, steps, way = judged("ideal", found, slopes, back)
    assert name == "ideal"
    assert [repeat, way] == pytest.approx([1, 1])
    assert isinstance(steps, float)
    assert steps > 0.5


def test_gradients_of_binmass_are_the_same_each_time(ratings: Sample) -> None:
    group: Group = groups(ratings, 6, 0)[0]
    gradients = drawn(BinMass(), group)
    assert torch.equal(gradients[0], gradients[1])
    own = drawn(BinMass(), group, BinMass().of_everybody(group.predicted))
    assert own.abs().max() < 1e-6


def test_labels_are_timed_without_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_estimators, "LEARNT", {"small": SMALL})
    hard, small = speed(1).splitlines()[-2:]
    assert hard.count("–") == 2
    assert "–" not in small


def test_tables_are_aligned() -> None:
    head, rule, first, last = table(("of", "x"), [("a", 0.5), ("long", math.nan)]).split("\n")[1:]
    assert (head, rule) == ("| of   |     x |", "| ---- | ----- |")
    assert (first, last) == ("| a    | 0.500 |", "| long |     – |")
