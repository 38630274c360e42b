"""The only training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from serbench.harness.audio import Audio
from serbench.harness.backbone import SAMPLE_RATE_HZ, Backbone
from serbench.harness.batches import Indices, batches_by_length, ordered_batches, prefetched
from serbench.harness.cache import StateCache
from serbench.harness.dropout import lighten
from serbench.harness.errors import CacheError, StrategyError
from serbench.harness.footprint import Cost, Step, bytes_of, fitted, observed
from serbench.harness.heads.base import Answer, Head
from serbench.harness.meter import Gauge, Meter
from serbench.harness.metrics import ccc
from serbench.harness.plan import Training
from serbench.harness.prefix import Entering, Prefix, autocast
from serbench.harness.results import Footprint, Phase, PhaseName, Progress
from serbench.harness.stages import Stages
from serbench.harness.strategy import Variant
from serbench.harness.targets import Ratings, Targets, batch

__all__ = ["Data", "Evaluation", "Trainer"]

MOMENTUM = 0.9
"""As in Tavernor et al. (2024), arXiv:2408.11956."""
PLATEAU_DECAY = 0.1
"""What they leave open: the default of PyTorch's own plateau schedule."""

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Data:
    """Audio, labels (N, D) in [-1, 1] with NaN where there is none, and each split's indices.

    `distributions` (N, CELLS, CELLS) are those of the ratings, where a head learns from them.
    """

    audio: Audio
    labels: npt.NDArray[np.float32]
    splits: dict[Split, Indices]
    ratings: Ratings | None = None
    distributions: npt.NDArray[np.float32] | None = None

    def targets(self, indices: Indices) -> Targets:
        """What is known of a batch."""
        ratings = self.ratings or Ratings.none(*self.labels.shape)
        return batch(indices, self.labels, ratings, self.distributions)


