"""The tables, their migrations, and the only writer of SQL."""

from __future__ import annotations

import dataclasses
import math
import sqlite3
import statistics
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import sqlalchemy as sa
from sqlalchemy import ForeignKey, event
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from serbench.harness.errors import DatabaseError
from serbench.harness.plan import PROTOCOL, Spec
from serbench.harness.results import (
    Distributions,
    Footprint,
    Phase,
    Predictions,
    Provenance,
    Result,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "HEAD",
    "AnnotatorRow",
    "Base",
    "DistributionRow",
    "EnvironmentRow",
    "MachineRow",
    "PhaseRow",
    "PredictionRow",
    "RunRow",
    "ScoreRow",
    "Totals",
    "database_url",
    "finished",
    "open_database",
    "record",
    "revision",
    "totals",
    "translated",
    "upgrade",
]

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
"""Every schema revision, oldest first. Here too, so that opening needs no import of alembic."""
HEAD = REVISIONS[-1]
BUSY_TIMEOUT_MS = 30_000
"""A writer holds the lock for one run's rows, under a second; 30 s outlasts a queue of writers."""

Masses: TypeAlias = list[list[float]]
Bytes = sa.BigInteger
"""Counts of bytes and of parameters outgrow the 32 bits of an INTEGER on servers."""


