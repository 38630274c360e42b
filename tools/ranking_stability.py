"""Whether two repeats of a suite rank alike: Kendall's tau-b, and the pairs that change places.

    serbench run --suite quick --db a.db; serbench run --suite quick --seeds 3,4,5 --db b.db
    python tools/ranking_stability.py a.db b.db

Prints Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from command import asked
from scipy.stats import kendalltau

from serbench.harness.metrics import METRICS

Rows = Mapping[str, Mapping[str, Any]]
COSTS = ("epoch_s", "run_s")


def main() -> None:
    """Compare two databases that hold the same configurations."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("databases", nargs=2, metavar="DB")
    first, second = map(ranked, arguments.parse_args().databases)
    if {*first} != {*second}:
        sys.exit(f"only one has {', '.join(sorted({*first} ^ {*second}))}")
    print("| ranked by | Kendall's tau-b | pairs that change places |\n|---|---|---|")
    told = [score(each) for each in (first, second)]
    print(line("shared ranks", [{n: r["rank"] for n, r in e.items()} for e in (first, second)]))
    print(line("mean CCC of activation and valence", told))
    for key in COSTS:
        print(
            line(
                METRICS[key].label,
                [{n: float(r[key]) for n, r in e.items()} for e in (first, second)],
            )
        )
    print(f"\n{parted(first, second, told)}")


def ranked(database: str) -> Rows:
    """The rows of `serbench rank --json`, by label."""
    (rows,) = asked("rank", "--db", database)
    if len({row["label"] for row in rows}) != len(rows):
        sys.exit(f"{database} holds one configuration on several machines, corpora or settings")
    return {row["label"]: row for row in rows}


def score(rows: Rows) -> dict[str, float]:
    """What rows are ranked by."""
    return {name: (r["ccc_activation"] + r["ccc_valence"]) / 2 for name, r in rows.items()}


def swapped(values: Sequence[Mapping[str, float]]) -> list[tuple[str, str]]:
    """Pairs whose order is not the same in both."""
    first, second = values
    return [
        (a, b)
        for a, b in itertools.combinations(first, 2)
        if (first[a] - first[b]) * (second[a] - second[b]) < 0
    ]


def line(title: str, values: Sequence[Mapping[str, float]]) -> str:
    """Agreement of two orders."""
    first, second = values
    tau = kendalltau([*first.values()], [second[name] for name in first]).statistic
    pairs = len(first) * (len(first) - 1) // 2
    return f"| {title} | {tau:.2f} | {len(swapped(values))} of {pairs} |"


def parted(first: Rows, second: Rows, told: Sequence[Mapping[str, float]]) -> str:
    """What became of the pairs that one of the repeats told apart."""
    apart = [
        {(a, b) for a, b in itertools.combinations(rows, 2) if rows[a]["rank"] != rows[b]["rank"]}
        for rows in (first, {name: second[name] for name in first})
    ]
    wrong = [pair for pair in swapped(told) if pair in apart[0] or pair in apart[1]]
    lines = [
        f"Pairs with different ranks: {len(apart[0])} and {len(apart[1])}, in both "
        f"{len(apart[0] & apart[1])}; of those of either, {len(wrong)} change places"
        + (":" if wrong else ".")
    ]
    gaps = (f"({told[0][a] - told[0][b]:+.3f}, {told[1][a] - told[1][b]:+.3f})" for a, b in wrong)
    return "\n".join(
        lines + [f"- `{a}` against `{b}` {g}" for (a, b), g in zip(wrong, gaps, strict=True)]
    )


if __name__ == "__main__":
    main()
