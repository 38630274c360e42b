"""Both estimators of distributions on the same ratings: how true, how good to learn by, how fast.

    python tools/compare_estimators.py

Prints Markdown. The true distributions of ratings are known of the bundled corpus alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from serbench.harness import corpora
from serbench.harness.corpora.base import Corpus
from serbench.harness.distributions import (
    CELLS,
    HARD,
    BinMass,
    DiffKDE,
    Estimator,
)
from serbench.harness.heads import PLANE
from serbench.harness.heads.losses import cross_entropy
from serbench.harness.plan import CorpusRef
from serbench.harness.targets import FEWEST_RATERS, ratings_of

FINE = DiffKDE(bins=512, sharpness=None, observations=1_000)
"""The labels' estimator with less chance in it, whose gradient is found by small steps."""
BINMASS = f"binmass, h = {BinMass().bandwidth:g}"
LEARNT: Mapping[str, Estimator] = {
    "diffkde, n = 64, T = 8": DiffKDE(),
    "diffkde, n = 64, T = 64": DiffKDE(bins=64, sharpness=64.0),
    "diffkde, n = 512, T = 512": DiffKDE(bins=512, sharpness=512.0),
    BINMASS: BinMass(),
}
"""Those whose gradient and time are measured too; the first one is the published one."""
SOFT: Mapping[str, Estimator] = {
    "diffkde, n = 64, T = 8": DiffKDE(),
    **{f"diffkde, n = 64, T = {t}": DiffKDE(bins=64, sharpness=t) for t in (16, 32, 64, 128)},
    "diffkde, n = 512, T = 512": LEARNT["diffkde, n = 512, T = 512"],
    **{f"binmass, h = {h:g}": BinMass(h) for h in (0.1, 0.15, 0.2, 0.25, 0.28, 0.3, 0.35)},
}
EVERYBODY = 50
ERROR = 0.3
"""SD of what predictions are off by."""
END = 0.85
"""A prediction beyond this is near an end of the scale."""
CLEAR = 0.1
"""Share of an utterance's steepest derivative from which the sign of another one counts."""
SHIFT = 0.02
"""Of one prediction, to either side, for a difference instead of a derivative."""
STEP = 0.05
"""Root mean square by which an utterance's predictions move together down a gradient."""
DRAWS = 5
BATCH = 16

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sample:
    """Ratings (P, 2) in [-1, 1] of U utterances, and what they were drawn from, if it is known."""

    values: Tensor
    utterance: Tensor
    utterances: int
    truth: Tensor | None
    everybody: Tensor | None
    """(U, EVERYBODY, 2): so many ratings of each utterance, drawn from the truth."""


@dataclass(frozen=True, eq=False)
class Group:
    """Utterances with the same number of raters."""

    ratings: Tensor
    """(B, m, 2)."""
    predicted: Tensor
    """(B, m, 2), where a head in training would have them."""
    label: Tensor
    """(B, C, C), the hard KDE of the ratings."""


@dataclass(frozen=True, eq=False)
class Slopes:
    """The hard KDE's derivatives at a group's predictions, (B, m, 2), and its loss there, (B,)."""

    once: Tensor
    again: Tensor
    """By other draws."""
    loss: Tensor


