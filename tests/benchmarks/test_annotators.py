"""What thirty thousand annotators cost: a training step, its memory, and a plain loop over them.

pytest tests/benchmarks/test_annotators.py --benchmark-enable --benchmark-only -s
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from serbench.harness import heads, strategy
from serbench.harness.audio import Audio
from serbench.harness.backbone import SAMPLE_RATE_HZ, load, locate
from serbench.harness.batches import Indices
from serbench.harness.cache import StateCache
from serbench.harness.heads import Known
from serbench.harness.heads.annotators import Layer
from serbench.harness.meter import Meter
from serbench.harness.plan import Training
from serbench.harness.stages import Stages
from serbench.harness.targets import Ratings, batch
from serbench.harness.trainer import Data, Trainer

ANNOTATORS = 30_000
FEW = 300
"""Where nothing is timed: a map for each of all takes long to make."""
UTTERANCES, SECONDS, BATCH, RATERS = 16, 4, 8, 5
ROUNDS = 7
CPU = torch.device("cpu")


def median_s(*ways: Callable[[], object]) -> list[float]:
    """Median seconds of each, in interleaved rounds after one that is not counted."""
    took: list[list[float]] = [[] for _ in ways]
    for round_ in range(ROUNDS + 1):
        for way, seconds in zip(ways, took, strict=True):
            start = time.perf_counter()
            way()
            if round_:
                seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in took]


def noise() -> Data:
    rng = np.random.default_rng(0)
    samples = np.full(UTTERANCES, SECONDS * SAMPLE_RATE_HZ)
    waves = rng.normal(0, 0.1, (UTTERANCES, int(samples[0]))).astype(np.float32)
    labels = rng.uniform(-1, 1, (UTTERANCES, 2)).astype(np.float32)
    who = rng.integers(0, ANNOTATORS, UTTERANCES * RATERS)
    ratings = Ratings(
        starts=RATERS * np.arange(UTTERANCES + 1),
        annotator=who,
        person=who,
        values=rng.uniform(-1, 1, (len(who), 2)).astype(np.float32),
        annotators=tuple(f"a{i:05d}" for i in range(ANNOTATORS)),
        people=tuple(f"a{i:05d}" for i in range(ANNOTATORS)),
        plane=(0, 1),
    )
    every: Indices = np.arange(UTTERANCES)
    return Data(
        Audio(lambda indices: [waves[i] for i in indices], samples),
        labels,
        {"train": every},
        ratings,
        ratings.distributions(every),
    )


def trainer(head: str, folder: Path) -> Trainer:
    """Of the last three layers of the base geometry, from a cache: the cheapest step there is."""
    strategy.discover()
    encoder = load(locate("wav2vec2-base", "random"))
    encoder.total_steps = 10_000
    variant = strategy.parse("top-layers:layers=3+cache")
    torch.manual_seed(0)
    variant.strategy.adapt(encoder)
    data = noise()
    width = encoder.model.config.hidden_size
    known = Known(hidden_size=width, dimensions=("activation", "valence"), annotators=ANNOTATORS)

    def open_cache(depth: int, width: int) -> StateCache:
        frames = Stages(encoder).frames(torch.from_numpy(data.audio.samples)).tolist()
        return StateCache(folder, {"depth": str(depth)}, frames, width, "float32")

    return Trainer(
        encoder,
        heads.build(head, known),
        data,
        variant=variant,
        training=Training(epochs=1, batch_size=BATCH),
        seed=0,
        device=CPU,
        meter=Meter(CPU, lambda _: None),
        open_cache=open_cache,
        progress=lambda _: None,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "head", ["annotators:tasks=1", "annotators:tasks=1+3", "annotators-onehot"]
)
def test_a_step_costs_little_more_than_with_a_consensus(
    benchmark: BenchmarkFixture, tmp_path: Path, head: str
) -> None:
    if not benchmark.enabled:
        pytest.skip("measures: --benchmark-enable")
    plain, many = trainer("consensus", tmp_path / "plain"), trainer(head, tmp_path / "many")
    for learner in (plain, many):
        learner.fit(None)
    one, other = benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: median_s(lambda: plain._train_epoch(0), lambda: many._train_epoch(0)), rounds=1
    )
    print(f"\n{head}, {ANNOTATORS:,} annotators: step {other / one:.3f} of the consensus head's")
    benchmark.extra_info["ratio"] = other / one


def test_collating_a_batch(benchmark: BenchmarkFixture) -> None:
    data = noise()
    assert data.ratings is not None
    first: Indices = np.arange(BATCH)
    targets = benchmark(batch, first, data.labels, data.ratings, data.distributions)
    assert len(targets.annotator) == BATCH * RATERS


def test_memory_grows_by_the_parameters_and_nothing_else(tmp_path: Path) -> None:
    """Weights, gradients and AdamW's two moments: four times the head's own bytes."""
    plain = trainer("consensus", tmp_path / "plain")
    many = trainer("annotators:tasks=1", tmp_path / "many")
    for learner in (plain, many):
        learner._follow_strategy()
    a, b = plain.footprint, many.footprint
    own = [sum(4 * p.numel() for p in learner.head.parameters()) for learner in (plain, many)]
    more = own[1] - own[0]
    assert more > 4 * ANNOTATORS * 2 * 64
    assert b.weight_bytes is not None
    assert a.weight_bytes is not None
    assert b.weight_bytes - a.weight_bytes == more
    assert b.gradient_bytes is not None
    assert a.gradient_bytes is not None
    assert b.gradient_bytes - a.gradient_bytes == more
    assert b.saved_activation_bytes is not None
    assert a.saved_activation_bytes is not None
    assert b.saved_activation_bytes - a.saved_activation_bytes < 1e6


class OneByOne:
    """What one would write first: a linear map for each annotator and dimension, in turn."""

    def __init__(self, layer: Layer) -> None:
        self.maps: list[list[nn.Linear]] = []
        for weights, biases in zip(layer.weight.detach(), layer.bias.detach(), strict=True):
            of_dimension = []
            for weight, bias in zip(weights, biases, strict=True):
                linear = nn.utils.skip_init(nn.Linear, len(weight), 1)
                linear.weight.data, linear.bias.data = weight[None].clone(), bias[None].clone()
                of_dimension.append(linear)
            self.maps.append(of_dimension)

    def __call__(self, inputs: Tensor, utterance: Tensor, annotator: Tensor) -> Tensor:
        said = torch.empty(len(annotator), len(inputs))
        for a in annotator.unique().tolist():
            rows = (annotator == a).nonzero()[:, 0]
            for d, of_dimension in enumerate(self.maps):
                said[rows, d] = of_dimension[a](inputs[d, utterance[rows]])[:, 0]
        return said


def spoken(annotators: int) -> tuple[Layer, tuple[Tensor, Tensor, Tensor]]:
    """A layer of so many annotators, and a batch for it."""
    torch.manual_seed(0)
    utterance = torch.arange(32).repeat_interleave(RATERS)
    annotator = torch.randint(annotators, (len(utterance),))
    layer = Layer(annotators, 2, 64, shared=False)
    return layer, (torch.randn(2, 32, 64), utterance, annotator)


def test_all_at_once_says_what_one_by_one_says() -> None:
    layer, batch = spoken(FEW)
    torch.testing.assert_close(OneByOne(layer)(*batch), layer(*batch))


@pytest.mark.slow
def test_all_at_once_is_faster_than_one_by_one(benchmark: BenchmarkFixture) -> None:
    if not benchmark.enabled:
        pytest.skip("measures: --benchmark-enable")
    layer, batch = spoken(ANNOTATORS)

    ways: tuple[Callable[..., Tensor], ...] = layer, OneByOne(layer)

    def learning(way: Callable[..., Tensor]) -> None:
        way(*batch).sum().backward()

    forward = benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: median_s(*(functools.partial(way, *batch) for way in ways)), rounds=1
    )
    whole = median_s(*(functools.partial(learning, way) for way in ways))
    for name, (fast, slow) in (("forward", forward), ("forward and backward", whole)):
        times = f"{1e3 * fast:.2f} ms at once, {1e3 * slow:.1f} ms in a loop, ×{slow / fast:.0f}"
        print(f"\n{name}: {times}")
