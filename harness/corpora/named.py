"""Sound files whose names say who speaks and how: a row each, or what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from serbench.harness.corpora.recordings import probe
from serbench.harness.corpora.releases import few

__all__ = ["named"]


def named(
    folder: Path, paths: Sequence[Path], pattern: re.Pattern[str], kind: str
) -> tuple[pd.DataFrame, list[str]]:
    """Read names and headers.

    Args:
        folder: that holds the files, at any depth.
        paths: of the files.
        pattern: what a file's path inside the folder should be, with named groups.
        kind: what such a path is, to complete "it is not …".

    Returns:
        A row for each good file: `id` (its name without suffix), `path`, `samples` at 16 kHz, and a
        column for each group; and a finding for each of the others.
    """
    inside = [path.relative_to(folder).as_posix() for path in paths]
    matches = [pattern.fullmatch(name) for name in inside]
    lengths = iter(probe([path for path, match in zip(paths, matches, strict=True) if match]))
    rows, misnamed, unheard = [], [], []
    for path, name, match in zip(paths, inside, matches, strict=True):
        if match is None:
            misnamed.append(f"{name}: not {kind}")
        elif isinstance(samples := next(lengths), str):
            unheard.append(f"{name}: {samples}")
        else:
            row = {"id": path.stem, "path": str(path), "samples": samples}
            rows.append({**row, **match.groupdict()})
    table: pd.DataFrame = pd.DataFrame(rows)
    return table, few(unheard) + few(misnamed)
