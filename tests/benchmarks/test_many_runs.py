"""What a database of 100,000 runs × 10 epochs takes: its choices, one group's rows, the pages.

pytest tests/benchmarks/test_many_runs.py --benchmark-enable --benchmark-only -s

Of 81 settings the newest has 2,000 configurations, and the others 100 each; all have ten seeds. One
run in fifty did not end well.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import streamlit as st
from browsing import CHROMIUM, browser, served
from pytest_benchmark.fixture import BenchmarkFixture
from streamlit.testing.v1 import AppTest

import serbench.leaderboard
from serbench.harness import plan, records
from serbench.harness.metrics import RANKINGS
from serbench.leaderboard import queries, ranking
from serbench.leaderboard.configurations import groups
from serbench.leaderboard.differences import parts
from serbench.leaderboard.failures import MOST_FITS
from serbench.leaderboard.queries_aggregates import aggregates
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.settings import Setting, settings
from serbench.leaderboard.shortlist import Shortlist, shortlist
from serbench.leaderboard.views import failures

pytestmark = pytest.mark.slow
APP = Path(next(iter(serbench.leaderboard.__path__))) / "app.py"
RUNS = 100_000
FEW = 1_000
"""Where nothing is timed."""
SEEDS, EPOCHS, SPEAKERS = 10, 10, 10
USUAL, LARGE = 1_000, 20_000
"""Runs of a setting, of so many."""
SCREEN = {"width": 1400, "height": 900}
PAGES = ("Trade-offs", "Choose", "Compare", "Run", "Annotators", "Failures", "Ranking")
DONE = "[data-test-script-state=notRunning]"
RUNNING = "[data-test-script-state=running]"
FAILS = 50
"""Every so-manieth run of a setting did not end well."""


@pytest.fixture(scope="module")
def share(pytestconfig: pytest.Config) -> float:
    return (RUNS if pytestconfig.getoption("benchmark_enable") else FEW) / RUNS


@pytest.fixture(scope="module")
def database(share: float, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("many")
    write(folder / "runs.db", round(share * RUNS))
    yield folder / "runs.db"
    shutil.rmtree(folder)


def test_settings(database: Path, benchmark: BenchmarkFixture) -> None:
    engine = queries.open_for_reading(str(database))
    found = benchmark(settings, engine)
    assert len(found) == 81
    told("settings", benchmark)


@pytest.mark.parametrize("size", [USUAL, LARGE])
def test_rows_of_a_setting(
    size: int, database: Path, share: float, benchmark: BenchmarkFixture
) -> None:
    engine = queries.open_for_reading(str(database))
    setting = next(each for each in settings(engine) if each.runs == round(size * share))
    rows = benchmark.pedantic(rows_of, args=(engine, setting), rounds=3)  # type: ignore[no-untyped-call]
    assert len(rows) == size * share / SEEDS
    assert sum(row.failed for row in rows) == setting.runs // FAILS
    assert sum(row.runs + row.failed for row in rows) == setting.runs
    told(f"rows of {size:,} runs", benchmark)


def test_rows_of_a_shortlist(database: Path, share: float, benchmark: BenchmarkFixture) -> None:
    engine = queries.open_for_reading(str(database))
    setting = next(each for each in settings(engine) if each.runs == round(LARGE * share))

    def found() -> list[Row]:
        listed = shortlisted(engine, setting)
        return rows_of(engine, setting, listed.run_ids if listed else None)

    rows = benchmark.pedantic(found, rounds=3)  # type: ignore[no-untyped-call]
    best = [row.run_ids for row in rows_of(engine, setting)[: ranking.BEST]]
    assert [row.run_ids for row in rows[: ranking.BEST]] == best
    told("rows of a shortlist", benchmark)


def shortlisted(engine: sa.Engine, setting: Setting) -> Shortlist | None:
    return shortlist(aggregates(engine, setting, RANKINGS["ccc"].keys), "ccc")


def rows_of(
    engine: sa.Engine, setting: Setting, run_ids: tuple[int, ...] | None = None
) -> list[Row]:
    (group,) = groups(queries.configurations(engine, setting, run_ids))
    return ranking.rank_group(group, parts(queries.evidence(engine, ranking.runs_of_best(group))))


def told(what: str, benchmark: BenchmarkFixture) -> None:
    if benchmark.stats is not None:
        print(f"\n{what}: {benchmark.stats.stats.median:.2f} s")


def test_first_run_of_the_script(
    database: Path, benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read yet, and everything imported."""
    monkeypatch.setenv("SERBENCH_DB", str(database))

    def run() -> AppTest:
        st.cache_data.clear()
        st.cache_resource.clear()
        return AppTest.from_file(str(APP), default_timeout=60).run()

    run()
    shown = benchmark.pedantic(run, rounds=3)  # type: ignore[no-untyped-call]
    assert not shown.exception
    assert len(shown.dataframe[0].value)
    told("the script's first run", benchmark)


