from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

import serbench.leaderboard

APP = Path(next(iter(serbench.leaderboard.__path__))) / "app.py"
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

CHARTS = 2 + 3 + 1
"""Annotators in two dimensions, heat maps of what is rated, predicted and told, and the plot."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}"),
]
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture
def address(filled: Any) -> Iterator[str]:
    for seed in (0, 1):
        filled("ia3", spread=0.5, seed=seed, synthetic=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "streamlit", "run", str(APP), "--server.headless=true",
        "--server.address=127.0.0.1", f"--server.port={port}",
        "--browser.gatherUsageStats=false", "--", "--db", str(filled.path),
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=APP.parents[1]) as server:
        try:
            yield wait_for(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()


def wait_for(address: str) -> str:
    for _ in range(120):
        try:
            urlopen(f"{address}/_stcore/health", timeout=1).close()
            return address
        except (URLError, OSError):
            time.sleep(0.5)
    raise TimeoutError(address)


def test_the_page_draws_table_and_plot(address: str, tmp_path: Path) -> None:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 2600})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.get_by_test_id("stDataFrame").first.wait_for(timeout=60_000)
        charts = page.locator(".vega-embed .marks")
        charts.nth(CHARTS - 1).wait_for(timeout=60_000)
        page.wait_for_timeout(1_500)
        page.screenshot(path=os.environ.get("SERBENCH_SCREENSHOT", str(tmp_path / "page.png")))
        assert page.get_by_text("Generated data").is_visible()
        assert charts.count() == CHARTS
        widths = [charts.nth(i).bounding_box()["width"] for i in range(CHARTS)]
        assert min(widths[:2]) > 400, "annotators by row"
        assert min(widths[2:5]) > 200, "heat maps"
        assert widths[5] > 600, "the plot"
        assert not page.get_by_test_id("stException").count()
        assert not errors
        browser.close()
