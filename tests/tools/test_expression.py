"""The rules of expression go the way that the card of `embedded` says."""

from __future__ import annotations

import dataclasses
import math

import acoustics
import embedded_labels
import numpy as np
import pytest
import scipy.signal
import voice_effects
from expression import Manner, manner

from serbench.harness.metrics import DIMENSIONS

PLAIN = Manner(
    rate_wpm=180, gap=1, f0_hz=120, range_st=6, formant=1, slope_st=0, final_st=0, bounce_st=0,
    bounce_phase=0, jitter_st=0, roughness=0, breath=0, tilt_db=0, level_db=-26, floor_db=-90,
)  # fmt: skip


@pytest.mark.parametrize(
    ("dimension", "rises", "falls"),
    [
        ("activation", "rate_wpm f0_hz range_st tilt_db level_db", "breath"),
        ("valence", "slope_st bounce_st formant range_st", "roughness jitter_st"),
        ("dominance", "final_st level_db tilt_db", "f0_hz formant rate_wpm"),
    ],
)
def test_a_dimension_is_heard_in(dimension: str, rises: str, falls: str) -> None:
    speaker = embedded_labels.speakers()[0]
    column = DIMENSIONS.index(dimension)
    felt = np.eye(3)[column]
    low, high = (manner(speaker, sign * felt, np.random.default_rng(1)) for sign in (-1, 1))
    for name in rises.split():
        assert getattr(high, name) > getattr(low, name), name
    for name in falls.split():
        assert getattr(high, name) < getattr(low, name), name


def vowel(f0_hz: float) -> np.ndarray:
    """A second and a half of pulses through the resonances of a tube."""
    wave = np.zeros(24_000)
    wave[:: round(16_000 / f0_hz)] = 1.0
    wave = scipy.signal.lfilter([1], [1, -0.98], wave)
    for hz in (500.0, 1500.0, 2500.0, 3500.0, 4500.0):
        radius = math.exp(-math.pi * 80 / 16_000)
        poles = [1, -2 * radius * math.cos(2 * math.pi * hz / 16_000), radius**2]
        wave = scipy.signal.lfilter([1], poles, wave)
    scaled: np.ndarray = 0.1 * wave / np.abs(wave).max()
    return scaled


def test_pitch_bends_and_formants_stay() -> None:
    rising = dataclasses.replace(PLAIN, slope_st=8.0)
    wave = voice_effects.shaped(vowel(120), rising, np.random.default_rng(0))
    heard = acoustics.voice(wave.astype(np.float32))
    semitones = 12 * np.log2(heard.f0_hz[heard.f0_hz > 0])
    first, _, last = (np.median(part) for part in np.array_split(semitones, 3))
    assert last - first == pytest.approx(8 * 2 / 3, abs=1)
    start, _, end = np.array_split(heard.formants_hz[:, 1], 3)
    assert np.nanmedian(end) == pytest.approx(np.nanmedian(start), rel=0.06)


def test_level_is_what_was_asked_for() -> None:
    wave = voice_effects.shaped(vowel(120), PLAIN, np.random.default_rng(0))
    assert 10 * np.log10(np.mean(wave**2)) == pytest.approx(-26, abs=0.1)