@pytest.mark.benchmark(timer=time.process_time)
def test_failures(database: Path, share: float, benchmark: BenchmarkFixture) -> None:
    """Nothing is read yet, and everything imported."""

    def run() -> AppTest:
        st.cache_data.clear()
        drawn = AppTest.from_function(draw_failures, args=(str(database),), default_timeout=60)
        return drawn.run()

    run()
    shown = benchmark.pedantic(run, rounds=3)  # type: ignore[no-untyped-call]
    assert not shown.exception
    failed = sum(size // FAILS for size in sizes(round(share * RUNS)))
    listed, fitting = shown.dataframe
    assert len(listed.value) == min(failures.MOST, failed)
    assert len(fitting.value) == MOST_FITS
    told("the page of failures, seconds of a processor", benchmark)


def draw_failures(path: str) -> None:
    """The page alone, of whichever comparison."""
    from serbench.leaderboard.configurations import Group
    from serbench.leaderboard.views import choices, failures, reading

    version = reading.version(path)
    failures.page(
        choices.Chosen(
            path=path,
            version=version,
            setting=reading.all_settings(path, version)[0],
            test_corpus=None,
            shortlist=None,
            group=Group(key="", members=()),
            rows=(),
        )
    )


@pytest.mark.skipif("not config.getoption('benchmark_enable')", reason="nothing is timed")
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}")
def test_first_paint_and_filters(database: Path, share: float, benchmark: BenchmarkFixture) -> None:
    """Of a server that nobody has asked yet: the newest setting, then others, there and back."""
    pytest.importorskip("playwright.sync_api")
    lines = {"corpus-3": round(USUAL * share / SEEDS), "corpus-4": _listed(database)}
    with browser() as chromium:
        for corpus, other in (("corpus-4", "corpus-3"), ("corpus-3", "corpus-4")):
            with served(database) as leaderboard:
                address, server = f"{leaderboard.address}/?corpus={corpus}", leaderboard.pid
                page = chromium.new_page(viewport=SCREEN)
                with clocked(f"first paint of {corpus}", server) as lap:
                    page.goto(address)
                    page.get_by_role("heading", level=1).wait_for(timeout=60_000)
                    lap(page.locator(DONE))
                    has_lines(page, lines[corpus])
                for chosen in (other, corpus):
                    page.get_by_test_id("stSelectbox").filter(has_text="Corpus").click()
                    option = page.get_by_role("option", name=chosen)
                    option.wait_for()
                    with clocked(f"filter, to {chosen}", server) as lap:
                        option.click()
                        page.locator(RUNNING).wait_for(timeout=60_000)
                        lap(page.locator(DONE))
                        has_lines(page, lines[chosen])
                page.close()
                page = chromium.new_page(viewport=SCREEN)
                with clocked(f"first paint of {corpus}, opened again", server):
                    page.goto(address)
                    has_lines(page, lines[corpus])
                for name in PAGES:
                    with clocked(f"{name} of {corpus}", server):
                        page.get_by_role("link", name=name, exact=True).click()
                        page.get_by_role("heading", name=name, level=1).wait_for(timeout=60_000)
                        page.locator(DONE).wait_for(timeout=60_000)
                    assert not page.get_by_test_id("stException").count()
    benchmark.pedantic(lambda: None, rounds=1)  # type: ignore[no-untyped-call]


def _listed(database: Path) -> int:
    engine = queries.open_for_reading(str(database))
    found = shortlisted(engine, max(settings(engine), key=lambda setting: setting.runs))
    assert found is not None
    return found.configurations


@contextmanager
def clocked(what: str, server: int) -> Iterator[Callable[[Any], None]]:
    """Print seconds on the wall, and those that the server took of a processor.

    Gives a function that waits for what it is given, and prints these up to then.
    """
    start, before = time.perf_counter(), processor_s(server)

    def say(until: str) -> None:
        wall_s = time.perf_counter() - start
        print(f"\n{what}{until}: {wall_s:.2f} s (server {processor_s(server) - before:.2f} s)")

    def lap(awaited: Any) -> None:
        awaited.wait_for(timeout=60_000)
        say(", drawn")

    yield lap
    say("")


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def has_lines(page: Any, lines: int) -> None:
    """Wait until a table of so many lines, with its head, is told to screen readers: a while after
    it is drawn, on a canvas that only an eye can read.
    """
    grid = f"[data-testid=stDataFrame] [role=grid][aria-rowcount='{lines + 1}']"
    page.locator(grid).first.wait_for(state="attached", timeout=60_000)


