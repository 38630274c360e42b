"""How a kind of plugin is registered, found, and written as `name:field=value,…`."""

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
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from serbench.harness.errors import NameTakenError, RequestError, StrategyError

__all__ = ["Entry", "Registry", "Value", "load_file", "problems", "settings_written", "written"]

Value = int | float | str | bool | tuple[str, ...]
P = TypeVar("P")
C = TypeVar("C", bound=type)

_problems: dict[str, str] = {}


@dataclass(frozen=True)
class Entry(Generic[P]):
    """A registered plugin: its name, its class, and the file that claims the name."""

    name: str
    cls: type[P]
    origin: str

    @property
    def summary(self) -> str:
        """The first line of the class's docstring."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

    @property
    def source_hash(self) -> str:
        """Hash of the file that defines the plugin, so that a changed one shows as stale."""
        return hashlib.blake2b(Path(self.origin).read_bytes(), digest_size=8).hexdigest()

    def fields(self) -> dict[str, Value]:
        """Settings and their defaults, in the order of their declaration."""
        cls: Any = self.cls
        return {f.name: typing.cast(Value, f.default) for f in dataclasses.fields(cls)}


class Registry(Generic[P]):
    """All plugins of one kind.

    Args:
        kind: what they are, in a word.
        plural: the same of several.
        group: entry-point group of installed plugins; also the package of the built-in ones.
    """

    def __init__(self, kind: str, plural: str, group: str) -> None:
        self.kind, self.plural, self.group = kind, plural, group
        self._entries: dict[str, Entry[P]] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """Claim `name` for a class.

        Raises:
            NameTakenError: another file holds the name.
            StrategyError: the declaration breaks the contract.
        """

        def claim(cls: C) -> C:
            origin = inspect.getsourcefile(cls) or "<unknown>"
            held = self._entries.get(name)
            if held and (held.origin, held.cls.__qualname__) != (origin, cls.__qualname__):
                raise NameTakenError(
                    f"two {self.plural} claim the name '{name}': {held.origin} and {origin}"
                )
            self._check_declaration(name, cls)
            self._entries[name] = Entry(name, cls, origin)
            return cls

        return claim

    def _check_declaration(self, name: str, cls: Any) -> None:
        if not name or not all(part.isalnum() for part in name.split("-")):
            raise StrategyError(
                f"'{name}' is no name for a {self.kind}: use letters, digits and '-'"
            )
        parameters = getattr(cls, "__dataclass_params__", None)
        if parameters is None or not parameters.frozen:
            raise StrategyError(f"{self.kind} '{name}' ({cls.__name__}) must be a frozen dataclass")
        for field in dataclasses.fields(cls):
            if field.default is dataclasses.MISSING:
                raise StrategyError(f"{self.kind} '{name}': field '{field.name}' has no default")

    def discover(self, modules: Iterable[str] = ()) -> None:
        """Import the built-in plugins, which are in the package `group`, and the installed ones.

        One that fails to import is noted in `problems()` and the rest go on.

        Args:
            modules: where the built-in ones are, if not in every module of that package.

        Raises:
            NameTakenError: a name is claimed twice.
        """
        for module in tuple(modules) or self._modules():
            _guarded(module, functools.partial(importlib.import_module, module))
        for point in entry_points(group=self.group):
            _guarded(point.value, point.load)

    def _modules(self) -> tuple[str, ...]:
        package = importlib.import_module(self.group)
        found = pkgutil.iter_modules(package.__path__, f"{self.group}.")
        return tuple(module.name for module in found if not module.ispkg)

    def entries(self) -> Iterator[Entry[P]]:
        """Every registered plugin, by name."""
        yield from (self._entries[name] for name in sorted(self._entries))

    def find(self, name: str) -> Entry[P]:
        """Look a plugin up.

        Raises:
            RequestError: there is none of that name; near names are suggested.
        """
        if name in self._entries:
            return self._entries[name]
        near = difflib.get_close_matches(name, self._entries, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise RequestError(
            f"there is no {self.kind} '{name}'{hint} (serbench list {self.plural} names them all)"
        )

    def parse(self, text: str, whole: str | None = None) -> tuple[str, P, frozenset[str]]:
        """Read `name[:field=value,…]`; a tuple's values are joined by `/`.

        Args:
            text: what is read.
            whole: what it is a part of, for messages.

        Returns:
            the name, the plugin, and which of its settings were given

        Raises:
            RequestError: what is wrong with the text, and what would be right.
        """
        name, _, settings = text.partition(":")
        entry, whole = self.find(name), whole or text
        values = dict(_setting(whole, entry, each) for each in settings.split(",") if settings)
        try:
            return name, entry.cls(**values), frozenset(values)
        except (TypeError, ValueError) as error:
            raise RequestError(f"'{whole}': {error}") from error


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


def _setting(text: str, entry: Entry[Any], item: str) -> tuple[str, Any]:
    key, equals, raw = item.partition("=")
    hints = typing.get_type_hints(entry.cls)
    if not equals or key not in entry.fields():
        known = ", ".join(f"{k}={written(v)}" for k, v in entry.fields().items())
        takes = f"takes {known}" if known else "has no settings"
        raise RequestError(f"'{text}': '{item}' sets nothing; {entry.name} {takes}")
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


def settings_written(name: str, plugin: Any, stated: frozenset[str] = frozenset()) -> str:
    """`name:field=value,…` in its canonical form: what was stated or is not the default."""
    changed = [
        f"{field.name}={written(getattr(plugin, field.name))}"
        for field in dataclasses.fields(plugin)
        if field.name in stated or getattr(plugin, field.name) != field.default
    ]
    return name + (":" + ",".join(changed) if changed else "")
