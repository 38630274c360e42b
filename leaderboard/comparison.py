"""How two rows, or two runs, compare: each figure of both, and what can be told of it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from serbench.harness import heads, strategy
from serbench.harness.bootstrap import FEWEST_SPEAKERS
from serbench.harness.errors import RequestError
from serbench.harness.heads import Chosen
from serbench.harness.metrics import RANKINGS, SCORED, noise_sentence, several
from serbench.harness.plan import DEFAULT_HEAD, named
from serbench.harness.strategy import Variant
from serbench.leaderboard.configurations import (
    COMPARABLE,
    Configuration,
    Group,
    Run,
    comparable,
    groups,
    identity,
    in_order,
    place,
    pooled,
)
from serbench.leaderboard.differences import (
    Difference,
    Draws,
    on_shared_utterances,
    paired_seeds,
    parts,
)
from serbench.leaderboard.noise import relative_gap
from serbench.leaderboard.queries import Evidence

__all__ = [
    "Accuracy",
    "Comparison",
    "Cost",
    "Side",
    "chosen",
    "compare",
    "of_group",
    "strategies",
]

MEAN = "mean"
"""Stands where a dimension does for the mean of those that rows are ranked by."""
PEAKS = ("peak_vram_bytes", "peak_host_anonymous_bytes")
SETTING = (
    "backbone",
    "init",
    "corpus",
    "tested_on",
    "folds",
    "training",
    "device",
    "machine",
    "cost_only",
)
Ids = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two: a row's runs, or a single run."""

    label: str
    name: str
    """As `Row.name`."""
    run_ids: Ids
    seeds: tuple[int, ...]
    repeat: int
    """Above 0 for a single run that is a repeat."""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """A score of both with its 95 % interval, and of their difference A - B."""

    key: str
    """As in `RANKINGS`."""
    dimension: str
    """Or `mean`, of the dimensions that rows are ranked by; `activation-valence` for both."""
    a: float | None
    a_low: float | None
    a_high: float | None
    b: float | None
    b_low: float | None
    b_high: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    apart: bool

    @property
    def better(self) -> str | None:
        """`A` or `B`; None if they cannot be told apart."""
        if not self.apart or self.difference is None:
            return None
        return "A" if (self.difference > 0) == RANKINGS[self.key].higher_is_better else "B"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A cost of both."""

    key: str
    """As in `METRICS`."""
    a: float | None
    b: float | None
    ratio: float | None
    """A / B."""
    tie: bool | None
    """Whether that lies within the noise floor; None where no floor is known."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that is told of two sides in one setting; None for what was not measured."""

    a: Side
    b: Side
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
    test_speakers: int
    paired_seeds: tuple[int, ...]
    """The seeds that the differences are over; empty if they are over all, unpaired."""
    ccc: tuple[Accuracy, ...]
    distances: tuple[Accuracy, ...]
    """Of distributions, over the utterances for which both have one."""
    annotators: tuple[Accuracy, ...]
    """The CCC of single annotators."""
    costs: tuple[Cost, ...]
    noise_pairs: int
    noise_epoch_share: float | None
    noise_run_share: float | None
    noise_ccc: float | None
    noise_tvd: float | None
    notes: tuple[str, ...]
    """What a reader must know before believing the figures, in sentences."""


def strategies(a: str, b: str) -> tuple[str, str]:
    """The names of the strategies of two spec strings, which may name a head as for `chosen`."""
    first, second = (strategy.parse(text.partition("@")[0]).name for text in (a, b))
    return first, second


