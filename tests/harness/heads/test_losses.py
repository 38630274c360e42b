from __future__ import annotations

import math

import audmetric
import numpy as np
import pytest
import torch

from serbench.harness.heads.losses import ccc_loss, cross_entropy


def test_ccc_loss_by_hand() -> None:
    """Means 2 and 2, variances 2/3 and 8/3 (population), covariance 4/3: CCC = (8/3)/(10/3)."""
    predicted = torch.tensor([[1.0], [2.0], [3.0]])
    labels = torch.tensor([[0.0], [2.0], [4.0]])
    assert ccc_loss(predicted, labels).item() == pytest.approx(1 - 0.8)


def test_ccc_loss_is_one_minus_the_metric() -> None:
    rng = np.random.default_rng(0)
    truth, guess = rng.normal(size=(2, 40, 3))
    expected = np.mean([1 - audmetric.concordance_cc(truth[:, d], guess[:, d]) for d in range(3)])
    loss = ccc_loss(torch.from_numpy(guess), torch.from_numpy(truth))
    assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_labels_that_are_not_there_do_not_count() -> None:
    rng = np.random.default_rng(1)
    truth, guess = (torch.from_numpy(x) for x in rng.normal(size=(2, 20, 2)))
    holes = truth.clone()
    holes[5:, 1] = float("nan")
    expected = (ccc_loss(guess[:, :1], truth[:, :1]) + ccc_loss(guess[:5, 1:], truth[:5, 1:])) / 2
    assert ccc_loss(guess, holes).item() == pytest.approx(expected.item())
    holes[1:, 1] = float("nan")
    assert ccc_loss(guess, holes).item() == pytest.approx(
        ccc_loss(guess[:, :1], truth[:, :1]).item()
    )


def test_the_gradient_is_finite_where_nothing_varies() -> None:
    predicted = torch.zeros(4, 2, requires_grad=True)
    labels = torch.zeros(4, 2)
    labels[:, 1] = float("nan")
    ccc_loss(predicted, labels).backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()


def test_cross_entropy_by_hand_and_only_where_there_is_a_distribution() -> None:
    predicted = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]], requires_grad=True)
    truth = torch.tensor([[0.5, 0.5, 0.0], [torch.nan] * 3])
    loss = cross_entropy(predicted, truth)
    assert loss.item() == pytest.approx(-0.5 * math.log(0.5) - 0.5 * math.log(0.25), abs=1e-6)
    loss.backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()
    assert (predicted.grad[1] == 0).all()
    assert cross_entropy(predicted, torch.full_like(truth, torch.nan)).item() == 0
