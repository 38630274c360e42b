"""Pretraining in miniature: targets, masks, going on after a stop, and what is written."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import acoustics
import numpy as np
import pretrain
import pytest
import soundfile
import speech_streams
import torch
from transformers import AutoFeatureExtractor, Wav2Vec2Model

from serbench.harness.corpora import generated

CONFIG = {
    "seed": 5,
    "encoder": {
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
        "conv_dim": [8] * 7,
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 3,
    },
    "data": {
        "speeds": [0.9, 1.0],
        "gain_db": 6.0,
        "crop_frames": 40,
        "batch_size": 4,
        "shares": {"one": 0.75, "two": 0.25},
    },
    "targets": {
        "units": 5,
        "spread_frames": 4,
        "unmasked_weight": 0.5,
        "auxiliary_weight": 1.0,
    },
    "masking": {"span_frames": 10, "start_probability": 0.07},
    "training": {
        "steps": 6,
        "learning_rate": 1e-3,
        "warmup": 0.2,
        "weight_decay": 0.01,
        "clip_norm": 2.0,
    },
}
Config = dict[str, Any]


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of four files, and one that holds noise only."""
    root = tmp_path_factory.mktemp("speech")
    corpus = generated.load("speakers=3,utterances=3,seconds=2")
    for number, name in enumerate(corpus.utterances["id"][:8]):
        folder = root / ("one" if number < 4 else "two")
        folder.mkdir(exist_ok=True)
        wave = corpus.waveform(name)
        soundfile.write(folder / f"{name}.opus", wave, 16_000, format="OGG", subtype="OPUS")
    noise = np.zeros(16_000, np.float32)
    soundfile.write(root / "one" / "data_noise_hall.opus", noise, 16_000, format="OGG",
                    subtype="OPUS")  # fmt: skip
    return root


@pytest.fixture(scope="module")
def streams(speech: Path) -> speech_streams.Streams:
    return speech_streams.build(speech, ["one", "two"], [0.9, 1.0], 5, 4, 5)


def test_streams_line_up(streams: speech_streams.Streams) -> None:
    assert {*streams.samples} == {"one 0.9", "one 1.0", "two 0.9", "two 1.0"}
    for name, samples in streams.samples.items():
        frames = len(streams.units[name])
        assert len(samples) == 320 * frames
        assert streams.targets[name].shape == (frames, speech_streams.TARGETS)
    slow, plain = len(streams.samples["one 0.9"]), len(streams.samples["one 1.0"])
    assert slow / plain == pytest.approx(1 / 0.9, rel=0.02)
    assert streams.hours == pytest.approx(8 * 2 / 3600, rel=0.03), "the noise is left out"


def test_targets_of_a_crop_are_those_of_its_sound(streams: speech_streams.Streams) -> None:
    """Measured anew on the crop, gain and all, they are what the stream says."""
    crops = speech_streams.draw(
        streams, {"one": 1.0}, [1.0], batch_size=6, frames=40, gain_db=6.0, held_out=False,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert crops.units.shape == (6, 40)
    whole = crops.targets * torch.from_numpy(streams.deviation) + torch.from_numpy(streams.mean)
    energy = acoustics.energy_db(crops.waves)
    loud = energy > -50
    assert (whole[..., speech_streams.ENERGY] - energy)[loud].abs().median() < 0.1
    bands = acoustics.log_mel(crops.waves)
    assert (whole[..., : acoustics.MELS] - bands)[loud].abs().median() < 0.1


def test_training_never_hears_what_is_held_out(streams: speech_streams.Streams) -> None:
    marked = copy.deepcopy(streams)
    for samples in marked.samples.values():
        samples[:] = np.linspace(0, 30_000, len(samples))

    def last(held_out: bool) -> tuple[float, float]:
        crops = [
            speech_streams.draw(
                marked,
                {"one": 1.0},
                [1.0],
                batch_size=8,
                frames=40,
                gain_db=0.0,
                held_out=held_out,
                rng=np.random.default_rng(seed),
            ).waves
            for seed in range(20)
        ]
        every = torch.cat(crops)
        return float(every.min()), float(every.max())

    assert last(held_out=False)[1] < last(held_out=True)[0]


def test_masks_are_spans(streams: speech_streams.Streams) -> None:
    _, masked = pretrain.batch(streams, CONFIG, (0, 3))
    again = pretrain.batch(streams, CONFIG, (0, 3))[1]
    assert torch.equal(masked, again)
    assert not torch.equal(masked, pretrain.batch(streams, CONFIG, (0, 4))[1])
    assert 0.1 < masked.float().mean() < 0.9
    for row in masked.int().numpy():
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        starts, ends = edges[::2], edges[1::2]
        assert all(e - s >= 10 or e == len(row) for s, e in zip(starts, ends, strict=True))


def test_the_rate_rises_and_falls() -> None:
    training = {"warmup": 0.1, "steps": 100}
    rates = [pretrain.rate(step, training) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    streams: speech_streams.Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "KEEP_STEPS", 2)
    monkeypatch.setattr(pretrain, "CURVE_STEPS", 2)

    def trained(name: str, config: Config = CONFIG) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        learner = pretrain.Learner(config).eval()
        pretrain.train(learner, streams, config, tmp_path / f"{name}.pt", tmp_path / name)
        return learner.state_dict()

    whole = trained("whole")
    drawn = pretrain.batch

    def stopping(streams: Any, config: Any, key: tuple[int, int]) -> Any:
        if key == (0, 5):
            raise KeyboardInterrupt
        return drawn(streams, config, key)

    monkeypatch.setattr(pretrain, "batch", stopping)
    with pytest.raises(KeyboardInterrupt):
        trained("parts")
    monkeypatch.setattr(pretrain, "batch", drawn)
    parts = trained("parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    curves = [(tmp_path / name / "curve.csv").read_text("utf-8") for name in ("whole", "parts")]
    assert curves[0] == curves[1]


def test_what_is_written_loads_in_the_library(
    streams: speech_streams.Streams, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    learner = pretrain.Learner(CONFIG).eval()
    before = copy.deepcopy(learner.encoder.state_dict())
    pretrain.train(learner, streams, CONFIG, tmp_path / "state.pt", tmp_path / "out")
    after = learner.encoder.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == set(before), "everything learns"
    loaded, report = Wav2Vec2Model.from_pretrained(
        tmp_path / "out", output_loading_info=True, dtype=torch.float32
    )
    assert not report["missing_keys"]
    for name, value in loaded.state_dict().items():
        assert torch.allclose(value, after[name], atol=1e-3, rtol=1e-3)
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    assert config["dtype"] == "float16"
    assert not AutoFeatureExtractor.from_pretrained(tmp_path / "out").do_normalize
    with (tmp_path / "out" / "curve.csv").open(encoding="utf-8") as file:
        (last,) = csv.DictReader(file)
    assert last["step"] == "6"
    assert 0 < float(last["held_out_masked"]) < 10
    assert 0 <= float(last["held_out_accuracy"]) <= 1


def test_missing_speech_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(SystemExit, match="there is no speech in"):
        speech_streams.build(tmp_path, ["one"], [1.0], 5, 4, 0)