def chosen(
    runs: Sequence[Run], a: str, b: str, *, head: str | None = None
) -> list[tuple[Ids, Ids]]:
    """The runs of both sides in each group that holds both.

    Args:
        runs: from `queries.configurations`
        a: a spec string, with `@HEAD` for another head than `head`, or a run's number
        b: likewise
        head: meant where none is named; the usual one if None

    Raises:
        RequestError: which of the two is missing, or what keeps them apart.
    """
    numbers = [text.isdecimal() for text in (a, b)]
    if all(numbers):
        known = {str(run["id"]) for run in runs}
        for number in (a, b):
            if number not in known:
                raise RequestError(
                    f"there is no run {number} here (serbench rank lists what there is)"
                )
        return [((int(a),), (int(b),))]
    if any(numbers):
        raise RequestError(f"name two specs or the numbers of two runs, not '{a}' and '{b}'")
    stated = {run["head_stated"] for run in runs}
    wanted = (_Wanted.parse(text, head or DEFAULT_HEAD, stated) for text in (a, b))
    return _rows(groups(runs), *wanted)


@dataclass(frozen=True)
class _Wanted:
    """A configuration by its words."""

    variant: Variant
    head: Chosen | str
    """A label that runs have stated, where its plugin is not here."""

    @classmethod
    def parse(cls, text: str, head: str, stated: Collection[str]) -> _Wanted:
        spec, _, other = text.partition("@")
        variant = strategy.parse(spec)
        try:
            return cls(variant, heads.parse(other or head))
        except RequestError:
            if (other or head) not in stated:
                raise
            return cls(variant, other or head)

    @property
    def name(self) -> str:
        head = self.head if isinstance(self.head, str) else self.head.label
        return named(self.variant.label, head)

    def is_(self, member: Configuration) -> bool:
        variant = self.variant
        wanted = {
            "strategy": variant.name,
            "config": variant.config,
            "precision": variant.precision,
            "cached": variant.cached,
        }
        if not isinstance(self.head, str):
            wanted |= {"head_name": self.head.name, "head_config": self.head.config}
        elif self.head not in {run["head_stated"] for run in member.runs}:
            return False
        return bool(member.seeds) and identity(member.newest, wanted) == identity(wanted, wanted)


def _rows(found: Sequence[Group], a: _Wanted, b: _Wanted) -> list[tuple[Ids, Ids]]:
    if a == b:
        raise RequestError(f"'{a.name}' is both: name two configurations, or two runs by number")
    first, second = ([m for g in found for m in g.members if each.is_(m)] for each in (a, b))
    missing = [each.name for each, members in ((a, first), (b, second)) if not members]
    if missing:
        raise RequestError(
            f"there is no finished run of {' and none of '.join(missing)} here "
            "(serbench rank lists what there is)"
        )
    pairs = list(itertools.product(first, second))
    alike = [(_ids(x), _ids(y)) for x, y in pairs if not _differing(x, y)]
    if not alike:
        nearest = min((_differing(x, y) for x, y in pairs), key=len)
        raise RequestError(
            f"no run of {a.name} compares with one of {b.name}: they differ in "
            + ", ".join(nearest)
        )
    return alike


def _ids(member: Configuration) -> Ids:
    return tuple(run_id for run in member.seeds for run_id in run["ids"])


def _differing(first: Configuration, second: Configuration) -> list[str]:
    """What keeps two configurations from being compared, with both values."""
    a, b = first.newest, second.newest
    found = []
    for column in COMPARABLE:
        if identity(a, (column,)) == identity(b, (column,)):
            continue
        if column == "training":
            keys = sorted({*a[column], *b[column]})
            values = [(key, a[column].get(key), b[column].get(key)) for key in keys]
        else:
            values = [(column, a[column], b[column])]
        found += [f"{key} ({x} and {y})" for key, x, y in values if x != y]
    if first.folds != second.folds and a["folds"] == b["folds"]:
        found.append(f"fold ({', '.join(first.folds)} and {', '.join(second.folds)})")
    return found


