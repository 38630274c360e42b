"""Linear probing of a frozen encoder (Alain & Bengio, 2016, arXiv:1610.01644)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from serbench.harness.backbone import Backbone
from serbench.harness.strategy import Strategy, register


@register("frozen")
@dataclass(frozen=True, kw_only=True)
class Frozen(Strategy):
    """Train the head alone, on the last layer's states."""

    head_only: ClassVar[bool] = True

    def adapt(self, backbone: Backbone) -> None:
        """Freeze the whole encoder."""
        backbone.freeze()
