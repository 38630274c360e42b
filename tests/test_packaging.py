"""What is in the wheel, and that no public name is promised in vain."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def in_wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source")
    for name in ("harness", "strategies", "leaderboard"):
        # What is compiled comes and goes while other tests import.
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(out), str(source)], check=True
    )
    (wheel,) = out.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize("folder", ["harness", "strategies", "leaderboard"])
def test_every_file_of_a_package_is_in_the_wheel(folder: str, in_wheel: set[str]) -> None:
    kinds = (".py", ".toml", ".csv", ".json", ".opus", ".safetensors")
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in kinds]
    files.append(ROOT / folder / "py.typed")
    here = {f"serbench/{path.relative_to(ROOT)}" for path in files}
    assert here
    assert here <= in_wheel


def test_nothing_else_is_in_the_wheel(in_wheel: set[str]) -> None:
    tops = {name.split("/")[0].rpartition("-")[0] or name.split("/")[0] for name in in_wheel}
    assert {"serbench"} == {top.partition("-")[0] for top in tops}
    assert not any(name.startswith("serbench/tests") for name in in_wheel)


def test_the_command_begins_where_an_interrupt_is_quiet() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert scripts == {"serbench": "serbench.harness.__main__:main"}


def test_every_public_name_is_there() -> None:
    names = [
        info.name
        for package in ("serbench.harness", "serbench.strategies", "serbench.leaderboard")
        for info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
        if ".migrations." not in info.name and not info.name.endswith("leaderboard.app")
    ]
    assert len(names) > 30
    for name in names:
        module = importlib.import_module(name)
        assert module.__doc__, f"{name} does not say what it alone knows"
        for public in getattr(module, "__all__", ()):
            assert hasattr(module, public), f"{name} promises {public}"
