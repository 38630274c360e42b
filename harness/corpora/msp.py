"""What the MSP lab's corpora share: label files with lines `WHO; …; A:3.0; V:NaN; D:2.0; …`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from serbench.harness.corpora.recordings import probe
from serbench.harness.corpora.releases import Release, few
from serbench.harness.errors import CorpusError
from serbench.harness.metrics import DIMENSIONS

__all__ = ["LabelFile", "first_there", "long_form", "quoted"]

LETTERS = {"activation": "A", "valence": "V", "dominance": "D"}
# The raters' own words stand between WHO and the numbers, and may hold semicolons.
SCORED = r"^(?P<who>[^;]+?)\s*;(?:.*;)?\s*" + r";\s*".join(
    rf"{letter}:(?P<{dimension}>[^;]*)" for dimension, letter in LETTERS.items()
)


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """A text file of labels on one scale, and what is found wrong with it."""

    path: Path
    minimum: float
    """Lower end of the scale."""
    maximum: float
    """Upper end of the scale."""
    findings: list[str] = field(default_factory=list)

    def lines(self) -> pd.Series[str]:
        """The lines that hold something, by their number from 1, without quotes.

        What is not UTF-8 is replaced: in the raters' own words it does no harm, and anywhere else
        it makes a finding.

        Raises:
            CorpusError: the file cannot be read, or holds nothing.
        """
        try:
            text = self.path.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            raise CorpusError(f"{self.path} cannot be read: {error.strerror}") from error
        lines = pd.Series(text.replace('"', "").split("\n"), dtype=str).str.strip()
        lines.index += 1
        lines = lines[lines != ""]
        if lines.empty:
            raise CorpusError(f"{self.path} is empty")
        return lines

    def scored(self, lines: pd.Series[str]) -> pd.DataFrame:
        """`who`, and a column of floats for each dimension, of the lines that have them."""
        cells = lines.str.extract(SCORED)
        missing = cells["who"].isna()
        self.tell(quoted(lines[missing]) + " is not such as 'WHO; …; A:3; V:3; D:3;'")
        scored: pd.DataFrame = cells[~missing].copy()
        for dimension, letter in LETTERS.items():
            scored[dimension] = self.numbers(scored[dimension], letter)
        return scored

    def numbers(self, cells: pd.Series[str], column: str) -> pd.Series[float]:
        """The cells as numbers; NaN where one is empty or NaN, and where it is a finding."""
        text = cells.str.strip()
        values = pd.to_numeric(text, errors="coerce").astype("float64")
        unreadable = text[values.isna() & ~text.str.lower().isin(["", "nan"])]
        self.tell(quoted(unreadable) + " is not a number", column)
        outside = text[values.notna() & ~values.between(self.minimum, self.maximum)]
        scale = f"from {self.minimum:g} to {self.maximum:g}"
        self.tell(quoted(outside) + f" is outside the scale {scale}", column)
        return values

    def samples(self, paths: pd.Series[str], column: str = "") -> pd.Series[int]:
        """Each audio file's length at 16 kHz; 0 where it is a finding."""
        found = pd.Series(probe([Path(path) for path in paths]), paths.index, dtype=object)
        lengths = pd.to_numeric(found, errors="coerce")
        wrong = found[lengths.isna()]
        told = quoted(paths[wrong.index].str.rsplit("/", n=1).str[-1]) + ": " + wrong
        kinds = wrong.str.extract(r"^([^:(]*)", expand=False)
        for kind in kinds.unique():
            self.tell(told[kinds == kind], column)
        samples: pd.Series[int] = lengths.fillna(0).astype("int64")
        return samples

    def tell(self, told: pd.Series[str], column: str = "") -> None:
        """Add a few of these findings of one kind.

        Args:
            told: what is wrong, by line.
            column: that it is wrong in, unless it is the whole line.
        """
        cell = f", {column}" if column else ""
        lines = [f"{self.path.name}, line {line}{cell}: {what}" for line, what in told.items()]
        self.findings.extend(few(lines))


def quoted(cells: pd.Series[str]) -> pd.Series[str]:
    """The cells as a finding shows them, cut if they are long."""
    return cells.map(lambda cell: f"{cell!r:.80}").astype(str)


def first_there(release: Release, folder: Path, names: tuple[str, ...]) -> Path:
    """The first of the files or folders that exists, as versions differ in their names.

    Raises:
        CorpusError: there is none.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise release.lacks(" or ".join(names), folder)


def long_form(ratings: pd.DataFrame) -> pd.DataFrame | None:
    """Ratings as a corpus has them; a rater's several of one utterance count once, with their mean.

    Args:
        ratings: `utterance`, `annotator` and the dimensions; NaN is not rated.
    """
    by = ["utterance", "annotator"]
    once = ratings.groupby(by, sort=False, as_index=False)[list(DIMENSIONS)].mean()
    rated = once.melt(by, var_name="dimension").dropna(subset="value").reset_index(drop=True)
    return rated if len(rated) else None
