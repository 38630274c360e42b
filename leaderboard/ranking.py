"""Which configuration is to be preferred: seeds aggregated, intervals, ranks, the Pareto front."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serbench.harness.metrics import RANKINGS, SCORED
from serbench.leaderboard.configurations import (
    CONFIGURATION,
    Configuration,
    Group,
    Run,
    groups,
    identity,
)
from serbench.leaderboard.differences import Draws, Parts, parts
from serbench.leaderboard.noise import DIGITS, relative_gap
from serbench.leaderboard.queries import Evidence

__all__ = [
    "BEST",
    "REFERENCE",
    "Row",
    "best_first",
    "chosen_runs",
    "machine_name",
    "not_dominated",
    "rank",
    "rank_group",
    "runs_of_best",
]

BEST = 100
"""So many rows of a group, the best by their scores, have intervals, a rank and curves: these take
all that their runs predicted, and a bootstrap of it. No suite is as large as that."""

REFERENCE = "full"
"""The strategy whose plain fp32 run, without cache, is what speed-ups are told against."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration of the leaderboard; None for what was not measured.

    Rows with the same `group` compare with each other, and `rank` and `pareto` are within it.
    Scores are the mean over seeds, of each over what was tested of all `fold_numbers`. Their 95 %
    interval is over seeds and speakers, that of the annotators' CCC over seeds and annotators.
    Times and throughput are medians, memory is the highest peak. `runs` counts the seeds that ended
    well, `failed` the runs that did not and that no later run of the same seed and fold replaced;
    `failure` is the last such run's word. Repeats count for the noise floor alone, which is the
    group's.
    """

    group: str
    ranked_by: str
    """As in `RANKINGS`; rows of cost only are ranked by `epoch_s`."""
    rank: int | None
    pareto: bool
    label: str
    name: str
    """The label, and what else tells the row from others of that label."""
    strategy: str
    config: dict[str, Any]
    precision: str
    cached: bool
    cache_dtype: str | None
    head: str
    head_config: dict[str, Any]
    backbone: str
    init: str
    corpus: str
    tested_on: str
    """The corpus, or a further one that the scores are of."""
    folds: int | None
    """How many folds the corpus was parted into; None for its one split."""
    fold_numbers: tuple[int, ...]
    """Which of them the scores are of, from 1."""
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
    noise_pairs: int
    """Pairs of a run and its repeat in the group, by which its noise floor is told."""
    noise_epoch_share: float | None
    noise_run_share: float | None
    noise_ccc: float | None
    noise_tvd: float | None
    ccc_activation: float | None
    ccc_activation_low: float | None
    ccc_activation_high: float | None
    ccc_valence: float | None
    ccc_valence_low: float | None
    ccc_valence_high: float | None
    ccc_dominance: float | None
    ccc_dominance_low: float | None
    ccc_dominance_high: float | None
    tvd: float | None
    tvd_low: float | None
    tvd_high: float | None
    tvd_told: float | None
    tvd_told_low: float | None
    tvd_told_high: float | None
    tvd_true: float | None
    tvd_true_low: float | None
    tvd_true_high: float | None
    jsd: float | None
    jsd_low: float | None
    jsd_high: float | None
    jsd_told: float | None
    jsd_told_low: float | None
    jsd_told_high: float | None
    jsd_true: float | None
    jsd_true_low: float | None
    jsd_true_high: float | None
    annotator_ccc_activation: float | None
    annotator_ccc_activation_low: float | None
    annotator_ccc_activation_high: float | None
    annotator_ccc_valence: float | None
    annotator_ccc_valence_low: float | None
    annotator_ccc_valence_high: float | None
    annotator_ccc_told_activation: float | None
    annotator_ccc_told_activation_low: float | None
    annotator_ccc_told_activation_high: float | None
    annotator_ccc_told_valence: float | None
    annotator_ccc_told_valence_low: float | None
    annotator_ccc_told_valence_high: float | None
    epoch_s: float | None
    audio_s_per_s: float | None
    cache_fill_s: float | None
    run_s: float | None
    cache_bytes: int | None
    break_even_epoch: int | None
    speedup_vs_full: float | None
    time_saved_vs_full: float | None
    data_wait_s: float | None
    utilisation: float | None
    energy_j: float | None
    peak_vram_bytes: int | None
    peak_reserved_bytes: int | None
    peak_process_vram_bytes: int | None
    process_vram_source: str | None
    """How the peak before was told: for the process, or as a change of the whole GPU's."""
    peak_host_bytes: int | None
    peak_host_anonymous_bytes: int | None
    weight_bytes: int | None
    gradient_bytes: int | None
    optimizer_bytes: int | None
    saved_activation_bytes: int | None
    flops_per_step: float | None
    trainable_params: int | None
    total_params: int | None


