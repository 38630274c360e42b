"""One factor on all learning rates for a suite, by validation CCC, the same budget for everybody.

    python tools/tune_lr_scale.py --suite quick --scales 5,15 --seeds 100 --db tuning.db

Runs every strategy of the suite in its default configuration, live and in fp32, with each factor
and seeds that the suite does not use, and prints Markdown: CCC of the best epoch on the validation
split, mean over dimensions and seeds. The test split takes no part in the choice.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict

import numpy as np

from serbench.harness import strategy
from serbench.harness.plan import Suite

SERBENCH = (sys.executable, "-m", "serbench.harness.cli")


def main() -> None:
    """Run, or go on with, the whole grid and print it."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--suite", default="quick")
    arguments.add_argument("--scales", default="5,15")
    arguments.add_argument("--seeds", default="100")
    arguments.add_argument("--db", required=True)
    given = arguments.parse_args()
    strategy.discover()
    registered = {entry.name for entry in strategy.entries()}
    plain = [text for text in Suite.load(given.suite).chosen() if text in registered]
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for scale in given.scales.split(","):
        words = ["--suite", given.suite, "--seeds", given.seeds, "--set", f"lr_scale={scale}"]
        subprocess.run([*SERBENCH, "run", *plain, *words, "--db", given.db], check=True)
    for label, scale, value in validated(given.db):
        found[label][f"{float(scale):g}"].append(value)
    columns = [f"{float(scale):g}" for scale in given.scales.split(",")]
    print("| validation CCC, learning rates times | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for label in plain:
        print(line(f"`{label}`", [float(np.mean(found[label][scale])) for scale in columns]))
    means = [float(np.mean([np.mean(found[label][s]) for label in plain])) for s in columns]
    print(line("mean", means))


def validated(database: str) -> list[tuple[str, float, float]]:
    """Label, factor and best validation CCC of each run that ended well."""
    ranked = json.loads(_told("rank", "--json", "--db", database))
    rows = []
    for row in ranked:
        for number in row["run_ids"]:
            run = json.loads(_told("show", str(number), "--json", "--db", database))
            scores = [s for s in run["scores"] if s["split"] == "validation"]
            epochs = {s["epoch"] for s in scores}
            best = max(np.mean([s["value"] for s in scores if s["epoch"] == e]) for e in epochs)
            rows.append((row["label"], row["training"]["lr_scale"], float(best)))
    return rows


def line(title: str, values: list[float]) -> str:
    """A row of the table, its best value in bold."""
    cells = [f"**{v:.3f}**" if v == max(values) else f"{v:.3f}" for v in values]
    return "| " + " | ".join([title, *cells]) + " |"


def _told(*words: str) -> str:
    return subprocess.run([*SERBENCH, *words], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
