"""Which configuration is to be preferred: seeds aggregated, intervals, ranks, the Pareto front."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from serbench.harness.bootstrap import (
    FEWEST_SPEAKERS,
    bootstrap_ccc,
    interval,
    seed_draws,
    speaker_draws,
)
from serbench.harness.metrics import DIMENSIONS

__all__ = ["COMPARABLE", "REFERENCE", "Row", "chosen_runs", "rank"]

REFERENCE = "full"
"""The strategy whose plain fp32 run, without cache, is what speed-ups are told against."""
RANKED_DIMENSIONS = ("activation", "valence")
"""Dominance is scored where a corpus has it, and too few have it to rank by it."""

COMPARABLE = (
    "machine",
    "device",
    "backbone",
    "init",
    "backbone_hash",
    "corpus",
    "corpus_hash",
    "head",
    "cost_only",
    "training",
    "protocol",
    "torch",
    "threads",
)
"""What rows must share for their ranks to mean anything."""
CONFIGURATION = (*COMPARABLE, "strategy", "config", "precision", "cached", "cache_dtype")
"""What runs must share to be seeds of one row, besides the source of their strategy."""

Run = Mapping[str, Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration of the leaderboard; None for what was not measured.

    Rows with the same `group` compare with each other, and `rank` and `pareto` are within it.
    CCC is the mean over seeds, its 95 % interval is over speakers and seeds, times and throughput
    are medians, memory is the highest peak. `runs` counts the seeds that ended well, `failed` the
    runs that did not and that no later run of the same seed replaced; `failure` is the last such
    run's word.
    """

    group: str
    rank: int | None
    pareto: bool
    label: str
    strategy: str
    config: dict[str, Any]
    precision: str
    cached: bool
    cache_dtype: str | None
    head: str
    backbone: str
    init: str
    corpus: str
    machine: str
    machine_name: str
    """The machine in words; two of the same make have two keys in `machine`."""
    device: str
    training: dict[str, Any]
    cost_only: bool
    synthetic: bool
    derived: bool
    stale: bool
    source_hash: str
    runs: int
    failed: int
    failure: str | None
    run_ids: tuple[int, ...]
    ccc_activation: float | None
    ccc_activation_low: float | None
    ccc_activation_high: float | None
    ccc_valence: float | None
    ccc_valence_low: float | None
    ccc_valence_high: float | None
    ccc_dominance: float | None
    ccc_dominance_low: float | None
    ccc_dominance_high: float | None
    epoch_s: float | None
    audio_s_per_s: float | None
    cache_fill_s: float | None
    run_s: float | None
    break_even_epoch: int | None
    speedup_vs_full: float | None
    time_saved_vs_full: float | None
    peak_vram_bytes: int | None
    peak_host_bytes: int | None
    peak_host_anonymous_bytes: int | None
    trainable_params: int | None
    total_params: int | None


@dataclass(frozen=True, kw_only=True)
class _Configuration:
    newest: Run
    seeds: tuple[Run, ...]
    """The newest run of each seed that ended well."""
    failures: tuple[Run, ...]

    def over_seeds(
        self, key: str, aggregate: Callable[[list[Any]], Any], seeds: Iterable[Run] | None = None
    ) -> Any:
        values = [run[key] for run in (self.seeds if seeds is None else seeds)]
        measured = [value for value in values if value is not None]
        return aggregate(measured) if measured else None

    @property
    def epoch_s(self) -> float | None:
        value: float | None = self.over_seeds("epoch_s", statistics.median)
        return value

    def ccc(self, dimension: str) -> float | None:
        """Mean over seeds; None if a seed has none, since leaving it out would flatter the row."""
        values = [run[f"ccc_{dimension}"] for run in self.seeds]
        return None if not values or None in values else statistics.fmean(values)


def chosen_runs(runs: Sequence[Run], *, every_source: bool = False) -> list[int]:
    """Ids of the runs whose predictions `rank` will look at."""
    return [
        seed["id"]
        for configuration in _configurations(runs, every_source)
        for seed in configuration.seeds
    ]


