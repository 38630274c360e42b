"""A run on each kind of device that is here: what is measured, and that no step waits for it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from serbench.harness import nvml, worker
from serbench.harness.plan import Spec
from serbench.harness.request import Request, plan
from serbench.harness.results import Phase, Result
from serbench.harness.runner import Runner
from serbench.harness.strategy import parse
from serbench.harness.trainer import Trainer

pytestmark = pytest.mark.slow

CPU, CUDA = "cpu", "cuda:0"
LAYERS = "top-layers:layers=3"
STEPS = 4

on_cuda = pytest.mark.cuda
every_device = pytest.mark.parametrize("device", [CPU, pytest.param(CUDA, marks=on_cuda)])
every_kind = pytest.mark.parametrize(
    ("device", "label"),
    [
        pytest.param(device, f"{LAYERS}{axes}", marks=marks)
        for device, marks in ((CPU, ()), (CUDA, on_cuda))
        for axes in ("", "+bf16", "+cache", "+bf16+cache")
    ]
    + [pytest.param(CUDA, f"{LAYERS}{axes}", marks=on_cuda) for axes in ("+fp16", "+fp16+cache")],
)
Ran = Callable[..., Result]


def spec_of(label: str, device: str, steps: int = STEPS, batch: int = 4, **changes: Any) -> Spec:
    request = Request(
        specs=(label,),
        corpus=f"generated=speakers=3,utterances={steps * batch}",
        settings={"epochs": "2", "batch_size": str(batch)},
        device=device,
    )
    return dataclasses.replace(plan(request).specs[0], fresh_cache=True, **changes)


@pytest.fixture(scope="module")
def ran(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Carries a run out in a process of its own, each one once."""
    known: dict[tuple[str, str, int], Result] = {}
    caches = str(tmp_path_factory.mktemp("caches"))

    def run(label: str, device: str, repeat: int = 0) -> Result:
        key = label, device, repeat
        if key not in known:
            spec = spec_of(label, device, repeat=repeat, cache_dir=caches)
            known[key] = runner.run(spec, lambda _: None)
        assert known[key].status == "ok", known[key].message
        return known[key]

    return run


def training(result: Result) -> list[Phase]:
    return [phase for phase in result.phases if phase.phase == "train"]


@every_kind
def test_a_run_tells_what_its_device_can_tell(device: str, label: str, ran: Ran) -> None:
    result = ran(label, device)
    cold, warm = training(result)
    for phase in (cold, warm):
        assert phase.steps == STEPS
        assert phase.loss is not None
        assert math.isfinite(phase.loss)
        assert phase.flops
        assert phase.flops > 0
        on_device = (phase.peak_vram_bytes, phase.peak_reserved_bytes)
        if device == CPU:
            assert (phase.device_s, *on_device) == (None, None, None)
            continue
        assert result.footprint is not None
        weight_bytes = result.footprint.weight_bytes or 0
        assert 0 < weight_bytes < (on_device[0] or 0) <= (on_device[1] or 0)
    if device != CPU:
        assert warm.device_s is not None
        assert 0 < warm.device_s <= 1.05 * warm.wall_s
        # What filling a cache took cannot be taken out of a time on the device.
        assert (cold.device_s is None) == ("+cache" in label)


@every_device
def test_the_memory_of_the_process_has_a_source(device: str, ran: Ran) -> None:
    result = ran(LAYERS, device)
    assert result.footprint is not None
    source = result.footprint.process_vram_source
    held = [phase.peak_process_vram_bytes for phase in training(result)]
    with nvml.opened(device) as gpu:
        if gpu is None:
            assert (source, held) == (None, [None, None])
            return
    assert source in ("process", "device delta")
    for held_bytes, phase in zip(held, training(result), strict=True):
        assert held_bytes
        assert held_bytes > 0
        if source == "process":
            assert held_bytes >= (phase.peak_reserved_bytes or 0)


