"""Pretrains a small wav2vec 2.0 encoder on unlabelled speech by masked prediction of units.

The objective is HuBERT's first iteration (Hsu et al., 2021, arXiv:2106.07447): frames are masked in
spans and the units of their cepstra predicted. Beside it all frames regress what a label of emotion
rests on: log-mel bands, energy, F0, formants, voicing, and how much the bands vary around a frame.
They do so twice, from the last states and, unmasked, from the convolutions: without the second the
convolutions learn of pitch and level only what reaches them through all layers.

    python tools/pretrain.py tools/tiny.toml SPEECH WORK OUT

SPEECH holds a folder of .opus files for each source in `[data.shares]`; WORK keeps the state, so
that the same command goes on where it was stopped; OUT gets a `from_pretrained` folder and the loss
curve. What is learnt rests on the configuration alone, never on the clock.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speech_streams import GROUPS, TARGETS, VOICED, Crops, Streams, build, draw
from torch import Tensor, nn
from torch.nn import functional
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VALIDATION_BATCHES = 8
CURVE_STEPS = 50
KEEP_STEPS = 500
"""A multiple of `CURVE_STEPS`: held-out losses stand in rows of the curve."""


@dataclass(frozen=True)
class Losses:
    """Means over a batch, scalars."""

    masked: Tensor
    """Cross-entropy of the units of masked frames, in nats; `unmasked` of the others."""
    unmasked: Tensor
    auxiliary: Tensor
    """Of the regression from the last states; `early` from the convolutions, after their norm."""
    early: Tensor
    accuracy: Tensor
    """Share of masked frames whose unit is the likeliest."""


class Learner(nn.Module):
    """The encoder, and the three linear maps that go when it has learnt."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        shape = {"num_feat_extract_layers": len(config["encoder"]["conv_dim"])}
        self.encoder = Wav2Vec2Model(Wav2Vec2Config(**config["encoder"], **shape))
        self.units = nn.Linear(self.encoder.config.hidden_size, config["targets"]["units"])
        self.targets = nn.Linear(self.encoder.config.hidden_size, TARGETS)
        self.early = nn.Linear(self.encoder.config.conv_dim[-1], TARGETS)

    def forward(self, crops: Crops, masked: Tensor) -> Losses:
        """Losses of a batch; `masked` is (B, T)."""
        found = self.encoder(crops.waves, mask_time_indices=masked)
        hidden = found.last_hidden_state
        logits = self.units(hidden)
        entropy = functional.cross_entropy(
            logits.flatten(0, 1), crops.units.flatten(), reduction="none"
        ).view_as(crops.units)
        return Losses(
            masked=entropy[masked].mean(),
            unmasked=entropy[~masked].mean(),
            auxiliary=regression(self.targets(hidden), crops),
            early=regression(self.early(found.extract_features), crops),
            accuracy=(logits.argmax(-1) == crops.units)[masked].float().mean(),
        )


def regression(predicted: Tensor, crops: Crops) -> Tensor:
    """Squared error of (B, T, TARGETS), each group of targets weighing as much as the next."""
    error = (predicted - crops.targets).square()
    voiced = error[crops.voiced]
    groups = [
        voiced[:, columns].sum() / max(1, voiced[:, columns].numel())
        if name in VOICED
        else error[..., columns].mean()
        for name, columns in GROUPS.items()
    ]
    return torch.stack(groups).mean()