def compare(
    runs: Sequence[Run], evidence: Evidence, a: Collection[int], b: Collection[int]
) -> Comparison:
    """Compare the runs of one configuration with those of another, or two single runs.

    Args:
        runs: from `queries.configurations`; the noise floor is told by all of their group
        evidence: from `queries.evidence`, of `a` and `b` at least
        a: ids of the runs, one a seed and fold, as in `Row.run_ids`
        b: likewise

    Raises:
        RequestError: a run is not there or did not end well, or the two do not compare.
    """
    first, second = _sides(runs, a, b)
    differing = _differing(first, second)
    if differing:
        raise RequestError(
            f"run {max(a)} does not compare with run {max(b)}: they differ in "
            + ", ".join(differing)
        )
    key = comparable(first)
    alone = Group(key=key, members=(first, second))
    group = next((group for group in groups(runs) if group.key == key), alone)
    return _Pair(group, evidence, first, second).comparison()


def of_group(
    group: Group, evidence: Evidence, a: Collection[int], b: Collection[int]
) -> Comparison:
    """As `compare`, of runs that count in one group.

    Raises:
        RequestError: as there.
    """
    ids = {*a, *b}
    runs = [run for member in group.members for run in member.runs if run["id"] in ids]
    return _Pair(group, evidence, *_sides(runs, a, b)).comparison()


def _sides(
    runs: Sequence[Run], a: Collection[int], b: Collection[int]
) -> tuple[Configuration, Configuration]:
    sides = _side(runs, a), _side(runs, b)
    if {*a} == {*b}:
        raise RequestError(f"run {', '.join(map(str, a))} is both: there is nothing to compare")
    return sides


def _side(runs: Sequence[Run], ids: Collection[int]) -> Configuration:
    found = in_order(run for run in runs if run["id"] in ids)
    missing = sorted({*ids} - {run["id"] for run in found})
    if missing:
        raise RequestError(f"there is no run {missing[0]} here (serbench rank lists what there is)")
    for run in found:
        if run["status"] != "ok":
            word = ": ".join(part for part in (run["status"], run["message"]) if part)
            raise RequestError(f"run {run['id']} ({run['label']}) has no figures: {word}")
    ordered = tuple(sorted(found, key=place))
    return Configuration(
        newest=found[-1], runs=ordered, seeds=pooled(ordered), failures=(), repeated=()
    )


