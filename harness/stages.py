"""The encoder as a chain of stages; where the frozen prefix ends.

Stage 0 turns samples into frames (convolutions), stage 1 projects them and adds positions, then
every transformer layer is a stage, and with pre-norm layers the final norm is one more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.masking_utils import create_bidirectional_mask

from serbench.harness.backbone import Backbone
from serbench.harness.dropout import ATTENTION
from serbench.harness.guard import bit_sums

__all__ = ["Stages", "frame_mask"]


def frame_mask(lengths: Tensor, frames: int, device: torch.device) -> Tensor | None:
    """Valid frames as (B, T) bool, or None if no utterance is padded. `lengths` is on the CPU."""
    if int(lengths.min()) == frames:
        return None
    return torch.arange(frames, device=device) < lengths.to(device, non_blocking=True)[:, None]


@dataclass(frozen=True)
class _Stage:
    name: str
    modules: tuple[nn.Module, ...]
    forward: Callable[[Tensor, Tensor | None], Tensor]


class Stages:
    """A backbone, runnable from any stage to any other.

    With `backbone.layer_weights` set, the frame states from the first layer's input on are kept
    side by side, (B, T, K·H), and `output` mixes them.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.model = backbone.model
        self.mixing = backbone.layer_weights is not None
        encoder = self.model.encoder
        self._chain = [
            _Stage("projection", self._front_modules(), self._project),
            *(
                _Stage(f"layer {i}", (layer,), self._layer(layer))
                for i, layer in enumerate(encoder.layers)
            ),
        ]
        # The library's own layer mixing takes the states before the final norm.
        if self.model.config.do_stable_layer_norm and not self.mixing:
            self._chain.append(
                _Stage("final norm", (encoder.layer_norm,), lambda x, valid: encoder.layer_norm(x))
            )

    def __len__(self) -> int:
        return len(self._chain) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """The stages' names, from the waveform on."""
        return ("convolutions", *(stage.name for stage in self._chain))

    def modules(self, index: int) -> tuple[nn.Module, ...]:
        """The modules that stage `index` is made of."""
        return (self.backbone.convolutions,) if index == 0 else self._chain[index - 1].modules

    def frozen_depth(self) -> int:
        """Leading stages with no trainable parameter: they never change, so they can be cached."""
        for index in range(len(self)):
            if any(p.requires_grad for m in self.modules(index) for p in m.parameters()):
                return index
        return len(self)

    def digest(self, depth: int) -> str:
        """Hash of every tensor in the stages before `depth`, as they are now."""
        digest = hashlib.blake2b(digest_size=8)
        for index in range(depth):
            for module in self.modules(index):
                for name, tensor in module.state_dict().items():
                    digest.update(f"{index} {name} {bit_sums(tensor)}".encode())
        return digest.hexdigest()

    def set_training(self, depth: int) -> None:
        """Dropout in the stages from `depth` on, none before."""
        self.model.eval()
        for index in range(depth, len(self)):
            for module in self.modules(index):
                module.train()

    def frames(self, samples: Tensor) -> Tensor:
        """Frames that come of so many samples; both (B,) integers."""
        config = self.model.config
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            samples = torch.div(samples - kernel, stride, rounding_mode="floor") + 1
        return samples

    def samples(self, frames: Tensor) -> Tensor:
        """The fewest samples that so many frames come of; both (B,) integers."""
        config = self.model.config
        for kernel, stride in zip(config.conv_kernel[::-1], config.conv_stride[::-1], strict=True):
            frames = (frames - 1) * stride + kernel
        return frames

    def width(self, depth: int) -> int:
        """Values a frame in the state that enters stage `depth` (at least 1)."""
        if depth == 1:
            return int(self.model.config.conv_dim[-1])
        return int(self.model.config.hidden_size) * (depth - 1 if self.mixing else 1)

    def convolve(self, waveforms: Tensor, samples: Tensor) -> Tensor:
        """Stage 0: (B, S) zero-padded waveforms to (B, T, C) frames, padded ones zero.

        A GroupNorm over time takes its statistics over each utterance's own valid frames, so that
        a batch equals its utterances one by one.
        """
        config = self.model.config
        x, lengths = waveforms[:, None], samples
        layers = zip(
            self.model.feature_extractor.conv_layers,
            config.conv_kernel,
            config.conv_stride,
            strict=True,
        )
        for layer, kernel, stride in layers:
            lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
            x = _convolve(layer, x, lengths)
        frames = x.transpose(1, 2).contiguous()
        return _zero_padding(frames, frame_mask(lengths, frames.shape[1], frames.device))

    def run(self, state: Tensor, lengths: Tensor, start: int, stop: int | None = None) -> Tensor:
        """Take the state that enters stage `start` (at least 1) to the one that enters `stop`.

        Args:
            state: (B, T, width(start)).
            lengths: valid frames, (B,), on the CPU.
            start: first stage to run.
            stop: first stage not to run; all if None.

        Returns:
            (B, T, width(stop)) with padded frames set to zero.
        """
        stop = len(self) if stop is None else stop
        valid = frame_mask(lengths, state.shape[1], state.device)
        self._position_bias: Tensor | None = None
        self._attention_mask: Tensor | None = None
        hidden_size = self.model.config.hidden_size
        kept = [] if start < 2 or not self.mixing else [state]
        x = state if not kept else state[..., -hidden_size:]
        for index in range(start, stop):
            x = self._chain[index - 1].forward(x, valid)
            if self.mixing:
                kept.append(x)
        return _zero_padding(torch.cat(kept, dim=-1) if self.mixing and kept else x, valid)

    def output(self, state: Tensor) -> Tensor:
        """The frame states that a head sees, (B, T, H), from the state after the last stage."""
        weights = self.backbone.layer_weights
        if weights is None:
            return state
        layers = state.unflatten(-1, (len(weights), -1))
        shares = weights.softmax(0) / self.backbone.mixture_scale
        return torch.einsum("btkh,k->bth", layers, shares.to(layers.dtype))

    def _front_modules(self) -> tuple[nn.Module, ...]:
        encoder = self.model.encoder
        front = (self.model.feature_projection, encoder.pos_conv_embed, encoder.dropout)
        return front if self.model.config.do_stable_layer_norm else (*front, encoder.layer_norm)

    def _project(self, x: Tensor, valid: Tensor | None) -> Tensor:
        encoder = self.model.encoder
        projected = self.model.feature_projection(x)
        # HuBERT returns the projection alone, the others also the normalised input.
        x = projected[0] if isinstance(projected, tuple) else projected
        x = _zero_padding(x, valid)
        x = x + _positions(encoder.pos_conv_embed, x, valid)
        if not self.model.config.do_stable_layer_norm:
            x = encoder.layer_norm(x)
        dropped: Tensor = encoder.dropout(x)
        return dropped

    def _layer(self, layer: Any) -> Callable[[Tensor, Tensor | None], Tensor]:
        if self.model.config.model_type == "wavlm":
            return lambda x, valid: layer(
                x, attention_mask=valid, position_bias=self._bias(x), index=0
            )[0]

        return lambda x, valid: layer(x, attention_mask=self._mask(x, valid))

    def _mask(self, x: Tensor, valid: Tensor | None) -> Tensor | None:
        """The mask in the form that the library's present kind of attention takes, once a pass."""
        config = self.model.config
        if valid is not None and self._attention_mask is None:
            # The library's way asks the device whether anything is masked, which is known here.
            self._attention_mask = (
                valid[:, None, None, :]
                if config._attn_implementation in ("sdpa", ATTENTION)
                else create_bidirectional_mask(config=config, inputs_embeds=x, attention_mask=valid)
            )
        return self._attention_mask

    def _bias(self, x: Tensor) -> Tensor:
        """WavLM's relative positions, (B·heads, T, T): computed once a pass, by layer 0's table."""
        if self._position_bias is None:
            batch, frames = x.shape[:2]
            table = self.model.encoder.layers[0].attention.compute_bias(frames, frames)
            self._position_bias = table.repeat(batch, 1, 1)
        return self._position_bias


