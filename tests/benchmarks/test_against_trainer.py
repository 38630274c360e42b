"""The published figures, from seconds and bytes that are made up."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from serbench.harness.results import Phase

SCRIPT = runpy.run_path(str(Path(__file__).with_name("against_trainer.py")))
CACHED = "top-layers:layers=3+cache"
CACHED_BF16 = "top-layers:layers=3+bf16+cache"
FIRST_OF_ALL_S = 7.0


def told(
    *epochs_s: float,
    fill_s: float = 0.0,
    wait_s: float = 0.0,
    peak_bytes: int = 1000,
    start_s: float = 0.5,
    outside_s: float = 2.0,
) -> Any:
    """A process of two phases beside its epochs; the memory peaks in the first, before training."""
    phases = (
        Phase(phase="setup", wall_s=3.0, peak_host_anonymous_bytes=peak_bytes),
        Phase(phase="cache_fill", epoch=0, wall_s=fill_s),
        Phase(phase="train", epoch=0, cold=True, wall_s=999.0, data_wait_s=999.0),
        *(
            Phase(
                phase="train",
                epoch=epoch,
                wall_s=wall_s,
                data_wait_s=wait_s,
                peak_host_anonymous_bytes=10,
            )
            for epoch, wall_s in enumerate(epochs_s, start=1)
        ),
    )
    wall_s = sum(phase.wall_s for phase in phases) + outside_s
    return SCRIPT["Round"](phases, wall_s, start_s)


@pytest.fixture
def found() -> dict[str, float]:
    rounds = {
        "Trainer, full": [told(20.0, 90.0, start_s=60.0, outside_s=60.0), told(20.0)],
        "full": [
            told(15.0, 90.0, peak_bytes=4000, start_s=FIRST_OF_ALL_S, outside_s=FIRST_OF_ALL_S),
            told(16.0, 16.0, peak_bytes=3000),
        ],
        "top-layers:layers=3": [told(8.0)],
        "top-layers:layers=3+bf16": [told(20.0)],
        CACHED: [
            told(4.0, fill_s=8.0, wait_s=0.3),
            told(4.0, fill_s=0.0, wait_s=0.5),
            told(4.0, fill_s=9.0, wait_s=0.4),
        ],
        CACHED_BF16: [told(2.0, 2.0, fill_s=20.0, peak_bytes=5000)],
    }
    figures: dict[str, float] = SCRIPT["figures"](rounds)
    return figures


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("full / Trainer, seconds an epoch", 16 / 20),
        ("top-layers:layers=3: time saved, warm epoch", 1 - 8 / 16),
        ("top-layers:layers=3+bf16: time saved, warm epoch", 1 - 20 / 16),
        (f"{CACHED}: time saved, warm epoch", 1 - 4 / 16),
        (f"{CACHED_BF16}: time saved, warm epoch", 1 - 2 / 16),
        (f"{CACHED}: time saved, ten epochs with filling", 1 - (8 + 40) / 160),
        (f"{CACHED_BF16}: time saved, ten epochs with filling", 1 - (20 + 20) / 160),
        (f"{CACHED}: anonymous memory / full's", 1000 / 4000),
        (f"{CACHED_BF16}: anonymous memory / full's", 5000 / 4000),
        (f"{CACHED}: waiting for data", 1.2 / 12),
        (f"{CACHED_BF16}: waiting for data", 0.0),
        ("process of a run after the first, s", 0.5),
        ("all that is outside the phases of a run, s", 2.0),
    ],
)
def test_figure(figure: str, value: float, found: dict[str, float]) -> None:
    assert found[figure] == pytest.approx(value)


def test_there_are_no_other_figures(found: dict[str, float]) -> None:
    assert len(found) == 13


def test_the_first_run_of_all_is_no_later_one() -> None:
    """With one run of each, four of the five say what a run after the first takes."""
    rounds = {name: [told(1.0)] for name in ("Trainer, full", *SCRIPT["SPECS"])}
    rounds["full"] = [told(1.0, start_s=FIRST_OF_ALL_S)]
    rounds["top-layers:layers=3"] = [told(1.0, start_s=FIRST_OF_ALL_S)]
    rounds["top-layers:layers=3+bf16"] = [told(1.0, start_s=0.7)]
    assert SCRIPT["figures"](rounds)["process of a run after the first, s"] == pytest.approx(0.6)
