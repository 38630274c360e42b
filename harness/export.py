"""The trained model in the library's own form: adapters merged, ready for `from_pretrained`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from serbench.harness.backbone import SAMPLE_RATE_HZ, Backbone
from serbench.harness.errors import StrategyError
from serbench.harness.heads.consensus import Consensus

__all__ = ["export"]


def export(
    backbone: Backbone,
    head: Consensus,
    dimensions: Sequence[str],
    folder: Path,
    *,
    scale: tuple[float, float] = (-1.0, 1.0),
) -> None:
    """Write a folder that `AutoModelForAudioClassification.from_pretrained` loads.

    Its logits are the predictions in units where the corpus's scale is [-1, 1], one a dimension,
    named by `id2label`; `label_scale` in the configuration holds that scale's ends. The library's
    class computes a cross-entropy loss if it is given labels: use the logits. Merging changes
    `backbone` for good.

    Raises:
        StrategyError: the strategy added modules that the library's class has no place for.
    """
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    if backbone.tuner is not None:
        backbone.model = backbone.tuner.merge_and_unload()
    config = backbone.model.config
    config.num_labels = len(dimensions)
    config.label_scale = list(scale)
    config.id2label = dict(enumerate(dimensions))
    config.label2id = {name: index for index, name in enumerate(dimensions)}
    config.classifier_proj_size = head.projector.out_features
    config.use_weighted_layer_sum = backbone.layer_weights is not None
    model = AutoModelForAudioClassification.from_config(config)
    encoder = getattr(model, model.base_model_prefix)
    _require_same_parts(set(encoder.state_dict()), set(backbone.model.state_dict()))
    encoder.load_state_dict(backbone.model.state_dict())
    model.projector.load_state_dict(head.projector.state_dict())
    model.classifier.load_state_dict(head.classifier.state_dict())
    if backbone.layer_weights is not None:
        model.layer_weights.data.copy_(backbone.layer_weights.detach())
        # The library has no place for the mixture's scale but the map that follows.
        model.projector.weight.data.div_(backbone.mixture_scale)
    model.save_pretrained(folder)
    settings = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": backbone.normalize,
        "sampling_rate": SAMPLE_RATE_HZ,
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        # Without the mask the library would pool over padding.
        "return_attention_mask": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=1), "utf-8")
    AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)


def _require_same_parts(library: set[str], ours: set[str]) -> None:
    added = sorted(ours - library)
    if added:
        raise StrategyError(
            f"this strategy adds {len(added)} tensors (such as {added[0]}) that cannot be merged "
            "into the library's classes, so its model is not saved"
        )
