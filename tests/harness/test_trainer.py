"""The training loop: what it optimises, when it stops, what it keeps, and cached against live."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from serbench.harness import heads, strategy
from serbench.harness.backbone import Backbone
from serbench.harness.cache import StateCache
from serbench.harness.contract import KNOWN, encoder, learn, sounds
from serbench.harness.convolutions import FrozenConvolutions
from serbench.harness.errors import CacheError, StrategyError
from serbench.harness.footprint import observed
from serbench.harness.meter import Meter
from serbench.harness.plan import Training
from serbench.harness.prefix import Raw
from serbench.harness.results import Footprint, Phase
from serbench.harness.strategy import Strategy, Variant
from serbench.harness.targets import Targets
from serbench.harness.trainer import Evaluation, Trainer

CPU = torch.device("cpu")


def trainer(
    variant: str | Variant,
    phases: list[Phase] | None = None,
    dropout: float | None = None,
    head: str = "consensus",
    **training: Any,
) -> Trainer:
    """A trainer over ten short sounds, without a cache; `dropout` replaces every probability."""
    strategy.discover()
    chosen = strategy.parse(variant) if isinstance(variant, str) else variant
    settings = Training(**{"epochs": 2, "batch_size": 3, **training})
    backbone = encoder("wav2vec2")
    backbone.total_steps = settings.epochs * math.ceil(2 / settings.accumulate)
    torch.manual_seed(0)
    chosen.strategy.adapt(backbone)
    if dropout is not None:
        set_dropout(backbone.model, dropout)

    def no_cache(depth: int, width: int) -> StateCache:
        raise AssertionError("a live run opens no cache")

    return Trainer(
        backbone,
        heads.build(head, KNOWN),
        sounds(),
        variant=chosen,
        training=settings,
        seed=0,
        device=CPU,
        meter=Meter(CPU, (phases if phases is not None else []).append),
        open_cache=no_cache,
        progress=lambda _: None,
    )


def set_dropout(model: Any, p: float) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = p
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = p


def losses(phases: list[Phase]) -> list[float]:
    return [p.loss for p in phases if p.phase == "train" and p.loss is not None]


@pytest.mark.parametrize("label", ["full", "lora", "top-layers:layers=1", "bottleneck", "frozen"])
def test_training_brings_the_loss_down(label: str) -> None:
    phases: list[Phase] = []
    trainer(label, phases, epochs=30, batch_size=6, head_lr=1e-2).fit(lambda *_: None)
    assert losses(phases)[-1] < 0.7 * losses(phases)[0], losses(phases)


def test_full_finetuning_can_learn_the_training_set_by_heart() -> None:
    learner = trainer("full:lr=0.002", epochs=60, batch_size=6, head_lr=1e-2)
    learner.fit(None)
    learner.data.splits["test"] = learner.data.splits["train"]
    assert learner.test().mean > 0.9


def test_phases_count_what_went_through() -> None:
    phases: list[Phase] = []
    learner = trainer("frozen", phases)
    learner.fit(lambda *_: None)
    seconds = learner.data.audio.samples[learner.data.splits["train"]].sum() / 16_000
    train = [p for p in phases if p.phase == "train"]
    assert [(p.epoch, p.cold, p.steps) for p in train] == [(0, True, 2), (1, False, 2)]
    for phase in train:
        assert phase.audio_s == pytest.approx(seconds)
        assert phase.padded_audio_s is not None
        assert phase.padded_audio_s >= seconds
        assert phase.data_wait_s is not None
        assert 0 <= phase.data_wait_s <= phase.wall_s


@pytest.mark.parametrize("cached", [False, True])
def test_a_cached_runs_fill_is_a_phase_of_its_own(cached: bool, tmp_path: Path) -> None:
    strategy.discover()
    variant = Variant("frozen", strategy.find("frozen").cls(), cached=cached)
    for expected in ([0, 0] if cached else [], []):
        phases: list[Phase] = []
        learnt = learn(variant, "wav2vec2", tmp_path, on_phase=phases.append)
        filled = [p.epoch for p in phases if p.phase == "cache_fill"]
        assert filled == expected, "once for training and once for validation, and never again"
        assert all(math.isfinite(loss) for loss in learnt.losses)


@pytest.mark.parametrize("label", ["full", "frozen", "lora", "top-layers:layers=1+bf16"])
def test_the_footprint_is_that_of_what_learns(label: str) -> None:
    learner = trainer(label)
    learner.fit(None)
    found, head = learner.footprint, sum(p.numel() for p in learner.head.parameters())
    learning = sum(p.numel() for _, p in learner.backbone.trainable()) + head
    every = sum(p.numel() for p in learner.backbone.model.parameters()) + head
    assert found.weight_bytes == 4 * every
    assert found.gradient_bytes == 4 * learning
    assert found.optimizer_bytes is not None
    tensors = len(dict(learner._named()))
    assert found.optimizer_bytes == 2 * 4 * learning + 4 * tensors, "two moments and a step count"
    assert found.flops_per_step is not None
    assert found.flops_per_step > 0


def test_operations_grow_with_padded_audio() -> None:
    phases: list[Phase] = []
    learner = trainer("full", phases)
    learner.fit(None)
    found = learner.footprint
    assert found.flops_per_step
    assert found.step_audio_s
    for phase in (p for p in phases if p.phase == "train"):
        assert phase.padded_audio_s
        expected = found.flops_per_step * phase.padded_audio_s / found.step_audio_s
        assert phase.flops == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("label", ["full", "top-layers:layers=1", "lora", "dora", "weighted-sum"])
def test_the_cost_of_small_steps_tells_that_of_large_ones(label: str) -> None:
    """Exactly, although some of it grows with the square of the length, and some not at all."""
    learner = trainer(label, batch_size=6)
    learner.fit(None)
    (cost,) = learner._costs
    samples = learner.stages.samples(torch.full((5,), 90))
    batch = torch.randn(5, int(samples[0]))

    def forward() -> torch.Tensor:
        raw = Raw(batch, samples, cached=False)
        entering = learner._prefix.enter(np.arange(5), raw, 0.0, keep=False)
        targets = Targets.imagined(5, 2, 0)
        loss = learner.head.loss(*learner._encode(entering), targets, learner.head.turns[0])
        return learner._loss(loss)

    learner._ready_to_train()
    large = observed(forward, learner._weights())
    assert cost.flops(5, 90) == pytest.approx(large.flops, rel=1e-9)
    # A few bytes of labels and lengths are not kept for each utterance.
    saved = cost.saved_activation_bytes(5, 90)
    assert saved == pytest.approx(large.saved_activation_bytes, rel=1e-3)


def test_what_learns_more_computes_and_saves_more() -> None:
    labels = ("frozen", "top-layers:layers=1", "full")
    found = []
    for label in labels:
        learner = trainer(label, epochs=1)
        learner.fit(None)
        found.append(learner.footprint)
    flops = [f.flops_per_step or 0 for f in found]
    saved = [f.saved_activation_bytes or 0 for f in found]
    assert flops == sorted(flops)
    assert saved == sorted(saved)
    assert len(set(flops)) == len(set(saved)) == 3


def test_looking_at_a_step_leaves_no_trace() -> None:
    """Neither in gradients, nor in buffers, nor in PyTorch's generator."""
    learner = trainer("full")
    norm = torch.nn.BatchNorm1d(KNOWN.hidden_size)
    learner.backbone.model.encoder.pos_conv_embed.batch_norm = norm
    before = [b.clone() for b in learner.backbone.model.buffers()]
    assert before
    state = torch.get_rng_state()
    learner._follow_strategy()
    assert all(p.grad is None for _, p in learner._named())
    assert torch.equal(state, torch.get_rng_state())
    for value, buffer in zip(before, learner.backbone.model.buffers(), strict=True):
        assert torch.equal(value, buffer)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("label", ["full", "top-layers:layers=1", "lora:dropout=0"])
