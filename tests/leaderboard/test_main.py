"""How the leaderboard's server is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from streamlit.web import cli

from serbench.harness import cli as command_line
from serbench.leaderboard import __main__ as server


def test_the_command_starts_it_on_its_database(
    recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder("full")
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: started.append(words))
    command_line.leaderboard(db=str(recorder.path))
    (words,) = started
    assert words[1:3] == ["-m", "serbench.leaderboard"]
    assert words[-3:] == ["--", "--db", str(recorder.path)]


def test_what_is_served_is_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(cli, "main", lambda words, **_: given.append(words))
    server.main(["--server.port=1", "--", "--db", "a.db"])
    run, script, *others = given[0]
    assert run == "run"
    assert "st.navigation" in Path(script).read_text(encoding="utf-8")
    assert others == ["--server.port=1", "--", "--db", "a.db"]


def test_all_pages_are_imported_beforehand() -> None:
    check = (
        "import sys; from serbench.leaderboard import __main__ as server; server._import_pages(); "
        "before = {*sys.modules}; from serbench.leaderboard.views import ranking, failures, "
        "tradeoffs, run, choose, compare, annotators, choices; assert {*sys.modules} == before"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
