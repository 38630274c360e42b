"""Settings told by one query, and the runs of one found in SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from serbench.harness.plan import Training
from serbench.leaderboard import comparison, queries, ranking, settings
from serbench.leaderboard.configurations import COMPARABLE, Group, groups
from serbench.leaderboard.setting_names import group_names, setting_names


@pytest.fixture
def several(recorder: Any) -> Any:
    """Runs of settings that differ in one thing each, in the order of the ids."""
    recorder("full", machine="machine-2")
    recorder("full", corpus_name="other")
    recorder("full", corpus_hash="manifest-2")
    recorder("full", backbone="large")
    recorder("full", backbone_hash="weights-2")
    recorder("full", init="weights")
    recorder("full", device="cpu")
    recorder("full", cost_only=True, noise=None)
    recorder("full", training=Training(epochs=4))
    recorder("full", fold="1/4")
    recorder("full", fold="1/14")
    for seed in (0, 1):
        recorder("full", seed=seed)
        recorder("lora", seed=seed, noise=2.0)
    recorder("full", seed=0, repeat=1)
    recorder("broken", status="failed", message="no")
    return recorder


@contextmanager
def heard(engine: sa.Engine) -> Iterator[list[tuple[str, Any]]]:
    """Statements with their parameters, while it lasts."""
    said: list[tuple[str, Any]] = []

    def hear(_1: Any, _2: Any, statement: str, parameters: Any, _3: Any, _4: bool) -> None:
        said.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", hear)
    yield said
    event.remove(engine, "before_cursor_execute", hear)


def answers(engine: sa.Engine, said: list[tuple[str, Any]]) -> list[int]:
    """How many rows each statement gives."""
    with engine.connect() as connection:
        return [len(connection.exec_driver_sql(*each).fetchall()) for each in said]


def test_what_tells_settings_apart_is_what_rows_must_share() -> None:
    further = {"tested_on", "tested_on_hash"}
    assert {*settings.FACTS} == {*COMPARABLE} - further


def test_settings_are_counted_by_one_statement_that_reads_no_run(several: Any) -> None:
    engine = queries.open_for_reading(str(several.path))
    with heard(engine) as said:
        found = settings.settings(engine)
    assert answers(engine, said) == [12]
    assert len(found) == 12
    usual = max(found, key=lambda setting: setting.runs)
    # The repeat is none of them, and what failed is.
    assert (usual.runs, usual.well, usual.newest) == (5, 4, 15)
    assert sum(setting.runs for setting in found) == 16


def test_settings_are_those_that_groups_are_of(several: Any) -> None:
    engine = queries.open_for_reading(str(several.path))
    by_hand: dict[str, set[int]] = defaultdict(set)
    for group in groups(queries.configurations(engine)):
        by_hand[group.name] = ids(group)
    found = {}
    for setting in settings.settings(engine):
        (group,) = groups(queries.configurations(engine, setting))
        found[group.name] = ids(group)
    assert found == by_hand


def ids(group: Group) -> set[int]:
    members = group.members
    pairs = [pair for member in members for pair in member.repeated]
    runs = [run for member in members for run in (*member.runs, *member.failures)]
    return {run["id"] for run in (*runs, *(repeat for _, repeat in pairs))}


def test_no_query_gives_rows_of_other_settings(several: Any) -> None:
    engine = queries.open_for_reading(str(several.path))
    chosen = next(s for s in settings.settings(engine) if s.backbone == "large")
    with heard(engine) as said:
        runs = queries.configurations(engine, chosen)
        (group,) = groups(runs)
        evidence = queries.evidence(engine, ranking.runs_of_best(group))
    assert [run["id"] for run in runs] == [4]
    assert {*evidence.predictions["run_id"]} == {4}
    # Its run, its two scores, its predictions; and it has no distributions or annotators.
    assert answers(engine, said) == [1, 2, 320, 0, 0]


def test_two_rows_are_compared_by_reading_their_setting_alone(several: Any) -> None:
    engine = queries.open_for_reading(str(several.path))
    all_runs = queries.configurations(engine)
    a, b = (12, 14), (13, 15)
    runs = queries.comparable_with(engine, (*a, *b))
    assert [run["id"] for run in runs] == [12, 13, 14, 15, 16, 17]
    evidence = queries.evidence(engine, (*a, *b))
    whole = comparison.compare(all_runs, evidence, a, b)
    assert comparison.compare(runs, evidence, a, b) == whole
    assert whole.noise_pairs == 1


def test_specs_are_compared_by_the_runs_of_their_strategies(several: Any) -> None:
    engine = queries.open_for_reading(str(several.path))
    names = comparison.strategies("full@annotators", "lora:rank=4+cache")
    assert names == ("full", "lora")
    runs = queries.configurations(engine, strategies=names[1:])
    assert [run["id"] for run in runs] == [13, 15]
    assert queries.comparable_with(engine, (13,), machine="other") == []
    assert queries.comparable_with(engine, (10**20,)) == []


def test_training_whose_text_differs_is_one_setting(recorder: Any) -> None:
    first, second = recorder("full"), recorder("lora")
    with recorder.engine.begin() as connection:
        training = sa.text("SELECT training FROM runs WHERE id = :id")
        text = connection.scalar(training, {"id": second})
        key, _, rest = text[1:-1].partition(", ")
        turned = {"id": second, "text": f"{{{rest}, {key}}}"}
        connection.execute(sa.text("UPDATE runs SET training = :text WHERE id = :id"), turned)
    engine = queries.open_for_reading(str(recorder.path))
    (setting,) = settings.settings(engine)
    assert (setting.runs, len(setting.written)) == (2, 2)
    assert [run["id"] for run in queries.configurations(engine, setting)] == [first, second]


def test_settings_whose_names_would_be_the_same_are_told_apart(recorder: Any) -> None:
    recorder("full")
    recorder("full", corpus_hash="manifest-2")
    recorder("full", device="cpu")
    found = settings.settings(queries.open_for_reading(str(recorder.path)))
    names = sorted(setting_names(sorted(found, key=lambda setting: setting.newest)))
    assert len({*names}) == 3
    assert [name.rpartition("; ")[2] for name in names if "cuda" in name] == [
        "corpus hash manifest-1",
        "corpus hash manifest-2",
    ]


def test_folds_are_named(recorder: Any) -> None:
    recorder("full", fold="1/4", status="failed", message="no")
    recorder("lora", fold="2/4")
    engine = queries.open_for_reading(str(recorder.path))
    (setting,) = settings.settings(engine)
    names = {*group_names(groups(queries.configurations(engine, setting))).values()}
    assert names == {"fold 2 of 4", "no run that ended well"}


def test_no_runs_have_no_settings(recorder: Any) -> None:
    assert settings.settings(queries.open_for_reading(str(recorder.path))) == []


@pytest.mark.parametrize(
    ("told", "index"),
    [
        (lambda engine: settings.settings(engine), "COVERING INDEX ix_runs_setting"),
        (
            lambda engine: queries.configurations(engine, settings.settings(engine)[0]),
            "ix_runs_setting (machine_id=? AND corpus=? AND corpus_hash=? AND backbone=?",
        ),
        (
            lambda engine: queries.configurations(engine, settings.settings(engine)[0]),
            "ix_scores_run_id (run_id=? AND split=?)",
        ),
    ],
)
def test_indexes_are_used(several: Any, told: Any, index: str) -> None:
    engine = queries.open_for_reading(str(several.path))
    with heard(engine) as said:
        told(engine)
    with engine.connect() as connection:
        plans = [
            str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).fetchall())
            for text, values in said
        ]
    assert any(index in plan for plan in plans)
