"""Which runs a reader can choose from: those of the configurations that a page's rows are of."""

from __future__ import annotations

from collections.abc import Sequence

from serbench.harness.plan import named
from serbench.leaderboard.configurations import Configuration, Group, Run, place
from serbench.leaderboard.ranking import Row

__all__ = ["label", "members", "of_run", "repeating", "row_of", "runs_of"]


def members(rows: Sequence[Row], group: Group) -> list[Configuration]:
    """The configurations of a group, in the order of its rows."""
    order = {row.name: position for position, row in reversed(list(enumerate(rows)))}
    return sorted(group.members, key=lambda member: order.get(member.name, len(order)))


def runs_of(member: Configuration) -> list[Run]:
    """All runs of a configuration that count, failures and repeats too, by seed and fold."""
    repeats = [repeat for _, repeat in member.repeated]
    every = (*member.runs, *repeats, *member.failures)
    return sorted(every, key=lambda run: (*place(run), run["repeat"], run["id"]))


def of_run(configurations: Sequence[Configuration], run_id: int) -> int | None:
    """Position of the configuration that has a run; None if none has."""
    has = (run_id in [run["id"] for run in runs_of(member)] for member in configurations)
    return next((position for position, there in enumerate(has) if there), None)


def row_of(rows: Sequence[Row], run_id: int) -> Row | None:
    """The row that a run counts in; None for a repeat, a failure, or a run of other rows."""
    return next((row for row in rows if run_id in row.run_ids), None)


def label(run: Run, *, whole: bool = False) -> str:
    """What tells a run from others of its configuration, or, if `whole`, from all."""
    what = f"{named(run['label'], run['head'])}, " if whole else ""
    fold = f", fold {run['fold']}" if run["fold"] else ""
    repeat = f", repeat {run['repeat']}" if run["repeat"] else ""
    status = "" if run["status"] == "ok" else f", {run['status']}"
    return f"{run['id']}: {what}seed {run['seed']}{fold}{repeat}{status}"


def repeating(run: Run) -> str:
    """The command that makes a run again, with whatever else it was asked for.

    Args:
        run: from `queries.run`
    """
    command: str = run["command"]
    finished = run["status"] == "ok" and "--rerun" not in command.split()
    return f"{command} --rerun" if finished else command