@every_kind
def test_what_does_not_depend_on_the_device(device: str, label: str, ran: Ran) -> None:
    """In no precision either: weights and what follows from them stay in fp32."""
    result, plain = ran(label, device), ran(LAYERS, CPU)
    counts, found = result.counts, result.footprint
    assert counts is not None
    assert found is not None
    assert plain.footprint is not None
    learning = counts.trainable_params + counts.head_params
    assert found.weight_bytes == 4 * counts.total_params == plain.footprint.weight_bytes
    assert found.gradient_bytes == 4 * learning == plain.footprint.gradient_bytes
    assert found.optimizer_bytes == plain.footprint.optimizer_bytes
    assert found.step_audio_s == plain.footprint.step_audio_s
    assert found.flops_per_step
    assert found.saved_activation_bytes
    assert found.matmul_flops_per_s


@every_kind
def test_losses_are_those_of_the_cpu(device: str, label: str, ran: Ran) -> None:
    """To rounding, the second epoch's too: where a scaler left all steps out they would not be."""
    losses = [phase.loss for phase in training(ran(label, device))]
    expected = [phase.loss for phase in training(ran(LAYERS, CPU))]
    assert losses == pytest.approx(expected, rel=1e-2 if "6" in label else 1e-3)


@every_device
def test_a_repeat_takes_the_same_memory(device: str, ran: Ran) -> None:
    label = f"{LAYERS}+bf16+cache"
    # The first run of a precision also measures the peak of matrix products.
    ran(label, device)
    first, again = (training(ran(label, device, repeat=repeat)) for repeat in (1, 2))
    for one, other in zip(first, again, strict=True):
        assert one.peak_reserved_bytes == other.peak_reserved_bytes
        assert one.peak_vram_bytes == other.peak_vram_bytes
        assert (one.loss == other.loss) if device == CPU else one.loss == pytest.approx(other.loss)


class Values(TorchDispatchMode):
    """Stands in for a device on the CPU: notes where what was computed is asked for its value.

    Lengths, which are integers, are on the CPU anyhow.
    """

    ASKING = ("_local_scalar_dense", "nonzero", "masked_select")
    CHOOSING = ("index", "index_put", "index_put_")

    def __init__(self, found: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = found

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = function.overloadpacket.__name__
        asked = args[:1] if name in self.ASKING else args[1] if name in self.CHOOSING else ()
        dtypes = [tensor.dtype for tensor in asked if tensor is not None]
        if any(dtype == torch.bool or dtype.is_floating_point for dtype in dtypes):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def waits(device: str) -> Iterator[list[str]]:
    """What made the CPU wait for the device meanwhile, but for `synchronize`."""
    found: list[str] = []
    if device == CPU:
        with Values(found):
            yield found
        return
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
    texts = [str(warning.message) for warning in heard]
    found += [text for text in texts if "synchronizing CUDA operation" in text]


@every_device
def test_waiting_is_noticed(device: str) -> None:
    tensor = torch.ones(3, device=device)
    with waits(device) as found:
        tensor.sum()
        assert found == []
        assert tensor.sum().item() == 3
        assert len(tensor[tensor > 0]) == 3
    assert len(found) == 2


@pytest.mark.parametrize(
    ("device", "label"),
    [
        pytest.param(device, label, marks=marks)
        for device, marks in ((CPU, ()), (CUDA, on_cuda))
        for label in ("full", f"{LAYERS}+bf16+cache", f"{LAYERS}+fp16", f"{LAYERS}+fp16+cache")
    ],
)
def test_steps_do_not_wait_for_the_device(
    device: str, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU has no fp16 to offer, but it can compute in it, and so show what the scaler does."""
    epochs: list[list[str]] = []
    train_epoch = Trainer._train_epoch

    def watched(self: Trainer, epoch: int) -> None:
        with waits(device) as found:
            train_epoch(self, epoch)
        epochs.append(found)

    monkeypatch.setattr(Trainer, "_train_epoch", watched)
    spec = spec_of(label.replace("+fp16", ""), device, steps=2, batch=2)
    spec = dataclasses.replace(spec, variant=parse(label))
    worker.run(spec, lambda _: None, matmul_flops_per_s=1.0)
    # The first epoch waits for the states that go into a cache, and every one for its loss.
    assert len(epochs[1]) == 1, epochs[1]
