"""Seconds and bytes: their units, what is inside a phase and what is not."""

from __future__ import annotations

import mmap
import time

import numpy as np
import pytest
import torch

from serbench.harness.meter import Meter
from serbench.harness.nvml import State
from serbench.harness.results import Phase

CPU = torch.device("cpu")
MEGABYTE = 1_000_000


def clocked(seconds: float = 0.0, aside_s: float = 0.0, megabytes: int = 0) -> Phase:
    phases: list[Phase] = []
    with Meter(CPU, phases.append).phase("train", 1) as gauge:
        held = fresh(megabytes * MEGABYTE)
        time.sleep(seconds)
        gauge.aside_s = aside_s
        gauge.steps, gauge.audio_s, gauge.loss = 3, 12.5, 0.25
        del held
    (phase,) = phases
    return phase


def fresh(count: int) -> mmap.mmap:
    """So many bytes by which the process grows: an allocator may have kept what others freed."""
    held = mmap.mmap(-1, count or 1, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    np.frombuffer(held, np.uint8)[:] = 1
    return held


def test_wall_time_is_in_seconds_without_what_was_set_aside() -> None:
    start = time.perf_counter()
    phase = clocked(seconds=0.2, aside_s=0.15)
    outer_s = time.perf_counter() - start
    assert 0.2 <= phase.wall_s + 0.15 <= outer_s


def test_what_the_code_counted_is_handed_on() -> None:
    phase = clocked()
    assert (phase.phase, phase.epoch, phase.cold) == ("train", 1, False)
    assert (phase.steps, phase.audio_s, phase.loss, phase.data_wait_s) == (3, 12.5, 0.25, 0.0)


def test_a_phase_that_raises_is_no_measurement() -> None:
    phases: list[Phase] = []
    with pytest.raises(ZeroDivisionError), Meter(CPU, phases.append).phase("train"):
        _ = 1 / 0
    assert phases == []


def test_host_peaks_are_in_bytes_and_of_the_phase_alone() -> None:
    small, large, after = clocked(), clocked(seconds=0.3, megabytes=300), clocked()
    for field in ("peak_host_bytes", "peak_host_anonymous_bytes"):
        before, peak, later = (getattr(phase, field) for phase in (small, large, after))
        if before is None:
            pytest.skip(f"this system does not tell {field}")
        assert 250 * MEGABYTE < peak - before < 400 * MEGABYTE
        assert later - before < 100 * MEGABYTE, "the peak was not reset"


def test_what_a_cpu_has_not_is_not_measured() -> None:
    phase = clocked()
    assert phase.device_s is None
    assert phase.peak_vram_bytes is None
    assert phase.peak_reserved_bytes is None


class FakeGpu:
    """A GPU that takes 50 J between any two looks, and gets hotter and slower with each."""

    def __init__(self) -> None:
        self.taken_j, self.looks = 1000.0, 0

    def energy_j(self) -> float:
        self.taken_j += 50.0
        return self.taken_j

    def process_bytes(self) -> int:
        return 7 * MEGABYTE

    def used_bytes(self) -> int:
        return 9 * MEGABYTE

    def state(self) -> State:
        self.looks += 1
        return State(60 + self.looks, 2_000_000_000 - self.looks, ("power cap",))


def test_what_nvml_tells_is_of_the_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    phases: list[Phase] = []
    gpu = FakeGpu()
    meter = Meter(CPU, phases.append, gpu)  # type: ignore[arg-type]
    with meter.phase("train"):
        time.sleep(0.25)
    (phase,) = phases
    assert phase.energy_j == 50.0
    assert phase.peak_process_vram_bytes == 7 * MEGABYTE
    assert phase.gpu_temperature_c == 60 + gpu.looks, "the highest"
    assert phase.gpu_clock_hz == 2_000_000_000 - gpu.looks, "the lowest"
    assert gpu.looks >= 2, "it is asked while the phase goes on"
    assert phase.gpu_throttled == "power cap"
    assert meter.process_memory is not None
    assert meter.process_memory.source == "process"


def test_energy_cannot_be_divided_by_what_was_set_aside() -> None:
    phases: list[Phase] = []
    with Meter(CPU, phases.append, FakeGpu()).phase("train") as gauge:  # type: ignore[arg-type]
        gauge.aside_s = 0.01
    assert phases[0].energy_j is None


@pytest.mark.cuda
def test_device_seconds_and_vram() -> None:
    device = torch.device("cuda:0")
    phases: list[Phase] = []
    meter = Meter(device, phases.append)
    for megabytes in (400, 1):
        with meter.phase("train"):
            held = torch.ones(megabytes * MEGABYTE, dtype=torch.uint8, device=device)
            for _ in range(10):
                held = held + 1
            del held
    large, small = phases
    assert large.peak_vram_bytes is not None
    assert small.peak_vram_bytes is not None
    assert large.peak_vram_bytes >= 800 * MEGABYTE > small.peak_vram_bytes
    assert large.device_s is not None
    assert 0 < large.device_s <= large.wall_s * 1.05