def test_faster_kernels_keep_the_loss_curve(
    label: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the library's convolutions, dropout and attention, where dropping is too rare to be.

    A probability of 0 would leave the attention's own path out. Masks have tests of their own.
    """

    def curve() -> list[float]:
        phases: list[Phase] = []
        spec = f"{label}+bf16" if precision == "bf16" else label
        trainer(spec, phases, dropout=1e-9, epochs=8, batch_size=6).fit(None)
        return losses(phases)

    fast = curve()
    monkeypatch.setattr("serbench.harness.trainer.lighten", lambda *_: None)
    monkeypatch.setattr(FrozenConvolutions, "covers", lambda _: False)
    plain = curve()
    assert fast != plain, "both took the same path"
    np.testing.assert_allclose(fast, plain, rtol=1e-4 if precision == "fp32" else 2e-2)


class Scripted:
    """Stands in for validation, with scores that are written down beforehand."""

    def __init__(self, learner: Trainer, scores: list[float]) -> None:
        self.scores = scores
        self.seen: list[int] = []
        learner._evaluate = self.evaluate  # type: ignore[method-assign, assignment]

    def evaluate(self, data: object, split: str, phase: str, epoch: int) -> Evaluation:
        self.seen.append(epoch)
        none = np.zeros((0, 2), np.float32)
        return Evaluation(np.zeros(0, np.int64), none, (self.scores[epoch],) * 2)


def test_training_stops_when_the_best_is_long_past() -> None:
    learner = trainer("frozen", epochs=9, patience=2)
    scripted = Scripted(learner, [0.1, 0.5, 0.2, 0.3, 0.9, 0, 0, 0, 0])
    learner.fit(lambda *_: None)
    assert scripted.seen == [0, 1, 2, 3]
    assert learner.best_epoch == 1


def test_the_best_epochs_weights_are_the_ones_that_are_tested() -> None:
    kept: list[dict[str, torch.Tensor]] = []
    learner = trainer("top-layers:layers=1", epochs=3)
    Scripted(learner, [0.1, 0.5, 0.2])

    def keep(*_: object) -> None:
        kept.append({n: p.detach().clone() for n, p in learner.backbone.trainable()})

    learner.fit(keep)
    now = dict(learner.backbone.trainable())
    assert all(torch.equal(now[name], kept[1][name]) for name in now)
    assert any(not torch.equal(now[name], kept[2][name]) for name in now)


def test_what_joins_after_the_best_epoch_is_put_back_as_well() -> None:
    kept: list[dict[str, torch.Tensor]] = []
    learner = trainer("gradual:lr=0.01", epochs=3)
    Scripted(learner, [0.1, 0.5, 0.2])

    def keep(*_: object) -> None:
        kept.append({n: p.detach().clone() for n, p in learner.backbone.model.named_parameters()})

    learner.fit(keep)
    now = dict(learner.backbone.model.named_parameters())
    assert all(torch.equal(now[name], kept[1][name]) for name in now)
    changed = [name for name in now if not torch.equal(kept[2][name], kept[1][name])]
    assert any("layers.1." in name for name in changed), "nothing joined after the best epoch"


def test_the_test_split_is_not_touched_while_training() -> None:
    learner = trainer("full")
    read: set[int] = set()
    waveforms = learner.data.audio.waveforms

    def watched(indices: list[int]) -> Any:
        read.update(indices)
        return waveforms(indices)

    object.__setattr__(learner.data.audio, "waveforms", watched)
    learner.fit(lambda *_: None)
    assert read == {*learner.data.splits["train"], *learner.data.splits["validation"]}


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    learner = trainer("frozen", epochs=10, warmup=0.2)
    rates = []
    for learner._step in range(20):
        rates.append(learner._rate())
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == pytest.approx(1 / 16)


def test_the_scale_moves_the_strategys_rate_and_not_the_heads() -> None:
    learners = [trainer("weighted-sum:lr=0.01", lr_scale=scale, epochs=1) for scale in (1.0, 5.0)]
    rates = []
    for learner in learners:
        learner.fit(None)
        assert learner._optimizer is not None
        rates.append([group["peak_lr"] for group in learner._optimizer.param_groups])
    assert rates == [pytest.approx([0.01, 1e-3]), pytest.approx([0.05, 1e-3])]


def test_accumulation_makes_fewer_steps_of_the_mean_gradient() -> None:
    learner = trainer("full", epochs=3, accumulate=2)
    learner.fit(None)
    assert learner._step == 3


def test_gradual_change_rebuilds_the_optimiser_and_keeps_its_memory() -> None:
    learner = trainer("gradual", epochs=3)
    depths, kept = [], []

    def look(epoch: int, _: Evaluation) -> None:
        assert learner._optimizer is not None
        depths.append(learner._prefix.depth)
        last: Any = learner.backbone.layers[-1]
        memory = learner._optimizer.state[last.feed_forward.output_dense.weight]
        kept.append(int(memory["step"]))

    learner.fit(look)
    assert depths == [5, 4, 3]
    assert kept == [2, 4, 6]


def test_after_step_sees_the_gradients() -> None:
    seen: list[bool] = []

    @dataclass(frozen=True, kw_only=True)
    class Looking(Strategy):
        def after_step(self, backbone: Backbone, step: int) -> None:
            last: Any = backbone.layers[-1]
            seen.append(bool(last.layer_norm.weight.grad.abs().sum() > 0))

        def adapt(self, backbone: Backbone) -> None:
            pass

    trainer(Variant("looking", Looking())).fit(None)
    assert seen == [True] * 4


def test_a_penalty_counts() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Shrinking(Strategy):
        weight: float = 0.0

        def adapt(self, backbone: Backbone) -> None:
            backbone.freeze()
            backbone.layers[-1].requires_grad_(True)

        def penalty(self, backbone: Backbone) -> torch.Tensor:
            last: Any = backbone.layers[-1]
            norm: torch.Tensor = last.feed_forward.output_dense.weight.square().sum()
            return self.weight * norm

    def norm(weight: float) -> float:
        learner = trainer(Variant("shrinking", Shrinking(lr=1e-2, weight=weight)), epochs=8)
        learner.fit(None)
        last: Any = learner.backbone.layers[-1]
        return float(last.feed_forward.output_dense.weight.detach().norm())

    assert norm(10.0) < 0.9 * norm(0.0)


def test_caching_where_nothing_is_frozen_is_refused(tmp_path: Path) -> None:
    strategy.discover()
    variant = strategy.parse("full:convolutions=true+cache")
    with pytest.raises(CacheError, match="nothing frozen to cache"):
        learn(variant, "wav2vec2", tmp_path)


@pytest.mark.parametrize("label", ["full", "top-layers:layers=2", "frozen", "weighted-sum"])
def test_cached_is_live_bit_for_bit_where_batches_are_alike(label: str, tmp_path: Path) -> None:
    """With one batch an epoch, every epoch composes it of the same utterances."""
    strategy.discover()
    for precision in ("fp32", "bf16"):
        live = strategy.parse(f"{label}+{precision}")
        cached = strategy.parse(f"{label}+{precision}+cache")
        whole = learn(live, "wav2vec2", tmp_path, batch_size=6)
        for _ in ("filling", "full"):
            again = learn(cached, "wav2vec2", tmp_path, batch_size=6)
            assert again.losses == whole.losses
            np.testing.assert_array_equal(again.predicted, whole.predicted)


def test_a_coarser_cache_changes_losses_a_little_and_the_default_does_not(tmp_path: Path) -> None:
    strategy.discover()
    live = learn(strategy.parse("top-layers:layers=1"), "wav2vec2", tmp_path)
    cached = strategy.parse("top-layers:layers=1+cache")
    coarse = learn(cached, "wav2vec2", tmp_path, cache_dtype="float16")
    assert coarse.losses != live.losses
    np.testing.assert_allclose(coarse.losses, live.losses, rtol=0.02)


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    learner = trainer("full:lr=1e30", clip_norm=1e30, epochs=5)
    with pytest.raises(StrategyError, match="training loss of epoch"):
        learner.fit(None)


def test_predictions_that_are_no_numbers_are_no_result() -> None:
    learner = trainer("frozen")
    with torch.no_grad():
        next(learner.head.parameters()).fill_(float("nan"))
    with pytest.raises(StrategyError, match="diverged"):
        learner.test()


def test_on_a_plateau_the_learning_rate_falls_to_a_tenth() -> None:
    learner = trainer("frozen", epochs=9, patience=4, schedule="plateau")
    scores = [0.1, 0.5, 0.2, 0.3, 0.6, 0, 0, 0, 0]
    Scripted(learner, scores)
    rates: list[float] = []
    learner.fit(lambda *_: rates.append(learner._rate()))
    # Told before each epoch's score is looked at.
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_sgd_has_the_published_momentum() -> None:
    learner = trainer("frozen", optimizer="sgd", weight_decay=0.0)
    learner.fit(None)
    assert isinstance(learner._optimizer, torch.optim.SGD)
    assert {group["momentum"] for group in learner._optimizer.param_groups} == {0.9}
    assert learner.footprint.optimizer_bytes == 4 * sum(
        p.numel() for p in learner.head.parameters()
    )


def test_tasks_that_take_turns_make_a_step_each() -> None:
    steps = {}
    for schedule in ("summed", "interleaved"):
        phases: list[Phase] = []
        head = f"annotators:tasks=1+3,schedule={schedule}"
        learner = trainer("top-layers:layers=1", phases, head=head, batch_size=6)
        learner.fit(None)
        steps[schedule] = learner._step
        assert [p.steps for p in phases if p.phase == "train"] == [1, 1], "batches, not steps"
    assert steps == {"summed": 2, "interleaved": 4}


def looked_at(head: str) -> tuple[Footprint, list[float]]:
    """The footprint of a training, and the operations of each epoch."""
    phases: list[Phase] = []
    learner = trainer("frozen", phases, head=head, batch_size=6)
    learner.fit(None)
    return learner.footprint, [p.flops for p in phases if p.phase == "train" and p.flops]


def test_what_takes_turns_costs_the_sum_of_its_tasks_and_as_much_as_the_largest() -> None:
    """Task 3's distributions by diffkde cost more than all the rest of task 1."""
    one, three, both = (
        looked_at(f"annotators:tasks={tasks},schedule=interleaved,estimator=diffkde")
        for tasks in ("1", "3", "1+3")
    )
    assert both[1] == pytest.approx(np.add(one[1], three[1]))
    assert both[0].flops_per_step == three[0].flops_per_step
    assert both[0].saved_activation_bytes == three[0].saved_activation_bytes
    assert (three[0].saved_activation_bytes or 0) > 2 * (one[0].saved_activation_bytes or 0)


def test_a_warmup_is_no_measure_of_what_follows_it() -> None:
    tasks = "annotators:tasks=1+3,schedule=interleaved,estimator=diffkde"
    (at_once, (full, _)), (warmed, epochs) = map(looked_at, (tasks, f"{tasks},warmup=1"))
    assert warmed.gradient_bytes == at_once.gradient_bytes
    assert warmed.saved_activation_bytes == at_once.saved_activation_bytes
    assert warmed.flops_per_step == at_once.flops_per_step
    assert epochs[1] == full
    assert epochs[0] < full / 2


def test_a_warmed_up_head_changes_its_tasks_midway_and_keeps_its_best_epoch() -> None:
    learner = trainer("frozen", head="annotators:warmup=2,tasks=1", epochs=4, batch_size=6)
    Scripted(learner, [0.1, 0.9, 0.2, 0.3])
    turns = []
    learner.fit(lambda *_: turns.append(learner.head.turns))
    assert turns == [(("consensus",),)] * 2 + [(("1",),)] * 2
    weight = learner.head.get_parameter("layer.weight")
    assert (weight == 0).all(), "in the best epoch nobody had departed yet"


def test_validation_asks_for_labels_alone() -> None:
    """Predicting every annotator for each utterance would be paid for in each epoch."""
    learner = trainer("frozen", head="annotators")
    evaluations: list[Evaluation] = []
    learner.fit(lambda _, evaluation: evaluations.append(evaluation))
    assert all(a.distributions is None for e in evaluations for a in e.answers)
    assert all(a.distributions is not None for a in learner.test().answers)


def test_a_head_that_leaves_a_dimension_out_has_no_score_there() -> None:
    learner = trainer("frozen")
    forward = learner.head.forward

    def first_alone(hidden: Tensor, lengths: Tensor) -> Tensor:
        said: Tensor = forward(hidden, lengths)
        return said.masked_fill(torch.tensor([False, True]), torch.nan)

    learner.head.forward = first_alone  # type: ignore[method-assign]
    with pytest.raises(StrategyError, match="diverged"):
        learner._evaluate(learner.data, "test", "test", None)
    learner.head.predicts = (True, False)
    found = learner._evaluate(learner.data, "test", "test", None)
    assert np.isfinite(found.ccc[0])
    assert np.isnan(found.ccc[1])
