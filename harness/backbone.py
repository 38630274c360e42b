"""How to get a pretrained encoder: hub id, local folder, bundled `tiny`, or a known geometry."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serbench.harness.errors import BackboneError

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "BUNDLE",
    "BUNDLED",
    "GEOMETRIES",
    "SAMPLE_RATE_HZ",
    "Backbone",
    "Geometry",
    "Located",
    "depth",
    "from_config",
    "load",
    "locate",
    "names",
]

SAMPLE_RATE_HZ = 16_000
FAMILIES = ("wav2vec2", "hubert", "wavlm")
RANDOM_SEED = 0
"""Random weights stand in for pretrained ones, so they are the same for every run."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """A published encoder's shape: what differs from its family's default configuration."""

    family: str
    hub_id: str
    normalize: bool
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    summary: str = ""


LAYERS = "num_hidden_layers"
USUAL_LAYERS = 12
"""Of a configuration that does not say it, in all families."""
_LARGE = {
    "hidden_size": 1024,
    LAYERS: 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
_LAYER_NORMS = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
BUNDLE = Path(__file__).parent / "bundled"
BUNDLED = {"tiny": "3.0 M parameters, 6 layers, bundled; pretrained on 7 hours of speech"}
"""Encoders that come with the package, each a `from_pretrained` folder with its model card."""

GEOMETRIES: dict[str, Geometry] = {
    "wav2vec2-base": Geometry(
        family="wav2vec2",
        hub_id="facebook/wav2vec2-base",
        normalize=True,
        summary="95 M parameters, 12 layers (Baevski et al., 2020)",
    ),
    "wav2vec2-large-robust": Geometry(
        family="wav2vec2",
        hub_id="facebook/wav2vec2-large-robust",
        normalize=True,
        config={**_LARGE, **_LAYER_NORMS},
        summary="317 M parameters, 24 layers (Hsu et al., 2021)",
    ),
    "hubert-base": Geometry(
        family="hubert",
        hub_id="facebook/hubert-base-ls960",
        normalize=True,
        summary="95 M parameters, 12 layers (Hsu et al., 2021)",
    ),
    "hubert-large": Geometry(
        family="hubert",
        hub_id="facebook/hubert-large-ll60k",
        normalize=True,
        config={**_LARGE, **_LAYER_NORMS},
        summary="317 M parameters, 24 layers (Hsu et al., 2021)",
    ),
    "wavlm-base-plus": Geometry(
        family="wavlm",
        hub_id="microsoft/wavlm-base-plus",
        normalize=False,
        summary="95 M parameters, 12 layers (Chen et al., 2022)",
    ),
    "wavlm-large": Geometry(
        family="wavlm",
        hub_id="microsoft/wavlm-large",
        normalize=True,
        config={**_LARGE, "feat_extract_norm": "layer", "do_stable_layer_norm": True},
        summary="317 M parameters, 24 layers (Chen et al., 2022)",
    ),
}


def names() -> dict[str, str]:
    """What can be asked for by a name alone, and what it is, in one line."""
    return {**BUNDLED, **{name: geometry.summary for name, geometry in GEOMETRIES.items()}}


@dataclass(frozen=True)
class Located:
    """Where an encoder's weights are, and a hash that identifies them.

    `folder` is None for a geometry with random weights.
    """

    name: str
    init: str
    folder: str | None
    hash: str


def locate(name: str, init: str = "pretrained") -> Located:
    """Find an encoder without loading it; fetch it only if it is a hub id that is not at hand.

    What is bundled needs no network, and neither does anything with `init="random"` whose geometry
    is known or lies in a local folder.

    Raises:
        BackboneError: there is no such encoder, or the hub cannot be reached.
    """
    if init not in ("pretrained", "random"):
        raise BackboneError(f"--init is 'pretrained' or 'random', not '{init}'")
    geometry = GEOMETRIES.get(name)
    if geometry is not None and init == "random":
        return Located(name, "random", None, _geometry_hash(geometry))
    folder = BUNDLE / name if name in BUNDLED else Path(name).expanduser()
    if not folder.is_dir():
        folder = _from_hub(geometry.hub_id if geometry else name)
    if not (folder / "config.json").is_file():
        raise BackboneError(f"{folder} holds no config.json, so it is no from_pretrained folder")
    present = (folder / name for name in ("config.json", "preprocessor_config.json"))
    settings = [path for path in present if path.is_file()]
    if init == "random":
        return Located(name, "random", str(folder), _files_hash(settings))
    weights = [*sorted(folder.glob("model*.safetensors"))] or [
        *sorted(folder.glob("pytorch_model*.bin"))
    ]
    if not weights:
        raise BackboneError(f"{folder} holds neither model.safetensors nor pytorch_model.bin")
    return Located(name, "pretrained", str(folder), _files_hash(settings + weights))


def depth(located: Located) -> int:
    """How many transformer layers an encoder has, by its configuration alone.

    Raises:
        BackboneError: the configuration is none.
    """
    if located.folder is None:
        return int(GEOMETRIES[located.name].config.get(LAYERS, USUAL_LAYERS))
    path = Path(located.folder) / "config.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8")).get(LAYERS, USUAL_LAYERS))
    except (AttributeError, OSError, TypeError, ValueError) as error:
        raise BackboneError(f"{path} is no configuration: {error}") from error


def _geometry_hash(geometry: Geometry) -> str:
    facts = [geometry.family, geometry.normalize, dict(geometry.config), RANDOM_SEED]
    text = json.dumps(facts, sort_keys=True, default=list)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _files_hash(paths: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for path in paths:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            for block in iter(functools.partial(file.read, 1 << 22), b""):
                digest.update(block)
    return digest.hexdigest()


def _from_hub(repo: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    if repo.count("/") != 1 or repo.startswith((".", "/", "~")):
        raise BackboneError(
            f"there is no backbone '{repo}': it is neither a folder here, nor a hub id like "
            f"facebook/wav2vec2-base, nor one of {', '.join(names())}"
        )
    for weights in ("*.safetensors", "*.bin"):
        patterns = ["config.json", "preprocessor_config.json", weights]
        for at_hand in (True, False):
            try:
                found = snapshot_download(repo, allow_patterns=patterns, local_files_only=at_hand)
            except HFValidationError as error:
                raise BackboneError(f"'{repo}' is no hub id: {error}") from error
            except Exception as error:  # the hub client raises whatever its transport raises
                if not at_hand:
                    raise BackboneError(_unreachable(repo, error)) from error
                continue
            if any(Path(found).glob(weights)):
                return Path(found)
    raise BackboneError(f"the hub's '{repo}' holds neither *.safetensors nor *.bin")


def _unreachable(repo: str, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return (
        f"'{repo}' is not on this machine and could not be fetched from the hub ({reason}). "
        "Fetch it where there is a network (hf download "
        f"{repo} --local-dir FOLDER) and name the folder: --backbone FOLDER; or measure its cost "
        "with a known geometry and random weights: --backbone wav2vec2-base --init random"
    )


@dataclass(kw_only=True)
class Backbone:
    """An encoder in memory, for a strategy to adapt.

    `model` is a `Wav2Vec2Model`, `HubertModel` or `WavLMModel`. `total_steps` is the number of
    optimiser steps that are planned. `layer_weights` (K,), if set, mixes the K = layers + 1 frame
    states instead of taking the last, and the mixture is divided by `mixture_scale`; `tuner` is
    PEFT's wrapper, once `inject` was called.
    """

    name: str
    model: Any
    normalize: bool
    total_steps: int = 1
    layer_weights: nn.Parameter | None = None
    mixture_scale: float = 1.0
    tuner: Any = None

    @property
    def convolutions(self) -> nn.Module:
        """The convolutional feature encoder, from samples to frames."""
        module: nn.Module = self.model.feature_extractor
        return module

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer layers, from the input's side."""
        layers: nn.ModuleList = self.model.encoder.layers
        return layers

    def freeze(self) -> None:
        """Let nothing in the encoder learn."""
        self.model.requires_grad_(False)

    def inject(self, config: Any) -> None:
        """Add the adapters of a PEFT configuration to the encoder, in place; the rest is frozen."""
        from peft import get_peft_model

        self.tuner = get_peft_model(self.model, config)

    def mix_layers(self) -> None:
        """Learn a softmax-weighted sum over the frame states of all layers (Yang et al., 2021).

        Where layers normalise their input, the states that they pass on are of any size, and no one
        learning rate would suit heads on them: there the sum is divided by its own size on noise.
        """
        import torch

        count = len(self.layers) + 1
        self.layer_weights = torch.nn.Parameter(torch.ones(count) / count)
        if self.model.config.do_stable_layer_norm:
            self.mixture_scale = self._state_size()

    def _state_size(self) -> float:
        """Root mean square of the layers' mean state for a second of noise, in eval mode.

        The noise is as loud as what the encoder hears: of unit variance if it is standardised, else
        of -26 dB against full scale, a usual level of recorded speech.
        """
        import torch

        noise = torch.randn(1, SAMPLE_RATE_HZ, generator=torch.Generator().manual_seed(0))
        noise *= 1.0 if self.normalize else 10 ** (-26 / 20)
        self.model.eval()
        with torch.no_grad():
            states = self.model(noise.to(self.model.device), output_hidden_states=True)
            # The last one may have gone through the final norm.
            return float(torch.stack(states.hidden_states[:-1]).mean(0).square().mean().sqrt())

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters that learn, by name, the layer weights included."""
        yield from ((n, p) for n, p in self.model.named_parameters() if p.requires_grad)
        if self.layer_weights is not None:
            yield "layer_weights", self.layer_weights


def load(located: Located) -> Backbone:
    """Load an encoder with every parameter trainable except the mask embedding.

    The mask embedding serves SpecAugment alone, which no run here applies.

    Raises:
        BackboneError: the folder does not hold a complete encoder of a known family.
    """
    from transformers import AutoConfig

    if located.folder is not None:
        return _from_folder(located)
    geometry = GEOMETRIES[located.name]
    config = AutoConfig.for_model(geometry.family, **geometry.config)
    return from_config(config, name=located.name, normalize=geometry.normalize)


def from_config(config: Any, *, name: str, normalize: bool) -> Backbone:
    """An encoder of a library configuration, with random weights that are always the same.

    Raises:
        BackboneError: it is of no known family.
    """
    backbone = Backbone(name=name, model=_random(config), normalize=normalize)
    _make_trainable(backbone.model)
    return backbone


def _make_trainable(model: Any) -> None:
    if model.config.model_type == "wavlm":
        from serbench.harness import wavlm

        wavlm.attend_through_projections(model)
    model.requires_grad_(True)
    if hasattr(model, "masked_spec_embed"):
        model.masked_spec_embed.requires_grad_(False)


def _random(config: Any) -> Any:
    import torch
    from transformers import AutoModel

    _check_family(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        # A configuration remembers that its weights were saved in 16 bits.
        return AutoModel.from_config(
            config, attn_implementation=_attention(config), dtype=torch.float32
        )


def _from_folder(located: Located) -> Backbone:
    from transformers import AutoConfig, AutoModel

    folder = Path(str(located.folder))
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise BackboneError(f"{folder}/config.json: {error}") from error
    _check_family(config)
    if located.init == "random":
        return from_config(config, name=located.name, normalize=_normalizes(folder))
    try:
        model, report = AutoModel.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            output_loading_info=True,
            attn_implementation=_attention(config),
            dtype="float32",
        )
    except Exception as error:  # safetensors, pickle and torch each raise their own kind
        raise BackboneError(f"{folder}: the weights cannot be read: {error}") from error
    absent = sorted(set(report["missing_keys"]) - {"masked_spec_embed"})
    if absent or report["mismatched_keys"]:
        lacking = ", ".join([*absent[:3], *map(str, list(report["mismatched_keys"])[:3])])
        raise BackboneError(f"{folder}: weights are missing or of another shape: {lacking}, …")
    _make_trainable(model)
    return Backbone(name=located.name, model=model, normalize=_normalizes(folder))


def _check_family(config: Any) -> None:
    if config.model_type not in FAMILIES:
        raise BackboneError(f"'{config.model_type}' is none of the families {', '.join(FAMILIES)}")
    if getattr(config, "add_adapter", False):
        raise BackboneError("encoders with add_adapter=true have no sequence classification class")


def _attention(config: Any) -> str:
    return "eager" if config.model_type == "wavlm" else "sdpa"


def _normalizes(folder: Path) -> bool:
    """Whether the feature extractor brings each utterance to zero mean and unit variance."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return True  # the default of transformers.Wav2Vec2FeatureExtractor
    settings = json.loads(path.read_text(encoding="utf-8"))
    rate = settings.get("sampling_rate", SAMPLE_RATE_HZ)
    if rate != SAMPLE_RATE_HZ:
        raise BackboneError(f"{path}: the encoder wants {rate} Hz; this harness feeds 16000 Hz")
    return bool(settings.get("do_normalize", True))
