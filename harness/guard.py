"""Whether a strategy trained what it said it would, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from serbench.harness.backbone import Backbone
from serbench.harness.errors import StrategyError

__all__ = ["Guard", "bit_sums"]


class Guard:
    """Remembers a backbone's tensors by sums over their bits, to compare them after training.

    Args:
        backbone: as the strategy has adapted it, before the first step.
        label: the run's spec string, for messages.
        head_only: whether the strategy says that nothing of the backbone learns.

    Raises:
        StrategyError: nothing in the backbone is trainable although it should be, or the reverse.
    """

    def __init__(self, backbone: Backbone, label: str, head_only: bool) -> None:
        self._backbone, self._label, self._head_only = backbone, label, head_only
        learning = [name for name, _ in backbone.trainable()]
        if not learning and not head_only:
            raise StrategyError(
                f"{label} leaves nothing in the backbone to learn; if that is meant, set "
                "head_only = True on the strategy"
            )
        if learning and head_only:
            raise StrategyError(f"{label} is head_only, yet trains {_few(learning)}")
        self._before = self._sums()

    def check(self, learned: frozenset[str]) -> None:
        """Compare with what was remembered; `learned` are the names that could move at any time.

        Raises:
            StrategyError: a frozen tensor moved, or nothing that could move did.
        """
        after = self._sums()
        moved = {name for name, value in after.items() if value != self._before.get(name)}
        astray = sorted(moved - learned)
        if astray:
            raise StrategyError(f"{self._label} moved what it had frozen: {_few(astray)}")
        if not moved and not self._head_only:
            raise StrategyError(
                f"{self._label} trained, but nothing in the backbone moved, out of {_few(learned)}"
            )

    def _sums(self) -> dict[str, tuple[int, int]]:
        parameters = dict(self._backbone.model.named_parameters())
        if self._backbone.layer_weights is not None:
            parameters["layer_weights"] = self._backbone.layer_weights
        return {name: bit_sums(tensor.detach()) for name, tensor in parameters.items()}


def bit_sums(tensor: Tensor) -> tuple[int, int]:
    """Two sums over a tensor's bit patterns, which any change of a value or of the order moves.

    Integers add up to the same in any order, unlike floating point.
    """
    whole = tensor.flatten().contiguous().view(torch.uint8)
    bits = functional.pad(whole, (0, -len(whole) % 8)).view(torch.int64)
    places = torch.arange(1, len(bits) + 1, device=bits.device)
    return int(bits.sum()), int((bits * places).sum())


def _few(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(listed[:3]) + more
