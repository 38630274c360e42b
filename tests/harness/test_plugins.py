"""A third party's plugin: installed, found, held to the contract; and the file to start from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from serbench.harness import heads
from serbench.harness.errors import RequestError
from serbench.harness.scaffold import write

EXAMPLE = Path(__file__).resolve().parents[1] / "example_plugin"


def call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def contract(chosen: str, **environment: str) -> subprocess.CompletedProcess[str]:
    words = ("pytest", "-v", "-p", "no:cacheprovider", "--pyargs", "serbench.harness.contract")
    return call(*words, "-k", chosen, **environment)


def ends(output: str, name: str = "") -> Counter[str]:
    """How many of the tests with this in their names passed, failed and were left out."""
    return Counter(re.findall(rf"::\S*{name}\S* (PASSED|FAILED|ERROR|SKIPPED)", output))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the example plugin."""
    folder = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source")
    subprocess.run(["cp", "-r", str(EXAMPLE) + "/.", str(source)], check=True)
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target")
    done = call("pip", "install", *options, str(folder), str(source))
    assert done.returncode == 0, done.stderr
    return folder


def test_an_installed_plugin_is_found(site: Path) -> None:
    done = call("serbench.harness", "list", "strategies", "--json", PYTHONPATH=str(site))
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert found["norms"]["settings"] == {"lr": 1e-3, "biases": True}
    assert found["norms"]["origin"].startswith(str(site))
    assert "full" in found


def test_an_installed_head_is_found_and_can_be_chosen(site: Path) -> None:
    done = call("serbench.harness", "list", "heads", "--json", PYTHONPATH=str(site))
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert found["huber"]["settings"] == {"delta": 0.5}
    assert found["huber"]["origin"].startswith(str(site))
    assert "consensus" in found
    words = ("run", "frozen", "--head", "huber:delta=0.1", "--dry-run", "--json")
    done = call("serbench.harness", *words, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    assert "huber:delta=0.1" in done.stdout


def test_an_installed_plugin_passes_the_contract(site: Path) -> None:
    done = contract("norms or huber", PYTHONPATH=str(site))
    assert done.returncode == 0, done.stdout
    assert ends(done.stdout)["PASSED"] > 12 + len(list(heads.entries()))


def test_a_plugin_that_fails_to_import_is_told_and_the_rest_go_on(
    site: Path, tmp_path: Path
) -> None:
    package = tmp_path / "serbench_norms"
    package.mkdir()
    (package / "__init__.py").write_text("import nothing_of_the_kind", "utf-8")
    path = os.pathsep.join([str(tmp_path), str(site)])
    done = call("serbench.harness", "list", "strategies", "--json", PYTHONPATH=path)
    assert done.returncode == 0
    assert "nothing_of_the_kind" in done.stderr
    assert {entry["name"] for entry in json.loads(done.stdout)} >= {"full", "lora"}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the contract says of what one starts from: two as they are, and two that break it."""
    folder = tmp_path_factory.mktemp("scratch")
    strategy = write("strategy", "norm-tuning", folder)
    assert strategy == folder / "norm_tuning.py"
    head = write("head", "little-by-little", folder)
    idle = write("strategy", "idle", folder)
    text = idle.read_text("utf-8").replace('"layer_norm" in name', "False")
    idle.write_text(text, "utf-8")
    busy = write("head", "busy", folder)
    turns = '    turns = (("a",), ("b",))\n\n    def __init__(self'
    text = busy.read_text("utf-8").replace("    def __init__(self", turns)
    busy.write_text(text, "utf-8")
    chosen = (
        "norm-tuning and not busy",
        "little-by-little and not idle",
        "idle and not head",
        "head-busy and goes_with and frozen",
    )
    files = os.pathsep.join(map(str, (strategy, head, idle, busy)))
    done = contract(" or ".join(f"({each})" for each in chosen), SERBENCH_PLUGINS=files)
    assert done.returncode == 1
    return done.stdout


def test_a_new_strategy_passes_the_contract(scratch: str) -> None:
    found = ends(scratch, "norm-tuning")
    assert found["PASSED"] >= 9
    assert not found["FAILED"] + found["ERROR"], scratch


def test_a_new_head_passes_the_contract(scratch: str) -> None:
    found = ends(scratch, "head-little-by-little")
    assert found["PASSED"] >= 4 + 12
    assert not found["FAILED"] + found["ERROR"], scratch


def test_a_strategy_that_breaks_the_contract_is_told_so(scratch: str) -> None:
    assert ends(scratch, "idle")["FAILED"]
    assert "leaves nothing in the backbone to learn" in scratch


def test_a_head_whose_network_makes_other_steps_is_told_so(scratch: str) -> None:
    assert ends(scratch, "head-busy") == {"FAILED": 1}
    assert "must say how many turns there are" in scratch


@pytest.mark.parametrize("name", ["two words", "-", "1st", "sträng", ""])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no name"):
        write("strategy", name, tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write("head", "mine", tmp_path)
    with pytest.raises(RequestError, match="there already"):
        write("head", "mine", tmp_path)
    with pytest.raises(RequestError, match="cannot be written"):
        write("head", "mine", tmp_path / "nowhere")
