"""The application as it opens: its pages, and what it says where there is no database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import serbench.leaderboard

APP = Path(next(iter(serbench.leaderboard.__path__))) / "app.py"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draws the whole application, as it opens."""

    def run(path: Path) -> AppTest:
        monkeypatch.setenv("SERBENCH_DB", str(path))
        shown = AppTest.from_file(str(APP), default_timeout=60).run()
        assert not shown.exception
        return shown

    return run


def test_missing_database(app: Any, tmp_path: Path) -> None:
    shown = app(tmp_path / "none.db")
    assert "cannot be read" in shown.error[0].value
    assert "none.db" in shown.code[0].value
    assert not shown.dataframe


def test_db_on_the_command_line_wins(
    app: Any, filled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["app.py", "--db", str(filled.path)])
    assert app(tmp_path / "none.db").dataframe
