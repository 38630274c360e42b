"""How the bundled corpus `embedded` is made: eSpeak NG's voices, rules of expression, annotators.

Synthetic from end to end: no person spoke and none listened. Needs espeak-ng on the path; whoever
uses the corpus needs neither it nor this file.

Determinism. Every random number comes from a numpy Generator with a seed of its own. eSpeak NG
draws flutter and breath from glibc's rand(), which it never seeds (its library imports rand, but
neither srand nor time), so that every process starts the same sequence; flutter is 0 here, and two
runs of version 1.51, seconds apart, gave the same samples, breathy voices included.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from embedded_labels import (
    SEED,
    SENTENCES,
    SOUND,
    planned_utterances,
    ratings,
    simulated_annotators,
    speakers,
)
from espeak import spoken, variants_folder
from expression import manner
from ogg import write_opus
from voice_effects import shaped

from serbench.harness.backbone import SAMPLE_RATE_HZ
from serbench.harness.metrics import DIMENSIONS

TARGET = Path(__file__).resolve().parents[1] / "harness" / "bundled" / "embedded"
SECONDS_MAX = 2.2
SETTINGS = '''\
name = "embedded"
synthetic = true
licence = "CC0-1.0"
citation = "serbench, tools/embedded_corpus.py"
notes = """\\
  Synthetic: the formant synthesiser eSpeak NG speaks in 40 voices by rules of vocal expression, \\
  and 56 simulated annotators rate it. No person spoke, and none listened."""

[scale]
min = 1
max = 7
'''


def main() -> None:
    """Make the corpus."""
    parser = argparse.ArgumentParser(description="Make the synthetic corpus `embedded`.")
    parser.add_argument(
        "out", nargs="?", type=Path, default=TARGET, help="folder to fill (default: %(default)s)"
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="make the sound of every Nth utterance"
    )
    parser.add_argument("--tables", action="store_true", help="make the tables alone, no sound")
    given = parser.parse_args()
    plan = planned_utterances()
    _write_tables(given.out, plan)
    if not given.tables:
        _write_audio(given.out / "audio", plan, given.every)


def _write_tables(folder: Path, plan: pd.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    annotators = simulated_annotators()
    words = [SENTENCES[sentence] for sentence in plan["sentence"]]
    metadata = plan[["file_name", "speaker", "split"]].assign(
        sentence=[f"s{sentence:02d}" for sentence in plan["sentence"]], transcript=words
    )
    percepts = plan[["file_name", *(f"percept_{name}" for name in DIMENSIONS)]]
    tables = {
        "metadata": metadata,
        "ratings": ratings(plan, annotators),
        "annotators": annotators,
        "percepts": percepts.rename(columns={f"percept_{name}": name for name in DIMENSIONS}),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    (folder / "corpus.toml").write_text(SETTINGS, encoding="utf-8")


def _write_audio(folder: Path, plan: pd.DataFrame, every: int) -> None:
    if shutil.which("espeak-ng") is None:
        sys.exit("espeak-ng is not on the path (Debian: apt-get install espeak-ng)")
    folder.mkdir(parents=True, exist_ok=True)
    voices = speakers()
    with tempfile.TemporaryDirectory() as scratch:
        data = variants_folder(Path(scratch))
        for index in range(0, len(plan), every):
            row = plan.iloc[index]
            rng = np.random.default_rng([SEED, SOUND, index])
            speaker = voices[row["voice"]]
            felt = row[[f"expressed_{name}" for name in DIMENSIONS]].to_numpy(dtype=np.float64)
            how = manner(speaker, felt, rng)
            wave = shaped(spoken(data, speaker, how, SENTENCES[row["sentence"]]), how, rng)
            if len(wave) > SECONDS_MAX * SAMPLE_RATE_HZ:
                sys.exit(f"{row['file_name']} lasts {len(wave) / SAMPLE_RATE_HZ:.2f} s")
            write_opus(folder / Path(row["file_name"]).name, wave, SAMPLE_RATE_HZ)


if __name__ == "__main__":
    main()