MEDIANS = ("audio_s_per_s", "cache_fill_s", "data_wait_s", "utilisation", "energy_j")
PEAKS = (
    "peak_vram_bytes",
    "peak_reserved_bytes",
    "peak_process_vram_bytes",
    "peak_host_bytes",
    "peak_host_anonymous_bytes",
)
ALIKE = ("strategy", "config", "precision", "source_hash")
"""What a row and its like without cache share."""
COUNTS = (
    "weight_bytes",
    "gradient_bytes",
    "optimizer_bytes",
    "saved_activation_bytes",
    "cache_bytes",
    "flops_per_step",
    "trainable_params",
    "total_params",
)
"""Figures that all seeds of a row have alike, if they ended well."""


def chosen_runs(runs: Sequence[Run], *, by: str = "ccc", every_source: bool = False) -> list[int]:
    """Ids of the runs whose evidence `rank` will look at, if ranked by this."""
    found = groups(runs, every_source=every_source)
    return [run_id for group in found for run_id in runs_of_best(group, by)]


def runs_of_best(group: Group, by: str = "ccc") -> list[int]:
    """Ids of the runs whose evidence `rank_group` will look at, if ranked by this."""
    members = [group.members[i] for i in best_first(_losses(group, by))[:BEST]]
    return [run_id for member in members for seed in member.seeds for run_id in seed["ids"]]


def _losses(group: Group, by: str) -> list[float | None]:
    """What rows are ranked by, turned so that lower is better."""
    keys, sign = group.scored(by), -1 if RANKINGS[by].higher_is_better else 1
    scores = [member.score(keys) for member in group.members]
    return [None if score is None else sign * round(score, DIGITS) for score in scores]


def best_first(losses: Sequence[float | None]) -> list[int]:
    """Positions of rows by what they are ranked by, lower being better; those without it last."""
    return sorted(range(len(losses)), key=lambda i: (losses[i] is None, losses[i] or 0.0))


def rank(
    runs: Sequence[Run],
    evidence: Evidence,
    *,
    by: str = "ccc",
    reference: str = REFERENCE,
    current: Mapping[str, str] | None = None,
    every_source: bool = False,
) -> list[Row]:
    """Aggregate runs to rows and rank them within each group of rows that compare.

    Args:
        runs: from `queries.configurations`
        evidence: from `queries.evidence`, of `chosen_runs` at least
        by, reference, current: as in `rank_group`
        every_source: keep a row for every version of a strategy's source, not the latest only
    """
    found = parts(evidence)
    return [
        row
        for group in groups(runs, every_source=every_source)
        for row in rank_group(group, found, by=by, reference=reference, current=current)
    ]


def rank_group(
    group: Group,
    found: Parts,
    *,
    by: str = "ccc",
    reference: str = REFERENCE,
    current: Mapping[str, str] | None = None,
) -> list[Row]:
    """Aggregate the runs of a group to rows and rank them.

    A row shares the rank of the leader before it unless `Draws.difference` tells the two apart.
    Behind the `BEST` rows those follow, in the order of their scores, that have neither rank nor
    intervals. Cost-only rows are ranked by `epoch_s`, all of them, and one that is within the noise
    floor of the leader before it shares its rank. Rows that have neither have no rank and come
    last.

    Args:
        found: from `differences.parts`, of `runs_of_best` at least
        by: what rows are ranked by, as in `RANKINGS`; the mean CCC of activation and valence
        reference: label of the configuration that speed-ups are told against
        current: source hash of each registered strategy, by which rows show as stale
    """
    return _Ranking(group, found, by, reference, current or {}).rows()


