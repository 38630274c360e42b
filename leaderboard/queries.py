"""The only reader of the database: SQL in, plain rows out."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from serbench.harness.errors import DatabaseError, RequestError
from serbench.harness.metrics import DIMENSIONS, Sums
from serbench.harness.records import (
    HEAD,
    EnvironmentRow,
    MachineRow,
    PhaseRow,
    PredictionRow,
    RunRow,
    ScoreRow,
    database_url,
    revision,
    translated,
)

__all__ = ["configurations", "open_for_reading", "predictions", "run"]

TEST = "test"
CCC = "ccc"


def open_for_reading(url_or_path: str) -> sa.Engine:
    """Open a database such that nothing in it can change.

    Raises:
        DatabaseError: it is missing, not ours, or its schema is not the one this serbench reads.
    """
    url = database_url(url_or_path)
    with translated(url):
        engine = _engine(url)
        with engine.connect() as connection:
            found = revision(connection)
    if found != HEAD:
        written = f"has schema revision {found}, older than {HEAD}" if found else "holds no tables"
        raise DatabaseError(
            f"{url_or_path}: {written}; the next 'serbench run' into it brings it up to date"
        )
    return engine


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite" or "uri" in url.query:
        return sa.create_engine(url, poolclass=NullPool)
    path = Path(url.database or "").absolute()
    if not path.is_file():
        raise DatabaseError("there is no such file")
    return sa.create_engine(url, creator=lambda: _connect(path), poolclass=NullPool)


def _connect(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, check_same_thread=False)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        # In a folder that cannot be written to, WAL's index cannot be made beside the file. Then
        # nobody writes to it either, unless a writer's log is there.
        if Path(f"{path}-wal").exists():
            raise
        connection = sqlite3.connect(f"{address}&immutable=1", uri=True, check_same_thread=False)
    return connection


def configurations(
    engine: sa.Engine,
    *,
    machine: str | None = None,
    corpus: str | None = None,
    backbone: str | None = None,
    head: str | None = None,
    suite: str | None = None,
    test_corpus: str | None = None,
) -> list[dict[str, Any]]:
    """Every run that a ranking needs to know of, oldest first, however it ended.

    A row has the columns of `runs` but its long texts, and
    - `machine`, the machine's key, and what it is made of: `cpu`, `cores`, `gpu`, `gpu_count`
    - `ids`, its own id alone, and `folds`, how many its fold is one of
    - `tested_on`, the corpus that its scores are of, and the hash of that if it is a further one
    - for each dimension `ccc_<dimension>`, the final test score, or None, and where there are folds
      `sums_<dimension>`, from which the CCC over several is found.

    Args:
        test_corpus: only runs that were tested on this further corpus, with their scores on it.

    Raises:
        DatabaseError: the database could not be read.
    """
    wanted = {
        MachineRow.key: machine,
        RunRow.corpus: corpus,
        RunRow.backbone: backbone,
        RunRow.head: head,
        RunRow.suite: suite,
    }
    conditions = [column == value for column, value in wanted.items() if value is not None]
    tested_on = _tested_on(test_corpus)
    long = ("traceback", "command", "notes")
    columns = [column for column in RunRow.__table__.columns if column.name not in long]
    hardware = (MachineRow.cpu, MachineRow.cores, MachineRow.gpu, MachineRow.gpu_count)
    software = (EnvironmentRow.torch, EnvironmentRow.threads)
    query = (
        sa.select(
            *columns,
            MachineRow.key.label("machine"),
            *hardware,
            *software,
            *(_final_ccc(dimension, tested_on) for dimension in DIMENSIONS),
        )
        .join(MachineRow, MachineRow.id == RunRow.machine_id)
        .join(EnvironmentRow, EnvironmentRow.id == RunRow.environment_id)
        .where(*conditions)
        .order_by(RunRow.started_at, RunRow.id)
    )
    found = [_told(row, test_corpus) for row in _dicts(engine, query)]
    kept = [row for row in found if test_corpus is None or row["tested_on_hash"]]
    if any(row["fold"] for row in kept):
        sums = _sums(engine, conditions, tested_on)
        for row in kept:
            row.update({f"sums_{d}": sums.get((row["id"], d)) for d in DIMENSIONS})
    return kept


def _tested_on(test_corpus: str | None) -> sa.ColumnElement[str]:
    return RunRow.corpus.expression if test_corpus is None else sa.literal(test_corpus)


def _told(row: dict[str, Any], test_corpus: str | None) -> dict[str, Any]:
    """A row with what its columns say only together."""
    others = {each["name"]: each for each in row["elsewhere"] or ()}
    other = others.get(test_corpus or "", {})
    count = (row["fold"] or "").partition("/")[2]
    return {
        **row,
        "ids": (row["id"],),
        "folds": int(count) if count else None,
        "tested_on": test_corpus or row["corpus"],
        "tested_on_hash": other.get("hash"),
        **{flag: row[flag] or other.get(flag, False) for flag in ("synthetic", "derived")},
    }


def _sums(
    engine: sa.Engine,
    conditions: Sequence[sa.ColumnElement[bool]],
    tested_on: sa.ColumnElement[str],
) -> dict[tuple[int, str], Sums]:
    """By run and dimension the sums over the test predictions of every fold."""
    p, y = PredictionRow.predicted, PredictionRow.label
    query = (
        sa.select(
            PredictionRow.run_id,
            PredictionRow.dimension,
            sa.func.count(),
            *map(sa.func.sum, (p, y, p * p, y * y, p * y)),
        )
        .join(RunRow, RunRow.id == PredictionRow.run_id)
        .join(MachineRow, MachineRow.id == RunRow.machine_id)
        .where(
            *conditions,
            RunRow.fold.is_not(None),
            PredictionRow.corpus == tested_on,
            PredictionRow.split == TEST,
            p.is_not(None),
            y.is_not(None),
        )
        .group_by(PredictionRow.run_id, PredictionRow.dimension)
    )
    with translated(engine.url), engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    return {(run_id, dimension): Sums(*sums) for run_id, dimension, *sums in rows}


def _final_ccc(dimension: str, tested_on: sa.ColumnElement[str]) -> sa.Label[float | None]:
    return (
        sa.select(sa.func.max(ScoreRow.value))
        .where(
            ScoreRow.run_id == RunRow.id,
            ScoreRow.corpus == tested_on,
            ScoreRow.split == TEST,
            ScoreRow.metric == CCC,
            ScoreRow.dimension == dimension,
        )
        .scalar_subquery()
        .label(f"ccc_{dimension}")
    )


def predictions(
    engine: sa.Engine, run_ids: Collection[int], *, test_corpus: str | None = None
) -> pd.DataFrame:
    """Predictions of runs on the test split of their own corpus, or of a further one.

    Returns:
        frame with the columns run_id, dimension, utterance, speaker, predicted, label

    Raises:
        DatabaseError: the database could not be read.
    """
    query = (
        sa.select(
            PredictionRow.run_id,
            PredictionRow.dimension,
            PredictionRow.utterance,
            PredictionRow.speaker,
            PredictionRow.predicted,
            PredictionRow.label,
        )
        .join(RunRow, RunRow.id == PredictionRow.run_id)
        .where(
            PredictionRow.run_id.in_(run_ids),
            PredictionRow.split == TEST,
            PredictionRow.corpus == _tested_on(test_corpus),
        )
    )
    with translated(engine.url), engine.connect() as connection:
        result = connection.execute(query)
        frame: pd.DataFrame = pd.DataFrame(result.fetchall(), columns=list(result.keys()))
    # An empty frame, or a column with NULL, would otherwise hold objects.
    frame["predicted"] = frame["predicted"].astype(float)
    frame["label"] = frame["label"].astype(float)
    return frame


def run(engine: sa.Engine, run_id: int | str) -> dict[str, Any]:
    """One run whole: its columns, `machine`, `environment`, `phases`, `scores` and `epochs`.

    `epochs` has for each training epoch its number from 0, `loss` (training), `wall_s`, `cold` and
    `validation`, the CCC of each dimension.

    Raises:
        RequestError: there is no run of that id.
        DatabaseError: the database could not be read.
    """
    if not str(run_id).isdecimal():
        raise RequestError(f"a run is named by its number, not '{run_id}'")
    # No database counts further.
    number = min(int(run_id), 2**63 - 1)
    found = _dicts(engine, sa.select(RunRow.__table__).where(RunRow.id == number))
    if not found:
        raise RequestError(f"there is no run {run_id}")
    row = found[0]
    machine = sa.select(MachineRow.__table__).where(MachineRow.id == row.pop("machine_id"))
    software = sa.select(EnvironmentRow.__table__).where(
        EnvironmentRow.id == row.pop("environment_id")
    )
    phases = _parts(engine, PhaseRow.__table__, number)
    scores = _parts(engine, ScoreRow.__table__, number)
    return {
        **row,
        "machine": _dicts(engine, machine)[0],
        "environment": _dicts(engine, software)[0],
        "phases": phases,
        "scores": scores,
        "epochs": _epochs(phases, scores),
    }


def _parts(engine: sa.Engine, table: sa.FromClause, run_id: int) -> list[dict[str, Any]]:
    columns = [column for column in table.c if column.name not in ("id", "run_id")]
    return _dicts(engine, sa.select(*columns).where(table.c.run_id == run_id).order_by(table.c.id))


def _epochs(phases: list[dict[str, Any]], scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def validation(epoch: int) -> dict[str, float | None]:
        return {
            score["dimension"]: score["value"]
            for score in scores
            if score["epoch"] == epoch and score["metric"] == CCC
        }

    return [
        {
            **{key: phase[key] for key in ("epoch", "loss", "wall_s", "cold")},
            "validation": validation(phase["epoch"]),
        }
        for phase in phases
        if phase["phase"] == "train"
    ]


def _dicts(engine: sa.Engine, query: sa.Select[Any]) -> list[dict[str, Any]]:
    with translated(engine.url), engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
