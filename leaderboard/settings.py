"""Which settings a database has runs in, told by one query; and the runs of one, in SQL."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy as sa

from serbench.harness.records import EnvironmentRow, MachineRow, RunRow, translated
from serbench.leaderboard.configurations import identity

__all__ = ["FACTS", "OF_ENVIRONMENT", "OF_MACHINE", "Setting", "conditions", "settings"]

OF_MACHINE = {
    "machine": MachineRow.key,
    "gpu": MachineRow.gpu,
    "gpu_count": MachineRow.gpu_count,
    "cpu": MachineRow.cpu,
    "cores": MachineRow.cores,
}
OF_ENVIRONMENT = {"torch": EnvironmentRow.torch, "threads": EnvironmentRow.threads}
OF_RUN = {
    "device": RunRow.device,
    "backbone": RunRow.backbone,
    "init": RunRow.init,
    "backbone_hash": RunRow.backbone_hash,
    "corpus": RunRow.corpus,
    "corpus_hash": RunRow.corpus_hash,
    "cost_only": RunRow.cost_only,
    "protocol": RunRow.protocol,
}
FACTS = ("machine", *OF_RUN, "folds", "training", *OF_ENVIRONMENT)
"""What tells settings apart: of `configurations.COMPARABLE` all that is of the runs themselves."""
Condition: TypeAlias = sa.ColumnElement[bool]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What runs share that compare; they may yet be of different folds, of the same number."""

    machine: str
    gpu: str | None
    gpu_count: int | None
    cpu: str | None
    cores: int | None
    device: str
    backbone: str
    init: str
    backbone_hash: str
    corpus: str
    corpus_hash: str
    cost_only: bool
    protocol: int
    folds: int | None
    """How many the corpus was parted into; None for its one split."""
    training: dict[str, Any]
    torch: str | None
    threads: int | None
    runs: int
    """How many there are, however they ended, besides repeats."""
    well: int
    """How many of them ended well."""
    newest: int
    """The highest id of a run that ended well; 0 if none did."""
    written: tuple[str, ...]
    """The texts in which the database has `training`."""

    @property
    def fold_numbers(self) -> tuple[int, ...]:
        """The numbers that folds may have; which there are is told by the runs alone."""
        return tuple(range(1, (self.folds or 0) + 1))


def settings(engine: sa.Engine, *, run_ids: Collection[int] | None = None) -> list[Setting]:
    """All settings that have runs, or those of some runs, in no order that means anything.

    Raises:
        DatabaseError: the database could not be read.
    """
    some = () if run_ids is None else (RunRow.id.in_(run_ids),)
    with translated(engine.url), engine.connect() as connection:
        rows = connection.execute(_counted(some, engine.dialect.name)).mappings().all()
    found: dict[str, Setting] = {}
    for row in rows:
        setting = _setting(row)
        key = identity(vars(setting), FACTS)
        found[key] = _joined(found[key], setting) if key in found else setting
    return list(found.values())


def _counted(some: Collection[Condition], dialect: str) -> sa.Select[Any]:
    """A row for each machine, software and text of what settings are told apart by."""
    # Of SQLite's JSON, which is text, a cast would keep the index from being used.
    of = sa.type_coerce if dialect == "sqlite" else sa.cast
    told: tuple[Any, ...] = (
        RunRow.machine_id,
        RunRow.environment_id,
        *OF_RUN.values(),
        RunRow.fold,
        of(RunRow.training, sa.Text).label("training"),
    )
    well = sa.case((RunRow.status == "ok", RunRow.id))
    # Repeats count for the noise floor alone: by themselves they make no row.
    each = (
        sa.select(
            *told,
            sa.func.count().label("runs"),
            sa.func.count(well).label("well"),
            sa.func.max(well).label("newest"),
        )
        .where(RunRow.repeat == 0, *some)
        .group_by(*told)
        .subquery()
    )
    named: dict[str, Any] = {**OF_MACHINE, **OF_ENVIRONMENT}
    columns: list[Any] = [column.label(name) for name, column in named.items()]
    return (
        sa.select(*columns, *each.c)
        .join(MachineRow, MachineRow.id == each.c.machine_id)
        .join(EnvironmentRow, EnvironmentRow.id == each.c.environment_id)
    )


def _setting(row: sa.RowMapping) -> Setting:
    same = {name: row[name] for name in (*OF_MACHINE, *OF_ENVIRONMENT, *OF_RUN, "runs", "well")}
    count = (row["fold"] or "").partition("/")[2]
    return Setting(
        **same,
        folds=int(count) if count else None,
        training=json.loads(row["training"]),
        newest=row["newest"] or 0,
        written=(row["training"],),
    )


def _joined(a: Setting, b: Setting) -> Setting:
    newer = max(a, b, key=lambda setting: setting.newest)
    told = {
        **vars(newer),
        "runs": a.runs + b.runs,
        "well": a.well + b.well,
        "written": tuple(sorted({*a.written, *b.written})),
    }
    return Setting(**told)


def conditions(setting: Setting) -> list[Condition]:
    """What holds for all runs of a setting and for no others, repeats among them.

    They are of `runs`, joined with `machines` and `environments`.
    """
    columns = {"machine": MachineRow.key, **OF_ENVIRONMENT, **OF_RUN}
    same = [
        column.is_not_distinct_from(getattr(setting, name))  # which NULL is not from NULL
        for name, column in columns.items()
    ]
    fold = RunRow.fold
    folds = fold.is_(None) if setting.folds is None else fold.endswith(f"/{setting.folds}")
    return [*same, folds, sa.cast(RunRow.training, sa.Text).in_(setting.written)]
