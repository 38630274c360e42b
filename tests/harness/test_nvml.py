"""NVML's figures in our units, what becomes of those it does not tell, and which GPU is meant."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NoReturn

import pynvml
import pytest
import torch

from serbench.harness import environment, nvml
from serbench.harness.nvml import Gpu, Others, ProcessMemory, State, opened

OWN = os.getpid()
MEGABYTE = 1_000_000


@dataclass
class Card:
    """What the driver knows of one GPU, in NVML's units."""

    uuid: str = "GPU-aaaa"
    name: str = "H100"
    total: int = 80_000 * MEGABYTE
    used: int = 500 * MEGABYTE
    energy_mj: int = 0
    temperature: int = 50
    clock_mhz: int = 1980
    reasons: int = 0
    compute: list[tuple[int, int | None]] = field(default_factory=list)
    graphics: list[tuple[int, int | None]] = field(default_factory=list)
    forbidden: bool = False


class FakeNvml:
    """The calls of `pynvml` over some cards, with its constants and its errors.

    `fails` maps a call to the error code that it ends with; a handle is the card itself.
    """

    def __init__(self, *cards: Card, instances: tuple[Card, ...] = ()) -> None:
        self.fails: dict[str, int] = {}
        self.opened = 0
        by_uuid = {card.uuid: card for card in (*cards, *instances)}
        self._calls: dict[str, Callable[..., Any]] = {
            "nvmlDeviceGetCount": lambda: len(cards),
            "nvmlDeviceGetHandleByIndex": lambda index: self._allowed(cards[index]),
            "nvmlDeviceGetHandleByUUID": lambda uuid: by_uuid.get(uuid) or self._fail("NOT_FOUND"),
            "nvmlDeviceGetUUID": lambda card: card.uuid,
            "nvmlDeviceGetName": lambda card: card.name,
            "nvmlDeviceGetMemoryInfo": lambda card: card,
            "nvmlDeviceGetTotalEnergyConsumption": lambda card: card.energy_mj,
            "nvmlDeviceGetTemperature": lambda card, sensor: [card.temperature][sensor],
            "nvmlDeviceGetTemperatureV": lambda card, sensor: [card.temperature][sensor],
            "nvmlDeviceGetClockInfo": lambda card, kind: [0, card.clock_mhz][kind],
            "nvmlDeviceGetCurrentClocksEventReasons": lambda card: card.reasons,
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda card: card.reasons,
            "nvmlDeviceGetComputeRunningProcesses_v3": lambda card: listed(card.compute),
            "nvmlDeviceGetComputeRunningProcesses_v2": lambda card: listed(card.compute),
            "nvmlDeviceGetGraphicsRunningProcesses_v3": lambda card: listed(card.graphics),
            "nvmlDeviceGetGraphicsRunningProcesses_v2": lambda card: listed(card.graphics),
            "nvmlSystemGetDriverVersion": lambda: "580.1",
        }
        assert all(hasattr(pynvml, name) for name in self._calls)

    def nvmlInit(self) -> None:  # noqa: N802
        if "nvmlInit" in self.fails:
            raise pynvml.NVMLError(self.fails["nvmlInit"])
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def __getattr__(self, name: str) -> Any:
        if name.startswith("NVML"):
            return getattr(pynvml, name)
        if name not in self._calls:
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            if not self.opened:
                self._fail("UNINITIALIZED")
            if name in self.fails:
                raise pynvml.NVMLError(self.fails[name])
            return self._calls[name](*arguments)

        return call

    def fail(self, *parts: str, code: str = "NOT_SUPPORTED") -> None:
        """Let every call whose name has one of these parts end with an error."""
        for name in ("nvmlInit", *self._calls):
            if any(part in name for part in parts):
                self.fails[name] = getattr(pynvml, f"NVML_ERROR_{code}")

    def _allowed(self, card: Card) -> Card:
        return self._fail("NO_PERMISSION") if card.forbidden else card

    def _fail(self, code: str) -> NoReturn:
        raise pynvml.NVMLError(getattr(pynvml, f"NVML_ERROR_{code}"))


def listed(processes: list[tuple[int, int | None]]) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in processes]


Install = Callable[..., FakeNvml]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts cards into the machine, all of them visible and all their processes too."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr(nvml, "_in_initial_pid_namespace", lambda: True)

    def put(*cards: Card, instances: tuple[Card, ...] = ()) -> FakeNvml:
        fake = FakeNvml(*cards, instances=instances)
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        return fake

    return put


def ask(read: Callable[[Gpu], Any]) -> Any:
    with opened("cuda:0") as gpu:
        assert gpu is not None
        return read(gpu)


def count_others(*, cuda_started: bool) -> Others | None:
    found: Others | None = ask(lambda gpu: gpu.others(cuda_started=cuda_started))
    return found


def test_figures_are_in_our_units(install: Install) -> None:
    card = Card(energy_mj=2500, used=7 * MEGABYTE, compute=[(OWN, 5 * MEGABYTE)])
    install(card)
    assert ask(Gpu.energy_j) == 2.5
    assert ask(Gpu.used_bytes) == 7 * MEGABYTE
    assert ask(Gpu.process_bytes) == 5 * MEGABYTE
    assert ask(Gpu.state) == State(50, 1_980_000_000, ())


