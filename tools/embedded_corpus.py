"""How the bundled corpus `embedded` is made: eSpeak NG's voices, rules of expression, annotators.

Synthetic from end to end: no person spoke and none listened. Needs espeak-ng on the path; whoever
uses the corpus needs neither it nor this file.

Determinism. Every random number comes from a numpy Generator with a seed of its own. eSpeak NG
draws flutter and breath from glibc's rand(), which it never seeds (its library imports rand, but
neither srand nor time), so that every process starts the same sequence; flutter is 0 here, and two
runs of 1.51 seconds apart gave the same samples, breathy voices included. libsndfile numbers each
Ogg stream at random: `_renumbered` puts a fixed number there, and files are the same to the byte.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import soundfile
import soxr
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

REPOSITORY = Path(__file__).resolve().parents[1]
TARGET = REPOSITORY / "harness" / "bundled" / "embedded"
RATE_HZ = 16_000
SEED = 20_261_124
VOICES, LATENTS, EXPRESSION, LISTENERS, COVERAGE, RATINGS, SOUND = range(7)
"""Second part of the seed: one generator a purpose, so that a change to one leaves the others."""

DIMENSIONS = ("activation", "valence", "dominance")
SETTINGS = '''\
name = "embedded"
synthetic = true
licence = "CC0-1.0"
citation = "serbench, tools/embedded_corpus.py"
notes = """\\
  Synthetic: the formant synthesiser eSpeak NG speaks in 40 voices by rules of vocal expression, \\
  and 56 simulated annotators rate it. No person spoke, and none listened."""

[scale]
min = 1
max = 7
'''
SPLITS = {"train": 22, "validation": 6, "test": 12}
"""Voices in each."""
TAKES = 11
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
SECONDS_MAX = 2.2
SPOKEN_MAX = 1.95
"""Seconds before the contour is bent and the edges are added, which lengthens a little."""
FORMANTS = 9
CAREFUL, CONTRARY, CARELESS = 48, 4, 4
"""Annotators of each kind."""
SCALE = (1.0, 7.0)


def main() -> None:
    """Make the corpus, or measure one that is there."""
    parser = argparse.ArgumentParser(description="Make the synthetic corpus `embedded`.")
    parser.add_argument(
        "out", nargs="?", type=Path, default=TARGET, help="folder to fill (default: %(default)s)"
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="make the sound of every Nth utterance"
    )
    parser.add_argument("--tables", action="store_true", help="make the tables alone, no sound")
    parser.add_argument(
        "--check", type=Path, metavar="FOLDER", help="measure a corpus that was made, make none"
    )
    given = parser.parse_args()
    if given.check is not None:
        _check(given.check)
        return
    plan, annotators = _plan(), _annotators()
    _write_tables(given.out, plan, annotators)
    if not given.tables:
        _write_audio(given.out / "audio", plan, given.every)


# Speakers


@dataclass(frozen=True, kw_only=True)
class Voice:
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


def _voices() -> list[Voice]:
    """Genders alternate, so that each split has as many women as men."""
    rng = np.random.default_rng([SEED, VOICES])
    splits = [split for split, count in SPLITS.items() for _ in range(count)]
    return [_voice(index, split, rng) for index, split in enumerate(splits)]


def _voice(index: int, split: str, rng: np.random.Generator) -> Voice:
    female = index % 2 == 1
    # Means and spreads of F0 about as in Traunmüller & Eriksson (1995); formants 16 % up in women,
    # as in Peterson & Barney (1952).
    return Voice(
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


# What is meant, expressed and perceived


def _plan() -> pd.DataFrame:
    """One row an utterance: who says what, and its intended, expressed and perceived dimensions."""
    voices = _voices()
    plan: pd.DataFrame = pd.DataFrame(
        [
            {"voice": index, "split": voice.split, "sentence": (index + take) % len(SENTENCES)}
            for index, voice in enumerate(voices)
            for take in range(TAKES)
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


# Annotators


def _annotators() -> pd.DataFrame:
    """Name, kind, and bias, scale and noise in each dimension, in units where the scale is ±1."""
    rng = np.random.default_rng([SEED, LISTENERS])
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


def _ratings(plan: pd.DataFrame, annotators: pd.DataFrame) -> pd.DataFrame:
    """One row an utterance and annotator, with the three ratings."""
    rows, who = _coverage(len(plan), len(annotators))
    percepts = plan[[f"percept_{name}" for name in DIMENSIONS]].to_numpy()[rows]
    bias, scale, noise = (
        annotators[[f"{what}_{name}" for name in DIMENSIONS]].to_numpy()[who]
        for what in ("bias", "scale", "noise")
    )
    drawn = np.random.default_rng([SEED, RATINGS]).standard_normal(percepts.shape)
    heard = bias + scale * percepts + noise * drawn
    low, high = SCALE
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


# Expression


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How one utterance is said.

    The rules follow the reviews of Scherer (1986, Psychol. Bull. 99; 2003, Speech Commun. 40) and
    Juslin & Laukka (2003, Psychol. Bull. 129), the measurements of Banse & Scherer (1996, J. Pers.
    Soc. Psychol. 70), and for dimensions Schröder et al. (2001, Eurospeech), Laukka, Juslin &
    Bresin (2005, Cogn. Emot. 19) and Goudbeek & Scherer (2010, J. Acoust. Soc. Am. 128). They say
    in which direction; how far is chosen, so that activation is easy and valence hard, as it is in
    real corpora.
    """

    rate_wpm: int
    gap: int
    """Pause between words, 10 ms at eSpeak's default rate."""
    f0_hz: float
    range_st: float
    """Range of eSpeak's own intonation, semitones."""
    formant: float
    slope_st: float
    """Rise of F0 over the utterance, semitones; falling if negative."""
    final_st: float
    """Fall of F0 over the last part, semitones."""
    bounce_st: float
    """Depth of the slow movement of F0, semitones."""
    bounce_phase: float
    jitter_st: float
    roughness: float
    """Depth of the irregular modulation of the amplitude."""
    breath: float
    """Amplitude of aspiration noise against the voice."""
    tilt_db: float
    """Per octave, around 1 kHz."""
    level_db: float
    """RMS against full scale."""
    floor_db: float
    """Noise of the recording against full scale."""


