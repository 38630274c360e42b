"""Speech by eSpeak NG in voices of our own: its command, its voice variants, its output."""

from __future__ import annotations

import os
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import soxr
from embedded_labels import Speaker
from expression import Manner
from numpy.typing import NDArray

from serbench.harness.backbone import SAMPLE_RATE_HZ

__all__ = ["spoken", "variants_folder"]

Array: TypeAlias = NDArray[np.float64]

SPOKEN_MAX = 1.95
"""Seconds before the contour is bent and the edges are added, which lengthens a little."""
FORMANTS = 9


def variants_folder(scratch: Path) -> Path:
    """eSpeak's data by links, with room for voice variants of our own."""
    told = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True)
    installed = Path(told.stdout.partition("Data at:")[2].strip())
    data = scratch / "espeak-ng-data"
    (data / "voices" / "!v").mkdir(parents=True)
    for path in installed.iterdir():
        if path.name != "voices":
            (data / path.name).symlink_to(path)
    return data


def spoken(data: Path, speaker: Speaker, manner: Manner, text: str) -> Array:
    """As the manner says, or as much faster as it takes to stay short."""
    wave = _speak(data, speaker, manner, text)
    while len(wave) > SPOKEN_MAX * SAMPLE_RATE_HZ:
        manner = replace(manner, rate_wpm=round(manner.rate_wpm * 1.08))
        wave = _speak(data, speaker, manner, text)
    return wave


def _speak(data: Path, speaker: Speaker, manner: Manner, text: str) -> Array:
    """The sentence in eSpeak's voice, at 16 kHz, without the silence around it."""
    (data / "voices" / "!v" / "now").write_text(_variant(speaker, manner), encoding="utf-8")
    options = ["-z", "-s", str(manner.rate_wpm), "-g", str(manner.gap), "--stdout"]
    said = subprocess.run(
        ["espeak-ng", f"--path={data.parent}", "-v", f"{speaker.accent}+now", *options, text],
        capture_output=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    ).stdout
    # A WAV to a pipe has no length in its header, so samples start after the 44 bytes of it.
    wave = np.frombuffer(said[44:], dtype="<i2") / 32_768
    (rate_hz,) = struct.unpack("<I", said[24:28])
    wave = np.asarray(soxr.resample(wave, rate_hz, SAMPLE_RATE_HZ, quality="HQ"), dtype=np.float64)
    loud = np.flatnonzero(np.abs(wave) > 0.01 * np.abs(wave).max())
    return wave[max(0, loud[0] - 160) : loud[-1] + 320]


def _variant(speaker: Speaker, manner: Manner) -> str:
    """A voice variant of eSpeak NG (its docs/voices.md)."""
    low, high = (manner.f0_hz * 2 ** (sign * manner.range_st / 24) for sign in (-1, 1))
    percent = round(100 * manner.formant)
    height = 85 if speaker.female else 100
    lines = [
        "language variant",
        "name now",
        f"gender {'female' if speaker.female else 'male'}",
        f"pitch {low:.0f} {high:.0f}",
        "flutter 0",
        "roughness 0",
        *(f"formant {n} {percent} {height} {speaker.bandwidth}" for n in range(FORMANTS)),
    ]
    return "\n".join(lines) + "\n"
