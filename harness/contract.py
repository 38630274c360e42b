"""What every strategy and every head must keep to, as tests that a plugin's author can run.

    pytest --pyargs serbench.harness.contract

takes in every one that is registered: the built-in ones, installed plugins, and the files that the
environment variable SERBENCH_PLUGINS names (several are parted as in PATH).
"""

from __future__ import annotations

import copy
import functools
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from serbench.harness import heads, strategy
from serbench.harness.audio import Audio
from serbench.harness.backbone import Backbone, from_config
from serbench.harness.cache import StateCache
from serbench.harness.distributions import CELLS
from serbench.harness.guard import Guard
from serbench.harness.heads import Chosen, Known
from serbench.harness.meter import Meter
from serbench.harness.plan import Training
from serbench.harness.prefix import STATE_DTYPES
from serbench.harness.results import Phase
from serbench.harness.strategy import Entry, Precision, Variant
from serbench.harness.targets import Ratings
from serbench.harness.trainer import Data, Evaluation, Trainer

__all__ = [
    "test_a_head_answers_for_every_utterance",
    "test_a_head_goes_with_every_strategy",
    "test_a_head_is_declared_so_that_it_can_be_named",
    "test_a_head_learns_the_same_from_the_cache",
    "test_gives_the_same_for_the_same_seed",
    "test_is_declared_so_that_it_can_be_named",
    "test_learns_the_same_from_the_cache",
    "test_leaves_the_class_it_was_made_from_alone",
    "test_trains_what_it_says_and_nothing_else",
]

SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (32,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 3,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "wav2vec2": {},
    "wav2vec2-prenorm": {"feat_extract_norm": "layer", "do_stable_layer_norm": True},
    "hubert": {},
    "wavlm": {},
}
KNOWN = Known(hidden_size=48, dimensions=("activation", "valence"), annotators=4)
"""What a head of these encoders is built from."""
EPOCHS = 2
UTTERANCES = 10


