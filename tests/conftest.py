"""What tests all over the tree share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from serbench.harness.environment import cores, resolve_device

os.environ.setdefault("HF_HUB_OFFLINE", "1")

TESTS = Path(__file__).resolve().parent
EMODB = TESTS.parents[1] / "shared" / "data" / "emodb"
MOST_WORKERS = 2
"""Each has a server of its own that starts runs, with the libraries in memory."""
LONGEST = (
    "leaderboard/test_browser.py",
    "harness/test_contract.py",
    "harness/test_cli.py",
    "harness/test_runner.py",
    "harness/test_plugins.py",
    "harness/test_trainer.py",
    "harness/test_devices.py",
    "harness/test_export.py",
    "harness/corpora/test_damage.py",
    "harness/test_backbone.py",
    "benchmarks/test_million.py",
)
"""Files that take most of the time, as `--durations` tells. They are begun first, so that
no worker is at a long one when the others are done."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """None where something is timed, shown, stepped through or measured on a GPU, and for one file.

    All of a file is one worker's, because of the fixtures that its tests share.
    """
    chosen, option = config.args, config.option
    one_file = len(chosen) == 1 and not Path(chosen[0]).is_dir()
    watched = option.capture == "no" or option.trace
    if one_file or watched or option.benchmark_enable or resolve_device("auto") != "cpu":
        return 0
    count = min(cores(), MOST_WORKERS)
    return count if count > 1 else 0


def pytest_xdist_setupnodes(specs: list[Any]) -> None:
    """Share the cores among workers and what these start, before any imports torch."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // len(specs))))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Frame states of a test lie in its own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "serbench" / "states"


@pytest.fixture(autouse=True)
def own_main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit's AppTest leaves its script as the main module, which new processes then import."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def emodb() -> Path:
    """The real corpus, where it lies beside the checkout."""
    if not EMODB.is_dir():
        pytest.skip("EmoDB does not lie beside the checkout, in ../shared/data/emodb")
    return EMODB


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, and skip what needs CUDA where there is none."""
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    wanting = [item for item in items if item.get_closest_marker("cuda")]
    if wanting:
        import torch

        if not torch.cuda.is_available():
            for item in wanting:
                item.add_marker(pytest.mark.skip(reason="there is no CUDA device here"))
