"""From flags, a suite and the defaults to the specs of the runs that are asked for."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serbench.harness import backbone, cache, corpora, heads, strategy
from serbench.harness.corpora import folds
from serbench.harness.corpora.base import SAMPLE_RATE_HZ, SPLITS, Corpus
from serbench.harness.corpora.recordings import SHORTEST
from serbench.harness.environment import resolve_device
from serbench.harness.errors import RequestError
from serbench.harness.heads import Chosen
from serbench.harness.plan import (
    CorpusRef,
    Elsewhere,
    Spec,
    Suite,
    Training,
    checked,
    interleaved,
)
from serbench.harness.strategy import Variant

__all__ = ["DEFAULT_BACKBONE", "DEFAULT_CORPUS", "Planned", "Request", "plan", "read_bytes"]

DEFAULT_SUITE = "quick"
DEFAULT_BACKBONE = "tiny"
DEFAULT_CORPUS = "embedded"
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True, kw_only=True)
class Request:
    """The words of `serbench run`; None where a flag was not given."""

    specs: tuple[str, ...] = ()
    every: bool = False
    suite: str | None = None
    backbone: str | None = None
    init: str | None = None
    corpus: str | None = None
    heads: tuple[str, ...] = ()
    seeds: str | None = None
    folds: str | None = None
    """`all`, `all/COUNT`, or numbers joined by commas, with `/COUNT` or without."""
    test_corpora: tuple[str, ...] = ()
    """Corpora that the trained models are tested on as well, as `corpus` is written."""
    enrol: int | None = None
    """Ratings by which each annotator of these is told to be like some of those trained on."""
    repeats: int | None = None
    """How often each variant runs again with each seed; None leaves it to the suite."""
    device: str = "auto"
    plugins: tuple[str, ...] = ()
    cache_dir: str | None = None
    cache_limit: str | None = None
    cache_dtype: str = "auto"
    save_dir: str | None = None
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Training settings by name, as text; they go before the suite's."""


@dataclass(frozen=True)
class Planned:
    """The runs in the order they go in, and the corpus that they share."""

    specs: list[Spec]
    corpus: Corpus


def plan(request: Request) -> Planned:
    """Turn a request into runs; whatever is wrong with it is found here, before the first one.

    Raises:
        SerbenchError: what is wrong.
    """
    strategy.discover(request.plugins)
    suite = _suite(request)
    variants = [strategy.parse(text) for text in request.specs or suite.chosen()]
    if not variants:
        raise RequestError(f"nothing to run: the suite {suite.name} has no variants")
    device = resolve_device(request.device)
    _check_precisions(variants, device)
    if request.cache_dtype not in cache.CACHE_DTYPES:
        raise RequestError(f"--cache-dtype is one of {', '.join(cache.CACHE_DTYPES)}")
    located = backbone.locate(
        _named(request.backbone, suite.backbone, suite, "--backbone"),
        request.init or suite.init,
    )
    _check_settings(variants, backbone.depth(located))
    ref = read_corpus(_named(request.corpus, suite.corpus, suite, "--corpus"))
    corpus = corpora.load(ref)
    wanted = request.folds or suite.folds
    chosen: tuple[str | None, ...] = folds.chosen(wanted, corpus) if wanted else (None,)
    training = _training(suite, request.settings)
    chosen_heads = _heads(request.heads or suite.heads, training)
    for fold in chosen:
        parted = folds.parted(corpus, fold) if fold else corpus
        _require_splits(parted)
        for head in chosen_heads:
            heads.require(head, parted, limit=training.limit)
    first = Spec(
        variant=variants[0],
        source_hash="",
        backbone=located.name,
        init=located.init,
        backbone_hash=located.hash,
        backbone_folder=located.folder,
        corpus=ref,
        corpus_name=corpus.name,
        corpus_hash=corpus.manifest_hash,
        head=chosen_heads[0],
        training=training,
        seed=0,
        elsewhere=_elsewhere(request, corpus),
        enrol=_enrol(request, chosen_heads),
        device=device,
        cost_only=suite.cost_only,
        suite=suite.name or None,
        plugins=tuple(str(Path(path).resolve()) for path in request.plugins),
        cache_dir=_folder(request.cache_dir, "--cache-dir"),
        cache_limit_bytes=read_bytes(request.cache_limit) if request.cache_limit else None,
        cache_dtype=request.cache_dtype,
        fresh_cache=suite.fresh_cache,
        save_dir=_folder(request.save_dir, "--save"),
    )
    specs = [
        dataclasses.replace(
            first,
            variant=v,
            head=head,
            seed=seed,
            fold=fold,
            source_hash=strategy.find(v.name).source_hash,
        )
        for v in dict.fromkeys(variants)
        for head in chosen_heads
        for seed in _seeds(request.seeds, suite)
        for fold in chosen
    ]
    again = _repeats(request, suite, specs)
    return Planned(interleaved([*specs, *again]), corpus)


