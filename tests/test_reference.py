"""The figures in the repository are of what is in the repository."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from serbench.harness import backbone

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def rows() -> list[tuple[str, str, str]]:
    with sqlite3.connect(f"file:{ROOT / 'runs.db'}?mode=ro", uri=True) as database:
        return database.execute("SELECT backbone, init, backbone_hash FROM runs").fetchall()


def test_reference_rows_are_of_the_bundled_encoder(
    rows: list[tuple[str, str, str]],
) -> None:
    bundled = {(name, backbone.locate(name).hash) for name in backbone.BUNDLED}
    assert bundled == {
        (name, weights)
        for name, init, weights in rows
        if name in backbone.BUNDLED and init == "pretrained"
    }


def test_what_is_said_of_the_encoder_is_of_these_weights() -> None:
    said = (ROOT / "docs" / "encoder.md").read_text("utf-8")
    assert backbone.locate("tiny").hash[:12] in said