def rank(
    runs: Sequence[Run],
    predictions: pd.DataFrame,
    *,
    reference: str = REFERENCE,
    current: Mapping[str, str] | None = None,
    every_source: bool = False,
) -> list[Row]:
    """Aggregate runs to rows and rank them within each group of rows that compare.

    Rows are ranked by the mean CCC of activation and valence. A row shares the rank of the leader
    before it if the paired interval of their difference includes 0, or if there are no predictions
    to tell them apart by. Cost-only rows are ranked by `epoch_s`. Rows that have neither have no
    rank and come last.

    Args:
        runs: from `queries.configurations`
        predictions: from `queries.predictions`, of `chosen_runs` at least
        reference: label of the configuration that speed-ups are told against
        current: source hash of each registered strategy, by which rows show as stale
        every_source: keep a row for every version of a strategy's source, not the latest only
    """
    parts: dict[Any, pd.DataFrame] = dict(iter(predictions.groupby(["run_id", "dimension"])))
    groups = _grouped(_configurations(runs, every_source), COMPARABLE)
    rows: list[Row] = []
    for key in sorted(groups):
        rows += _Group(key, groups[key], parts, reference, current or {}).rows()
    return rows


def _identity(run: Run, columns: Iterable[str]) -> str:
    return json.dumps([run[column] for column in columns], sort_keys=True)


def _grouped(
    configurations: Iterable[_Configuration], columns: tuple[str, ...]
) -> dict[str, list[_Configuration]]:
    groups: dict[str, list[_Configuration]] = {}
    for configuration in configurations:
        groups.setdefault(_identity(configuration.newest, columns), []).append(configuration)
    return groups


def _configurations(runs: Sequence[Run], every_source: bool) -> list[_Configuration]:
    ordered = sorted(runs, key=lambda run: (run["started_at"], run["id"]))
    latest = {_identity(run, CONFIGURATION): run["source_hash"] for run in ordered}
    found: dict[tuple[str, str], list[Run]] = {}
    for run in ordered:
        key = _identity(run, CONFIGURATION)
        if every_source or run["source_hash"] == latest[key]:
            found.setdefault((key, run["source_hash"]), []).append(run)
    return [_configuration(its_runs) for its_runs in found.values()]


def _configuration(ordered: Sequence[Run]) -> _Configuration:
    seeds: dict[int, Run] = {}
    failures: dict[int, list[Run]] = {}
    for run in ordered:
        if run["status"] == "ok":
            seeds[run["seed"]] = run
            failures.pop(run["seed"], None)
        else:
            failures.setdefault(run["seed"], []).append(run)
    unreplaced = [run for its_runs in failures.values() for run in its_runs]
    return _Configuration(
        newest=ordered[-1],
        seeds=tuple(seeds[seed] for seed in sorted(seeds)),
        failures=tuple(sorted(unreplaced, key=lambda run: (run["started_at"], run["id"]))),
    )


