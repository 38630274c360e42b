"""How ratings of an utterance, or predictions of them, become a distribution over a grid of cells.

The grid spans [-1, 1]², axis 0 activation and axis 1 valence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from serbench.harness.diffusion import cosines, diffuse, synthesise
from serbench.harness.smoothing import BANDWIDTH, BINS, CELLS, OBSERVATIONS, SHARPNESS

__all__ = [
    "CELLS",
    "HARD",
    "BinMass",
    "DiffKDE",
    "Estimator",
    "expectation",
]

AT_ONCE = 64
"""Utterances in memory at a time where no gradient is needed."""
MOST_RATINGS = 20_000
"""Ratings in memory at a time, likewise: 200 observations of each take some 100 MB."""
FEWEST_FREQUENCIES = 112
"""Tried first where no gradient is needed; where there is more detail, twice as many, and so on."""


class Estimator(ABC):
    """From ratings in [-1, 1] to distributions; what is outside is taken for the nearer end.

    Half precision is computed, and given, in float32.
    """

    @abstractmethod
    def of_pairs(
        self,
        values: Tensor,
        utterance: Tensor,
        utterances: int,
        *,
        cells: int = CELLS,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Distribution of each utterance that some annotators have rated.

        Args:
            values: tensor with shape (P, 2), activation and valence of each rating
            utterance: tensor with shape (P,), int64, from 0 to `utterances` - 1 in any order; if
                it is on the CPU, another device is not waited for
            utterances: U, of which some may have no rating
            cells: C, of an axis
            generator: of what is drawn, on its own device; the default one of the values' device
                if none is given

        Returns:
            tensor with shape (U, C, C), each summing to 1; NaN for an utterance without a rating
        """

    @abstractmethod
    def of_everybody(
        self, values: Tensor, *, cells: int = CELLS, generator: torch.Generator | None = None
    ) -> Tensor:
        """Distribution of each utterance that every annotator has rated.

        Args:
            values: tensor with shape (B, A, 2), activation and valence from each of A annotators
            cells: C, of an axis
            generator: as of `of_pairs`

        Returns:
            tensor with shape (B, C, C), each summing to 1
        """

    @property
    def without_gradient(self) -> Estimator:
        """What tells the distribution of predictions that are learnt by this one."""
        return self


