"""What tests of the harness share: the command line in this process, and what it leaves behind."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from serbench.harness import cli, heads, plugins, session, strategy
from serbench.harness.runner import Runner


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    error: str


@pytest.fixture(scope="session")
def runner() -> Runner:
    """One for all: its server has the libraries, and it measures matrix products once."""
    return Runner()


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Plugins that a test registers are gone after it."""
    # Heads are found once, where the first is asked for.
    strategy.discover()
    heads.entries()
    for registry in (strategy.REGISTRY, heads.REGISTRY):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(plugins, "_problems", {})
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith("serbench_plugin"):
            del sys.modules[name]


@pytest.fixture
def call(
    registries: None,
    runner: Runner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., Ended]]:
    """Run a command in this process: in the test's own folder, and 80 columns wide, unless said."""
    monkeypatch.setattr(session, "Runner", lambda: runner)
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def called(*words: str, cwd: Path = tmp_path, columns: int = 80) -> Ended:
        monkeypatch.chdir(cwd)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "argv", ["serbench", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Ended(int(end.value.code or 0), *capsys.readouterr())

    yield called
    for each, handler in handlers.items():
        signal.signal(each, handler)
