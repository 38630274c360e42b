from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from serbench.leaderboard import charts, spreads
from serbench.leaderboard.queries import Spreads
from serbench.leaderboard.ranking import Row

Make = Callable[..., Row]


@pytest.fixture
def annotators() -> pd.DataFrame:
    """Of two runs of one row and one of another; the last is not told who rated."""
    frame: pd.DataFrame = pd.DataFrame(
        {
            "run_id": [1, 1, 1, 2, 2, 2, 3, 3],
            "dimension": "valence",
            "annotator": ["a", "b", "c", "a", "b", "c", "a", "b"],
            "ratings": 10,
            "ccc": [0.1, 0.2, 0.3, 0.3, 0.4, 0.5, -0.5, 0.5],
            "ccc_told": [0.2, 0.3, 0.4, 0.4, 0.5, 0.6, None, None],
        }
    )
    return frame


def test_annotators_are_means_over_seeds(row: Make, annotators: pd.DataFrame) -> None:
    rows = [row(name="x@annotators", run_ids=(1, 2)), row(name="x", run_ids=(3,))]
    each = spreads.persons(rows, annotators)
    assert len(each) == 3 + 3 + 2
    found = spreads.quartiles(each).set_index(["row", "way"])
    told = found.loc[("x@annotators", "told who rated")]
    assert told["annotators"] == 3
    assert told[list(charts.SPREAD)].tolist() == pytest.approx([0.4, 0.3, 0.35, 0.4, 0.45, 0.5])
    assert ("x", "told who rated") not in found.index
    assert found.loc[("x", "not told who rated"), "mean"] == pytest.approx(0)


def test_annotators_are_drawn_as_boxes_in_the_order_of_the_rows(
    row: Make, annotators: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(name="x@annotators", run_ids=(1, 2)), row(name="x", run_ids=(3,))]
    each = spreads.persons(rows, annotators)
    spread = spreads.quartiles(each)
    drawn = charts.persons(each, spread, "valence", ["x@annotators", "other", "x"]).to_dict()
    assert [layer["mark"]["type"] for layer in drawn["layer"]] == ["rule", "bar", "tick", "circle"]
    assert drawn["layer"][0]["encoding"]["y"]["scale"]["domain"] == ["x@annotators", "x"]
    ways = drawn["layer"][0]["encoding"]["color"]["scale"]["domain"]
    assert ways == ["not told who rated", "told who rated"]
    monkeypatch.setattr(charts, "MOST_DOTS", 2)
    many = charts.persons(each, spread, "valence", ["x@annotators", "x"]).to_dict()
    assert [layer["mark"]["type"] for layer in many["layer"]] == ["rule", "bar", "tick"]


def test_rows_are_at_the_same_height_in_each_dimension(row: Make, annotators: pd.DataFrame) -> None:
    rows = [row(name="x@annotators", run_ids=(1, 2)), row(name="x", run_ids=(3,))]
    # Only what was not told who rated, and of one row, has the other dimension.
    other = annotators[annotators["run_id"] == 3].assign(dimension="dominance")
    each = spreads.persons(rows, pd.concat([annotators, other]))
    spread = spreads.quartiles(each)
    specs = [
        charts.persons(each, spread, dimension, ["x@annotators", "x"]).to_dict()
        for dimension in ("valence", "dominance")
    ]
    heights, bands, ways, colours = (
        [spec["height"] for spec in specs],
        *(
            [spec["layer"][0]["encoding"][channel]["scale"]["domain"] for spec in specs]
            for channel in ("y", "yOffset", "color")
        ),
    )
    for both in (heights, bands, ways, colours):
        assert both[0] == both[1]
    drawn = specs[1]["datasets"][specs[1]["layer"][0]["data"]["name"]]
    assert [(line["row"], line["dimension"]) for line in drawn] == [("x", "dominance")]


def test_cells_lie_where_their_masses_are() -> None:
    rated = np.zeros((2, 4, 4))
    rated[0, 3, 0] = rated[1, 0, 1] = 1
    utterances = pd.DataFrame({"utterance": ["u", "v"]})
    given = Spreads(utterances=utterances, masses={"rated": rated})
    (cells,) = spreads.cells(given, "u").values()
    (full,) = cells[cells["mass"] == 1].to_dict("records")
    assert full == {
        "activation": 0.5, "activation_to": 1, "valence": -1, "valence_to": -0.5, "mass": 1,
    }  # fmt: skip
    (mean,) = spreads.cells(given, None).values()
    assert sorted(mean["mass"])[-2:] == [0.5, 0.5]
    assert mean["mass"].sum() == 1


def test_heat_maps_share_a_scale_and_name_their_axes() -> None:
    given = Spreads(
        utterances=pd.DataFrame({"utterance": ["u"]}), masses={"told": np.full((1, 4, 4), 1 / 16)}
    )
    drawn = charts.heat_map(spreads.cells(given, None)["told"], 0.3, "Told").to_dict()
    squares, numbers = (layer["encoding"] for layer in drawn["layer"])
    assert squares["color"]["scale"]["domain"] == [0, 0.3]
    for axis, name in (("x", "Valence"), ("y", "Activation")):
        assert (squares[axis]["field"], squares[axis]["title"]) == (name.lower(), name)
        assert squares[axis]["scale"]["domain"] == [-1, 1]
        assert squares[axis]["axis"]["values"] == [-1, -0.5, 0, 0.5, 1]
    assert numbers["text"]["field"] == "mass"
    assert drawn["title"] == "Told"