def _manner(voice: Voice, felt: Array, rng: np.random.Generator) -> Manner:
    a, v, d = felt.tolist()
    # A regular voice speaks of joy, an irregular one of displeasure (Juslin & Laukka 2003); tense
    # and harsh or breathy and lax goes with effort (Gobl & Ní Chasaide 2003, Speech Commun. 40).
    rough = float(np.clip(0.35 - 0.35 * v + 0.08 * a + voice.roughness + rng.normal(0, 0.08), 0, 1))
    breath = float(np.clip(voice.breath - 0.1 * a - 0.08 * d + rng.normal(0, 0.04), 0, 0.5))
    pitch_st = 2.6 * a - 1.4 * d + 0.4 * v + rng.normal(0, 1.0)
    # Smiling shortens the vocal tract and raises formants (Tartter 1980, Percept. Psychophys. 27);
    # a low larynx and low formants sound large and in charge (Ohala 1984, Phonetica 41).
    formant = voice.formant * (1 + 0.06 * v - 0.03 * d + rng.normal(0, 0.012))
    return Manner(
        rate_wpm=round(198 * 2 ** (voice.tempo + 0.3 * a - 0.1 * d + rng.normal(0, 0.1))),
        gap=max(0, round(1.0 - 1.5 * a + rng.normal(0, 0.8))),
        f0_hz=voice.f0_hz * 2 ** (pitch_st / 12),
        range_st=max(1.0, 6 + 2.5 * a + 0.8 * v + rng.normal(0, 1.0)),
        formant=formant,
        # Contours rise and are wide in joy, fall and are narrow in sadness (Juslin & Laukka 2003).
        # Long-term averages do not hear the direction: an encoder that hears it has the advantage.
        slope_st=6.0 * v + rng.normal(0, 1.2),
        final_st=2.2 * d + rng.normal(0, 0.7),
        bounce_st=max(0.0, 0.8 + 0.8 * v + rng.normal(0, 0.25)),
        bounce_phase=rng.uniform(0, 2 * np.pi),
        jitter_st=0.06 + 0.4 * rough**2,
        roughness=0.6 * rough,
        breath=breath + 0.2 * rough,
        # Effort flattens the spectrum (Banse & Scherer 1996; Laukka et al. 2005).
        tilt_db=voice.tilt_db + 1.5 * a + 0.6 * d + rng.normal(0, 0.6),
        # The rest is the distance to the microphone and its gain.
        level_db=-27 + voice.level_db + 3.0 * a + 1.5 * d + rng.normal(0, 1.6),
        floor_db=rng.uniform(-66, -54),
    )


