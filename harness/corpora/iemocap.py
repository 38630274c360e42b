"""IEMOCAP: acted dialogues of ten actors in five sessions, rated by people who saw and heard them.

Busso, Bulut, Lee, Kazemzadeh, Mower, Kim, Chang, Lee & Narayanan (2008), "IEMOCAP: interactive
emotional dyadic motion capture database", Language Resources and Evaluation 42, 335-359,
doi:10.1007/s10579-008-9076-6. An evaluation file has a line for each utterance, with the mean of
its ratings, and then a line for each rater: `A-E3` is an evaluator, `A-F1` the actress herself.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from serbench.harness.corpora.base import Corpus, Split
from serbench.harness.corpora.recordings import probe
from serbench.harness.corpora.releases import Release, bounded, decoded
from serbench.harness.errors import CorpusError
from serbench.harness.metrics import DIMENSIONS

__all__ = ["FOLDS", "load"]

RELEASE = Release("iemocap", "Session1/, with Session1/dialog/ and Session1/sentences/")
WHOLE_FOLDER = "IEMOCAP_full_release"
SESSIONS = range(1, 6)
MINIMUM, MAXIMUM = 1.0, 5.0

ID = re.compile(r"(?P<session>Ses0[1-5])[FM]_.+_(?P<gender>[FM])\d+")
"""The letter at the front is of the actor who wears the markers, the last one of who speaks."""
TURN = re.compile(
    r"\[[^\]]*\]\s+(?P<id>\S+)\s+(?P<emotion>\S+)\s+"
    r"\[(?P<valence>[^,\]]*),(?P<activation>[^,\]]*),(?P<dominance>[^,\]]*)\]"
)
RATER = re.compile(r"A-(?P<annotator>[EFM]\d+):(?P<values>[^(]*)(?:\(.*)?")
VALUE = re.compile(r"\b(val|act|dom)\b([^;]*)")
SHORT = {"activation": "act", "valence": "val", "dominance": "dom"}
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)")
LINE_BREAK = re.compile(r"\r\n|\r|\n")
"""Not `str.splitlines`, to which some characters of a comment are ends of lines too."""


def _fold(test: int) -> dict[str, Split]:
    roles: dict[int, Split] = {test: "test", test % len(SESSIONS) + 1: "validation"}
    return {f"Ses0{n}{gender}": roles.get(n, "train") for n in SESSIONS for gender in "FM"}


FOLDS = tuple(_fold(session) for session in SESSIONS)
"""Leave one session out: fold k tests session k, validates on the next one (after 5 comes 1), and
trains on the other three."""


def load(root: str | None) -> Corpus:
    """Read the folder that holds `Session1` to `Session5`, or the one that holds the release.

    The splits are those of the last fold: session 5 tests, session 1 validates. If sessions are
    missing, the others are read, in the same splits, and there are no folds.

    What the actors say of themselves is no listener's rating, and is left out. Raters' values that
    are blank or outside the scale, as the release has some, are dropped. A label that rests on one
    of those, or is itself outside the scale, is the mean of the values that are left, if any.

    Raises:
        RequestError: no folder is given.
        CorpusError: the folder or its files are missing, or are not what IEMOCAP's are.
    """
    folder = RELEASE.folder(root)
    folder = folder / WHOLE_FOLDER if (folder / WHOLE_FOLDER).is_dir() else folder
    sessions = [folder / f"Session{n}" for n in SESSIONS if (folder / f"Session{n}").is_dir()]
    if not sessions:
        raise RELEASE.lacks("folder Session1 to Session5", folder)
    reading = _Reading(folder)
    for session in sessions:
        reading.session(session)
    table = reading.utterances()
    if findings := bounded(reading.findings.values()):
        raise CorpusError(f"iemocap: wrong files in {folder}", findings)
    ratings = reading.ratings()
    table, mended = _mended(table, ratings, reading.dropped)
    return Corpus(
        name="iemocap",
        utterances=table,
        minimum=MINIMUM,
        maximum=MAXIMUM,
        ratings=ratings if len(ratings) else None,
        folds=FOLDS if set(table["speaker"].str[:5]) == {f"Ses0{n}" for n in SESSIONS} else (),
        licence="on request from SAIL, University of Southern California, under its agreement",
        citation="Busso et al. (2008), doi:10.1007/s10579-008-9076-6",
        notes=(
            "Acted speech, scripted and improvised; the evaluators saw the video too. Labels are "
            f"the release's means, but for {mended} that rest on blank values or values outside "
            f"the scale ({reading.counts['blank']} and {reading.counts['outside']} were dropped), "
            "or are outside it themselves: these are means of what is left. "
            f"{reading.counts['self-report']} self-reports of the actors are left out."
        ),
    )


class _Reading:
    """One release being read: it goes on after a finding, so that all are found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.findings: defaultdict[str, list[str]] = defaultdict(list)
        """By kind."""
        self.dropped: set[tuple[str, str]] = set()
        """Utterance and dimension of each value that a rater left blank, or outside the scale."""
        self.counts: Counter[str] = Counter()
        self._rows: list[dict[str, object]] = []
        self._ratings: list[tuple[str, str, str, float]] = []
        self._audio: list[Path] = []
        self._lines: dict[str, str] = {}
        """Where each utterance is."""

    def session(self, folder: Path) -> None:
        """Read the evaluation files of a session."""
        evaluations = folder / "dialog" / "EmoEvaluation"
        # A Mac writes `._NAME` beside a file, which holds no text.
        paths = sorted(evaluations.glob("[!.]*.txt"))
        if not paths:
            self.findings["files"].append(f"{self._name(evaluations)}: there are no .txt files")
        for path in paths:
            self._evaluation(path, folder / "sentences" / "wav")

    def utterances(self) -> pd.DataFrame:
        """All that were read; what is wrong with their audio is a finding."""
        samples = probe(self._audio)
        for where, path, found in zip(self._lines.values(), self._audio, samples, strict=True):
            if isinstance(found, str):
                self.findings["audio"].append(f"{where}: {self._name(path)}: {found}")
        table: pd.DataFrame = pd.DataFrame(self._rows)
        table["samples"] = samples
        return table

    def ratings(self) -> pd.DataFrame:
        """The evaluators' values; who rated an utterance twice counts once, with the mean."""
        columns = ["utterance", "annotator", "dimension", "value"]
        rated = pd.DataFrame(self._ratings, columns=columns).astype({"value": float})
        means: pd.DataFrame = rated.groupby(columns[:3], sort=False, as_index=False).mean()
        return means

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _evaluation(self, path: Path, audio: Path) -> None:
        try:
            text = decoded(path.read_bytes())
        except OSError as error:
            self.findings["files"].append(f"{self._name(path)}: cannot be read ({error.strerror})")
            return
        utterance = None
        for number, line in enumerate(map(str.strip, LINE_BREAK.split(text)), 1):
            where = f"{self._name(path)}, line {number}"
            if not line or line.startswith(("%", "C-")):
                continue
            if line.startswith("["):
                utterance = self._turn(line, where, audio)
            elif (rated := RATER.fullmatch(line)) and utterance is not None:
                self._rating(rated, utterance, where)
            else:
                what = "a rating before any utterance" if rated else "not a line of IEMOCAP"
                self.findings["lines"].append(f"{where}: {what}: {line:.60}")
        if utterance is None:
            self.findings["files"].append(f"{self._name(path)}: holds no utterances")

    def _turn(self, line: str, where: str, audio: Path) -> str:
        """Read an utterance's line and return its id, or whatever stands there for one."""
        turn = TURN.fullmatch(line)
        named = ID.fullmatch(turn["id"]) if turn else None
        if turn is None or named is None:
            what = "not an utterance of IEMOCAP, such as '[0.1 - 0.9] Ses01F_impro01_F000 neu'"
            self.findings["lines"].append(f"{where}: {what}, with three means: {line:.60}")
            return line
        utterance = turn["id"]
        if utterance in self._lines:
            there = self._lines[utterance]
            self.findings["twice"].append(f"{where}: '{utterance}' is there already, in {there}")
            return utterance
        self._lines[utterance] = where
        self._audio.append(audio / utterance.rpartition("_")[0] / f"{utterance}.wav")
        speaker = named["session"] + named["gender"]
        row = {
            "id": utterance,
            "path": str(self._audio[-1]),
            "speaker": speaker,
            "split": FOLDS[-1][speaker],
            "emotion": turn["emotion"],
        }
        self._rows.append(row | {name: self._number(turn[name], where) for name in DIMENSIONS})
        return utterance

    def _rating(self, rated: re.Match[str], utterance: str, where: str) -> None:
        annotator = rated["annotator"]
        if not annotator.startswith("E"):
            self.counts["self-report"] += 1
            return
        values = dict(VALUE.findall(rated["values"]))
        for dimension, short in SHORT.items():
            value = self._number(values.get(short, ""), where)
            if MINIMUM <= value <= MAXIMUM:
                self._ratings.append((utterance, annotator, dimension, value))
            else:
                self.counts["blank" if math.isnan(value) else "outside"] += 1
                self.dropped.add((utterance, dimension))

    def _number(self, text: str, where: str) -> float:
        """A number; NaN for a blank, and for a finding."""
        text = text.strip()
        if NUMBER.fullmatch(text):
            return float(text)
        if text:
            self.findings["numbers"].append(f"{where}: '{text:.60}' is not a number")
        return math.nan


def _mended(
    table: pd.DataFrame, ratings: pd.DataFrame, dropped: set[tuple[str, str]]
) -> tuple[pd.DataFrame, int]:
    """The table with the means of what is left for the labels that are not to be used, and how many
    those are."""
    means = ratings.groupby(["dimension", "utterance"])["value"].mean()
    changed = 0
    for name in DIMENSIONS:
        label = table[name]
        left = means.reindex(pd.MultiIndex.from_product([[name], table["id"]])).to_numpy()
        doubtful = table["id"].isin([utterance for utterance, of in dropped if of == name])
        doubtful |= label.notna() & ~label.between(MINIMUM, MAXIMUM)
        # The release rounds to four decimals.
        doubtful &= ~np.isclose(label, left, rtol=0, atol=1e-3, equal_nan=True)
        table = table.assign(**{name: label.mask(doubtful, left)})
        changed += int(doubtful.sum())
    return table, changed
