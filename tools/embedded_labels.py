"""Who says what in `embedded`, what is meant and perceived by it, and who rates it how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serbench.harness.corpora.embedded import POINTS
from serbench.harness.metrics import DIMENSIONS

__all__ = [
    "SEED",
    "SENTENCES",
    "SOUND",
    "Speaker",
    "planned_utterances",
    "ratings",
    "simulated_annotators",
    "speakers",
]

Array: TypeAlias = NDArray[np.float64]

SEED = 20_261_124
SPEAKERS, LATENTS, EXPRESSION, ANNOTATORS, COVERAGE, RATINGS, SOUND = range(7)
"""Second part of the seed: one generator a purpose, so that a change to one leaves the others."""
SPLITS = {"train": 22, "validation": 6, "test": 12}
"""Voices in each."""
UTTERANCES = 11
"""Utterances of each voice, each with another sentence."""
SENTENCES = (
    "The bag is under the table.",
    "They left it by the door.",
    "I will be there on Monday.",
    "The train comes in at ten.",
    "She put it back upstairs.",
    "We could meet in the hall.",
    "The keys are on the shelf.",
    "He said that it was his.",
    "You can take the other road.",
    "There is one more in the box.",
    "It was on the list again.",
    "That is the number of the room.",
)
"""Written for this corpus, without a word that carries emotion."""
ACCENTS = (
    "en-us",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-029",
    "en-us-nyc",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
)
"""eSpeak NG's voices of English that take a variant; plain en-gb ignores it in 1.51."""
CAREFUL, CONTRARY, CARELESS = 48, 4, 4
"""Annotators of each kind."""


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A speaker: what stays the same over all that is said."""

    name: str
    split: str
    accent: str
    female: bool
    f0_hz: float
    formant: float
    """Factor on eSpeak's formants, which are a man's."""
    bandwidth: int
    """Of the formants, in per cent of eSpeak's."""
    tempo: float
    """Octaves of speaking rate above the average."""
    tilt_db: float
    """Spectral tilt per octave, against the average voice."""
    level_db: float
    roughness: float
    breath: float
    expressivity: float
    """How much of what is meant is heard in the voice."""


def speakers() -> list[Speaker]:
    """Genders alternate, so that each split has as many women as men."""
    rng = np.random.default_rng([SEED, SPEAKERS])
    splits = [split for split, count in SPLITS.items() for _ in range(count)]
    return [_speaker(index, split, rng) for index, split in enumerate(splits)]


