"""Seconds and bytes: what a phase of a run cost on this device."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from serbench.harness.results import Phase, PhaseName

__all__ = ["Gauge", "Meter"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
SAMPLE_S = 0.02
"""How often the anonymous memory is read; the kernel keeps a peak of the resident memory only."""


@dataclass
class Gauge:
    """What the code inside a phase adds to what the meter sees from outside."""

    audio_s: float = 0.0
    padded_audio_s: float = 0.0
    data_wait_s: float = 0.0
    steps: int = 0
    loss: float | None = None
    aside_s: float = 0.0
    """Wall seconds inside this phase that belong to another one, and are taken off."""


class Meter:
    """Clocks phases on one device and hands each to `emit` when it ends."""

    def __init__(self, device: torch.device, emit: Callable[[Phase], None]) -> None:
        self.device = device
        self._emit = emit
        self._cuda = device.type == "cuda"

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
        with _HostPeak() as host:
            start = time.perf_counter()
            if start_event is not None:
                start_event.record()
            yield gauge
            if end_event is not None:
                end_event.record()
            self.synchronize()
            wall_s = time.perf_counter() - start - gauge.aside_s
        self._emit(
            Phase(
                phase=name,
                epoch=epoch,
                cold=cold,
                wall_s=wall_s,
                # The events cannot leave out what was set aside.
                device_s=None if gauge.aside_s else _elapsed_s(start_event, end_event),
                data_wait_s=gauge.data_wait_s if gauge.steps else None,
                audio_s=gauge.audio_s or None,
                padded_audio_s=gauge.padded_audio_s or None,
                steps=gauge.steps or None,
                loss=gauge.loss,
                peak_vram_bytes=self._peak(torch.cuda.max_memory_allocated),
                peak_reserved_bytes=self._peak(torch.cuda.max_memory_reserved),
                peak_host_bytes=host.resident,
                peak_host_anonymous_bytes=host.anonymous,
            )
        )

    def _event(self) -> torch.cuda.Event | None:
        return torch.cuda.Event(enable_timing=True) if self._cuda else None

    def _peak(self, read: Callable[[torch.device], int]) -> int | None:
        return read(self.device) if self._cuda else None


def _elapsed_s(start: torch.cuda.Event | None, end: torch.cuda.Event | None) -> float | None:
    return None if start is None or end is None else float(start.elapsed_time(end)) / 1000


class _HostPeak:
    """The process's peak resident and anonymous memory while entered; None where not told."""

    resident: int | None = None
    anonymous: int | None = None

    def __enter__(self) -> _HostPeak:
        # Writing 5 resets the peak of the resident memory, see proc(5); not allowed everywhere,
        # and then the peak would be that of the process's whole life.
        try:
            _CLEAR.write_text("5")
            self._reset = True
        except OSError:
            self._reset = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()
        self.resident = _status_bytes("VmHWM") if self._reset else None

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        now = _status_bytes("RssAnon")
        if now is not None:
            self.anonymous = max(self.anonymous or 0, now)


def _status_bytes(field: str) -> int | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None
