"""The two themes, and that what is drawn stands out from the backgrounds of both."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import serbench.leaderboard
from serbench.leaderboard.palette import COLOURS, MORE_COLOURS, RULE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG = Path(next(iter(serbench.leaderboard.__path__))) / ".streamlit" / "config.toml"
THEMES = tomllib.loads(CONFIG.read_text())["theme"]
MARKS, TEXT = 3.0, 4.5
"""What WCAG 2.2 asks of figures (1.4.11) and of text (1.4.3)."""
CAPTION = 0.6
"""The opacity of what Streamlit draws less strongly."""


def luminance(colour: str) -> float:
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def faded(colour: str, background: str) -> str:
    pairs = [(int(colour[i : i + 2], 16), int(background[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(CAPTION * a + (1 - CAPTION) * b):02x}" for a, b in pairs)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_all_that_is_drawn_stands_out_from_the_background(name: str) -> None:
    theme = THEMES[name]
    background = theme["backgroundColor"]
    for colour in (*COLOURS, *MORE_COLOURS, RULE):
        assert contrast(colour, background) >= MARKS, colour
    faint = faded(theme["textColor"], background)
    for colour in (theme["textColor"], theme["linkColor"], faint, primary(theme)):
        assert contrast(colour, background) >= TEXT, colour


def primary(theme: dict[str, str]) -> str:
    """That of a slider's value, and of the background of what is chosen."""
    colour: str = theme.get("primaryColor", THEMES["primaryColor"])
    return colour


@pytest.mark.parametrize("name", ["light", "dark"])
def test_what_is_chosen_can_be_read(name: str) -> None:
    assert contrast("#ffffff", primary(THEMES[name])) >= TEXT
