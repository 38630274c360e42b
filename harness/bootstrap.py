"""How sure a CCC is: a bootstrap over speakers, from each speaker's sums, and over seeds."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = [
    "DRAWS",
    "FEWEST_SPEAKERS",
    "bootstrap_ccc",
    "bootstrap_mean",
    "interval",
    "seed_draws",
    "speaker_draws",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

DRAWS = 1_000
SPEAKERS, SEEDS, OTHER_SEEDS = 0, 1, 2
"""Seeds of the generators: draws of speakers, of seeds, and of seeds unpaired are independent."""
LEVEL = 0.95
FEWEST_SPEAKERS = 5
"""With two speakers there are three different draws, and their "95 %" is all of them: of two equal
systems about half would be told apart. Five give 126 draws."""


def speaker_draws(speakers: int, *, draws: int = DRAWS) -> Floats:
    """How often each speaker is in each draw of as many speakers with replacement.

    The same arguments give the same draws, so that rows over the same speakers are paired.

    Returns:
        array with shape (draws, speakers), each row adding up to `speakers`
    """
    return _draws(speakers, draws, SPEAKERS)


def seed_draws(seeds: int, *, draws: int = DRAWS, unpaired: bool = False) -> Floats:
    """How often each seed is in each draw of as many seeds with replacement.

    With `speaker_draws` a bootstrap of both factors at once (Owen, 2007, Ann. Appl. Stat. 1): a
    difference between rows that one seed in three turns round is not told apart.

    Args:
        unpaired: other draws, independent of the usual ones, for rows that share no seeds

    Returns:
        array with shape (draws, seeds), each row adding up to `seeds`
    """
    return _draws(seeds, draws, OTHER_SEEDS if unpaired else SEEDS)


@functools.lru_cache(maxsize=8)
def _draws(count: int, draws: int, seed: int) -> Floats:
    share = np.full(count, 1 / count)
    drawn = np.random.default_rng(seed).multinomial(count, share, size=draws).astype(np.float64)
    drawn.setflags(write=False)
    return drawn


def bootstrap_ccc(
    predicted: Floats, labels: Floats, speaker: Ints, counts: Floats, *, run: Ints | None = None
) -> Floats:
    """CCC (Lin, 1989) of each draw of speakers, all their utterances with them.

    A draw's moments are sums of its speakers' moments, so that all draws are one matrix product.

    Args:
        predicted: array with shape (N,)
        labels: array with shape (N,)
        speaker: array with shape (N,), each utterance's column of `counts`
        counts: array with shape (D, S) from `speaker_draws`
        run: array with shape (N,), which of R runs each is of, from 0, all of which draw the same
            speakers; of one if None

    Returns:
        array with shape (D,), or of several runs (R, D); NaN where the CCC of a draw is undefined,
        and everywhere in a run if a prediction of it is NaN
    """
    of = np.zeros(len(predicted), np.intp) if run is None else run
    # Centred, so that a moment about the draw's mean is no small difference of large numbers.
    with np.errstate(invalid="ignore"):
        shift_x, shift_y = (
            np.bincount(of, weights=each, minlength=1) / np.bincount(of, minlength=1)
            for each in (predicted, labels)
        )
    x, y = predicted - shift_x[of], labels - shift_y[of]
    terms = (np.ones_like(x), x, y, x * x, y * y, x * y)
    n, sx, sy, sxx, syy, sxy = _drawn_sums(terms, of, speaker, counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = sx / n + shift_x[:, None] - sy / n - shift_y[:, None]
        spread = (sxx - sx**2 / n) + (syy - sy**2 / n) + n * distance**2
        drawn = np.asarray(2 * (sxy - sx * sy / n) / spread, dtype=np.float64)
    return drawn[0] if run is None else drawn


def bootstrap_mean(
    values: Floats, speaker: Ints, counts: Floats, *, run: Ints | None = None
) -> Floats:
    """Mean of each draw of speakers, all their utterances with them.

    Args:
        values: array with shape (N,)
        speaker: array with shape (N,), each utterance's column of `counts`
        counts: array with shape (D, S) from `speaker_draws`
        run: as in `bootstrap_ccc`

    Returns:
        array with shape (D,), or of several runs (R, D); NaN for a draw without utterances, and
        everywhere in a run if a value of it is NaN
    """
    of = np.zeros(len(values), np.intp) if run is None else run
    sums, sizes = _drawn_sums((values, np.ones_like(values)), of, speaker, counts)
    with np.errstate(invalid="ignore"):
        drawn = np.asarray(sums / sizes, dtype=np.float64)
    return drawn[0] if run is None else drawn


def _drawn_sums(terms: Sequence[Floats], run: Ints, speaker: Ints, counts: Floats) -> Floats:
    """Sum of each of T terms over what is of each of R runs in each draw, (T, R, D)."""
    speakers = counts.shape[1]
    cells = (int(run.max(initial=0)) + 1) * speakers
    cell = run * speakers + speaker
    sums = [np.bincount(cell, weights=term, minlength=cells) for term in terms]
    drawn = np.concatenate(sums).reshape(-1, speakers) @ counts.T
    return np.asarray(drawn.reshape(len(terms), -1, len(counts)))


def interval(draws: Floats) -> tuple[float, float] | None:
    """The central 95 % of the draws that are defined; None if none is."""
    defined = draws[np.isfinite(draws)]
    if not defined.size:
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