class Base(DeclarativeBase):
    """All tables. Names of constraints are fixed, so that later migrations can name them."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        float: sa.Double(),
        dict[str, Any]: sa.JSON(),
        list[str]: sa.JSON(),
        list[dict[str, Any]]: sa.JSON(none_as_null=True),
        Masses: sa.JSON(none_as_null=True),
    }


class MachineRow(Base):
    """What a run ran on. Seconds are compared within one machine only."""

    __tablename__ = "machines"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    cpu: Mapped[str | None]
    cores: Mapped[int | None]
    memory_bytes: Mapped[int | None] = mapped_column(Bytes)
    gpu: Mapped[str | None]
    gpu_count: Mapped[int | None]
    gpu_memory_bytes: Mapped[int | None] = mapped_column(Bytes)
    driver: Mapped[str | None]
    os: Mapped[str | None]


class EnvironmentRow(Base):
    """Which software a run ran with."""

    __tablename__ = "environments"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    serbench: Mapped[str | None]
    python: Mapped[str | None]
    torch: Mapped[str | None]
    transformers: Mapped[str | None]
    peft: Mapped[str | None]
    cuda: Mapped[str | None]
    commit: Mapped[str | None]
    dirty: Mapped[bool | None]
    threads: Mapped[int | None]
    deterministic: Mapped[bool | None]


class RunRow(Base):
    """One run, whatever became of it; the figures of `Totals` are derived from its phases."""

    __tablename__ = "runs"
    # What tells settings apart: their list is read off it, without the table. Other databases
    # cannot order JSON, so it is of SQLite alone.
    __table_args__ = (
        sa.Index(
            "ix_runs_setting",
            "machine_id",
            "corpus",
            "corpus_hash",
            "backbone",
            "backbone_hash",
            "init",
            "device",
            "cost_only",
            "protocol",
            "environment_id",
            "fold",
            "training",
            "repeat",
            "status",
        ).ddl_if(dialect="sqlite"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(index=True)
    status: Mapped[str]
    message: Mapped[str | None]
    traceback: Mapped[str | None]
    notes: Mapped[list[str]]
    started_at: Mapped[str]
    """ISO 8601 in UTC."""
    label: Mapped[str]
    strategy: Mapped[str]
    config: Mapped[dict[str, Any]]
    source_hash: Mapped[str]
    precision: Mapped[str]
    cached: Mapped[bool]
    cache_dtype: Mapped[str | None]
    """What was asked for; NULL without a cache."""
    head: Mapped[str]
    """Its spec string."""
    head_config: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    head_source: Mapped[str | None]
    """Hash of a plugin's file; NULL for a head that is built in."""
    backbone: Mapped[str]
    init: Mapped[str]
    backbone_hash: Mapped[str]
    corpus: Mapped[str]
    corpus_hash: Mapped[str]
    synthetic: Mapped[bool]
    derived: Mapped[bool]
    cost_only: Mapped[bool]
    suite: Mapped[str | None]
    seed: Mapped[int]
    repeat: Mapped[int] = mapped_column(server_default="0")
    """0, or the number of a repeat with the same seed, by which the noise floor is told."""
    fold: Mapped[str | None]
    """`NUMBER/COUNT`; NULL for the corpus's one split."""
    elsewhere: Mapped[list[dict[str, Any]] | None]
    """Name, hash, synthetic and derived of each further corpus that was tested on."""
    enrol: Mapped[int | None]
    """Ratings by which annotators of further corpora were told to be like known ones."""
    position: Mapped[int | None]
    """Place among the runs of one command, from 0: rows are interleaved."""
    training: Mapped[dict[str, Any]]
    protocol: Mapped[int]
    device: Mapped[str]
    command: Mapped[str]
    machine_id: Mapped[int] = mapped_column(ForeignKey("machines.id"))
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"))
    trainable_params: Mapped[int | None] = mapped_column(Bytes)
    head_params: Mapped[int | None] = mapped_column(Bytes)
    total_params: Mapped[int | None] = mapped_column(Bytes)
    frozen_depth: Mapped[int | None]
    stages: Mapped[int | None]
    cache_bytes: Mapped[int | None] = mapped_column(Bytes)
    epoch_s: Mapped[float | None]
    cache_fill_s: Mapped[float | None]
    run_s: Mapped[float | None]
    audio_s_per_s: Mapped[float | None]
    peak_vram_bytes: Mapped[int | None] = mapped_column(Bytes)
    peak_host_bytes: Mapped[int | None] = mapped_column(Bytes)
    peak_host_anonymous_bytes: Mapped[int | None] = mapped_column(Bytes)
    peak_reserved_bytes: Mapped[int | None] = mapped_column(Bytes)
    peak_process_vram_bytes: Mapped[int | None] = mapped_column(Bytes)
    process_vram_source: Mapped[str | None]
    data_wait_s: Mapped[float | None]
    energy_j: Mapped[float | None]
    start_s: Mapped[float | None]
    weight_bytes: Mapped[int | None] = mapped_column(Bytes)
    gradient_bytes: Mapped[int | None] = mapped_column(Bytes)
    optimizer_bytes: Mapped[int | None] = mapped_column(Bytes)
    saved_activation_bytes: Mapped[int | None] = mapped_column(Bytes)
    flops_per_step: Mapped[float | None]
    step_utterances: Mapped[int | None]
    step_audio_s: Mapped[float | None]
    matmul_flops_per_s: Mapped[float | None]
    utilisation: Mapped[float | None]
    gpu_others: Mapped[int | None]
    gpu_other_bytes: Mapped[int | None] = mapped_column(Bytes)
    best_epoch: Mapped[int | None]
    model_path: Mapped[str | None]


class PhaseRow(Base):
    """One clocked stretch of a run, as `results.Phase` describes it."""

    __tablename__ = "phases"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), index=True)
    phase: Mapped[str]
    epoch: Mapped[int | None]
    cold: Mapped[bool]
    wall_s: Mapped[float]
    device_s: Mapped[float | None]
    data_wait_s: Mapped[float | None]
    audio_s: Mapped[float | None]
    padded_audio_s: Mapped[float | None]
    steps: Mapped[int | None]
    loss: Mapped[float | None]
    peak_vram_bytes: Mapped[int | None] = mapped_column(Bytes)
    peak_reserved_bytes: Mapped[int | None] = mapped_column(Bytes)
    peak_host_bytes: Mapped[int | None] = mapped_column(Bytes)
    peak_host_anonymous_bytes: Mapped[int | None] = mapped_column(Bytes)
    flops: Mapped[float | None]
    energy_j: Mapped[float | None]
    peak_process_vram_bytes: Mapped[int | None] = mapped_column(Bytes)
    gpu_temperature_c: Mapped[int | None]
    gpu_clock_hz: Mapped[int | None] = mapped_column(Bytes)
    gpu_throttled: Mapped[str | None]


