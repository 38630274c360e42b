from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browsing
import pytest
from browsing import CHROMIUM, drawn, opened, served

PAGES = {
    "ranking": 0,
    "tradeoffs": 2,
    "choose": 0,
    "compare": 1 + 2 + 2,
    "run": 2 + 2 + 2,
    "annotators": 2 + 3 + 1,
    "failures": 0,
}
"""How many charts each page draws of the rows here."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}"),
]
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
)

WIDTHS = (1400, 390)
"""Pixels of a desk's screen and of a phone's."""
BACKGROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(0, 0, 0)"}
CHARTS = ".vega-embed > .marks"
GRAVE = ("serious", "critical")
NOT_OURS: dict[str, str] = {}
"""Rules of axe that Streamlit's own elements break, each with the reason why we cannot mend it."""


@pytest.fixture(scope="module")
def address(fill: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the application, which all tests here only read."""
    filled = fill(tmp_path_factory.mktemp("served") / "runs.db")
    for seed in (0, 1):
        filled("ia3", spread=0.5, seed=seed, synthetic=True)
    with served(filled.path) as leaderboard:
        yield leaderboard.address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing.browser() as started:
        yield started


@pytest.fixture
def new_page(browser: Any) -> Iterator[Any]:
    """Opens pages that know nothing of each other, and closes them after the test."""
    contexts = []

    def new(**options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        return contexts[-1].new_page()

    yield new
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def paths(address: str, browser: Any) -> list[str]:
    """The addresses of all pages that the application has."""
    page = browser.new_page()
    opened(page, address)
    links = page.get_by_test_id("stSidebarNavLink").all()
    ends = [str(link.get_attribute("href")).rpartition("/")[2] for link in links]
    page.close()
    found = [end or "ranking" for end in ends]
    assert {*PAGES} <= {*found}
    return found


def grave(page: Any) -> list[str]:
    """What axe finds that keeps somebody out, but for what is not ours."""
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]}"
        for each in found
        if each["impact"] in GRAVE and each["id"] not in NOT_OURS
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", BACKGROUNDS)
def test_each_page_draws_what_it_is_for_and_shuts_nobody_out(
    address: str, new_page: Any, paths: list[str], tmp_path: Path, scheme: str, width: int
) -> None:
    """On its theme's background too, though the server was started from another folder."""
    folder = Path(os.environ.get("SERBENCH_SCREENSHOTS", tmp_path))
    page = new_page(viewport={"width": width, "height": 1600}, color_scheme=scheme)
    errors = errors_of(page)
    for path in paths:
        page.goto(f"{address}/{path}")
        wait_for_what_it_draws(page, path)
        drawn(page)
        height = page.get_by_test_id("stMainBlockContainer").bounding_box()["height"]
        page.set_viewport_size({"width": width, "height": int(height) + 80})
        page.wait_for_timeout(500)
        page.screenshot(path=folder / f"{path}-{scheme}-{width}.png")
        errors += [f"{path}: {problem}" for problem in problems_of(page, path, scheme, width)]
    assert not errors, "\n".join(errors)


def wait_for_what_it_draws(page: Any, path: str) -> None:
    if count := PAGES.get(path):
        page.locator(CHARTS).nth(count - 1).wait_for(timeout=60_000)
    elif path in PAGES:
        page.get_by_test_id("stDataFrame").first.wait_for(timeout=60_000)


def problems_of(page: Any, path: str, scheme: str, width: int) -> list[str]:
    """What is wrong with a page that is drawn."""
    problems = grave(page)
    if page.get_by_test_id("stException").count():
        problems.append("ends with an exception")
    if not page.get_by_text("Synthetic data: costs are real").is_visible():
        problems.append("does not say that the data are synthetic")
    charts = page.locator(CHARTS).count()
    if charts != PAGES.get(path, charts):
        problems.append(f"has {charts} charts")
    for chart in page.locator(".vega-embed").all():
        if not chart.get_attribute("aria-label"):
            problems.append("a chart has no words (alt) for who cannot see it")
    if page.evaluate("document.documentElement.scrollWidth") > width:
        problems.append("is wider than the screen")
    background = page.evaluate(BACKGROUND)
    if background != BACKGROUNDS[scheme]:
        problems.append(f"has the background {background}")
    return problems


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_are_written_in_the_ink_of_the_page(
    address: str, new_page: Any, scheme: str
) -> None:
    page = new_page(color_scheme=scheme)
    opened(page, f"{address}/tradeoffs")
    page.locator(".vega-embed > .marks").nth(PAGES["tradeoffs"] - 1).wait_for(timeout=60_000)
    inks = "[...document.querySelectorAll('.vega-embed text')].map((e) => getComputedStyle(e).fill)"
    ink = "getComputedStyle(document.querySelector('[data-testid=stApp]')).color"
    assert {*page.evaluate(inks)} == {page.evaluate(ink)}


def test_pages_are_reached_by_the_keyboard(address: str, new_page: Any) -> None:
    page = new_page(viewport={"width": 1400, "height": 1000})
    opened(page, address)
    wanted = [link.get_attribute("href") for link in page.get_by_test_id("stSidebarNavLink").all()]
    reached = []
    for _ in range(2 * len(wanted) + 10):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.href || ''"))
        if reached[-1].endswith("/compare"):
            break
    assert reached[-1].endswith("/compare")
    assert [each for each in reached if each in wanted] == wanted[: wanted.index(reached[-1]) + 1]
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Compare", level=1).wait_for(timeout=60_000)


def test_the_address_keeps_compared_rows_in_their_order(address: str, new_page: Any) -> None:
    page = new_page(viewport={"width": 1400, "height": 1600})
    given = f"{address}/compare?rows=top-layers&rows=full&error=Mean+squared+error"
    opened(page, given)
    page.get_by_text("“First” is top-layers").wait_for(timeout=60_000)
    assert page.url == given
    opened(page, f"{address}/compare?rows=there+is+none")
    page.get_by_text("“First” is ").wait_for(timeout=60_000)


def test_the_address_keeps_what_was_chosen(address: str, new_page: Any) -> None:
    page = new_page(viewport={"width": 1400, "height": 1600})
    opened(page, f"{address}/?by=TVD")
    page.get_by_text("beats in TVD, time and memory").wait_for(timeout=60_000)
    page.get_by_role("link", name="Trade-offs").click()
    page.locator(CHARTS).first.wait_for(timeout=60_000)
    page.wait_for_url("**/tradeoffs?*by=TVD*")


def test_the_ranking_has_an_address_by_its_name(address: str, new_page: Any) -> None:
    page = new_page(viewport={"width": 1400, "height": 1600})
    opened(page, f"{address}/ranking?by=TVD&ranking_strategy=lora&ranking_strategy=full")
    page.get_by_text("2 of the 6 rows").wait_for(timeout=60_000)
    assert page.get_by_text("beats in TVD, time and memory").is_visible()
    assert not page.get_by_role("dialog").count()
    links = page.get_by_test_id("stSidebarNavLink").all_inner_texts()
    assert len([link for link in links if "Ranking" in link]) == 1
    assert {"by=TVD", "ranking_strategy=lora", "ranking_strategy=full"} <= {
        *page.url.partition("?")[2].split("&")
    }


def test_the_ranking_is_sorted_filtered_chosen_from_and_downloaded(
    address: str, new_page: Any
) -> None:
    page = new_page(viewport={"width": 1400, "height": 1600})
    errors = errors_of(page)
    page.goto(f"{address}/?ranking_hide=Notes&ranking_add=Throughput+(audio+s%2Fs)")
    table = page.get_by_test_id("stDataFrame")
    table.wait_for(timeout=60_000)
    page.wait_for_function(f"{NAMES}.length == 6")
    assert names_in(page)[:2] == ["full", "lora"]

    # The cells are drawn on a canvas; what is read aloud of it says what it shows.
    left, top = table.bounding_box()["x"], table.bounding_box()["y"]
    page.mouse.click(left + 140, top + 18)
    page.wait_for_function(f"{NAMES}[0] == 'full'")
    page.mouse.click(left + 140, top + 18)
    page.wait_for_function(f"{NAMES}[0] == 'top-layers+cache'")

    page.get_by_role("combobox", name="Strategy").fill("lora")
    page.get_by_role("option", name="lora", exact=True).click()
    page.wait_for_function(f"{NAMES}.length == 1")
    assert names_in(page) == ["lora"]
    assert "ranking_strategy=lora" in page.url
    page.get_by_text("1 of the 6 rows").wait_for()

    page.mouse.click(left + 16, top + 36 + 18)
    chosen = page.get_by_test_id("stText").get_by_text("lora", exact=True)
    chosen.wait_for()
    page.wait_for_url("**row=lora*")
    other = new_page(viewport={"width": 1400, "height": 1600})
    opened(other, page.url.replace("ranking_strategy=lora&", ""))
    assert len(names_in(other)) == 6
    assert other.get_by_test_id("stText").all_inner_texts() == ["lora"]
    assert other.get_by_role("link", name="Run").count() > 1
    assert chosen_in(other) == ["lora"]
    page.mouse.click(left + 16, top + 36 + 18)
    chosen.wait_for(state="detached")
    assert "row=" not in page.url

    page.get_by_role("button", name="Download", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    with Path(download.value.path()).open(encoding="utf-8") as file:
        (line,) = csv.DictReader(file)
    assert line["Configuration"] == "lora"
    assert float(line["Throughput (audio s/s)"]) > 0
    assert "Notes" not in line
    assert not errors


def test_the_keyboard_reaches_the_sidebar_and_the_table(address: str, new_page: Any) -> None:
    page = new_page(viewport={"width": 1400, "height": 1600})
    errors = errors_of(page)
    page.goto(address)
    page.get_by_test_id("stDataFrame").wait_for(timeout=60_000)
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(FOCUSED))
        if "stDataFrame" in reached:
            break
    assert {"stSelectbox", "stMultiSelect", "stPopover", "stDataFrame"} <= reached
    assert not errors


BACKGROUND = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
NAMES = (
    "[...document.querySelectorAll('[data-testid=stDataFrame] table tbody tr')]"
    ".map((row) => row.children[1].textContent)"
)
"""Of the rows, as a screen reader has them."""
FOCUSED = """() => {
  const near = document.activeElement.closest(
    "[data-testid=stSelectbox], [data-testid=stMultiSelect], [data-testid=stPopover],"
    + "[data-testid=stDataFrame]");
  return near && near.dataset.testid;
}"""
"""Which kind of element has the keyboard."""


def names_in(page: Any) -> list[str]:
    names: list[str] = page.evaluate(NAMES)
    return names


def chosen_in(page: Any) -> list[str]:
    """Names of the rows that are selected, likewise."""
    names: list[str] = page.evaluate(
        "[...document.querySelectorAll('[data-testid=stDataFrame] tr[aria-selected=true]')]"
        ".map((row) => row.children[1].textContent)"
    )
    return names


def errors_of(page: Any) -> list[str]:
    """What goes wrong in the browser from now on, besides what lies beyond the machine.

    At the address of a page Streamlit first looks below it for its server, in vain.
    """
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def note(message: Any) -> None:
        sought = "/_stcore/" in message.location["url"] and "404" in message.text
        if message.type == "error" and "net::ERR" not in message.text and not sought:
            errors.append(message.text)

    page.on("console", note)
    return errors
