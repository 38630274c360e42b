"""What is to be run: `Spec`, suites, and the fingerprint by which a finished run is known."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from serbench.harness import strategy
from serbench.harness.errors import RequestError
from serbench.harness.heads import Chosen
from serbench.harness.strategy import Variant

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "DEFAULT_HEAD",
    "LATER",
    "PROTOCOL",
    "CorpusRef",
    "Elsewhere",
    "Spec",
    "Suite",
    "Training",
    "checked",
    "fingerprint",
    "interleaved",
    "named",
    "suite_names",
]

D = TypeVar("D")

DEFAULT_HEAD = "consensus"
PROTOCOL = 3
"""Version of what a run does and how it is clocked; a new one makes every older row another run."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Settings that are the same for every strategy of a comparison."""

    epochs: int = 6
    batch_size: int = 16
    accumulate: int = 1
    """Mini-batches to one optimiser step; the CCC loss is taken in each mini-batch by itself."""
    head_lr: float = 1e-3
    lr_scale: float = 1.0
    """Factor on every strategy's own learning rate, which is meant for encoders of 95 M parameters:
    smaller ones want larger steps."""
    warmup: float = 0.1
    """Share of the planned steps over which the learning rate rises, before it falls to zero."""
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    patience: int = 10
    """Epochs without a better validation CCC after which training stops."""
    max_seconds: float = 12.0
    """Longer utterances are cut at this length, the same way for everybody."""
    limit: int | None = None
    """At most so many utterances a split, evenly from the corpus's order; all if None."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """`sgd` has a momentum of 0.9, as in Tavernor et al. (2024)."""
    schedule: Literal["linear", "plateau"] = "linear"
    """Of the learning rate: up and then down to zero, or a tenth of it whenever the validation CCC
    has not risen for half the patience."""
    least_ratings: int = 10
    """Ratings of a test split from which on an annotator has a CCC of their own."""

    def __post_init__(self) -> None:
        # One utterance has no concordance, so a batch of one would teach nothing.
        for name, least in (
            ("epochs", 1),
            ("batch_size", 2),
            ("accumulate", 1),
            ("patience", 1),
            ("least_ratings", 2),
        ):
            if getattr(self, name) < least:
                raise RequestError(f"{name} must be at least {least}, not {getattr(self, name)}")
        for name in ("head_lr", "lr_scale", "clip_norm", "max_seconds"):
            if not getattr(self, name) > 0:
                raise RequestError(f"{name} must be above 0, not {getattr(self, name)}")
        if not self.weight_decay >= 0:
            raise RequestError(f"weight_decay must be at least 0, not {self.weight_decay}")
        # Without an end the gradient's norm is not clipped.
        for name in ("head_lr", "lr_scale", "max_seconds", "weight_decay"):
            if math.isinf(getattr(self, name)):
                raise RequestError(f"{name} must be finite")
        if not 0 <= self.warmup < 1:
            raise RequestError(f"warmup is a share of the steps, from 0 to below 1: {self.warmup}")
        if self.limit is not None and self.limit < 2:
            raise RequestError("limit must leave at least 2 utterances a split")


LATER = {name: getattr(Training, name) for name in ("optimizer", "schedule", "least_ratings")}
"""Settings, with their defaults, that there have not always been."""


@dataclass(frozen=True)
class CorpusRef:
    """Which corpus, and where it lies (None for one that needs no folder)."""

    name: str
    root: str | None = None


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """A corpus that a trained model is tested on, and was not trained on."""

    ref: CorpusRef
    name: str
    hash: str
    synthetic: bool
    derived: bool


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One run, whole: what its process is given, and all that its fingerprint rests on.

    `backbone_hash` and `corpus_hash` identify the weights and the manifest.
    """

    variant: Variant
    source_hash: str
    backbone: str
    init: str
    backbone_hash: str
    corpus: CorpusRef
    corpus_name: str
    corpus_hash: str
    head: Chosen
    training: Training
    seed: int
    device: str
    fold: str | None = None
    """`NUMBER/COUNT`, the fold whose splits are taken; None for the corpus's one split."""
    repeat: int = 0
    """0, or the number of the repeat by which the noise floor is told; never part of a mean."""
    elsewhere: tuple[Elsewhere, ...] = ()
    enrol: int | None = None
    """Ratings by which each annotator of a further corpus is told to be like one of training."""
    backbone_folder: str | None = None
    cost_only: bool = False
    suite: str | None = None
    plugins: tuple[str, ...] = ()
    cache_dir: str | None = None
    cache_limit_bytes: int | None = None
    cache_dtype: str = "auto"
    fresh_cache: bool = False
    save_dir: str | None = None

    @property
    def label(self) -> str:
        """The variant's spec string."""
        return self.variant.label

    @property
    def name(self) -> str:
        """The label, with the head where it is not the usual one."""
        return named(self.label, self.head.label)


