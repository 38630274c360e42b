"""What tests all over the tree share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

EMODB = Path(__file__).resolve().parents[2] / "shared" / "data" / "emodb"


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
    """Skip what needs CUDA where there is none."""
    wanting = [item for item in items if item.get_closest_marker("cuda")]
    if wanting:
        import torch

        if not torch.cuda.is_available():
            for item in wanting:
                item.add_marker(pytest.mark.skip(reason="there is no CUDA device here"))
