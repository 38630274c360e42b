"""What NVML tells of an NVIDIA GPU, and which of its GPUs a torch device is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["Gpu", "MemorySource", "Others", "ProcessMemory", "State", "gpus", "opened"]

MemorySource = Literal["process", "device delta"]

_HARMFUL = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal slowdown by the driver",
    0x40: "thermal slowdown by the hardware",
    0x80: "power brake",
}
"""Bits of nvmlClocksEventReasons in nvml.h that hold a busy GPU back against the user's wish. Left
out are those that somebody set (application clocks, sync boost, display clocks) and idleness."""
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""PROC_PID_INIT_INO in Linux's include/linux/proc_ns.h."""


@dataclass(frozen=True)
class Others:
    """Other processes that hold memory on a GPU.

    `held_bytes` is None where NVML lists a process without its memory.
    """

    processes: int
    held_bytes: int | None


@dataclass(frozen=True)
class State:
    """How a GPU does at one moment, or at the worst of several; None for what is not told.

    `clock_hz` is the SM clock. `reasons` say why the clock is held back against the user's wish,
    and are empty if it is not.
    """

    temperature_c: int | None
    clock_hz: int | None
    reasons: tuple[str, ...] | None

    @property
    def throttled(self) -> str | None:
        """The reasons as a text, empty if there are none."""
        return None if self.reasons is None else ", ".join(self.reasons)

    def worst(self, other: State) -> State:
        """The higher temperature, the lower clock and the reasons of both."""
        reasons = [*(self.reasons or ()), *(other.reasons or ())]
        told = self.reasons is not None or other.reasons is not None
        return State(
            max(_told(self.temperature_c, other.temperature_c), default=None),
            min(_told(self.clock_hz, other.clock_hz), default=None),
            tuple(text for text in _HARMFUL.values() if text in reasons) if told else None,
        )


class Gpu:
    """One GPU or MIG instance while NVML is open, see `opened`.

    A figure that the GPU does not support, or that this user may not read, is None. Methods may be
    called from any thread.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def energy_j(self) -> float | None:
        """Joules that the whole GPU has taken since its driver was loaded; None before Volta.

        Source: nvmlDeviceGetTotalEnergyConsumption, in mJ.
        """
        energy_mj = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if energy_mj is None else energy_mj / 1000

    def used_bytes(self) -> int | None:
        """Bytes in use on the GPU, by all processes and by the driver itself."""
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        return None if memory is None else int(memory.used)

    def process_bytes(self) -> int | None:
        """Bytes that this process holds on the GPU, its CUDA context included.

        None where NVML does not list this process, or lists it without its memory: before CUDA
        has started, in most containers, and under WDDM.
        """
        return _held(self._processes("Compute") or []).get(os.getpid())

    def others(self, *, cuda_started: bool) -> Others | None:
        """Other processes on the GPU, computing or drawing; None where that cannot be known.

        In a PID namespace of its own, as in a container, a process is known to NVML by a number
        that it does not know itself, or is hidden from it. So there is no answer once this
        process has started CUDA without NVML knowing it by its number, for it may be one of those
        listed; nor if none is listed and processes outside the namespace may be hidden. A number
        that is given there is the least that it can be.

        Args:
            cuda_started: whether this process has started CUDA, and so may be listed.
        """
        listed = self._processes("Compute")
        if listed is None:
            return None
        held = _held([*listed, *(self._processes("Graphics") or [])])
        if cuda_started and os.getpid() not in held:
            return None
        held.pop(os.getpid(), None)
        if not held and not _in_initial_pid_namespace():
            return None
        told = [size for size in held.values() if size is not None]
        return Others(len(held), sum(told) if len(told) == len(held) else None)

    def state(self) -> State:
        """Temperature in °C, SM clock in Hz, and why the clock is held back."""
        nvml = self._nvml
        clock_mhz = self._ask("nvmlDeviceGetClockInfo", arguments=[nvml.NVML_CLOCK_SM])
        bits = self._ask(
            "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
        )
        return State(
            self._ask(
                "nvmlDeviceGetTemperatureV",
                "nvmlDeviceGetTemperature",
                arguments=[nvml.NVML_TEMPERATURE_GPU],
            ),
            None if clock_mhz is None else clock_mhz * 1_000_000,
            None
            if bits is None
            else tuple(reason for bit, reason in _HARMFUL.items() if bits & bit),
        )

    def _processes(self, kind: Literal["Compute", "Graphics"]) -> list[Any] | None:
        listed: list[Any] | None = self._ask(
            *(f"nvmlDeviceGet{kind}RunningProcesses_{version}" for version in ("v3", "v2"))
        )
        return listed

    def _ask(self, *names: str, arguments: Sequence[Any] = ()) -> Any:
        return _ask(self._nvml, names, self._handle, *arguments)


class ProcessMemory:
    """Bytes that this process holds on a GPU, to be read while it works.

    `source` is "process" once NVML has listed this process, which it can when CUDA has started.
    Until then, and for good where NVML does not know it, `source` is "device delta": bytes in use
    on the GPU beyond those in use when this object was made, whoever holds them. So make it
    before CUDA starts.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._before_bytes = gpu.used_bytes()
        self.source: MemorySource = "device delta"

    def read(self) -> int | None:
        """Bytes held now, by `source`; None where they are not told."""
        held = self._gpu.process_bytes()
        if held is not None:
            self.source = "process"
        if self.source == "process":
            return held
        used = self._gpu.used_bytes()
        if used is None or self._before_bytes is None:
            return None
        return max(0, used - self._before_bytes)


