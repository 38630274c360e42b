"""A corpus's audio as the encoder wants it: cut, standardised, padded, kept in memory if small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from serbench.harness.backbone import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from serbench.harness.batches import Indices

__all__ = ["Audio", "kept_in_memory", "standardised"]


@dataclass(frozen=True)
class Audio:
    """A corpus's audio as the encoder wants it.

    `waveform(i)` gives utterance i as (samples[i],) float32; `samples` is (N,), after cutting.
    """

    waveform: Callable[[int], npt.NDArray[np.float32]]
    samples: npt.NDArray[np.int64]

    def batch(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S), padded with zeros, and samples (B,)."""
        samples = self.samples[indices]
        waveforms = np.zeros((len(indices), int(samples.max())), np.float32)
        for row, index, count in zip(waveforms, indices, samples, strict=True):
            row[:count] = self.waveform(int(index))
        return torch.from_numpy(waveforms), torch.from_numpy(samples)

    def seconds(self, indices: Indices) -> tuple[float, float]:
        """Seconds of audio in a batch, and seconds with its padding."""
        samples = self.samples[indices]
        total, longest = int(samples.sum()), int(samples.max())
        return total / SAMPLE_RATE_HZ, longest * len(samples) / SAMPLE_RATE_HZ


KEPT_AUDIO_BYTES = 256 * 2**20
"""Over an hour of audio: a small corpus is decoded once a run, a large one in every epoch."""


def kept_in_memory(
    read: Callable[[int], npt.NDArray[np.float32]], limit_bytes: int = KEPT_AUDIO_BYTES
) -> Callable[[int], npt.NDArray[np.float32]]:
    """The same audio, kept as far as there is room, the first that is read.

    Decoding in every epoch would take from the CPU what a run on the CPU computes with.
    """
    kept: dict[int, npt.NDArray[np.float32]] = {}
    room_bytes = limit_bytes

    def waveform(index: int) -> npt.NDArray[np.float32]:
        nonlocal room_bytes
        if index in kept:
            return kept[index]
        found = read(index)
        if found.nbytes <= room_bytes:
            room_bytes -= found.nbytes
            kept[index] = found
        return found

    return waveform


def standardised(waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Zero mean and unit variance, as `Wav2Vec2FeatureExtractor` does it with `do_normalize`."""
    centred = waveform - waveform.mean()
    scaled: npt.NDArray[np.float32] = centred / np.sqrt(waveform.var() + np.float32(1e-7))
    return scaled
