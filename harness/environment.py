"""The machine, the driver, the versions and the commit: where a number was made."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from serbench.harness import nvml
from serbench.harness.errors import RequestError

__all__ = ["cores", "environment", "machine", "resolve_device"]

Flat = dict[str, "str | int | None"]


def cores() -> int:
    """Processor cores that this process may use."""
    # Neither macOS nor Windows tells which.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> Flat:
    """The machine as it is stored: no name, but a hash that tells two machines apart."""
    import psutil

    gpus, driver = nvml.gpus()
    facts: Flat = {
        "cpu": _cpu_model(),
        "cores": cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": gpus[0][0] if gpus else None,
        "gpu_count": len(gpus),
        "gpu_memory_bytes": gpus[0][1] if gpus else None,
        "driver": driver,
        "os": f"{platform.system()} {platform.machine()}",
    }
    # The kernel reserves a little more or less memory at each start.
    stable = {**facts, "memory_bytes": round(psutil.virtual_memory().total / 2**30)}
    return {**facts, "key": _key({**stable, "id": _machine_id()})}


def environment() -> dict[str, str | int | bool | None]:
    """Versions, commit and threads, as stored."""
    commit, dirty = _commit()
    facts: dict[str, str | int | bool | None] = {
        "serbench": _version("serbench"),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "transformers": _version("transformers"),
        "peft": _version("peft"),
        "cuda": _cuda_version(),
        "commit": commit,
        "dirty": dirty,
        "threads": _threads(),
        "deterministic": False,
    }
    return {**facts, "key": _key(facts)}


def resolve_device(wanted: str) -> str:
    """Turn `auto`, `cpu`, `cuda` or `cuda:1` into a device's name, without starting CUDA.

    Raises:
        RequestError: there is no such device here.
    """
    if wanted == "cpu":
        return "cpu"
    count = 0 if "+cpu" in (_version("torch") or "") else len(nvml.gpus()[0])
    if wanted == "auto":
        return "cuda:0" if count else "cpu"
    name, _, index = wanted.partition(":")
    if name != "cuda" or (index and not index.isdigit()):
        raise RequestError(f"--device is auto, cpu, cuda or cuda:N, not '{wanted}'")
    if int(index or 0) >= count:
        raise RequestError(f"--device {wanted}: there are {count} CUDA devices that torch can use")
    return f"cuda:{index or 0}"


def _key(facts: Mapping[str, Any]) -> str:
    text = json.dumps(facts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _threads() -> int | None:
    """What OMP_NUM_THREADS asks for; None for torch's own choice, a thread a core."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() else None


def _cuda_version() -> str | None:
    local = (_version("torch") or "").partition("+")[2]
    return local[2:] if local.startswith("cu") else None


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _machine_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/etc/machine-id").read_text(encoding="utf-8").strip()
    return ""


def _commit() -> tuple[str | None, bool | None]:
    """The checkout's commit and whether it was changed; None for an installed package."""
    folder = Path(__file__).resolve().parent
    if not (folder.parent / ".git").exists():
        return None, None

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        # The database is what runs write, so it does not make the code another one.
        changed = git("status", "--porcelain", "--", ":/", ":!/*.db")
        return git("rev-parse", "HEAD"), bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return None, None
