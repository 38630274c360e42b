"""What rankings, comparisons and pages read of the database: SQL in, plain rows out."""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from serbench.harness import heads
from serbench.harness.errors import DatabaseError, RequestError
from serbench.harness.metrics import ON_PLANE, SCORED, Sums, Total
from serbench.harness.records import (
    HEAD,
    AnnotatorRow,
    DistributionRow,
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
from serbench.leaderboard import settings
from serbench.leaderboard.settings import Setting

__all__ = [
    "Evidence",
    "Spreads",
    "annotators",
    "as_dicts",
    "as_frame",
    "as_text",
    "comparable_with",
    "configurations",
    "evidence",
    "of_head",
    "open_for_reading",
    "predictions",
    "run",
    "run_rows",
    "seeds",
    "spreads",
]

TEST = "test"
CCC = "ccc"
DISTANCES = tuple(key for key, (_, dimension) in SCORED.items() if dimension == ON_PLANE)
"""Columns of the table of distributions, as the next."""
MASSES = ("rated", "predicted", "told", "true")
ANNOTATORS = ("run_id", "dimension", "annotator", "ratings", "ccc", "ccc_told")
"""Columns of the table of annotators."""


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
    setting: Setting | None = None,
    run_ids: Collection[int] | None = None,
    /,
    *,
    machine: str | None = None,
    corpus: str | None = None,
    backbone: str | None = None,
    head: str | None = None,
    suite: str | None = None,
    test_corpus: str | None = None,
    strategies: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """Every run that a ranking needs to know of, oldest first, however it ended.

    A row has the columns of `runs` but its long texts, and
    - `machine`, the machine's key, and what it is made of: `cpu`, `cores`, `gpu`, `gpu_count`
    - `ids`, its own id alone, and `folds`, how many its fold is one of
    - `head_name`, and as `head` one label for all runs of a head, the one that states the fewest
      defaults; `head_stated` is that of the run itself
    - `tested_on`, the corpus that its scores are of, and the hash of that if it is a further one
    - each of `SCORED`, the final test score, or None, and for a fold `sums`, by the same keys that
      from which the score over several is found.

    Args:
        setting: only runs of this one, from `settings.settings`
        run_ids: only these runs
        head: only runs of the head that is written so, whatever their own label stated.
        test_corpus: only runs that were tested on this further corpus, with their scores on it.

    Raises:
        DatabaseError: the database could not be read.
    """
    wanted = {
        MachineRow.key: machine,
        RunRow.corpus: corpus,
        RunRow.backbone: backbone,
        RunRow.suite: suite,
    }
    conditions = [column == value for column, value in wanted.items() if value is not None]
    conditions += [] if head is None else [of_head(engine, head)]
    conditions += settings.conditions(setting) if setting else []
    conditions += [] if strategies is None else [RunRow.strategy.in_(strategies)]
    conditions += [] if run_ids is None else [RunRow.id.in_(run_ids)]
    tested_on = _tested_on(test_corpus)
    long = ("traceback", "command", "notes")
    columns = [as_text(column) for column in RunRow.__table__.c if column.name not in long]
    hardware = (MachineRow.cpu, MachineRow.cores, MachineRow.gpu, MachineRow.gpu_count)
    software = (EnvironmentRow.torch, EnvironmentRow.threads)
    query = (
        sa.select(
            *columns,
            MachineRow.key.label("machine"),
            *hardware,
            *software,
        )
        .join(MachineRow, MachineRow.id == RunRow.machine_id)
        .join(EnvironmentRow, EnvironmentRow.id == RunRow.environment_id)
        .where(*conditions)
        .order_by(RunRow.started_at, RunRow.id)
    )
    found = run_rows(engine, query, test_corpus=test_corpus)
    kept = [row for row in found if test_corpus is None or row["tested_on_hash"]]
    scores = _scores(engine, conditions, tested_on)
    folds = any(row["fold"] for row in kept)
    sums = _sums(engine, conditions, tested_on) if folds else {}
    for row in kept:
        row.update({key: scores.get((row["id"], *names)) for key, names in SCORED.items()})
        row["sums"] = sums.get(row["id"], {})
    return kept


def run_rows(
    engine: sa.Engine, query: sa.Select[Any], *, test_corpus: str | None = None
) -> list[dict[str, Any]]:
    """Rows as `configurations` gives them, but for the scores, of what columns a query asks for.

    Args:
        query: of `runs`, with JSON `as_text`; head, head_config, fold, corpus, elsewhere, synthetic
            and derived are among its columns

    Raises:
        DatabaseError: the database could not be read.
    """
    rows = _decoded(_with_heads(as_dicts(engine, query)))
    return [_told(row, test_corpus) for row in rows]


def comparable_with(
    engine: sa.Engine, run_ids: Collection[int], **filters: str | None
) -> list[dict[str, Any]]:
    """What `configurations` gives, by the same filters, of the settings of some runs.

    Raises:
        DatabaseError: the database could not be read.
    """
    possible = [run_id for run_id in run_ids if run_id < 2**63]  # no database counts further
    found = settings.settings(engine, run_ids=possible)
    runs = [run for setting in found for run in configurations(engine, setting, **filters)]
    return sorted(runs, key=lambda run: (run["started_at"], run["id"]))


def of_head(engine: sa.Engine, text: str) -> sa.ColumnElement[bool]:
    """Whether a run has the head that is written so.

    By its name and settings, so that what was stated makes no difference, and by the label of its
    runs, so that one whose plugin is not here is found as well.
    """
    config = sa.cast(RunRow.head_config, sa.Text)
    columns: tuple[Any, ...] = (RunRow.head, config)
    stored = [
        (label, written, (_head_name(label), json.loads(written)))
        for label, written in _rows(engine, sa.select(*columns).distinct())
    ]
    wanted = [head for label, _, head in stored if label == text]
    try:
        chosen = heads.parse(text)
    except RequestError:
        pass
    else:
        # As it comes back from JSON, in which a tuple is a list.
        wanted.append((chosen.name, json.loads(json.dumps(chosen.config))))
    same = [(label, written) for label, written, head in stored if head in wanted]
    return sa.or_(
        sa.false(), *(sa.and_(RunRow.head == label, config == written) for label, written in same)
    )


def _with_heads(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows whose JSON is text, with the name of each head and one label for all of its runs."""
    labels: dict[tuple[str, str], str] = {}
    for row in rows:
        row["head_stated"], row["head_name"] = row["head"], _head_name(row["head"])
        head = row["head_name"], row["head_config"]
        labels[head] = min(row["head"], labels.get(head, row["head"]), key=len)
    for row in rows:
        row["head"] = labels[row["head_name"], row["head_config"]]
    return rows


def _head_name(label: str) -> str:
    return label.partition(":")[0]


def as_text(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A column as it is, or the text of one that holds JSON."""
    is_json = isinstance(column.type, sa.JSON)
    return sa.cast(column, sa.Text).label(column.key) if is_json else column


def _decoded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows whose JSON is text, with what it says: each text is read once, and most are the same."""
    read = functools.cache(json.loads)
    names = [column.name for column in RunRow.__table__.c if isinstance(column.type, sa.JSON)]
    for row in rows:
        row.update({name: read(row[name]) for name in names if row.get(name) is not None})
    return rows


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


Conditions: TypeAlias = Sequence[sa.ColumnElement[bool]]


def _scores(
    engine: sa.Engine, conditions: Conditions, tested_on: sa.ColumnElement[str]
) -> dict[tuple[int, str, str], float | None]:
    """Final test scores by run, measure and dimension."""
    columns: tuple[Any, ...] = (
        ScoreRow.run_id,
        ScoreRow.metric,
        ScoreRow.dimension,
        ScoreRow.value,
    )
    wanted = (*conditions, ScoreRow.metric.in_({metric for metric, _ in SCORED.values()}))
    query = _of_runs(sa.select(*columns), ScoreRow, wanted, tested_on)
    return {(run_id, metric, name): value for run_id, metric, name, value in _rows(engine, query)}


def _sums(
    engine: sa.Engine, conditions: Conditions, tested_on: sa.ColumnElement[str]
) -> dict[int, dict[str, Sums | Total]]:
    """By run and score the sums over all that was tested of every fold."""
    folds = (*conditions, RunRow.fold.is_not(None))
    found: dict[int, dict[str, Sums | Total]] = {}
    for run_id, dimension, *sums in _rows(engine, _sums_of_pairs(folds, tested_on)):
        found.setdefault(run_id, {})[f"ccc_{dimension}"] = Sums(*sums)
    for key, (metric, dimension) in SCORED.items():
        if metric == CCC:
            continue
        for run_id, count, total in _rows(
            engine, _total_of_means(metric, dimension, folds, tested_on)
        ):
            if count:
                found.setdefault(run_id, {})[key] = Total(count, total)
    return found


def _sums_of_pairs(conditions: Conditions, tested_on: sa.ColumnElement[str]) -> sa.Select[Any]:
    p, y = PredictionRow.predicted, PredictionRow.label
    sums = map(sa.func.sum, (p, y, p * p, y * y, p * y))
    names: tuple[Any, ...] = (PredictionRow.run_id, PredictionRow.dimension)
    query = sa.select(*names, sa.func.count(), *sums).group_by(*names)
    known = (*conditions, p.is_not(None), y.is_not(None))
    return _of_runs(query, PredictionRow, known, tested_on)


def _total_of_means(
    metric: str, dimension: str, conditions: Conditions, tested_on: sa.ColumnElement[str]
) -> sa.Select[Any]:
    """Count and sum of what a score is the mean of: utterances' distances, annotators' CCC."""
    table: type[DistributionRow | AnnotatorRow] = DistributionRow
    if dimension != ON_PLANE:
        table = AnnotatorRow
        conditions = (*conditions, AnnotatorRow.dimension == dimension)
    value = getattr(table, metric.removeprefix("annotator_"))
    query = sa.select(table.run_id, sa.func.count(value), sa.func.sum(value))
    return _of_runs(query.group_by(table.run_id), table, conditions, tested_on)


def _of_runs(
    query: sa.Select[Any],
    table: type[ScoreRow | PredictionRow | DistributionRow | AnnotatorRow],
    conditions: Conditions,
    tested_on: sa.ColumnElement[str],
) -> sa.Select[Any]:
    """Only what is of the test split, and of the runs that the conditions tell."""
    return (
        query.join(RunRow, RunRow.id == table.run_id)
        .join(MachineRow, MachineRow.id == RunRow.machine_id)
        .join(EnvironmentRow, EnvironmentRow.id == RunRow.environment_id)
        .where(*conditions, table.corpus == tested_on, table.split == TEST)
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What scores of runs come from, and intervals of them: frames with `run_id` and these."""

    predictions: pd.DataFrame
    """dimension, utterance, speaker, predicted, label"""
    distances: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["run_id", "utterance", "speaker", *DISTANCES])
    )
    """utterance, speaker, and the distances of its distributions, such as tvd"""
    annotators: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=ANNOTATORS))
    """dimension, annotator, ratings (how many), ccc, ccc_told"""