def _speaker(index: int, split: str, rng: np.random.Generator) -> Speaker:
    female = index % 2 == 1
    # Means and spreads of F0 about as in Traunmüller & Eriksson (1995); formants 16 % up in women,
    # as in Peterson & Barney (1952).
    return Speaker(
        name=f"v{index:02d}",
        split=split,
        accent=ACCENTS[index // 2 % len(ACCENTS)],
        female=female,
        f0_hz=(195.0 if female else 112.0) * 2 ** (rng.normal(0, 2.0) / 12),
        formant=(1.15 if female else 1.0) * 2 ** rng.normal(0, 0.03),
        bandwidth=int(rng.integers(110, 160) if female else rng.integers(90, 130)),
        tempo=rng.normal(0, 0.08),
        tilt_db=rng.normal(0, 0.8),
        level_db=rng.normal(0, 1.5),
        roughness=rng.uniform(0, 0.2),
        breath=rng.uniform(0.05, 0.15) + 0.05 * female,
        expressivity=rng.uniform(0.75, 1.1),
    )


def planned_utterances() -> pd.DataFrame:
    """One row an utterance: who says what, and its intended, expressed and perceived dimensions."""
    voices = speakers()
    plan: pd.DataFrame = pd.DataFrame(
        [
            {"voice": index, "split": voice.split, "sentence": (index + take) % len(SENTENCES)}
            for index, voice in enumerate(voices)
            for take in range(UTTERANCES)
        ]
    )
    names = [
        f"{voices[voice].name}-s{sentence:02d}"
        for voice, sentence in zip(plan["voice"], plan["sentence"], strict=True)
    ]
    intended = np.concatenate([_intended(rows) for _, rows in plan.groupby("split", sort=False)])
    rng = np.random.default_rng([SEED, EXPRESSION])
    expressivity = np.array([voice.expressivity for voice in voices])[plan["voice"]]
    expressed = intended * expressivity[:, None] + rng.normal(0, 0.12, intended.shape)
    expressed = np.clip(expressed, -1.1, 1.1)
    # Rounded here, and used rounded from here on: what is written is the truth, not nearly so.
    percepts = np.round(expressed + rng.normal(0, 0.06, expressed.shape), 4)
    columns = {"expressed": np.round(expressed, 6), "percept": percepts}
    for kind, values in columns.items():
        for index, dimension in enumerate(DIMENSIONS):
            plan[f"{kind}_{dimension}"] = values[:, index]
    plan["file_name"] = [f"audio/{name}.opus" for name in names]
    plan["speaker"] = [voices[voice].name for voice in plan["voice"]]
    return plan


def _intended(rows: pd.DataFrame) -> Array:
    """Activation, valence and dominance of one split, (N, 3), in [-1, 1].

    Activation and valence take the same evenly spaced values with every sentence, so that words
    tell nothing, and of many orders the one is kept where they depend least on each other and on
    the voice. Dominance goes with activation, as raters of speech commonly have it, and a little
    with valence.
    """
    rng = np.random.default_rng([SEED, LATENTS, len(rows)])
    sentences, voices = rows["sentence"].to_numpy(), rows["voice"].to_numpy()
    orders = [_spread(sentences, rng) for _ in range(300)]
    best = min(orders, key=lambda order: _dependence(order, voices))
    drawn = rng.normal(0, 0.42, len(rows))
    dominance = 0.6 * best[:, 0] + 0.2 * best[:, 1] + drawn
    return np.column_stack([best, np.clip(dominance, -1, 1)])


def _spread(sentences: NDArray[np.int64], rng: np.random.Generator) -> Array:
    values = np.empty((len(sentences), 2))
    for sentence in np.unique(sentences):
        there = np.flatnonzero(sentences == sentence)
        grid = (2 * np.arange(len(there)) + 1) / len(there) - 1
        values[there, 0] = rng.permutation(grid)
        values[there, 1] = rng.permutation(grid)
    return values


def _dependence(values: Array, voices: NDArray[np.int64]) -> float:
    means = np.array([values[voices == voice].mean(axis=0) for voice in np.unique(voices)])
    return float(np.corrcoef(values.T)[0, 1] ** 2 + means.var(axis=0).sum())


def simulated_annotators() -> pd.DataFrame:
    """Name, kind, and bias, scale and noise in each dimension, in units where the scale is ±1."""
    rng = np.random.default_rng([SEED, ANNOTATORS])
    kinds = rng.permutation(
        ["careful"] * CAREFUL + ["contrary"] * CONTRARY + ["careless"] * CARELESS
    )
    count = len(kinds)
    bias = rng.normal(0, 0.14, (count, 3))
    scale = rng.normal(0.95, 0.18, (count, 1)) * rng.uniform(0.85, 1.15, (count, 3))
    noise = rng.uniform(0.14, 0.34, (count, 1)) * np.array([0.9, 1.0, 1.2])
    # A contrary one hears irony where others hear joy: valence the other way round.
    scale[kinds == "contrary", 1] *= -0.7
    careless = kinds == "careless"
    scale[careless] *= 0.15
    noise[careless] = rng.uniform(0.35, 0.5, (int(careless.sum()), 1))
    table: pd.DataFrame = pd.DataFrame(
        {"annotator": [f"a{a:02d}" for a in range(count)], "kind": kinds}
    )
    for what, values in (("bias", bias), ("scale", scale), ("noise", noise)):
        for index, dimension in enumerate(DIMENSIONS):
            table[f"{what}_{dimension}"] = np.round(values[:, index], 4)
    return table


def ratings(plan: pd.DataFrame, annotators: pd.DataFrame) -> pd.DataFrame:
    """One row an utterance and annotator, with the three ratings."""
    rows, who = _coverage(len(plan), len(annotators))
    percepts = plan[[f"percept_{name}" for name in DIMENSIONS]].to_numpy()[rows]
    bias, scale, noise = (
        annotators[[f"{what}_{name}" for name in DIMENSIONS]].to_numpy()[who]
        for what in ("bias", "scale", "noise")
    )
    drawn = np.random.default_rng([SEED, RATINGS]).standard_normal(percepts.shape)
    heard = bias + scale * percepts + noise * drawn
    low, high = float(POINTS[0]), float(POINTS[-1])
    values = np.rint(np.clip((low + high) / 2 + (high - low) / 2 * heard, low, high)).astype(int)
    table: pd.DataFrame = pd.DataFrame(
        {
            "file_name": plan["file_name"].to_numpy()[rows],
            "annotator": annotators["annotator"].to_numpy()[who],
            **{name: values[:, index] for index, name in enumerate(DIMENSIONS)},
        }
    )
    return table


def _coverage(utterances: int, annotators: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which utterance is rated by whom: 3 to 8 each, few of the annotators doing most of it."""
    rng = np.random.default_rng([SEED, COVERAGE])
    shares = 1 / (rng.permutation(annotators) + 4) ** 0.85
    rows, who = [], []
    for utterance in range(utterances):
        count = int(rng.choice([3, 4, 5, 6, 7, 8], p=[0.1, 0.2, 0.3, 0.2, 0.1, 0.1]))
        chosen = rng.choice(annotators, count, replace=False, p=shares / shares.sum())
        rows += [utterance] * count
        who += sorted(chosen.tolist())
    return np.array(rows), np.array(who)
