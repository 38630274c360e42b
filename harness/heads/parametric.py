"""Heads that predict the parameters of a distribution of ratings, in each dimension by itself."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from serbench.harness.distributions import CELLS
from serbench.harness.heads import PLANE, Known
from serbench.harness.heads.base import PROJECTION, Answer, Head, pooled
from serbench.harness.targets import Targets

__all__ = ["Evidential", "MeanVariance", "student_t_cdf"]

LEAST_VARIANCE = 0.01
"""Ratings that agree leave about this much: rounding to the points of a scale of seven, one third
apart where the scale is [-1, 1], has a variance of 1/108."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)


class Parametric(Head):
    """What such heads share: the consensus head's maps, to several numbers a dimension."""

    parameters_each: int
    """Numbers that describe a dimension, the first of which is the mean."""

    def __init__(self, known: Known) -> None:
        super().__init__()
        self.projector = nn.Linear(known.hidden_size, PROJECTION)
        self.classifier = nn.Linear(PROJECTION, self.parameters_each * len(known.dimensions))
        names = list(known.dimensions)
        self._plane = [names.index(name) for name in PLANE if name in names]

    def described(self, hidden: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """What the maps give for each parameter, (B, D) each."""
        raw: Tensor = self.classifier(self.projector(pooled(hidden, lengths)))
        return raw.chunk(self.parameters_each, dim=1)

    @abstractmethod
    def below(self, edges: Tensor, described: Sequence[Tensor]) -> Tensor:
        """(B, D, E) probability of a rating below each of the edges (E,)."""

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(B, D): the means."""
        return self.described(hidden, lengths)[0]

    def answer(self, hidden: Tensor, lengths: Tensor, targets: Targets) -> Answer:
        """Means, and the masses of cells; what is beyond the scale is in the last ones."""
        described = self.described(hidden, lengths)
        if len(self._plane) < len(PLANE):
            return Answer(labels=described[0])
        # In float32 the differences of what is next to 1 would round to less than nothing.
        precise = [parameter.double() for parameter in described]
        edges = torch.linspace(-1, 1, CELLS + 1, dtype=torch.float64, device=hidden.device)[1:-1]
        inner = self.below(edges, precise)[:, self._plane]
        ends = torch.zeros_like(inner[..., :1])
        along = torch.cat([ends, inner, ends + 1], dim=-1).diff(dim=-1).clamp_min(0)
        along = along / along.sum(dim=-1, keepdim=True)
        masses = along[:, 0, :, None] * along[:, 1, None]
        return Answer(labels=described[0], distributions=masses.float())


class MeanVariance(Parametric):
    """A Gaussian, learnt by its divergence from that of the ratings."""

    turns = (("divergence",),)
    parameters_each = 2

    def loss(
        self, hidden: Tensor, lengths: Tensor, targets: Targets, tasks: Sequence[str]
    ) -> Tensor:
        """KL(N(m, s²) ‖ N(μ, σ²)), m and s² the ratings' mean and unbiased variance.

        The mean over dimensions and utterances with at least two ratings; a variance is at least
        `LEAST_VARIANCE`.
        """
        mean, raw = self.described(hidden, lengths)
        variance = softplus(raw) + LEAST_VARIANCE
        count, m, v = _moments(targets)
        v = v.clamp(min=LEAST_VARIANCE)
        each = ((variance / v).log() + (v + (m - mean) ** 2) / variance - 1) / 2
        known = count > 1
        return each.masked_fill(~known, 0.0).sum() / known.sum().clamp(min=1)

    def below(self, edges: Tensor, described: Sequence[Tensor]) -> Tensor:
        """By the normal distribution."""
        mean, raw = described
        deviation = (softplus(raw) + LEAST_VARIANCE).sqrt()
        below: Tensor = torch.special.ndtr((edges - mean[..., None]) / deviation[..., None])
        return below


class Evidential(Parametric):
    """A normal-inverse-gamma prior over the Gaussian that ratings are drawn from.

    Deep evidential emotion regression: Wu, Zhang and Woodland (ACL 2023), arXiv:2306.06760, after
    Amini et al. (2020), arXiv:1910.02600.

    Args:
        known: what is predicted.
        weight: of the regulariser.
    """

    turns = (("evidence",),)
    parameters_each = 4

    def __init__(self, known: Known, *, weight: float) -> None:
        super().__init__(known)
        self.weight = weight

    def loss(
        self, hidden: Tensor, lengths: Tensor, targets: Targets, tasks: Sequence[str]
    ) -> Tensor:
        """Negative log evidence of each rating, and a regulariser of mean and variance.

        With prior γ, ν, α, β, a rating is drawn from Student's t with 2α degrees of freedom, mean
        γ and scale² β(1 + ν) / (να). The regulariser is (|m − γ| + |s² − β/(α − 1)|) / V, with m
        and s² the ratings' mean and unbiased variance and V = β(1 + ν) / (ν(α − 1)) the predicted
        variance of a rating. Ratings are averaged within an utterance first.
        """
        described = self.described(hidden, lengths)
        gamma, nu, alpha, beta = _prior(described)
        rows = targets.utterance
        each = _evidence(targets.ratings.nan_to_num(), *(p[rows] for p in (gamma, nu, alpha, beta)))
        rated = ~targets.ratings.isnan()
        count, m, v = _moments(targets)
        sums = torch.zeros_like(gamma).index_add(0, rows, each.masked_fill(~rated, 0.0))
        precision = nu * (alpha - 1) / (beta * (1 + nu))
        spread = (v - beta / (alpha - 1)).abs().masked_fill(count < 2, 0.0)
        total = sums / count.clamp(min=1) + self.weight * precision * ((m - gamma).abs() + spread)
        known = count > 0
        return total.masked_fill(~known, 0.0).sum() / known.sum().clamp(min=1)

    def below(self, edges: Tensor, described: Sequence[Tensor]) -> Tensor:
        """By Student's t."""
        gamma, nu, alpha, beta = _prior(described)
        scale = (beta * (1 + nu) / (nu * alpha)).sqrt()
        standardised = (edges - gamma[..., None]) / scale[..., None]
        return student_t_cdf(standardised, 2 * alpha[..., None])


def _moments(targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
    """Of each utterance's ratings, (B, D) each: count, mean, unbiased variance; 0 where none."""
    known = ~targets.ratings.isnan()
    values = targets.ratings.nan_to_num()
    zeros = values.new_zeros(len(targets.labels), values.shape[1])
    count = zeros.index_add(0, targets.utterance, known.to(values.dtype))
    mean = zeros.index_add(0, targets.utterance, values) / count.clamp(min=1)
    distance = (values - mean[targets.utterance]).masked_fill(~known, 0.0)
    squares = zeros.index_add(0, targets.utterance, distance**2)
    return count, mean, squares / (count - 1).clamp(min=1)


def _prior(described: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    gamma, nu, alpha, beta = described
    # Where evidence or scale vanishes, so do logarithms' arguments.
    return gamma, softplus(nu) + 1e-4, softplus(alpha) + 1 + 1e-4, softplus(beta) + 1e-4


def _evidence(rating: Tensor, gamma: Tensor, nu: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Negative log density of a rating under the prior: Amini et al. (2020), equation 8."""
    omega = 2 * beta * (1 + nu)
    return (
        0.5 * (math.pi / nu).log()
        - alpha * omega.log()
        + (alpha + 0.5) * (nu * (rating - gamma) ** 2 + omega).log()
        + alpha.lgamma()
        - (alpha + 0.5).lgamma()
    )


def student_t_cdf(t: Tensor, degrees: Tensor) -> Tensor:
    """Probability below t in float64, of degrees above 1; shapes that broadcast; torch has none.

    With t = √n tan θ the density becomes a power of the cosine, which Gauss-Legendre quadrature
    integrates from 0 to θ, and to where the power has fallen to e⁻⁴⁶: that is half of all there is.
    However narrow the peak, the nodes lie within it.
    """
    t, power = t.double(), degrees.double() - 1
    farthest = (92 / power).expm1().sqrt().atan()
    angle = (t / degrees.double().sqrt()).atan().clamp(-farthest, farthest)
    nodes, weights = (torch.as_tensor(x, device=t.device) for x in (NODES, WEIGHTS))

    def integral(to: Tensor) -> Tensor:
        points = to[..., None] * (nodes + 1) / 2
        logarithm = torch.log1p(-points.sin().square()) / 2
        found: Tensor = ((power[..., None] * logarithm).exp() * weights).sum(-1) * to
        return found

    return (1 + integral(angle) / integral(farthest)) / 2
