"""Pretraining in miniature: targets, masks, going on after a stop, and what is written."""

from __future__ import annotations

import copy
import csv
import json
import sys
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

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG = tomllib.loads((Path(pretrain.__file__).parent / "tiny.toml").read_text("utf-8"))
CONFIG["encoder"] |= {
    "conv_dim": [8] * 5,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "intermediate_size": 32,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 3,
}
CONFIG["data"] |= {
    "speeds": [0.9, 1.0],
    "crop_frames": 40,
    "batch_size": 4,
    "shares": {"one": 0.75, "two": 0.25},
}
CONFIG["targets"] |= {"units": 5, "spread_frames": 4}
CONFIG["training"] |= {"steps": 6}
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
    return speech_streams.build(
        speech, ["one", "two"], [0.9, 1.0], units=5, spread_frames=4, seed=5
    )


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


def test_pitch_and_formants_follow_the_speed() -> None:
    """A glide of an octave a second, unvoiced in its middle, read at 1.25 times the speed."""
    times = np.arange(0, 1, 0.02)
    f0_hz = np.where(abs(times - 0.5) < 0.1, 0, 100 * 2**times)
    heard = acoustics.VoiceTracks(
        times=times,
        f0_hz=f0_hz,
        strength=np.where(f0_hz > 0, 0.9, 0),
        formants_hz=np.tile([500.0, 1500.0, 2500.0], (len(times), 1)),
    )
    strength, octaves = speech_streams._at_frames(heard, 1.25, 38)
    seconds = np.arange(38) * 0.02 + 0.0125
    assert octaves[0, :, 0].numpy() == pytest.approx(np.log2(125) + 1.25 * seconds, abs=0.03)
    assert 2 ** octaves[0, :, 1:].numpy() == pytest.approx(
        np.tile([625.0, 1875.0, 3125.0], (38, 1)), rel=1e-3
    )
    middle = abs(1.25 * seconds - 0.5)
    assert (strength[0, middle < 0.08, 0] == 0).all()
    assert strength[0, middle > 0.12, 0].numpy() == pytest.approx(0.9)


def test_groups_of_targets_weigh_alike_and_unvoiced_frames_have_no_pitch() -> None:
    frames, width = (2, 5), speech_streams.TARGETS
    crops = speech_streams.Crops(
        waves=torch.zeros(2, 400),
        units=torch.zeros(frames, dtype=torch.long),
        targets=torch.zeros(*frames, width),
        voiced=torch.tensor([[True] * 3 + [False] * 2] * 2),
    )
    for columns in speech_streams.GROUPS.values():
        predicted = torch.zeros(*frames, width)
        predicted[..., columns] = 1.0
        found = pretrain.regression(predicted, crops)
        assert found.item() == pytest.approx(1 / len(speech_streams.GROUPS))
    predicted = torch.zeros(*frames, width)
    predicted[:, 3:, speech_streams.GROUPS["F0"]] = 1.0
    assert pretrain.regression(predicted, crops) == 0


def test_training_ends_where_what_is_held_out_begins(streams: speech_streams.Streams) -> None:
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
        learner = pretrain.Learner(config)
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


def test_a_training_of_another_configuration_does_not_go_on(
    streams: speech_streams.Streams, tmp_path: Path
) -> None:
    state = tmp_path / "state.pt"
    pretrain.train(pretrain.Learner(CONFIG), streams, CONFIG, state, tmp_path / "out")
    other = copy.deepcopy(CONFIG)
    other["training"]["learning_rate"] = 1.0
    with pytest.raises(SystemExit, match="another configuration"):
        pretrain.train(pretrain.Learner(other), streams, other, state, tmp_path / "out")


def test_what_is_written_loads_in_the_library(
    streams: speech_streams.Streams, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    learner = pretrain.Learner(CONFIG)
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
        speech_streams.build(tmp_path, ["one"], [1.0], units=5, spread_frames=4, seed=0)
