"""Which configurations of a large setting are worth reading: the best, the front, their measure."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from serbench.harness.metrics import RANKINGS
from serbench.leaderboard.noise import DIGITS
from serbench.leaderboard.queries_aggregates import Aggregate
from serbench.leaderboard.ranking import BEST, REFERENCE, best_first, not_dominated
from serbench.leaderboard.settings import Setting

__all__ = ["Shortlist", "has_shortlist", "shortlist"]

Key: TypeAlias = tuple[object, ...]
MOST = 1 / 2
"""Of all configurations: a longer list saves nothing."""


@dataclass(frozen=True, kw_only=True)
class Shortlist:
    """Some of a setting's configurations."""

    configurations: int
    """How many are on it."""
    of: int
    """How many there are."""
    run_ids: tuple[int, ...]
    """All runs of those on it."""


def has_shortlist(setting: Setting) -> bool:
    """Whether a setting may be too large to be read whole, and means tell which rows are best.

    They do not where there are folds, over which scores are pooled; and rows of cost only are all
    ranked.
    """
    return setting.runs > BEST and setting.folds is None and not setting.cost_only


def shortlist(found: Sequence[Aggregate], by: str) -> Shortlist | None:
    """The configurations that a comparison of a setting cannot do without.

    These are the `BEST` by what rows are ranked by, and all that are on the Pareto front of it,
    time and memory; what speed-ups are told against, what is the same without cache, and those that
    were repeated and so tell noise.

    Args:
        found: from `queries_aggregates.aggregates`, by the scores of a ranking
        by: that ranking, as in `RANKINGS`

    Returns:
        the list; None where all are to be read, since they are few, since the list would be long,
        since none has a score, or since one head, or one of them, was written in two ways, which
        only their runs bring together
    """
    # Among equals the first to be measured comes first, as where all are read.
    current = sorted(_of_latest_source(found), key=lambda each: (each.first_at, min(each.run_ids)))
    of = len(current)
    if of <= BEST or not _written_alike(found, current):
        return None
    taken = _taken(current, by)
    if len(taken) > MOST * of or all(current[i].score is None for i in taken):
        return None
    run_ids = tuple(sorted(run_id for i in taken for run_id in current[i].run_ids))
    return Shortlist(configurations=len(taken), of=of, run_ids=run_ids)


def _written_alike(found: Sequence[Aggregate], current: Sequence[Aggregate]) -> bool:
    """Whether no head has two labels, and no configuration two texts."""
    heads = {each.head for each in found}
    named = {(_head_name(each), _in_order(each.head_config)) for each in found}
    return len(heads) == len(named) and len(set(map(_key, current))) == len(current)


def _taken(current: Sequence[Aggregate], by: str) -> set[int]:
    """Positions of those on the list, of all by age."""
    losses = [_loss(each, by) for each in current]
    seconds = [each.epoch_s for each in current]
    front = not_dominated(list(zip(losses, seconds, _memory(current), strict=True)))
    every = range(len(current))
    taken = {i for i in best_first(losses)[:BEST] if losses[i] is not None}
    taken |= {i for i in every if front[i] or current[i].repeats}
    plain = [i for i in every if current[i].label == REFERENCE and seconds[i] is not None]
    live = {_alike(current[i]): i for i in reversed(every) if not current[i].cached}
    cached = {_alike(current[i]) for i in taken if current[i].cached}
    return taken | {*plain[-1:]} | {live[alike] for alike in cached if alike in live}


def _of_latest_source(found: Sequence[Aggregate]) -> list[Aggregate]:
    """Of several versions of a strategy, that of the newest run."""
    dated = sorted((each for each in found if each.newest_at), key=lambda each: str(each.newest_at))
    latest = {_key(each): each.source_hash for each in dated}
    return [each for each in found if each.source_hash == latest.get(_key(each))]


def _key(each: Aggregate) -> Key:
    head = _head_name(each), _in_order(each.head_config), each.head_source
    strategy = each.strategy, _in_order(each.config), each.precision
    return *head, *strategy, each.cached, each.cache_dtype


def _head_name(each: Aggregate) -> str:
    """What labels of a head share where some state defaults."""
    return each.head.partition(":")[0]


def _alike(each: Aggregate) -> Key:
    """What a configuration and its like without cache share, as `ranking.ALIKE` has it."""
    return each.strategy, _in_order(each.config), each.precision, each.source_hash


@functools.lru_cache(maxsize=10_000)
def _in_order(text: str) -> str:
    """JSON with its keys in order."""
    return json.dumps(json.loads(text), sort_keys=True)


def _loss(each: Aggregate, by: str) -> float | None:
    if each.score is None:
        return None
    score = round(each.score, DIGITS)
    return -score if RANKINGS[by].higher_is_better else score


def _memory(found: Sequence[Aggregate]) -> list[int | None]:
    """The peak that counts, as `Group.memory` has it."""
    vram = [each.peak_vram_bytes for each in found]
    host = [each.peak_host_anonymous_bytes for each in found]
    return host if all(peak is None for peak in vram) else vram
