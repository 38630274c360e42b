"""The trained model in the library's own classes: the same predictions, adapters merged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from serbench.harness import strategy
from serbench.harness.contract import FAMILIES, learn
from serbench.harness.errors import StrategyError
from serbench.harness.export import export
from serbench.harness.heads.consensus import Consensus

MERGED = ["full", "top-layers:layers=1", "lora", "dora", "ia3", "adalora", "vera", "weighted-sum"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("label", MERGED)
def test_the_library_predicts_the_same(label: str, family: str, tmp_path: Path) -> None:
    strategy.discover()
    learnt = learn(strategy.parse(label), family, tmp_path / "states")
    trainer = learnt.trainer
    assert isinstance(trainer.head, Consensus)
    export(trainer.backbone, trainer.head, ["activation", "valence"], tmp_path, scale=(1.0, 7.0))
    model = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    assert model.config.id2label == {0: "activation", 1: "valence"}
    assert model.config.label_scale == [1.0, 7.0]
    audio, order = trainer.data.audio, trainer.data.splits["test"]
    by_length = sorted(range(len(order)), key=lambda i: audio.samples[order[i]])
    for row, position in enumerate(by_length):
        (read,) = audio.waveforms([int(order[position])])
        wave = torch.from_numpy(read)
        with torch.no_grad():
            logits = model(wave[None]).logits[0]
        expected = torch.from_numpy(learnt.predicted[row])
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-3)


def test_the_feature_extractor_normalises_as_in_training(tmp_path: Path) -> None:
    strategy.discover()
    trainer = learn(strategy.parse("frozen"), "wav2vec2", tmp_path / "states").trainer
    assert isinstance(trainer.head, Consensus)
    trainer.backbone.normalize = False
    export(trainer.backbone, trainer.head, ["activation", "valence"], tmp_path)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert extractor.do_normalize is False
    assert extractor.return_attention_mask is True
    assert extractor.sampling_rate == 16_000


def test_what_cannot_be_merged_says_so(tmp_path: Path) -> None:
    strategy.discover()
    trainer = learn(strategy.parse("bottleneck"), "wav2vec2", tmp_path / "states").trainer
    assert isinstance(trainer.head, Consensus)
    with pytest.raises(StrategyError, match="cannot be merged"):
        export(trainer.backbone, trainer.head, ["activation", "valence"], tmp_path / "model")
    assert not (tmp_path / "model").exists()
