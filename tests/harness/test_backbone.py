"""Getting encoders: geometries, folders in both weight formats, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, BertConfig, BertModel, Wav2Vec2Model

from serbench.harness import backbone, contract
from serbench.harness.backbone import (
    BUNDLE,
    BUNDLED,
    GEOMETRIES,
    SAMPLE_RATE_HZ,
    Located,
    depth,
    load,
    locate,
)
from serbench.harness.errors import BackboneError
from serbench.harness.metrics import ccc

SMALL = {**contract.SMALL, "num_hidden_layers": 2}


def folder(path: Path, family: str = "wav2vec2", **settings: Any) -> Path:
    """A local `from_pretrained` folder."""
    model = AutoModel.from_config(AutoConfig.for_model(family, **SMALL))
    model.save_pretrained(path)
    if settings:
        (path / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    return path


def count(parameters: Any) -> int:
    return sum(parameter.numel() for parameter in parameters)


def test_base_geometry_has_the_published_parameter_counts() -> None:
    """The arithmetic of wav2vec 2.0 base, part by part."""
    encoder = load(locate("wav2vec2-base", "random"))
    model = encoder.model
    assert count(model.feature_extractor.parameters()) == 4_200_448
    assert count(model.feature_projection.parameters()) == 395_008
    assert count(model.encoder.pos_conv_embed.parameters()) == 4_719_488
    assert count(model.encoder.layer_norm.parameters()) == 1_536
    assert model.masked_spec_embed.numel() == 768
    assert [count(layer.parameters()) for layer in encoder.layers] == [7_087_872] * 12
    assert count(model.parameters()) == 94_371_712


def test_every_geometry_is_of_a_known_family_and_configures() -> None:
    for geometry in GEOMETRIES.values():
        assert geometry.family in backbone.FAMILIES
        AutoConfig.for_model(geometry.family, **geometry.config)


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = load(locate("tiny", "random")).model.state_dict()
    assert torch.equal(torch.rand(1), expected)
    second = load(locate("tiny", "random")).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_bundled_encoder_loads_in_the_library() -> None:
    folder = BUNDLE / "tiny"
    model, report = Wav2Vec2Model.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert {p.dtype for p in model.parameters()} == {torch.float16}
    assert (folder / "model.safetensors").stat().st_size <= 12e6
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_the_bundled_encoder_is_what_is_named_tiny(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    located = locate("tiny")
    assert (located.init, located.folder) == ("pretrained", str(BUNDLE / "tiny"))
    encoder = load(located)
    assert not encoder.normalize, "loudness carries activation"
    random = load(locate("tiny", "random"))
    assert not random.normalize
    name = "encoder.layers.0.attention.q_proj.weight"
    assert not torch.equal(encoder.model.state_dict()[name], random.model.state_dict()[name])
    for each in (encoder, random):
        assert {p.dtype for p in each.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", [*GEOMETRIES])
def test_the_depth_is_told_without_loading(name: str) -> None:
    located = locate(name, "random")
    geometry = GEOMETRIES[name]
    config = AutoConfig.for_model(geometry.family, **geometry.config)
    assert depth(located) == config.num_hidden_layers


def test_the_depth_of_a_folder_is_in_its_configuration(tmp_path: Path) -> None:
    located = locate("tiny")
    assert depth(located) == len(load(located).layers)
    (tmp_path / "config.json").write_text('{"model_type": "hubert"}', "utf-8")
    elsewhere = Located("here", "random", str(tmp_path), "")
    assert depth(elsewhere) == AutoConfig.for_model("hubert").num_hidden_layers
    for text in ("{", "[]", '{"num_hidden_layers": "many"}'):
        (tmp_path / "config.json").write_text(text, "utf-8")
        with pytest.raises(BackboneError, match=r"config\.json is no configuration"):
            depth(elsewhere)


def test_the_bundled_encoder_has_learnt_something() -> None:
    """A ridge regression on its states of a second tells the valence of voices that it never met.

    Activation is no test: random weights let the level through.
    """
    from serbench.harness.corpora import embedded

    corpus = embedded.load(None)
    chosen = corpus.utterances
    truth = chosen["valence"].to_numpy()
    testing = (chosen["split"] == "test").to_numpy()
    waves = [torch.from_numpy(corpus.waveform(name, SAMPLE_RATE_HZ)) for name in chosen["id"]]

    def told(init: str) -> float:
        model = load(locate("tiny", init)).model.eval()
        with torch.no_grad():
            states = [model(wave[None]).last_hidden_state[0].mean(0) for wave in waves]
        x = torch.stack(states).double().numpy()
        x = (x - x[~testing].mean(0)) / x[~testing].std(0)
        gram = x[~testing].T @ x[~testing] + 100 * np.eye(x.shape[1])
        centre = truth[~testing].mean()
        weights = np.linalg.solve(gram, x[~testing].T @ (truth[~testing] - centre))
        return ccc(truth[testing], x[testing] @ weights + centre)

    assert told("pretrained") > max(0.3, told("random") + 0.15)


def test_the_bundled_encoder_has_the_parameters_that_its_list_entry_says() -> None:
    count = sum(p.numel() for p in load(locate("tiny")).model.parameters())
    assert f"{count / 1e6:.1f} M parameters" in BUNDLED["tiny"]


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm"])
def test_a_folder_gives_its_own_weights(family: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "encoder", family, do_normalize=False)
    encoder = load(locate(str(path)))
    expected = AutoModel.from_pretrained(path).state_dict()
    assert all(torch.equal(encoder.model.state_dict()[name], expected[name]) for name in expected)
    assert not encoder.normalize


def test_a_folder_with_bin_weights_loads(tmp_path: Path) -> None:
    path = folder(tmp_path / "encoder")
    model = AutoModel.from_pretrained(path)
    torch.save(model.state_dict(), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    encoder = load(locate(str(path)))
    name = "encoder.layers.0.attention.q_proj.weight"
    assert torch.equal(encoder.model.state_dict()[name], model.state_dict()[name])


def test_the_feature_extractors_normalisation_is_honoured(tmp_path: Path) -> None:
    assert load(locate(str(folder(tmp_path / "a", do_normalize=True)))).normalize
    assert not load(locate(str(folder(tmp_path / "b", do_normalize=False)))).normalize
    assert load(locate(str(folder(tmp_path / "c")))).normalize, "the library's default"


def test_another_rate_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "encoder", sampling_rate=8000)
    with pytest.raises(BackboneError, match="8000 Hz"):
        load(locate(str(path)))


def test_random_weights_in_a_folders_geometry(tmp_path: Path) -> None:
    path = folder(tmp_path / "encoder", do_normalize=False)
    pretrained, random = load(locate(str(path))), load(locate(str(path), "random"))
    name = "encoder.layers.0.attention.q_proj.weight"
    assert not torch.equal(pretrained.model.state_dict()[name], random.model.state_dict()[name])
    assert not random.normalize


def test_random_weights_have_32_bits_where_the_trained_ones_had_16(tmp_path: Path) -> None:
    AutoModel.from_config(AutoConfig.for_model("wav2vec2", **SMALL)).half().save_pretrained(
        tmp_path
    )
    for init in ("pretrained", "random"):
        model = load(locate(str(tmp_path), init)).model
        assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_hash_follows_weights_and_settings(tmp_path: Path) -> None:
    path = folder(tmp_path / "encoder", do_normalize=True)
    before = locate(str(path)).hash
    assert locate(str(path)).hash == before
    (path / "preprocessor_config.json").write_text('{"do_normalize": false}', "utf-8")
    changed = locate(str(path)).hash
    assert changed != before
    folder(path)
    assert locate(str(path)).hash not in (before, changed)


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    path = folder(tmp_path / "encoder")
    from safetensors.torch import load_file, save_file

    weights = load_file(path / "model.safetensors")
    del weights["encoder.layers.1.attention.k_proj.weight"]
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"missing.*k_proj"):
        load(locate(str(path)))


def test_damaged_weights_are_one_clear_message(tmp_path: Path) -> None:
    path = folder(tmp_path / "encoder")
    (path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(BackboneError, match="cannot be read"):
        load(locate(str(path)))


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="'bert' is none of the families"):
        load(locate(str(tmp_path)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wav2vec3-base", "no backbone 'wav2vec3-base'"),
        ("./nowhere", "neither a folder here"),
        ("nobody/nothing-of-the-kind", r"could not be fetched.*--backbone FOLDER"),
        ("wav2vec2-base", r"facebook/wav2vec2-base.*--backbone FOLDER"),
    ],
)
def test_what_cannot_be_had_says_what_can(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackboneError, match=message):
        locate(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"no config\.json"):
        locate(str(tmp_path))
    (tmp_path / "config.json").write_text("{}", "utf-8")
    with pytest.raises(BackboneError, match=r"neither model\.safetensors"):
        locate(str(tmp_path))


def test_all_but_the_mask_embedding_is_trainable_at_first() -> None:
    encoder = load(locate("tiny"))
    frozen = [n for n, p in encoder.model.named_parameters() if not p.requires_grad]
    assert frozen == ["masked_spec_embed"]
