"""How a leaderboard is served to a browser that nobody sits at, and when it has drawn a page."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

__all__ = ["CHROMIUM", "Served", "browser", "drawn", "opened", "served"]

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_S = 60.0
SETTLED_MS = 1_500
"""After which a chart that was handed over is drawn."""


@dataclass(frozen=True)
class Served:
    """A leaderboard that answers."""

    address: str
    pid: int


@contextmanager
def served(database: Path) -> Iterator[Served]:
    """Serve a database's leaderboard, as `serbench leaderboard` does, on a free port.

    Raises:
        TimeoutError: it does not answer.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "serbench.leaderboard", "--server.headless=true",
        "--server.address=127.0.0.1", f"--server.port={port}", "--", "--db",
        str(database.resolve()),
    ]  # fmt: skip
    # From elsewhere: what is configured lies beside the application.
    with subprocess.Popen(command, cwd=database.parent) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(f"{address}/_stcore/health")
            yield Served(address, server.pid)
        finally:
            server.terminate()


def _wait_for(address: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            urlopen(address, timeout=1).close()
            return
        except (URLError, OSError):
            time.sleep(0.25)
    raise TimeoutError(address)


@contextmanager
def browser() -> Iterator[Any]:
    """Playwright's, which drives Debian's Chromium, or what CHROMIUM names in the environment."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield chromium
        chromium.close()


def opened(page: Any, address: str) -> None:
    """Go there and wait until all is drawn."""
    page.goto(address)
    drawn(page)


def drawn(page: Any) -> None:
    """Wait until the server is done and the charts stand."""
    page.get_by_role("heading", level=1).wait_for(timeout=1_000 * PATIENCE_S)
    page.locator("[data-test-script-state=notRunning]").wait_for(timeout=1_000 * PATIENCE_S)
    page.wait_for_timeout(SETTLED_MS)
