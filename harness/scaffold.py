"""The strategy plugin that a newcomer starts from."""

from __future__ import annotations

from pathlib import Path

from serbench.harness.errors import RequestError

__all__ = ["write"]

TEMPLATE = '''"""{title}: what learns, and the paper that it comes from."""

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


def write(name: str, folder: Path) -> Path:
    """Write a working plugin for a strategy of that name, and give its path.

    Raises:
        RequestError: the name is no strategy's name, the file is there already, or the folder
            cannot be written to.
    """
    words = name.split("-")
    if not all(word.isalnum() and word.isascii() for word in words) or not name[0].isalpha():
        raise RequestError(f"'{name}' is no name for a strategy: use letters, digits and '-'")
    path = folder / f"{'_'.join(words)}.py"
    title, cls = " ".join(words).capitalize(), "".join(word.capitalize() for word in words)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE.format(title=title, name=name, cls=cls))
    except FileExistsError:
        raise RequestError(f"{path} is there already") from None
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}") from error
    return path