# Sound


def _write_audio(folder: Path, plan: pd.DataFrame, every: int) -> None:
    if shutil.which("espeak-ng") is None:
        sys.exit("espeak-ng is not on the path (Debian: apt-get install espeak-ng)")
    folder.mkdir(parents=True, exist_ok=True)
    voices = _voices()
    with tempfile.TemporaryDirectory() as scratch:
        data = _variants_folder(Path(scratch))
        for index in range(0, len(plan), every):
            row = plan.iloc[index]
            rng = np.random.default_rng([SEED, SOUND, index])
            voice = voices[row["voice"]]
            felt = row[[f"expressed_{name}" for name in DIMENSIONS]].to_numpy(dtype=np.float64)
            manner = _manner(voice, felt, rng)
            spoken = _spoken(data, voice, manner, SENTENCES[row["sentence"]])
            wave = _shaped(spoken, manner, rng)
            if len(wave) > SECONDS_MAX * RATE_HZ:
                sys.exit(f"{row['file_name']} lasts {len(wave) / RATE_HZ:.2f} s")
            _write_opus(folder / Path(row["file_name"]).name, wave)


def _variants_folder(scratch: Path) -> Path:
    """eSpeak's data by links, with room for voice variants of our own."""
    told = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True)
    installed = Path(told.stdout.partition("Data at:")[2].strip())
    data = scratch / "espeak-ng-data"
    (data / "voices" / "!v").mkdir(parents=True)
    for path in installed.iterdir():
        if path.name != "voices":
            (data / path.name).symlink_to(path)
    return data


def _spoken(data: Path, voice: Voice, manner: Manner, text: str) -> Array:
    """As the manner says, or as much faster as it takes to stay short."""
    wave = _speak(data, voice, manner, text)
    while len(wave) > SPOKEN_MAX * RATE_HZ:
        manner = replace(manner, rate_wpm=round(manner.rate_wpm * 1.08))
        wave = _speak(data, voice, manner, text)
    return wave


def _speak(data: Path, voice: Voice, manner: Manner, text: str) -> Array:
    """The sentence in eSpeak's voice, at 16 kHz, without the silence around it."""
    (data / "voices" / "!v" / "now").write_text(_variant(voice, manner), encoding="utf-8")
    options = ["-z", "-s", str(manner.rate_wpm), "-g", str(manner.gap), "--stdout"]
    said = subprocess.run(
        ["espeak-ng", f"--path={data.parent}", "-v", f"{voice.accent}+now", *options, text],
        capture_output=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    ).stdout
    # A WAV to a pipe has no length in its header, so samples start after the 44 bytes of it.
    wave = np.frombuffer(said[44:], dtype="<i2") / 32_768
    (rate_hz,) = struct.unpack("<I", said[24:28])
    wave = np.asarray(soxr.resample(wave, rate_hz, RATE_HZ, quality="HQ"), dtype=np.float64)
    loud = np.flatnonzero(np.abs(wave) > 0.01 * np.abs(wave).max())
    return wave[max(0, loud[0] - 160) : loud[-1] + 320]


def _variant(voice: Voice, manner: Manner) -> str:
    """A voice variant of eSpeak NG (its docs/voices.md)."""
    low, high = (manner.f0_hz * 2 ** (sign * manner.range_st / 24) for sign in (-1, 1))
    percent = round(100 * manner.formant)
    height = 85 if voice.female else 100
    lines = [
        "language variant",
        "name now",
        f"gender {'female' if voice.female else 'male'}",
        f"pitch {low:.0f} {high:.0f}",
        "flutter 0",
        "roughness 0",
        *(f"formant {n} {percent} {height} {voice.bandwidth}" for n in range(FORMANTS)),
    ]
    return "\n".join(lines) + "\n"


def _shaped(spoken: Array, manner: Manner, rng: np.random.Generator) -> Array:
    """Contour, voice quality, loudness and the recording's noise."""
    wave = _moved(spoken, manner, rng)
    wave = wave * (1 + manner.roughness * _band_noise(len(wave), (25, 90), rng))
    envelope = np.sqrt(np.convolve(wave**2, np.ones(320) / 320, mode="same"))
    wave = wave + manner.breath * envelope * _band_noise(len(wave), (1500, 8000), rng)
    wave = _tilted(wave, manner.tilt_db)
    wave = np.pad(wave, 480)
    wave *= 10 ** (manner.level_db / 20) / np.sqrt(np.mean(wave**2))
    wave = wave + 10 ** (manner.floor_db / 20) * _band_noise(len(wave), (60, 8000), rng)
    limited: Array = wave * min(1.0, 0.95 / np.abs(wave).max())
    return limited


