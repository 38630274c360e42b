from __future__ import annotations

import importlib
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor

import serbench.harness.distributions as distributions
from serbench.harness.diffusion import kde2d
from serbench.harness.distributions import HARD, BinMass, DiffKDE, Estimator

package = importlib.import_module("kde_diffusion.kde2d")

SMALL = DiffKDE(bins=16, sharpness=16.0, observations=30)
ESTIMATORS = [SMALL, DiffKDE(), DiffKDE(bins=64, sharpness=None), HARD, BinMass()]
on_every = pytest.mark.parametrize("kind", ESTIMATORS, ids=str)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rated(utterances: int = 6, most: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """1 to `most` ratings an utterance, on a scale of 7 points."""
    numbers = torch.arange(utterances)
    utterance = numbers.repeat_interleave(numbers % most + 1)
    shape = len(utterance), 2
    return (torch.randint(-3, 4, shape, generator=seeded(seed)) / 3).double(), utterance


def cloud(rng: np.random.Generator, kind: int, points: int) -> np.ndarray:
    """(N, 2): one heap, several, a square, or means of a few people's ratings with noise."""
    if kind == 0:
        found = rng.normal(rng.uniform(-0.6, 0.6, 2), rng.uniform(0.05, 0.4, 2), (points, 2))
    elif kind == 1:
        centres = rng.uniform(-0.9, 0.9, (4, 2))
        found = centres[rng.integers(0, 4, points)] + rng.normal(0, 0.05, (points, 2))
    elif kind == 2:
        found = rng.uniform(-1, 1, (points, 2)) * rng.uniform(0.2, 1, 2)
    else:
        ratings = rng.uniform(-1, 1, (rng.integers(2, 8), 2))
        sizes = rng.integers(1, len(ratings) + 1, points)
        found = np.stack([rng.permutation(ratings)[:size].mean(axis=0) for size in sizes])
        found += rng.uniform(-0.5, 0.5, (points, 2)) * ratings.std(axis=0, ddof=1)
    return np.clip(found, -1, 1)


def counted(points: np.ndarray, bins: int) -> Tensor:
    limits = ((-1, 1), (-1, 1))
    histogram, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=bins, range=limits)
    return torch.from_numpy(histogram)


def batch_kde(histogram: Tensor, points: int) -> np.ndarray:
    density = kde2d(histogram[None], torch.tensor([points], dtype=histogram.dtype))
    return np.asarray(density[0])


def test_density_is_that_of_the_package() -> None:
    rng = np.random.default_rng(0)
    for case in range(200):
        points, bins = cloud(rng, case % 4, int(rng.choice([50, 200, 1000]))), 64 << case % 3
        expected, _, _ = package.kde2d(points[:, 0], points[:, 1], n=bins, limits=1)
        density = batch_kde(counted(points, bins), len(points))
        assert np.abs(density - expected).max() < 1e-9 * expected.max(), (case, bins)


