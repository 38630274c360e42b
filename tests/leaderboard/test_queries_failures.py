"""Failures counted and chosen in SQL, and of what ended well in their place the newest alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from serbench.harness import heads
from serbench.leaderboard import (
    queries_aggregates,
    queries_enrolment,
    queries_epochs,
    queries_failures,
)


def newest(recorder: Any, most: int = 9, **wanted: str) -> list[dict[str, Any]]:
    return queries_failures.newest(recorder.engine, wanted, most=most)


def fitted(recorder: Any, run_id: int) -> list[int]:
    run, others = queries_failures.fitted(recorder.engine, run_id)
    assert run["id"] == run_id
    return [other["id"] for other in others]


def test_kinds_are_what_failed_and_how_often(recorder: Any) -> None:
    recorder("full")
    recorder("full", status="oom", seed=1)
    recorder("full", status="oom", seed=2)
    recorder("lora", status="oom", machine="machine-2")
    kinds = queries_failures.kinds(recorder.engine)
    assert sorted((kind["strategy"], kind["machine"], kind["runs"]) for kind in kinds) == [
        ("full", "machine-1", 2),
        ("lora", "machine-2", 1),
    ]
    assert {*queries_failures.FILTERS, "gpu", "gpu_count", "cpu", "cores"} < {*kinds[0]}


def test_no_more_are_read_than_asked_for(recorder: Any) -> None:
    failures = [recorder("full", status="failed", seed=seed) for seed in range(4)]
    assert [run["id"] for run in newest(recorder, most=3)] == failures[:0:-1]


def test_the_newest_is_the_one_that_was_started_last(recorder: Any) -> None:
    first, second = (recorder("full", status="failed", seed=seed) for seed in (0, 1))
    same, other = (recorder("lora", seed=seed) for seed in (0, 1))
    for run_id in (first, same):
        _start(recorder, run_id, "2030-01-01T00:00:00+00:00")
    assert [run["id"] for run in newest(recorder)] == [first, second]
    assert other > same
    assert fitted(recorder, second) == [same]


def _start(recorder: Any, run_id: int, when: str) -> None:
    told = {"id": run_id, "started_at": when}
    with recorder.engine.begin() as connection:
        connection.execute(sa.text("UPDATE runs SET started_at = :started_at WHERE id = :id"), told)


def test_only_what_ended_well_since_then_is_told(recorder: Any) -> None:
    recorder("full")
    rerun = recorder("full", status="failed")
    assert newest(recorder)[0]["later"] is None
    recorder("full", status="interrupted")
    recorder("full", seed=1)
    recorder("full")
    last = recorder("full")
    assert {run["id"]: run["later"] for run in newest(recorder)}[rerun] == last


def test_runs_of_a_place_are_the_newest_of_their_configurations(recorder: Any) -> None:
    recorder("lora", seed=0)
    lora = recorder("lora", seed=1)
    cached = recorder("lora", cached=True)
    fold = recorder("lora", fold="1/4")
    whole = recorder("lora", corpus_hash="manifest-2")
    recorder("lora", status="failed", seed=2)
    recorder("lora", machine="machine-2")
    failure = recorder("full", status="oom")
    assert fitted(recorder, failure) == [lora, cached, fold, whole]


def test_a_head_has_one_label_in_a_place(recorder: Any) -> None:
    stated = heads.parse("annotators:width=64")
    assert stated.config == heads.parse("annotators").config
    recorder("lora", head=heads.parse("annotators"))
    failure, (other,) = queries_failures.fitted(
        recorder.engine, recorder("full", head=stated, status="oom")
    )
    assert (failure["head"], failure["head_stated"]) == ("annotators", stated.label)
    assert other["head"] == "annotators"


@pytest.mark.parametrize(
    "query",
    [
        queries_failures._counted(),
        queries_failures._newest({"status": "oom", "machine": "machine-1"}, 500),
        queries_failures._fitted(1),
        queries_epochs._validation([1], ["valence"]),
        queries_epochs._epochs([1]),
        queries_enrolment._enrolled([1]),
        queries_aggregates._aggregated([], ["ccc_valence"], "made-up"),
    ],
)
def test_no_json_is_compared_which_postgresql_cannot(query: sa.Select[Any]) -> None:
    text = str(query.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    bare = re.sub(r"CAST\(\w+\.\w+ AS TEXT\)", "", text)
    assert not re.search(r"\.(training|config|head_config|elsewhere|notes)\b", bare)