def _moved(wave: Array, manner: Manner, rng: np.random.Generator) -> Array:
    """Bend F0 by reading faster or slower, then put the formants back where they were."""
    time = np.linspace(0, 1, len(wave))
    seconds = len(wave) / RATE_HZ
    swing = np.sin(2 * np.pi * 2.5 * seconds * time + manner.bounce_phase)
    smooth_st = manner.slope_st * (time - 0.5) + manner.bounce_st * swing
    smooth_st -= manner.final_st * np.clip((time - 0.6) / 0.4, 0, 1) ** 2
    smooth_st -= smooth_st.mean()
    nodes = np.arange(0, len(wave) + 160, 160)
    jitter_st = manner.jitter_st * np.interp(
        np.arange(len(wave)), nodes, rng.standard_normal(len(nodes))
    )
    read = np.cumsum(2 ** ((smooth_st + jitter_st) / 12))
    read = read[read < len(wave) - 1]
    fine = np.asarray(soxr.resample(wave, 1, 4, quality="HQ"), dtype=np.float64)
    bent: Array = np.interp(4 * read, np.arange(len(fine)), fine)
    return _formants_restored(bent, 2 ** (smooth_st[: len(bent)] / 12))


def _formants_restored(wave: Array, factor: Array) -> Array:
    """Divide each frame's cepstral envelope by `factor` (S,) along frequency."""
    size, hop, lifter = 512, 128, 40
    window = np.sqrt(np.hanning(size + 1)[:-1])
    padded = np.pad(wave, (size, 2 * size))
    starts = np.arange(0, len(padded) - size, hop)
    frames = padded[starts[:, None] + np.arange(size)] * window
    spectra = np.fft.rfft(frames, axis=1)
    cepstra = np.fft.irfft(np.log(np.abs(spectra) + 1e-5), axis=1)
    cepstra[:, lifter:-lifter] = 0
    envelopes = np.fft.rfft(cepstra, axis=1).real
    centres = np.clip(starts + size // 2 - size, 0, len(factor) - 1)
    bins = np.arange(size // 2 + 1)
    wanted = np.stack(
        [np.interp(bins * factor[c], bins, e) for c, e in zip(centres, envelopes, strict=True)]
    )
    gained = spectra * np.exp(np.clip(wanted - envelopes, -4, 4))
    pieces = np.fft.irfft(gained, axis=1) * window
    summed = np.zeros(len(padded))
    for start, piece in zip(starts, pieces, strict=True):
        summed[start : start + size] += piece
    # Hann windows a quarter of their length apart add up to 2.
    whole: Array = summed[size : size + len(wave)] / 2
    return whole


def _band_noise(samples: int, band_hz: tuple[float, float], rng: np.random.Generator) -> Array:
    """Gaussian noise of unit power in a band."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hertz = np.fft.rfftfreq(samples, 1 / RATE_HZ)
    spectrum[(hertz < band_hz[0]) | (hertz > band_hz[1])] = 0
    noise: Array = np.fft.irfft(spectrum, samples)
    noise /= np.sqrt(np.mean(noise**2))
    return noise


def _low_passed(wave: NDArray[np.float32], cut_hz: float) -> Array:
    spectrum = np.fft.rfft(wave)
    spectrum[np.fft.rfftfreq(len(wave), 1 / RATE_HZ) > cut_hz] = 0
    return np.fft.irfft(spectrum, len(wave))


def _tilted(wave: Array, tilt_db: float) -> Array:
    hertz = np.maximum(np.fft.rfftfreq(len(wave), 1 / RATE_HZ), 100)
    gain_db = np.clip(tilt_db * np.log2(hertz / 1000), -20, 20)
    return np.fft.irfft(np.fft.rfft(wave) * 10 ** (gain_db / 20), len(wave))


def _write_opus(path: Path, wave: Array) -> None:
    """Opus at libsndfile's default quality, some 35 kbit/s here."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, RATE_HZ, format="OGG", subtype="OPUS")
    path.write_bytes(_renumbered(buffer.getvalue()))


def _renumbered(ogg: bytes) -> bytes:
    """The same pages with stream number 1 in place of libsndfile's random one (RFC 3533, 6)."""
    data, start = bytearray(ogg), 0
    while start < len(data):
        segments = data[start + 26]
        end = start + 27 + segments + sum(data[start + 27 : start + 27 + segments])
        struct.pack_into("<I", data, start + 14, 1)
        struct.pack_into("<I", data, start + 22, 0)
        struct.pack_into("<I", data, start + 22, _page_checksum(data[start:end]))
        start = end
    return bytes(data)


def _page_checksum(page: bytes | bytearray) -> int:
    """CRC of an Ogg page: polynomial 0x04c11db7, nothing reflected, starting from 0."""
    remainder = 0
    for byte in page:
        remainder = (remainder << 8 & 0xFFFFFFFF) ^ CHECKSUMS[remainder >> 24 ^ byte]
    return remainder


def _checksums() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
        table.append(value)
    return table


CHECKSUMS = _checksums()


# Tables


def _write_tables(folder: Path, plan: pd.DataFrame, annotators: pd.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ratings = _ratings(plan, annotators)
    words = [SENTENCES[sentence] for sentence in plan["sentence"]]
    metadata = plan[["file_name", "speaker", "split"]].assign(
        sentence=[f"s{sentence:02d}" for sentence in plan["sentence"]], transcript=words
    )
    percepts = plan[["file_name", *(f"percept_{name}" for name in DIMENSIONS)]]
    tables = {
        "metadata": metadata,
        "ratings": ratings,
        "annotators": annotators,
        "percepts": percepts.rename(columns={f"percept_{name}": name for name in DIMENSIONS}),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    (folder / "corpus.toml").write_text(SETTINGS, encoding="utf-8")


# Check


def _check(folder: Path) -> None:
    """Print what the corpus holds and how well plain statistics of the sound tell its labels."""
    from ridge import ccc, held_out

    from serbench.harness.corpora import audiofolder
    from serbench.harness.corpora.base import summarise

    corpus = audiofolder.load(str(folder))
    summary = summarise(corpus)
    seconds = corpus.utterances["samples"] / RATE_HZ
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{summary.utterances} utterances of {summary.speakers} voices, {summary.splits}")
    print(f"{seconds.sum():.0f} s, mean {seconds.mean():.2f}, longest {seconds.max():.2f}")
    print(f"{size / 1e6:.2f} MB")
    waves = [corpus.waveform(name) for name in corpus.utterances["id"]]
    assert corpus.ratings is not None
    load = corpus.ratings.groupby("annotator")["utterance"].nunique()
    print(
        f"{summary.annotators} annotators, {summary.ratings_per_utterance:.2f} an utterance, "
        f"{load.min()} to {load.max()} utterances an annotator"
    )
    plain, tracked = (
        held_out(np.stack([_features(wave, contour) for wave in waves]), corpus)
        for contour in (False, True)
    )
    percepts = pd.read_csv(folder / "percepts.csv").set_index("file_name")
    test = corpus.subset("test")
    for name, label in summary.labels.items():
        heard = 4 + 3 * percepts.loc[test["id"], name].to_numpy()
        print(
            f"{name}: CCC on test of the ridge {plain[name]:.3f}, "
            f"given the contour of F0 {tracked[name]:.3f}, "
            f"of the true percept {ccc(test[name].to_numpy(), heard):.3f}; "
            f"CCC between annotators {label.agreement:.3f}; "
            f"labels {label.minimum:.2f} to {label.maximum:.2f}"
        )


def _features(wave: NDArray[np.float32], contour: bool) -> Array:
    """160 long-term statistics, and if wanted the rise, bow and unrest of F0."""
    import torch
    from acoustics import pitch, statistics

    long_term = statistics(wave).astype(np.float64)
    if not contour:
        return long_term
    # Below 900 Hz, because noise above it hides the period.
    low = _low_passed(wave, 900).astype(np.float32)
    f0_hz, voicing = (track[0].numpy() for track in pitch(torch.from_numpy(low)[None]))
    voiced = voicing > 0.8 * np.median(voicing)
    semitones = 12 * np.log2(f0_hz[voiced] / np.median(f0_hz[voiced]))
    # The tracker's jumps by an octave are none of the contour's.
    semitones = semitones[np.abs(semitones) < 7]
    first, middle, last = (np.median(third) for third in np.array_split(semitones, 3))
    return np.concatenate([long_term, [last - first, middle, np.abs(np.diff(semitones)).mean()]])


if __name__ == "__main__":
    main()