@dataclass(frozen=True)
class Evaluation:
    """Predictions (M, D) for the utterances `indices` (M,), and the CCC of each dimension.

    `answers` are all that the head has to say, a batch each, in the same order.
    """

    indices: Indices
    predicted: npt.NDArray[np.float32]
    ccc: tuple[float, ...]
    answers: tuple[Answer, ...] = ()

    @property
    def mean(self) -> float:
        """Mean CCC over the dimensions that have one; model selection goes by it."""
        known = [value for value in self.ccc if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan


class Trainer:
    """Trains a backbone that a strategy has adapted, and a head.

    Args:
        backbone: after `variant.strategy.adapt`.
        head: on the same device.
        data: utterances and labels.
        variant: strategy, precision, and whether the frozen prefix is cached.
        training: what is the same for all strategies.
        seed: fixes the batches' composition and order.
        device: where to compute.
        meter: clocks the phases.
        open_cache: gives the cache of a depth and width.
        progress: told how far the present phase is.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        data: Data,
        *,
        variant: Variant,
        training: Training,
        seed: int,
        device: torch.device,
        meter: Meter,
        open_cache: Callable[[int, int], StateCache],
        progress: Callable[[Progress], None],
    ) -> None:
        self.backbone, self.head, self.data = backbone, head, data
        self.variant, self.training, self.seed = variant, training, seed
        self.device, self.meter = device, meter
        if device.type == "cpu":
            lighten(backbone.model, seed)
        self.stages = Stages(backbone)
        self.best_epoch: int | None = None
        self._open_cache, self._progress = open_cache, progress
        self._scaler = torch.amp.GradScaler(device.type, enabled=variant.precision == "fp16")
        self._optimizer: torch.optim.Optimizer | None = None
        self._learning: frozenset[str] = frozenset()
        self._ever_learning: dict[str, nn.Parameter] = {}
        self._step = self._plateaus = 0
        self._best: dict[str, Tensor] = {}
        self._unproven = True
        self._validates = False
        self._written_bytes = 0
        self._costs: list[Cost] = []
        self._cost_of: dict[tuple[str, ...], Cost] = {}
        self._seen_turns: tuple[tuple[str, ...], ...] = ()
        self._gradient_bytes = 0
        self._prefix = self._enter_depth(self.stages.frozen_depth())

    @property
    def filled_cache(self) -> bool:
        """Whether this run itself has put all that it reads from its last cache into caches."""
        cache = self._prefix.cache
        if cache is None:
            return False
        read: list[Split] = ["train", "validation"] if self._validates else ["train"]
        needed = cache.bytes_of(np.concatenate([self.data.splits[split] for split in read]))
        return self._written_bytes + self._prefix.written_bytes >= needed

    @property
    def cache_bytes(self) -> int | None:
        """What the cache in use takes on disk."""
        return self._prefix.cache.bytes if self._prefix.cache else None

    @property
    def footprint(self) -> Footprint:
        """Bytes and operations of a step, the largest of all tasks and sets of trained parameters.

        The optimiser's state is that of the end, when it is largest.
        """
        assert self._optimizer is not None
        states = (s for state in self._optimizer.state.values() for s in state.values())
        usual = int(np.median(self.data.audio.samples[self.data.splits["train"]]))
        batch = self.training.batch_size, int(self.stages.frames(torch.tensor(usual)))
        return Footprint(
            weight_bytes=bytes_of(self._weights()),
            gradient_bytes=self._gradient_bytes,
            optimizer_bytes=bytes_of(s for s in states if isinstance(s, Tensor)),
            saved_activation_bytes=max(c.saved_activation_bytes(*batch) for c in self._costs),
            flops_per_step=max(cost.flops(*batch) for cost in self._costs),
            step_utterances=self.training.batch_size,
            step_audio_s=self.training.batch_size * usual / SAMPLE_RATE_HZ,
        )

    def fit(self, on_validation: Callable[[int, Evaluation], None] | None) -> None:
        """Train, keep the state of the best validation CCC, and stop when it is long past.

        Args:
            on_validation: told each epoch's validation; None trains without validating.
        """
        best = -math.inf
        self._validates = on_validation is not None
        for epoch in range(self.training.epochs):
            self.variant.strategy.on_epoch_start(self.backbone, epoch)
            self.head.begin_epoch(epoch)
            self._follow_strategy()
            self._train_epoch(epoch)
            if on_validation is None:
                continue
            evaluation = self._evaluate(self.data, "validation", "validate", epoch)
            on_validation(epoch, evaluation)
            if evaluation.mean > best:
                best, self.best_epoch = evaluation.mean, epoch
                self._best = _copied(self._ever_learning)
                continue
            since = epoch - (self.best_epoch or 0)
            if since >= self.training.patience:
                break
            if since % max(1, self.training.patience // 2) == 0:
                self._plateaus += 1
        self._restore_best()

    def test(self) -> Evaluation:
        """Evaluate the selected model, once."""
        return self._evaluate(self.data, "test", "test", None)

    def test_elsewhere(self, data: Data) -> Evaluation:
        """Evaluate the selected model on the test split of a corpus that it was not trained on.

        Args:
            data: its labels are of the same dimensions; NaN where it has none.
        """
        own, self._prefix = self._prefix, self._prefix.elsewhere(data.audio)
        try:
            return self._evaluate(data, "test", "elsewhere", None)
        finally:
            self._prefix = own

    @torch.no_grad()
    def everybody_elsewhere(self, data: Data, indices: Indices) -> Iterator[tuple[Indices, Tensor]]:
        """What each annotator would say of utterances of such a corpus.

        Yields:
            utterances of a batch, and the predictions (B, A, D); nothing from a head that predicts
            no single annotators
        """
        own, self._prefix = self._prefix, self._prefix.elsewhere(data.audio)
        self._ready_to_evaluate()
        batches = ordered_batches(data.audio.samples[indices], self.training.batch_size)
        chosen = [indices[batch] for batch in batches]
        try:
            with self._clocked("elsewhere", None) as gauge:
                entering = self._entering(chosen, gauge, "elsewhere", None)
                for batch, each in zip(chosen, entering, strict=True):
                    said = self.head.everybody(*self._encode(each))
                    if said is not None:
                        yield batch, said
        finally:
            self._prefix = own

    def close(self) -> None:
        """Let go of the cache."""
        self._prefix.close()

    def learned(self) -> frozenset[str]:
        """Names of the parameters that have been trainable at any time."""
        return frozenset(self._ever_learning)

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self.backbone.trainable()
        yield from ((f"head.{n}", p) for n, p in self.head.named_parameters() if p.requires_grad)

    def _follow_strategy(self) -> None:
        """Rebuild the optimiser and the prefix if the strategy changed what trains.

        Look at the steps anew if it did, or if the head changed its tasks.
        """
        named = dict(self._named())
        if frozenset(named) == self._learning:
            if self.head.turns != self._seen_turns:
                self._look()
            return
        self._learning = frozenset(named)
        joining = {n: p for n, p in named.items() if n not in self._ever_learning}
        if self.best_epoch is not None:
            # Until now they were what they were in the best epoch.
            self._best.update(_copied(joining))
        self._ever_learning.update(joining)
        self._optimizer = self._build_optimizer(self._optimizer)
        self._unproven = True
        depth = self.stages.frozen_depth()
        if depth != self._prefix.depth:
            former, self._prefix = self._prefix, self._enter_depth(depth)
            self._written_bytes += former.written_bytes
            former.close()
        self._look()

    def _look(self) -> None:
        """Find out what steps take, in small ones that are neither timed nor learnt from."""
        self._ready_to_train()
        buffers = {name: value.clone() for name, value in self.backbone.model.named_buffers()}
        self._seen_turns = self.head.turns
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            self._cost_of = {tasks: self._cost(tasks) for tasks in dict.fromkeys(self._seen_turns)}
        self._costs.extend(self._cost_of.values())
        for name, buffer in self.backbone.model.named_buffers():
            buffer.copy_(buffers[name])

    def _cost(self, tasks: Sequence[str]) -> Cost:
        """Of a step that learns these tasks; its gradients are measured and thrown away."""
        cost = fitted(lambda utterances, frames: self._observed(utterances, frames, tasks))
        parameters = [p for _, p in self._named()]
        gradients = [p.grad for p in parameters if p.grad is not None]
        self._gradient_bytes = max(self._gradient_bytes, bytes_of(gradients))
        for parameter in parameters:
            parameter.grad = None
        return cost

    def _observed(self, utterances: int, frames: int, tasks: Sequence[str]) -> Step:
        ratings = self.data.ratings
        targets = Targets.imagined(
            utterances, self.data.labels.shape[1], len(ratings.annotators) if ratings else 0
        ).to(self.device)

        def forward() -> Tensor:
            entering = self._prefix.imagined(utterances, frames)
            hidden, lengths = self._encode(entering)
            return self._loss(self.head.loss(hidden, lengths, targets, tasks))

        return observed(forward, self._weights())

    def _weights(self) -> Iterator[Tensor]:
        yield from (p for p in self.backbone.model.parameters())
        yield from self.backbone.model.buffers()
        yield from self.head.parameters()
        if self.backbone.layer_weights is not None:
            yield self.backbone.layer_weights

    def _enter_depth(self, depth: int) -> Prefix:
        cache = None
        if self.variant.cached:
            if depth == 0:
                raise CacheError(
                    f"{self.variant.label}: the first stage is trainable, so there is nothing "
                    "frozen to cache; run it without +cache"
                )
            cache = self._open_cache(depth, self.stages.width(depth))
        return Prefix(
            self.stages,
            depth,
            self.data.audio,
            device=self.device,
            precision=self.variant.precision,
            cache=cache,
        )

    def _build_optimizer(self, former: torch.optim.Optimizer | None) -> torch.optim.Optimizer:
        strategy = self.variant.strategy
        lr = strategy.lr * self.training.lr_scale
        groups = strategy.param_groups(self.backbone.model, lr)
        if self.backbone.layer_weights is not None:
            groups.append({"params": [self.backbone.layer_weights], "lr": lr})
        groups.append({"params": list(self.head.parameters()), "lr": self.training.head_lr})
        groups = [group for group in groups if group["params"]]
        decay = self.training.weight_decay
        optimizer: torch.optim.Optimizer
        if self.training.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, momentum=MOMENTUM, weight_decay=decay, fused=True)
        else:
            optimizer = torch.optim.AdamW(groups, weight_decay=decay, fused=True)
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
        if former is not None:
            kept = {p for group in optimizer.param_groups for p in group["params"]}
            optimizer.state.update({p: s for p, s in former.state.items() if p in kept})
        return optimizer

    def _train_epoch(self, epoch: int) -> None:
        indices = self.data.splits["train"]
        batches = [
            indices[chosen]
            for chosen in batches_by_length(
                self.data.audio.samples[indices],
                self.training.batch_size,
                self.seed,
                epoch,
            )
        ]
        self._ready_to_train()
        losses: list[Tensor] = []
        flops = self._flops(batches)
        with self._clocked("train", epoch) as gauge:
            gauge.flops = flops
            for position, entering in enumerate(self._entering(batches, gauge, "train", epoch)):
                targets = self.data.targets(batches[position]).to(self.device)
                last = position == len(batches) - 1
                apply = last or (position + 1) % self.training.accumulate == 0
                for tasks in self.head.turns:
                    loss = self.head.loss(*self._encode(entering), targets, tasks)
                    losses.append(loss.detach())
                    self._learn(loss, apply=apply)
            gauge.loss = float(torch.stack(losses).mean())
        if not math.isfinite(gauge.loss):
            raise StrategyError(f"the training loss of epoch {epoch} is {gauge.loss}")

    def _flops(self, batches: list[Indices]) -> float:
        longest = torch.tensor([self.data.audio.samples[batch].max() for batch in batches])
        frames = self.stages.frames(longest).tolist()
        costs = [self._cost_of[tasks] for tasks in self.head.turns]
        sizes = zip(map(len, batches), frames, strict=True)
        return sum(cost.flops(*size) for size in sizes for cost in costs)

    def _ready_to_train(self) -> None:
        self.stages.set_training(self._prefix.depth)
        self.head.train()

    def _ready_to_evaluate(self) -> None:
        self.stages.set_training(len(self.stages))
        self.head.eval()

    def _loss(self, loss: Tensor) -> Tensor:
        penalty = self.variant.strategy.penalty(self.backbone)
        return loss if penalty is None else loss + penalty

    def _learn(self, loss: Tensor, apply: bool) -> None:
        assert self._optimizer is not None
        self._scaler.scale(self._loss(loss) / self.training.accumulate).backward()
        if not apply:
            return
        self._scaler.unscale_(self._optimizer)
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        if self._unproven:
            self._require_gradients()
            self._unproven = False
        nn.utils.clip_grad_norm_(parameters, self.training.clip_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak_lr"] * self._rate()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._scaler.is_enabled():
            # Where the scaler left the step out, a hook would take in what overflowed.
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
        self.variant.strategy.after_step(self.backbone, self._step)
        self._optimizer.zero_grad()
        self._step += 1

    def _rate(self) -> float:
        """Share of the peak learning rate, as `Training.schedule` says."""
        if self.training.schedule == "plateau":
            return PLATEAU_DECAY**self._plateaus
        total = self.backbone.total_steps
        rise = max(1, round(total * self.training.warmup))
        if self._step < rise:
            return (self._step + 1) / rise
        return max(0.0, (total - self._step) / max(1, total - rise))

    def _require_gradients(self) -> None:
        named = dict(self.backbone.trainable())
        idle = [name for name, parameter in named.items() if parameter.grad is None]
        if idle:
            raise StrategyError(
                f"{self.variant.label}: {len(idle)} of its {len(named)} trainable tensors (such as "
                f"{idle[0]}) take no part in the prediction"
            )

    def _encode(self, entering: Entering) -> tuple[Tensor, Tensor]:
        """States (B, T, H) for the head, and their valid frames (B,)."""
        states, frames = entering.states, entering.frames
        with autocast(self.device, self.variant.precision):
            start = max(self._prefix.depth, 1)
            if self._prefix.depth == 0:
                states, frames = self.stages.convolve(states, frames), self.stages.frames(frames)
            return self.stages.output(self.stages.run(states, frames, start)), frames

    @torch.no_grad()
    def _evaluate(
        self, data: Data, split: Split, phase: PhaseName, epoch: int | None
    ) -> Evaluation:
        indices = data.splits[split]
        samples = data.audio.samples[indices]
        batches = [indices[b] for b in ordered_batches(samples, self.training.batch_size)]
        self._ready_to_evaluate()
        with self._clocked(phase, epoch) as gauge:
            answers = [
                self._answer(data.targets(each), entering, whole=phase != "validate")
                for each, entering in zip(
                    batches, self._entering(batches, gauge, phase, epoch), strict=True
                )
            ]
            predicted = torch.cat([answer.labels for answer in answers]).float().cpu().numpy()
        columns = np.array(self.head.predicts or (True,) * predicted.shape[1])
        if not np.isfinite(predicted[:, columns]).all():
            raise StrategyError(f"{self.variant.label}: predictions are no numbers: it diverged")
        order = np.concatenate(batches)
        truth = data.labels[order]
        scores = tuple(ccc(truth[:, d], predicted[:, d]) for d in range(truth.shape[1]))
        return Evaluation(order, predicted, scores, tuple(answers))

    def _answer(self, targets: Targets, entering: Entering, *, whole: bool) -> Answer:
        """What the head says of a batch; `whole` for more than the labels."""
        hidden, lengths = self._encode(entering)
        if not whole:
            return Answer(labels=self.head(hidden, lengths))
        return self.head.answer(hidden, lengths, targets.to(self.device))

    def _clocked(self, phase: PhaseName, epoch: int | None) -> Any:
        return self.meter.phase(phase, epoch, cold=epoch == 0)

    def _entering(
        self, batches: list[Indices], gauge: Gauge, phase: PhaseName, epoch: int | None
    ) -> Iterator[Entering]:
        """States of each batch in turn; what filling the cache took becomes a phase of its own."""
        before = self._prefix.fill_s
        for position, fetched in enumerate(prefetched(batches, self._prefix.fetch)):
            # The test split is read once, so keeping its states would pay for nobody.
            filling = self._prefix.fill_s
            keep = phase in ("train", "validate")
            entering = self._prefix.enter(fetched.indices, fetched.data, fetched.wait_s, keep=keep)
            if self._prefix.fill_s == filling:
                gauge.data_wait_s += fetched.wait_s
            audio_s, padded_audio_s = self._prefix.audio.seconds(fetched.indices)
            gauge.audio_s += audio_s
            gauge.padded_audio_s += padded_audio_s
            gauge.steps += 1
            yield entering
            self._progress(
                Progress(phase=phase, epoch=epoch or 0, done=position + 1, total=len(batches))
            )
        fill_s = self._prefix.fill_s - before
        if fill_s:
            gauge.aside_s += fill_s
            self.meter.emit(Phase(phase="cache_fill", epoch=epoch, wall_s=fill_s))

    def _restore_best(self) -> None:
        with torch.no_grad():
            for name, value in self._best.items():
                self._ever_learning[name].copy_(value)


def _copied(parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Copies in host memory, so that keeping the best epoch costs the device nothing."""
    return {n: p.detach().to("cpu", copy=True) for n, p in parameters.items()}