class _Group:
    """Configurations that compare with each other, and what is told from their comparison."""

    def __init__(
        self,
        key: str,
        members: Sequence[_Configuration],
        parts: Mapping[Any, pd.DataFrame],
        reference: str,
        current: Mapping[str, str],
    ) -> None:
        self.name = hashlib.blake2b(key.encode(), digest_size=4).hexdigest()
        self.members = members
        self.current = current
        self.draws = _paired_draws(members, parts)
        self.scored = [
            dimension
            for dimension in RANKED_DIMENSIONS
            if any(member.ccc(dimension) is not None for member in members)
        ]
        plain = [
            member
            for member in members
            if member.newest["label"] == reference and member.epoch_s is not None
        ]
        self.reference_epoch_s = plain[-1].epoch_s if plain else None

    def rows(self) -> list[Row]:
        ranks = self._ranks()
        front = self._front()
        order = sorted(
            range(len(self.members)),
            key=lambda i: (ranks[i] is None, ranks[i] or 0, -(self._score(i) or 0.0)),
        )
        return [self._row(i, ranks[i], front[i]) for i in order]

    def _score(self, index: int) -> float | None:
        values = [self.members[index].ccc(dimension) for dimension in self.scored]
        defined = [value for value in values if value is not None]
        return statistics.fmean(defined) if defined and len(defined) == len(values) else None

    def _ranks(self) -> list[int | None]:
        ranks: list[int | None] = [None] * len(self.members)
        if all(member.newest["cost_only"] for member in self.members):
            figures = [member.epoch_s for member in self.members]
            same = _equal(figures)
        else:
            scores = [self._score(i) for i in range(len(self.members))]
            figures = [None if score is None else -score for score in scores]
            same = self._cannot_tell_apart
        leader = place = 0
        ranked = [i for i, figure in enumerate(figures) if figure is not None]
        for position, i in enumerate(sorted(ranked, key=lambda i: figures[i] or 0.0), start=1):
            if place == 0 or not same(leader, i):
                leader, place = i, position
            ranks[i] = place
        return ranks

    def _cannot_tell_apart(self, a: int, b: int) -> bool:
        first, second = self._score_draws(a), self._score_draws(b)
        bounds = None if first is None or second is None else interval(first - second)
        return bounds is None or bounds[0] <= 0 <= bounds[1]

    def _score_draws(self, index: int) -> Floats | None:
        drawn = [self.draws[index].get(dimension) for dimension in self.scored]
        defined = [draws for draws in drawn if draws is not None]
        return np.mean(defined, axis=0) if defined and len(defined) == len(drawn) else None

    def _front(self) -> list[bool]:
        """Whether nothing else is as good in CCC, time and memory, and better in one of them."""
        vram = any(self._peak(i, "peak_vram_bytes") is not None for i in range(len(self.members)))
        # Mapped pages of a cache, which the system may drop, are no cost of the strategy.
        memory = "peak_vram_bytes" if vram else "peak_host_anonymous_bytes"
        points = [
            (
                None if (score := self._score(i)) is None else -score,
                member.epoch_s,
                self._peak(i, memory),
            )
            for i, member in enumerate(self.members)
        ]
        return _not_dominated(points)

    def _peak(self, index: int, key: str) -> int | None:
        value: int | None = self.members[index].over_seeds(key, max)
        return value

    def _row(self, index: int, rank: int | None, pareto: bool) -> Row:
        member = self.members[index]
        newest = member.newest
        same = {
            key: newest[key]
            for key in (*CONFIGURATION, "label", "source_hash")
            if key in Row.__dataclass_fields__
        }
        return Row(
            **same,
            **self._accuracy(index),
            **self._cost(member),
            machine_name=_machine_name(newest),
            group=self.name,
            rank=rank,
            pareto=pareto,
            synthetic=any(run["synthetic"] for run in (newest, *member.seeds)),
            derived=any(run["derived"] for run in (newest, *member.seeds)),
            stale=self.current.get(newest["strategy"], newest["source_hash"])
            != newest["source_hash"],
            runs=len(member.seeds),
            failed=len(member.failures),
            failure=_word(member.failures),
            run_ids=tuple(run["id"] for run in member.seeds),
            peak_vram_bytes=self._peak(index, "peak_vram_bytes"),
            peak_host_bytes=self._peak(index, "peak_host_bytes"),
            peak_host_anonymous_bytes=self._peak(index, "peak_host_anonymous_bytes"),
            trainable_params=newest["trainable_params"],
            total_params=newest["total_params"],
        )

    def _accuracy(self, index: int) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for dimension in DIMENSIONS:
            value = self.members[index].ccc(dimension)
            draws = self.draws[index].get(dimension)
            bounds = None if draws is None or value is None else interval(draws)
            columns[f"ccc_{dimension}"] = value
            columns[f"ccc_{dimension}_low"] = bounds[0] if bounds else None
            columns[f"ccc_{dimension}_high"] = bounds[1] if bounds else None
        return columns

    def _cost(self, member: _Configuration) -> dict[str, Any]:
        epoch_s = member.epoch_s
        # A run that found its cache filled says nothing of what filling costs.
        whole = [
            run
            for run in member.seeds
            if run["cache_fill_s"] is not None or not member.newest["cached"]
        ]
        fill_s = member.over_seeds("cache_fill_s", statistics.median)
        full_s = self.reference_epoch_s
        share = epoch_s / full_s if epoch_s and full_s else None
        return {
            "epoch_s": epoch_s,
            "audio_s_per_s": member.over_seeds("audio_s_per_s", statistics.median),
            "cache_fill_s": fill_s,
            "run_s": member.over_seeds("run_s", statistics.median, whole),
            "break_even_epoch": _break_even(fill_s, epoch_s, self._live_epoch_s(member)),
            "speedup_vs_full": 1 / share if share else None,
            "time_saved_vs_full": 1 - share if share else None,
        }

    def _live_epoch_s(self, member: _Configuration) -> float | None:
        """Steady epoch of the same configuration without cache; None for one that has none."""
        columns = ("strategy", "config", "precision", "source_hash")
        wanted = _identity(member.newest, columns)
        live = [
            other.epoch_s
            for other in self.members
            if not other.newest["cached"] and _identity(other.newest, columns) == wanted
        ]
        return live[0] if live and member.newest["cached"] else None


