"""Botev's kernel density estimate in two dimensions: for a batch at once, and with its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["Diffused", "cosines", "diffuse", "kde2d", "synthesise"]

LATEST = 0.1
"""End of the published search for the diffusion time. Times are of axes of length 1."""
EARLIEST = 1e-4
"""Its start here, as a share of a bin's width squared: earlier than any root."""
STEPS = 16
"""Towards the root, at most. Of 5,000 clouds of points the slowest took 13."""
BLIND_STEPS = 8
"""Where there will be a gradient, and with it one more step, and no device is waited for. Of 6,000
soft histograms the slowest took 7."""
VANISHED = 35.0
"""A frequency is left out where a Gaussian factor is below exp(-35), about 6e-16."""
LEVELS = (4, 3, 2)
"""Orders i + j of the functionals whose times follow from those of the order above."""


@dataclass(frozen=True, eq=False)
class Diffused:
    """A spectrum after diffusion."""

    spectrum: Tensor
    """(B, K, K): for `synthesise`."""
    complete: Tensor
    """(B,): whether the frequencies from K on could be left out."""


def kde2d(histogram: Tensor, total: Tensor) -> Tensor:
    """Density on [-1, 1]² of points in bins: Botev, Grotowski and Kroese (2010), Ann. Statist. 38.

    The points' cosine series is smoothed as by heat that no edge lets through, for a time that
    follows from the points: a root in (0, 0.1) of t - (t - γ(t)) / γ(t). Where γ is so large that
    there is none, as of points all over the square, the time is 0.1.

    The gradient with respect to the histogram is complete: it passes through the root too.

    Args:
        histogram: tensor with shape (B, n, n), counts or soft counts; axis 0 is activation
        total: tensor with shape (B,), the number of points

    Returns:
        tensor with shape (B, n, n); from rounding, and where a point fills less than a bin, values
        can be a little below 0
    """
    bins = histogram.shape[-1]
    basis = cosines(bins, bins, histogram)
    spectrum = basis.mT @ histogram @ basis / total[:, None, None]
    return synthesise(diffuse(spectrum, total, bins).spectrum, basis)


def cosines(bins: int, frequencies: int, like: Tensor) -> Tensor:
    """cos(πk(j + ½)/n) of bin j and frequency k, (n, K), of the dtype and device of `like`."""
    return _cosines(bins, like.dtype, like.device)[:, :frequencies]


def synthesise(spectrum: Tensor, basis: Tensor) -> Tensor:
    """Density from a spectrum (B, K, K), (B, n, n), given the cosines (n, K) of its places."""
    weighted = basis * _multiplicity(basis)
    return weighted @ spectrum @ weighted.mT / 4


def diffuse(spectrum: Tensor, total: Tensor, bins: int) -> Diffused:
    """The diffusion that suits the points of a spectrum.

    Args:
        spectrum: tensor with shape (B, K, K), the means over the points of the products of their
            cosines along the two axes
        total: tensor with shape (B,), the number of points
        bins: n, of an axis; what frequencies there are from K to n is left out
    """
    frequencies = spectrum.shape[-1]
    # The functionals are of squares, in which a Gaussian factor vanishes a root of two earlier.
    few = frequencies if frequencies == bins else round(frequencies / math.sqrt(2))
    functionals = _Functionals.of(spectrum[:, :few, :few], total, bins)
    vanished = VANISHED / (math.pi * few) ** 2
    log_time = functionals.root(EARLIEST / bins**2 if few == bins else vanished / 2)
    psi, used = functionals.at(log_time.exp())
    first, second = functionals.times(psi)
    k = torch.arange(frequencies, dtype=spectrum.dtype, device=spectrum.device)
    rows, columns = (torch.exp(-((math.pi * k) ** 2) * t[:, None] / 2) for t in (second, first))
    least = torch.cat([*used, first[:, None], second[:, None]], dim=1).amin(dim=1)
    complete = (least > vanished) | (few == bins)
    return Diffused(spectrum * rows[:, :, None] * columns[:, None, :], complete)


