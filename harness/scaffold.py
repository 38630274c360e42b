"""The plugins that a newcomer starts from."""

from __future__ import annotations

from pathlib import Path

from serbench.harness.errors import RequestError

__all__ = ["write"]

STRATEGY = '''"""{title}: what learns, and the paper that it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from serbench.harness.backbone import Backbone
from serbench.harness.strategy import Strategy, register


@register("{name}")
@dataclass(frozen=True, kw_only=True)
class {cls}(Strategy):
    """Train the transformer layers' norms only."""

    lr: float = 1e-3
    """Every field is a setting: {name}:lr=0.01 on the command line."""

    def adapt(self, backbone: Backbone) -> None:
        """Say what learns: here, the parameters of the layers' norms."""
        backbone.freeze()
        for name, parameter in backbone.layers.named_parameters():
            parameter.requires_grad_("layer_norm" in name)
'''

HEAD = '''"""{title}: what is predicted, by which loss, and the paper that it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from serbench.harness.heads import Known, Objective, register
from serbench.harness.heads.base import Head, pooled
from serbench.harness.targets import Targets


@register("{name}")
@dataclass(frozen=True, kw_only=True)
class {cls}(Objective):
    """The labels, by their Huber loss."""

    delta: float = 0.5
    """Every field is a setting: {name}:delta=0.1 on the command line."""

    def build(self, known: Known) -> Head:
        """The network."""
        return Network(known, self.delta)


class Network(Head):
    """A linear map of the mean frame state."""

    def __init__(self, known: Known, delta: float) -> None:
        super().__init__()
        self.classifier = nn.Linear(known.hidden_size, len(known.dimensions))
        self.delta = delta

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """(B, D) labels from (B, T, H) states."""
        predicted: Tensor = self.classifier(pooled(hidden, lengths))
        return predicted

    def loss(
        self, hidden: Tensor, lengths: Tensor, targets: Targets, tasks: Sequence[str]
    ) -> Tensor:
        """A scalar; utterances without a label do not count."""
        known = ~targets.labels.isnan()
        predicted = self(hidden, lengths)[known]
        return nn.functional.huber_loss(predicted, targets.labels[known], delta=self.delta)
'''

TEMPLATES = {"strategy": STRATEGY, "head": HEAD}


def write(kind: str, name: str, folder: Path) -> Path:
    """Write a working plugin of that name, a `strategy` or a `head`, and give its path.

    Raises:
        RequestError: the name is none that a plugin can have, the file is there already, or the
            folder cannot be written to.
    """
    words = name.split("-")
    if not all(word.isalnum() and word.isascii() for word in words) or not name[0].isalpha():
        raise RequestError(f"'{name}' is no name for a {kind}: use letters, digits and '-'")
    path = folder / f"{'_'.join(words)}.py"
    title, cls = " ".join(words).capitalize(), "".join(word.capitalize() for word in words)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATES[kind].format(title=title, name=name, cls=cls))
    except FileExistsError:
        raise RequestError(f"{path} is there already") from None
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}") from error
    return path
