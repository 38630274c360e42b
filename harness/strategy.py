"""What a strategy is; how strategies are registered, found and written as a spec string."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar, get_args

from serbench.harness import plugins
from serbench.harness.errors import RequestError, StrategyError
from serbench.harness.plugins import Registry, Value, settings_written

if TYPE_CHECKING:
    from torch import Tensor, nn

    from serbench.harness.backbone import Backbone

__all__ = [
    "PRECISIONS",
    "REGISTRY",
    "Entry",
    "Precision",
    "Strategy",
    "Variant",
    "discover",
    "entries",
    "find",
    "parse",
    "register",
]

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
COUNTS = ("rank", "initial_rank", "width", "layers", "first", "step")
"""Settings, by name, of which there must be one at least for anything to be learnt."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """Says which parameters of a backbone learn. Subclass it as a frozen dataclass.

    The fields are the hyperparameters: from their declaration come the words on the command line,
    the stored configuration and the fingerprint. Types are int, float, str, bool and
    tuple[str, ...]; every field has a default.
    """

    head_only: ClassVar[bool] = False
    """Whether nothing of the backbone learns by design; otherwise that is an error."""

    lr: float = 1e-4
    """Peak learning rate of the backbone's trainable parameters; the head has its own."""

    def check(self, layers: int) -> None:
        """Refuse, before anything runs, what cannot work with an encoder of so many layers.

        By default a learning rate is above 0 where something of the backbone learns, a `dropout` is
        from 0 to below 1, a setting whose default is a whole number from 0 on is not below 0, nor
        one of `COUNTS` below 1 unless that is its default, and `layers` are no more than the
        encoder has. Override it where settings mean something else, or have other bounds.

        Raises:
            ValueError: the first setting that is wrong, and what it may be.
        """
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            usual: Any = field.default
            whole, real = type(value) is int, isinstance(value, int | float)
            counts = whole and type(usual) is int and usual >= 0
            if name == "lr" and not (value > 0 or self.head_only):
                raise ValueError(f"lr is above 0, not {value}")
            if name == "dropout" and real and not 0 <= value < 1:
                raise ValueError(f"dropout is from 0 to below 1, not {value}")
            least = min(1, usual) if counts and name in COUNTS else 0
            if counts and value < least:
                raise ValueError(f"{name} is at least {least}, not {value}")
            if name == "layers" and whole and value > layers:
                raise ValueError(f"layers is at most the encoder's {layers}, not {value}")

    def adapt(self, backbone: Backbone) -> None:
        """Set `requires_grad` on the parameters of `backbone.model`, or add modules to it."""
        raise StrategyError(f"{type(self).__name__} does not define adapt(backbone)")

    def param_groups(self, model: nn.Module, lr: float) -> list[dict[str, Any]]:
        """Optimiser groups over the trainable parameters of `model`; `lr` is this strategy's."""
        return [{"params": [p for p in model.parameters() if p.requires_grad], "lr": lr}]

    def on_epoch_start(self, backbone: Backbone, epoch: int) -> None:
        """Change what trains before epoch `epoch` (from 0); the trainer notices by itself."""

    def after_step(self, backbone: Backbone, step: int) -> None:
        """Act after optimiser step `step` (from 0), while the gradients still stand."""

    def penalty(self, backbone: Backbone) -> Tensor | None:
        """A scalar to add to each training loss, such as a regulariser of the added weights."""
        return None


Entry: TypeAlias = plugins.Entry[Strategy]
S = TypeVar("S", bound=type[Strategy])

REGISTRY: Registry[Strategy] = Registry("strategy", "strategies", "serbench.strategies")


def register(name: str) -> Callable[[S], S]:
    """Claim `name` for a strategy class.

    Raises:
        NameTakenError: another file holds the name.
        StrategyError: the declaration breaks the contract.
    """
    return REGISTRY.register(name)


def discover(files: tuple[str, ...] = ()) -> None:
    """Import the built-in strategies, the installed plugins, and the plugins in `files`.

    Raises:
        RequestError: one of the files cannot be loaded.
        NameTakenError: a name is claimed twice.
    """
    REGISTRY.discover()
    for path in files:
        plugins.load_file(path)


def entries() -> Iterator[Entry]:
    """Every registered strategy, by name."""
    return REGISTRY.entries()


def find(name: str) -> Entry:
    """Look a strategy up.

    Raises:
        RequestError: there is none of that name; near names are suggested.
    """
    return REGISTRY.find(name)


@dataclass(frozen=True)
class Variant:
    """A strategy with its hyperparameters, and the two axes that the harness owns.

    `stated` are the hyperparameters that the spec string gave: its label shows them even where
    they are the defaults. Two variants are equal if they do the same.
    """

    name: str
    strategy: Strategy
    precision: Precision = "fp32"
    cached: bool = False
    stated: frozenset[str] = dataclasses.field(default=frozenset(), compare=False)

    @property
    def config(self) -> dict[str, Value]:
        """All hyperparameters, defaults included."""
        return dataclasses.asdict(self.strategy)

    @property
    def label(self) -> str:
        """The spec string in its canonical form: what was stated or is not the default."""
        label = settings_written(self.name, self.strategy, self.stated)
        if self.precision != "fp32":
            label += f"+{self.precision}"
        return label + ("+cache" if self.cached else "")


def parse(text: str) -> Variant:
    """Read `name[:field=value,…][+bf16|+fp16][+cache]`; a tuple's values are joined by `/`.

    Raises:
        RequestError: what is wrong with the text, and what would be right.
    """
    # The plus of 1e+3 is no axis.
    head, *axes = re.split(r"\+(?![0-9])", text.strip())
    name, strategy, stated = REGISTRY.parse(head, text)
    unknown = [axis for axis in axes if axis not in (*PRECISIONS, "cache")]
    if unknown:
        raise RequestError(f"'{text}': '+{unknown[0]}' is none of +fp32, +bf16, +fp16, +cache")
    precisions = [axis for axis in PRECISIONS if axis in axes]
    if len(precisions) > 1 or len(set(axes)) < len(axes):
        raise RequestError(f"'{text}' names more than one precision, or one axis twice")
    precision = precisions[0] if precisions else "fp32"
    return Variant(name, strategy, precision, "cache" in axes, stated)
