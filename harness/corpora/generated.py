"""Generated speech-like sound with simulated annotators: needs no files; scores mean nothing.

Parameters, as in `generated=speakers=24,utterances=40,seconds=4`: `speakers`, `utterances` of each
speaker, and `seconds`, the exact length of every utterance (1.0 to 2.5 s at random without it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serbench.harness.backbone import SAMPLE_RATE_HZ
from serbench.harness.corpora.base import SPLITS, Corpus, Utterance
from serbench.harness.corpora.recordings import SHORTEST
from serbench.harness.errors import RequestError
from serbench.harness.metrics import DIMENSIONS

__all__ = ["GeneratedCorpus", "Recipe", "Sound", "load"]

VERSION = 1
"""Of the sounds and labels that a seed gives; a new one makes every cached frame state another."""
SEED = 20_240_901
SCALE = (1.0, 5.0)
ANNOTATORS = 8
CYCLE = 1024
"""Samples in the table that holds one cycle of a voice."""
VOWELS_HZ = np.array(
    [
        [730, 1090, 2440],
        [530, 1840, 2480],
        [270, 2290, 3010],
        [570, 840, 2410],
        [300, 870, 2240],
    ],
    dtype=np.float64,
)
"""First three formants of five vowels, men's means: Peterson & Barney (1952), table II."""
BANDWIDTHS_HZ = np.array([80.0, 100.0, 140.0])
Wave: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How much is generated."""

    speakers: int = 12
    utterances: int = 16
    """Of each speaker."""
    seconds: float | None = None
    """Exact length of every utterance; None draws 1.0 to 2.5 s."""

    def __post_init__(self) -> None:
        if self.speakers < 3 or self.utterances < 1:
            raise RequestError("generated: at least 3 speakers and 1 utterance each are needed")
        if self.speakers * self.utterances > 100_000:
            raise RequestError("generated: at most 100000 utterances can be made")
        if self.seconds is not None and not SHORTEST / SAMPLE_RATE_HZ <= self.seconds <= 600:
            raise RequestError(
                f"generated: seconds go from {SHORTEST / SAMPLE_RATE_HZ} to 600, "
                f"not {self.seconds:g}"
            )

    @property
    def name(self) -> str:
        """`generated`, with the parameters that are not the defaults, so that rows differ."""
        changed = [
            f"{key}={value:g}"
            for key, value in (
                ("speakers", self.speakers),
                ("utterances", self.utterances),
                ("seconds", self.seconds),
            )
            if value is not None and value != getattr(Recipe, key)
        ]
        return "generated" + ("=" + ",".join(changed) if changed else "")

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """Read `speakers=24,utterances=40,seconds=4`, any of them.

        Raises:
            RequestError: something else is asked for, or a value is no number or out of range.
        """
        kinds = {"speakers": int, "utterances": int, "seconds": float}
        given: dict[str, int | float] = {}
        for item in text.split(","):
            key, _, value = (part.strip() for part in item.partition("="))
            if key not in kinds or key in given:
                raise RequestError(
                    f"generated: '{item}' sets nothing; it takes speakers=N, utterances=N and "
                    "seconds=S, each once"
                )
            try:
                given[key] = kinds[key](value)
            except ValueError:
                raise RequestError(f"generated: {key} takes a number, not '{value}'") from None
        return cls(**given)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Sound:
    """All that one utterance's waveform rests on."""

    voice: int
    """Number of the speaker, from 0; even ones are low voices, odd ones high."""
    take: int
    """Number of the utterance among the speaker's, from 0."""
    samples: int
    activation: float
    """Drives level and range of pitch, loudness, rate of syllables and spectral tilt; [-1, 1]."""
    valence: float
    """Drives rise or fall of pitch, vibrato against jitter, and height of formants; [-1, 1]."""

    def key(self) -> str:
        """Hash of what the waveform rests on."""
        facts = json.dumps([VERSION, SEED, *astuple(self)])
        return hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()

    def waveform(self) -> NDArray[np.float32]:
        """Syllables of a harmonic source, filtered by formants, with breath; shape (samples,)."""
        rng = np.random.default_rng([SEED, 1, self.voice, self.take])
        base_hz, stature = self._voice()
        time_s = np.arange(self.samples) / SAMPLE_RATE_HZ
        syllables = (4 + 1.5 * self.activation) * time_s + rng.random()
        pitch_hz = base_hz * 2 ** self._melody_octaves(time_s, syllables, rng)
        cycles = self._cycles(float(pitch_hz.mean()), float(pitch_hz.max()), stature)
        vowel = rng.integers(len(VOWELS_HZ), size=int(syllables[-1]) + 1)[syllables.astype(int)]
        phase = np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
        wave: Wave = cycles[vowel, (phase % 1 * CYCLE).astype(int)]
        wave += 0.05 * rng.standard_normal(self.samples)
        wave *= np.sqrt(np.abs(np.sin(np.pi * syllables)))
        level_db = -27 + 7 * self.activation + rng.normal(0, 1.5)
        wave *= 10 ** (level_db / 20) / np.sqrt(np.mean(wave**2))
        return np.clip(wave, -1, 1).astype(np.float32)

    def _voice(self) -> tuple[float, float]:
        """Mean pitch in Hz, and the factor on the formants of a man's vowels."""
        rng = np.random.default_rng([SEED, 2, self.voice])
        pitch_hz, stature = ((110.0, 1.0), (200.0, 1.16))[self.voice % 2]
        return pitch_hz * 2 ** rng.uniform(-0.25, 0.25), stature * 2 ** rng.uniform(-0.06, 0.06)

    def _melody_octaves(self, time_s: Wave, syllables: Wave, rng: np.random.Generator) -> Wave:
        """Deviation from the speaker's mean pitch, shape (samples,)."""
        stress = (0.1 + 0.06 * self.activation) * np.sin(np.pi * syllables)
        contour = 0.25 * self.valence * (time_s / time_s[-1] - 0.5)
        vibrato = 0.012 * (1 + self.valence) * np.sin(2 * np.pi * 5.5 * time_s)
        steps_s = np.arange(0, time_s[-1] + 0.02, 0.01)
        jitter = np.interp(time_s, steps_s, rng.standard_normal(len(steps_s)))
        melody: Wave = 0.3 * self.activation + stress + contour + vibrato
        return melody + 0.02 * (1 - self.valence) * jitter

    def _cycles(self, pitch_hz: float, highest_hz: float, stature: float) -> Wave:
        """One cycle of each vowel at unit power, shape (5, CYCLE), without aliasing."""
        harmonics = np.arange(1, max(2, int(SAMPLE_RATE_HZ / 2 / highest_hz)))
        formants_hz = VOWELS_HZ * stature * (1 + 0.06 * self.valence)
        offsets = (harmonics * pitch_hz - formants_hz[:, :, None]) / BANDWIDTHS_HZ[:, None]
        gains = (1 / (1 + offsets**2)).sum(axis=1) + 0.02
        spectrum = np.zeros((len(VOWELS_HZ), CYCLE // 2 + 1), dtype=np.complex128)
        spectrum[:, harmonics] = 1j * gains * harmonics ** (-1.2 + 0.5 * self.activation)
        cycles: Wave = np.fft.irfft(spectrum, n=CYCLE)
        cycles /= np.sqrt(np.mean(cycles**2, axis=1, keepdims=True))
        return cycles


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneratedCorpus(Corpus):
    """A corpus without files, whose waveforms are synthesised when they are asked for."""

    sounds: Sequence[Sound]
    """One an utterance, in their order."""

    def waveform(self, utterance: Utterance, longest: int | None = None) -> NDArray[np.float32]:
        """Mono audio at 16 kHz with shape (samples,); the same in every process."""
        return self.sounds[self._position(utterance)].waveform()[:longest]

    def audio_key(self, utterance: Utterance) -> str:
        """What identifies the sound, here and elsewhere."""
        return self.sounds[self._position(utterance)].key()

    content_key = audio_key


def load(root: str | None) -> Corpus:
    """Generate the tables; `root` holds the parameters, None takes the defaults.

    Raises:
        RequestError: the parameters are wrong.
    """
    recipe = Recipe() if root is None else Recipe.parse(root)
    rng = np.random.default_rng([SEED, 0])
    table = _plan(recipe, rng)
    felt = _felt(table["split"].to_numpy(), rng)
    ratings = _ratings(table["id"].to_numpy(), felt, rng)
    means = ratings.groupby(["dimension", "utterance"])["value"].mean()
    labels = {name: table["id"].map(means.loc[name]) for name in DIMENSIONS}
    return GeneratedCorpus(
        name=recipe.name,
        utterances=table[["id", "path", "speaker", "split", "samples"]].assign(**labels),
        minimum=SCALE[0],
        maximum=SCALE[1],
        ratings=ratings,
        synthetic=True,
        licence="Apache-2.0",
        notes="Generated sound and simulated annotators; nobody spoke, and nobody listened.",
        sounds=_sounds(table, felt),
    )


def _plan(recipe: Recipe, rng: np.random.Generator) -> pd.DataFrame:
    count = recipe.speakers * recipe.utterances
    voices = np.repeat(np.arange(recipe.speakers), recipe.utterances)
    takes = np.tile(np.arange(recipe.utterances), recipe.speakers)
    held_out = max(1, round(recipe.speakers / 6))
    last = recipe.speakers - voices
    splits = np.where(
        last <= held_out, "test", np.where(last <= 2 * held_out, "validation", "train")
    )
    drawn_s = rng.uniform(1.0, 2.5, count)
    seconds = drawn_s if recipe.seconds is None else np.full(count, recipe.seconds)
    plan: pd.DataFrame = pd.DataFrame(
        {
            "id": [f"s{v:02d}u{t:03d}" for v, t in zip(voices, takes, strict=True)],
            "path": None,
            "speaker": [f"s{v:02d}" for v in voices],
            "split": splits,
            "samples": np.rint(seconds * SAMPLE_RATE_HZ).astype(int),
            "voice": voices,
            "take": takes,
        }
    )
    return plan


def _felt(splits: NDArray[np.str_], rng: np.random.Generator) -> Wave:
    """Activation, valence and dominance in [-1, 1], (N, 3); each split has the whole range.

    The sounds express the first two, and annotators rate all three with errors of their own, so
    that labels cannot be read off the sounds.
    """
    felt = np.empty((len(splits), 3))
    for split in SPLITS:
        there = np.flatnonzero(splits == split)
        grid = np.linspace(-1, 1, len(there))
        felt[there, 0] = rng.permutation(grid)
        felt[there, 1] = rng.permutation(grid)
    felt[:, 2] = 0.7 * felt[:, 0] + 0.2 * felt[:, 1] + rng.normal(0, 0.25, len(splits))
    return np.clip(felt, -1, 1)


def _ratings(ids: NDArray[np.str_], felt: Wave, rng: np.random.Generator) -> pd.DataFrame:
    """Whole points on the scale, each utterance by 3 to 5 of the annotators with their biases."""
    order = np.argsort(rng.random((len(ids), ANNOTATORS)), axis=1)
    rows, annotators = np.nonzero(order < rng.integers(3, 6, (len(ids), 1)))
    heard = felt[rows] + rng.normal(0, 0.15, (ANNOTATORS, 3))[annotators]
    heard += rng.normal(0, 0.25, heard.shape)
    low, high = SCALE
    values = np.clip(np.rint(low + (heard + 1) / 2 * (high - low)), low, high)
    ratings: pd.DataFrame = pd.DataFrame(
        {
            "utterance": np.repeat(ids[rows], len(DIMENSIONS)),
            "annotator": np.repeat([f"a{a}" for a in annotators], len(DIMENSIONS)),
            "dimension": np.tile(DIMENSIONS, len(rows)),
            "value": values.ravel(),
        }
    )
    return ratings


def _sounds(table: pd.DataFrame, felt: Wave) -> list[Sound]:
    # Rounded, because the last bits of a random number may differ from machine to machine.
    expressed = np.round(felt, 6)
    columns = (table[name] for name in ("voice", "take", "samples"))
    return [
        Sound(voice=voice, take=take, samples=samples, activation=activation, valence=valence)
        for voice, take, samples, (activation, valence, _) in zip(
            *columns, expressed.tolist(), strict=True
        )
    ]
