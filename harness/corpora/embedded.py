"""The bundled corpus: synthetic speech of eSpeak NG, by 40 voices, with 56 simulated annotators.

`harness/bundled/embedded/README.md` is its card, and `tools/embedded_corpus.py` made it. Because
the annotators are simulated, the distribution that their ratings are drawn from is known.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serbench.harness.corpora import audiofolder
from serbench.harness.corpora.base import Corpus
from serbench.harness.errors import RequestError
from serbench.harness.metrics import DIMENSIONS

__all__ = [
    "FOLDER",
    "POINTS",
    "Annotators",
    "annotator_mass",
    "load",
    "plane_mass",
    "rating_mass",
    "truth",
]

FOLDER = Path(__file__).resolve().parents[1] / "bundled" / "embedded"
POINTS = np.arange(1, 8)
"""Of the scale that the annotators rate on."""

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotators:
    """The simulated annotators: someone rates the percept p as bias + scale · p + noise · N(0, 1).

    Arrays of shape (A, 3), in the order activation, valence, dominance, where the scale is [-1, 1].
    """

    bias: Array
    scale: Array
    noise: Array
    names: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    """`careful`, `contrary` (valence the other way round) or `careless` (hardly listens)."""

    @classmethod
    def read(cls) -> Annotators:
        """The true parameters of those who rated the corpus."""
        table = pd.read_csv(FOLDER / "annotators.csv")
        parameters = {
            what: table[[f"{what}_{name}" for name in DIMENSIONS]].to_numpy(dtype=np.float64)
            for what in ("bias", "scale", "noise")
        }
        return cls(names=tuple(table["annotator"]), kinds=tuple(table["kind"]), **parameters)


def load(root: str | None) -> Corpus:
    """Read what is bundled.

    Raises:
        RequestError: a folder or parameters are given.
    """
    if root is not None:
        raise RequestError(f"embedded takes no folder and no parameters, not '{root}'")
    corpus = audiofolder.load(str(FOLDER))
    return dataclasses.replace(corpus, truth=lambda cells: plane_mass(corpus, cells))


def plane_mass(corpus: Corpus, cells: int) -> Array:
    """True distribution over activation and valence, (N, cells, cells), of any annotator's rating.

    Given the annotator, the two dimensions are rated independently. A point of the scale stands for
    what is rounded to it, evenly spread, as far as the scale goes.
    """
    percepts = _percepts(corpus)
    mass = annotator_mass(percepts, Annotators.read()) @ _shares(cells)
    plane: Array = np.einsum("ang,anh->ngh", mass[:, :, 0], mass[:, :, 1]) / len(mass)
    return plane


def _shares(cells: int) -> Array:
    """(7, cells): which share of each point's stretch of the scale is in each cell."""
    ends = float(POINTS[0]), float(POINTS[-1])
    low, high = np.clip(POINTS - 0.5, *ends)[:, None], np.clip(POINTS + 0.5, *ends)[:, None]
    edges = np.linspace(*ends, cells + 1)
    inside = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
    shares: Array = np.maximum(inside, 0) / (high - low)
    return shares


def annotator_mass(percepts: Array, annotators: Annotators) -> Array:
    """Probability of each point of the scale, (A, N, 3, 7), for percepts (N, 3) in [-1, 1].

    An annotator rates 4 + 3 · (bias + scale · percept + noise · N(0, 1)), clipped to 1 to 7 and
    rounded, so that what is beyond an end is the end's.
    """
    bias, scale, noise = (
        values[:, None, :, None] for values in (annotators.bias, annotators.scale, annotators.noise)
    )
    centre = (POINTS[0] + POINTS[-1]) / 2
    means = centre + (POINTS[-1] - centre) * (bias + scale * percepts[None, :, :, None])
    edges = np.concatenate([[-np.inf], POINTS[:-1] + 0.5, [np.inf]])
    below = _normal_cdf((edges - means) / ((POINTS[-1] - centre) * noise))
    return np.diff(below, axis=-1)


def rating_mass(percepts: Array, annotators: Annotators) -> Array:
    """Probability of each point of the scale, (N, 3, 7), for an annotator drawn from all."""
    mass: Array = annotator_mass(percepts, annotators).mean(axis=0)
    return mass


def truth(corpus: Corpus) -> Array:
    """True probability of each point of the scale, (N, 3, 7), in the order of `corpus.utterances`.

    It is that of an annotator drawn from all with equal chance; those who rated are few, and some
    rated much more than others.

    Raises:
        KeyError: an utterance is none of the bundled corpus.
    """
    return rating_mass(_percepts(corpus), Annotators.read())


def _percepts(corpus: Corpus) -> Array:
    table = pd.read_csv(FOLDER / "percepts.csv").set_index("file_name")
    percepts: Array = table.loc[corpus.utterances["id"], list(DIMENSIONS)].to_numpy(np.float64)
    return percepts


def _normal_cdf(values: Array) -> Array:
    # torch has it, as numpy has not; it loads when it is wanted.
    import torch

    cdf: Array = torch.special.ndtr(torch.from_numpy(values)).numpy()
    return cdf
