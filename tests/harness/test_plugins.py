"""A third party's plugin: installed, found, held to the contract; and the file to start from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
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
    words = ("pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "serbench.harness.contract")
    return call(*words, "-k", chosen, **environment)


def passed(output: str) -> int:
    found = re.search(r"(\d+) passed", output)
    return int(found[1]) if found else 0


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
    done = call("serbench.harness.cli", "list", "strategies", "--json", PYTHONPATH=str(site))
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert found["norms"]["settings"] == {"lr": 1e-3, "biases": True}
    assert found["norms"]["origin"].startswith(str(site))
    assert "full" in found


def test_an_installed_head_is_found_and_can_be_chosen(site: Path) -> None:
    done = call("serbench.harness.cli", "list", "heads", "--json", PYTHONPATH=str(site))
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert found["huber"]["settings"] == {"delta": 0.5}
    assert found["huber"]["origin"].startswith(str(site))
    assert "consensus" in found
    words = ("run", "frozen", "--head", "huber:delta=0.1", "--dry-run", "--json")
    done = call("serbench.harness.cli", *words, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    assert "huber:delta=0.1" in done.stdout


def test_an_installed_plugin_passes_the_contract(site: Path) -> None:
    done = contract("norms or huber", PYTHONPATH=str(site))
    assert done.returncode == 0, done.stdout
    assert passed(done.stdout) > 12 + len(list(heads.entries()))


def test_a_plugin_that_fails_to_import_is_told_and_the_rest_go_on(
    site: Path, tmp_path: Path
) -> None:
    package = tmp_path / "serbench_norms"
    package.mkdir()
    (package / "__init__.py").write_text("import nothing_of_the_kind", "utf-8")
    path = os.pathsep.join([str(tmp_path), str(site)])
    done = call("serbench.harness.cli", "list", "strategies", "--json", PYTHONPATH=path)
    assert done.returncode == 0
    assert "nothing_of_the_kind" in done.stderr
    assert {entry["name"] for entry in json.loads(done.stdout)} >= {"full", "lora"}


def test_a_new_strategy_passes_the_contract(tmp_path: Path) -> None:
    path = write("strategy", "norm-tuning", tmp_path)
    assert path == tmp_path / "norm_tuning.py"
    done = contract("norm-tuning", SERBENCH_PLUGINS=str(path))
    assert done.returncode == 0, done.stdout
    assert passed(done.stdout) >= 9


def test_a_new_head_passes_the_contract(tmp_path: Path) -> None:
    path = write("head", "little-by-little", tmp_path)
    done = contract("head-little-by-little", SERBENCH_PLUGINS=str(path))
    assert done.returncode == 0, done.stdout
    assert passed(done.stdout) >= 4 + 12


def test_a_strategy_that_breaks_the_contract_is_told_so(tmp_path: Path) -> None:
    path = write("strategy", "idle", tmp_path)
    text = path.read_text("utf-8").replace('"layer_norm" in name', "False")
    path.write_text(text, "utf-8")
    done = contract("idle", SERBENCH_PLUGINS=str(path))
    assert done.returncode == 1
    assert "leaves nothing in the backbone to learn" in done.stdout


def test_a_head_whose_network_makes_other_steps_is_told_so(tmp_path: Path) -> None:
    path = write("head", "busy", tmp_path)
    text = path.read_text("utf-8")
    turns = '    turns = (("a",), ("b",))\n\n    def __init__(self'
    path.write_text(text.replace("    def __init__(self", turns), "utf-8")
    done = contract("head-busy and goes_with and frozen", SERBENCH_PLUGINS=str(path))
    assert done.returncode == 1
    assert "must say how many turns there are" in done.stdout


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
