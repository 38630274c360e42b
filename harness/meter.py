"""Seconds, bytes and joules: what a phase of a run cost on this device."""

from __future__ import annotations

import contextlib
import resource
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from serbench.harness.nvml import Gpu, ProcessMemory, State
from serbench.harness.results import Phase, PhaseName

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Gauge", "Meter"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_PAGES = Path("/proc/self/statm")
_PAGE_BYTES = resource.getpagesize()
SAMPLE_S = 0.05
"""How often the anonymous memory is read; the kernel keeps a peak of the resident memory only. Each
look takes a core from the training for a moment: at 20 ms it cost 2 % of a short step."""
GPU_SAMPLE_S = 0.1
"""How often NVML is asked, which takes a few calls into the driver."""


@dataclass
class Gauge:
    """What the code inside a phase adds to what the meter sees from outside."""

    audio_s: float = 0.0
    padded_audio_s: float = 0.0
    data_wait_s: float = 0.0
    steps: int = 0
    flops: float | None = None
    loss: float | None = None
    aside_s: float = 0.0
    """Wall seconds inside this phase that belong to another one, and are taken off."""


class Meter:
    """Clocks phases on one device and hands each to `emit` when it ends."""

    def __init__(
        self, device: torch.device, emit: Callable[[Phase], None], gpu: Gpu | None = None
    ) -> None:
        self.device = device
        self._emit = emit
        self._cuda = device.type == "cuda"
        self._gpu = gpu
        self.process_memory = None if gpu is None else ProcessMemory(gpu)

    def synchronize(self) -> None:
        """Wait until the device has done all it was given."""
        if self._cuda:
            torch.cuda.synchronize(self.device)

    def emit(self, phase: Phase) -> None:
        """Hand on a phase that was clocked inside another."""
        self._emit(phase)

    @contextlib.contextmanager
    def phase(
        self, name: PhaseName, epoch: int | None = None, cold: bool = False
    ) -> Iterator[Gauge]:
        """Clock what happens inside; a phase that raises is not a measurement and is dropped."""
        gauge = Gauge()
        self.synchronize()
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        start_event, end_event = self._event(), self._event()
        energy_j = self._energy_j()
        with _HostPeak() as host, _GpuPeak(self._gpu, self.process_memory) as gpu:
            start = time.perf_counter()
            if start_event is not None:
                start_event.record()
            yield gauge
            if end_event is not None:
                end_event.record()
            self.synchronize()
            wall_s = time.perf_counter() - start - gauge.aside_s
        # Neither events nor the counter can leave out what was set aside.
        undivided = not gauge.aside_s
        self._emit(
            Phase(
                phase=name,
                epoch=epoch,
                cold=cold,
                wall_s=wall_s,
                device_s=_elapsed_s(start_event, end_event) if undivided else None,
                data_wait_s=gauge.data_wait_s if gauge.steps else None,
                audio_s=gauge.audio_s or None,
                padded_audio_s=gauge.padded_audio_s or None,
                steps=gauge.steps or None,
                loss=gauge.loss,
                peak_vram_bytes=self._peak(torch.cuda.max_memory_allocated),
                peak_reserved_bytes=self._peak(torch.cuda.max_memory_reserved),
                peak_host_bytes=host.resident,
                peak_host_anonymous_bytes=host.anonymous,
                flops=gauge.flops,
                energy_j=_difference(energy_j, self._energy_j()) if undivided else None,
                peak_process_vram_bytes=gpu.process_bytes,
                gpu_temperature_c=gpu.state.temperature_c,
                gpu_clock_hz=gpu.state.clock_hz,
                gpu_throttled=gpu.state.throttled,
            )
        )

    def _event(self) -> torch.cuda.Event | None:
        return torch.cuda.Event(enable_timing=True) if self._cuda else None

    def _energy_j(self) -> float | None:
        return None if self._gpu is None else self._gpu.energy_j()

    def _peak(self, read: Callable[[torch.device], int]) -> int | None:
        return read(self.device) if self._cuda else None


def _elapsed_s(start: torch.cuda.Event | None, end: torch.cuda.Event | None) -> float | None:
    return None if start is None or end is None else float(start.elapsed_time(end)) / 1000


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


class _Sampler(ABC):
    """Calls `_sample` every `interval_s` in a thread of its own while entered, and at the end."""

    interval_s = SAMPLE_S

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def _watch(self) -> None:
        while not self._stop.wait(self.interval_s):
            self._sample()

    @abstractmethod
    def _sample(self) -> None: ...


class _GpuPeak(_Sampler):
    """What NVML says of the GPU at the worst moment while entered, not of idleness before."""

    interval_s = GPU_SAMPLE_S

    def __init__(self, gpu: Gpu | None, memory: ProcessMemory | None) -> None:
        self._gpu, self._memory = gpu, memory
        self.process_bytes: int | None = None
        self.state = State(None, None, None)

    def __enter__(self) -> Self:
        return self if self._gpu is None else super().__enter__()

    def __exit__(self, *_: object) -> None:
        if self._gpu is not None:
            super().__exit__()

    def _sample(self) -> None:
        assert self._gpu is not None
        assert self._memory is not None
        held = self._memory.read()
        if held is not None:
            self.process_bytes = max(self.process_bytes or 0, held)
        self.state = self.state.worst(self._gpu.state())


class _HostPeak(_Sampler):
    """The process's peak resident and anonymous memory while entered; None where not told."""

    resident: int | None = None
    anonymous: int | None = None

    def __enter__(self) -> Self:
        # Writing 5 resets the peak of the resident memory, see proc(5); not allowed everywhere,
        # and then the peak would be that of the process's whole life.
        try:
            _CLEAR.write_text("5")
            self._reset = True
        except OSError:
            self._reset = False
        self._sample()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.resident = _peak_resident_bytes() if self._reset else None

    def _sample(self) -> None:
        with contextlib.suppress(OSError):
            resident, of_files = _PAGES.read_bytes().split()[1:3]
            now = (int(resident) - int(of_files)) * _PAGE_BYTES
            self.anonymous = max(self.anonymous or 0, now)


def _peak_resident_bytes() -> int | None:
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
