"""Heads of parameters against independent computations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Normal, StudentT, kl_divergence

from serbench.harness import heads
from serbench.harness.heads import Known
from serbench.harness.heads.parametric import LEAST_VARIANCE, _evidence, student_t_cdf
from serbench.harness.metrics import jsd
from serbench.harness.targets import Targets

KNOWN = Known(hidden_size=6, dimensions=("activation", "valence"))
RATINGS = torch.tensor(
    [[0.1, -0.5], [0.5, -0.1], [0.9, math.nan], [0.2, 0.2], [-0.3, 0.0], [-0.3, 0.0]]
)
UTTERANCE = torch.tensor([0, 0, 0, 1, 2, 2])


def targets() -> Targets:
    return Targets(
        labels=torch.zeros(4, 2),
        utterance=UTTERANCE,
        annotator=torch.zeros(6, dtype=torch.int64),
        ratings=RATINGS,
        distributions=torch.full((4, 4, 4), torch.nan),
    )


def built(text: str) -> Any:
    return heads.build(text, KNOWN)


def states() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(4, 3, KNOWN.hidden_size), torch.full((4,), 3)


def moments() -> list[tuple[int, int, float, float]]:
    """Utterance, dimension, mean and unbiased variance where there are two ratings at least."""
    found = []
    for u in range(4):
        for d in range(2):
            values = RATINGS[u == UTTERANCE, d].numpy()
            values = values[~np.isnan(values)]
            if len(values) > 1:
                found.append((u, d, float(values.mean()), float(values.var(ddof=1))))
    return found


def test_the_divergence_is_that_of_the_ratings_gaussian() -> None:
    head, (hidden, lengths) = built("mean-variance"), states()
    mean, raw = head.described(hidden, lengths)
    deviation = (torch.nn.functional.softplus(raw) + LEAST_VARIANCE).sqrt()
    each = [
        kl_divergence(
            Normal(m, math.sqrt(max(v, LEAST_VARIANCE))), Normal(mean[u, d], deviation[u, d])
        )
        for u, d, m, v in moments()
    ]
    loss = head.loss(hidden, lengths, targets(), head.turns[0])
    assert loss.item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


def test_evidence_is_the_density_of_students_t() -> None:
    gamma, nu, alpha, beta = torch.tensor([0.2, -0.1]), torch.tensor([0.5, 3.0]), 2.5, 0.7
    a, b = torch.full((2,), alpha), torch.full((2,), beta)
    rating = torch.tensor([0.9, -0.8])
    scale = (b * (1 + nu) / (nu * a)).sqrt()
    expected = -StudentT(2 * a, gamma, scale).log_prob(rating)
    torch.testing.assert_close(_evidence(rating, gamma, nu, a, b), expected)


def test_the_evidential_loss_by_hand() -> None:
    head, (hidden, lengths) = built("evidential:weight=0.5"), states()
    raw = head.described(hidden, lengths)
    softplus = torch.nn.functional.softplus
    gamma, nu, alpha, beta = (
        raw[0], softplus(raw[1]) + 1e-4, softplus(raw[2]) + 1 + 1e-4, softplus(raw[3]) + 1e-4
    )  # fmt: skip
    each = []
    for u in range(4):
        for d in range(2):
            values = RATINGS[u == UTTERANCE, d]
            values = values[~values.isnan()]
            if not len(values):
                continue
            g, n, a, b = (p[u, d].item() for p in (gamma, nu, alpha, beta))
            t = stats.t(2 * a, g, math.sqrt(b * (1 + n) / (n * a)))
            spread = abs(values.var().item() - b / (a - 1)) if len(values) > 1 else 0
            error = abs(values.mean().item() - g) + spread
            evidence = -t.logpdf(values.numpy()).mean()
            each.append(evidence + 0.5 * error * n * (a - 1) / (b * (1 + n)))
    loss = head.loss(hidden, lengths, targets(), head.turns[0])
    assert loss.item() == pytest.approx(np.mean(each), rel=1e-4)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_students_t_is_scipys(dtype: torch.dtype) -> None:
    t = torch.tensor([-80.0, -3.0, -0.4, 0.0, 0.01, 1.0, 7.0, 80.0, 1e4], dtype=dtype)
    for degrees in (2.0, 2.3, 4.0, 30.0, 300.0, 2e3, 2e4, 1e6, 1e10):
        n = torch.full_like(t, degrees)
        expected = stats.t.cdf(t.double().numpy(), n.double().numpy())
        np.testing.assert_allclose(student_t_cdf(t, n).numpy(), expected, atol=1e-8)


@pytest.mark.parametrize("alpha", [10.0, 1e3, 1e4])
@pytest.mark.parametrize("beta", [0.1, 1e-3])
def test_masses_of_evidence_are_scipys_and_none_is_negative(alpha: float, beta: float) -> None:
    head, (hidden, lengths) = built("evidential"), states()
    above = torch.tensor([1.0, alpha - 1, beta], dtype=torch.float64) - 1e-4
    raw = above + (-(-above).expm1()).log()  # what softplus takes there
    with torch.no_grad():
        head.get_parameter("classifier.weight").zero_()
        bias = head.get_parameter("classifier.bias")
        bias.copy_(torch.cat([torch.tensor([0.6, -0.7]), raw.float().repeat_interleave(2)]))
        masses = head.answer(hidden, lengths, targets()).distributions
    scale = math.sqrt(beta * 2 / alpha)
    edges = np.array([-np.inf, -0.5, 0, 0.5, np.inf])
    each = np.diff(stats.t.cdf(edges, 2 * alpha, np.array([[0.6], [-0.7]]), scale))
    np.testing.assert_allclose(masses, np.broadcast_to(np.outer(*each), (4, 4, 4)), atol=2e-6)
    assert (masses >= 0).all()
    rated = np.zeros((4, 4, 4))
    rated[:, 3, 0] = 1
    assert np.isfinite(jsd(masses.numpy(), rated)).all()


@pytest.mark.parametrize("name", ["mean-variance", "evidential"])
def test_masses_take_what_is_beyond_the_scale_into_the_last_cells(name: str) -> None:
    head, (hidden, lengths) = built(name), states()
    with torch.no_grad():
        head.get_parameter("classifier.bias")[0] = 5.0
    masses = head.answer(hidden, lengths, targets()).distributions
    assert masses is not None
    torch.testing.assert_close(masses.sum((1, 2)), torch.ones(4))
    assert (masses[:, 3].sum(1) > 0.9).all()


def test_a_gaussians_masses_are_scipys() -> None:
    head, (hidden, lengths) = built("mean-variance"), states()
    mean, raw = (x.detach() for x in head.described(hidden, lengths))
    deviation = (torch.nn.functional.softplus(raw) + LEAST_VARIANCE).sqrt().numpy()
    edges = np.array([-np.inf, -0.5, 0, 0.5, np.inf])
    below = stats.norm.cdf(edges, mean.numpy()[..., None], deviation[..., None])
    each = np.diff(below, axis=-1)
    expected = each[:, 0, :, None] * each[:, 1, None, :]
    found = head.answer(hidden, lengths, targets()).distributions
    assert found is not None
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-6)
