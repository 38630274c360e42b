"""What did not end well, and what the data say would have fitted instead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from serbench.harness.metrics import size
from serbench.harness.plan import named
from serbench.leaderboard.configurations import CONFIGURATION, Run, identity
from serbench.leaderboard.ranking import machine_name

__all__ = ["Fit", "advice", "count", "fits", "fitting", "link", "table"]

EFFORT = {"batch_size": 1, "precision": 1, "cached": 1, "config": 2, "head": 4, "strategy": 8}
"""How far a change leads away from what was asked for; any other is as far as a strategy's
setting. What changes nothing but the cost comes first, another method last."""
MOST_FITS = 5

SAVINGS = (
    "A smaller batch: `--batch-size N`; with `--set accumulate=K`, K batches make one step.",
    "16 bits: `+bf16`, or `+fp16` on GPUs that lack bf16, nearly halve what a step keeps.",
    "A cache: with `+cache` the frozen part of the encoder does not run in training.",
    "Fewer layers that learn: `top-layers:layers=N`, or `frozen`, whose step keeps the least.",
    "Shorter utterances: `--set max_seconds=S` cuts all of them at S seconds.",
)
ADVICE = {
    "oom": SAVINGS,
    "failed": (
        "The last line of the traceback says what was wrong. Once it is put right, the same "
        "command runs what is missing.",
    ),
    "interrupted": (
        "Nothing is known to be wrong with it: the same command runs what is missing.",
    ),
}
"""What to do by how a run ended, whatever the database holds."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A run that fitted where another did not."""

    run: Run
    changes: tuple[str, ...]
    """What it has otherwise; empty for the same configuration."""


def count(kinds: Sequence[Mapping[str, Any]], wanted: Mapping[str, str | None]) -> int:
    """How many runs did not end well and have what is wanted.

    Args:
        kinds: from `queries_failures.kinds`
        wanted: by the names of `queries_failures.FILTERS`; None is anything
    """
    return sum(
        kind["runs"]
        for kind in kinds
        if all(value is None or kind[name] == value for name, value in wanted.items())
    )


def link(run_id: int) -> str:
    """The address of a run's page, from any other page."""
    return f"run?run={run_id}"


def table(failures: Sequence[Run]) -> pd.DataFrame:
    """One line a failure, and whether the same was done again and ended well.

    Args:
        failures: from `queries_failures.newest`
    """
    lines = [
        {
            "Run": link(run["id"]),
            "Status": run["status"],
            "Configuration": named(run["label"], run["head"]),
            "Message": run["message"] or "",
            "When (UTC)": run["started_at"][:16].replace("T", " "),
            "Since then": _since(run["later"]),
            "Seed": run["seed"],
            "Corpus": run["corpus"],
            "Backbone": run["backbone"],
            "Machine": machine_name(run),
        }
        for run in failures
    ]
    frame: pd.DataFrame = pd.DataFrame(lines)
    return frame


def _since(run_id: int | None) -> str:
    return "" if run_id is None else f"ended well as run {run_id}"


def advice(status: str) -> tuple[str, ...]:
    """What to do about a run that ended so, in Markdown."""
    return ADVICE.get(status, ADVICE["failed"])


def fits(failure: Run, runs: Sequence[Run]) -> list[Fit]:
    """What did fit on the same machine, corpus and backbone: at most `MOST_FITS`, nearest first.

    Each configuration is told once; of equally near ones that with the lower peak comes first.

    Args:
        failure, runs: from `queries_failures.fitted`
    """
    found: dict[str, tuple[float, float, Fit]] = {}
    for run in runs:
        changes = _changes(failure, run)
        effort = sum(EFFORT.get(kind, EFFORT["config"]) for kind, _ in changes)
        fit = Fit(run=run, changes=tuple(text for _, text in changes))
        found[identity(run, CONFIGURATION)] = (effort, _peak(run) or math.inf, fit)
    nearest = sorted(found.values(), key=lambda each: (*each[:2], each[2].run["id"]))
    return [fit for _, _, fit in nearest[:MOST_FITS]]


def _peak(run: Run) -> int | None:
    on_gpu = run["peak_vram_bytes"] is not None
    peak: int | None = run["peak_vram_bytes" if on_gpu else "peak_host_anonymous_bytes"]
    return peak


def _changes(failure: Run, run: Run) -> list[tuple[str, str]]:
    """How a run differs from one that failed: kind, as in `EFFORT`, and words."""
    found = [
        (key, f"{run[key]} instead of {failure[key]}")
        for key in ("strategy", "precision", "head")
        if run[key] != failure[key]
    ]
    if run["cached"] != failure["cached"]:
        found.append(("cached", "cached" if run["cached"] else "not cached"))
    if run["strategy"] == failure["strategy"]:
        found += [("config", text) for _, text in _settings(failure["config"], run["config"])]
    return found + _settings(failure["training"], run["training"])


def _settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings that both know and have otherwise."""
    return [
        (key, f"{key.replace('_', ' ')} {after[key]} instead of {value}")
        for key, value in before.items()
        if key in after and after[key] != value
    ]


def fitting(found: Sequence[Fit]) -> pd.DataFrame:
    """One line for each that fitted."""
    frame: pd.DataFrame = pd.DataFrame(
        [
            {
                "Run": link(fit.run["id"]),
                "Configuration": named(fit.run["label"], fit.run["head"]),
                "Otherwise": ", ".join(fit.changes)
                or "the same, with another seed or at another time",
                "Batch size": fit.run["training"]["batch_size"],
                "Peak memory": size(_peak(fit.run)),
            }
            for fit in found
        ]
    )
    return frame
