"""What the harness takes around a bare loop of the same step: batches, clocks, clipping, schedule.

pytest tests/benchmarks/test_harness_overhead.py --benchmark-enable --benchmark-only -s

Epochs of both alternate, of four batches of 8 x 4 s. The bundled encoder's steps are so short that
what is around them shows.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from serbench.harness import heads, strategy
from serbench.harness.audio import Audio
from serbench.harness.backbone import SAMPLE_RATE_HZ, load, locate
from serbench.harness.cache import StateCache
from serbench.harness.heads import Known
from serbench.harness.meter import Meter
from serbench.harness.plan import Training
from serbench.harness.prefix import Raw
from serbench.harness.stages import Stages
from serbench.harness.trainer import Data, Trainer

CPU = torch.device("cpu")
UTTERANCES, BATCH = 32, 8
SECONDS = 4
SHORT_SECONDS = 0.5
"""Where nothing is timed."""
ROUNDS = {"tiny": 15, "wav2vec2-base": 5}


@pytest.mark.parametrize("label", ["full", "top-layers:layers=3+cache"])
@pytest.mark.parametrize("encoder", ROUNDS)
def test_an_epoch(encoder: str, label: str, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """The harness's epoch is timed, and a bare one before each."""
    if benchmark.disabled and encoder != "tiny":
        pytest.skip("minutes, where nothing is to be timed")
    seconds = SHORT_SECONDS if benchmark.disabled else SECONDS
    learner = trainer(encoder, label, tmp_path, seconds)
    learner.fit(None)
    batches = [learner._prefix.fetch(indices) for indices in in_order()]
    bare: list[float] = []

    def bare_epoch() -> None:
        start = time.perf_counter()
        train_bare(learner, batches)
        bare.append(time.perf_counter() - start)

    benchmark.group = encoder
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        learner._train_epoch, args=(1,), setup=bare_epoch, rounds=ROUNDS[encoder]
    )
    if benchmark.stats is not None:
        ratio = benchmark.stats.stats.median / statistics.median(bare)
        benchmark.extra_info["harness / bare"] = round(ratio, 4)
        print(f"\n{encoder}, {label}: harness / bare loop {ratio:.4f}")


def trainer(name: str, label: str, folder: Path, seconds: float) -> Trainer:
    """A trainer over noise, so many seconds of it an utterance."""
    strategy.discover()
    variant = strategy.parse(label)
    encoder = load(locate(name, "pretrained" if name == "tiny" else "random"))
    encoder.total_steps = 10_000
    variant.strategy.adapt(encoder)
    samples = np.full(UTTERANCES, round(seconds * SAMPLE_RATE_HZ))
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 0.1, (UTTERANCES, int(samples[0]))).astype(np.float32)
    labels = rng.uniform(-1, 1, (UTTERANCES, 2)).astype(np.float32)

    width = encoder.model.config.hidden_size
    known = Known(hidden_size=width, dimensions=("activation", "valence"))

    def open_cache(depth: int, width: int) -> StateCache:
        frames = Stages(encoder).frames(torch.from_numpy(samples)).tolist()
        return StateCache(folder, {"depth": str(depth)}, frames, width, "float32")

    return Trainer(
        encoder,
        heads.build("consensus", known),
        Data(Audio(waves.__getitem__, samples), labels, {"train": np.arange(UTTERANCES)}),
        variant=variant,
        training=Training(epochs=1, batch_size=BATCH),
        seed=0,
        device=CPU,
        meter=Meter(CPU, lambda _: None),
        open_cache=open_cache,
        progress=lambda _: None,
    )


def in_order() -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """The batches of a bare loop."""
    return list(np.arange(UTTERANCES).reshape(-1, BATCH))


def train_bare(learner: Trainer, batches: list[Raw]) -> None:
    """What one would write by hand: everything is at hand, nothing is looked after."""
    optimizer, head = learner._optimizer, learner.head
    assert optimizer is not None
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    learner._ready_to_train()
    losses: list[Tensor] = []
    for indices, raw in zip(in_order(), batches, strict=True):
        entering = learner._prefix.enter(indices, raw, 0.0, keep=False)
        stages, depth = learner.stages, learner._prefix.depth
        hidden = stages.output(stages.run(entering.states, entering.frames, depth))
        targets = learner.data.targets(indices)
        loss = head.loss(hidden, entering.frames, targets, head.turns[0])
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    torch.stack(losses).mean().item()
