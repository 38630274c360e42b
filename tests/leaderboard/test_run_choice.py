from __future__ import annotations

from typing import Any

from serbench.leaderboard import queries, ranking, run_choice
from serbench.leaderboard.configurations import groups


def test_members_stand_in_the_order_of_their_rows(filled: Any) -> None:
    runs = queries.configurations(filled.engine)
    evidence = queries.evidence(filled.engine, ranking.chosen_runs(runs))
    rows = ranking.rank(runs, evidence)
    (group,) = [each for each in groups(runs) if each.name == rows[0].group]
    names = [member.name for member in run_choice.members(rows[::-1], group)]
    assert names == [row.name for row in rows[::-1]]
    assert run_choice.row_of(rows, 1) == next(row for row in rows if row.name == "full")
    assert run_choice.row_of(rows, 13) is None


def test_failures_and_repeats_can_be_chosen_too(recorder: Any) -> None:
    well = recorder("full", seed=1)
    failure = recorder("full", seed=0, status="oom")
    repeat = recorder("full", seed=1, repeat=1)
    other = recorder("full", corpus_name="other")
    runs = queries.configurations(recorder.engine)
    evidence = queries.evidence(recorder.engine, [well])
    rows = [row for row in ranking.rank(runs, evidence) if row.corpus == "made-up"]
    (group,) = [each for each in groups(runs) if each.name == rows[0].group]
    members = run_choice.members(rows, group)
    assert [run["id"] for run in run_choice.runs_of(members[0])] == [failure, well, repeat]
    assert run_choice.of_run(members, repeat) == 0
    assert run_choice.of_run(members, other) is None


def test_labels_tell_runs_apart() -> None:
    run = {"id": 7, "label": "lora", "head": "evidential", "seed": 2, "fold": "1/5", "repeat": 1}
    assert run_choice.label({**run, "status": "ok"}) == "7: seed 2, fold 1/5, repeat 1"
    told = run_choice.label({**run, "status": "oom", "fold": None, "repeat": 0}, whole=True)
    assert told == "7: lora@evidential, seed 2, oom"


def test_what_is_finished_is_repeated_only_when_told_to() -> None:
    command = "serbench run --all"
    assert run_choice.repeating({"status": "ok", "command": command}) == f"{command} --rerun"
    assert run_choice.repeating({"status": "failed", "command": command}) == command
    rerun = f"{command} --rerun"
    assert run_choice.repeating({"status": "ok", "command": rerun}) == rerun
