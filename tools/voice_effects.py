"""What is done to synthetic speech: contour of F0, voice quality, loudness, recording noise."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import soxr
from expression import Manner
from numpy.typing import NDArray

from serbench.harness.backbone import SAMPLE_RATE_HZ

__all__ = ["shaped"]

Array: TypeAlias = NDArray[np.float64]


def shaped(spoken: Array, manner: Manner, rng: np.random.Generator) -> Array:
    """What was `spoken` (S,), at 16 kHz, in that manner: (about S,), at most 0.95."""
    wave = _f0_bent(spoken, manner, rng)
    wave = wave * (1 + manner.roughness * _band_noise(len(wave), (25, 90), rng))
    envelope = np.sqrt(np.convolve(wave**2, np.ones(320) / 320, mode="same"))
    wave = wave + manner.breath * envelope * _band_noise(len(wave), (1500, 8000), rng)
    wave = _tilted(wave, manner.tilt_db)
    wave = np.pad(wave, 480)
    wave *= 10 ** (manner.level_db / 20) / np.sqrt(np.mean(wave**2))
    wave = wave + 10 ** (manner.floor_db / 20) * _band_noise(len(wave), (60, 8000), rng)
    limited: Array = wave * min(1.0, 0.95 / np.abs(wave).max())
    return limited


def _f0_bent(wave: Array, manner: Manner, rng: np.random.Generator) -> Array:
    """Bend F0 by reading faster or slower, then put the formants back where they were."""
    time = np.linspace(0, 1, len(wave))
    seconds = len(wave) / SAMPLE_RATE_HZ
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
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    spectrum[(hertz < band_hz[0]) | (hertz > band_hz[1])] = 0
    noise: Array = np.fft.irfft(spectrum, samples)
    noise /= np.sqrt(np.mean(noise**2))
    return noise


def _tilted(wave: Array, tilt_db: float) -> Array:
    hertz = np.maximum(np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE_HZ), 100)
    gain_db = np.clip(tilt_db * np.log2(hertz / 1000), -20, 20)
    return np.fft.irfft(np.fft.rfft(wave) * 10 ** (gain_db / 20), len(wave))
