from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from serbench.harness import heads, plan, records
from serbench.harness.errors import DatabaseError
from serbench.harness.results import (
    Counts,
    Footprint,
    Phase,
    Predictions,
    Provenance,
    Result,
    Score,
)
from serbench.harness.strategy import Strategy, Variant

MIGRATIONS = Path(records.__file__).resolve().parent / "migrations"
START = datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2)))


@dataclass(frozen=True)
class Probe(Strategy):
    """Any strategy: nothing here trains."""

    rank: int = 8


def make_spec(seed: int = 0) -> plan.Spec:
    return plan.Spec(
        variant=Variant("probe", Probe(rank=4), "bf16", cached=True),
        source_hash="source",
        backbone="tiny",
        init="random",
        backbone_hash="weights",
        corpus=plan.CorpusRef("made-up", "/data"),
        corpus_name="made-up",
        corpus_hash="manifest",
        head=heads.parse("consensus"),
        training=plan.Training(epochs=3),
        seed=seed,
        device="cpu",
        suite="small",
    )


def make_result(**changes: Any) -> Result:
    facts: dict[str, Any] = {
        "status": "ok",
        "phases": [Phase(phase="setup", wall_s=1.0), Phase(phase="train", epoch=0, wall_s=2.0)],
        "scores": [
            Score(corpus="made-up", split="test", metric="ccc", dimension="valence", value=0.5)
        ],
        "predictions": [
            Predictions(
                corpus="made-up",
                split="test",
                dimension="valence",
                utterances=("a", "b"),
                speakers=("s", "t"),
                predicted=(1.0, 2.0),
                labels=(1.5, 2.5),
            )
        ],
        "counts": Counts(
            trainable_params=5_000_000_000, head_params=2, total_params=3, frozen_depth=4, stages=5
        ),
        "notes": ["a note"],
    }
    return Result(**{**facts, **changes})


def write(engine: sa.Engine, result: Result | None = None, **changes: Any) -> int:
    given: dict[str, Any] = {"fingerprint": "f", "seed": 0, "machine": "m", **changes}
    return records.record(
        engine,
        make_spec(given["seed"]),
        result or make_result(),
        Provenance(
            machine={"key": given["machine"], "cpu": "abacus", "memory_bytes": 2**40},
            environment={"key": "e", "python": "3.11", "dirty": False},
            command="serbench run probe",
        ),
        fingerprint=given["fingerprint"],
        started_at=START,
        synthetic=True,
        derived=False,
    )


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    return records.open_database(str(tmp_path / "runs.db"))


def rows(engine: sa.Engine, table: str) -> list[dict[str, Any]]:
    query = sa.select(records.Base.metadata.tables[table])
    with engine.begin() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def test_migrated_schema_is_the_one_declared(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, records.Base.metadata) == []


def test_head_is_the_newest_migration() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert scripts.get_current_head() == records.HEAD
    known = [script.revision for script in scripts.walk_revisions()]
    assert known[::-1] == list(records.REVISIONS)


def test_rows_outlive_a_migration(tmp_path: Path) -> None:
    """Rows written under the first schema are read, and told apart, under the newest."""
    newest = records.open_database(str(tmp_path / "newest.db"))
    write(newest)
    first = sa.create_engine(f"sqlite:///{tmp_path}/runs.db")
    with first.begin() as connection:
        records.upgrade(connection, "0001")
        tables = sa.MetaData()
        tables.reflect(connection)
        for name in ("machines", "environments", "runs", "phases"):
            table = tables.tables[name]
            old = [{c.name: row[c.name] for c in table.c} for row in rows(newest, name)]
            connection.execute(sa.insert(table), old)
    migrated = records.open_database(str(tmp_path / "runs.db"))
    (row,) = rows(migrated, "runs")
    assert row["cached"]
    assert row["cache_dtype"] == "auto"
    assert row["repeat"] == 0
    assert row["utilisation"] is None
    assert len(rows(migrated, "phases")) == len(rows(newest, "phases"))


def test_a_cache_that_was_filled_in_part_has_no_filling_time() -> None:
    phases = [Phase(phase="cache_fill", wall_s=3.0, epoch=0)]
    assert records.totals(phases).cache_fill_s == 3.0
    assert records.totals(phases, filled=False).cache_fill_s is None


