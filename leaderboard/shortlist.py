"""Which configurations of a large setting are worth reading: the best, the front, their measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from serbench.harness.metrics import RANKINGS
from serbench.leaderboard.queries_aggregates import Aggregate
from serbench.leaderboard.ranking import BEST, REFERENCE, best_first, not_dominated

__all__ = ["Shortlist", "shortlist"]

Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class Shortlist:
    """Some of a setting's configurations."""

    configurations: int
    """How many are on it."""
    of: int
    """How many there are."""
    run_ids: tuple[int, ...]
    """All runs of those on it."""


def shortlist(found: Sequence[Aggregate], by: str, *, cost_only: bool = False) -> Shortlist | None:
    """The configurations that a comparison of a setting cannot do without; None if all are few.

    These are the `BEST` by what rows are ranked by, and all that are on the Pareto front of it,
    time and memory; what speed-ups are told against, what is the same without cache, and those, at
    most `BEST`, that were repeated and so tell noise.

    Args:
        found: from `queries_aggregates.aggregates`, by the scores of a ranking
        by: that ranking, as in `RANKINGS`
        cost_only: go by seconds an epoch, for there are no scores
    """
    current = _of_latest_source(found)
    keys = [_key(each) for each in current]
    of = len(set(keys))
    if of <= BEST:
        return None
    losses = [each.epoch_s if cost_only else _loss(each, by) for each in current]
    order = best_first(losses)
    front = not_dominated(
        list(zip(losses, (each.epoch_s for each in current), _memory(current), strict=True))
    )
    taken = {*order[:BEST], *(i for i in order if front[i])}
    taken |= {i for i in order if current[i].label == REFERENCE}
    taken |= {*[i for i in order if current[i].repeats][:BEST]}
    live = {_alike(current[i]) for i in taken if current[i].cached}
    taken |= {i for i in order if not current[i].cached and _alike(current[i]) in live}
    wanted = {keys[i] for i in taken}
    run_ids = [
        run_id
        for each, key in zip(current, keys, strict=True)
        if key in wanted
        for run_id in each.run_ids
    ]
    return Shortlist(configurations=len(wanted), of=of, run_ids=tuple(sorted(run_ids)))


def _of_latest_source(found: Sequence[Aggregate]) -> list[Aggregate]:
    """Of several versions of a strategy, that of the newest run."""
    dated = sorted((each for each in found if each.newest_at), key=lambda each: str(each.newest_at))
    latest = {_key(each): each.source_hash for each in dated}
    return [each for each in found if each.source_hash == latest.get(_key(each))]


def _key(each: Aggregate) -> Key:
    """A head has several labels where defaults were stated: its name is what they share."""
    head = each.head.partition(":")[0], each.head_config, each.head_source
    return *head, *_alike(each), each.cached, each.cache_dtype


def _alike(each: Aggregate) -> Key:
    return each.strategy, each.config, each.precision


def _loss(each: Aggregate, by: str) -> float | None:
    if each.score is None:
        return None
    return -each.score if RANKINGS[by].higher_is_better else each.score


def _memory(found: Sequence[Aggregate]) -> list[int | None]:
    """The peak that counts, as `Group.memory` has it."""
    vram = [each.peak_vram_bytes for each in found]
    host = [each.peak_host_anonymous_bytes for each in found]
    return host if all(peak is None for peak in vram) else vram