def main() -> None:
    """Train to the last step, going on from what WORK holds."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, what in (
        ("config", "the TOML file that says everything"),
        ("speech", "folder with a folder of .opus files for each source"),
        ("work", "folder that keeps the state of training"),
        ("out", "folder for the encoder and its loss curve"),
    ):
        arguments.add_argument(name, type=Path, help=what)
    given = arguments.parse_args()
    config = tomllib.loads(given.config.read_text(encoding="utf-8"))
    given.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config["seed"])
    data, targets = config["data"], config["targets"]
    streams = build(
        given.speech,
        [*data["shares"]],
        data["speeds"],
        units=targets["units"],
        spread_frames=targets["spread_frames"],
        seed=config["seed"],
    )
    print(f"{streams.hours:.2f} h of speech", flush=True)
    train(Learner(config), streams, config, given.work / "state.pt", given.out)


def train(
    learner: Learner, streams: Streams, config: Mapping[str, Any], state: Path, out: Path
) -> None:
    """All steps that `state` has not seen yet; the encoder is written to `out` now and then.

    Raises:
        SystemExit: `state` was left by another configuration.
    """
    training, targets = config["training"], config["targets"]
    optimizer = torch.optim.AdamW(
        learner.parameters(),
        lr=training["learning_rate"],
        betas=(0.9, 0.98),
        weight_decay=training["weight_decay"],
        fused=True,
    )
    curve: list[dict[str, float]] = []
    if state.is_file():
        kept = torch.load(state)
        if kept["config"] != config:
            raise SystemExit(f"{state} is of another configuration: give another WORK folder")
        learner.load_state_dict(kept["learner"])
        optimizer.load_state_dict(kept["optimizer"])
        curve = kept["curve"]
    for step in range(int(curve[-1]["step"]) if curve else 0, training["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = training["learning_rate"] * rate(step, training)
        losses = learner(*batch(streams, config, (0, step)))
        total = losses.masked + targets["unmasked_weight"] * losses.unmasked
        total = total + targets["auxiliary_weight"] * (losses.auxiliary + losses.early)
        total.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), training["clip_norm"])
        optimizer.step()
        optimizer.zero_grad()
        done = step + 1
        if done % CURVE_STEPS == 0 or done == training["steps"]:
            curve.append({"step": done, **row("train", losses)})
            if done % KEEP_STEPS == 0 or done == training["steps"]:
                curve[-1].update(validated(learner, streams, config))
                keep(state, learner, optimizer, curve, config)
                save(learner, curve, out)
            print(json.dumps(curve[-1]), flush=True)


def keep(
    state: Path,
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    curve: Sequence[Mapping[str, float]],
    config: Mapping[str, Any],
) -> None:
    """What going on needs; the file is whole, or the one before it."""
    kept = {
        "learner": learner.state_dict(),
        "optimizer": optimizer.state_dict(),
        "curve": curve,
        "config": config,
    }
    writing = state.with_suffix(".writing")
    torch.save(kept, writing)
    writing.replace(state)


def batch(
    streams: Streams, config: Mapping[str, Any], key: tuple[int, int]
) -> tuple[Crops, Tensor]:
    """Crops and masked frames (B, T); `key` is 0 and a step, or 1 and a batch held out."""
    rng = np.random.default_rng([config["seed"], *key])
    data, masking = config["data"], config["masking"]
    crops = draw(
        streams,
        data["shares"],
        data["speeds"],
        batch_size=data["batch_size"],
        frames=data["crop_frames"],
        gain_db=data["gain_db"],
        held_out=key[0] == 1,
        rng=rng,
    )
    starts = rng.random(crops.units.shape) < masking["start_probability"]
    masked = starts.copy()
    for shift in range(1, masking["span_frames"]):
        masked[:, shift:] |= starts[:, :-shift]
    return crops, torch.from_numpy(masked)


@torch.no_grad()
def validated(learner: Learner, streams: Streams, config: Mapping[str, Any]) -> dict[str, float]:
    """Mean losses over crops that are held out."""
    rows = [
        row("held_out", learner(*batch(streams, config, (1, index))))
        for index in range(VALIDATION_BATCHES)
    ]
    return {name: round(float(np.mean([r[name] for r in rows])), 4) for name in rows[0]}


def row(prefix: str, losses: Losses) -> dict[str, float]:
    """For the loss curve."""
    return {f"{prefix}_{name}": round(value.item(), 4) for name, value in vars(losses).items()}


def rate(step: int, training: Mapping[str, Any]) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine to zero."""
    rise = max(1, round(float(training["warmup"]) * int(training["steps"])))
    if step < rise:
        return (step + 1) / rise
    fallen = (step - rise) / (int(training["steps"]) - rise)
    return 0.5 * (1 + math.cos(math.pi * fallen))


def save(learner: Learner, curve: list[dict[str, float]], out: Path) -> None:
    """Weights in 16 bits, the configuration, and the loss curve."""
    out.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(learner.encoder).half().save_pretrained(out)
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(out)
    with (out / "curve.csv").open("w", newline="", encoding="utf-8") as file:
        columns = list(dict.fromkeys(name for entry in curve for name in entry))
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(curve)


if __name__ == "__main__":
    main()