def main() -> None:
    """Print a table each of fidelity, gradient and time."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("corpus", nargs="?", default="embedded", metavar="CORPUS")
    arguments.add_argument("root", nargs="?", metavar="FOLDER")
    arguments.add_argument("--utterances", type=int, default=440, metavar="N")
    arguments.add_argument("--learnt", type=int, default=40, metavar="N", help="for gradients")
    arguments.add_argument("--rounds", type=int, default=5, metavar="N", help="of timing")
    arguments.add_argument("--seed", type=int, default=0)
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    corpus = corpora.load(CorpusRef(chosen.corpus, chosen.root))
    whole = sample(corpus, chosen.utterances, chosen.seed)
    print(f"{whole.utterances} utterances, {len(whole.values) / whole.utterances:.1f} ratings each")
    print(fidelity(whole, chosen.seed))
    print(learning(groups(whole, chosen.learnt, chosen.seed)))
    print(speed(chosen.rounds))


def sample(corpus: Corpus, most: int, seed: int) -> Sample:
    """Utterances at random among those that have a distribution."""
    ratings, count = ratings_of(corpus, PLANE, ()), len(corpus.utterances)
    rows, utterance = ratings.of(np.arange(count))
    rated = np.bincount(utterance[ratings.on_plane[rows]], minlength=count)
    rng = np.random.default_rng(seed)
    indices = rng.permutation(np.flatnonzero(rated >= FEWEST_RATERS))[:most]
    rows, utterance = ratings.of(indices)
    kept = ratings.on_plane[rows]
    return Sample(
        torch.from_numpy(ratings.values[rows[kept]].astype(np.float64)),
        torch.from_numpy(utterance[kept]),
        len(indices),
        torch.from_numpy(corpus.truth(CELLS)[indices]) if corpus.truth else None,
        many_ratings(corpus.truth(12)[indices], rng) if corpus.truth else None,
    )


def many_ratings(truth: Floats, rng: np.random.Generator) -> Tensor:
    """(N, EVERYBODY, 2) on seven points; of twelve cells an axis, inner points have two each."""
    starts = [0, *range(1, 12, 2)]
    points = np.add.reduceat(np.add.reduceat(truth, starts, axis=1), starts, axis=2)
    chances = points.reshape(len(points), -1)
    drawn = np.stack([rng.choice(49, EVERYBODY, p=each / each.sum()) for each in chances])
    return torch.from_numpy(np.stack(np.divmod(drawn, 7), axis=2) / 3 - 1)


def fidelity(sample: Sample, seed: int) -> str:
    """Mean TVD to the hard KDE of the same draws and to the truth, and what is lost."""
    hard = masses(HARD, sample, seed)
    again = masses(HARD, sample, seed + 1)
    rows = [
        ("hard KDE (labels)", 0.0, tvd(hard, hard), *truths(HARD, sample, seed)),
        ("the same, other draws", 0.0, tvd(again, hard), *truths(HARD, sample, seed + 1)),
    ]
    for name, kind in SOFT.items():
        to_hard = tvd(masses(kind, sample, seed), hard)
        rows.append((name, lost(kind, sample, seed), to_hard, *truths(kind, sample, seed)))
    titles = ("estimator", "lost", "to hard", "to truth", f"to truth, {EVERYBODY} raters")
    return table(titles, rows)


def truths(kind: Estimator, sample: Sample, seed: int) -> tuple[float, float]:
    """Mean TVD to the truth, from the ratings there are and from those of EVERYBODY."""
    if sample.truth is None or sample.everybody is None:
        return math.nan, math.nan
    many = kind.of_everybody(sample.everybody, generator=seeded(seed))
    return tvd(masses(kind, sample, seed), sample.truth), tvd(many, sample.truth)


def masses(kind: Estimator, sample: Sample, seed: int) -> Tensor:
    """(U, C, C)."""
    return kind.of_pairs(sample.values, sample.utterance, sample.utterances, generator=seeded(seed))


def tvd(one: Tensor, other: Tensor) -> float:
    """Total variation distance, mean over utterances."""
    return float((one - other).abs().sum(dim=(1, 2)).mean() / 2)


@dataclass(frozen=True)
class Kept(DiffKDE):
    """In each cell what the soft histogram keeps of an observation, mean over observations."""

    def _masses(self, observed: Tensor, cells: int, frequencies: int = 0) -> Tensor:
        sharpness = math.inf if self.sharpness is None else self.sharpness
        above_low, above_high = (torch.sigmoid(sharpness * (observed - end)) for end in (-1, 1))
        kept = (above_low - above_high).prod(dim=2).mean(dim=1)
        return kept[:, None, None].expand(-1, cells, cells)


def lost(kind: Estimator, sample: Sample, seed: int) -> float:
    """Share of the mass that is put beyond the ends, mean over utterances."""
    if not isinstance(kind, DiffKDE) or kind.sharpness is None:
        return 0.0
    return 1 - float(masses(Kept(**dataclasses.asdict(kind)), sample, seed).mean())


def groups(sample: Sample, most: int, seed: int) -> list[Group]:
    """Some utterances, whose predictions are their ratings with an error."""
    labels = masses(HARD, sample, seed)
    noise = torch.randn(sample.values.shape, generator=seeded(seed), dtype=torch.float64)
    predicted = (sample.values + ERROR * noise).clamp(-1 + SHIFT, 1 - SHIFT)
    counts = torch.bincount(sample.utterance, minlength=sample.utterances)[:most]
    found = []
    for count in counts.unique().tolist():
        chosen = (counts == count).nonzero()[:, 0]
        rows = [sample.utterance == number for number in chosen]
        ratings, own = (torch.stack([x[row] for row in rows]) for x in (sample.values, predicted))
        found.append(Group(ratings, own, labels[chosen]))
    return found


def learning(groups: Sequence[Group]) -> str:
    """Gradients of task 3's cross entropy in the predictions."""
    slopes = [differences(group) for group in groups]
    rows = [judged("hard KDE, differences", groups, slopes, [each.again[None] for each in slopes])]
    for name, kind in LEARNT.items():
        rows.append(judged(name, groups, slopes, [drawn(kind, group) for group in groups]))
    for name, kind in LEARNT.items():
        if kind in (DiffKDE(), BinMass()):
            own = [
                drawn(kind, g, kind.of_everybody(g.ratings, generator=seeded(-1))) for g in groups
            ]
            rows.append(judged(f"{name}, labels too", groups, slopes, own))
    return table(
        ("gradient", "repeat", "to hard", "right at ends", "steps help", "to ratings"), rows
    )