def sizes(runs: int) -> list[int]:
    """Runs of each setting, of so many in all: a fifth of them are of one, the newest."""
    usual, large = (round(size * runs / RUNS) for size in (USUAL, LARGE))
    return [usual] * ((runs - large) // usual) + [large]


def write(path: Path, runs: int) -> None:
    """Make up so many runs."""
    engine = records.open_database(str(path))
    with engine.begin() as connection:
        for key in range(4):
            connection.execute(sa.insert(records.MachineRow), {"key": f"m{key}", "gpu": "H100"})
        connection.execute(sa.insert(records.EnvironmentRow), {"key": "e", "torch": "2"})
        done = 0
        for setting, size in enumerate(sizes(runs)):
            rows = [_run(setting, done + i, i) for i in range(size)]
            connection.execute(sa.insert(records.RunRow), rows)
            done += size
        for statement in PARTS:
            connection.execute(sa.text(statement))


def _run(setting: int, number: int, index: int) -> dict[str, Any]:
    configuration, seed = divmod(index, SEEDS)
    failure = FAILURES[index // FAILS % 2] if index % FAILS == FAILS - 1 else None
    return {
        "fingerprint": f"f{number:023}",
        "status": failure[0] if failure else "ok",
        "message": failure[1] if failure else None,
        "notes": [],
        "started_at": f"2024-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}",
        "label": f"lora:rank={configuration + 1}",
        "strategy": "lora",
        "config": {"lr": 0.001, "rank": configuration + 1, "alpha": 16, "targets": ["q", "v"]},
        "source_hash": "source",
        "precision": "fp32",
        "cached": False,
        "head": "consensus",
        "backbone": f"backbone-{setting // 4 % 5}",
        "init": "pretrained",
        "backbone_hash": f"weights-{setting // 4 % 5}",
        "corpus": f"corpus-{setting // 20}",
        "corpus_hash": f"manifest-{setting // 20}",
        "synthetic": True,
        "derived": False,
        "cost_only": False,
        "suite": "made-up",
        "seed": seed,
        "training": dataclasses.asdict(plan.Training(epochs=EPOCHS)),
        "protocol": plan.PROTOCOL,
        "device": "cuda:0",
        "command": "serbench run --suite made-up --corpus made-up",
        "machine_id": 1 + setting % 4,
        "environment_id": 1,
        **{name: None if failure else each for name, each in _figures(configuration).items()},
    }


def _figures(configuration: int) -> dict[str, float]:
    return {
        "epoch_s": 10 + configuration % 97 / 10,
        "run_s": 100.0 + configuration % 89,
        "audio_s_per_s": 600.0 - configuration % 97,
        "peak_vram_bytes": 2**30 + configuration % 83 * 2**20,
        "trainable_params": 1000 * (configuration + 1),
        "total_params": 90_000_000,
        "best_epoch": 9,
    }


FAILURES = (
    ("failed", "ValueError: no more than a made-up failure"),
    ("oom", "OutOfMemoryError: Tried to allocate 2.00 GiB"),
)
WELL = "(SELECT * FROM runs WHERE status = 'ok') AS runs"
EPOCH = f"WITH RECURSIVE epochs(e) AS (SELECT 0 UNION ALL SELECT e + 1 FROM epochs LIMIT {EPOCHS})"
DIMENSIONS = "(SELECT 'activation' AS dimension UNION SELECT 'valence')"
CHANCE = "(random() % 1000 / 1000.0)"
"""From -1 to 1."""
GOOD = "(0.5 + 0.2 * ((runs.id - 1) / 10 % 173) / 173)"
"""Of the runs of a configuration."""
PARTS = (
    f"INSERT INTO phases (run_id, phase, cold, wall_s) SELECT id, 'setup', 0, 1.0 FROM {WELL}",
    f"""{EPOCH} INSERT INTO phases (run_id, phase, epoch, cold, wall_s, loss, audio_s)
    SELECT runs.id, phase, e, e = 0, epoch_s, 1.0 / (1 + e), 600.0
    FROM {WELL}, epochs, (SELECT 'train' AS phase UNION SELECT 'validation')""",
    f"""{EPOCH} INSERT INTO scores (run_id, corpus, split, metric, dimension, epoch, value)
    SELECT runs.id, corpus, 'validation', 'ccc', dimension, e, {GOOD} * (e + 1) / {EPOCHS}
    FROM {WELL}, epochs, {DIMENSIONS}""",
    f"""INSERT INTO scores (run_id, corpus, split, metric, dimension, value)
    SELECT runs.id, corpus, 'test', 'ccc', dimension, {GOOD} + 0.01 * {CHANCE}
    FROM {WELL}, {DIMENSIONS}""",
    f"""WITH RECURSIVE speakers(s) AS (SELECT 0 UNION ALL SELECT s + 1 FROM speakers
    LIMIT {SPEAKERS}) INSERT INTO predictions
    (run_id, corpus, split, dimension, utterance, speaker, predicted, label)
    SELECT runs.id, corpus, 'test', dimension, 'u' || s, 's' || s,
    s / 10.0 + (1 - {GOOD}) * {CHANCE}, s / 10.0 FROM {WELL}, {DIMENSIONS}, speakers""",
)
