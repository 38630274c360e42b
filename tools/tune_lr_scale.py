"""One factor on all learning rates for a suite, by validation CCC, the same budget for everybody.

    python tools/tune_lr_scale.py --suite quick --scales 5,15 --seeds 100 --db tuning.db

Runs every strategy of the suite in its default configuration, live and in fp32, with each factor
and seeds that the suite does not use, and prints Markdown: CCC of the best epoch on the validation
split, mean over dimensions and seeds. The test split takes no part in the choice.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict

import numpy as np
from command import asked, called

from serbench.harness import strategy
from serbench.harness.plan import Suite


def main() -> None:
    """Run, or go on with, the whole grid and print it."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--suite", default="quick")
    arguments.add_argument("--scales", default="5,15")
    arguments.add_argument("--seeds", default="100")
    arguments.add_argument("--db", required=True, help="of this grid alone")
    given = arguments.parse_args()
    strategy.discover()
    registered = {entry.name for entry in strategy.entries()}
    plain = [text for text in Suite.load(given.suite).chosen() if text in registered]
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for scale in given.scales.split(","):
        words = ["--suite", given.suite, "--seeds", given.seeds, "--set", f"lr_scale={scale}"]
        called("run", *plain, *words, "--db", given.db)
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
    """Label, factor and best validation CCC of each run that ended well.

    Raises:
        SystemExit: the runs differ in more than strategy, factor and seed.
    """
    (rows,) = asked("rank", "--db", database)
    if len({json.dumps({**row["training"], "lr_scale": None}) for row in rows}) > 1:
        raise SystemExit(
            f"{database} holds runs of other settings: give a file for this grid alone"
        )
    return [
        (row["label"], row["training"]["lr_scale"], _best(database, number))
        for row in rows
        for number in row["run_ids"]
    ]


def _best(database: str, number: int) -> float:
    """Highest mean over dimensions of an epoch's CCC."""
    (run,) = asked("show", str(number), "--db", database)
    return max(float(np.mean([*epoch["validation"].values()])) for epoch in run["epochs"])


def line(title: str, values: list[float]) -> str:
    """A row of the table, its best value in bold."""
    cells = [f"**{v:.3f}**" if v == max(values) else f"{v:.3f}" for v in values]
    return "| " + " | ".join([title, *cells]) + " |"


if __name__ == "__main__":
    main()
