"""The heads that are built in, and their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from serbench.harness.errors import RequestError
from serbench.harness.heads import Known, Objective, register
from serbench.harness.smoothing import BANDWIDTH, BINS, CELLS, OBSERVATIONS, SHARPNESS

if TYPE_CHECKING:
    from serbench.harness.distributions import Estimator
    from serbench.harness.heads.base import Head

__all__ = ["Annotators", "Consensus", "Distribution", "Evidential", "MeanVariance", "OneHot"]

TASKS = ("1", "2", "3")
ESTIMATORS = ("binmass", "diffkde")


@register("consensus")
@dataclass(frozen=True, kw_only=True)
class Consensus(Objective):
    """The mean rating of each dimension, learnt by its CCC."""

    def build(self, known: Known) -> Head:
        """The network."""
        from serbench.harness.heads import consensus

        return consensus.Consensus(known)


@register("distribution")
@dataclass(frozen=True, kw_only=True)
class Distribution(Objective):
    """The distribution over activation and valence, predicted directly."""

    needs_ratings: ClassVar[bool] = True

    labels: str = "diffkde"
    """What makes the distributions to be learnt: `diffkde` with the hard histogram, as published,
    or `binmass`."""
    bandwidth: float = BANDWIDTH
    """Of binmass, where the scale is [-1, 1]."""

    def __post_init__(self) -> None:
        _check_labels(self.labels, self.bandwidth)

    @property
    def needs_distribution(self) -> bool:
        """Nothing else is learnt."""
        return True

    def label_estimator(self) -> Estimator:
        """As `labels` says."""
        return _label_estimator(self.labels, self.bandwidth)

    def build(self, known: Known) -> Head:
        """The network."""
        from serbench.harness.heads import distribution

        return distribution.Distribution(known)


@dataclass(frozen=True, kw_only=True)
class ByAnnotator(Objective):
    """What heads that predict each annotator have in common."""

    needs_ratings: ClassVar[bool] = True
    needs_annotators: ClassVar[bool] = True

    tasks: str = "1+3"
    """1 each rating, 2 their mean, 3 their distribution; joined by +."""
    schedule: str = "summed"
    """`summed` adds the tasks' losses up; `interleaved`, as published, makes a step of each."""
    estimator: str = "binmass"
    """What makes a distribution of predictions: `binmass`, or `diffkde`, the paper's."""
    labels: str = "diffkde"
    """What makes the distributions of ratings that are learnt: `diffkde` with the hard histogram,
    as published, or `binmass`."""
    bandwidth: float = BANDWIDTH
    """Of binmass, where the scale is [-1, 1]."""
    bins: int = BINS
    """Of diffkde's histogram, an axis."""
    sharpness: float = SHARPNESS
    """Of diffkde's soft histogram, T in the paper."""
    observations: int = OBSERVATIONS
    """That diffkde draws."""

    def __post_init__(self) -> None:
        tasks = self.tasks.split("+")
        if not set(tasks) <= set(TASKS) or len(set(tasks)) < len(tasks):
            raise RequestError(f"tasks are some of {', '.join(TASKS)}, joined by +: {self.tasks}")
        _one_of("schedule", self.schedule, ("summed", "interleaved"))
        _one_of("estimator", self.estimator, ESTIMATORS)
        _check_labels(self.labels, self.bandwidth)
        for name, least in {"bins": 8, "sharpness": 1, "observations": 2}.items():
            if getattr(self, name) < least:
                raise RequestError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.bins % CELLS:
            raise RequestError(f"bins must be a multiple of {CELLS}, not {self.bins}")

    @property
    def needs_distribution(self) -> bool:
        """For task 3."""
        return "3" in self.tasks.split("+")

    @property
    def turns(self) -> int:
        """One for each task where they take turns."""
        return len(self._turns())

    def _turns(self, *further: str) -> tuple[tuple[str, ...], ...]:
        tasks = (*self.tasks.split("+"), *further)
        return tuple((task,) for task in tasks) if self.schedule == "interleaved" else (tasks,)

    def _estimator(self) -> Estimator:
        from serbench.harness.distributions import BinMass, DiffKDE

        if self.estimator == "binmass":
            return BinMass(bandwidth=self.bandwidth)
        return DiffKDE(bins=self.bins, sharpness=self.sharpness, observations=self.observations)

    def label_estimator(self) -> Estimator:
        """As `labels` says."""
        return _label_estimator(self.labels, self.bandwidth)