@contextlib.contextmanager
def opened(device: str) -> Iterator[Gpu | None]:
    """The GPU that torch calls `device`, as in "cuda:0", with NVML open.

    None for another kind of device, without NVML, if CUDA_VISIBLE_DEVICES hides it, and where NVML
    cannot tell which one is meant: CUDA counts unlike GPUs by speed, unless CUDA_DEVICE_ORDER is
    PCI_BUS_ID or CUDA_VISIBLE_DEVICES names them by UUID.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda":
        yield None
        return
    with _library() as nvml:
        visible = _visible(nvml) if nvml is not None and _order_is_known(nvml) else []
        place = int(index or 0)
        yield Gpu(nvml, visible[place]) if place < len(visible) else None


def gpus() -> tuple[list[tuple[str | None, int | None]], str | None]:
    """Name and total bytes of each GPU that may be used, and the driver's version."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return [], None
    with _library() as nvml:
        if nvml is None:
            return [], None
        named = [(_name(nvml, h), _total_bytes(nvml, h)) for h in _visible(nvml)]
        return named, _ask(nvml, ["nvmlSystemGetDriverVersion"])


@contextlib.contextmanager
def _library() -> Iterator[Any]:
    """NVML, or None where there is no NVIDIA driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _ask(nvml: Any, names: Iterable[str], *arguments: Any) -> Any:
    """What the first of these functions that gives an answer says; None if none does."""
    for name in names:
        with contextlib.suppress(nvml.NVMLError, AttributeError):
            return getattr(nvml, name)(*arguments)
    return None


def _name(nvml: Any, handle: Any) -> str | None:
    name: str | None = _ask(nvml, ["nvmlDeviceGetName"], handle)
    return name


def _total_bytes(nvml: Any, handle: Any) -> int | None:
    memory = _ask(nvml, ["nvmlDeviceGetMemoryInfo"], handle)
    return None if memory is None else int(memory.total)


def _handles(nvml: Any) -> list[Any]:
    """All GPUs that this process has access to; NVML counts the others too."""
    count = _ask(nvml, ["nvmlDeviceGetCount"]) or 0
    found = (_ask(nvml, ["nvmlDeviceGetHandleByIndex"], index) for index in range(count))
    return [handle for handle in found if handle is not None]


def _visible(nvml: Any) -> list[Any]:
    """The GPUs in the order of CUDA_VISIBLE_DEVICES, read as CUDA reads it.

    What follows an entry that names no GPU is not seen, a GPU that is named twice hides all, and
    of several MIG instances CUDA takes the first. See the CUDA programming guide, environment
    variables.
    """
    handles = _handles(nvml)
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return handles
    words = [word.strip() for word in named.split(",")]
    if words[0].startswith("MIG-"):
        instance = _ask(nvml, ["nvmlDeviceGetHandleByUUID"], words[0])
        return [] if instance is None else [instance]
    uuids = [_ask(nvml, ["nvmlDeviceGetUUID"], handle) or "" for handle in handles]
    places: list[int] = []
    for word in words:
        place = _place(word, uuids)
        if place is None:
            break
        places.append(place)
    return [handles[place] for place in places] if len({*places}) == len(places) else []


def _place(word: str, uuids: Sequence[str]) -> int | None:
    """The GPU that an index, a UUID or the beginning of one names."""
    if word.isdecimal():
        return int(word) if int(word) < len(uuids) else None
    if not word.startswith("GPU-"):
        return None
    places = [place for place, uuid in enumerate(uuids) if uuid.startswith(word)]
    return places[0] if len(places) == 1 else None


def _order_is_known(nvml: Any) -> bool:
    """Whether CUDA and NVML, which counts along the bus, give a GPU the same index."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "").startswith(("GPU-", "MIG-")):
        return True
    in_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    return in_order or len({_name(nvml, handle) for handle in _handles(nvml)}) == 1


def _held(processes: Iterable[Any]) -> dict[int, int | None]:
    """Bytes by process, each counted once; None where not told.

    Some drivers tell 0 in a container, though nothing is listed that holds nothing.
    """
    held: dict[int, int | None] = {}
    for process in processes:
        size = max(process.usedGpuMemory or 0, held.get(process.pid) or 0)
        held[process.pid] = size or None
    return held


def _in_initial_pid_namespace() -> bool:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == _INITIAL_PID_NAMESPACE
    except OSError:
        return True


def _told(*figures: int | None) -> list[int]:
    return [figure for figure in figures if figure is not None]