def test_settings_of_sqlite(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(sa.text("PRAGMA busy_timeout")) == records.BUSY_TIMEOUT_MS


def test_opening_again_keeps_the_rows_and_needs_no_alembic(engine: sa.Engine) -> None:
    write(engine)
    path = engine.url.database
    code = (
        "import sys; from serbench.harness import records;"
        f"records.open_database({path!r});"
        "assert not {'alembic', 'torch', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(rows(engine, "runs")) == 1


def test_a_url_is_as_good_as_a_path(tmp_path: Path) -> None:
    engine = records.open_database(f"sqlite:///{tmp_path}/runs.db")
    assert (tmp_path / "runs.db").is_file()
    assert rows(engine, "runs") == []


def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, not a database\n" * 40)
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match=r"notes\.txt: file is not a database"):
        records.open_database(str(path))
    assert path.read_bytes() == before


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(DatabaseError, match="something else"):
        records.open_database(str(path))


def test_a_newer_schema_is_refused(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match=r"9999.*newer"):
        records.open_database(str(engine.url.database))


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("{tmp}/none/runs.db", "there is no folder"),
        ("{tmp}", "is a folder"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("nonsense://x/y", "nonsense"),
        ("://", "no URL"),
    ],
)
def test_places_where_no_database_can_be(tmp_path: Path, place: str, says: str) -> None:
    with pytest.raises(DatabaseError, match=says):
        records.open_database(place.format(tmp=tmp_path))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc")
def test_a_location_that_cannot_be_written_to() -> None:
    with pytest.raises(DatabaseError, match=r"/proc/runs\.db"):
        records.open_database("/proc/runs.db")


def test_a_read_only_database_is_refused(engine: sa.Engine) -> None:
    with pytest.raises(DatabaseError, match="readonly"):
        records.open_database(f"sqlite:///file:{engine.url.database}?mode=ro&uri=true")


def test_a_password_is_not_told() -> None:
    with pytest.raises(DatabaseError) as caught:
        records.open_database("nonsense://me:secret@host/db")
    assert "secret" not in str(caught.value)


def test_a_run_is_written_with_all_that_belongs_to_it(engine: sa.Engine) -> None:
    run_id = write(engine)
    (run,) = rows(engine, "runs")
    assert run["id"] == run_id
    expected = {
        "label": "probe:rank=4+bf16+cache",
        "strategy": "probe",
        "config": {"lr": 1e-4, "rank": 4},
        "precision": "bf16",
        "cached": True,
        "corpus": "made-up",
        "suite": "small",
        "started_at": "2024-05-01T12:00:00+00:00",
        "protocol": plan.PROTOCOL,
        "synthetic": True,
        "derived": False,
        "notes": ["a note"],
        "trainable_params": 5_000_000_000,
        "epoch_s": None,
        "run_s": 3.0,
    }
    assert {key: run[key] for key in expected} == expected
    assert run["training"]["epochs"] == 3
    assert [phase["phase"] for phase in rows(engine, "phases")] == ["setup", "train"]
    assert rows(engine, "scores")[0]["value"] == 0.5
    assert [(p["utterance"], p["speaker"], p["label"]) for p in rows(engine, "predictions")] == [
        ("a", "s", 1.5),
        ("b", "t", 2.5),
    ]


def test_a_failed_run_is_a_row(engine: sa.Engine) -> None:
    write(engine, Result(status="oom", message="too large", traceback="..."))
    (run,) = rows(engine, "runs")
    assert (run["status"], run["message"], run["run_s"]) == ("oom", "too large", None)
    assert run["trainable_params"] is None


def test_a_machine_is_written_once(engine: sa.Engine) -> None:
    for machine in ("m", "m", "n"):
        write(engine, machine=machine)
    assert [row["key"] for row in rows(engine, "machines")] == ["m", "n"]
    assert [row["machine_id"] for row in rows(engine, "runs")] == [1, 1, 2]
    assert len(rows(engine, "environments")) == 1


def test_what_is_no_number_is_null(engine: sa.Engine) -> None:
    nan = float("nan")
    score = Score(corpus="c", split="test", metric="ccc", dimension="valence", value=nan)
    phase = Phase(phase="train", wall_s=1.0, loss=float("inf"))
    write(engine, make_result(scores=[score], phases=[phase]))
    assert rows(engine, "scores")[0]["value"] is None
    assert rows(engine, "phases")[0]["loss"] is None


