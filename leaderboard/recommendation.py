"""Which configuration to take within limits of cost, why, and which limit stands in the way."""

from __future__ import annotations

import dataclasses
import decimal
import functools
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serbench.harness.errors import RequestError
from serbench.harness.metrics import RANKINGS, several, size
from serbench.harness.plan import Training
from serbench.leaderboard.configurations import Configuration, Group, Run, groups
from serbench.leaderboard.differences import Difference, Draws, Parts, parts
from serbench.leaderboard.noise import relative_gap
from serbench.leaderboard.queries import Evidence
from serbench.leaderboard.ranking import BEST

__all__ = [
    "LIMITED",
    "Choice",
    "Limits",
    "Loosening",
    "Recommendation",
    "Ruling",
    "chosen_runs",
    "command",
    "enough",
    "limit_told",
    "next_best",
    "of_group",
    "recommend",
    "runs_of_best",
    "told",
]

LIMITED = {
    "memory_bytes": "memory",
    "epoch_s": "an epoch",
    "run_s": "the whole run",
    "disk_bytes": "disk",
    "ccc": "CCC",
}
"""What can be limited, in words; all are highest values but that of the CCC, which is a lowest."""
FLAGS = {
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "limit": "--limit",
}
"""Training settings that `serbench run` has a flag of their own for."""
SHOWN = 3
"""Digits of a limit that is suggested, as many as `metrics.size` writes."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a configuration may cost, and how good it must be; None for no limit.

    Raises:
        RequestError: a limit is no number that could be one.
    """

    memory_bytes: float | None = None
    """Peak while training: of the GPU, or of the process's own host memory without one."""
    epoch_s: float | None = None
    run_s: float | None = None
    disk_bytes: float | None = None
    """Of the cache; 0 for no cache at all."""
    ccc: float | None = None
    """Mean of the ranked dimensions, at least."""

    def __post_init__(self) -> None:
        for key, limit in self.given().items():
            if not math.isfinite(limit) or (limit < 0 and key != "ccc"):
                raise RequestError(f"the limit of {LIMITED[key]} is a number from 0 on: {limit:g}")
            if key == "ccc" and abs(limit) > 1:
                raise RequestError(f"a CCC is from -1 to 1, not {limit:g}")

    def given(self) -> dict[str, float]:
        """Those that there are."""
        limits = ((key, getattr(self, key)) for key in LIMITED)
        return {key: limit for key, limit in limits if limit is not None}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One configuration, and what it costs; None for what was not measured."""

    name: str
    run_ids: tuple[int, ...]
    score: float | None
    """What the group is ranked by."""
    memory_bytes: float | None
    epoch_s: float | None
    run_s: float | None
    disk_bytes: float | None
    ccc: float | None


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What one limit ruled out."""

    key: str
    """As in `LIMITED`."""
    limit: float
    ruled_out: int
    """Configurations that break it, whatever else they break."""
    alone: int
    """Those that break nothing else."""
    unknown: int
    """Those of `ruled_out` of which the figure was not measured."""


