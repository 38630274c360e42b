"""The application as it opens: its pages, and what it says where there is no database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

import serbench.leaderboard
from serbench.harness import records

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


def test_older_schema(app: Any, tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with sa.create_engine(f"sqlite:///{path}").begin() as connection:
        records.upgrade(connection, records.REVISIONS[-2])
    before = path.read_bytes()
    shown = app(path)
    assert [error.value for error in shown.error] == ["The database cannot be read."]
    (said,) = (each.value for each in shown.code)
    assert f"{path}: has schema revision {records.REVISIONS[-2]}, older than" in said
    assert "'serbench run' into it brings it up to date" in said
    assert not shown.dataframe
    assert path.read_bytes() == before


def test_db_on_the_command_line_wins(
    app: Any, filled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["app.py", "--db", str(filled.path)])
    assert app(tmp_path / "none.db").dataframe
