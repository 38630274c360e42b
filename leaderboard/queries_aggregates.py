"""A setting's configurations, each over its seeds: what the database can tell without its runs."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serbench.harness.metrics import SCORED
from serbench.harness.records import EnvironmentRow, MachineRow, RunRow, ScoreRow
from serbench.leaderboard import settings
from serbench.leaderboard.queries import TEST, as_dicts, as_text
from serbench.leaderboard.settings import Setting

__all__ = ["Aggregate", "aggregates", "scored", "test_corpora"]

SAME = (
    RunRow.head,
    RunRow.head_config,
    RunRow.head_source,
    RunRow.strategy,
    RunRow.config,
    RunRow.precision,
    RunRow.cached,
    RunRow.cache_dtype,
    RunRow.source_hash,
)
"""What tells runs of one setting apart, besides seed and repeat."""
PEAKS = (RunRow.peak_vram_bytes, RunRow.peak_host_anonymous_bytes)
ORDINARY = RunRow.repeat == 0
WELL = sa.and_(ORDINARY, RunRow.status == "ok")


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """A configuration with one version of its strategy, over the newest run of each seed that
    ended well.

    None stands for what none of these has.
    """

    run_ids: tuple[int, ...]
    """Of all its runs, however they ended, repeats and those that newer ones replaced too."""
    first_at: str
    """When the first of them started."""
    newest_at: str | None
    """When the last of them started that is no repeat."""
    label: str
    """That of the last of them that was written down."""
    head: str
    head_config: str
    """JSON, as it is written in the database; so is `config`."""
    head_source: str | None
    strategy: str
    config: str
    precision: str
    cached: bool
    cache_dtype: str | None
    source_hash: str
    repeats: int
    """Runs for the noise floor alone that ended well."""
    score: float | None
    """Mean over seeds of what was asked for; None if one of them lacks some of it."""
    epoch_s: float | None
    """Median over seeds."""
    peak_vram_bytes: int | None
    """Highest of any seed, as is the next."""
    peak_host_anonymous_bytes: int | None


def aggregates(engine: sa.Engine, setting: Setting, keys: Collection[str]) -> list[Aggregate]:
    """The configurations of a setting that has no folds, with the mean of their seeds' scores.

    Args:
        setting: from `settings.settings`
        keys: of `scored`, those that the mean is over

    Raises:
        DatabaseError: the database could not be read.
    """
    query = _aggregated(settings.conditions(setting), keys, setting.corpus)
    return [_aggregate(**row) for row in as_dicts(engine, query)]


def _aggregate(*, run_ids: str, **same: Any) -> Aggregate:
    return Aggregate(run_ids=tuple(map(int, run_ids.split(","))), **same)


def scored(engine: sa.Engine, setting: Setting) -> list[str]:
    """Which of `SCORED` some run of a setting has, on its own corpus.

    Raises:
        DatabaseError: the database could not be read.
    """
    runs = _of_setting(sa.select(RunRow.id), (*settings.conditions(setting), WELL))
    names: tuple[Any, ...] = (ScoreRow.metric, ScoreRow.dimension)
    query = sa.select(*names).where(
        ScoreRow.run_id.in_(runs),
        ScoreRow.split == TEST,
        ScoreRow.corpus == setting.corpus,
        ScoreRow.value.is_not(None),
    )
    found = {(row["metric"], row["dimension"]) for row in as_dicts(engine, query.distinct())}
    return [key for key, names in SCORED.items() if names in found]


def test_corpora(engine: sa.Engine, setting: Setting) -> list[str]:
    """The further corpora that some run of a setting was tested on, by name.

    Raises:
        DatabaseError: the database could not be read.
    """
    column = as_text(RunRow.elsewhere.expression)
    query = _of_setting(sa.select(column), (*settings.conditions(setting), WELL)).distinct()
    texts = [row["elsewhere"] for row in as_dicts(engine, query)]
    return sorted({each["name"] for text in texts for each in json.loads(text or "null") or ()})


def _of_setting(
    query: sa.Select[Any], conditions: Collection[settings.Condition]
) -> sa.Select[Any]:
    return (
        query.join(MachineRow, MachineRow.id == RunRow.machine_id)
        .join(EnvironmentRow, EnvironmentRow.id == RunRow.environment_id)
        .where(*conditions)
    )


def _aggregated(
    conditions: Collection[settings.Condition], keys: Collection[str], corpus: str
) -> sa.Select[Any]:
    run = _counted(conditions, keys, corpus).c
    counted = run.counts == 1
    # Of an even number of seeds, the two in the middle.
    middle = sa.and_(counted, 2 * run.place >= run.known, 2 * run.place <= run.known + 2)
    whole = sa.func.count(run.score) == sa.func.sum(run.counts)
    each = (
        sa.select(
            sa.func.aggregate_strings(sa.cast(run.id, sa.Text), ",").label("run_ids"),
            sa.func.max(run.id).label("last"),
            sa.func.min(run.started_at).label("first_at"),
            sa.func.max(sa.case((run.ordinary == 1, run.started_at))).label("newest_at"),
            sa.func.sum(run.repeats).label("repeats"),
            sa.case((whole, sa.func.avg(run.score))).label("score"),
            sa.func.avg(sa.case((middle, run.epoch_s))).label("epoch_s"),
            *(sa.func.max(sa.case((counted, run[p.key]))).label(p.key) for p in PEAKS),
        )
        .group_by(run.configuration)
        .subquery()
    )
    told = [column for column in each.c if column.name != "last"]
    same = [as_text(column.expression) for column in SAME]
    return sa.select(*told, RunRow.label, *same).join(RunRow, RunRow.id == each.c.last)


def _counted(
    conditions: Collection[settings.Condition], keys: Collection[str], corpus: str
) -> sa.CTE:
    """Runs with the number of their configuration, and whether they count in its figures.

    Those that do have their `score`; `known` of them have seconds an epoch, in whose order a run
    has its `place`.
    """
    same = [as_text(column.expression) for column in SAME]
    told = (RunRow.id, RunRow.seed, RunRow.started_at, RunRow.epoch_s, *PEAKS)
    repeats = sa.and_(~ORDINARY, RunRow.status == "ok")
    kinds = {"ordinary": ORDINARY, "well": WELL, "repeats": repeats}
    numbered = _of_setting(
        sa.select(
            sa.func.dense_rank().over(order_by=same).label("configuration"),
            *(sa.case((holds, 1), else_=0).label(kind) for kind, holds in kinds.items()),
            *told,
        ),
        conditions,
    ).cte("numbered")
    run = numbered.c
    age = sa.func.row_number().over(
        partition_by=(run.configuration, run.seed, run.well),
        order_by=(run.started_at.desc(), run.id.desc()),
    )
    aged = sa.select(numbered, age.label("age")).cte("aged")
    counts = sa.case((sa.and_(aged.c.well == 1, aged.c.age == 1), 1), else_=0)
    counted = sa.select(aged, counts.label("counts")).cte("counted")
    run = counted.c
    ordered: Any = {
        "partition_by": (run.configuration, run.counts),
        "order_by": (run.epoch_s.is_(None), run.epoch_s),
    }
    return sa.select(
        counted,
        sa.case((run.counts == 1, _score(run.id, keys, corpus))).label("score"),
        sa.func.count(run.epoch_s).over(**ordered, rows=(None, None)).label("known"),
        sa.func.row_number().over(**ordered).label("place"),
    ).cte("placed")


def _score(
    run_id: sa.ColumnElement[int], keys: Collection[str], corpus: str
) -> sa.ScalarSelect[Any]:
    """The mean of a run's scores; NULL if it lacks one of them."""
    wanted = [
        sa.and_(ScoreRow.metric == metric, ScoreRow.dimension == dimension)
        for metric, dimension in map(SCORED.__getitem__, keys)
    ]
    value = ScoreRow.value
    return (
        sa.select(sa.case((sa.func.count(value) == len(wanted), sa.func.avg(value))))
        .where(
            ScoreRow.run_id == run_id,
            ScoreRow.split == TEST,
            ScoreRow.corpus == corpus,
            sa.or_(sa.false(), *wanted),
        )
        .scalar_subquery()
    )
