"""Pictures of every page of the leaderboard, in both themes, for a desk's screen and a phone's.

    python tools/screenshots.py runs.db docs/images

A picture is NAME-THEME-WIDTH.webp. Pages are of the comparison that comes first, that of the
annotators of the first one that has any.
"""

from __future__ import annotations

import argparse
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from browsing import browser, drawn, opened, served
from PIL import Image

PAGES = ("ranking", "tradeoffs", "choose", "compare", "run", "annotators", "failures")
SIZES = {1400: 900, 390: 844}
"""Pixels of width to those of height."""
TALLEST = 2_400
"""Pixels of a page that are shown; nobody reads more in a document."""
BOXES = ("Machine", "Corpus", "Backbone", "Setting")
"""Beside the page, each with what those before it leave to choose."""


def main() -> None:
    """Take them all."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("database", type=Path)
    arguments.add_argument("out", type=Path)
    asked = arguments.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with served(asked.database) as leaderboard, browser() as chromium:
        addresses = {name: f"{leaderboard.address}/{name}" for name in PAGES}
        addresses["annotators"] = with_annotators(chromium, addresses["annotators"])
        for theme, (width, height) in itertools.product(("light", "dark"), SIZES.items()):
            for name, address in addresses.items():
                size = {"width": width, "height": height}
                page = chromium.new_page(viewport=size, color_scheme=theme)
                opened(page, address)
                taken(page, size, asked.out / f"{name}-{theme}-{width}.webp")
                page.close()


def with_annotators(chromium: Any, address: str) -> str:
    """The address of the first comparison whose rows predict annotators or distributions."""
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    opened(page, address)
    for _ in settings(page, BOXES):
        if page.get_by_role("heading", level=2).count():
            return str(page.url)
    raise SystemExit("no row of this database predicts annotators or distributions")


def settings(page: Any, boxes: Sequence[str]) -> Iterator[None]:
    """Choose all that there is to choose, one after the other."""
    if not boxes:
        yield
        return
    for option in options(page, boxes[0]):
        choose(page, boxes[0], option)
        yield from settings(page, boxes[1:])


def options(page: Any, title: str) -> list[str]:
    """What a box beside the page offers; nothing but "" if there is no such box."""
    if not box(page, title).count():
        return [""]
    box(page, title).click()
    told = page.get_by_role("option").all_text_contents()
    page.keyboard.press("Escape")
    return [str(text) for text in told]


def choose(page: Any, title: str, option: str) -> None:
    """Choose it, if there is something to choose."""
    if option:
        box(page, title).click()
        page.get_by_role("option", name=option, exact=True).click()
        drawn(page)


def box(page: Any, title: str) -> Any:
    """The box of that title."""
    return page.get_by_role("combobox", name=title, exact=True)


def taken(page: Any, size: dict[str, int], path: Path) -> None:
    """Take a picture of a page from its top, as much as is shown of one."""
    tall = page.get_by_test_id("stMainBlockContainer").bounding_box()["height"]
    page.set_viewport_size({**size, "height": max(size["height"], min(int(tall), TALLEST))})
    drawn(page)
    # A third of the size of a PNG, and every colour as it is.
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, lossless=True)


if __name__ == "__main__":
    main()
