"""What a database of 100,000 runs × 10 epochs takes: its choices, one group's rows, the pages.

pytest tests/benchmarks/test_many_runs.py --benchmark-enable --benchmark-only -s

Of 81 settings one has 2,000 configurations, and the others 100 each; all have ten seeds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from serbench.harness import plan, records

RUNS = 100_000
SEEDS, EPOCHS, SPEAKERS = 10, 10, 10
USUAL, LARGE = 1_000, 20_000
"""Runs of a setting."""


def write(path: Path, runs: int) -> None:
    """Make up so many runs, a fifth of them of one setting, the newest."""
    engine = records.open_database(str(path))
    share = runs / RUNS
    large = round(LARGE * share)
    sizes = [round(USUAL * share)] * ((runs - large) // round(USUAL * share)) + [large]
    with engine.begin() as connection:
        for key in range(4):
            connection.execute(sa.insert(records.MachineRow), {"key": f"m{key}", "gpu": "H100"})
        connection.execute(sa.insert(records.EnvironmentRow), {"key": "e", "torch": "2"})
        done = 0
        for setting, size in enumerate(sizes):
            rows = [_run(setting, done + i, i) for i in range(size)]
            connection.execute(sa.insert(records.RunRow), rows)
            done += size
        for statement in PARTS:
            connection.execute(sa.text(statement))


def _run(setting: int, number: int, index: int) -> dict[str, Any]:
    configuration, seed = divmod(index, SEEDS)
    return {
        "fingerprint": f"f{number:023}",
        "status": "ok",
        "notes": [],
        "started_at": f"2024-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}",
        "label": f"lora:rank={configuration + 1}",
        "strategy": "lora",
        "config": {"lr": 0.001, "rank": configuration + 1, "alpha": 16, "targets": ["q", "v"]},
        "source_hash": "source",
        "precision": "fp32",
        "cached": False,
        "head": "consensus",
        "backbone": f"backbone-{setting // 4 % 5}",
        "init": "pretrained",
        "backbone_hash": f"weights-{setting // 4 % 5}",
        "corpus": f"corpus-{setting // 20}",
        "corpus_hash": f"manifest-{setting // 20}",
        "synthetic": True,
        "derived": False,
        "cost_only": False,
        "suite": "made-up",
        "seed": seed,
        "training": json.loads(json.dumps(plan.Training(epochs=EPOCHS).__dict__)),
        "protocol": plan.PROTOCOL,
        "device": "cuda:0",
        "command": "serbench run --suite made-up --corpus made-up",
        "machine_id": 1 + setting % 4,
        "environment_id": 1,
        "epoch_s": 10 + configuration % 97 / 10,
        "run_s": 100.0 + configuration % 89,
        "audio_s_per_s": 600.0 - configuration % 97,
        "peak_vram_bytes": 2**30 + configuration % 83 * 2**20,
        "trainable_params": 1000 * (configuration + 1),
        "total_params": 90_000_000,
        "best_epoch": 9,
    }


EPOCH = f"WITH RECURSIVE epochs(e) AS (SELECT 0 UNION ALL SELECT e + 1 FROM epochs LIMIT {EPOCHS})"
DIMENSIONS = "(SELECT 'activation' AS dimension UNION SELECT 'valence')"
CHANCE = "(random() % 1000 / 1000.0)"
"""From -1 to 1."""
GOOD = "(0.5 + 0.2 * ((runs.id - 1) / 10 % 173) / 173)"
"""Of the runs of a configuration."""
PARTS = (
    "INSERT INTO phases (run_id, phase, cold, wall_s) SELECT id, 'setup', 0, 1.0 FROM runs",
    f"""{EPOCH} INSERT INTO phases (run_id, phase, epoch, cold, wall_s, loss, audio_s)
    SELECT runs.id, phase, e, e = 0, epoch_s, 1.0 / (1 + e), 600.0
    FROM runs, epochs, (SELECT 'train' AS phase UNION SELECT 'validation')""",
    f"""{EPOCH} INSERT INTO scores (run_id, corpus, split, metric, dimension, epoch, value)
    SELECT runs.id, corpus, 'validation', 'ccc', dimension, e, {GOOD} * (e + 1) / {EPOCHS}
    FROM runs, epochs, {DIMENSIONS}""",
    f"""INSERT INTO scores (run_id, corpus, split, metric, dimension, value)
    SELECT runs.id, corpus, 'test', 'ccc', dimension, {GOOD} + 0.01 * {CHANCE}
    FROM runs, {DIMENSIONS}""",
    f"""WITH RECURSIVE speakers(s) AS (SELECT 0 UNION ALL SELECT s + 1 FROM speakers
    LIMIT {SPEAKERS}) INSERT INTO predictions
    SELECT runs.id, corpus, 'test', dimension, 'u' || s, 's' || s,
    s / 10.0 + (1 - {GOOD}) * {CHANCE}, s / 10.0 FROM runs, {DIMENSIONS}, speakers""",
)
