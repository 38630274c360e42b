"""What a manifest of a million utterances takes: to load, to hash, to the first training batch.

UTTERANCES=1000000 pytest tests/benchmarks/test_million.py --benchmark-enable --benchmark-only -s

Each has a process of its own. The audio files are links to one in each folder of a thousand.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from pytest_benchmark.fixture import BenchmarkFixture

UTTERANCES = int(os.environ.get("UTTERANCES", "1000000"))
FEW = 3_000
"""Where nothing is timed."""
SPEAKERS, FOLDER_SIZE = 500, 1_000
SECONDS = 0.5


@pytest.fixture(scope="module")
def utterances(pytestconfig: pytest.Config) -> int:
    return UTTERANCES if pytestconfig.getoption("benchmark_enable") else FEW


@pytest.fixture(scope="module")
def folder(utterances: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Audio of so many utterances; the metadata are not there yet."""
    root = tmp_path_factory.mktemp("million")
    rng = np.random.default_rng(0)
    wave = rng.normal(0, 0.05, round(SECONDS * 16_000))
    for start in range(0, utterances, FOLDER_SIZE):
        first = root / _name(start)
        first.parent.mkdir(parents=True)
        soundfile.write(first, wave, 16_000)
        for index in range(start + 1, min(start + FOLDER_SIZE, utterances)):
            os.link(first, root / _name(index))
    (root / "corpus.toml").write_text("[scale]\nmin = 1\nmax = 7\n", encoding="utf-8")
    yield root
    shutil.rmtree(root)


def _name(index: int) -> str:
    return f"audio/{index // FOLDER_SIZE:04}/utterance_{index:07}.wav"


def described(root: Path, utterances: int, suffix: str) -> Path:
    """Write the metadata, three labels and a duration for each utterance."""
    for former in root.glob("metadata.*"):
        former.unlink()
    rng = np.random.default_rng(0)
    speaker = np.arange(utterances) % SPEAKERS
    splits = np.where(speaker < 400, "train", np.where(speaker < 450, "validation", "test"))
    table = pd.DataFrame(
        {
            "file_name": map(_name, range(utterances)),
            "speaker": [f"speaker{index:03}" for index in speaker.tolist()],
            "split": splits,
            "duration": SECONDS,
            **{
                dimension: rng.uniform(1, 7, utterances).round(3)
                for dimension in ("activation", "valence", "dominance")
            },
        }
    )
    path = root / f"metadata.{suffix}"
    if suffix == "csv":
        table.to_csv(path, index=False)
    elif suffix == "jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_parquet(path)
    return root


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_loading_and_hashing(
    suffix: str, folder: Path, utterances: int, benchmark: BenchmarkFixture
) -> None:
    """Seconds, and the most memory beyond that of the imports."""
    root = described(folder, utterances, suffix)
    told = benchmark.pedantic(_in_a_process, args=("load", root), rounds=1)  # type: ignore[no-untyped-call]
    assert told["utterances"] == utterances
    benchmark.extra_info.update(told)
    print(f"\n{suffix}: {told}")


def test_the_first_training_batch(
    folder: Path, utterances: int, tmp_path: Path, benchmark: BenchmarkFixture
) -> None:
    """Seconds from the command to the end of the first batch; by then all is loaded twice."""
    root = described(folder, utterances, "csv")
    seconds = benchmark.pedantic(  # type: ignore[no-untyped-call]
        _first_batch_s, args=(root, tmp_path / "runs.db"), rounds=1
    )
    benchmark.extra_info["first batch, s"] = seconds
    print(f"\nfirst training batch after {seconds:.1f} s")


def _in_a_process(what: str, *paths: Path) -> dict[str, Any]:
    words = [sys.executable, __file__, what, *map(str, paths)]
    told: dict[str, Any] = json.loads(subprocess.run(words, stdout=-1, check=True).stdout)
    return told


def _first_batch_s(root: Path, db: Path) -> float:
    start = time.perf_counter()
    words = [sys.executable, __file__, "run", str(root), str(db)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line == "a batch\n" for line in process.stdout)
        seconds = time.perf_counter() - start
        process.send_signal(signal.SIGINT)
    return seconds


def _load(root: str) -> None:
    from serbench.harness.corpora import audiofolder

    before, start = _peak_bytes(), _clocks_s()
    corpus = audiofolder.load(root)
    loaded = _clocks_s()
    _ = corpus.manifest_hash
    hashed = _clocks_s()
    told = {
        "utterances": len(corpus.utterances),
        "load_s": (loaded - start).round(1).tolist(),
        "hash_s": (hashed - loaded).round(1).tolist(),
        "peak_mb": (_peak_bytes() - before) // 10**6,
    }
    print(json.dumps(told))


def _clocks_s() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """On the wall, and of the processor: others may be at work on it."""
    return np.array([time.perf_counter(), time.process_time()])


def _peak_bytes() -> int:
    # What getrusage tells of a new process has in it what the old one held.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) * 1024


def _run(root: str, db: str) -> None:
    from serbench.harness import cli, console
    from serbench.harness.plan import Spec
    from serbench.harness.results import Message, Progress

    def heard(self: console.RunReport, spec: Spec, message: Message) -> None:
        if isinstance(message, Progress) and message.phase == "train":
            print("a batch", flush=True)

    console.RunReport.heard = heard  # type: ignore[method-assign]
    words = ("run", "frozen", "--epochs", "1", "--corpus", root, "--device", "cpu", "--db", db)
    sys.argv = ["serbench", *words]
    cli.main()


if __name__ == "__main__":
    if sys.argv[1] == "load":
        _load(sys.argv[2])
    else:
        _run(sys.argv[2], sys.argv[3])