@dataclass(frozen=True, kw_only=True)
class Loosening:
    """How far a limit must give way for something to fit."""

    key: str
    limit: float
    to: float | None
    """The nearest limit that is enough, on the safe side in the digits that are shown; None if the
    limit must go, since what it is of was not measured."""


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What to take in one setting; None for what there is not."""

    group: str
    backbone: str
    init: str
    corpus: str
    tested_on: str
    folds: int | None
    fold_numbers: tuple[int, ...]
    training: dict[str, Any]
    device: str
    machine: str
    cost_only: bool
    synthetic: bool
    derived: bool
    by: str
    """As in `RANKINGS`; settings of cost only go by `epoch_s`."""
    chosen: Choice | None
    runner_up: Choice | None
    apart: bool | None
    """Whether the two can be told apart; None if there is nothing to tell that from."""
    difference: float | None
    """In what rows are ranked by, the chosen one less the runner-up, with its 95 % interval."""
    difference_low: float | None
    difference_high: float | None
    reason: str
    candidates: int
    fitting: int
    rulings: tuple[Ruling, ...]
    nearest: str | None
    """Where nothing fits, what comes nearest to it: for that, `loosen` is enough."""
    loosen: tuple[Loosening, ...]
    command: str | None
    """Measures what was chosen again, in the same setting."""


def recommend(
    runs: Sequence[Run], evidence: Evidence, limits: Limits, *, by: str = "ccc"
) -> list[Recommendation]:
    """What to take in each group of rows that compare.

    Of what is within the limits, the quickest of those that cannot be told from the best; the best
    itself where nothing can be told. Where more than `BEST` are, only these are asked.

    Args:
        runs: from `queries.configurations`
        evidence: from `queries.evidence`, of `chosen_runs` at least
        limits: what is asked for
        by: what is best, as in `RANKINGS`
    """
    found = parts(evidence)
    return [of_group(group, found, limits, by=by) for group in groups(runs)]


def chosen_runs(runs: Sequence[Run], limits: Limits, *, by: str = "ccc") -> list[int]:
    """Ids of the runs whose evidence `recommend` will look at."""
    return [i for group in groups(runs) for i in runs_of_best(group, limits, by=by)]


def of_group(group: Group, found: Parts, limits: Limits, *, by: str = "ccc") -> Recommendation:
    """As `recommend`, in one group; `found` from `differences.parts`, of `runs_of_best`."""
    return _Choosing(group, found, limits, by).recommendation()


def runs_of_best(group: Group, limits: Limits, *, by: str = "ccc") -> list[int]:
    """Ids of the runs whose evidence `of_group` will look at: of the best within the limits."""
    choosing = _Choosing(group, {}, limits, by)
    best = sorted(choosing.fitting, key=choosing.loss)[:BEST]
    return [i for member in best for run in member.seeds for i in run["ids"]]


class _Choosing:
    """One group, and what is within the limits in it."""

    def __init__(self, group: Group, found: Parts, limits: Limits, by: str) -> None:
        self.group, self.limits, self.by = group, limits.given(), by
        self.cost_only = all(member.newest["cost_only"] for member in group.members)
        self.keys = group.scored(by)
        self.draws = Draws(group.members, found)
        self.ccc = group.scored("ccc")
        losses = {id(m): self._loss(m) for m in group.members}
        self.losses = {key: loss for key, loss in losses.items() if loss is not None}
        self.candidates = [m for m in group.members if id(m) in self.losses]
        self.figures = {id(m): self._figures(m) for m in self.candidates}
        self.broken = {id(m): self._broken(self.figures[id(m)]) for m in self.candidates}
        self.fitting = [m for m in self.candidates if not self.broken[id(m)]]

    def _loss(self, member: Configuration) -> float | None:
        if self.cost_only:
            return member.epoch_s
        score = member.score(self.keys)
        return -score if score is not None and RANKINGS[self.by].higher_is_better else score

    def loss(self, member: Configuration) -> float:
        """What candidates are ordered by, lower first."""
        return self.losses[id(member)]

    def _figures(self, member: Configuration) -> dict[str, float | None]:
        cache_bytes = member.peak("cache_bytes")
        return {
            "memory_bytes": member.peak(self.group.memory),
            "epoch_s": member.epoch_s,
            "run_s": member.run_s,
            "disk_bytes": cache_bytes if member.newest["cached"] else 0,
            "ccc": member.score(self.ccc),
        }

    def _broken(self, figures: Mapping[str, float | None]) -> frozenset[str]:
        return frozenset(
            key for key, limit in self.limits.items() if not _within(key, figures[key], limit)
        )

    def recommendation(self) -> Recommendation:
        order, equals = self._ordered()
        chosen, runner_up = (*order, None, None)[:2]
        nearest, loosen = self._nearest() if self.candidates and not order else (None, ())
        return Recommendation(
            **self._setting(),
            **self._told_apart(chosen, runner_up),
            by="epoch_s" if self.cost_only else self.by,
            chosen=self._choice(chosen) if chosen else None,
            runner_up=self._choice(runner_up) if runner_up else None,
            reason=self._reason(order, equals),
            candidates=len(self.candidates),
            fitting=len(self.fitting),
            rulings=tuple(self._ruling(key, limit) for key, limit in self.limits.items()),
            nearest=nearest.name if nearest else None,
            loosen=loosen,
            command=command(chosen) if chosen else None,
        )

    def _setting(self) -> dict[str, Any]:
        member = self.group.members[-1]
        every = [run for m in self.group.members for run in (m.newest, *m.runs)]
        keys = ("backbone", "init", "corpus", "tested_on", "folds", "training", "device", "machine")
        return {
            **{key: member.newest[key] for key in keys},
            "group": self.group.name,
            "fold_numbers": member.fold_numbers,
            "cost_only": self.cost_only,
            **{flag: any(run[flag] for run in every) for flag in ("synthetic", "derived")},
        }

    def _ordered(self) -> tuple[list[Configuration], list[Configuration]]:
        """Best first, and of these which cannot be told from the best: quickest first."""
        by_loss = sorted(self.fitting, key=self.loss)
        if self.cost_only or not by_loss:
            return by_loss, by_loss[:1]
        best = by_loss[0]
        equals = [best, *(m for m in by_loss[1:BEST] if self._ties(best, m))]
        # A whole run pays for its cache; an epoch is what all have.
        key = "epoch_s" if any(m.run_s is None for m in equals) else "run_s"
        equals.sort(key=lambda m: _or_endless(self.figures[id(m)][key]))
        among = {id(m) for m in equals}
        return [*equals, *(m for m in by_loss if id(m) not in among)], equals

    def _ties(self, a: Configuration, b: Configuration) -> bool:
        told = self._difference(a, b)
        return told.low is not None and not told.apart

    def _difference(self, a: Configuration, b: Configuration) -> Difference:
        return self.draws.difference(a, b, self.keys, noise=self.group.floor(self.by))

    def _told_apart(self, a: Configuration | None, b: Configuration | None) -> dict[str, Any]:
        facts: dict[str, Any] = dict.fromkeys(
            ("apart", "difference", "difference_low", "difference_high")
        )
        if a is None or b is None:
            return facts
        if self.cost_only:
            noise = self.group.noise.epoch_share
            assert a.epoch_s is not None
            assert b.epoch_s is not None
            gap = relative_gap(a.epoch_s, b.epoch_s)
            return {
                **facts,
                "apart": None if noise is None else gap > noise,
                "difference": a.epoch_s - b.epoch_s,
            }
        told = self._difference(a, b)
        return {
            "apart": None if told.low is None else told.apart,
            "difference": told.value,
            "difference_low": told.low,
            "difference_high": told.high,
        }

    def _choice(self, member: Configuration) -> Choice:
        return Choice(
            name=member.name,
            run_ids=tuple(run_id for run in member.seeds for run_id in run["ids"]),
            score=member.epoch_s if self.cost_only else member.score(self.keys),
            **self.figures[id(member)],
        )

    def _ruling(self, key: str, limit: float) -> Ruling:
        out = [m for m in self.candidates if key in self.broken[id(m)]]
        return Ruling(
            key=key,
            limit=limit,
            ruled_out=len(out),
            alone=sum(self.broken[id(m)] == {key} for m in out),
            unknown=sum(self.figures[id(m)][key] is None for m in out),
        )

    def _nearest(self) -> tuple[Configuration, tuple[Loosening, ...]]:
        """What breaks fewest limits, and by the least share, with what these would have to be."""

        def distance(member: Configuration) -> tuple[int, int, float]:
            broken, figures = self.broken[id(member)], self.figures[id(member)]
            known = {key: figure for key in broken if (figure := figures[key]) is not None}
            excesses = [_excess(key, figure, self.limits[key]) for key, figure in known.items()]
            return len(broken), len(broken) - len(known), max(excesses, default=0.0)

        nearest = min(self.candidates, key=distance)
        figures = self.figures[id(nearest)]
        return nearest, tuple(
            Loosening(key=key, limit=limit, to=enough(key, figures[key]))
            for key, limit in self.limits.items()
            if key in self.broken[id(nearest)]
        )

    def _reason(self, order: Sequence[Configuration], equals: Sequence[Configuration]) -> str:
        if not self.candidates:
            return f"No run here ended well and told its {self._goal}."
        if not order:
            them = several(len(self.candidates), "configuration")
            return f"None of the {them} here is within the limits."
        where = "within the limits" if self.limits else "here"
        if len(order) == 1:
            return f"It is the only configuration {where}."
        among = f"of the {len(order)} configurations {where}"
        if self.cost_only:
            return f"It has the shortest epoch {among}; these runs measured cost only."
        best = min(equals, key=self.loss)
        score = f"{self._extreme} {self._goal} ({best.score(self.keys):.3f}) {among}"
        others = len(equals) - 1
        asked = f" of the next {BEST - 1}" if len(order) > BEST else ""
        equal = f"{several(others, 'other')}{asked} cannot be told apart from it"
        if not others:
            return f"It has {score}. {self._alone(order)}"
        if order[0] is best:
            return f"It has {score}; {equal}, but take{'' if others > 1 else 's'} longer."
        quickest = (
            " and of these this one takes the least time" if others > 1 else " and is quicker"
        )
        return f"{best.name} has {score}; {equal}{',' if others > 1 else ''}{quickest}."

    def _alone(self, order: Sequence[Configuration]) -> str:
        if self._told_apart(order[0], order[1])["apart"] is not None:
            each = f"Each of the next {BEST - 1}" if len(order) > BEST else "Every other one"
            return f"{each} can be told apart from it."
        there = "is" if self.draws.speakers == 1 else "are"
        many = several(self.draws.speakers, "test speaker")
        return f"Whether that is more than chance cannot be told: there {there} {many}."

    @functools.cached_property
    def _goal(self) -> str:
        return "time" if self.cost_only else RANKINGS[self.by].label

    @functools.cached_property
    def _extreme(self) -> str:
        return "the highest" if RANKINGS[self.by].higher_is_better else "the lowest"


def _within(key: str, figure: float | None, limit: float) -> bool:
    """What was not measured may break any limit."""
    if figure is None:
        return False
    return figure >= limit if key == "ccc" else figure <= limit


def _excess(key: str, figure: float, limit: float) -> float:
    """By which share a figure breaks a limit; a CCC by its distance."""
    if key == "ccc":
        return limit - figure
    return figure / limit - 1 if limit else math.inf


def _or_endless(figure: float | None) -> float:
    return math.inf if figure is None else figure


def enough(key: str, figure: float | None) -> float | None:
    """The limit that a figure keeps, rounded to the safe side."""
    if figure is None:
        return None
    if key == "ccc":
        thousandth = decimal.Decimal("0.001")
        return float(decimal.Decimal(figure).quantize(thousandth, decimal.ROUND_FLOOR))
    upwards = decimal.Context(prec=SHOWN, rounding=decimal.ROUND_CEILING)
    return float(upwards.create_decimal_from_float(float(figure)))


def told(key: str, figure: float | None) -> str:
    """A figure of one of `LIMITED` with its unit; a dash for what was not measured."""
    if figure is None:
        return "–"
    if key.endswith("_bytes"):
        return size(figure) if figure else "none"
    if key == "ccc":
        return f"{figure:.3f}"
    return f"{figure:,.0f} s" if figure >= 10**SHOWN else f"{figure:.{SHOWN}g} s"


def limit_told(key: str, limit: float) -> str:
    """A limit in words."""
    if key == "ccc":
        return f"at least {told(key, limit)}"
    return f"at most {told(key, limit)}" if limit else told(key, limit)


def next_best(recommendation: Recommendation) -> str:
    """What comes next to what is recommended, and whether the two can be told apart."""
    if recommendation.runner_up is None:
        return "Nothing else is within the limits."
    words = {
        True: "the two can be told apart",
        False: "the two cannot be told apart",
        None: "whether the two differ cannot be told",
    }[recommendation.apart]
    low, high = recommendation.difference_low, recommendation.difference_high
    bounds = "" if low is None or high is None else f" ({low:+.3f}, {high:+.3f})"
    goal = "s an epoch" if recommendation.cost_only else RANKINGS[recommendation.by].label
    said = f"Next is {recommendation.runner_up.name}: {words}"
    if recommendation.difference is None:
        return f"{said}."
    return f"{said}, by a difference of {recommendation.difference:+.3f}{bounds} {goal}."


def command(member: Configuration) -> str:
    """The command line that runs a configuration again in its setting, with the usual seed."""
    run = member.newest
    words = ["serbench", "run", run["label"], "--backbone", run["backbone"]]
    words += ["--init", run["init"], "--corpus", run["corpus"], "--head", run["head"]]
    usual = dataclasses.asdict(Training())
    for name, value in run["training"].items():
        if value is not None and value != usual.get(name):
            words += [FLAGS[name], str(value)] if name in FLAGS else ["--set", f"{name}={value}"]
    if run["cached"] and run["cache_dtype"] not in (None, "auto"):
        words += ["--cache-dtype", run["cache_dtype"]]
    if run["folds"]:
        numbers = member.fold_numbers
        several = ",".join(map(str, numbers)) if len(numbers) < run["folds"] else "all"
        words += ["--folds", f"{several}/{run['folds']}"]
    if run["tested_on"] != run["corpus"]:
        words += ["--test-corpus", run["tested_on"]]
    return shlex.join(words)