def _paired_draws(
    members: Sequence[_Configuration], parts: Mapping[Any, pd.DataFrame]
) -> list[dict[str, Floats]]:
    """CCC of each draw of speakers and seeds, (D,), for each member and dimension.

    Empty with fewer than `FEWEST_SPEAKERS`: there is too little to draw from.
    """
    ids = {run["id"] for member in members for run in member.seeds}
    speakers = sorted(
        {name for (run_id, _), part in parts.items() if run_id in ids for name in part["speaker"]}
    )
    if len(speakers) < FEWEST_SPEAKERS:
        return [{} for _ in members]
    counts = speaker_draws(len(speakers))
    column = {name: i for i, name in enumerate(speakers)}

    def of_run(run: Run, dimension: str) -> Floats:
        part = parts[run["id"], dimension].dropna(subset="label")
        return bootstrap_ccc(
            part["predicted"].to_numpy(dtype=np.float64),
            part["label"].to_numpy(dtype=np.float64),
            part["speaker"].map(column).to_numpy(dtype=np.intp),
            counts,
        )

    def of_row(seeds: Sequence[Run], dimension: str) -> Floats:
        each = np.stack([of_run(run, dimension) for run in seeds], axis=1)
        return np.asarray((each * seed_draws(len(seeds))).sum(axis=1) / len(seeds))

    return [
        {
            dimension: of_row(member.seeds, dimension)
            for dimension in DIMENSIONS
            if member.seeds and all((run["id"], dimension) in parts for run in member.seeds)
        }
        for member in members
    ]


def _equal(figures: Sequence[float | None]) -> Callable[[int, int], bool]:
    return lambda a, b: figures[a] == figures[b]


def _not_dominated(points: Sequence[tuple[float | None, ...]]) -> list[bool]:
    """For each point, all of whose figures are better when lower, whether it is on the front.

    A figure that no point has is left out; a point that lacks one that others have is not on it.
    """
    measured = [i for i, figures in enumerate(zip(*points, strict=True)) if set(figures) != {None}]
    kept = [tuple(point[i] for i in measured) for point in points]
    whole = [point for point in kept if None not in point]

    def dominates(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    return [
        bool(point) and None not in point and not any(dominates(other, point) for other in whole)
        for point in kept
    ]


def _break_even(
    fill_s: float | None, cached_epoch_s: float | None, live_epoch_s: float | None
) -> int | None:
    """Smallest n with fill + n * cached <= n * live; None if unknown or never."""
    if fill_s is None or cached_epoch_s is None or live_epoch_s is None:
        return None
    saved_s = live_epoch_s - cached_epoch_s
    if saved_s <= 0:
        return None
    # A quotient of two clocked times that is whole must not be lifted by its last bit.
    return max(1, math.ceil(fill_s / saved_s - 1e-9))


def _machine_name(run: Run) -> str:
    gpus = f"{run['gpu_count']} × {run['gpu']}" if (run["gpu_count"] or 0) > 1 else run["gpu"]
    cores = f"{run['cores']} cores" if run["cores"] else None
    return ", ".join(part for part in (gpus, run["cpu"], cores) if part) or run["machine"]


def _word(failures: Sequence[Run]) -> str | None:
    if not failures:
        return None
    last = failures[-1]
    return ": ".join(part for part in (last["status"], last["message"]) if part)