@dataclass(frozen=True, eq=False)
class _Functionals:
    """ψ(i, j, t), the squared norms of the density's derivatives after a time t.

    In units of (π²n)^(i+j), which keeps all of them within the range of float32, and without their
    sign (-1)^(i+j), which cancels.
    """

    power: Tensor
    """(B, K, K): squared coefficients."""
    total: Tensor
    """(B, 1)."""
    bins: int

    @classmethod
    def of(cls, spectrum: Tensor, total: Tensor, bins: int) -> _Functionals:
        weights = _multiplicity(spectrum)
        return cls(spectrum.square() * weights * weights[:, None], total[:, None], bins)

    @property
    def unit(self) -> float:
        return math.pi**2 * self.bins

    def at(self, time: Tensor) -> tuple[Tensor, list[Tensor]]:
        """ψ(0, 2), ψ(1, 1) and ψ(2, 0), (B, 3), from order 5 at a time (B,); all times used."""
        used = [time[:, None]]
        psi = self._psi(used[0], max(LEVELS) + 1)
        for order in LEVELS:
            constants = _constants(order, self.bins, psi.dtype, psi.device)
            scaled = constants / (self.total * _positive(psi[:, 1:] + psi[:, :-1]))
            used.append(scaled ** (1 / (2 + order)) / self.unit)
            psi = self._psi(used[-1], order)
        return psi, used

    def _psi(self, time: Tensor, order: int) -> Tensor:
        """ψ(i, order - i) of each i, (B, order + 1), each at its own time or all at one (B, 1)."""
        frequencies = self.power.shape[-1]
        rates, powers, mirrored = _tables(order, frequencies, self.bins, time.dtype, time.device)
        faded = torch.exp(rates * time[:, :, None])
        return ((faded * mirrored) @ self.power * (faded * powers)).sum(dim=2)

    def excess(self, log_time: Tensor) -> Tensor:
        """Of the same sign and root as t - (t - γ)/γ, and nearly linear in log t."""
        psi, _ = self.at(log_time.exp())
        together = _positive(psi[:, 0] + psi[:, 2] + 2 * psi[:, 1])
        inverse = (2 * math.pi * self.total[:, 0] * self.unit**2 * together) ** (1 / 3)
        return -log_time - _positive(inverse - 1).log()

    def root(self, earliest: float) -> Tensor:
        """Log of the time at the root, (B,), or of the end that is nearer to it.

        Bracketed without a gradient; one step of Newton's at the root then has the gradient of the
        root, as the implicit function theorem gives it.
        """
        low, high = (
            torch.full_like(self.power[:, 0, 0], math.log(end)) for end in (earliest, LATEST)
        )
        learning = torch.is_grad_enabled() and self.power.requires_grad
        with torch.no_grad():
            at_low, at_high = self.excess(low), self.excess(high)
            inside = (at_low > 0) & (at_high < 0)
            outside = torch.where(at_high < 0, low, high)
            low, high = torch.where(inside, low, outside), torch.where(inside, high, outside)
            found = _bracketed(self.excess, low, high, at_low, at_high, blind=learning)
        if not learning:
            return found
        place = found.clone().requires_grad_()
        excess = self.excess(place)
        (slope,) = torch.autograd.grad(excess.sum(), place, retain_graph=True)
        return torch.where(inside, found - excess / torch.where(inside, slope, 1.0), found)

    def times(self, psi: Tensor) -> tuple[Tensor, Tensor]:
        """Times t1 and t2, (B,) each, along axis 1 and axis 0."""
        p02, p11, p20 = (_positive(column) for column in psi.unbind(dim=1))
        scale = 4 * math.pi * self.total[:, 0] * self.unit**2 * (p11 + p02.sqrt() * p20.sqrt())
        ratio = (p02 / p20) ** 0.75
        return (ratio / scale) ** (1 / 3), (1 / (ratio * scale)) ** (1 / 3)


def _bracketed(
    function: Callable[[Tensor], Tensor],
    a: Tensor,
    b: Tensor,
    at_a: Tensor,
    at_b: Tensor,
    *,
    blind: bool,
) -> Tensor:
    """Root between a and b, elementwise: Anderson and Björck (1973), BIT 13, a regula falsi.

    Args:
        blind: take a fixed number of steps rather than look whether the roots are found
    """
    enough = torch.finfo(a.dtype).eps ** 0.75
    for _ in range(BLIND_STEPS if blind else STEPS):
        step = at_b * (b - a) / (at_b - at_a)
        middle = b - torch.nan_to_num(step, nan=0.0, posinf=0.0, neginf=0.0)
        at_middle = function(middle)
        if not blind and bool(((at_middle.abs() < enough) | (a == b)).all()):
            return middle
        same = at_middle * at_b > 0
        shrunk = 1 - at_middle / at_b
        shrunk = torch.where(shrunk > 0, shrunk, 0.5)
        a, at_a = torch.where(same, a, b), torch.where(same, at_a * shrunk, at_b)
        b, at_b = middle, at_middle
    return b


def _positive(values: Tensor) -> Tensor:
    return values.clamp_min(torch.finfo(values.dtype).tiny)


def _multiplicity(like: Tensor) -> Tensor:
    """How often a frequency counts in a cosine series, (K,): 1, 2, 2, …"""
    weights = like.new_full(like.shape[-1:], 2.0)
    weights[:1] = 1.0
    return weights


# What is kept must serve autograd too, whoever asks for it first.
@lru_cache
@torch.inference_mode(False)
def _cosines(bins: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    places = torch.arange(bins, dtype=torch.float64) + 0.5
    k = torch.arange(bins, dtype=torch.float64)
    table: Tensor = torch.cos(math.pi / bins * places[:, None] * k)
    return table.to(device, dtype)


@lru_cache
@torch.inference_mode(False)
def _tables(
    order: int, frequencies: int, bins: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """-π²k², (K,); (k²/n)^i and (k²/n)^(order - i) of each i, (order + 1, K)."""
    squares = torch.arange(frequencies, dtype=torch.float64) ** 2
    powers = (squares / bins) ** torch.arange(order + 1)[:, None]
    rates, powers = (table.to(device, dtype) for table in (-(math.pi**2) * squares, powers))
    return rates, powers, powers.flip(0)


@lru_cache
@torch.inference_mode(False)
def _constants(order: int, bins: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """πn(1 + 2^-(order+1))/3 · (2i-1)!! (2j-1)!! of each i, (order + 1,)."""
    odd = [math.prod(range(1, 2 * i, 2)) for i in range(order + 1)]
    scale = math.pi * bins * (1 + 2 ** -(order + 1)) / 3
    constants = [scale * i * j for i, j in zip(odd, reversed(odd), strict=True)]
    return torch.tensor(constants, dtype=dtype, device=device)