@pytest.mark.parametrize("spread", [(0, 0), (0, 0.3), (0.3, 0)])
def test_density_of_points_in_a_line_or_in_one_place(
    spread: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times are so short there that the package's own tolerance has to be tightened."""
    monkeypatch.setattr(package, "brentq", partial(brentq, xtol=1e-20))
    points = np.random.default_rng(0).uniform(-1, 1, (200, 2)) * spread + 0.3
    expected, _, _ = package.kde2d(points[:, 0], points[:, 1], n=128, limits=1)
    density = batch_kde(counted(points, 128), 200)
    assert np.abs(density - expected).max() < 1e-9 * expected.max()


def test_density_where_the_search_finds_no_root() -> None:
    """The package raises; the density of so flat a histogram is smoothed for the longest time."""
    points = np.random.default_rng(1).uniform(-1, 1, (10, 2))
    with pytest.raises(ValueError, match="did not converge"):
        package.kde2d(points[:, 0], points[:, 1], n=64, limits=1)
    density = batch_kde(counted(points, 64), 10)
    assert density.mean() == pytest.approx(1 / 4)
    assert 0 < density.min() < density.max() < 1
    assert batch_kde(torch.ones(64, 64).double(), 64**2) == pytest.approx(1 / 4)


def naive_kde(histogram: np.ndarray, points: int) -> np.ndarray:
    """The formulas, one after the other."""
    n = len(histogram)
    series = dctn(histogram / points)
    series[0] /= 2
    series[:, 0] /= 2
    k = np.arange(n)
    weights = np.where(k > 0, 0.5, 1)

    def psi(i: int, j: int, t: float) -> float:
        if i + j <= 4:
            above = abs(psi(i + 1, j, t) + psi(i, j + 1, t))
            odd = math.prod(range(1, 2 * i, 2)) * math.prod(range(1, 2 * j, 2))
            constant = (1 + 2 ** -(i + j + 1)) / 3 * odd
            t = (constant / (math.pi * points * above)) ** (1 / (2 + i + j))
        faded = weights * np.exp(-(math.pi**2) * k**2 * t)
        rows, columns = faded * k ** (2.0 * j), faded * k ** (2.0 * i)
        return float((-(math.pi**2)) ** (i + j) * rows @ series**2 @ columns)

    def gamma(t: float) -> float:
        together = psi(0, 2, t) + psi(2, 0, t) + 2 * psi(1, 1, t)
        return float((2 * math.pi * points * together) ** (-1 / 3))

    t = brentq(lambda t: t - (t - gamma(t)) / gamma(t), 0, 0.1, xtol=1e-16)
    p02, p11, p20 = psi(0, 2, t), psi(1, 1, t), psi(2, 0, t)
    scale = 4 * math.pi * points * (p11 + math.sqrt(p02 * p20))
    t1 = (p02**0.75 / (scale * p20**0.75)) ** (1 / 3)
    t2 = (p20**0.75 / (scale * p02**0.75)) ** (1 / 3)
    smooth = np.outer(*(np.exp(-(math.pi**2) * k**2 * time / 2) for time in (t2, t1)))
    series *= smooth
    series[0] *= 2
    series[:, 0] *= 2
    return np.asarray(idctn(series) * (n / 2) ** 2)


def naive_diffkde(kind: DiffKDE, ratings: np.ndarray, cells: int, seed: int) -> np.ndarray:
    """One utterance's distribution, observation by observation, with the same draws."""
    generator = seeded(seed)
    ratings, m = np.array(sorted(ratings.tolist())), len(ratings)
    ranks, sizes, noise = (
        torch.rand(shape, generator=generator)[0].numpy()
        for shape in ((1, kind.observations, m), (1, kind.observations), (1, kind.observations, 2))
    )
    s = ratings.std(axis=0, ddof=1) + 1e-12 if m > 1 else np.full(2, 2 / cells)
    edges = np.linspace(-1, 1, kind.bins + 1)
    histogram = np.zeros((kind.bins, kind.bins))
    for i in range(kind.observations):
        subset = np.argsort(ranks[i])[: int(sizes[i] * m) + 1]
        point = np.clip(ratings[subset].mean(axis=0) + (noise[i] - 0.5) * s, -1, 1)
        if kind.sharpness is None:
            histogram += counted(point[None], kind.bins).numpy()
        else:
            beyond = 1 / (1 + np.exp(-kind.sharpness * (point[:, None] - edges)))
            histogram += np.outer(*(beyond[:, :-1] - beyond[:, 1:]))
    density = naive_kde(histogram, kind.observations)
    density[density < 0] = np.finfo(float).eps
    size = kind.bins // cells
    masses = density.reshape(cells, size, cells, size).mean(axis=(1, 3))
    return np.asarray(masses / masses.sum())


@pytest.mark.parametrize("kind", [DiffKDE(), SMALL, DiffKDE(bins=128, sharpness=None)], ids=str)
@pytest.mark.parametrize("cells", [4, 8])
def test_diffusion_estimate_is_that_of_the_formulas(kind: DiffKDE, cells: int) -> None:
    for m in (1, 2, 5):
        ratings = torch.rand(m, 2, generator=seeded(m)).double() * 1.8 - 0.9
        found = kind.of_pairs(
            ratings, torch.zeros(m, dtype=torch.int64), 1, cells=cells, generator=seeded(3)
        )
        expected = naive_diffkde(kind, ratings.numpy(), cells, 3)
        assert found[0].numpy() == pytest.approx(expected, abs=1e-9)


def test_kernel_masses_are_those_of_scipy() -> None:
    kind, (values, utterance) = BinMass(0.3), rated()
    edges = np.linspace(-1, 1, 5)
    found = kind.of_pairs(values, utterance, 6)
    for number in range(6):
        each = []
        for rating in values[utterance == number].numpy():
            along = []
            for x in rating:
                images = [x, 2 - x, -2 - x, x + 4, x - 4]
                along.append(sum(np.diff(norm.cdf(edges, image, 0.3)) for image in images))
            each.append(np.outer(*along))
        assert found[number].numpy() == pytest.approx(np.mean(each, axis=0), abs=1e-9)


@on_every
def test_masses_sum_to_one_and_lie_where_the_ratings_do(kind: Estimator) -> None:
    values = torch.tensor([[0.75, -0.25]]).double().repeat(4, 1)
    found = kind.of_pairs(values, torch.zeros(4, dtype=torch.int64), 1, generator=seeded())[0]
    assert found.sum() == pytest.approx(1)
    assert found.min() > 0 or kind == BinMass()
    assert found.argmax() == 3 * 4 + 1


@pytest.mark.parametrize("kind", [HARD, DiffKDE(bins=64, sharpness=None)], ids=str)
def test_ratings_that_agree_leave_the_mass_in_their_cell(kind: Estimator) -> None:
    values = torch.tensor([[0.75, -0.9], [0.75, 0.9], [-0.3, -0.3], [-0.3, -0.3]]).double()
    found = kind.of_pairs(values, torch.tensor([0, 0, 1, 1]), 2, generator=seeded())
    assert found[0, 3].sum() == pytest.approx(1, abs=1e-2)
    assert found[1, 1, 1] == pytest.approx(1, abs=1e-2)


def test_one_rating_is_known_to_within_a_cell() -> None:
    values, utterance = torch.tensor([[0.5, 0.25]]).double(), torch.tensor([0])
    many = DiffKDE(bins=512, sharpness=None, observations=20_000)
    found = many.of_pairs(values, utterance, 1, generator=seeded())[0]
    # Half a cell wide to either side: 0.5 is the edge of two cells, 0.25 is a cell's middle.
    assert found.sum(dim=1).tolist() == pytest.approx([0, 0, 0.5, 0.5], abs=0.02)
    assert found.sum(dim=0).tolist() == pytest.approx([0, 0, 1, 0], abs=0.05)


@on_every
def test_order_of_the_ratings_does_not_matter(kind: Estimator) -> None:
    values, utterance = rated()
    order = torch.randperm(len(values), generator=seeded(4))
    one = kind.of_pairs(values, utterance, 6, generator=seeded())
    other = kind.of_pairs(values[order], utterance[order], 6, generator=seeded())
    assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_a_batch_is_its_utterances_one_by_one() -> None:
    values, utterance = rated()
    batch = BinMass().of_pairs(values, utterance, 6)
    rng = np.random.default_rng(2)
    histograms = torch.stack([counted(cloud(rng, kind, 100), 64) for kind in range(4)])
    densities = kde2d(histograms, torch.full((4,), 100.0).double())
    for number in range(6):
        own = values[utterance == number]
        alone = BinMass().of_pairs(own, torch.zeros(len(own), dtype=torch.int64), 1)
        assert torch.allclose(batch[number], alone[0])
    for density, histogram in zip(densities, histograms, strict=True):
        # Not to rounding: the search ends when the last of a batch has found its root.
        assert batch_kde(histogram, 100) == pytest.approx(density.numpy(), abs=1e-9)


@on_every
def test_what_is_outside_counts_as_the_nearer_end(kind: Estimator) -> None:
    values, utterance = rated()
    wide, ends = 3 * values, (3 * values).clamp(-1, 1)
    one, other = (kind.of_pairs(each, utterance, 6, generator=seeded()) for each in (wide, ends))
    assert torch.equal(one, other)


@on_every
def test_an_utterance_without_a_rating_has_no_distribution(kind: Estimator) -> None:
    values, utterance = rated()
    found = kind.of_pairs(values, 2 * utterance, 13, generator=seeded())
    empty = [number % 2 == 1 or number == 12 for number in range(13)]
    assert found.isnan().all(dim=(1, 2)).tolist() == found.isnan().any(dim=(1, 2)).tolist() == empty
    nobody = kind.of_pairs(values[:0], utterance[:0], 3)
    assert nobody.shape == (3, 4, 4)
    assert nobody.isnan().all()


@on_every
def test_float32_is_near_float64(kind: Estimator) -> None:
    values, utterance = rated()
    # Off the edges of bins, across which rounding would carry observations.
    values = 0.9 * values + 0.0123
    found, exact = (
        kind.of_pairs(values.to(dtype), utterance, 6, generator=seeded())
        for dtype in (torch.float32, torch.float64)
    )
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), exact, rtol=0, atol=1e-4)
    half = kind.of_pairs(values.half(), utterance, 6, generator=seeded())
    assert torch.allclose(half.double(), exact, rtol=0, atol=0.02)


