"""Which corpora there are and how one is loaded; one corpus is one file of this folder.

A module here that defines `load(root: str | None) -> Corpus` is a corpus of the module's name, and
so is an installed function of that signature in the entry-point group `serbench.corpora`.
"""

from __future__ import annotations

import ast
import difflib
import importlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from serbench.harness.errors import RequestError

if TYPE_CHECKING:
    from serbench.harness.corpora.base import Corpus
    from serbench.harness.plan import CorpusRef

    Loader: TypeAlias = Callable[[str | None], Corpus]

__all__ = ["load", "loader", "names"]

GROUP = "serbench.corpora"


def names() -> dict[str, str]:
    """Every corpus and what it is, in one line; nothing is imported to find out.

    Raises:
        RequestError: two origins claim one name.
    """
    plugins = {name: f"plugin: {point.value}" for name, point in _plugins().items()}
    return dict(sorted({**_built_in(), **plugins}.items()))


def load(ref: CorpusRef) -> Corpus:
    """Load a corpus by its registered name, or else from the AudioFolder that the name points to.

    Raises:
        RequestError: as `loader`, or the corpus's parameters are wrong.
        CorpusError: its data is wrong.
    """
    call, root = loader(ref)
    return call(root)


def loader(ref: CorpusRef) -> tuple[Loader, str | None]:
    """What loads a corpus, and what to give it.

    A registered name goes before a folder of that name; `./NAME` is always the folder.

    Raises:
        RequestError: there is no such corpus (near names are suggested), or its plugin does not
            load.
    """
    name, root = ref.name, ref.root
    if name in _built_in():
        return _module(name), root
    if name in _plugins():
        return _plugin(_plugins()[name]), root
    if root is None and Path(name).is_dir():
        return _module("audiofolder"), name
    raise _unknown(name)


def _module(name: str) -> Loader:
    loader: Loader = importlib.import_module(f"{__name__}.{name}").load
    return loader


def _plugin(point: EntryPoint) -> Loader:
    try:
        loader: Loader = point.load()
    except Exception as error:
        raise RequestError(
            f"corpus '{point.name}' ({point.value}) fails to import: "
            f"{type(error).__name__}: {error}"
        ) from error
    return loader


def _unknown(name: str) -> RequestError:
    near = difflib.get_close_matches(name, names(), n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    known = ", ".join(names())
    return RequestError(
        f"there is neither a corpus nor a folder '{name}'{hint} (the corpora are {known})"
    )


@cache
def _built_in() -> dict[str, str]:
    """Name and first docstring line of each module here that defines `load(root)`."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "load" for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def _plugins() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        held = found.get(point.name, point)
        if point.name in _built_in() or held.value != point.value:
            other = "serbench itself" if point.name in _built_in() else held.value
            raise RequestError(
                f"two origins claim the corpus '{point.name}': {other} and {point.value}"
            )
        found[point.name] = point
    return found
