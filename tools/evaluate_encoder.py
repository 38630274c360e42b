"""What an encoder has learnt: its frozen states and its finetuned model against random weights.

    python tools/evaluate_encoder.py tiny --corpus embedded --corpus emodb=ROOT [--finetune]

Frozen: ridge regression on the mean and deviation over time of every layer's states, in ten
speaker-disjoint folds. Beside it the same regression on log-mel statistics, level kept, and on the
states of the same architecture with random weights, drawn anew for every seed. With `--finetune`
also `serbench run` on the corpus's own splits, three seeds each; pretrained and random weights each
take the one of `--lr-scales` that does best on the validation split with a seed of its own. Prints
Markdown; ± is the standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from acoustics import statistics
from command import asked
from ridge import Values, held_out, in_folds, recall_in_folds
from transformers import AutoModel

from serbench.harness import backbone, corpora
from serbench.harness.audio import standardised
from serbench.harness.corpora.base import Corpus
from serbench.harness.request import read_corpus

FINETUNING_SEEDS = 3
TUNING_SEED = 100


def main() -> None:
    """Print tables for each corpus."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("encoder", help="as in serbench run --backbone")
    arguments.add_argument("--corpus", action="append", required=True, help="NAME or NAME=ROOT")
    arguments.add_argument("--seeds", type=int, default=5, help="random encoders, frozen")
    arguments.add_argument("--finetune", action="store_true", help="also finetune, with --spec")
    arguments.add_argument("--spec", default="full", help="how (default: %(default)s)")
    arguments.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="as in serbench run"
    )
    arguments.add_argument("--lr-scales", default="1", help="as lr_scale of serbench run")
    given = arguments.parse_args()
    located = backbone.locate(given.encoder)
    print(f"`{given.encoder}`, weights {located.hash[:12]}")
    for text in given.corpus:
        corpus = corpora.load(read_corpus(text))
        known = states(backbone.load(located), corpus)
        plain = np.stack([statistics(wave) for wave in waves(corpus)]).astype(np.float64)
        frozen(given.encoder, corpus, known, plain, given.seeds)
        if given.finetune:
            settings = [word for each in given.set for word in ("--set", each)]
            scales = [float(each) for each in given.lr_scales.split(",")]
            finetuned(given.encoder, text, given.spec, settings, scales)
            row("frozen, ridge regression", [held_out(flat(known), corpus)])
            row("log-mel statistics, ridge regression", [held_out(plain, corpus)])


def frozen(name: str, corpus: Corpus, known: Values, plain: Values, seeds: int) -> None:
    """Speaker-disjoint folds over the whole corpus."""

    def scores(features: Values) -> dict[str, float]:
        found = with_mean(in_folds(features, corpus))
        classes = "emotion" in corpus.utterances
        return {**found, "UAR": recall_in_folds(features, corpus)} if classes else found

    drawn = [scores(flat(states(random_encoder(name, s), corpus))) for s in range(seeds)]
    learnt = scores(flat(known))
    header(f"{corpus.name}: frozen, ridge regression, ten folds", learnt)
    row(f"`{name}`", [learnt])
    row(f"`{name}`, the last layer alone", [scores(flat(known[:, -1:]))])
    row(f"random weights, {seeds} draws", drawn)
    row("log-mel statistics", [scores(plain)])


