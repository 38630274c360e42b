"""Heads of annotators: all at once equals one by one, and nobody is mistaken for another."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from serbench.harness import heads
from serbench.harness.distributions import HARD, BinMass, DiffKDE, Estimator
from serbench.harness.errors import RequestError
from serbench.harness.heads import Known
from serbench.harness.heads.annotators import Layer, OneHot, Towers
from serbench.harness.heads.base import pooled
from serbench.harness.heads.losses import ccc_loss
from serbench.harness.targets import Targets

PEOPLE, WIDTH = 7, 5
KNOWN = Known(hidden_size=6, dimensions=("activation", "valence", "dominance"), annotators=PEOPLE)
UTTERANCE = torch.tensor([0, 0, 1, 2, 2, 2, 3])
ANNOTATOR = torch.tensor([3, 1, 6, 0, 3, 5, 1])


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def states(utterances: int = 4) -> tuple[Tensor, Tensor]:
    return torch.randn(utterances, 3, KNOWN.hidden_size), torch.full((utterances,), 3)


def targets(ratings: Tensor | None = None, annotator: Tensor = ANNOTATOR) -> Targets:
    masses = torch.rand(4, 4, 4)
    return Targets(
        labels=torch.rand(4, 3) * 2 - 1,
        utterance=UTTERANCE,
        annotator=annotator,
        ratings=torch.rand(len(UTTERANCE), 3) * 2 - 1 if ratings is None else ratings,
        distributions=masses / masses.sum((1, 2), keepdim=True),
    )


def built(text: str) -> Any:
    return heads.build(text, KNOWN)


@pytest.mark.parametrize("shared", [True, False])
def test_the_layer_equals_a_linear_map_for_each_annotator(shared: bool) -> None:
    layer = Layer(PEOPLE, 3, WIDTH, shared=shared)
    with torch.no_grad():
        layer.weight.normal_()
        layer.bias.normal_()
    inputs = torch.randn(3, 4, WIDTH)
    everybody = torch.empty(4, PEOPLE, 3)
    for d in range(3):
        for a in range(PEOPLE):
            alone = nn.Linear(WIDTH, 1)
            weight, bias = layer.weight[d, a], layer.bias[d, a]
            if layer.shared is not None:
                weight, bias = weight + layer.shared.weight[d, 0], bias + layer.shared.bias[d, 0]
            alone.weight.data, alone.bias.data = weight[None], bias[None]
            everybody[:, a, d] = alone(inputs[d])[:, 0]
    torch.testing.assert_close(layer.everybody(inputs, PEOPLE), everybody)
    torch.testing.assert_close(layer.mean(inputs), everybody.mean(1))
    torch.testing.assert_close(layer(inputs, UTTERANCE, ANNOTATOR), everybody[UTTERANCE, ANNOTATOR])


def test_the_layer_starts_as_linear_maps_do() -> None:
    weight = Layer(2000, 1, 25, shared=False).weight
    assert weight.abs().max().item() == pytest.approx(1 / 5, rel=0.01)
    assert weight.std().item() == pytest.approx(1 / 5 / math.sqrt(3), rel=0.05)


def test_the_one_hot_head_equals_explicit_codes() -> None:
    head = OneHot(KNOWN, BinMass(), (("1",),))
    hidden, lengths = states()
    codes = nn.functional.one_hot(ANNOTATOR, PEOPLE).float()
    joined = torch.cat([pooled(hidden, lengths)[UTTERANCE], codes], dim=1)
    weight = torch.cat([head.projector.weight, head.codes.weight.T], dim=1)
    expected = head.classifier((joined @ weight.T + head.projector.bias).relu())
    told = head.answer(hidden, lengths, targets()).told_ratings
    assert told is not None
    torch.testing.assert_close(told, expected)
    everybody = head.everybody(hidden, lengths)
    torch.testing.assert_close(everybody[UTTERANCE, ANNOTATOR], expected)
    torch.testing.assert_close(head(hidden, lengths), everybody.mean(1))


def test_the_one_hot_head_in_portions_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    head, (hidden, lengths) = built("annotators-onehot"), states()
    whole = head.everybody(hidden, lengths), head(hidden, lengths)
    monkeypatch.setattr("serbench.harness.heads.annotators.AT_ONCE", 8)
    torch.testing.assert_close((head.everybody(hidden, lengths), head(hidden, lengths)), whole)


@pytest.mark.parametrize("name", ["annotators", "annotators:shared=false", "annotators-onehot"])
def test_tasks_are_what_they_say(name: str) -> None:
    """Each against its own formula, from what the head says of each pair."""
    joiner = "," if ":" in name else ":"
    head, (hidden, lengths) = built(f"{name}{joiner}tasks=1+2+3"), states()
    ratings = torch.rand(len(UTTERANCE), 3) * 2 - 1
    # One of two has not rated the activation of the first utterance, and nobody dominance of the
    # last.
    ratings[0, 0] = ratings[4, 1] = ratings[6, 2] = torch.nan
    there = targets(ratings)
    said = head.answer(hidden, lengths, there).told_ratings
    losses = {task: head.loss(hidden, lengths, there, (task,)).item() for task in "123"}
    assert losses["1"] == pytest.approx(3 * ccc_loss(said, there.ratings).item(), abs=1e-6)
    rated = said.masked_fill(ratings.isnan(), torch.nan)
    means = torch.stack([rated[u == UTTERANCE].nanmean(0) for u in range(4)])
    labels = there.labels.masked_fill(means.isnan(), torch.nan)
    assert losses["2"] == pytest.approx(3 * ccc_loss(means.nan_to_num(), labels).item(), abs=1e-6)
    chosen = torch.tensor([1, 2, 3, 5, 6])
    masses = head.estimator.of_pairs(said[chosen, :2], UTTERANCE[chosen], 4)
    entropy = -(there.distributions * (masses + 1e-8).log()).sum((1, 2)).mean()
    assert losses["3"] == pytest.approx(entropy.item(), abs=1e-6)
    together = head.loss(hidden, lengths, there, ("1", "2", "3")).item()
    assert together == pytest.approx(sum(losses.values()), abs=1e-5)
    told = head.answer(hidden, lengths, there).told_distributions
    torch.testing.assert_close(told, masses)
    head.loss(hidden, lengths, there, ("1", "2", "3")).backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ["annotators", "annotators-onehot"])
def test_what_no_task_teaches_is_not_predicted(name: str) -> None:
    """A distribution is over activation and valence, so that it teaches no dominance."""
    said = states()
    for tasks, predicts in (("3", [True, True, False]), ("1+3", [True] * 3), ("2", [True] * 3)):
        head = built(f"{name}:tasks={tasks}")
        answer = head.answer(*said, targets())
        for values in (head(*said), head.everybody(*said), answer.labels, answer.told_ratings):
            finite = values.isfinite().flatten(0, -2)
            assert (finite == torch.tensor(predicts)).all()
        assert answer.distributions.isfinite().all()
        assert list(head.predicts or [True] * 3) == predicts


def test_an_absent_rating_teaches_nothing() -> None:
    ratings = torch.rand(len(UTTERANCE), 3)
    ratings[2:] = torch.nan
    head, (hidden, lengths) = built("annotators:shared=false,tasks=1"), states()
    head.loss(hidden, lengths, targets(ratings), ("1",)).backward()
    touched = head.layer.weight.grad.abs().sum((0, 2)) > 0
    assert touched.nonzero()[:, 0].tolist() == [1, 3]
    assert torch.isfinite(head.layer.weight.grad).all()


def test_an_utterance_that_nobody_rated_teaches_nothing_but_is_answered() -> None:
    head, (hidden, lengths) = built("annotators:tasks=1+3"), states()
    there = targets()
    alone = Targets(
        labels=there.labels,
        utterance=UTTERANCE[:-1],
        annotator=ANNOTATOR[:-1],
        ratings=there.ratings[:-1],
        distributions=there.distributions.index_fill(0, torch.tensor([3]), torch.nan),
    )
    head.loss(hidden, lengths, alone, ("1", "3")).backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)
    answer = head.answer(hidden, lengths, alone)
    torch.testing.assert_close(answer.told_distributions[3], answer.distributions[3])


@pytest.mark.parametrize("name", ["annotators:shared=false,", "annotators-onehot:"])
def test_what_diffkde_answers_is_the_hard_histograms(name: str) -> None:
    head, (hidden, lengths) = built(f"{name}estimator=diffkde,observations=100"), states()
    answer = head.answer(hidden, lengths, targets())
    hard = dataclasses.replace(HARD, observations=100)
    said = head.everybody(hidden, lengths)[..., :2]
    for found, expected in (
        (answer.distributions, hard.of_everybody(said, generator=torch.Generator().manual_seed(0))),
        (
            answer.told_distributions,
            hard.of_pairs(
                answer.told_ratings[:, :2],
                UTTERANCE,
                4,
                generator=torch.Generator().manual_seed(0),
            ),
        ),
    ):
        torch.testing.assert_close(found, expected)


def test_a_stranger_is_told_what_everybody_is() -> None:
    head, (hidden, lengths) = built("annotators:shared=false"), states()
    strangers = ANNOTATOR.clone()
    strangers[[0, 1, 2]] = -1
    answer = head.answer(hidden, lengths, targets(annotator=strangers))
    torch.testing.assert_close(answer.told_ratings[:3], answer.labels[UTTERANCE[:3]])
    torch.testing.assert_close(answer.told_distributions[:2], answer.distributions[:2])
    assert not torch.allclose(answer.told_distributions[2], answer.distributions[2])


def test_the_pseudo_annotator_learns_the_labels_and_is_nobody() -> None:
    head, (hidden, lengths) = built("annotators:pseudo=true,shared=false,tasks=1"), states()
    assert head.turns == (("1", "consensus"),)
    there = targets()
    loss = head.loss(hidden, lengths, there, ("consensus",))
    assert loss.item() == pytest.approx(3 * ccc_loss(head(hidden, lengths), there.labels).item())
    loss.backward()
    touched = head.layer.weight.grad.abs().sum((0, 2)) > 0
    assert touched.nonzero()[:, 0].tolist() == [PEOPLE]
    assert head.everybody(hidden, lengths).shape == (4, PEOPLE, 3)


def test_a_warmup_teaches_what_is_shared_and_leaves_everybody_there() -> None:
    head, (hidden, lengths) = built("annotators:warmup=2,tasks=1+3"), states()
    head.begin_epoch(0)
    assert head.turns == (("consensus",),)
    head.loss(hidden, lengths, targets(), ("consensus",)).backward()
    assert head.layer.weight.grad is None
    assert head.layer.shared.weight.grad is not None
    before = head(hidden, lengths)
    head.begin_epoch(2)
    assert head.turns == (("1", "3"),)
    torch.testing.assert_close(head(hidden, lengths), before)
    torch.testing.assert_close(
        head.everybody(hidden, lengths), before[:, None].expand(-1, PEOPLE, -1)
    )


def test_interleaved_tasks_take_turns() -> None:
    chosen = heads.parse("annotators:tasks=1+3,schedule=interleaved,pseudo=true")
    assert chosen.objective.turns == 3
    assert heads.build(chosen, KNOWN).turns == (("1",), ("3",), ("consensus",))


@pytest.mark.parametrize("schedule", ["summed", "interleaved"])
def test_the_steps_of_each_epoch_are_known_beforehand(schedule: str) -> None:
    chosen = heads.parse(f"annotators:tasks=1+3,schedule={schedule},pseudo=true,warmup=2")
    head = heads.build(chosen, KNOWN)
    for epoch in range(4):
        head.begin_epoch(epoch)
        assert chosen.objective.turns_in(epoch) == len(head.turns)


def test_without_valence_there_is_no_distribution() -> None:
    known = Known(hidden_size=6, dimensions=("activation", "dominance"), annotators=PEOPLE)
    head = Towers(known, BinMass(), (("1",),), width=4, shared=True, pseudo=False, warmup=0)
    hidden, lengths = states()
    there = targets(torch.rand(len(UTTERANCE), 2))
    assert head.answer(hidden, lengths, there).distributions is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("annotators:tasks=4", "tasks are some of 1, 2, 3"),
        ("annotators:tasks=1+1", "tasks are some of"),
        ("annotators:schedule=both", "schedule is summed or interleaved"),
        ("annotators:estimator=kde", "estimator is binmass or diffkde"),
        ("annotators:bandwidth=0", "bandwidth must be from"),
        ("distribution:bandwidth=0.6", "bandwidth must be from"),
        ("annotators:bins=30", "bins must be a multiple of 4"),
        ("distribution:labels=kde", "labels is binmass or diffkde"),
        ("annotators:warmup=2,shared=false", "shared must be true"),
        ("annotators:width=0", "width is at least 1"),
        ("annotators:wings=2", "annotators takes tasks=1"),
        ("consensus:wings=2", "consensus has no settings"),
        ("concensus", "did you mean consensus"),
    ],
)
def test_wrong_settings_are_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        heads.parse(text)


def test_labels_show_what_was_stated() -> None:
    assert heads.parse("annotators").label == "annotators"
    text = "annotators:tasks=1,estimator=diffkde"
    assert heads.parse(f" {text} ").label == text
    assert heads.parse(text).config["observations"] == 200


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("annotators", BinMass()),
        ("annotators:estimator=diffkde", DiffKDE()),
        ("annotators-onehot:estimator=diffkde,sharpness=8", DiffKDE()),
    ],
)
def test_what_a_head_declares_is_the_estimators_own_default(text: str, kind: Estimator) -> None:
    head = heads.build(heads.parse(text), KNOWN)
    assert head.estimator == kind