class _Ranking:
    """One group's rows, and what is told from their comparison."""

    def __init__(
        self,
        group: Group,
        found: Parts,
        by: str,
        reference: str,
        current: Mapping[str, str],
    ) -> None:
        self.group, self.members = group, group.members
        self.current = current
        self.by, self.keys = by, group.scored(by)
        self.noise = group.floor(by)
        self.losses = _losses(group, by)
        self.best = best_first(self.losses)[:BEST]
        self.draws = Draws([self.members[i] for i in self.best], found)
        self.live_s: dict[str, float | None] = {}
        for member in group.members:
            if not member.newest["cached"]:
                self.live_s.setdefault(identity(member.newest, ALIKE), member.epoch_s)
        plain = [
            member
            for member in group.members
            if member.newest["label"] == reference and member.epoch_s is not None
        ]
        self.reference_epoch_s = plain[-1].epoch_s if plain else None

    def rows(self) -> list[Row]:
        ranks = self._ranks()
        front = self._front()

        def place(i: int) -> tuple[bool, int, bool, float]:
            loss, rank = self.losses[i], ranks[i]
            return rank is None, rank or 0, loss is None, loss or 0.0

        order = sorted(range(len(self.members)), key=place)
        return [self._row(self.members[i], ranks[i], front[i]) for i in order]

    def _ranks(self) -> list[int | None]:
        ranks: list[int | None] = [None] * len(self.members)
        if all(member.newest["cost_only"] for member in self.members):
            figures = [member.epoch_s for member in self.members]
            same = self._equally_long
        else:
            figures = [None] * len(self.members)
            for i in self.best:
                figures[i] = self.losses[i]
            same = self._cannot_tell_apart
        leader = place = 0
        ranked = [i for i, figure in enumerate(figures) if figure is not None]
        for position, i in enumerate(sorted(ranked, key=lambda i: figures[i] or 0.0), start=1):
            if place == 0 or not same(self.members[leader], self.members[i]):
                leader, place = i, position
            ranks[i] = place
        return ranks

    def _equally_long(self, a: Configuration, b: Configuration) -> bool:
        assert a.epoch_s is not None
        assert b.epoch_s is not None
        return relative_gap(a.epoch_s, b.epoch_s) <= (self.group.noise.epoch_share or 0.0)

    def _cannot_tell_apart(self, a: Configuration, b: Configuration) -> bool:
        return not self.draws.difference(a, b, self.keys, noise=self.noise).apart

    def _front(self) -> list[bool]:
        """Whether nothing else is as good in score, time and memory, and better in one of them."""
        return not_dominated(
            [
                (loss, member.epoch_s, member.peak(self.group.memory))
                for loss, member in zip(self.losses, self.members, strict=True)
            ]
        )

    def _row(self, member: Configuration, rank: int | None, pareto: bool) -> Row:
        newest, noise = member.newest, self.group.noise
        same = {
            key: newest[key]
            for key in (*CONFIGURATION, "label", "head", "source_hash")
            if key in Row.__dataclass_fields__
        }
        return Row(
            **same,
            **self._scores(member),
            **self._cost(member),
            name=member.name,
            machine_name=machine_name(newest),
            group=self.group.name,
            ranked_by=self.by,
            rank=rank,
            pareto=pareto,
            fold_numbers=member.fold_numbers,
            synthetic=any(run["synthetic"] for run in (newest, *member.runs)),
            derived=any(run["derived"] for run in (newest, *member.runs)),
            stale=self.current.get(newest["strategy"], newest["source_hash"])
            != newest["source_hash"],
            runs=len(member.seeds),
            failed=len(member.failures),
            failure=_word(member.failures),
            run_ids=tuple(run_id for run in member.seeds for run_id in run["ids"]),
            noise_pairs=noise.pairs,
            noise_epoch_share=noise.epoch_share,
            noise_run_share=noise.run_share,
            noise_ccc=noise.ccc,
            noise_tvd=noise.tvd,
        )

    def _scores(self, member: Configuration) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for key in SCORED:
            value = member.score((key,))
            bounds = None if value is None else self.draws.interval(member, (key,))
            columns[key] = value
            columns[f"{key}_low"], columns[f"{key}_high"] = bounds or (None, None)
        return columns

    def _cost(self, member: Configuration) -> dict[str, Any]:
        epoch_s, full_s = member.epoch_s, self.reference_epoch_s
        medians = {key: member.over_runs(key, statistics.median) for key in MEDIANS}
        live_s = self._live_epoch_s(member)
        share = epoch_s / full_s if epoch_s and full_s else None
        return {
            **medians,
            **{key: member.peak(key) for key in PEAKS},
            **{key: (member.runs or (member.newest,))[-1][key] for key in COUNTS},
            "process_vram_source": _process_vram_source(member.runs),
            "epoch_s": epoch_s,
            "run_s": member.run_s,
            "break_even_epoch": _break_even(medians["cache_fill_s"], epoch_s, live_s),
            "speedup_vs_full": 1 / share if share else None,
            "time_saved_vs_full": 1 - share if share else None,
        }

    def _live_epoch_s(self, member: Configuration) -> float | None:
        """Steady epoch of the same configuration without cache; None for one that has none."""
        cached: bool = member.newest["cached"]
        return self.live_s.get(identity(member.newest, ALIKE)) if cached else None


def _process_vram_source(seeds: Sequence[Run]) -> str | None:
    """Of the run that has the peak, since seeds may have been told in different ways."""
    told = [run for run in seeds if run["peak_process_vram_bytes"] is not None]
    highest = max(told, key=lambda run: run["peak_process_vram_bytes"], default=None)
    return None if highest is None else highest["process_vram_source"]


def not_dominated(points: Sequence[tuple[float | None, ...]]) -> list[bool]:
    """For each point, all of whose figures are better when lower, whether it is on the front.

    A figure that no point has is left out; a point that lacks one that others have is not on it.
    """
    measured = [i for i, figures in enumerate(zip(*points, strict=True)) if set(figures) != {None}]
    kept = [tuple(point[i] for i in measured) for point in points]
    # In this order no point is dominated by a later one: the front so far is all there is to ask.
    front: list[tuple[Any, ...]] = []
    for point in sorted({point for point in kept if point and None not in point}):
        if not any(all(a <= b for a, b in zip(other, point, strict=True)) for other in front):
            front.append(point)
    return [point in front for point in kept]


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


def machine_name(run: Run) -> str:
    """The machine of a run in words."""
    gpus = f"{run['gpu_count']} × {run['gpu']}" if (run["gpu_count"] or 0) > 1 else run["gpu"]
    cores = f"{run['cores']} cores" if run["cores"] else None
    return ", ".join(part for part in (gpus, run["cpu"], cores) if part) or run["machine"]


def _word(failures: Sequence[Run]) -> str | None:
    if not failures:
        return None
    last = failures[-1]
    return ": ".join(part for part in (last["status"], last["message"]) if part)
