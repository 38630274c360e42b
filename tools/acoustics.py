"""Acoustic measurements of a waveform on the frame grid of wav2vec 2.0 (25 ms every 20 ms)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import dct
from torch import Tensor
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

__all__ = ["VoiceTracks", "energy_db", "log_mel", "mfcc", "statistics", "voice"]

Values: TypeAlias = npt.NDArray[np.float64]
RATE_HZ = 16_000
WINDOW = 400
HOP = 320
MELS = 40
FLOOR = 1e-8
"""Of power, -80 dB against full scale: below it lies the noise of the recording."""
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0


@dataclass(frozen=True)
class VoiceTracks:
    """Times in s (N,), F0 in Hz (N,) or 0 where unvoiced, strength of voicing in [0, 1] (N,) or 0,
    the first three formants in Hz (N, 3) or NaN."""

    times: Values
    f0_hz: Values
    strength: Values
    formants_hz: Values


def log_mel(waves: Tensor) -> Tensor:
    """Natural log of the power in 40 mel bands, level kept: (B, S) to (B, T, 40)."""
    frames = waves.unfold(-1, WINDOW, HOP) * torch.hann_window(WINDOW)
    power: Tensor = torch.fft.rfft(frames, 512).abs() ** 2 / WINDOW
    return (power @ _filters()).clamp(min=FLOOR).log()


def energy_db(waves: Tensor) -> Tensor:
    """Power of each frame in dB against full scale: (B, S) to (B, T)."""
    power = waves.unfold(-1, WINDOW, HOP).square().mean(-1)
    return 10 * power.clamp(min=FLOOR).log10()


def mfcc(bands: Tensor, count: int = 13) -> Tensor:
    """Cepstral coefficients and their first two differences: (B, T, 40) to (B, T, 3·count)."""
    coefficients = torch.from_numpy(dct(bands.numpy(), norm="ortho")[..., :count])
    first = _slope(coefficients)
    return torch.cat([coefficients, first, _slope(first)], dim=-1)


def voice(wave: npt.NDArray[np.float32]) -> VoiceTracks:
    """What Praat hears of the voice in (S,) at 16 kHz, every 20 ms.

    F0 by autocorrelation with a path through the candidates (Boersma, 1993), formants by Burg's
    method; Praat's own settings but for the range of F0, 60 to 500 Hz.
    """
    import parselmouth

    sound = parselmouth.Sound(wave.astype(np.float64), RATE_HZ)
    seconds = HOP / RATE_HZ
    found = sound.to_pitch_ac(seconds, pitch_floor=LOWEST_HZ, pitch_ceiling=HIGHEST_HZ)
    f0_hz = found.selected_array["frequency"]
    formants = sound.to_formant_burg(seconds)
    tracks = [
        [formants.get_value_at_time(number, time) for number in (1, 2, 3)] for time in found.xs()
    ]
    return VoiceTracks(
        times=found.xs(),
        f0_hz=f0_hz,
        strength=np.where(f0_hz > 0, found.selected_array["strength"], 0),
        formants_hz=np.array(tracks).reshape(-1, 3),
    )


def statistics(wave: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean and deviation over time of the log-mel bands and of their differences, (160,)."""
    bands = log_mel(torch.from_numpy(wave)[None])[0]
    both = torch.cat([bands, _slope(bands[None])[0]], dim=-1)
    found: npt.NDArray[np.float32] = torch.cat([both.mean(0), both.std(0)]).numpy()
    return found


def _slope(values: Tensor) -> Tensor:
    """Regression over two frames to either side, (B, T, D) to (B, T, D)."""
    padded = functional.pad(values.transpose(1, 2), (2, 2), mode="replicate").transpose(1, 2)
    near = padded[:, 3:-1] - padded[:, 1:-3]
    far = padded[:, 4:] - padded[:, :-4]
    return (near + 2 * far) / 10


@functools.cache
def _filters() -> Tensor:
    bank = mel_filter_bank(257, MELS, 50.0, RATE_HZ / 2, RATE_HZ, norm=None, mel_scale="htk")
    return torch.from_numpy(bank).float()