def _suite(request: Request) -> Suite:
    if request.specs and request.every:
        raise RequestError("name SPECs or give --all, not both")
    if request.suite:
        return Suite.load(request.suite)
    if request.every:
        return Suite.load(DEFAULT_SUITE)
    if request.specs:
        return Suite(
            name="", title="", variants=(), backbone=DEFAULT_BACKBONE, corpus=DEFAULT_CORPUS
        )
    raise RequestError(
        "nothing to run: name SPECs, such as NAME+bf16+cache, or give --all, or --suite NAME "
        "(serbench list shows what there is)"
    )


def _heads(texts: Sequence[str], training: Training) -> list[Chosen]:
    found = list(dict.fromkeys(map(heads.parse, texts)))
    for head in found:
        if head.objective.turns > 1 and training.accumulate > 1:
            raise RequestError(
                f"the head {head.label} makes a step for each task of a mini-batch, and accumulate "
                f"asks for one step to {training.accumulate} of them"
            )
        if head.objective.least_epochs > training.epochs:
            raise RequestError(
                f"the head {head.label} needs at least {head.objective.least_epochs} epochs to "
                f"learn all that it predicts, and epochs={training.epochs}"
            )
    return found


def _enrol(request: Request, chosen_heads: Sequence[Chosen]) -> int | None:
    if request.enrol is None:
        return None
    if request.enrol < 1:
        raise RequestError(f"--enrol takes a number of ratings from 1 on, not {request.enrol}")
    if not request.test_corpora:
        raise RequestError("--enrol is for the annotators of a --test-corpus, and there is none")
    if not any(head.objective.needs_annotators for head in chosen_heads):
        raise RequestError("--enrol: no head here predicts single annotators")
    return request.enrol


def _require_splits(corpus: Corpus) -> None:
    missing = sorted(set(SPLITS) - set(corpus.utterances["split"]))
    if missing:
        raise RequestError(
            f"corpus '{corpus.name}' has no {' and no '.join(missing)} split, and a run trains on "
            "one, selects by another and is told by the third"
        )


def _elsewhere(request: Request, corpus: Corpus) -> tuple[Elsewhere, ...]:
    """The further corpora to test on; each must have a test split and a dimension in common.

    Where annotators are to enrol, one of the corpora must say who gave which rating.
    """
    found: list[Elsewhere] = []
    rated = False
    for text in request.test_corpora:
        ref = read_corpus(text, "--test-corpus")
        other = corpora.load(ref)
        if other.name in {corpus.name, *(each.name for each in found)}:
            raise RequestError(
                f"--test-corpus {text}: there is a corpus '{other.name}' already, and scores are "
                "told apart by that name (a corpus.toml can give another)"
            )
        if "test" not in set(other.utterances["split"]):
            raise RequestError(f"--test-corpus {text}: '{other.name}' has no test split")
        if not set(other.dimensions) & set(corpus.dimensions):
            raise RequestError(
                f"--test-corpus {text}: '{other.name}' has {', '.join(other.dimensions)}, and "
                f"'{corpus.name}' teaches {', '.join(corpus.dimensions)}"
            )
        rated |= other.ratings is not None and not other.anonymous
        found.append(
            Elsewhere(
                ref=ref,
                name=other.name,
                hash=other.manifest_hash,
                synthetic=other.synthetic,
                derived=other.derived,
            )
        )
    if request.enrol and found and not rated:
        raise RequestError(
            f"--enrol: no one can enrol, for who gave a rating is not known of "
            f"{' or '.join(each.name for each in found)}"
        )
    return tuple(found)