class _Pair:
    """Two configurations of a group."""

    def __init__(
        self, group: Group, evidence: Evidence, a: Configuration, b: Configuration
    ) -> None:
        self.group, self.a, self.b = group, a, b
        self.draws = Draws((a, b), parts(evidence))
        both, *alike = on_shared_utterances(evidence, a, b)
        self.shared, self.alike = Draws(alike, parts(both)), alike

    def comparison(self) -> Comparison:
        noise = self.group.noise
        told: dict[str, Any] = {
            "noise_pairs": noise.pairs,
            "noise_epoch_share": noise.epoch_share,
            "noise_run_share": noise.run_share,
            "noise_ccc": noise.ccc,
            "noise_tvd": noise.tvd,
        }
        runs = (*self.a.runs, *self.b.runs)
        return Comparison(
            a=_as_side(self.a),
            b=_as_side(self.b),
            group=self.group.name,
            **{key: self.a.newest[key] for key in SETTING},
            fold_numbers=self.a.fold_numbers,
            synthetic=any(run["synthetic"] for run in runs),
            derived=any(run["derived"] for run in runs),
            test_speakers=self.draws.speakers,
            paired_seeds=paired_seeds(self.a, self.b),
            ccc=self._ccc(),
            distances=self._distances(),
            annotators=self._annotators(),
            costs=tuple(self._costs()),
            **told,
            notes=tuple(self._notes(noise_sentence(told))),
        )

    def _ccc(self) -> tuple[Accuracy, ...]:
        # The floor is of the mean; that of a single dimension is not known.
        each = [self._accuracy(key, (key,)) for key in self._known("ccc")]
        ranked = self.group.scored("ccc")
        mean = [self._accuracy("ccc", ranked, noise=self.group.noise.ccc)] if ranked else []
        return (*each, *mean)

    def _distances(self) -> tuple[Accuracy, ...]:
        found = []
        for key in self._known("tvd", "jsd"):
            own = self._accuracy(key, (key,))
            a, b = self.alike
            told = self.shared.difference(a, b, (key,), noise=self.group.floor(key))
            found.append(dataclasses.replace(own, **_told(told)))
        return tuple(found)

    def _annotators(self) -> tuple[Accuracy, ...]:
        return tuple(
            self._accuracy(key, (key,), noise=self.group.floor(key))
            for key in self._known("annotator")
        )

    def _known(self, *families: str) -> list[str]:
        """Keys of the scores of these families that one of the two has at least."""
        return [
            key
            for key in SCORED
            if key.partition("_")[0] in families
            and any(member.score((key,)) is not None for member in (self.a, self.b))
        ]

    def _accuracy(self, key: str, keys: Sequence[str], *, noise: float | None = None) -> Accuracy:
        difference = self.draws.difference(self.a, self.b, keys, noise=noise)
        a_low, a_high = self.draws.interval(self.a, keys) or (None, None)
        b_low, b_high = self.draws.interval(self.b, keys) or (None, None)
        return Accuracy(
            key=key,
            dimension=SCORED[key][1] if key in SCORED else MEAN,
            a=self.a.score(keys),
            a_low=a_low,
            a_high=a_high,
            b=self.b.score(keys),
            b_low=b_low,
            b_high=b_high,
            **_told(difference),
        )

    def _costs(self) -> list[Cost]:
        a, b, noise = self.a, self.b, self.group.noise
        found = [
            _cost("epoch_s", a.epoch_s, b.epoch_s, noise.epoch_share),
            _cost("run_s", a.run_s, b.run_s, noise.run_share),
            *(_cost(key, a.peak(key), b.peak(key)) for key in PEAKS),
            _cost("trainable_params", *(m.newest["trainable_params"] for m in (a, b))),
        ]
        return [cost for cost in found if (cost.a, cost.b) != (None, None)]

    def _notes(self, noise: str) -> list[str]:
        if self.a.newest["cost_only"]:
            said = ["These runs measured cost only."]
        elif not self.draws.speakers:
            said = ["There are no predictions of both, so no difference in CCC can be told."]
        elif not self.draws.enough:
            there = "is" if self.draws.speakers == 1 else "are"
            said = [
                f"There {there} {several(self.draws.speakers, 'test speaker')}: with fewer than "
                f"{FEWEST_SPEAKERS} no difference in CCC can be told."
            ]
        else:
            ranked_by = (
                " and ".join(SCORED[key][1] for key in self.group.scored("ccc")) or "nothing"
            )
            said = [f"Rows are ranked by the mean of {ranked_by}.", self._pairing()]
        unknown = "No run was made twice, so what of a difference in time is noise is not known."
        return [*said, noise or unknown]

    def _pairing(self) -> str:
        seeds = paired_seeds(self.a, self.b)
        if not seeds:
            return (
                "Differences are paired by speaker alone, over all seeds of both, since the two "
                "have too few seeds in common."
            )
        if len(seeds) == 1:
            return f"Differences are of seed {seeds[0]} alone: of other seeds they say nothing."
        numbers = ", ".join(map(str, seeds))
        return f"Differences are paired by speaker and seed, over the seeds both have: {numbers}."


def _told(difference: Difference) -> dict[str, Any]:
    return {
        "difference": difference.value,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "apart": difference.apart,
    }


def _as_side(member: Configuration) -> Side:
    return Side(
        label=member.newest["label"],
        name=member.name,
        run_ids=_ids(member),
        seeds=tuple(run["seed"] for run in member.seeds),
        repeat=member.newest["repeat"],
    )


def _cost(key: str, a: float | None, b: float | None, noise: float | None = None) -> Cost:
    return Cost(
        key=key,
        a=a,
        b=b,
        ratio=a / b if a is not None and b else None,
        tie=relative_gap(a, b) <= noise if a and b and noise is not None else None,
    )
