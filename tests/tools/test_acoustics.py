"""Measurements of sounds whose pitch, level and spectrum are known."""

from __future__ import annotations

import math

import acoustics
import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel

from serbench.harness.backbone import BUNDLE

SECOND = torch.arange(16_000) / 16_000


def harmonic(f0_hz: float) -> Tensor:
    """One second of a voice-like sound, (1, S)."""
    parts = [torch.sin(2 * math.pi * f0_hz * k * SECOND) / k for k in range(1, 8)]
    return 0.1 * torch.stack(parts).sum(0)[None]


def noise() -> Tensor:
    return 0.1 * torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))


def test_frames_are_the_encoders() -> None:
    encoder = AutoModel.from_config(
        AutoConfig.from_pretrained(BUNDLE / "tiny"), dtype=torch.float32
    )
    encoder.eval()
    for samples in (400, 4000, 16_000):
        wave = noise()[:, :samples]
        frames = encoder(wave).last_hidden_state.shape[1]
        assert acoustics.log_mel(wave).shape == (1, frames, acoustics.MELS)
        assert acoustics.energy_db(wave).shape == (1, frames)


@pytest.mark.parametrize("f0_hz", [80.0, 120.0, 200.0, 320.0, 440.0])
def test_pitch_of_a_harmonic_sound(f0_hz: float) -> None:
    heard = acoustics.voice(harmonic(f0_hz)[0].numpy())
    assert heard.f0_hz == pytest.approx(f0_hz, rel=0.01)
    assert heard.strength.min() > 0.9
    assert np.diff(heard.times) == pytest.approx(0.02)


def test_noise_is_not_voiced() -> None:
    heard = acoustics.voice(noise()[0].numpy())
    assert (heard.f0_hz == 0).mean() > 0.8
    assert (heard.strength[heard.f0_hz == 0] == 0).all()


def test_formants_are_the_resonances() -> None:
    """Pulses that fall by 6 dB an octave, through the five resonances of a tube."""
    wanted_hz = (500.0, 1500.0, 2500.0)
    wave = np.zeros(16_000)
    wave[::133] = 1.0
    wave = scipy.signal.lfilter([1], [1, -0.98], wave)
    for hz in (*wanted_hz, 3500.0, 4500.0):
        radius = math.exp(-math.pi * 80 / 16_000)
        poles = [1, -2 * radius * math.cos(2 * math.pi * hz / 16_000), radius**2]
        wave = scipy.signal.lfilter([1], poles, wave)
    heard = acoustics.voice((0.1 * wave / np.abs(wave).max()).astype(np.float32))
    assert np.nanmedian(heard.formants_hz, axis=0) == pytest.approx(wanted_hz, rel=0.05)


def test_level_moves_with_the_gain() -> None:
    wave, gain_db = harmonic(150.0), -12.0
    quiet = wave * 10 ** (gain_db / 20)
    moved = acoustics.energy_db(quiet) - acoustics.energy_db(wave)
    assert moved.numpy() == pytest.approx(gain_db, abs=0.01)
    bands, quieter = acoustics.log_mel(wave), acoustics.log_mel(quiet)
    audible = quieter > math.log(acoustics.FLOOR) + 0.1
    shift = (quieter - bands)[audible]
    assert audible.float().mean() > 0.3
    assert shift.numpy() == pytest.approx(gain_db * math.log(10) / 10, abs=0.01)


def test_energy_of_a_full_sine() -> None:
    wave = torch.sin(2 * math.pi * 400 * SECOND)[None]
    assert acoustics.energy_db(wave).numpy() == pytest.approx(-3.01, abs=0.02)


def test_a_tone_is_in_the_band_of_its_frequency() -> None:
    low, high = (
        acoustics.log_mel(0.5 * torch.sin(2 * math.pi * hz * SECOND)[None])[0].mean(0).argmax()
        for hz in (200, 4000)
    )
    assert low < 8
    assert high > 25


def test_cepstra_ignore_the_gain_but_for_the_first() -> None:
    wave = noise()
    loud, quiet = (acoustics.mfcc(acoustics.log_mel(wave * gain)) for gain in (1.0, 0.5))
    assert loud.shape == (1, 49, 39)
    assert torch.allclose(loud[..., 1:], quiet[..., 1:], atol=1e-4)
    assert not torch.allclose(loud[..., 0], quiet[..., 0])


def test_slopes_of_a_straight_line() -> None:
    line = 3.0 * torch.arange(20.0)[None, :, None]
    assert acoustics._slope(line)[0, 2:-2, 0].numpy() == pytest.approx(3.0)


def test_statistics_of_a_steady_sound() -> None:
    found = acoustics.statistics(harmonic(160.0)[0].numpy())
    assert found.shape == (4 * acoustics.MELS,)
    assert np.isfinite(found).all()
    means, slopes = found[: acoustics.MELS], found[acoustics.MELS : 2 * acoustics.MELS]
    assert means.max() > -6
    assert np.abs(slopes).max() < 0.05
