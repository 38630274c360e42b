"""What stands on the encoder and learns with it: what a head is, which there are, how to name one.

The networks are in modules of their own, so that naming a head takes no torch.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypeVar

from serbench.harness import plugins
from serbench.harness.errors import RequestError
from serbench.harness.metrics import RANKED_DIMENSIONS
from serbench.harness.plugins import Registry, Value, settings_written

if TYPE_CHECKING:
    import pandas as pd

    from serbench.harness.corpora.base import Corpus
    from serbench.harness.distributions import Estimator
    from serbench.harness.heads.base import Head

__all__ = [
    "FEWEST_RATERS",
    "PLANE",
    "REGISTRY",
    "Chosen",
    "Entry",
    "Known",
    "Objective",
    "build",
    "entries",
    "parse",
    "register",
    "require",
]

PLANE = RANKED_DIMENSIONS
"""The dimensions that distributions are over, first axis first."""
FEWEST_RATERS = 2
"""One opinion is no distribution: utterances with fewer have none, as in Tavernor et al. (2024)."""
GROUP = "serbench.heads"
BUILT_IN = "serbench.harness.heads.declared"


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a head is built from: the encoder's width, and what the training split has."""

    hidden_size: int
    dimensions: tuple[str, ...]
    annotators: int = 0
    """How many people have rated the training split; they are numbered from 0, by name."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Says what is predicted, and by which loss it is learnt. Subclass it as a frozen dataclass.

    As with a strategy, the fields are its settings, each with a default, and from them come the
    words on the command line, what is stored, and the fingerprint.
    """

    needs_ratings: ClassVar[bool] = False
    """Whether it learns from single ratings, and not from consensus labels alone."""
    needs_annotators: ClassVar[bool] = False
    """Whether it must be known who gave a rating."""
    least_raters: ClassVar[int] = 1
    """Ratings of one dimension that an utterance must have to be learnt from, if ratings are."""

    @property
    def needs_distribution(self) -> bool:
        """Whether it learns from the distribution of ratings over activation and valence."""
        return False

    def label_estimator(self) -> Estimator:
        """What makes those distributions of ratings, if any."""
        from serbench.harness.distributions import HARD

        return HARD

    @property
    def turns(self) -> int:
        """Optimiser steps that a mini-batch makes, at most: as many as the network has `turns`."""
        return 1

    def turns_in(self, epoch: int) -> int:
        """Those in epoch `epoch` (from 0), if the network's `begin_epoch` changes its `turns`."""
        return self.turns

    @property
    def least_epochs(self) -> int:
        """Epochs that a run must have for all that is predicted to be learnt at all."""
        return 1

    def build(self, known: Known) -> Head:
        """The network, with new weights."""
        raise NotImplementedError(f"{type(self).__name__} does not define build(known)")


Entry: TypeAlias = plugins.Entry[Objective]
O = TypeVar("O", bound=type[Objective])  # noqa: E741

REGISTRY: Registry[Objective] = Registry("head", "heads", GROUP)


def register(name: str) -> Callable[[O], O]:
    """Claim `name` for an objective.

    Raises:
        NameTakenError: another file holds the name.
        StrategyError: the declaration breaks the contract.
    """
    return REGISTRY.register(name)


@dataclass(frozen=True)
class Chosen:
    """A head with its settings; `stated` are those that its spec string gave."""

    name: str
    objective: Objective
    stated: frozenset[str] = dataclasses.field(default=frozenset(), compare=False)

    @property
    def label(self) -> str:
        """The spec string in its canonical form."""
        return settings_written(self.name, self.objective, self.stated)

    @property
    def config(self) -> dict[str, Value]:
        """All settings, defaults included."""
        return dataclasses.asdict(self.objective)

    @property
    def source_hash(self) -> str | None:
        """Of a plugin's file; None for a head that is built in, which the protocol's version
        speaks for."""
        entry = _found().find(self.name)
        return None if entry.cls.__module__ == BUILT_IN else entry.source_hash


@functools.cache
def _found() -> Registry[Objective]:
    REGISTRY.discover([BUILT_IN])
    return REGISTRY


def entries() -> Iterator[Entry]:
    """Every registered head, by name."""
    return _found().entries()


def parse(text: str) -> Chosen:
    """Read `name[:field=value,…]`.

    Raises:
        RequestError: what is wrong with the text, and what would be right.
    """
    return Chosen(*_found().parse(text.strip()))


def build(head: str | Chosen, known: Known) -> Head:
    """A head's network, with new weights.

    Raises:
        RequestError: there is none of that name.
    """
    chosen = parse(head) if isinstance(head, str) else head
    return chosen.objective.build(known)


def require(chosen: Chosen, corpus: Corpus, *, limit: int | None = None) -> None:
    """Make sure that a corpus, and its training split, have what a head learns from.

    Args:
        chosen: the head.
        corpus: with the splits of the fold, if there are folds.
        limit: utterances of the training split that are used; all if None.

    Raises:
        RequestError: what it lacks.
    """
    objective, label = chosen.objective, chosen.label
    if objective.needs_ratings and corpus.ratings is None:
        raise RequestError(
            f"the head {label} learns from single ratings, and corpus '{corpus.name}' has only "
            "consensus labels"
        )
    if objective.needs_annotators and corpus.anonymous:
        raise RequestError(
            f"the head {label} learns each annotator, and in corpus '{corpus.name}' nobody knows "
            "who gave a rating"
        )
    missing = [name for name in PLANE if name not in corpus.dimensions]
    if objective.needs_distribution and missing:
        raise RequestError(
            f"the head {label} learns distributions over {' and '.join(PLANE)}, and corpus "
            f"'{corpus.name}' has no {missing[0]}"
        )
    few = _too_few(objective, corpus, limit)
    if few:
        raise RequestError(f"the head {label} {few} that is trained on")


def _too_few(objective: Objective, corpus: Corpus, limit: int | None) -> str | None:
    """What the training utterances lack, if it is something."""
    distributions = objective.needs_distribution
    if not (objective.needs_ratings or objective.needs_annotators or distributions):
        return None
    name, table = corpus.name, corpus.ratings
    most, on_plane = 0, 0
    if table is not None:
        used = corpus.utterances["id"].iloc[corpus.indices("train", limit)]
        inside = table["utterance"].isin(used) & table["dimension"].isin(corpus.dimensions)
        rated = table[inside]
        most = _most(rated, ["utterance", "dimension"])
        both = rated[rated["dimension"].isin(PLANE)]
        both = both[both.duplicated(["utterance", "annotator"])]
        on_plane = _most(both, ["utterance"])
    if objective.needs_annotators and not most:
        return f"learns each annotator, and in corpus '{name}' nobody has rated an utterance"
    if objective.needs_ratings and not most:
        return f"learns from single ratings, and corpus '{name}' has none of an utterance"
    if objective.needs_ratings and most < objective.least_raters:
        return (
            f"learns from utterances with {objective.least_raters} raters, and corpus '{name}' has "
            "none"
        )
    if distributions and on_plane < FEWEST_RATERS:
        return (
            f"learns distributions of at least {FEWEST_RATERS} raters of {' and '.join(PLANE)}, "
            f"and corpus '{name}' has no such utterance"
        )
    return None


def _most(rated: pd.DataFrame, by: list[str]) -> int:
    """The size of the largest group."""
    return int(rated.groupby(by, observed=True).size().max()) if len(rated) else 0
