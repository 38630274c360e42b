"""Which runs are the seeds of one configuration, and which configurations compare."""

from __future__ import annotations

import functools
import hashlib
import json
import operator
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from serbench.harness.metrics import RANKINGS, SCORED, Sums, Total
from serbench.harness.plan import named
from serbench.leaderboard.noise import Noise, noise_floor

__all__ = [
    "COMPARABLE",
    "CONFIGURATION",
    "Configuration",
    "Group",
    "Run",
    "comparable",
    "groups",
    "identity",
    "in_order",
    "place",
    "pooled",
]

Run = Mapping[str, Any]
"""As `queries.configurations` gives them."""

COMPARABLE = (
    "machine",
    "device",
    "backbone",
    "init",
    "backbone_hash",
    "corpus",
    "corpus_hash",
    "cost_only",
    "tested_on",
    "tested_on_hash",
    "folds",
    "training",
    "protocol",
    "torch",
    "threads",
)
"""What rows must share for their ranks to mean anything, besides which folds they have."""
CONFIGURATION = (
    *COMPARABLE,
    "head_name",
    "head_config",
    "head_source",
    "strategy",
    "config",
    "precision",
    "cached",
    "cache_dtype",
)
"""What runs must share to be seeds of one row, besides the source of their strategy."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Runs that differ in their seed and fold alone."""

    newest: Run
    runs: tuple[Run, ...]
    """The newest run of each seed and fold that ended well, in this order: what costs are of."""
    seeds: tuple[Run, ...]
    """One for each seed that has all folds, by seed: what accuracy is of. Where there are folds, it
    has the `ids` of their runs, and the scores over the test utterances of all of them."""
    failures: tuple[Run, ...]
    repeated: tuple[tuple[Run, Run], ...]
    """Members of `runs`, each with one of its repeats; these count for the noise floor alone."""

    @property
    def name(self) -> str:
        """The newest run's label, with its head, and the cache's type where one was asked for."""
        label, dtype = named(self.newest["label"], self.newest["head"]), self.newest["cache_dtype"]
        return label if dtype in (None, "auto") else f"{label} ({dtype})"

    @property
    def folds(self) -> tuple[str, ...]:
        """The folds that accuracy is of, each as NUMBER/COUNT; empty for a corpus's one split."""
        ids = {i for run in self.seeds[:1] for i in run["ids"]}
        return tuple(run["fold"] for run in self.runs if run["id"] in ids and run["fold"])

    @property
    def fold_numbers(self) -> tuple[int, ...]:
        """The numbers of `folds`, from 1."""
        return tuple(int(fold.partition("/")[0]) for fold in self.folds)

    def over_runs(self, key: str, aggregate: Callable[[list[Any]], Any]) -> Any:
        """A figure's aggregate over the runs that have it; None if none has."""
        measured = self.figures(key)
        return aggregate(measured) if measured else None

    def figures(self, key: str) -> list[Any]:
        """A figure of each run that has it; `run_s` only of those that paid for all they used."""
        paid = [run for run in self.runs if key != "run_s" or _paid(run)]
        return [run[key] for run in paid if run[key] is not None]

    @property
    def epoch_s(self) -> float | None:
        """Median over runs."""
        value: float | None = self.over_runs("epoch_s", statistics.median)
        return value

    @property
    def run_s(self) -> float | None:
        """Median over the runs that paid for all they used."""
        value: float | None = self.over_runs("run_s", statistics.median)
        return value

    def peak(self, key: str) -> int | None:
        """Highest over runs."""
        value: int | None = self.over_runs(key, max)
        return value

    def score(self, keys: Iterable[str]) -> float | None:
        """Mean over seeds and scores, by their keys in `METRICS`.

        None if a seed has not all of them, since leaving it out would flatter the row.
        """
        return _mean(_mean(run[key] for run in self.seeds) for key in keys)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Configurations that compare with each other."""

    key: str
    members: tuple[Configuration, ...]

    @property
    def name(self) -> str:
        """Short, and the same wherever the group's setting is."""
        return hashlib.blake2b(self.key.encode(), digest_size=4).hexdigest()

    @functools.cached_property
    def memory(self) -> str:
        """The peak that counts, of all members or of none: a GPU's does not compare with a host's.

        Of the host's, mapped pages of a cache, which the system may drop, are no cost.
        """
        vram = any(member.peak("peak_vram_bytes") is not None for member in self.members)
        return "peak_vram_bytes" if vram else "peak_host_anonymous_bytes"

    def scored(self, ranking: str) -> tuple[str, ...]:
        """Those scores of a ranking, as in `RANKINGS`, that some row of this group has."""
        return tuple(
            key
            for key in RANKINGS[ranking].keys
            if any(member.score((key,)) is not None for member in self.members)
        )

    @property
    def _repeated(self) -> list[tuple[Run, Run]]:
        return [pair for member in self.members for pair in member.repeated]

    def floor(self, ranking: str) -> float | None:
        """How far two runs of one configuration and seed differ in what a ranking goes by."""
        keys = self.scored(ranking)
        return noise_floor(self._repeated, lambda run: _mean(run[key] for key in keys))

    @functools.cached_property
    def noise(self) -> Noise:
        """How far two runs of one configuration and seed differ."""
        pairs = self._repeated
        return Noise(
            pairs=len(pairs),
            epoch_share=noise_floor(pairs, lambda run: run["epoch_s"], relative=True),
            run_share=noise_floor(
                pairs, lambda run: run["run_s"] if _paid(run) else None, relative=True
            ),
            ccc=self.floor("ccc"),
            tvd=self.floor("tvd"),
        )


