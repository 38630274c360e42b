"""What is well and what is not on this machine, before anything runs on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from serbench.harness import plugins, strategy
from serbench.harness.cache import default_folder
from serbench.harness.environment import environment, machine, resolve_device
from serbench.harness.strategy import PRECISIONS, Precision

if TYPE_CHECKING:
    import torch

__all__ = ["Finding", "examine"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, whether it is well, and what was found."""

    what: str
    well: bool
    found: str


def examine(backbone: str, init: str, device: str, cache_dir: str | None) -> list[Finding]:
    """Look at the machine, the device's arithmetic for a geometry, the disk and the plugins.

    Raises:
        SerbenchError: there is no such backbone or device.
    """
    return [*_surroundings(cache_dir), *_arithmetic(backbone, init, resolve_device(device))]


def _surroundings(cache_dir: str | None) -> Iterator[Finding]:
    here, software = machine(), environment()
    memory = int(here["memory_bytes"] or 0) / 2**30
    yield Finding("machine", True, f"{here['cpu']}, {here['cores']} cores, {memory:.0f} GiB")
    gpu = "none that NVML sees"
    if here["gpu"]:
        gpu = f"{here['gpu_count']} × {here['gpu']}, driver {here['driver']}"
    yield Finding("GPU", True, gpu)
    names = ("serbench", "python", "torch", "transformers", "peft")
    yield Finding("versions", True, ", ".join(f"{name} {software[name]}" for name in names))
    folder = Path(cache_dir) if cache_dir else default_folder()
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free / 1e9
    yield Finding("cache folder", free > 1, f"{folder}, {free:.0f} GB free")
    for origin, problem in plugins.problems().items():
        yield Finding(f"plugin {origin}", False, problem)
    yield Finding("strategies", True, ", ".join(entry.name for entry in strategy.entries()))


def _arithmetic(backbone: str, init: str, device: str) -> Iterator[Finding]:
    import torch

    from serbench.harness import arithmetic
    from serbench.harness import backbone as backbones
    from serbench.harness.footprint import matmul_flops_per_s

    encoder = backbones.load(backbones.locate(backbone, init))
    where = torch.device(device)
    encoder.model.to(where).eval()
    full_rate = matmul_flops_per_s(where, "fp32")
    yield Finding("fp32", True, f"matrix products at {full_rate / 1e12:.3g} TFLOP/s")
    for precision in PRECISIONS[1:]:
        if precision == "fp16" and where.type == "cpu":
            yield Finding("fp16", True, "not offered on the CPU")
            continue
        checks = arithmetic.check_kernels(encoder.model, where, precision)
        worst = max(checks, key=lambda check: check.relative_error)
        text = f"{backbone} on {device}: {len(checks)} kernels against fp32, the worst off by "
        text += (
            f"{worst.relative_error:.2%} ({worst.kernel}); {_speed(where, precision, full_rate)}"
        )
        yield Finding(precision, all(check.right for check in checks), text)


def _speed(device: torch.device, precision: Precision, full_rate: float) -> str:
    from serbench.harness.footprint import matmul_flops_per_s

    rate = matmul_flops_per_s(device, precision)
    ratio = rate / full_rate
    verdict = f"{ratio:.2g}x fp32's" if ratio > 1 else f"{ratio:.2g}x fp32's: it costs time here"
    return f"matrix products at {rate / 1e12:.3g} TFLOP/s, {verdict}"