def test_a_write_that_fails_leaves_nothing(engine: sa.Engine) -> None:
    twice = make_result().predictions * 2
    with pytest.raises(DatabaseError, match=r"runs\.db"):
        write(engine, make_result(predictions=twice))
    for table in ("machines", "environments", "runs", "phases", "scores", "predictions"):
        assert rows(engine, table) == []


def test_finished_are_those_that_ended_well(engine: sa.Engine) -> None:
    write(engine, fingerprint="good")
    write(engine, make_result(status="failed"), fingerprint="bad")
    assert records.finished(engine, ["good", "bad", "unknown"]) == {"good"}
    assert records.finished(engine, []) == set()


def _write_many(path: str, first: int, barrier: Any) -> None:
    barrier.wait()
    engine = records.open_database(path)
    for seed in range(first, first + 20):
        write(engine, seed=seed, fingerprint=str(seed))


def test_processes_open_and_write_at_the_same_time(tmp_path: Path) -> None:
    path = str(tmp_path / "runs.db")
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    writers = [
        context.Process(target=_write_many, args=(path, first, barrier)) for first in (0, 100, 200)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    engine = records.open_database(path)
    assert len(rows(engine, "runs")) == 60
    assert len(rows(engine, "machines")) == 1
    assert len(rows(engine, "predictions")) == 120


def test_utilisation_is_of_warm_epochs_against_the_peak(engine: sa.Engine) -> None:
    phases = [train(0, 9.0, flops=40.0, cold=True), train(1, 2.0, flops=40.0)]
    footprint = Footprint(matmul_flops_per_s=80.0, saved_activation_bytes=5, gpu_others=2)
    write(engine, Result(status="ok", phases=phases, footprint=footprint, start_s=0.25))
    (row,) = rows(engine, "runs")
    assert row["utilisation"] == 0.25
    assert row["saved_activation_bytes"] == 5
    assert (row["gpu_others"], row["start_s"]) == (2, 0.25)
    assert row["weight_bytes"] is None, "not measured is not 0"


def train(epoch: int, wall_s: float, **changes: Any) -> Phase:
    return Phase(phase="train", epoch=epoch, wall_s=wall_s, **changes)


def test_totals_by_hand() -> None:
    found = records.totals(
        [
            Phase(phase="setup", wall_s=1.0, peak_vram_bytes=999, peak_host_bytes=999),
            Phase(phase="cache_fill", wall_s=7.0),
            train(0, 50.0, cold=True, audio_s=100.0, peak_vram_bytes=5, peak_host_bytes=8),
            Phase(phase="validate", epoch=0, wall_s=2.0, peak_vram_bytes=999),
            train(1, 10.0, audio_s=100.0, peak_vram_bytes=6, **warm(0.1, 20.0, 300.0)),
            train(2, 40.0, audio_s=100.0, peak_reserved_bytes=9, **warm(0.4, 80.0, 300.0)),
            train(3, 20.0, audio_s=150.0, peak_host_bytes=7, **warm(0.2, 30.0, 450.0)),
            Phase(phase="test", wall_s=3.0),
            Phase(phase="save", wall_s=1000.0),
        ]
    )
    assert found == records.Totals(
        epoch_s=20.0,
        cache_fill_s=7.0,
        run_s=133.0,
        audio_s_per_s=5.0,
        peak_vram_bytes=6,
        peak_reserved_bytes=9,
        peak_process_vram_bytes=None,
        peak_host_bytes=8,
        peak_host_anonymous_bytes=3,
        data_wait_s=0.2,
        energy_j=30.0,
        achieved_flops_per_s=15.0,
    )


def warm(data_wait_s: float, energy_j: float, flops: float) -> dict[str, Any]:
    return {
        "data_wait_s": data_wait_s,
        "energy_j": energy_j,
        "flops": flops,
        "peak_host_anonymous_bytes": 3,
    }


def test_totals_of_nothing_and_of_the_cold_epoch_alone() -> None:
    assert set(vars(records.totals([])).values()) == {None}
    cold = records.totals([train(0, 5.0, audio_s=10.0)])
    assert (cold.epoch_s, cold.audio_s_per_s, cold.run_s) == (None, None, 5.0)


def test_throughput_is_unknown_if_an_epoch_lacks_its_audio() -> None:
    assert records.totals([train(1, 5.0, audio_s=10.0), train(2, 5.0)]).audio_s_per_s is None
