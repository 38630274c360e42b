"""Acoustic measurements of a waveform on the frame grid of wav2vec 2.0 (25 ms every 20 ms)."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import dct
from torch import Tensor
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

__all__ = ["energy_db", "log_mel", "mfcc", "pitch", "statistics"]

RATE_HZ = 16_000
WINDOW = 400
HOP = 320
MELS = 40
FLOOR = 1e-8
"""Of power, -80 dB against full scale: below it lies the noise of the recording."""
PITCH_WINDOW = 640
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0


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


def pitch(waves: Tensor) -> tuple[Tensor, Tensor]:
    """Fundamental frequency in Hz and voicing in [0, 1], each (B, T), from (B, S).

    The highest peak of the autocorrelation of 40 ms, divided by that of the window (Boersma, 1993),
    between 60 and 500 Hz; voicing is the peak's height.
    """
    margin = (PITCH_WINDOW - WINDOW) // 2
    window = torch.hann_window(PITCH_WINDOW)
    frames = functional.pad(waves, (margin, margin)).unfold(-1, PITCH_WINDOW, HOP)
    frames = (frames - frames.mean(-1, keepdim=True)) * window
    correlation = _autocorrelation(frames) / _autocorrelation(window)
    correlation = correlation / (correlation[..., :1] + FLOOR)
    shortest, longest = int(RATE_HZ / HIGHEST_HZ), int(RATE_HZ / LOWEST_HZ)
    # An octave down is as periodic: the shorter of two equal lags wins.
    lags = torch.arange(shortest, longest + 1)
    cost = 0.02 * torch.log2(lags / shortest)
    height, best = (correlation[..., shortest : longest + 1] - cost).max(-1)
    return RATE_HZ / (best + shortest).float(), height.clamp(0, 1)


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


def _autocorrelation(frames: Tensor) -> Tensor:
    size = 2 * PITCH_WINDOW
    whole: Tensor = torch.fft.irfft(torch.fft.rfft(frames, size).abs() ** 2, size)
    return whole[..., :PITCH_WINDOW]


@functools.cache
def _filters() -> Tensor:
    bank = mel_filter_bank(257, MELS, 50.0, RATE_HZ / 2, RATE_HZ, norm=None, mel_scale="htk")
    return torch.from_numpy(bank).float()