@register("annotators")
@dataclass(frozen=True, kw_only=True)
class Annotators(ByAnnotator):
    """What each annotator says, and the distribution of that: Tavernor et al. (2024)."""

    width: int = 64
    """Of each dimension's tower."""
    shared: bool = True
    """Everybody departs from one map; without it each begins at random, as published."""
    pseudo: bool = False
    """A further annotator, who gives the labels, stands for the consensus."""
    warmup: int = 0
    """Epochs in which the shared map alone is learnt, as a consensus head."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1 or self.warmup < 0:
            raise RequestError("width is at least 1 and warmup at least 0")
        if self.warmup and not self.shared:
            raise RequestError("a warmup learns what annotators share, so shared must be true")

    @property
    def turns(self) -> int:
        """The pseudo-annotator has one of its own."""
        return len(self._all_turns())

    def turns_in(self, epoch: int) -> int:
        """The warmup's epochs have a single task."""
        return 1 if epoch < self.warmup else self.turns

    @property
    def least_epochs(self) -> int:
        """No annotator is learnt in the warmup."""
        return self.warmup + 1

    def _all_turns(self) -> tuple[tuple[str, ...], ...]:
        return self._turns(*(("consensus",) if self.pseudo else ()))

    def build(self, known: Known) -> Head:
        """The network."""
        from serbench.harness.heads.annotators import Towers

        return Towers(
            known,
            self._estimator(),
            self._all_turns(),
            width=self.width,
            shared=self.shared,
            pseudo=self.pseudo,
            warmup=self.warmup,
        )


@register("annotators-onehot")
@dataclass(frozen=True, kw_only=True)
class OneHot(ByAnnotator):
    """The same with a one-hot code of the annotator as an input."""

    def build(self, known: Known) -> Head:
        """The network."""
        from serbench.harness.heads import annotators

        return annotators.OneHot(known, self._estimator(), self._turns())


@register("mean-variance")
@dataclass(frozen=True, kw_only=True)
class MeanVariance(Objective):
    """Mean and variance of the ratings of each dimension, learnt as a Gaussian."""

    needs_ratings: ClassVar[bool] = True
    least_raters: ClassVar[int] = 2

    def build(self, known: Known) -> Head:
        """The network."""
        from serbench.harness.heads import parametric

        return parametric.MeanVariance(known)


@register("evidential")
@dataclass(frozen=True, kw_only=True)
class Evidential(Objective):
    """The prior of the Gaussian that ratings are drawn from: DEER, Wu et al. (2023)."""

    needs_ratings: ClassVar[bool] = True

    weight: float = 1.0
    """Of the regulariser."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise RequestError(f"weight must be at least 0, not {self.weight:g}")

    def build(self, known: Known) -> Head:
        """The network."""
        from serbench.harness.heads import parametric

        return parametric.Evidential(known, weight=self.weight)


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RequestError(f"{name} is {' or '.join(choices)}, not '{value}'")


def _check_labels(labels: str, bandwidth: float) -> None:
    _one_of("labels", labels, ESTIMATORS)
    if not 0.01 <= bandwidth <= 0.5:
        raise RequestError(f"bandwidth must be from 0.01 to 0.5, not {bandwidth:g}")


def _label_estimator(labels: str, bandwidth: float) -> Estimator:
    from serbench.harness.distributions import HARD, BinMass

    return BinMass(bandwidth) if labels == "binmass" else HARD
