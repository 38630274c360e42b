"""The frozen prefix: the states that enter the first trainable stage, live or from the cache."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from serbench.harness.audio import Audio
from serbench.harness.cache import StateCache
from serbench.harness.convolutions import FrozenConvolutions
from serbench.harness.stages import Stages

if TYPE_CHECKING:
    from serbench.harness.batches import Indices
    from serbench.harness.strategy import Precision

__all__ = ["STATE_DTYPES", "Entering", "Prefix", "Raw", "autocast"]

STATE_DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""What the prefix hands on, cached or not: a run computes in no finer a grain than this."""


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a run of this precision computes."""
    return torch.autocast(device.type, STATE_DTYPES[precision], enabled=precision != "fp32")


@dataclass(frozen=True)
class Raw:
    """A fetched batch: (B, S) waveforms, or (B, T, width) states; `lengths` in the same unit."""

    values: Tensor
    lengths: Tensor
    cached: bool


@dataclass(frozen=True)
class Entering:
    """States (B, T, width) that enter the first trainable stage, and their valid frames (B,)."""

    states: Tensor
    frames: Tensor


class Prefix:
    """Runs, or reads, the stages before `depth`: in eval mode, without gradient, always alike.

    `fill_s` counts the seconds spent on states that were not in the cache yet.
    """

    def __init__(
        self,
        stages: Stages,
        depth: int,
        audio: Audio,
        *,
        device: torch.device,
        precision: Precision,
        cache: StateCache | None,
    ) -> None:
        self.depth = depth
        self.cache = cache
        self.fill_s = 0.0
        self._stages = stages
        self.audio = audio
        self._device = device
        self._precision: Precision = precision
        self._dtype = STATE_DTYPES[precision] if cache is None else getattr(torch, cache.dtype)
        self._convolve = self._convolutions()

    def _convolutions(self) -> Callable[[Tensor, Tensor], Tensor]:
        extractor = self._stages.backbone.convolutions
        if (
            self.depth == 0
            or self._device.type != "cpu"
            or not FrozenConvolutions.covers(extractor)
        ):
            return self._stages.convolve
        return FrozenConvolutions(extractor, self._working_dtype)

    def fetch(self, indices: Indices) -> Raw:
        """Get a batch from the disk; safe in a thread of its own."""
        if self.cache is not None and self.cache.holds(indices.tolist()):
            return self._pinned(Raw(*self.cache.read(indices.tolist()), cached=True))
        return self._pinned(Raw(*self.audio.batch(indices), cached=False))

    def enter(self, indices: Indices, raw: Raw, wait_s: float, *, keep: bool) -> Entering:
        """Bring a fetched batch to the first trainable stage.

        With `depth` 0 nothing is frozen, and the waveforms pass on as they are. `keep` says
        whether states that were computed go into the cache.
        """
        values = raw.values.to(self._device, non_blocking=True)
        if raw.cached:
            return Entering(values.to(self._working_dtype), raw.lengths)
        if self.depth == 0:
            return Entering(values, raw.lengths)
        filling = self.cache is not None and keep
        start = self._clock() if filling else 0.0
        entering = self._compute(values, raw.lengths)
        if filling and self.cache is not None:
            self.cache.write(indices.tolist(), entering.states.cpu())
            self.fill_s += self._clock() - start + wait_s
        return Entering(entering.states.to(self._working_dtype), entering.frames)

    def elsewhere(self, audio: Audio) -> Prefix:
        """The same states of other audio: rounded as the cache rounds, but not kept."""
        other = copy.copy(self)
        other.audio, other.cache, other.fill_s = audio, None, 0.0
        return other

    def imagined(self, utterances: int, frames: int) -> Entering:
        """Noise of so many frames, as it enters from a full cache or, without one, live."""
        lengths = torch.full((utterances,), frames)
        if self.cache is not None:
            states = torch.randn(utterances, frames, self._stages.width(self.depth))
            return Entering(states.to(self._device, self._working_dtype), lengths)
        samples = self._stages.samples(lengths)
        noise = torch.randn(utterances, int(samples[0])).to(self._device)
        if self.depth == 0:
            return Entering(noise, samples)
        return Entering(self._compute(noise, samples).states.to(self._working_dtype), lengths)

    def _pinned(self, raw: Raw) -> Raw:
        """Page-locked, so that the copy to the device need not be waited for."""
        if self._device.type != "cuda":
            return raw
        return Raw(raw.values.pin_memory(), raw.lengths, raw.cached)

    @property
    def written_bytes(self) -> int:
        """What was put into the cache."""
        return 0 if self.cache is None else self.cache.written_bytes

    def close(self) -> None:
        """Let go of the cache."""
        if self.cache is not None:
            self.cache.close()

    @property
    def _working_dtype(self) -> torch.dtype:
        return STATE_DTYPES[self._precision]

    def _clock(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def _compute(self, waveforms: Tensor, samples: Tensor) -> Entering:
        frames = self._stages.frames(samples)
        with torch.no_grad(), autocast(self._device, self._precision):
            states = self._convolve(waveforms, samples)
            if self.depth > 1:
                states = self._stages.run(states, frames, 1, self.depth)
        return Entering(states.to(self._dtype), frames)