@dataclass(frozen=True)
class DiffKDE(Estimator):
    """Diffusion estimate (`diffusion.kde2d`) from means of random subsets of the ratings.

    An observation is the mean of k of an utterance's m ratings, k uniform in 1 to m, plus
    U(-s/2, s/2) in each dimension, where s is that dimension's unbiased SD. The observations make
    a histogram, and it a density, of which each cell gets its mean, normalised to sum to 1.

    A single rating has no SD: s is then the width of a cell. Where all ratings are the same, s is
    1e-12, as published, and its gradient 0; the observations share a bin, the diffusion time is far
    below a bin's width squared, and all but some thousandths of the mass stay in that bin's cell.

    The subset is the same in both dimensions. Observations of one utterance do not depend on those
    of another in `of_pairs`; in `of_everybody` all utterances share their subsets of annotators.
    """

    bins: int = BINS
    """n, of an axis of the histogram; a multiple of the cells."""
    sharpness: float | None = SHARPNESS
    """T of the soft histogram, in which x is in the bin from a to b by σ(T(x - a)) - σ(T(x - b)).
    What this puts beyond the ends is lost: half of an observation at an end and, with 8, a third of
    one at 0.9. None is the hard histogram, which has no gradient."""
    observations: int = OBSERVATIONS

    def __post_init__(self) -> None:
        if self.bins < 2 or self.observations < 1 or not (self.sharpness or 1.0) > 0:
            raise ValueError(f"bins, sharpness and observations are positive, not {self}")

    def of_pairs(
        self,
        values: Tensor,
        utterance: Tensor,
        utterances: int,
        *,
        cells: int = CELLS,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As in `Estimator`.

        Raises:
            ValueError: an utterance is out of range, or the bins are no multiple of the cells.
        """
        values = self._prepared(values, cells)
        ratings = _Ratings.of(values, utterance, utterances)
        portions = [ratings.all()] if values.requires_grad else list(ratings.portions())
        parts = []
        for chosen in portions:
            rated, present = ratings.padded(chosen)
            means = _subsets(present, self.observations, values, generator) @ rated
            observed = _jittered(means, _spread(rated, present, cells), generator)
            parts.append(self._masses(observed, cells))
        found = torch.cat(parts)[_moved(torch.cat(portions).argsort(), values)]
        return ratings.unless_empty(found)

    def of_everybody(
        self, values: Tensor, *, cells: int = CELLS, generator: torch.Generator | None = None
    ) -> Tensor:
        """As in `Estimator`.

        Raises:
            ValueError: the bins are no multiple of the cells.
        """
        values = self._prepared(values, cells)
        present = torch.ones_like(values[:1, :, 0], dtype=torch.bool)
        subsets = _subsets(present, self.observations, values, generator)[0]
        means = torch.einsum("na,bad->bnd", subsets, values)
        observed = _jittered(means, _spread(values, present, cells), generator)
        portions = observed.split(len(observed) if values.requires_grad else AT_ONCE)
        return torch.cat([self._masses(portion, cells) for portion in portions])

    @property
    def without_gradient(self) -> Estimator:
        """With the hard histogram of the labels, as published."""
        return replace(HARD, observations=self.observations)

    def _prepared(self, values: Tensor, cells: int) -> Tensor:
        """Asks for a gradient only if there will be one."""
        if self.bins % cells:
            raise ValueError(f"{self.bins} bins are no multiple of {cells} cells")
        values = _clamped(values)
        learning = torch.is_grad_enabled() and self.sharpness is not None
        return values if learning else values.detach()

    def _masses(self, observed: Tensor, cells: int, frequencies: int = 0) -> Tensor:
        """(B, C, C) of observations (B, N, 2), from so many frequencies or as many as it takes."""
        if observed.requires_grad:
            frequencies = self.bins
        frequencies = min(frequencies or FEWEST_FREQUENCIES, self.bins)
        basis = cosines(self.bins, frequencies, observed)
        activation, valence = self._binned(observed, basis).unbind(dim=2)
        total = torch.full_like(observed[:, 0, 0], self.observations)
        diffused = diffuse(activation.mT @ valence / self.observations, total, self.bins)
        if frequencies == self.bins:
            return _normalised(_pooled(_floored(synthesise(diffused.spectrum, basis)), cells))
        # Where all frequencies that matter are here, the density has no negatives to be removed.
        pooled = basis.unflatten(0, (cells, -1)).mean(dim=1)
        masses = _normalised(_floored(synthesise(diffused.spectrum, pooled)))
        rest = diffused.complete.logical_not().nonzero()[:, 0]
        if len(rest):
            masses[rest] = self._masses(observed[rest], cells, 3 * frequencies // 2)
        return masses

    def _binned(self, observed: Tensor, basis: Tensor) -> Tensor:
        """The rows of the basis (n, K) of the observations' bins, (B, N, 2, K)."""
        if self.sharpness is None:
            at = ((observed + 1) * (self.bins / 2)).long().clamp_max(self.bins - 1)
            return basis[at]
        edges = torch.linspace(-1, 1, self.bins + 1, dtype=basis.dtype, device=basis.device)
        # σ at each edge once: what a bin's two edges differ by is the basis's to say.
        steps = F.pad(basis, (0, 0, 0, 1)) - F.pad(basis, (0, 0, 1, 0))
        return torch.sigmoid(self.sharpness * (observed[..., None] - edges)) @ steps


HARD = DiffKDE(bins=512, sharpness=None)
"""The labels' one, as published."""


@dataclass(frozen=True)
class BinMass(Estimator):
    """Mean over the ratings of a Gaussian kernel's mass in each cell, in closed form.

    What the kernel has beyond ±1 is reflected there, so that nothing is lost: with h the bandwidth
    and Φ the standard normal's distribution function, a rating x has below an edge e, seen from
    either end, Φ((e - x)/h) - Φ((-2 - e - x)/h) + Φ((e + x - 2)/h). Nothing is drawn, and where
    ratings are few or the same nothing is special.
    """

    bandwidth: float = BANDWIDTH
    """SD of the kernel, at most 0.5: what is reflected twice, below Φ(-2/h), is left out."""

    def __post_init__(self) -> None:
        if not 0 < self.bandwidth <= 0.5:
            raise ValueError(f"a bandwidth is above 0 and at most 0.5, not {self.bandwidth}")

    def of_pairs(
        self,
        values: Tensor,
        utterance: Tensor,
        utterances: int,
        *,
        cells: int = CELLS,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As in `Estimator`."""
        activation, valence = self._along(_clamped(values), cells).unbind(dim=-2)
        each = activation[:, :, None] * valence[:, None, :]
        utterance = _moved(utterance, values)
        sums = each.new_zeros(utterances, cells, cells).index_add(0, utterance, each)
        counts = each.new_zeros(utterances).index_add(0, utterance, torch.ones_like(each[:, 0, 0]))
        return sums / counts[:, None, None]

    def of_everybody(
        self, values: Tensor, *, cells: int = CELLS, generator: torch.Generator | None = None
    ) -> Tensor:
        """As in `Estimator`."""
        activation, valence = self._along(_clamped(values), cells).unbind(dim=-2)
        return activation.mT @ valence / values.shape[1]

    def _along(self, values: Tensor, cells: int) -> Tensor:
        """(..., C): mass in each cell of the values' axis."""
        edges = torch.linspace(-1, 1, cells + 1, dtype=values.dtype, device=values.device)[1:-1]
        x = values[..., None]
        direct, low, high = (
            torch.special.ndtr(distance / self.bandwidth)
            for distance in (edges - x, -2 - edges - x, edges + x - 2)
        )
        below = direct - low + high
        return torch.cat([torch.zeros_like(x), below, torch.ones_like(x)], dim=-1).diff(dim=-1)


def expectation(masses: Tensor) -> Tensor:
    """Mean activation and valence, (B, 2), of distributions (B, C, C), by the cells' centres."""
    cells = masses.shape[1]
    steps = torch.arange(cells, dtype=masses.dtype, device=masses.device)
    centres = (2 * steps + 1) / cells - 1
    return torch.stack([masses.sum(dim=2) @ centres, masses.sum(dim=1) @ centres], dim=1)


@dataclass(frozen=True, eq=False)
class _Ratings:
    """Ratings in an order that does not depend on the one they came in."""

    values: Tensor
    """(P + 1, 2): by utterance, activation and valence; the last one stands for no rating."""
    counts: Tensor
    """(U,), of each utterance's ratings; on the CPU if that is where the utterances were told."""

    @classmethod
    def of(cls, values: Tensor, utterance: Tensor, utterances: int) -> _Ratings:
        counts = torch.bincount(utterance, minlength=utterances)
        if len(counts) > utterances:
            raise ValueError(f"utterance {len(counts) - 1} of {utterances}")
        order = values[:, 1].detach().argsort()
        for key in (values[:, 0].detach(), _moved(utterance, values)):
            order = order[key[order].argsort(stable=True)]
        return cls(torch.cat([values[order], values.new_zeros(1, 2)]), counts)

    def all(self) -> Tensor:
        """Numbers of all utterances."""
        return torch.arange(len(self.counts), device=self.counts.device)

    def portions(self) -> Iterator[Tensor]:
        """Numbers of the utterances, as many at a time as memory allows, of most ratings first."""
        order = self.counts.argsort(descending=True)
        sizes, start = self.counts[order].tolist(), 0
        while start < len(sizes):
            most = min(AT_ONCE, MOST_RATINGS // max(1, sizes[start]))
            yield order[start : start + max(1, most)]
            start += max(1, most)

    def padded(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Ratings (B, M, 2) of the chosen utterances, 0 where there are fewer; which are there."""
        counts = self.counts[chosen]
        longest = max(1, int(counts.max()))
        starts = (self.counts.cumsum(0) - self.counts)[chosen]
        rank = torch.arange(longest, device=counts.device)
        present = rank < counts[:, None]
        at = torch.where(present, starts[:, None] + rank, len(self.values) - 1)
        return self.values[_moved(at, self.values)], _moved(present, self.values)

    def unless_empty(self, distributions: Tensor) -> Tensor:
        """(U, C, C), NaN where there was no rating."""
        rated = _moved(self.counts > 0, distributions)
        return torch.where(rated[:, None, None], distributions, torch.nan)


def _subsets(
    present: Tensor, observations: int, like: Tensor, generator: torch.Generator | None
) -> Tensor:
    """(B, N, M): weights that make the means of random subsets of those present (B, M)."""
    ranks = _uniform((*present.shape[:1], observations, *present.shape[1:]), present, generator)
    ranks = ranks.masked_fill(~present[:, None], 2.0)
    counts = present.sum(dim=1)[:, None]
    last = (_uniform(ranks.shape[:2], present, generator) * counts).long()
    last = torch.minimum(last, counts - 1).clamp_min(0)
    chosen = ranks <= ranks.sort(dim=2).values.gather(2, last[..., None])
    weights = (chosen & present[:, None]).to(like.dtype)
    sizes: Tensor = weights.sum(dim=2, keepdim=True).clamp_min(1)
    return weights / sizes


def _jittered(means: Tensor, widths: Tensor, generator: torch.Generator | None) -> Tensor:
    """Means (B, N, 2) and noise of the dimensions' widths (B, 2), not beyond the ends."""
    noise = _uniform(means.shape, means, generator).to(means.dtype) - 0.5
    return (means + noise * widths[:, None]).clamp(-1, 1)


def _spread(values: Tensor, present: Tensor, cells: int) -> Tensor:
    """(B, 2): unbiased SD of the values (B, M, 2) that are present; a cell's width of one alone."""
    counts = present.sum(dim=1)[:, None]
    # From the first one, so that the same values have exactly no variance, and no slope.
    apart = (values - values[:, :1].detach()) * present[..., None]
    means = apart.sum(dim=1, keepdim=True) / counts[:, None].clamp_min(1)
    squares = (apart - means).square() * present[..., None]
    variance = squares.sum(dim=1) / (counts - 1).clamp_min(1)
    varied = variance > 0
    sd = torch.where(varied, torch.where(varied, variance, 1.0).sqrt(), 0.0) + 1e-12
    spread: Tensor = torch.where(counts > 1, sd, 2 / cells)
    return spread


def _uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """On [0, 1), the same whatever the dtype and the device of `like`."""
    device = like.device if generator is None else generator.device
    return _moved(torch.rand(shape, generator=generator, device=device), like)


def _moved(tensor: Tensor, like: Tensor) -> Tensor:
    return tensor.to(like.device, non_blocking=True)


def _clamped(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32)).clamp(-1, 1)


def _floored(density: Tensor) -> Tensor:
    """What rounding has left below 0 becomes machine epsilon, as published."""
    return density.clamp_min(torch.finfo(density.dtype).eps)


def _pooled(density: Tensor, cells: int) -> Tensor:
    """(B, C, C): means of the blocks of a density (B, n, n)."""
    blocks: Tensor = density.unflatten(2, (cells, -1)).unflatten(1, (cells, -1))
    return blocks.mean(dim=(2, 4))


def _normalised(masses: Tensor) -> Tensor:
    normalised: Tensor = masses / masses.sum(dim=(1, 2), keepdim=True)
    return normalised
