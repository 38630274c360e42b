"""The page of one measure against another."""

from __future__ import annotations

from typing import Any


def test_axes_can_be_chosen(page: Any, filled: Any) -> None:
    shown = page(filled.path, "tradeoffs")
    shown.selectbox(key="x").select("peak_vram_bytes").run()
    assert not shown.exception
    assert "GPU" in shown.caption[-1].value