def evidence(
    engine: sa.Engine, run_ids: Collection[int], *, test_corpus: str | None = None
) -> Evidence:
    """All that the scores of runs on a test split come from; arguments as of `predictions`.

    Raises:
        DatabaseError: the database could not be read.
    """
    predicted = predictions(engine, run_ids, test_corpus=test_corpus)
    distances = _distances(engine, run_ids, _tested_on(test_corpus))
    return Evidence(
        predictions=predicted,
        distances=_with_speakers(distances, predicted),
        annotators=annotators(engine, run_ids, test_corpus=test_corpus),
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
    names = ("run_id", "dimension", "utterance", "speaker", "predicted", "label")
    query = sa.select(*(getattr(PredictionRow, name) for name in names))
    chosen = (PredictionRow.run_id.in_(run_ids),)
    return as_frame(
        engine, _of_runs(query, PredictionRow, chosen, _tested_on(test_corpus)), names[-2:]
    )


def _distances(
    engine: sa.Engine, run_ids: Collection[int], tested_on: sa.ColumnElement[str]
) -> pd.DataFrame:
    names = ("run_id", "utterance", *DISTANCES)
    query = sa.select(*(getattr(DistributionRow, name) for name in names))
    chosen = (DistributionRow.run_id.in_(run_ids),)
    return as_frame(engine, _of_runs(query, DistributionRow, chosen, tested_on), DISTANCES)


def _with_speakers(distances: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """An utterance of which no label is known has no speaker, and stands for itself."""
    names = ["run_id", "utterance"]
    theirs = predicted[predicted["run_id"].isin(distances["run_id"].unique())]
    speakers = theirs[[*names, "speaker"]].drop_duplicates(names)
    joined: pd.DataFrame = distances.merge(speakers, on=names, how="left")
    joined["speaker"] = joined["speaker"].fillna(joined["utterance"])
    return joined


def annotators(
    engine: sa.Engine, run_ids: Collection[int], *, test_corpus: str | None = None
) -> pd.DataFrame:
    """How well runs predict single annotators of a test split, as in `Evidence`.

    Raises:
        DatabaseError: the database could not be read.
    """
    query = sa.select(*(getattr(AnnotatorRow, name) for name in ANNOTATORS))
    chosen = (AnnotatorRow.run_id.in_(run_ids),)
    tested_on = _tested_on(test_corpus)
    return as_frame(engine, _of_runs(query, AnnotatorRow, chosen, tested_on), ANNOTATORS[-2:])


def seeds(engine: sa.Engine, run_ids: Collection[int]) -> dict[int, int]:
    """The seeds of runs by their ids.

    Raises:
        DatabaseError: the database could not be read.
    """
    columns: tuple[Any, ...] = (RunRow.id, RunRow.seed)
    return dict(_rows(engine, sa.select(*columns).where(RunRow.id.in_(run_ids))))


@dataclass(frozen=True, kw_only=True, eq=False)
class Spreads:
    """Distributions of the N utterances of a test split."""

    utterances: pd.DataFrame
    """utterance, raters (how many), and the distances of its distributions, such as tvd"""
    masses: dict[str, npt.NDArray[np.float64]]
    """(N, CELLS, CELLS) by the column that holds them; those alone that all utterances have."""


def spreads(
    engine: sa.Engine, run_ids: Collection[int], *, test_corpus: str | None = None
) -> Spreads:
    """Distributions of the runs of one seed on a test split; arguments as of `predictions`.

    Raises:
        DatabaseError: the database could not be read.
    """
    table = DistributionRow
    told = ("utterance", "raters", *DISTANCES)
    columns: tuple[Any, ...] = tuple(getattr(table, name) for name in (*told, *MASSES))
    query = _of_runs(
        sa.select(*columns), table, (table.run_id.in_(run_ids),), _tested_on(test_corpus)
    ).order_by(table.utterance)
    frame = as_frame(engine, query, DISTANCES)
    known = [name for name in MASSES if len(frame) and frame[name].notna().all()]
    masses = {name: np.array(frame[name].tolist()) for name in known}
    return Spreads(utterances=frame[list(told)], masses=masses)


def as_frame(engine: sa.Engine, query: sa.Select[Any], numbers: Collection[str]) -> pd.DataFrame:
    """What a query gives, with these columns as floats, NULL as NaN.

    Raises:
        DatabaseError: the database could not be read.
    """
    with translated(engine.url), engine.connect() as connection:
        result = connection.execute(query)
        # Of rows that are no tuples, pandas asks each whether it is something else.
        rows = list(map(tuple, result.all()))
        found: pd.DataFrame = pd.DataFrame(rows, columns=list(result.keys()))
    # An empty frame, or a column with NULL, would otherwise hold objects.
    found[list(numbers)] = found[list(numbers)].astype(float)
    return found


def run(engine: sa.Engine, run_id: int | str) -> dict[str, Any]:
    """One run whole: its columns and `machine`, `environment`, `phases`, `scores`, `epochs`.

    `epochs` has for each training epoch its number from 0, `loss` (training), `wall_s`, `cold` and
    `validation`, the CCC of each dimension. `annotators` says for each corpus and dimension how
    many have a CCC, the least and most `ratings` of one, and of their `ccc` and `ccc_told` the mean
    and the quartiles, lowest to highest.

    Raises:
        RequestError: there is no run of that id.
        DatabaseError: the database could not be read.
    """
    if not str(run_id).isdecimal():
        raise RequestError(f"a run is named by its number, not '{run_id}'")
    # No database counts further than 2**63 - 1, and Python reads no number of thousands of digits.
    number = int(run_id) if len(str(run_id)) < 19 else 2**63 - 1
    found = as_dicts(engine, sa.select(RunRow.__table__).where(RunRow.id == number))
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
        "machine": as_dicts(engine, machine)[0],
        "environment": as_dicts(engine, software)[0],
        "phases": phases,
        "scores": scores,
        "epochs": _epochs(phases, scores),
        "annotators": _spread(engine, number),
    }


def _spread(engine: sa.Engine, run_id: int) -> list[dict[str, Any]]:
    query = sa.select(AnnotatorRow.__table__).where(AnnotatorRow.run_id == run_id)
    frame = as_frame(engine, query, ANNOTATORS[-2:])
    return [
        {
            **dict(zip(("corpus", "split", "dimension"), names, strict=True)),
            "annotators": len(part),
            "ratings": f"{part['ratings'].min()} to {part['ratings'].max()}",
            **{column: _quartiles(part[column]) for column in ANNOTATORS[-2:]},
        }
        for names, part in frame.groupby(["corpus", "split", "dimension"])
    ]


def _quartiles(values: pd.Series[float]) -> list[float] | None:
    known = values.dropna()
    return [known.mean(), *known.quantile([0, 0.25, 0.5, 0.75, 1])] if len(known) else None


def _parts(engine: sa.Engine, table: sa.FromClause, run_id: int) -> list[dict[str, Any]]:
    columns = [column for column in table.c if column.name not in ("id", "run_id")]
    return as_dicts(
        engine, sa.select(*columns).where(table.c.run_id == run_id).order_by(table.c.id)
    )


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


def _rows(engine: sa.Engine, query: sa.Select[Any]) -> list[Any]:
    with translated(engine.url), engine.connect() as connection:
        return [*connection.execute(query).all()]


def as_dicts(engine: sa.Engine, query: sa.Select[Any]) -> list[dict[str, Any]]:
    """The rows that a query gives, by the names of their columns.

    Raises:
        DatabaseError: the database could not be read.
    """
    with translated(engine.url), engine.connect() as connection:
        result = connection.execute(query)
        names = list(result.keys())
        return [dict(zip(names, row, strict=True)) for row in result.all()]
