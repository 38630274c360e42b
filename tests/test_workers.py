"""How many processes share the tests: one where something is timed, shown or asked for alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

FOLDER = str(Path(__file__).parent)
FILE = str(Path(__file__))
CONFTEST = Path(__file__).with_name("conftest.py")


@dataclasses.dataclass
class Options:
    """Of the command line."""

    capture: str = "fd"
    trace: bool = False
    benchmark_enable: bool = False


@dataclasses.dataclass
class Asked:
    """What is read of a `pytest.Config`."""

    args: list[str]
    option: Options = dataclasses.field(default_factory=Options)


@pytest.fixture
def conftest(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> Any:
    """On a machine of eight cores, without a GPU."""
    plugin = pytestconfig.pluginmanager.get_plugin(str(CONFTEST))
    monkeypatch.setattr(plugin, "cores", lambda: 8)
    monkeypatch.setattr(plugin, "resolve_device", lambda _: "cpu")
    return plugin


@pytest.mark.parametrize("chosen", [[FOLDER], [FILE, FILE]])
def test_two_share_several_files(chosen: list[str], conftest: Any) -> None:
    assert conftest.pytest_xdist_auto_num_workers(Asked(chosen)) == 2


@pytest.mark.parametrize(
    "asked",
    [
        Asked([FILE]),
        Asked([f"{FILE}::test_one"]),
        Asked(["serbench.harness.contract"]),
        Asked([FOLDER], Options(capture="no")),
        Asked([FOLDER], Options(trace=True)),
        Asked([FOLDER], Options(benchmark_enable=True)),
    ],
)
def test_one_process_does_what_is_timed_shown_or_one_file(asked: Asked, conftest: Any) -> None:
    assert conftest.pytest_xdist_auto_num_workers(asked) == 0


def test_one_process_does_all_on_one_core_and_on_a_gpu(
    conftest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(conftest, "cores", lambda: 1)
        assert conftest.pytest_xdist_auto_num_workers(Asked([FOLDER])) == 0
    monkeypatch.setattr(conftest, "resolve_device", lambda _: "cuda:0")
    assert conftest.pytest_xdist_auto_num_workers(Asked([FOLDER])) == 0


@pytest.mark.parametrize(("workers", "threads"), [(2, "4"), (16, "1")])
def test_workers_share_the_cores(
    workers: int, threads: str, conftest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.delenv("OMP_NUM_THREADS")
    conftest.pytest_xdist_setupnodes([None] * workers)
    assert conftest.os.environ["OMP_NUM_THREADS"] == threads


def test_threads_that_somebody_set_stay(conftest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    conftest.pytest_xdist_setupnodes([None, None])
    assert conftest.os.environ["OMP_NUM_THREADS"] == "3"


def test_the_longest_files_are_there(conftest: Any) -> None:
    assert all((CONFTEST.parent / name).is_file() for name in conftest.LONGEST)
