from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from serbench.harness import heads
from serbench.harness.errors import DatabaseError, RequestError
from serbench.harness.records import HEAD, open_database
from serbench.leaderboard import queries


def test_a_missing_file_is_named_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with pytest.raises(DatabaseError, match=r"none\.db.*no such file"):
        queries.open_for_reading(str(path))
    assert not path.exists()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to have a header" * 9)
    with pytest.raises(DatabaseError, match=r"notes\.txt: file is not a database"):
        queries.open_for_reading(str(path))


def test_a_file_without_tables(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    with pytest.raises(DatabaseError, match="holds no tables"):
        queries.open_for_reading(str(path))


def test_a_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    open_database(str(path))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match="newer"):
        queries.open_for_reading(str(path))


def test_an_older_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.db"
    open_database(str(path))
    monkeypatch.setattr(queries, "HEAD", "9999")
    with pytest.raises(DatabaseError, match=f"{HEAD}, older than 9999"):
        queries.open_for_reading(str(path))


def test_no_runs(tmp_path: Path) -> None:
    open_database(str(tmp_path / "runs.db"))
    engine = queries.open_for_reading(str(tmp_path / "runs.db"))
    assert queries.configurations(engine) == []
    frame = queries.predictions(engine, [])
    assert frame.empty
    assert set(frame) >= {"run_id", "dimension", "speaker", "predicted", "label"}


def test_nothing_can_be_written(filled: Any) -> None:
    engine = queries.open_for_reading(str(filled.path))
    with (
        engine.connect() as connection,
        pytest.raises(sa.exc.OperationalError, match="readonly"),
    ):
        connection.execute(sa.text("DELETE FROM runs"))


def test_a_path_with_signs_that_mean_something_in_a_uri(tmp_path: Path) -> None:
    path = tmp_path / "a b?c#d%20.db"
    open_database(str(path))
    assert queries.configurations(queries.open_for_reading(str(path))) == []


def test_configurations_carry_final_scores_and_filter(filled: Any) -> None:
    engine = queries.open_for_reading(str(filled.path))
    runs = queries.configurations(engine)
    assert len(runs) == 13
    assert runs[0]["ccc_activation"] == pytest.approx(0.97, abs=0.02)
    assert runs[0]["ccc_dominance"] is None
    assert runs[-1]["status"] == "oom"
    assert runs[0]["machine"] == "machine-1"
    assert len(queries.configurations(engine, machine="machine-1", head="consensus")) == 13
    for wrong in ("machine", "corpus", "backbone", "head", "suite"):
        assert queries.configurations(engine, **{wrong: "other"}) == []


def test_predictions_of_the_test_split_only(filled: Any) -> None:
    engine = queries.open_for_reading(str(filled.path))
    frame = queries.predictions(engine, [1, 2])
    assert set(frame["run_id"]) == {1, 2}
    assert len(frame) == 2 * 2 * 160
    assert queries.predictions(engine, [1], test_corpus="other").empty


def test_run_has_its_phases_scores_and_epochs(filled: Any) -> None:
    found = queries.run(queries.open_for_reading(str(filled.path)), "1")
    assert found["status"] == "ok"
    assert found["machine"]["gpu"] == "H100"
    assert [phase["phase"] for phase in found["phases"]] == ["setup", "train", "train", "train"]
    assert [epoch["loss"] for epoch in found["epochs"]] == pytest.approx([1.0, 0.9, 0.8])
    assert found["epochs"][0]["cold"]
    assert found["epochs"][2]["validation"] == {"valence": pytest.approx(0.2)}
    assert {score["split"] for score in found["scores"]} == {"test", "validation"}
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("name", ["99", "full", "-1", ""])
def test_a_run_that_is_not_there(filled: Any, name: str) -> None:
    with pytest.raises(RequestError):
        queries.run(queries.open_for_reading(str(filled.path)), name)


def test_a_head_is_found_whatever_was_stated(recorder: Any) -> None:
    recorder("full", head=heads.parse("annotators"))
    recorder("full", head=heads.parse("annotators:tasks=1+3,width=64"), seed=1)
    recorder("full", head=heads.parse("annotators:tasks=1"))
    engine = queries.open_for_reading(str(recorder.path))
    for text in ("annotators", "annotators:tasks=1+3", "annotators:width=64,tasks=1+3"):
        runs = queries.configurations(engine, head=text)
        assert [run["id"] for run in runs] == [1, 2]
        assert {run["head"] for run in runs} == {"annotators"}
        assert all(run["ccc_valence"] is not None for run in runs)
    assert [run["id"] for run in queries.configurations(engine, head="annotators:tasks=1")] == [3]


def test_a_head_whose_plugin_is_not_here_is_found_by_what_was_stated(
    recorder: Any, gone: Any
) -> None:
    elsewhere = heads.parse("annotators").objective
    recorder("full", head=gone("gone", elsewhere))
    recorder("full", head=gone("gone", elsewhere, frozenset({"width"})), seed=1)
    engine = queries.open_for_reading(str(recorder.path))
    for text in ("gone", "gone:width=64"):
        assert [run["id"] for run in queries.configurations(engine, head=text)] == [1, 2]
    assert queries.configurations(engine, head="gone:width=65") == []
