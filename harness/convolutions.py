"""The frozen convolutions as matrix products over channels-last frames (decision 0014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation

__all__ = ["FrozenConvolutions"]

GRID = 8
"""Utterances are computed at lengths of so many frames, since each new shape costs a set-up."""


@dataclass(frozen=True)
class _Layer:
    """One convolution, (k, in, out) taps with their strides, what norms it and what follows."""

    weight: Tensor
    bias: Tensor | None
    stride: int
    norm: nn.Module | None


class FrozenConvolutions:
    """Convolutions whose weights stay as they are now, on the CPU and without gradient.

    Args:
        extractor: the encoder's `feature_extractor`.
        dtype: what is computed in.
    """

    def __init__(self, extractor: Any, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._layers = [_layer(each) for each in extractor.conv_layers]
        self._products = [_runs(layer, dtype) for layer in self._layers]

    @staticmethod
    def covers(extractor: Any) -> bool:
        """Whether these are convolutions of the kinds that are known here."""
        first, *others = extractor.conv_layers
        if any(
            module._forward_hooks or module._forward_pre_hooks for module in extractor.modules()
        ):
            return False
        return _is_known(first, nn.GroupNorm, nn.LayerNorm) and all(
            _is_known(layer, nn.LayerNorm) for layer in others
        )

    def __call__(self, waveforms: Tensor, samples: Tensor) -> Tensor:
        """(B, S) zero-padded waveforms to (B, T, C) frames; padded frames are zero.

        `samples` (B,) are the valid ones. Statistics over time are over each utterance's own.
        """
        frames = samples
        for layer in self._layers:
            frames = (frames - len(layer.weight)) // layer.stride + 1
        longest = int(frames.max())
        width = self._layers[-1].weight.shape[-1]
        out = waveforms.new_zeros((len(samples), longest, width), dtype=self._dtype)
        for row, wave, count, valid in zip(
            out, waveforms, samples.tolist(), frames.tolist(), strict=True
        ):
            computed = min(-(-valid // GRID) * GRID, longest)
            row[:valid] = self._one(wave, count, self._reach(computed))[:valid]
        return out

    def _reach(self, frames: int) -> int:
        """Samples that so many frames are made of."""
        for layer in reversed(self._layers):
            frames = (frames - 1) * layer.stride + len(layer.weight)
        return frames

    def _one(self, wave: Tensor, valid: int, reach: int) -> Tensor:
        first, *others = self._layers
        windows = wave[: max(valid, reach)].unfold(0, len(first.weight), first.stride)
        x = self._first(windows, *(self._windows(samples) for samples in (valid, reach)))
        for layer, products in zip(others, self._products[1:], strict=True):
            x = _activated(_convolved(x, layer, products), layer)
        return x

    def _windows(self, samples: int) -> int:
        return (samples - len(self._layers[0].weight)) // self._layers[0].stride + 1

    def _first(self, windows: Tensor, valid: int, reached: int) -> Tensor:
        layer = self._layers[0]
        rows = windows[:reached].to(self._dtype).contiguous()
        if isinstance(layer.norm, nn.GroupNorm):
            weight, bias = _folded(windows[:valid].double(), layer, layer.norm)
            return _gelu_(torch.addmm(bias.to(self._dtype), rows, weight.to(self._dtype)))
        weight = layer.weight[:, 0].to(self._dtype)
        if layer.bias is None:
            return _activated(rows @ weight, layer)
        return _activated(torch.addmm(layer.bias.to(self._dtype), rows, weight), layer)


def _is_known(layer: Any, *norms: type[nn.Module]) -> bool:
    convolution, norm = layer.conv, getattr(layer, "layer_norm", None)
    per_channel = not isinstance(norm, nn.GroupNorm) or norm.num_groups == norm.num_channels
    return (
        type(layer).__module__.startswith("transformers.models.")
        and type(convolution) is nn.Conv1d
        and convolution.groups == 1
        and convolution.padding == (0,)
        and convolution.dilation == (1,)
        and (norm is None or type(norm) in norms)
        and per_channel
        and type(layer.activation) is GELUActivation
    )


def _layer(layer: Any) -> _Layer:
    weight = layer.conv.weight.detach().permute(2, 1, 0)
    bias = None if layer.conv.bias is None else layer.conv.bias.detach()
    return _Layer(weight, bias, layer.conv.stride[0], getattr(layer, "layer_norm", None))


def _runs(layer: _Layer, dtype: torch.dtype) -> list[Tensor]:
    """The taps in runs of `stride`, each as a (taps · in, out) matrix."""
    return [
        taps.to(dtype).reshape(-1, taps.shape[-1]).contiguous()
        for taps in layer.weight.split(layer.stride)
    ]


def _convolved(x: Tensor, layer: _Layer, products: list[Tensor]) -> Tensor:
    """(T, in) to (T', out): row t of a product reads the frames from t · stride on."""
    frames = (len(x) - len(layer.weight)) // layer.stride + 1
    width = x.shape[1]
    y = None if layer.bias is None else layer.bias.to(x.dtype)
    for run, matrix in enumerate(products):
        first = x[run * layer.stride :]
        rows = first.as_strided((frames, len(matrix)), (layer.stride * width, 1))
        if y is None:
            y = rows @ matrix
        else:
            y = torch.addmm(y, rows, matrix) if y.dim() == 1 else y.addmm_(rows, matrix)
    assert y is not None
    return y


def _folded(windows: Tensor, layer: _Layer, norm: nn.GroupNorm) -> tuple[Tensor, Tensor]:
    """Weights (k, out) and bias (out,) that convolve and normalise over `windows` (T, k) at once.

    For y = w·u the mean over time is w·mean(u), and the variance wᵀ cov(u) w.
    """
    weight = layer.weight[:, 0].double()
    mean = windows.mean(0)
    covariance = windows.T @ windows / len(windows) - torch.outer(mean, mean)
    variance = torch.einsum("kc,kl,lc->c", weight, covariance, weight)
    scale = (variance.clamp(min=0) + norm.eps).rsqrt()
    bias = -(mean @ weight) * scale
    if norm.affine:
        scale = scale * norm.weight.detach()
        bias = bias * norm.weight.detach() + norm.bias.detach()
    # A bias of the convolution itself is part of the mean that is taken away.
    return weight * scale, bias


def _activated(x: Tensor, layer: _Layer) -> Tensor:
    return _gelu_(x if layer.norm is None else layer.norm(x))


def _gelu_(x: Tensor) -> Tensor:
    activated: Tensor = torch.ops.aten.gelu_(x)
    return activated
