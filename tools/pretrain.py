"""Pretrains a small wav2vec 2.0 encoder on unlabelled speech by masked prediction of units.

The objective is HuBERT's first iteration (Hsu et al., 2021, arXiv:2106.07447): frames are masked in
spans and the units of their cepstra predicted. Beside it all frames regress what a label of emotion
rests on: log-mel bands, energy, F0, voicing, and how much the bands vary around a frame.

    python tools/pretrain.py tools/tiny.toml SPEECH WORK OUT

SPEECH holds a folder of .opus files for each source in `[data.shares]`; WORK keeps the state, so
that the same command goes on where it was stopped; OUT gets a `from_pretrained` folder and the loss
curve. What is learnt rests on the configuration alone, never on the clock.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speech_streams import PITCH, TARGETS, Crops, Streams, build, draw
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


@dataclass(frozen=True)
class Losses:
    """Means over a batch: cross-entropy on masked and unmasked frames, regression, and the share
    of masked frames whose unit is the likeliest."""

    masked: Tensor
    unmasked: Tensor
    auxiliary: Tensor
    accuracy: Tensor


class Learner(nn.Module):
    """The encoder, and the two linear maps that go when it has learnt."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        shape = {"num_feat_extract_layers": len(config["encoder"]["conv_dim"])}
        self.encoder = Wav2Vec2Model(Wav2Vec2Config(**config["encoder"], **shape))
        self.units = nn.Linear(self.encoder.config.hidden_size, config["targets"]["units"])
        self.targets = nn.Linear(self.encoder.config.hidden_size, TARGETS)

    def forward(self, crops: Crops, masked: Tensor) -> Losses:
        """Losses of a batch; `masked` is (B, T)."""
        hidden = self.encoder(crops.waves, mask_time_indices=masked).last_hidden_state
        logits = self.units(hidden)
        entropy = functional.cross_entropy(
            logits.flatten(0, 1), crops.units.flatten(), reduction="none"
        ).view_as(crops.units)
        error = (self.targets(hidden) - crops.targets).square()
        # An unvoiced frame has no F0 that could be wrong.
        weight = torch.ones_like(error)
        weight[..., PITCH] = crops.voiced.float()
        return Losses(
            masked=entropy[masked].mean(),
            unmasked=entropy[~masked].mean(),
            auxiliary=(error * weight).sum() / weight.sum(),
            accuracy=(logits.argmax(-1) == crops.units)[masked].float().mean(),
        )


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
        targets["units"],
        targets["spread_frames"],
        config["seed"],
    )
    print(f"{streams.hours:.2f} h of speech", flush=True)
    # Nothing is dropped: the encoder is small for what it hears.
    learner = Learner(config).eval()
    train(learner, streams, config, given.work / "state.pt", given.out)


def train(
    learner: Learner, streams: Streams, config: Mapping[str, Any], state: Path, out: Path
) -> None:
    """All steps that `state` has not seen yet; the encoder is written to `out` now and then."""
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
        learner.load_state_dict(kept["learner"])
        optimizer.load_state_dict(kept["optimizer"])
        curve = kept["curve"]
    for step in range(int(curve[-1]["step"]) if curve else 0, training["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = training["learning_rate"] * rate(step, training)
        losses = learner(*batch(streams, config, (0, step)))
        total = losses.masked + targets["unmasked_weight"] * losses.unmasked
        total = total + targets["auxiliary_weight"] * losses.auxiliary
        total.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), training["clip_norm"])
        optimizer.step()
        optimizer.zero_grad()
        done = step + 1
        if done % CURVE_STEPS == 0 or done == training["steps"]:
            curve.append({"step": done, **row("train", losses)})
            if done % KEEP_STEPS == 0 or done == training["steps"]:
                curve[-1].update(validated(learner, streams, config))
                kept = {"learner": learner.state_dict(), "optimizer": optimizer.state_dict()}
                torch.save({**kept, "curve": curve}, state)
                save(learner, curve, out)
            print(json.dumps(curve[-1]), flush=True)


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
    """Mean losses over crops that training never hears."""
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
    whole = {name: tensor.clone() for name, tensor in learner.encoder.state_dict().items()}
    learner.encoder.half().save_pretrained(out)
    learner.encoder.float().load_state_dict(whole)
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(out)
    with (out / "curve.csv").open("w", newline="", encoding="utf-8") as file:
        columns = list(dict.fromkeys(name for entry in curve for name in entry))
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(curve)


if __name__ == "__main__":
    main()