@pytest.mark.parametrize("code", ["NOT_SUPPORTED", "NO_PERMISSION", "GPU_IS_LOST", "UNKNOWN"])
def test_what_the_gpu_does_not_tell_is_none(install: Install, code: str) -> None:
    fake = install(Card(compute=[(OWN, 1)]))
    told = ("Energy", "MemoryInfo", "Temperature", "Clock", "Processes")
    fake.fail(*told, code=code)
    for read in (Gpu.energy_j, Gpu.used_bytes, Gpu.process_bytes):
        assert ask(read) is None
    assert ask(Gpu.state) == State(None, None, None)
    assert ask(Gpu.state).throttled is None
    assert count_others(cuda_started=False) is None
    assert ask(lambda gpu: ProcessMemory(gpu).read()) is None


def test_one_figure_that_is_missing_leaves_the_others(install: Install) -> None:
    install(Card(energy_mj=1000)).fail("Temperature")
    assert ask(Gpu.state) == State(None, 1_980_000_000, ())
    assert ask(Gpu.energy_j) == 1.0


def test_older_drivers_are_asked_by_older_names(install: Install) -> None:
    fake = install(Card(compute=[(OWN, 9)], reasons=4))
    fake.fail("TemperatureV", "EventReasons", "_v3", code="FUNCTION_NOT_FOUND")
    assert ask(Gpu.process_bytes) == 9
    assert ask(Gpu.state) == State(50, 1_980_000_000, ("power cap",))


def test_nothing_is_told_once_it_is_closed(install: Install) -> None:
    fake = install(Card(energy_mj=1000))
    with opened("cuda:0") as gpu:
        assert fake.opened == 1
    assert fake.opened == 0
    assert gpu is not None
    assert gpu.energy_j() is None


@pytest.mark.parametrize("code", ["LIBRARY_NOT_FOUND", "DRIVER_NOT_LOADED", "NO_PERMISSION"])
def test_without_a_driver_there_is_no_gpu(install: Install, code: str) -> None:
    install(Card()).fail("nvmlInit", code=code)
    with opened("cuda:0") as gpu:
        assert gpu is None
    assert nvml.gpus() == ([], None)


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda:1"])
def test_other_devices_are_no_gpu_of_nvml(install: Install, device: str) -> None:
    install(Card())
    with opened(device) as gpu:
        assert gpu is None


def test_process_memory_is_the_processes_own_where_nvml_lists_it(install: Install) -> None:
    card = Card(used=500)
    install(card)
    with opened("cuda:0") as gpu:
        assert gpu is not None
        memory = ProcessMemory(gpu)
        assert (memory.read(), memory.source) == (0, "device delta")
        card.used, card.compute = 900, [(1, 100), (OWN, 300)]
        assert (memory.read(), memory.source) == (300, "process")
        card.compute = []
        assert (memory.read(), memory.source) == (None, "process"), "no mixture of two measures"


@pytest.mark.parametrize(
    "compute", [[], [(OWN + 1, 300)], [(OWN, None)], [(OWN, 0)]], ids=["hidden", "host", "NA", "0"]
)
def test_process_memory_is_a_delta_where_nvml_does_not(
    install: Install, compute: list[tuple[int, int | None]]
) -> None:
    card = Card(used=500)
    install(card)
    with opened("cuda:0") as gpu:
        assert gpu is not None
        memory = ProcessMemory(gpu)
        card.used, card.compute = 900, compute
        assert (memory.read(), memory.source) == (400, "device delta")
        card.used = 100
        assert memory.read() == 0


def test_others_are_counted_once_and_without_this_process(install: Install) -> None:
    install(Card(compute=[(OWN, 7), (1, 10), (2, 20)], graphics=[(OWN, 7), (2, 20), (3, 5)]))
    assert count_others(cuda_started=True) == Others(3, 35)


def test_others_whose_bytes_are_not_told_are_counted_all_the_same(install: Install) -> None:
    install(Card(compute=[(1, 10), (2, None)]))
    assert count_others(cuda_started=False) == Others(2, None)


def test_nobody_else_is_an_answer(install: Install) -> None:
    install(Card(compute=[(OWN, 7)])).fail("Graphics")
    assert count_others(cuda_started=True) == Others(0, 0)


def test_a_process_that_may_be_this_one_is_not_counted_as_another(install: Install) -> None:
    install(Card(compute=[(4711, 7)]))
    assert count_others(cuda_started=False) == Others(1, 7)
    assert count_others(cuda_started=True) is None


def test_in_a_container_nobody_listed_does_not_mean_nobody(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "_in_initial_pid_namespace", lambda: False)
    card = Card()
    install(card)
    assert count_others(cuda_started=False) is None
    card.compute = [(OWN, 7)]
    assert count_others(cuda_started=True) is None
    card.compute = [(OWN, 7), (2, 9)]
    assert count_others(cuda_started=True) == Others(1, 9)