def _paid(run: Run) -> bool:
    """A run that found its cache filled says nothing of what filling costs."""
    return run["cache_fill_s"] is not None or not run["cached"]


def _mean(values: Iterable[float | None]) -> float | None:
    """None if one is."""
    known: list[float] = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return statistics.fmean(known) if known else None


def identity(run: Run, columns: Iterable[str]) -> str:
    """What a run's columns hold, as one text that orders and compares."""
    return json.dumps([run[column] for column in columns], sort_keys=True)


def in_order(runs: Iterable[Run]) -> list[Run]:
    """Oldest first."""
    return sorted(runs, key=lambda run: (run["started_at"], run["id"]))


def comparable(configuration: Configuration) -> str:
    """What a configuration must share with those that it compares with, as one text."""
    return identity({**configuration.newest, "fold": configuration.folds}, (*COMPARABLE, "fold"))


def groups(runs: Iterable[Run], *, every_source: bool = False) -> list[Group]:
    """All configurations, by what they must share to compare.

    Args:
        runs: from `queries.configurations`
        every_source: keep a configuration for every version of a strategy's source, not the
            latest only
    """
    found: dict[str, list[Configuration]] = {}
    for configuration in _configurations(in_order(runs), every_source):
        found.setdefault(comparable(configuration), []).append(configuration)
    return [Group(key=key, members=tuple(found[key])) for key in sorted(found)]


def _configurations(ordered: Sequence[Run], every_source: bool) -> list[Configuration]:
    keys = [identity(run, CONFIGURATION) for run in ordered]
    latest = {
        key: run["source_hash"] for key, run in zip(keys, ordered, strict=True) if not run["repeat"]
    }
    found: dict[tuple[str, str], list[Run]] = {}
    for key, run in zip(keys, ordered, strict=True):
        if every_source or run["source_hash"] == latest.get(key):
            found.setdefault((key, run["source_hash"]), []).append(run)
    return [
        _configuration(its_runs)
        for its_runs in found.values()
        if not all(run["repeat"] for run in its_runs)
    ]


def _configuration(ordered: Sequence[Run]) -> Configuration:
    """The configuration of runs that come oldest first and are not all of them repeats."""
    well: dict[Place, Run] = {}
    repeats: dict[tuple[Place, int], Run] = {}
    failures: dict[Place, list[Run]] = {}
    for run in ordered:
        here = place(run)
        if run["repeat"]:
            if run["status"] == "ok":
                repeats[here, run["repeat"]] = run
        elif run["status"] == "ok":
            well[here] = run
            failures.pop(here, None)
        else:
            failures.setdefault(here, []).append(run)
    runs = [well[here] for here in sorted(well)]
    return Configuration(
        newest=[run for run in ordered if not run["repeat"]][-1],
        runs=tuple(runs),
        seeds=pooled(runs),
        failures=tuple(in_order(run for its_runs in failures.values() for run in its_runs)),
        repeated=tuple(
            (well[here], repeats[here, repeat]) for here, repeat in sorted(repeats) if here in well
        ),
    )


Place: TypeAlias = tuple[int, int]


def place(run: Run) -> Place:
    """A run's seed and the number of its fold, by which it is known in its configuration."""
    return run["seed"], int((run["fold"] or "0").partition("/")[0])


def pooled(runs: Sequence[Run]) -> tuple[Run, ...]:
    """One run for each seed, from those of its folds.

    Seeds that lack a fold that others have are left out: no two would be of the same utterances.
    """
    by_seed: dict[int, list[Run]] = {}
    for run in runs:
        by_seed.setdefault(run["seed"], []).append(run)
    folds = {seed: tuple(run["fold"] for run in found) for seed, found in by_seed.items()}
    most = max(folds.values(), key=len, default=())
    return tuple(_whole(found) for seed, found in by_seed.items() if folds[seed] == most)


def _whole(folds: Sequence[Run]) -> Run:
    if len(folds) == 1:
        return folds[0]
    ids = tuple(run["id"] for run in folds)
    scores = {key: _over_all([run["sums"].get(key) for run in folds]) for key in SCORED}
    return {**folds[-1], "ids": ids, **scores}


def _over_all(parts: Sequence[Sums | Total | None]) -> float | None:
    """The score over all parts together; None if one of them has nothing."""
    known = [part for part in parts if part is not None]
    whole = functools.reduce(operator.add, known) if len(known) == len(parts) else None
    return None if whole is None else whole.value
