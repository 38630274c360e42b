"""What a corpus holds, and how well plain statistics of its sound tell its labels.

    python tools/evaluate_corpus.py FOLDER

FOLDER is what `tools/embedded_corpus.py` made: beside the ratings it has the true percepts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from acoustics import statistics, voice
from numpy.typing import NDArray
from ridge import held_out

from serbench.harness.backbone import SAMPLE_RATE_HZ
from serbench.harness.corpora import audiofolder
from serbench.harness.corpora.base import Corpus
from serbench.harness.corpora.summary import summarise
from serbench.harness.metrics import ccc


def main() -> None:
    """Print what it holds, then how hard it is."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("folder", type=Path)
    folder: Path = arguments.parse_args().folder
    corpus = audiofolder.load(str(folder))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{size / 1e6:.2f} MB")
    describe(corpus)
    percepts = pd.read_csv(folder / "percepts.csv").set_index("file_name")
    difficulty(corpus, percepts)


def describe(corpus: Corpus) -> None:
    """Counts and durations."""
    summary = summarise(corpus)
    seconds = corpus.utterances["samples"] / SAMPLE_RATE_HZ
    print(f"{summary.utterances} utterances of {summary.speakers} voices, {summary.splits}")
    print(f"{seconds.sum():.0f} s, mean {seconds.mean():.2f}, longest {seconds.max():.2f}")
    if corpus.ratings is None:
        return
    rated = corpus.ratings.groupby("annotator")["utterance"].nunique()
    print(
        f"{summary.annotators} annotators, {summary.ratings_per_utterance:.2f} an utterance, "
        f"{rated.min()} to {rated.max()} utterances an annotator"
    )


def difficulty(corpus: Corpus, percepts: pd.DataFrame) -> None:
    """CCC on the test split, by dimension, of two ridge regressions and of the true percepts."""
    waves = [corpus.waveform(name) for name in corpus.utterances["id"]]
    plain = np.stack([statistics(wave) for wave in waves]).astype(np.float64)
    contours = np.stack([contour(wave) for wave in waves])
    ridge = held_out(plain, corpus)
    tracked = held_out(np.concatenate([plain, contours], axis=1), corpus)
    test = corpus.subset("test")
    middle, reach = (corpus.maximum + corpus.minimum) / 2, (corpus.maximum - corpus.minimum) / 2
    for name, label in summarise(corpus).labels.items():
        heard = middle + reach * percepts.loc[test["id"], name].to_numpy()
        print(
            f"{name}: CCC on test of the ridge {ridge[name]:.3f}, "
            f"given the contour of F0 {tracked[name]:.3f}, "
            f"of the true percept {ccc(test[name].to_numpy(), heard):.3f}; "
            f"CCC between annotators {label.agreement:.3f}; "
            f"labels {label.minimum:.2f} to {label.maximum:.2f}"
        )


def contour(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rise from the first third of the voiced frames to the last, middle third against the median,
    and mean step from frame to frame: (3,), in semitones."""
    f0_hz = voice(wave).f0_hz
    semitones = 12 * np.log2(f0_hz[f0_hz > 0] / np.median(f0_hz[f0_hz > 0]))
    # The tracker's jumps by an octave are none of the contour's.
    semitones = semitones[np.abs(semitones) < 7]
    first, middle, last = (np.median(third) for third in np.array_split(semitones, 3))
    return np.array([last - first, middle, np.abs(np.diff(semitones)).mean()])


if __name__ == "__main__":
    main()