CARDS = tuple(Card(uuid=f"GPU-{name}", energy_mj=1000 * place) for place, name in enumerate("abc"))


@pytest.mark.parametrize(
    ("visible", "places"),
    [
        (None, [0, 1, 2]),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        ("1,", [1]),
        ("GPU-c,GPU-a", [2, 0]),
        ("", []),
        ("-1", []),
        ("none", []),
        ("0,2,-1,1", [0, 2]),
        ("0,7,1", [0]),
        ("GPU-b,GPU-x,GPU-a", [1]),
        ("GPU-", []),
        ("1,1", []),
    ],
)
def test_gpus_come_in_the_order_of_cuda_visible_devices(
    install: Install, monkeypatch: pytest.MonkeyPatch, visible: str | None, places: list[int]
) -> None:
    install(*CARDS)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = []
    for index in range(len(CARDS)):
        with opened(f"cuda:{index}") as gpu:
            if gpu is not None:
                found.append(gpu.energy_j())
    assert found == places
    assert len(nvml.gpus()[0]) == len(places)


def test_a_uuid_may_be_shortened_as_far_as_it_is_one_gpus_alone(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(Card(uuid="GPU-12ab", total=1), Card(uuid="GPU-12cd", total=2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-12c")
    assert nvml.gpus() == ([("H100", 2)], "580.1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-12")
    assert nvml.gpus()[0] == []


def test_of_mig_instances_the_first_is_used(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    instances = Card(uuid="MIG-1", name="MIG", total=5), Card(uuid="MIG-2", name="MIG", total=6)
    install(Card(), instances=instances)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-2,MIG-1")
    assert nvml.gpus()[0] == [("MIG", 6)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-3")
    assert nvml.gpus()[0] == []


def test_gpus_that_this_process_may_not_use_are_not_counted(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(Card(forbidden=True), Card(total=1), Card(total=2))
    assert nvml.gpus()[0] == [("H100", 1), ("H100", 2)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert nvml.gpus()[0] == [("H100", 2)]


def test_an_index_says_nothing_where_cuda_may_count_otherwise(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(Card(uuid="GPU-slow", name="T4"), Card(uuid="GPU-fast", name="H100"))
    with opened("cuda:0") as gpu:
        assert gpu is None
    for variable, value in (
        ("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
        ("CUDA_VISIBLE_DEVICES", "GPU-fast"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            with opened("cuda:0") as gpu:
                assert gpu is not None


def test_a_machine_is_stored_with_its_gpus(install: Install) -> None:
    install(*CARDS).fail("MemoryInfo")
    found = environment.machine()
    assert (found["gpu"], found["gpu_count"], found["driver"]) == ("H100", 3, "580.1")
    assert found["gpu_memory_bytes"] is None


@pytest.mark.parametrize(
    ("bit", "text"),
    [
        ("SwPowerCap", "power cap"),
        ("HwSlowdown", "hardware slowdown"),
        ("SwThermalSlowdown", "thermal slowdown by the driver"),
        ("HwThermalSlowdown", "thermal slowdown by the hardware"),
        ("HwPowerBrakeSlowdown", "power brake"),
        ("GpuIdle", ""),
        ("ApplicationsClocksSetting", ""),
        ("SyncBoost", ""),
        ("DisplayClockSetting", ""),
        ("None", ""),
    ],
)
def test_what_throttles(install: Install, bit: str, text: str) -> None:
    install(Card(reasons=getattr(pynvml, f"nvmlClocksEventReason{bit}")))
    assert ask(Gpu.state).throttled == text


def test_several_reasons_are_all_named(install: Install) -> None:
    install(Card(reasons=0x1 | 0x4 | 0x40))
    assert ask(Gpu.state).throttled == "power cap, thermal slowdown by the hardware"


def test_the_worst_of_two_states() -> None:
    cool = State(40, 1_980_000_000, ("power brake",))
    hot = State(80, 900_000_000, ("power cap", "power brake"))
    untold = State(None, None, None)
    assert cool.worst(hot) == hot.worst(cool) == hot
    assert untold.worst(cool) == cool.worst(untold) == cool
    assert untold.worst(untold) == untold


@pytest.mark.cuda
def test_a_real_gpu() -> None:
    torch.cuda.empty_cache()
    with opened("cuda:0") as gpu:
        if gpu is None:
            pytest.skip("NVML cannot tell which GPU cuda:0 is")
        memory, before_j = ProcessMemory(gpu), gpu.energy_j()
        held = torch.ones(400 * MEGABYTE, dtype=torch.uint8, device="cuda:0")
        torch.cuda.synchronize()
        found, after_j, state = memory.read(), gpu.energy_j(), gpu.state()
        used, others = gpu.used_bytes(), gpu.others(cuda_started=True)
        del held
        assert found is not None
        assert found >= 400 * MEGABYTE
        if before_j is not None:
            assert after_j is not None
            assert 0 <= after_j - before_j < 1e5
        assert state.temperature_c is None or 0 < state.temperature_c < 120
        assert state.clock_hz is None or 1e8 < state.clock_hz < 1e10
        if used is not None and others is not None:
            assert (others.held_bytes or 0) <= used
