"""What ranking one row takes: its intervals from the predictions of a large test split.

OMP_NUM_THREADS=1 pytest tests/benchmarks/test_bootstrap.py --benchmark-enable --benchmark-only
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from serbench.harness.metrics import DIMENSIONS
from serbench.leaderboard import ranking
from serbench.leaderboard.configurations import CONFIGURATION
from serbench.leaderboard.queries import Evidence

UTTERANCES, SPEAKERS = 30_000, 300
FACTS: dict[str, Any] = {
    **dict.fromkeys(CONFIGURATION, "one"),
    **dict.fromkeys(ranking.Row.__dataclass_fields__),
    "status": "ok", "started_at": "2024-05-01", "label": "full", "strategy": "full", "config": {},
    "source_hash": "s", "cached": False, "cost_only": False, "repeat": 0,
    "gpu": None, "gpu_count": None, "cpu": "CPU", "cores": 2,
}  # fmt: skip


def made_up(seeds: int) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Runs of one row, and their predictions in the order in which the database has them."""
    generator = np.random.default_rng(0)
    labels = generator.uniform(1, 7, UTTERANCES)
    speakers = [f"speaker{i:04}" for i in generator.integers(0, SPEAKERS, UTTERANCES)]
    parts = [
        pd.DataFrame(
            {
                "run_id": seed,
                "dimension": dimension,
                "utterance": [f"u{i:05}" for i in range(UTTERANCES)],
                "speaker": speakers,
                "predicted": labels + generator.standard_normal(UTTERANCES),
                "label": labels,
            }
        )
        for seed in range(seeds)
        for dimension in sorted(DIMENSIONS)
    ]
    scores = {f"ccc_{dimension}": 0.9 for dimension in DIMENSIONS}
    runs = [
        {**FACTS, **scores, "id": seed, "ids": (seed,), "seed": seed, "fold": None}
        for seed in range(seeds)
    ]
    return runs, pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_of_a_row(seeds: int, benchmark: BenchmarkFixture) -> None:
    """30,000 utterances of 300 speakers in three dimensions, 1,000 draws."""
    runs, predictions = made_up(seeds)
    (row,) = benchmark(ranking.rank, runs, Evidence(predictions=predictions))
    assert row.ccc_dominance_low < row.ccc_dominance_high