def _repeats(request: Request, suite: Suite, specs: Sequence[Spec]) -> list[Spec]:
    """Runs that are made again for the noise floor; their models are not kept."""
    if request.repeats is not None and request.repeats < 0:
        raise RequestError(f"--repeats takes a number from 0 on, not {request.repeats}")
    named = [strategy.parse(text) for text in suite.repeated]
    unplanned = [v.label for v in named if v not in {spec.variant for spec in specs}]
    if unplanned and not request.specs:
        raise RequestError(f"the suite {suite.name} repeats {unplanned[0]}, but does not run it")
    times = 1 if request.repeats is None else request.repeats
    return [
        dataclasses.replace(spec, repeat=repeat, save_dir=None)
        for spec in specs
        if request.repeats is not None or spec.variant in named
        for repeat in range(1, times + 1)
    ]


def _named(flag: str | None, suites: str | None, suite: Suite, option: str) -> str:
    chosen = flag or suites
    if chosen is None:
        raise RequestError(f"the suite {suite.name} needs {option}: {suite.title}")
    return chosen


def _check_precisions(variants: Sequence[Variant], device: str) -> None:
    for variant in variants:
        if variant.precision == "fp16" and device == "cpu":
            raise RequestError(
                f"{variant.label}: fp16 with its gradient scaler needs CUDA; on the CPU use +bf16"
            )


def _check_settings(variants: Sequence[Variant], layers: int) -> None:
    for variant in variants:
        try:
            variant.strategy.check(layers)
        except ValueError as error:
            raise RequestError(f"'{variant.label}': {error}") from error


def read_corpus(text: str, option: str = "--corpus") -> CorpusRef:
    """Read `NAME`, `NAME=ROOT` or a folder.

    Raises:
        RequestError: ROOT is empty.
    """
    name, equals, root = text.partition("=")
    if equals and not root:
        raise RequestError(f"{option} {text}: the folder after '=' is missing")
    if not equals and Path(text).is_dir() and text not in corpora.names():
        return CorpusRef(str(Path(text).resolve()))
    if root and Path(root).exists():
        root = str(Path(root).resolve())
    return CorpusRef(name, root or None)


def _training(suite: Suite, settings: Mapping[str, str]) -> Training:
    known = [field.name for field in dataclasses.fields(Training)]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise RequestError(f"--set {unknown[0]}: there are {', '.join(known)}")
    training = checked(Training, {**suite.training, **settings}, "training settings")
    if training.max_seconds * SAMPLE_RATE_HZ < SHORTEST:
        raise RequestError(
            f"max_seconds must be at least {SHORTEST / SAMPLE_RATE_HZ}, which an encoder needs, "
            f"not {training.max_seconds}"
        )
    return training


def _seeds(text: str | None, suite: Suite) -> tuple[int, ...]:
    if text is None:
        return suite.seeds
    try:
        seeds = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise RequestError(f"--seeds takes whole numbers joined by commas, not '{text}'") from None
    if min(seeds) < 0:
        raise RequestError("--seeds takes numbers from 0 on")
    return seeds


def read_bytes(text: str) -> int:
    """Read a size like `20GB`, `500M` or `1e9`.

    Raises:
        RequestError: it is none.
    """
    match = re.fullmatch(r"([0-9.eE+]+?)\s*([kMGT]?)B?", text.strip())
    try:
        if match is None:
            raise ValueError(text)
        return int(float(match[1]) * UNITS[match[2]])
    except (ValueError, OverflowError):
        raise RequestError(f"'{text}' is no size; write 500MB or 20GB") from None


def _folder(path: str | None, option: str) -> str | None:
    """An absolute path where there is a folder, or where one can be made."""
    if path is None:
        return None
    folder = Path(path).expanduser().resolve()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise RequestError(f"{option} {path}: nothing can be written into {there}")
    return str(folder)
