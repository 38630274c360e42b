"""What a strategy is; how strategies are registered, found and written as a spec string."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import math
import pkgutil
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, get_args

from serbench.harness.errors import NameTakenError, RequestError, StrategyError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from serbench.harness.backbone import Backbone

__all__ = [
    "PRECISIONS",
    "Entry",
    "Precision",
    "Strategy",
    "Variant",
    "discover",
    "entries",
    "find",
    "load_file",
    "parse",
    "problems",
    "register",
    "written",
]

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Value = int | float | str | bool | tuple[str, ...]
GROUP = "serbench.strategies"


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


@dataclass(frozen=True)
class Entry:
    """A registered strategy: its name, its class, and the file that claims the name."""

    name: str
    cls: type[Strategy]
    origin: str

    @property
    def summary(self) -> str:
        """The first line of the class's docstring."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

    @property
    def source_hash(self) -> str:
        """Hash of the file that defines the strategy, so that a changed one shows as stale."""
        return hashlib.blake2b(Path(self.origin).read_bytes(), digest_size=8).hexdigest()

    def fields(self) -> dict[str, Value]:
        """Hyperparameters and their defaults, in the order of their declaration."""
        return {f.name: typing.cast(Value, f.default) for f in dataclasses.fields(self.cls)}


_entries: dict[str, Entry] = {}
_problems: dict[str, str] = {}

S = TypeVar("S", bound=type[Strategy])


def register(name: str) -> Callable[[S], S]:
    """Claim `name` for a strategy class.

    Raises:
        NameTakenError: another file holds the name.
        StrategyError: the declaration breaks the contract.
    """

    def claim(cls: S) -> S:
        origin = inspect.getsourcefile(cls) or "<unknown>"
        held = _entries.get(name)
        if held is not None and (held.origin, held.cls.__qualname__) != (origin, cls.__qualname__):
            raise NameTakenError(
                f"two strategies claim the name '{name}': {held.origin} and {origin}"
            )
        _check_declaration(name, cls)
        _entries[name] = Entry(name, cls, origin)
        return cls

    return claim


def _check_declaration(name: str, cls: type[Strategy]) -> None:
    if not name or not all(part.isalnum() for part in name.split("-")):
        raise StrategyError(f"'{name}' is no name for a strategy: use letters, digits and '-'")
    if not (dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        raise StrategyError(f"strategy '{name}' ({cls.__name__}) must be a frozen dataclass")
    for field in dataclasses.fields(cls):
        if field.default is dataclasses.MISSING:
            raise StrategyError(f"strategy '{name}': field '{field.name}' has no default")


def discover(plugins: tuple[str, ...] = ()) -> None:
    """Import the built-in strategies, the installed plugins, and the files in `plugins`.

    An installed plugin or a dropped-in file that fails to import is noted in `problems()` and the
    rest go on; a file that was asked for by name and fails is an error.

    Raises:
        RequestError: a file in `plugins` cannot be loaded.
        NameTakenError: a name is claimed twice.
    """
    package = importlib.import_module("serbench.strategies")
    for module in pkgutil.iter_modules(package.__path__, "serbench.strategies."):
        if not module.ispkg:
            _guarded(module.name, functools.partial(importlib.import_module, module.name))
    for point in entry_points(group=GROUP):
        _guarded(point.value, point.load)
    for path in plugins:
        load_file(path)


def _guarded(origin: str, load: Callable[[], object]) -> None:
    try:
        load()
    except NameTakenError:
        raise
    except Exception as error:
        _problems[origin] = f"{type(error).__name__}: {error}"


def load_file(path: str) -> None:
    """Import one plugin file.

    Raises:
        RequestError: it does not exist or fails to import.
    """
    file = Path(path).resolve()
    digest = hashlib.blake2b(str(file).encode(), digest_size=4).hexdigest()
    name = f"serbench_plugin_{file.stem}_{digest}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise RequestError(f"--plugin {path}: there is no such Python file")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except StrategyError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise RequestError(f"--plugin {path}: {type(error).__name__}: {error}") from error


def problems() -> Mapping[str, str]:
    """Plugins that failed to import: where they come from, and why."""
    return dict(_problems)


def entries() -> Iterator[Entry]:
    """Every registered strategy, by name."""
    yield from (_entries[name] for name in sorted(_entries))


def find(name: str) -> Entry:
    """Look a strategy up.

    Raises:
        RequestError: there is none of that name; near names are suggested.
    """
    if name in _entries:
        return _entries[name]
    near = difflib.get_close_matches(name, _entries, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise RequestError(
        f"there is no strategy '{name}'{hint} (serbench list strategies names them all)"
    )


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
        changed = [
            f"{field.name}={written(getattr(self.strategy, field.name))}"
            for field in dataclasses.fields(self.strategy)
            if field.name in self.stated or getattr(self.strategy, field.name) != field.default
        ]
        label = self.name + (":" + ",".join(changed) if changed else "")
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
    name, _, settings = head.partition(":")
    entry = find(name)
    unknown = [axis for axis in axes if axis not in (*PRECISIONS, "cache")]
    if unknown:
        raise RequestError(f"'{text}': '+{unknown[0]}' is none of +fp32, +bf16, +fp16, +cache")
    precisions = [axis for axis in PRECISIONS if axis in axes]
    if len(precisions) > 1 or len(set(axes)) < len(axes):
        raise RequestError(f"'{text}' names more than one precision, or one axis twice")
    values = dict(_setting(text, entry, item) for item in settings.split(",")) if settings else {}
    try:
        strategy = entry.cls(**values)
    except (TypeError, ValueError) as error:
        raise RequestError(f"'{text}': {error}") from error
    precision = precisions[0] if precisions else "fp32"
    return Variant(name, strategy, precision, "cache" in axes, frozenset(values))


def _setting(text: str, entry: Entry, item: str) -> tuple[str, Any]:
    key, equals, raw = item.partition("=")
    hints = typing.get_type_hints(entry.cls)
    if not equals or key not in entry.fields():
        known = ", ".join(f"{k}={written(v)}" for k, v in entry.fields().items())
        raise RequestError(f"'{text}': '{item}' sets nothing; {entry.name} takes {known}")
    try:
        return key, _read(raw, hints[key])
    except ValueError:
        kind = getattr(hints[key], "__name__", str(hints[key]))
        raise RequestError(f"'{text}': {key} takes {kind}, not '{raw}'") from None


def _read(raw: str, kind: Any) -> Value:
    if kind is bool:
        if raw.lower() not in ("true", "false"):
            raise ValueError(raw)
        return raw.lower() == "true"
    if typing.get_origin(kind) is tuple:
        return tuple(part for part in raw.split("/") if part)
    if kind is float and not math.isfinite(float(raw)):
        raise ValueError(raw)
    if kind in (int, float, str):
        return typing.cast(Value, kind(raw))
    raise ValueError(raw)


def written(value: Any) -> str:
    """A setting's value as it stands in a spec string."""
    if isinstance(value, tuple):
        return "/".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