def _zero_padding(x: Tensor, valid: Tensor | None) -> Tensor:
    return x if valid is None else x.masked_fill(~valid[..., None], 0.0)


def _convolve(layer: Any, x: Tensor, lengths: Tensor) -> Tensor:
    norm = getattr(layer, "layer_norm", None)
    if not isinstance(norm, nn.GroupNorm) or int(lengths.min()) == int(lengths.max()):
        y: Tensor = layer(x)
        return y
    x = layer.conv(x)
    frames = x.shape[-1]
    rows = [
        functional.pad(norm(row[None, :, :length]), (0, frames - length))
        for row, length in zip(x, lengths.tolist(), strict=True)
    ]
    activated: Tensor = layer.activation(torch.cat(rows))
    return activated


def _positions(embedding: Any, x: Tensor, valid: Tensor | None) -> Tensor:
    """The positional convolution; padding stays zero even where a BatchNorm comes before it."""
    norm = getattr(embedding, "batch_norm", None)
    if norm is None or valid is None:
        y: Tensor = embedding(x)
        return y
    x = _zero_padding(norm(x.transpose(1, 2)).transpose(1, 2), valid).transpose(1, 2)
    y = embedding.activation(embedding.padding(embedding.conv(x)))
    return y.transpose(1, 2)
