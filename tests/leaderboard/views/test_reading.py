"""When what was read of a database is read again."""

from __future__ import annotations

import sqlite3
from typing import Any

from serbench.leaderboard import queries
from serbench.leaderboard.views.reading import version


def test_reading_is_no_change(filled: Any) -> None:
    filled.engine.dispose()
    path = str(filled.path)
    before = version(path)
    queries.configurations(queries.open_for_reading(path))
    assert version(path) == before


def test_what_is_written_is_a_change_before_it_is_in_the_file(filled: Any) -> None:
    path = str(filled.path)
    before = version(path)
    writer = sqlite3.connect(path)
    writer.execute("UPDATE runs SET message = 'other' WHERE id = 1")
    writer.commit()
    during = version(path)
    writer.close()
    assert before != during