def differences(group: Group) -> Slopes:
    """Central differences, in which both ends have the same draws."""
    once, again = (torch.zeros_like(group.predicted) for _ in range(2))
    for rater, dimension in itertools.product(range(once.shape[1]), range(2)):
        ahead, behind = group.predicted.clone(), group.predicted.clone()
        ahead[:, rater, dimension] += SHIFT
        behind[:, rater, dimension] -= SHIFT
        for draw, slopes in enumerate((once, again)):
            apart = loss(FINE, ahead, group.label, draw) - loss(FINE, behind, group.label, draw)
            slopes[:, rater, dimension] = apart / (2 * SHIFT)
    return Slopes(once, again, loss(FINE, group.predicted, group.label, 0))


def drawn(kind: Estimator, group: Group, label: Tensor | None = None) -> Tensor:
    """(DRAWS, B, m, 2): gradients by the estimator itself."""
    found: list[Tensor] = []
    for draw in range(DRAWS):
        predicted = group.predicted.clone().requires_grad_()
        each = loss(kind, predicted, group.label if label is None else label, draw)
        found += torch.autograd.grad(each.sum(), predicted)
    return torch.stack(found)


def loss(kind: Estimator, predicted: Tensor, label: Tensor, seed: int) -> Tensor:
    """(B,): each utterance's cross entropy."""
    made = kind.of_everybody(predicted, generator=seeded(seed))
    pairs = zip(made, label, strict=True)
    return torch.stack([cross_entropy(mine[None], truth[None]) for mine, truth in pairs])


def judged(
    name: str, groups: Sequence[Group], slopes: Sequence[Slopes], draws: Sequence[Tensor]
) -> tuple[str | float, ...]:
    """Of gradients (DRAWS, B, m, 2) of each group: cosine of one draw's with the mean of others',
    with the hard KDE's, signs as the hard KDE's near the ends, steps against it by which the hard
    KDE's loss falls, and cosine with the way back to the ratings."""
    measures = []
    for group, hard, gradients in zip(groups, slopes, draws, strict=True):
        one, size = gradients[0], hard.once.abs()
        others = gradients[1:].mean(dim=0) if len(gradients) > 1 else hard.once
        clear = size > CLEAR * size.amax(dim=(1, 2), keepdim=True)
        ends = clear & (group.predicted.abs() > END)
        step = STEP * one / one.square().mean(dim=(1, 2), keepdim=True).sqrt()
        after = loss(FINE, group.predicted - step, group.label, 0)
        measures.append(
            (
                cosine(one, others),
                cosine(one, hard.once),
                (one * hard.once > 0)[ends].double(),
                (after < hard.loss).double(),
                cosine(one, group.predicted - group.ratings),
            )
        )
    return name, *(float(torch.cat(each).mean()) for each in zip(*measures, strict=True))


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """(B,) of (B, m, 2)."""
    return torch.cosine_similarity(one.flatten(1), other.flatten(1), dim=1)


def speed(rounds: int) -> str:
    """Milliseconds an utterance, the median of rounds that take everything in turn."""
    utterance = torch.arange(BATCH).repeat_interleave(torch.arange(BATCH) % 7 + 7)
    those: dict[str, Any] = {"utterance": utterance, "utterances": BATCH}
    few = torch.rand(len(utterance), 2, generator=seeded(0)) * 2 - 1
    many = torch.rand(BATCH, EVERYBODY, 2, generator=seeded(1)) * 2 - 1
    kinds = {"hard KDE (labels)": HARD, **LEARNT}
    taken: dict[str, list[list[float]]] = {name: [] for name in kinds}
    for _ in range(rounds + 1):
        for name, kind in kinds.items():
            taken[name].append(
                [
                    *timed(partial(kind.of_pairs, **those), few, kind != HARD),
                    *timed(kind.of_everybody, many, kind != HARD),
                ]
            )
    # The first round fills tables.
    rows = [(n, *map(statistics.median, zip(*each[1:], strict=True))) for n, each in taken.items()]
    calls = ("7 to 13 raters", f"{EVERYBODY} annotators")
    titles = (f"{call}{what}" for call in calls for what in ("", ", with gradient"))
    return table(("ms an utterance", *titles), rows)


def timed(call: Callable[[Tensor], Tensor], values: Tensor, learnt: bool) -> Iterator[float]:
    """Milliseconds an utterance of a call alone, and of one with its gradient."""
    for wanted in (False, True):
        if wanted and not learnt:
            yield math.nan
            continue
        values = values.detach().requires_grad_(wanted)
        start = time.perf_counter()
        made = call(values)
        if wanted:
            made[:, 0, 0].log().sum().backward()
        yield 1e3 * (time.perf_counter() - start) / BATCH


def table(titles: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """Aligned Markdown; what is unknown is a dash."""
    cells = [[*titles], *([*map(written, row)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    lines = (
        " | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells
    )
    return "\n" + "\n".join(f"| {line} |" for line in lines)


def written(value: str | float) -> str:
    """Three decimals."""
    if isinstance(value, str):
        return value
    return "–" if math.isnan(value) else f"{value:.3f}"


def seeded(seed: int) -> torch.Generator:
    """The same draws each time."""
    return torch.Generator().manual_seed(seed)


if __name__ == "__main__":
    main()
