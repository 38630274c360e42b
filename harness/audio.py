"""A corpus's audio as the encoder wants it: cut, standardised, padded, kept in memory if small."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from serbench.harness.backbone import SAMPLE_RATE_HZ
from serbench.harness.environment import cores

if TYPE_CHECKING:
    from serbench.harness.batches import Indices

__all__ = ["Audio", "in_threads", "kept_in_memory", "standardised"]

Wave: TypeAlias = npt.NDArray[np.float32]
Read: TypeAlias = Callable[[list[int]], Iterable[Wave]]


@dataclass(frozen=True)
class Audio:
    """A corpus's audio as the encoder wants it.

    `waveforms` gives each of some utterances i as (samples[i],) float32, in their order; `samples`
    is (N,), after cutting.
    """

    waveforms: Read
    samples: npt.NDArray[np.int64]

    def batch(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S), padded with zeros, and samples (B,)."""
        samples = self.samples[indices]
        waveforms = np.zeros((len(indices), int(samples.max())), np.float32)
        read = self.waveforms(indices.tolist())
        for row, wave, count in zip(waveforms, read, samples, strict=True):
            row[:count] = wave
        return torch.from_numpy(waveforms), torch.from_numpy(samples)

    def seconds(self, indices: Indices) -> tuple[float, float]:
        """Seconds of audio in a batch, and seconds with its padding."""
        samples = self.samples[indices]
        total, longest = int(samples.sum()), int(samples.max())
        return total / SAMPLE_RATE_HZ, longest * len(samples) / SAMPLE_RATE_HZ


KEPT_AUDIO_BYTES = 256 * 2**20
"""Over an hour of audio: a small corpus is decoded once a run, a large one in every epoch."""


def in_threads(read: Callable[[int], Wave], threads: int | None = None) -> Read:
    """Read several utterances at once, by default as many as there are cores.

    Libsndfile and soxr leave the interpreter to others while they work.
    """
    pool = ThreadPoolExecutor(threads or cores(), thread_name_prefix="decode")

    def waveforms(indices: list[int]) -> Iterable[Wave]:
        return pool.map(read, indices)

    return waveforms


def kept_in_memory(read: Read, limit_bytes: int = KEPT_AUDIO_BYTES) -> Read:
    """The same audio, kept as far as there is room, the first that is read.

    Decoding in every epoch would take from the CPU what a run on the CPU computes with.
    """
    kept: dict[int, Wave] = {}
    room_bytes = limit_bytes

    def waveforms(indices: list[int]) -> Iterable[Wave]:
        nonlocal room_bytes
        missing = [index for index in indices if index not in kept]
        found = dict(zip(missing, read(missing), strict=True)) if missing else {}
        for index, wave in found.items():
            if wave.nbytes <= room_bytes:
                room_bytes -= wave.nbytes
                kept[index] = wave
        return [found[index] if index in found else kept[index] for index in indices]

    return waveforms


def standardised(waveform: Wave) -> Wave:
    """Zero mean and unit variance, as `Wav2Vec2FeatureExtractor` does it with `do_normalize`."""
    centred = waveform - waveform.mean()
    scaled: Wave = centred / np.sqrt(waveform.var() + np.float32(1e-7))
    return scaled
