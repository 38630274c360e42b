"""The figures of compared rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from serbench.leaderboard import compare_charts, contrasts
from serbench.leaderboard.contrasts import Shared
from serbench.leaderboard.palette import COLOURS

ROWS = ("full", "lora", "x@head:a=1,b=2")


@pytest.fixture
def given() -> Shared:
    generator = np.random.default_rng(0)
    labels = generator.uniform(1, 7, 60)
    return Shared(
        rows=ROWS,
        seeds=(0, 1),
        speakers=np.array([f"s{i % 6}" for i in range(60)]),
        labels=labels,
        predicted=labels + generator.standard_normal((3, 2, 60)),
    )


def colours(drawn: dict[str, Any]) -> dict[str, str]:
    scales = [
        layer["encoding"]["color"]["scale"]
        for layer in drawn["layer"]
        if "color" in layer["encoding"]
    ]
    assert scales
    assert all(scale == scales[0] for scale in scales)
    return dict(zip(scales[0]["domain"], scales[0]["range"], strict=True))


def test_a_row_has_the_same_colour_everywhere(given: Shared) -> None:
    by_speaker = contrasts.error_by_speaker(given, "absolute")
    by_label = contrasts.by_label(given, "absolute")
    curve = pd.DataFrame(
        {"row": ROWS, "epoch": 1, "mean": 0.1, "lowest": 0.0, "highest": 0.2, "seeds": 2}
    )
    every = dict(zip(ROWS, COLOURS, strict=False))
    others = {name: every[name] for name in ROWS[1:]}
    speakers = contrasts.ends(by_speaker, 4)
    dots = compare_charts.by_speaker(by_speaker, speakers, ROWS, "Difference").to_dict()
    assert colours(dots) == others
    assert colours(compare_charts.label_differences(by_label, ROWS, "Error").to_dict()) == others
    assert colours(compare_charts.by_label(by_label, ROWS, "Error").to_dict()) == every
    assert colours(compare_charts.curves(curve, ROWS).to_dict()) == every


def test_speakers_are_drawn_in_their_order_with_their_utterances(given: Shared) -> None:
    frame = contrasts.ccc_by_speaker(given)
    speakers = contrasts.ends(frame, 4)
    drawn = compare_charts.by_speaker(frame, speakers, ROWS, "Difference in CCC").to_dict()
    names = [f"{speaker} (10)" for speaker in speakers]
    y = drawn["layer"][-1]["encoding"]["y"]
    assert y["sort"] == names
    data = drawn["datasets"][drawn["layer"][-1]["data"]["name"]]
    assert {line["who"] for line in data} == set(names)
    assert len(data) == 4 * 2


def test_ranges_lie_from_low_to_high(given: Shared) -> None:
    frame = contrasts.by_label(given, "squared")
    drawn = compare_charts.by_label(frame, ROWS, "Mean squared error").to_dict()
    order = drawn["layer"][0]["encoding"]["x"]["sort"]
    assert order == frame["range"].drop_duplicates().tolist()
    assert [float(name.partition(" ")[0]) for name in order] == sorted(
        float(name.partition(" ")[0]) for name in order
    )
