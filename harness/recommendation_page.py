"""A recommendation as a person reads it in the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from serbench.harness import console
from serbench.leaderboard.recommendation import (
    LIMITED,
    Choice,
    Loosening,
    Recommendation,
    limit_told,
    next_best,
    told,
)

__all__ = ["print_recommendation"]

FLAGS = {
    "memory_bytes": "--max-memory",
    "epoch_s": "--max-epoch-s",
    "run_s": "--max-run-s",
    "disk_bytes": "--max-disk",
    "ccc": "--min-ccc",
}


WIDTH = 72
"""Letters of a line of a command, beside its indent and what ends it."""


def print_recommendation(recommendation: Recommendation) -> None:
    """Print what to take in one setting, why, what is next, and what the limits ruled out."""
    console.say(console.heading(vars(recommendation)))
    if recommendation.chosen is None:
        console.say(recommendation.reason)
        _print_way_out(recommendation.nearest, recommendation.loosen)
    else:
        console.say(f"Take {recommendation.chosen.name}")
        console.say(recommendation.reason)
        if recommendation.runner_up:
            console.say(next_best(recommendation))
        console.say()
        _print_choices(recommendation)
    if recommendation.rulings:
        console.say()
        _print_rulings(recommendation)
    if recommendation.command:
        console.say()
        _print_command(recommendation.command)


def _print_way_out(nearest: str | None, loosen: Sequence[Loosening]) -> None:
    if nearest is None:
        return
    words = " ".join(f"{FLAGS[each.key]} {_typed(each)}" for each in loosen if each.to is not None)
    unknown = [FLAGS[each.key] for each in loosen if each.to is None]
    without = f"without {' and '.join(unknown)}, which was not measured" if unknown else ""
    ways = ", and ".join(part for part in (f"with {words}" if words else "", without) if part)
    console.say(f"Nearest is {nearest}: it fits {ways}")


def _typed(loosening: Loosening) -> str:
    """A limit as the command line takes it."""
    text = told(loosening.key, loosening.to).replace(",", "")
    return text.replace(" ", "") if loosening.key.endswith("_bytes") else text.removesuffix(" s")


def _print_command(command: str) -> None:
    """In lines that a shell takes as one, broken between its words."""
    lines = [""]
    for word in map(shlex.quote, shlex.split(command)):
        if lines[-1] and len(lines[-1]) + len(word) > WIDTH:
            lines.append("")
        lines[-1] += f" {word}"
    console.say("  " + " \\\n   ".join(lines).lstrip())


def _print_choices(recommendation: Recommendation) -> None:
    both = [each for each in (recommendation.chosen, recommendation.runner_up) if each]
    console.table(("", *LIMITED.values()), [(name, *_figures(each)) for name, each in _named(both)])


def _named(choices: Sequence[Choice]) -> list[tuple[str, Choice]]:
    return list(zip(("taken", "next"), choices, strict=False))


def _figures(choice: Choice) -> list[str]:
    return [told(key, getattr(choice, key)) for key in LIMITED]


def _print_rulings(recommendation: Recommendation) -> None:
    console.say(f"{recommendation.fitting} of {recommendation.candidates} are within the limits")
    console.table(
        ("limit", "", "ruled out", "by it alone", "not measured"),
        [
            (
                LIMITED[each.key],
                limit_told(each.key, each.limit),
                *map(str, (each.ruled_out, each.alone, each.unknown)),
            )
            for each in recommendation.rulings
        ],
    )