def named(label: str, head: str) -> str:
    """What a row is called: `LABEL`, or `LABEL@HEAD` for another head than the usual one."""
    return label if head == DEFAULT_HEAD else f"{label}@{head}"


def fingerprint(spec: Spec, machine_key: str, software: Mapping[str, Any]) -> str:
    """Hash of what could change what a run measures, on one machine.

    Of `software`, an environment as it is stored, the libraries' versions and the threads count.
    """
    facts = {
        "software": [software[name] for name in ("torch", "transformers", "peft", "threads")],
        "protocol": PROTOCOL,
        "strategy": spec.variant.name,
        "precision": spec.variant.precision,
        "config": spec.variant.config,
        "source": spec.source_hash,
        "backbone": spec.backbone_hash,
        "corpus": spec.corpus_hash,
        "head": spec.head.name,
        "training": _settings(spec.training),
        "seed": spec.seed,
        "repeat": spec.repeat,
        "device": spec.device,
        "cost_only": spec.cost_only,
        "cache": [spec.cache_dtype, spec.fresh_cache] if spec.variant.cached else None,
        "machine": machine_key,
        # Only where they are asked for, so that what was finished before there were any still is.
        **({"fold": spec.fold} if spec.fold else {}),
        **({"elsewhere": [other.hash for other in spec.elsewhere]} if spec.elsewhere else {}),
        **({"enrol": spec.enrol} if spec.enrol else {}),
        **({"head_config": spec.head.config} if spec.head.config else {}),
        **({"head_source": spec.head.source_hash} if spec.head.source_hash else {}),
    }
    text = json.dumps(facts, sort_keys=True, default=list)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _settings(training: Training) -> dict[str, Any]:
    """As long as a later setting is at its default, the runs of before are the same."""
    return {
        name: value
        for name, value in dataclasses.asdict(training).items()
        if name not in LATER or value != LATER[name]
    }


def interleaved(specs: Iterable[Spec]) -> list[Spec]:
    """All variants of the first seed, then of the next, so that a drifting machine favours none.

    A seed's round goes fold by fold. Repeats end it, far from what they repeat, so that drift shows
    in the noise.
    """
    return sorted(specs, key=lambda spec: (spec.seed, spec.repeat, _fold_number(spec)))


def _fold_number(spec: Spec) -> int:
    return int(spec.fold.partition("/")[0]) if spec.fold else 0


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named set of variants with the settings that they share."""

    name: str
    title: str
    variants: tuple[str, ...]
    repeated: tuple[str, ...] = ()
    """Those of the variants that run once more with each seed, to tell the noise floor by."""
    every: bool = False
    """Also every registered strategy in its default configuration."""
    backbone: str | None = None
    init: str = "pretrained"
    corpus: str | None = None
    heads: tuple[str, ...] = (DEFAULT_HEAD,)
    """Each variant is run with each of them."""
    seeds: tuple[int, ...] = (0,)
    folds: str | None = None
    """As `--folds` takes it; None for the corpus's one split."""
    cost_only: bool = False
    fresh_cache: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)

    def chosen(self) -> tuple[str, ...]:
        """Spec strings in order, each once."""
        registered = [entry.name for entry in strategy.entries()] if self.every else []
        return tuple(dict.fromkeys((*registered, *self.variants)))

    @classmethod
    def load(cls, name_or_file: str) -> Suite:
        """Read a suite that ships with the package, or a TOML file of one's own.

        Raises:
            RequestError: it does not exist, is not TOML, or holds what a suite does not have.
        """
        path = Path(name_or_file)
        if path.suffix != ".toml":
            path = _folder() / f"{name_or_file}.toml"
        if not path.is_file():
            known = ", ".join(suite_names())
            raise RequestError(f"there is no suite '{name_or_file}'; there are {known}")
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RequestError(f"{path}: {error}") from error
        return cls._from_table(path, table)

    @classmethod
    def _from_table(cls, path: Path, table: dict[str, Any]) -> Suite:
        known = {f.name for f in dataclasses.fields(cls)} - {"name"}
        settings = {f.name for f in dataclasses.fields(Training)}
        wrong = sorted(set(table) - known) + sorted(set(table.get("training", {})) - settings)
        if wrong:
            raise RequestError(f"{path}: a suite has no '{wrong[0]}'")
        return checked(cls, {"name": path.stem, **table}, str(path))


def checked(cls: type[D], values: Mapping[str, Any], origin: str) -> D:
    """A dataclass from values that came from outside, each brought to its field's type.

    Raises:
        RequestError: the first value that is missing or cannot be what it should be.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RequestError(f"{origin}: {place}: {first['msg']}") from None


def suite_names() -> list[str]:
    """Names of the suites that ship with the package."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def _folder() -> Path:
    package = importlib.import_module("serbench.strategies.suites")
    return Path(str(package.__file__)).parent