def test_everybody_is_all_pairs() -> None:
    values = torch.rand(5, 7, 2, generator=seeded()).double() * 2 - 1
    utterance = torch.arange(5).repeat_interleave(7)
    pairs = BinMass().of_pairs(values.flatten(0, 1), utterance, 5)
    assert torch.allclose(BinMass().of_everybody(values), pairs)
    # Drawn otherwise, and yet the same but for chance.
    kind = DiffKDE(observations=4_000)
    pairs = kind.of_pairs(values.flatten(0, 1), utterance, 5, generator=seeded())
    assert torch.allclose(kind.of_everybody(values, generator=seeded()), pairs, atol=0.02)


def learnt(ratings: int) -> Tensor:
    return (torch.rand(ratings, 2, generator=seeded(8)).double() * 1.6 - 0.8).requires_grad_()


@pytest.mark.parametrize("kind", [SMALL, BinMass()], ids=str)
def test_gradient_of_pairs(kind: Estimator) -> None:
    utterance = torch.tensor([2, 0, 2, 2, 1, 0, 2])
    assert torch.autograd.gradcheck(
        lambda values: kind.of_pairs(values, utterance, 3, generator=seeded()), learnt(7)
    )


@pytest.mark.parametrize("kind", [SMALL, BinMass()], ids=str)
def test_gradient_of_everybody(kind: Estimator) -> None:
    assert torch.autograd.gradcheck(
        lambda values: kind.of_everybody(values.view(2, 4, 2), generator=seeded()), learnt(8)
    )


