from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from serbench.harness import environment, nvml
from serbench.harness.environment import machine, resolve_device
from serbench.harness.errors import RequestError


def test_a_machine_has_the_same_key_every_time() -> None:
    first, second = machine(), machine()
    assert first["key"] == second["key"]
    assert first["cores"]
    assert isinstance(first["memory_bytes"], int)


def test_two_machines_of_one_kind_have_two_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine()["key"]
    monkeypatch.setattr(environment, "_machine_id", lambda: "another")
    assert machine()["key"] != here


def test_nothing_stored_names_the_machine() -> None:
    name = subprocess.run(["uname", "-n"], capture_output=True, text=True, check=True).stdout
    told = " ".join(str(value) for value in machine().values())
    assert name.strip() not in told


def test_versions_and_commit() -> None:
    found = environment.environment()
    assert str(found["torch"]).startswith("2.")
    if (Path(environment.__file__).resolve().parents[1] / ".git").exists():
        assert len(str(found["commit"])) == 40
        assert found["dirty"] in (True, False)


def gpus(count: int) -> tuple[list[tuple[str, int]], str]:
    return [("GPU", 1 << 30)] * count, "550"


@pytest.mark.parametrize(
    ("wanted", "count", "torch", "device"),
    [
        ("auto", 2, "2.13.0", "cuda:0"),
        ("auto", 0, "2.13.0", "cpu"),
        ("auto", 2, "2.13.0+cpu", "cpu"),
        ("cuda", 1, "2.13.0+cu130", "cuda:0"),
        ("cuda:1", 2, "2.13.0", "cuda:1"),
        ("cpu", 2, "2.13.0", "cpu"),
    ],
)
def test_devices(
    wanted: str, count: int, torch: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "gpus", lambda: gpus(count))
    monkeypatch.setattr(environment, "_version", lambda name: torch)
    assert resolve_device(wanted) == device


@pytest.mark.parametrize(("wanted", "count"), [("cuda:1", 1), ("cuda", 0), ("gpu", 1)])
def test_a_device_that_is_not_there_is_refused(
    wanted: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "gpus", lambda: gpus(count))
    monkeypatch.setattr(environment, "_version", lambda name: "2.13.0")
    with pytest.raises(RequestError, match="--device"):
        resolve_device(wanted)