def encoder(family: str) -> Backbone:
    """An encoder of that family, small enough to train in a moment, with fixed random weights."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(family.partition("-")[0], **{**SMALL, **FAMILIES[family]})
    backbone = from_config(config, name=family, normalize=True)
    backbone.total_steps = EPOCHS * 2
    return backbone


def sounds() -> Data:
    """Noise of several lengths whose loudness is its label, the same in every process."""
    return copy.deepcopy(_sounds())


@functools.cache
def _sounds() -> Data:
    rng = np.random.default_rng(0)
    samples = rng.integers(1600, 4800, UTTERANCES)
    level = rng.uniform(-1, 1, (UTTERANCES, 2)).astype(np.float32)
    waves = [
        (rng.normal(size=count) * (1.5 + row[0])).astype(np.float32)
        for count, row in zip(samples, level, strict=True)
    ]
    split = np.arange(UTTERANCES)
    ratings = opinions(level)
    return Data(
        Audio(lambda indices: [waves[i] for i in indices], samples.astype(np.int64)),
        level,
        {"train": split[:6], "validation": split[6:8], "test": split[8:]},
        ratings,
        ratings.distributions(split),
    )


def opinions(level: np.ndarray[Any, np.dtype[np.float32]]) -> Ratings:
    """Three ratings an utterance by four annotators, each with a bias of their own."""
    rows = np.arange(3 * len(level))
    who = (rows + rows // 3) % KNOWN.annotators
    values = level[rows // 3] + np.linspace(-0.3, 0.3, KNOWN.annotators)[who, None]
    names = tuple(f"annotator {i}" for i in range(KNOWN.annotators))
    return Ratings(
        starts=3 * np.arange(len(level) + 1),
        annotator=who,
        person=who,
        values=values.clip(-1, 1).astype(np.float32),
        annotators=names,
        people=names,
        plane=(0, 1),
    )


@dataclass(frozen=True)
class Learnt:
    """What a short training gave: each epoch's loss, and the predictions (M, D) for the test."""

    losses: list[float]
    tested: Evaluation
    trainer: Trainer

    @property
    def predicted(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(M, D) labels."""
        return self.tested.predicted


def learn(
    variant: Variant,
    family: str,
    folder: Path,
    *,
    head: Chosen | str = "consensus",
    batch_size: int = 3,
    cache_dtype: str | None = None,
    on_phase: Callable[[Phase], None] = lambda _: None,
) -> Learnt:
    """Train a variant for two epochs on `sounds`, and check what moved."""
    backbone, data, phases = encoder(family), sounds(), list[Phase]()

    def heard(phase: Phase) -> None:
        phases.append(phase)
        on_phase(phase)

    torch.manual_seed(7)
    variant.strategy.adapt(backbone)
    network = heads.build(head, KNOWN)
    guard = Guard(backbone, variant.label, variant.strategy.head_only)
    dtype = cache_dtype or str(STATE_DTYPES[variant.precision]).removeprefix("torch.")

    def open_cache(depth: int, width: int) -> StateCache:
        frames = trainer_frames(backbone, data)
        return StateCache(folder, {"depth": str(depth)}, frames, width, dtype)

    trainer = Trainer(
        backbone,
        network,
        data,
        variant=variant,
        training=Training(epochs=EPOCHS, batch_size=batch_size),
        seed=0,
        device=torch.device("cpu"),
        meter=Meter(torch.device("cpu"), heard),
        open_cache=open_cache,
        progress=lambda _: None,
    )
    trainer.fit(lambda epoch, evaluation: None)
    guard.check(trainer.learned())
    tested = trainer.test()
    trainer.close()
    losses = [p.loss for p in phases if p.phase == "train" and p.loss is not None]
    return Learnt(losses, tested, trainer)


def without_cache(
    entry: Entry,
    family: str = "wav2vec2",
    *,
    precision: Precision = "fp32",
    head: Chosen | None = None,
) -> Learnt:
    """What a training without a cache gave: one for all tests that ask, so they only read it."""
    variant = Variant(entry.name, entry.cls(), precision)
    return _live(variant, family, head or heads.parse("consensus"))


@functools.cache
def _live(variant: Variant, family: str, head: Chosen) -> Learnt:
    return learn(variant, family, Path(os.devnull), head=head)


def trainer_frames(backbone: Backbone, data: Data) -> list[int]:
    """Frames of each utterance."""
    from serbench.harness.stages import Stages

    frames: list[int] = Stages(backbone).frames(torch.from_numpy(data.audio.samples)).tolist()
    return frames


def _discover() -> None:
    named = os.environ.get("SERBENCH_PLUGINS", "")
    strategy.discover(tuple(path for path in named.split(os.pathsep) if path))


def _entries() -> Iterator[Entry]:
    _discover()
    yield from strategy.entries()


def _heads() -> Iterator[Chosen]:
    _discover()
    yield from (heads.parse(entry.name) for entry in heads.entries())


every_head = pytest.mark.parametrize("head", list(_heads()), ids=lambda head: f"head-{head.name}")
every_strategy = pytest.mark.parametrize("entry", list(_entries()), ids=lambda entry: entry.name)
every_family = pytest.mark.parametrize("family", FAMILIES)


@every_strategy
def test_is_declared_so_that_it_can_be_named(entry: Entry) -> None:
    """It has a summary, and its spec string reads back as itself."""
    assert entry.summary, "the class needs a docstring: its first line is shown in lists"
    variant = Variant(entry.name, entry.cls(), "bf16", True)
    assert strategy.parse(variant.label) == variant
    assert set(variant.config) == set(entry.fields())


@every_strategy
@every_family
def test_trains_what_it_says_and_nothing_else(entry: Entry, family: str) -> None:
    """Something moves, no frozen tensor does, and the losses are numbers."""
    learnt = without_cache(entry, family)
    assert len(learnt.losses) == EPOCHS
    assert all(math.isfinite(loss) for loss in learnt.losses)


@every_strategy
def test_gives_the_same_for_the_same_seed(entry: Entry, tmp_path: Path) -> None:
    """Two runs of one seed have the same losses, bit for bit."""
    first = without_cache(entry)
    second = learn(Variant(entry.name, entry.cls()), "wav2vec2", tmp_path)
    assert first.losses == second.losses
    np.testing.assert_array_equal(first.predicted, second.predicted)


@every_strategy
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_learns_the_same_from_the_cache(entry: Entry, precision: Precision, tmp_path: Path) -> None:
    """A cached run has the live run's losses, while the cache is filled and when it is full."""
    live = without_cache(entry, precision=precision)
    if live.trainer.stages.frozen_depth() == 0:
        pytest.skip("its first stage is trainable, so there is nothing to cache")
    cached = Variant(entry.name, entry.cls(), precision, cached=True)
    for _ in ("filling", "full"):
        again = learn(cached, "wav2vec2", tmp_path)
        # Later epochs mix the utterances anew, and other batch mates may move the last bits.
        assert again.losses[0] == live.losses[0]
        tolerance = 1e-5 if precision == "fp32" else 2e-2
        np.testing.assert_allclose(again.losses, live.losses, rtol=tolerance)


@every_strategy
def test_leaves_the_class_it_was_made_from_alone(entry: Entry) -> None:
    """Adapting one backbone leaves no trace on the next."""
    untouched = encoder("wav2vec2")
    before = copy.deepcopy({n: p.requires_grad for n, p in untouched.model.named_parameters()})
    entry.cls().adapt(encoder("wav2vec2"))
    after = {n: p.requires_grad for n, p in encoder("wav2vec2").model.named_parameters()}
    assert after == before


@every_head
def test_a_head_is_declared_so_that_it_can_be_named(head: Chosen) -> None:
    """It has a summary, and its spec string reads back as itself."""
    entry = heads.REGISTRY.find(head.name)
    assert entry.summary, "the class needs a docstring: its first line is shown in lists"
    assert heads.parse(head.label) == head
    assert set(head.config) == set(entry.fields())


@every_head
@every_strategy
def test_a_head_goes_with_every_strategy(entry: Entry, head: Chosen) -> None:
    """The losses are numbers, with dropout, adapters and whatever else the strategy does."""
    learnt = without_cache(entry, head=head)
    assert len(learnt.losses) == EPOCHS
    assert all(math.isfinite(loss) for loss in learnt.losses)
    network = learnt.trainer.head
    for epoch in range(EPOCHS):
        network.begin_epoch(epoch)
        planned = head.objective.turns_in(epoch)
        assert planned == len(network.turns), "turns_in(epoch) must say how many turns there are"
        assert planned <= head.objective.turns, "turns must be the most that an epoch has"


@every_head
def test_a_head_answers_for_every_utterance(head: Chosen) -> None:
    """Labels in what it predicts, masses that add up to 1, a rating for each that was given."""
    learnt = without_cache(next(_entries()), head=head)
    (answer,) = learnt.tested.answers
    count = len(learnt.tested.indices)
    predicts = torch.tensor(learnt.trainer.head.predicts or (True,) * len(KNOWN.dimensions))
    assert answer.labels.shape == (count, len(KNOWN.dimensions))
    assert (answer.labels.isfinite() == predicts).all()
    for masses in (answer.distributions, answer.told_distributions):
        if masses is not None:
            assert masses.shape == (count, CELLS, CELLS)
            assert (masses >= 0).all()
            torch.testing.assert_close(masses.sum((1, 2)), torch.ones(count))
    if answer.told_ratings is not None:
        assert answer.told_ratings.shape == (3 * count, len(KNOWN.dimensions))
        assert answer.told_ratings.isfinite().all()


@every_head
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_head_learns_the_same_from_the_cache(
    head: Chosen, precision: Precision, tmp_path: Path
) -> None:
    """A cached run has the live run's losses, whatever stands on the encoder."""
    frozen = next(entry for entry in _entries() if entry.cls.head_only)
    live = without_cache(frozen, precision=precision, head=head)
    cached = Variant(frozen.name, frozen.cls(), precision, cached=True)
    for _ in ("filling", "full"):
        again = learn(cached, "wav2vec2", tmp_path, head=head)
        assert again.losses[0] == live.losses[0]
        tolerance = 1e-4 if precision == "fp32" else 2e-2
        np.testing.assert_allclose(again.losses, live.losses, rtol=tolerance)