def test_gradient_passes_through_the_diffusion_time() -> None:
    rng = np.random.default_rng(3)
    histogram = torch.stack([counted(cloud(rng, kind, 60), 8) for kind in (0, 2, 3)])
    total = torch.full((3,), 60.0).double()
    assert torch.autograd.gradcheck(lambda each: kde2d(each, total), histogram.requires_grad_())


@pytest.mark.parametrize("kind", [DiffKDE(), BinMass()], ids=str)
def test_gradient_is_finite_where_ratings_agree(kind: Estimator) -> None:
    values = torch.tensor([[0.7, 0.1], [0.7, 0.3], [1.0, -1.0], [1.0, -1.0], [0.2, 0.2]])
    values = values.requires_grad_()
    found = kind.of_pairs(values, torch.tensor([0, 0, 1, 1, 2]), 4, generator=seeded())
    (gradient,) = torch.autograd.grad(found[:3, 2, 2].log().sum(), values)
    assert gradient.isfinite().all()
    assert gradient[0].abs().min() > 0


def test_hard_histogram_has_no_gradient() -> None:
    values, utterance = rated()
    assert not HARD.of_pairs(values.requires_grad_(), utterance, 6).requires_grad


def test_frequencies_that_are_left_out_are_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    values, utterance = rated(utterances=40)
    found = HARD.of_pairs(values, utterance, 40, generator=seeded())
    monkeypatch.setattr(distributions, "FEWEST_FREQUENCIES", 512)
    full = HARD.of_pairs(values, utterance, 40, generator=seeded())
    assert torch.allclose(found, full, rtol=0, atol=1e-9)


def test_memory_is_bounded_by_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    values, utterance = rated(utterances=150)
    whole = DiffKDE(observations=1_000).of_pairs(values, utterance, 150, generator=seeded())
    monkeypatch.setattr(distributions, "MOST_RATINGS", 12)
    found = DiffKDE(observations=1_000).of_pairs(values, utterance, 150, generator=seeded())
    assert torch.allclose(found, whole, atol=0.05)


def test_cached_tables_serve_a_gradient_after_inference() -> None:
    values, utterance = rated()
    kind = DiffKDE(bins=24, observations=9)
    with torch.inference_mode():
        kind.of_pairs(values, utterance, 6)
    kind.of_pairs(values.requires_grad_(), utterance, 6).sum().backward()
    assert values.grad is not None


def test_settings_are_checked() -> None:
    wrong: list[dict[str, Any]] = [{"bins": 1}, {"observations": 0}, {"sharpness": -1.0}]
    for settings in wrong:
        with pytest.raises(ValueError, match="positive"):
            DiffKDE(**settings)
    with pytest.raises(ValueError, match="bandwidth"):
        BinMass(0)
    with pytest.raises(ValueError, match="multiple"):
        DiffKDE(bins=30).of_everybody(torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match="utterance 6 of 5"):
        DiffKDE().of_pairs(torch.zeros(1, 2), torch.tensor([6]), 5)


@pytest.mark.cuda
@on_every
def test_gpu_is_the_cpu(kind: Estimator) -> None:
    values, utterance = rated()
    found, exact = (
        kind.of_pairs(values.to(device), utterance, 6, generator=seeded()).cpu()
        for device in ("cuda", "cpu")
    )
    assert torch.allclose(found, exact, rtol=0, atol=1e-9)