class ScoreRow(Base):
    """One measure on one split; `value` is NULL where the measure is undefined."""

    __tablename__ = "scores"
    # A run has a test score or two, and one of the validation for every epoch.
    __table_args__ = (sa.Index("ix_scores_run_id", "run_id", "split"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    corpus: Mapped[str]
    split: Mapped[str]
    metric: Mapped[str]
    dimension: Mapped[str]
    epoch: Mapped[int | None]
    value: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]


class PredictionRow(Base):
    """The selected model's prediction for one utterance and dimension."""

    __tablename__ = "predictions"
    # Rows are read a run at a time, and are most of the file: the key is the table's order.
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    corpus: Mapped[str] = mapped_column(primary_key=True)
    split: Mapped[str] = mapped_column(primary_key=True)
    dimension: Mapped[str] = mapped_column(primary_key=True)
    utterance: Mapped[str] = mapped_column(primary_key=True)
    speaker: Mapped[str]
    predicted: Mapped[float | None]
    label: Mapped[float | None]


class DistributionRow(Base):
    """How an utterance's ratings are spread over activation and valence, and what was predicted.

    Distributions are lists of CELLS rows (activation) of CELLS masses (valence). `told` was
    predicted knowing who rated; `true` is that of a corpus whose annotators are simulated.
    """

    __tablename__ = "distributions"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    corpus: Mapped[str] = mapped_column(primary_key=True)
    split: Mapped[str] = mapped_column(primary_key=True)
    utterance: Mapped[str] = mapped_column(primary_key=True)
    raters: Mapped[int]
    rated: Mapped[Masses]
    predicted: Mapped[Masses]
    told: Mapped[Masses | None]
    true: Mapped[Masses | None]
    tvd: Mapped[float]
    jsd: Mapped[float]
    tvd_told: Mapped[float | None]
    jsd_told: Mapped[float | None]
    tvd_true: Mapped[float | None]
    jsd_true: Mapped[float | None]


class AnnotatorRow(Base):
    """How well an annotator's ratings were predicted: without, and with knowing who gave them."""

    __tablename__ = "annotators"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    corpus: Mapped[str] = mapped_column(primary_key=True)
    split: Mapped[str] = mapped_column(primary_key=True)
    dimension: Mapped[str] = mapped_column(primary_key=True)
    annotator: Mapped[str] = mapped_column(primary_key=True)
    ratings: Mapped[int]
    ccc: Mapped[float | None]
    ccc_told: Mapped[float | None]


@dataclass(frozen=True, kw_only=True)
class Totals:
    """A run's headline figures; None for what its phases do not tell."""

    epoch_s: float | None
    """Median wall seconds of the warm training epochs."""
    cache_fill_s: float | None
    run_s: float | None
    """Wall seconds of all phases but `save` and `elsewhere`: neither keeping the model nor testing
    it on further corpora is a cost of the strategy."""
    audio_s_per_s: float | None
    """Audio seconds trained on per wall second, over the warm training epochs."""
    peak_vram_bytes: int | None
    """This and the other peaks are of the training phases."""
    peak_reserved_bytes: int | None
    peak_process_vram_bytes: int | None
    peak_host_bytes: int | None
    peak_host_anonymous_bytes: int | None
    data_wait_s: float | None
    """Median seconds of a warm epoch in which the step had to wait for its batch."""
    energy_j: float | None
    """Median joules of the whole GPU in a warm epoch."""
    achieved_flops_per_s: float | None


def totals(phases: Sequence[Phase], *, filled: bool = True) -> Totals:
    """Sum a run's phases up.

    The cold epoch counts in `run_s` and in the peaks, never in `epoch_s` or `audio_s_per_s`.
    `filled` says whether the run filled all of its cache; what a part of it took is not told.
    """
    train = [phase for phase in phases if phase.phase == "train"]
    warm = [phase for phase in train if not (phase.cold or phase.epoch == 0)]
    fills = [phase.wall_s for phase in phases if phase.phase == "cache_fill"]
    counted = [phase.wall_s for phase in phases if phase.phase not in ("save", "elsewhere")]
    return Totals(
        epoch_s=_median(phase.wall_s for phase in warm),
        cache_fill_s=sum(fills) if fills and filled else None,
        run_s=sum(counted) if counted else None,
        audio_s_per_s=_rate(warm, "audio_s"),
        peak_vram_bytes=_peak(phase.peak_vram_bytes for phase in train),
        peak_reserved_bytes=_peak(phase.peak_reserved_bytes for phase in train),
        peak_process_vram_bytes=_peak(phase.peak_process_vram_bytes for phase in train),
        peak_host_bytes=_peak(phase.peak_host_bytes for phase in train),
        peak_host_anonymous_bytes=_peak(phase.peak_host_anonymous_bytes for phase in train),
        data_wait_s=_median(phase.data_wait_s for phase in warm),
        energy_j=_median(phase.energy_j for phase in warm),
        achieved_flops_per_s=_rate(warm, "flops"),
    )


def _median(values: Iterator[float | None]) -> float | None:
    """None unless each phase has a value."""
    found = list(values)
    return statistics.median(found) if found and None not in found else None  # type: ignore[type-var]


def _rate(warm: Sequence[Phase], key: str) -> float | None:
    """Sum of a figure over all warm epochs by the sum of their seconds."""
    amounts = [getattr(phase, key) for phase in warm]
    wall_s = sum(phase.wall_s for phase in warm)
    return sum(amounts) / wall_s if wall_s > 0 and None not in amounts else None


def _peak(values: Iterator[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def database_url(url_or_path: str) -> sa.URL:
    """Read what `--db` was given: an SQLAlchemy URL, or the path of an SQLite file.

    Raises:
        DatabaseError: it is neither, or it would live in memory only.
    """
    if "://" not in url_or_path:
        return sa.URL.create("sqlite", database=url_or_path)
    try:
        url = sa.make_url(url_or_path)
    except (SQLAlchemyError, ValueError) as error:
        raise DatabaseError(f"'{url_or_path}' is no URL of a database") from error
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise DatabaseError("a database in memory would be lost with the process: name a file")
    return url


@contextmanager
def translated(url: sa.URL) -> Iterator[None]:
    """Say in one DatabaseError, naming the database, what the driver reports in its own words."""
    name = url.database if url.get_backend_name() == "sqlite" else url.render_as_string()
    try:
        yield
    except DatabaseError as error:
        raise DatabaseError(f"{name}: {error}") from error
    except sa.exc.DBAPIError as error:
        raise DatabaseError(f"{name}: {error.orig}") from error
    except (SQLAlchemyError, sqlite3.Error, ImportError, OSError) as error:
        raise DatabaseError(f"{name}: {error}") from error


def open_database(url_or_path: str) -> sa.Engine:
    """Open a database for writing; make it, or bring its schema up to date, where needed.

    Raises:
        DatabaseError: it is not a database, not ours, newer than this serbench, or not writable.
    """
    url = database_url(url_or_path)
    with translated(url):
        _check_folder(url)
        # No pool: a connection that outlives a fork would be shared with the child.
        engine = sa.create_engine(url, poolclass=NullPool)
        if url.get_backend_name() == "sqlite":
            event.listen(engine, "connect", _prepare_connection)
            event.listen(engine, "begin", _begin_immediate)
        with engine.begin() as connection:
            if revision(connection) != HEAD:
                upgrade(connection)
            # SQLite gives the write lock of a file that it cannot write to: only writing tells.
            connection.execute(sa.text("UPDATE alembic_version SET version_num = version_num"))
    return engine


def _check_folder(url: sa.URL) -> None:
    if url.get_backend_name() == "sqlite" and url.database and "uri" not in url.query:
        path = Path(url.database)
        if path.is_dir():
            raise DatabaseError("is a folder, not a database")
        if not path.parent.is_dir():
            raise DatabaseError(f"there is no folder {path.parent}")


def _prepare_connection(connection: sqlite3.Connection, _: object) -> None:
    # The driver would begin transactions too late for DDL; `_begin_immediate` does it instead.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    _switch_to_wal(connection)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # Of two that make the file at once, SQLite refuses one at once, whatever the busy timeout.
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _begin_immediate(connection: sa.Connection) -> None:
    # A transaction that starts by reading cannot wait for the write lock: SQLite refuses it.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def revision(connection: sa.Connection) -> str | None:
    """The schema revision of a database; None if it has no tables at all.

    Raises:
        DatabaseError: it holds something else, or was written by a newer serbench.
    """
    tables = sa.inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise DatabaseError("holds the tables of something else, not serbench's")
    found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    if found not in REVISIONS:
        raise DatabaseError(
            f"has schema revision {found}, and this serbench knows those up to {HEAD}: "
            "a newer serbench wrote it, or another program"
        )
    return str(found)


def upgrade(connection: sa.Connection, target: str = "head") -> None:
    """Bring the schema to a revision by the numbered migrations."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).resolve().parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, target)


def record(
    engine: sa.Engine,
    spec: Spec,
    result: Result,
    provenance: Provenance,
    *,
    fingerprint: str,
    started_at: datetime,
    synthetic: bool,
    derived: bool,
    position: int | None = None,
) -> int:
    """Write one run with all that belongs to it, whole or not at all; returns its id.

    What is not finite is written as NULL: a loss or a score that is not a number was not measured.

    Raises:
        DatabaseError: the rows could not be written.
    """
    with translated(engine.url), Session(engine) as session, session.begin():
        run = RunRow(
            **_asked(spec),
            **_outcome(result),
            **_figures(result),
            fingerprint=fingerprint,
            started_at=started_at.astimezone(timezone.utc).isoformat(timespec="seconds"),
            synthetic=synthetic,
            derived=derived,
            position=position,
            command=provenance.command,
            machine_id=_known(session, MachineRow, provenance.machine),
            environment_id=_known(session, EnvironmentRow, provenance.environment),
        )
        session.add(run)
        session.flush()
        _insert(session, PhaseRow, run.id, [dataclasses.asdict(p) for p in result.phases])
        _insert(session, ScoreRow, run.id, [dataclasses.asdict(s) for s in result.scores])
        for predictions in result.predictions:
            _insert(session, PredictionRow, run.id, _utterances(predictions))
        for distributions in result.distributions:
            _insert(session, DistributionRow, run.id, list(_spreads(distributions)))
        for persons in result.annotators:
            _insert(session, AnnotatorRow, run.id, [dataclasses.asdict(p) for p in persons])
        return run.id


def _asked(spec: Spec) -> dict[str, Any]:
    variant = spec.variant
    return {
        "label": spec.label,
        "strategy": variant.name,
        "config": variant.config,
        "source_hash": spec.source_hash,
        "precision": variant.precision,
        "cached": variant.cached,
        "cache_dtype": spec.cache_dtype if variant.cached else None,
        "head": spec.head.label,
        "head_config": spec.head.config,
        "head_source": spec.head.source_hash,
        "enrol": spec.enrol,
        "backbone": spec.backbone,
        "init": spec.init,
        "backbone_hash": spec.backbone_hash,
        "corpus": spec.corpus_name,
        "corpus_hash": spec.corpus_hash,
        "cost_only": spec.cost_only,
        "suite": spec.suite,
        "seed": spec.seed,
        "repeat": spec.repeat,
        "fold": spec.fold,
        "elsewhere": _elsewhere(spec),
        "training": dataclasses.asdict(spec.training),
        "protocol": PROTOCOL,
        "device": spec.device,
    }


def _elsewhere(spec: Spec) -> list[dict[str, Any]] | None:
    keys = ("name", "hash", "synthetic", "derived")
    return [{key: getattr(each, key) for key in keys} for each in spec.elsewhere] or None


def _outcome(result: Result) -> dict[str, Any]:
    return {
        "status": result.status,
        "message": result.message,
        "traceback": result.traceback,
        "notes": list(result.notes),
        "best_epoch": result.best_epoch,
        "model_path": result.model_path,
        "start_s": result.start_s,
        **(dataclasses.asdict(result.counts) if result.counts else {}),
    }


def _figures(result: Result) -> dict[str, Any]:
    figures = dataclasses.asdict(totals(result.phases, filled=result.filled_cache))
    achieved = figures.pop("achieved_flops_per_s")
    footprint = dataclasses.asdict(result.footprint or Footprint())
    peak = footprint["matmul_flops_per_s"]
    return {**figures, **footprint, "utilisation": achieved / peak if achieved and peak else None}


def _utterances(predictions: Predictions) -> list[dict[str, Any]]:
    columns = zip(
        predictions.utterances,
        predictions.speakers,
        predictions.predicted,
        predictions.labels,
        strict=True,
    )
    same = {
        "corpus": predictions.corpus,
        "split": predictions.split,
        "dimension": predictions.dimension,
    }
    return [
        {**same, "utterance": utterance, "speaker": speaker, "predicted": predicted, "label": label}
        for utterance, speaker, predicted, label in columns
    ]


def _spreads(distributions: Distributions) -> Iterator[dict[str, Any]]:
    for position, utterance in enumerate(distributions.utterances):
        yield {
            "corpus": distributions.corpus,
            "split": distributions.split,
            "utterance": utterance,
            "raters": distributions.raters[position],
            **{name: _masses(each, position) for name, each in distributions.masses.items()},
            **{name: each[position] for name, each in distributions.distances.items()},
        }


def _masses(distributions: NDArray[np.floating] | None, position: int) -> Masses | None:
    """To four digits: what is drawn, and a hundredth of what two seeds differ by."""
    if distributions is None:
        return None
    rounded: Masses = distributions[position].astype(float).round(4).tolist()
    return rounded


def _insert(
    session: Session, table: type[Base], run_id: int, rows: Sequence[Mapping[str, Any]]
) -> None:
    if rows:
        finite = [
            {"run_id": run_id, **{key: _finite(value) for key, value in row.items()}}
            for row in rows
        ]
        session.execute(sa.insert(table), finite)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _known(
    session: Session, table: type[MachineRow | EnvironmentRow], facts: Mapping[str, Any]
) -> int:
    """The id of the row with the key of `facts`, written now if it is new."""
    query = sa.select(table.id).where(table.key == facts["key"])
    found = session.scalar(query)
    if found is not None:
        return found
    try:
        with session.begin_nested():
            return session.execute(sa.insert(table).returning(table.id), facts).scalar_one()
    except IntegrityError:  # on a server, another process was quicker
        return session.execute(query).scalar_one()


def finished(engine: sa.Engine, fingerprints: Collection[str]) -> set[str]:
    """Those of `fingerprints` under which a run has ended well.

    Raises:
        DatabaseError: the database could not be read.
    """
    query = sa.select(RunRow.fingerprint).where(
        RunRow.fingerprint.in_(fingerprints), RunRow.status == "ok"
    )
    with translated(engine.url), engine.begin() as connection:
        return set(connection.scalars(query))