def finetuned(
    name: str, corpus: str, spec: str, settings: Sequence[str], scales: Sequence[float]
) -> None:
    """The corpus's own test split."""
    with tempfile.TemporaryDirectory() as scratch:

        def tried(title: str, encoder: Callable[[int], str]) -> None:
            def trial(seed: int, scale: float) -> Trial:
                words = [*settings, "--set", f"lr_scale={scale:g}", "--seeds", str(seed)]
                where = ["--db", str(Path(scratch) / "runs.db")]
                return run([spec, "--backbone", encoder(seed), "--corpus", corpus, *words], where)

            chosen = max(scales, key=lambda scale: trial(TUNING_SEED, scale).validation)
            scores = [trial(seed, chosen).test for seed in range(FINETUNING_SEEDS)]
            row(f"{title}, `{spec}`, rates × {chosen:g}", scores)

        def drawn(seed: int) -> str:
            folder = Path(scratch) / f"random{seed}"
            if not folder.is_dir():
                save(random_encoder(name, seed), folder)
            return str(folder)

        dimensions = corpora.load(read_corpus(corpus)).dimensions
        header(f"{corpus.partition('=')[0]}: test split", [*dimensions, "mean CCC"])
        tried(f"`{name}`", lambda _: name)
        tried("random weights", drawn)


def states(encoder: backbone.Backbone, corpus: Corpus) -> Values:
    """Mean and deviation over time of each layer's states, (N, layers + 1, 2 · H)."""
    encoder.model.eval()
    return np.stack([_pooled(encoder, wave) for wave in waves(corpus)])


@torch.no_grad()
def _pooled(encoder: backbone.Backbone, wave: npt.NDArray[np.float32]) -> Values:
    if encoder.normalize:
        wave = standardised(wave)
    hidden = encoder.model(torch.from_numpy(wave)[None], output_hidden_states=True).hidden_states
    pooled = [torch.cat([each[0].mean(0), each[0].std(0)]) for each in hidden]
    found: Values = torch.stack(pooled).double().numpy()
    return found


def flat(features: Values) -> Values:
    """(N, …) to (N, K)."""
    return features.reshape(len(features), -1)


def waves(corpus: Corpus) -> Iterator[npt.NDArray[np.float32]]:
    """All audio, in the corpus's order."""
    return (corpus.waveform(name) for name in corpus.utterances["id"])


def random_encoder(name: str, seed: int) -> backbone.Backbone:
    """The same architecture, with weights of another draw for each seed."""
    encoder = backbone.load(backbone.locate(name, "random"))
    torch.manual_seed(1000 + seed)
    encoder.model = AutoModel.from_config(encoder.model.config, dtype=torch.float32)
    return encoder


def save(encoder: backbone.Backbone, folder: Path) -> None:
    """As a `from_pretrained` folder."""
    encoder.model.save_pretrained(folder)
    settings = json.dumps({"do_normalize": encoder.normalize})
    (folder / "preprocessor_config.json").write_text(settings, encoding="utf-8")


@dataclass(frozen=True)
class Trial:
    """Mean CCC on validation of the best epoch, and CCC of each dimension on test."""

    validation: float
    test: Mapping[str, float]


def run(what: Sequence[str], where: Sequence[str]) -> Trial:
    """One `serbench run`."""
    (number,) = (each["run"] for each in asked("run", *what, *where) if each["event"] == "ended")
    (shown,) = asked("show", str(number), *where)
    test = {s["dimension"]: s["value"] for s in shown["scores"] if s["split"] == "test"}
    means = [np.mean([*epoch["validation"].values()]) for epoch in shown["epochs"]]
    return Trial(float(max(means)), with_mean(test))


def with_mean(scores: Mapping[str, float]) -> dict[str, float]:
    """The CCC of each dimension, and their mean."""
    return {**scores, "mean CCC": float(np.mean([*scores.values()]))}


def header(title: str, columns: Collection[str]) -> None:
    """The first lines of a table."""
    print("\n| " + " | ".join([title, *columns]) + " |\n|" + "---|" * (len(columns) + 1))


def row(title: str, scores: Sequence[Mapping[str, float]]) -> None:
    """A line of a table: means over seeds, and their deviation if there are several."""
    full = [each if "mean CCC" in each else with_mean(each) for each in scores]
    cells = [_cell([each[name] for each in full]) for name in full[0]]
    print("| " + " | ".join([title, *cells]) + " |", flush=True)


def _cell(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
