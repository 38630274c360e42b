"""What strategies cost beside the library's own `Trainer`, as ratios from interleaved rounds.

    python tests/benchmarks/against_trainer.py --rounds 3

Everything has a process of its own, and every round runs everything once, so that a drifting
machine favours nothing. The peer is what one would write without serbench: full finetuning in fp32
of `Wav2Vec2ForSequenceClassification` with frozen convolutions, on the same utterances, in batches
of 8 x 4 s as well. It skips no layer and masks no frame, as no run here does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from serbench.harness import console, corpora
from serbench.harness.backbone import GEOMETRIES
from serbench.harness.meter import Meter
from serbench.harness.metrics import size
from serbench.harness.plan import CorpusRef, Spec
from serbench.harness.request import Request, plan
from serbench.harness.results import Phase, Result
from serbench.harness.runner import Runner

__all__ = ["Round", "figures", "main"]

TRAINER = "Trainer, full"
FULL = "full"
LAYERS = "top-layers:layers=3"
SPECS = (FULL, LAYERS, f"{LAYERS}+bf16", f"{LAYERS}+cache", f"{LAYERS}+bf16+cache")
TEN = 10
"""Epochs over which a cache has to pay for its filling."""
GROWTH = 10


@dataclass(frozen=True)
class Round:
    """What one process said: its phases, its seconds as a whole and until its first word."""

    phases: tuple[Phase, ...]
    wall_s: float
    start_s: float = 0.0

    def warm(self) -> list[Phase]:
        """The training epochs after the first."""
        return [p for p in self.phases if p.phase == "train" and p.epoch]

    def peak_bytes(self) -> int:
        """Most anonymous memory in any phase."""
        return max(p.peak_host_anonymous_bytes or 0 for p in self.phases)

    def fill_s(self) -> float:
        """Seconds of cache filling."""
        return sum(p.wall_s for p in self.phases if p.phase == "cache_fill")


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--epochs", type=int, default=3, help="the first is never counted")
    arguments.add_argument("--batches", type=int, default=4, help="in an epoch, of 8 x 4 s")
    arguments.add_argument("--backbone", choices=sorted(GEOMETRIES), default="wav2vec2-base")
    arguments.add_argument("--no-growth", action="store_true", help="not with a larger corpus")
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_args(words)
    runner = Runner()
    rounds: dict[str, list[Round]] = {name: [] for name in (TRAINER, *SPECS)}
    for turn in range(asked.rounds):
        for name, told in rounds.items():
            told.append(_measured(name, asked, runner))
            line = f"round {turn + 1}: {name}: {_epoch_s([told[-1]]):.3f} s an epoch"
            print(line, file=sys.stderr, flush=True)
    found = figures(rounds)
    if not asked.no_growth:
        found["anonymous memory, corpus tenfold, cached"] = _growth(asked, runner)
    if asked.json:
        console.print_json(found)
        return
    _print_rows(rounds)
    console.say()
    console.table(("figure", ""), [(name, f"{value:.3f}") for name, value in found.items()])


def figures(rounds: dict[str, list[Round]]) -> dict[str, float]:
    """Ratios from the rounds of each contender; times are medians over all warm epochs."""
    full_s = _epoch_s(rounds[FULL])
    found = {"full / Trainer, seconds an epoch": full_s / _epoch_s(rounds[TRAINER])}
    for spec in SPECS[1:]:
        found[f"{spec}: time saved, warm epoch"] = 1 - _epoch_s(rounds[spec]) / full_s
    for spec in (spec for spec in SPECS if "+cache" in spec):
        epoch_s = _epoch_s(rounds[spec])
        fill_s = statistics.median(each.fill_s() for each in rounds[spec])
        found[f"{spec}: time saved, ten epochs with filling"] = 1 - (fill_s + TEN * epoch_s) / (
            TEN * full_s
        )
        peaks = [max(each.peak_bytes() for each in rounds[name]) for name in (spec, FULL)]
        found[f"{spec}: anonymous memory / full's"] = peaks[0] / peaks[1]
        warm = [phase for each in rounds[spec] for phase in each.warm()]
        waited = sum(phase.data_wait_s or 0.0 for phase in warm)
        found[f"{spec}: waiting for data"] = waited / sum(phase.wall_s for phase in warm)
    # The first run of all pays for starting the fork server.
    later = [each for spec in SPECS for each in rounds[spec]][1:]
    found["process of a run after the first, s"] = statistics.median(r.start_s for r in later)
    outside = statistics.median(r.wall_s - sum(p.wall_s for p in r.phases) for r in later)
    found["all that is outside the phases of a run, s"] = outside
    return found


def _epoch_s(rounds: Sequence[Round]) -> float:
    return statistics.median(phase.wall_s for each in rounds for phase in each.warm())


def _print_rows(rounds: dict[str, list[Round]]) -> None:
    console.table(
        ("", "s/epoch", "of all rounds", "filling s", "anonymous"),
        [
            (
                name,
                f"{_epoch_s(told):.3f}",
                " ".join(f"{phase.wall_s:.2f}" for each in told for phase in each.warm()),
                f"{statistics.median(each.fill_s() for each in told):.2f}",
                size(max(each.peak_bytes() for each in told)),
            )
            for name, told in rounds.items()
        ],
    )


def _measured(name: str, asked: argparse.Namespace, runner: Runner) -> Round:
    spec = _spec(FULL if name == TRAINER else name, asked, asked.batches)
    if name == TRAINER:
        return _of_the_trainer(spec)
    start = time.perf_counter()
    result = runner.run(spec, lambda _: None)
    return _round(result, time.perf_counter() - start)


def _round(result: Result, wall_s: float) -> Round:
    if result.status != "ok":
        sys.exit(f"{result.status}: {result.message}")
    return Round(tuple(result.phases), wall_s, result.start_s or 0.0)


def _spec(label: str, asked: argparse.Namespace, batches: int) -> Spec:
    settings = {"epochs": str(asked.epochs), "batch_size": "8"}
    corpus = f"generated=speakers=3,utterances={8 * batches},seconds=4"
    (spec,) = plan(
        Request(
            specs=(label,),
            suite="cost",
            backbone=asked.backbone,
            corpus=corpus,
            device="cpu",
            repeats=0,
            settings=settings,
        )
    ).specs
    return spec


def _growth(asked: argparse.Namespace, runner: Runner) -> float:
    """Peak anonymous memory with ten times the corpus, by that with one, less 1."""
    peaks = []
    for factor in (1, GROWTH):
        spec = _spec(f"{LAYERS}+cache", asked, factor * asked.batches)
        peaks.append(_round(runner.run(spec, lambda _: None), 0.0).peak_bytes())
    return peaks[1] / peaks[0] - 1


def _of_the_trainer(spec: Spec) -> Round:
    context = multiprocessing.get_context("spawn")
    incoming, outgoing = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(spec, outgoing))
    start = time.perf_counter()
    process.start()
    outgoing.close()
    phases = incoming.recv()
    process.join()
    return Round(phases, time.perf_counter() - start)


def _train(spec: Spec, out: Any) -> None:
    from transformers import (
        AutoConfig,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        Wav2Vec2ForSequenceClassification,
    )

    phases: list[Phase] = []
    meter = Meter(torch.device("cpu"), phases.append)

    class Regression(Trainer):  # type: ignore[misc, unused-ignore]
        """The class itself knows categories only."""

        def compute_loss(self, model: Any, inputs: dict[str, Any], **_: Any) -> torch.Tensor:
            """Mean squared error of both dimensions."""
            labels = inputs.pop("labels")
            return functional.mse_loss(model(**inputs).logits, labels)

    class Clock(TrainerCallback):  # type: ignore[misc, unused-ignore]
        """Clocks what the trainer does between the beginning and the end of an epoch."""

        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            """Start a phase."""
            self.phase = meter.phase("train", len(phases), cold=not phases)
            self.phase.__enter__()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            """End it."""
            self.phase.__exit__(None, None, None)

    geometry = GEOMETRIES[spec.backbone]
    model = Wav2Vec2ForSequenceClassification(
        AutoConfig.for_model(
            geometry.family,
            **geometry.config,
            num_labels=2,
            layerdrop=0.0,
            apply_spec_augment=False,
        )
    )
    model.freeze_feature_encoder()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=spec.training.epochs,
            per_device_train_batch_size=spec.training.batch_size,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            logging_strategy="no",
        )
        Regression(model, arguments, train_dataset=_examples(spec), callbacks=[Clock()]).train()
    out.send(tuple(phases))


def _examples(spec: Spec) -> list[dict[str, Any]]:
    corpus = corpora.load(CorpusRef(spec.corpus.name, spec.corpus.root))
    table = corpus.utterances[corpus.utterances["split"] == "train"]
    return [
        {
            "input_values": torch.from_numpy(corpus.waveform(row["id"])),
            "labels": torch.tensor([row["activation"], row["valence"]], dtype=torch.float32),
        }
        for _, row in table.iterrows()
    ]


if __name__ == "__main__":
    main()
