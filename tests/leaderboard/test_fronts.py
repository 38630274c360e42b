from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import sqlalchemy as sa

from serbench.harness.bootstrap import DRAWS, seed_draws
from serbench.leaderboard import fronts, queries, ranking
from serbench.leaderboard.configurations import Group, groups
from serbench.leaderboard.differences import Draws, Parts, parts

Floats = npt.NDArray[np.float64]


def of(recorder: Any) -> tuple[Group, Parts]:
    engine = queries.open_for_reading(str(recorder.path))
    runs = queries.configurations(engine)
    (group,) = groups(runs)
    return group, parts(queries.evidence(engine, [run["id"] for run in runs]))


def by_name(recorder: Any, frame: pd.DataFrame) -> pd.DataFrame:
    group, _ = of(recorder)
    names = {tuple(i for run in m.seeds for i in run["ids"]): m.name for m in group.members}
    named: pd.DataFrame = frame.set_axis([names[ids] for ids in frame.index], axis=0)
    return named


def naively(x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
    """By the definition, point by point."""
    found = np.zeros(x.shape, bool)
    for d in range(x.shape[1]):
        points = list(zip(x[:, d], y[:, d], strict=True))
        for i, (a, b) in enumerate(points):
            beaten = any(c <= a and e <= b and (c, e) != (a, b) for c, e in points)
            found[i, d] = np.isfinite(a) and np.isfinite(b) and not beaten
    return found


@pytest.mark.parametrize("levels", [2, 4, 50])
def test_the_front_is_as_it_is_defined(levels: int) -> None:
    drawn = np.random.default_rng(levels).integers(0, levels, (2, 9, 40)).astype(float)
    assert (fronts.on_front(*drawn) == naively(*drawn)).all()


def test_points_that_are_equal_share_the_front() -> None:
    x, y = np.array([[1.0], [1.0], [1.0], [2.0]]), np.array([[1.0], [1.0], [2.0], [1.0]])
    assert fronts.on_front(x, y)[:, 0].tolist() == [True, True, False, False]


def test_what_lacks_a_figure_is_not_on_the_front_and_beats_nothing() -> None:
    x, y = np.array([[0.0], [np.nan], [1.0]]), np.array([[np.nan], [0.0], [1.0]])
    assert fronts.on_front(x, y)[:, 0].tolist() == [False, False, True]
    assert fronts.on_front(np.empty((0, 1)), np.empty((0, 1))).shape == (0, 1)


def test_the_share_is_that_of_draws_with_the_row_on_the_front(recorder: Any) -> None:
    for seed in (0, 1):
        recorder("full", noise=1.0, epoch_s=10.0, seed=seed)
        recorder("lora", noise=1.05, epoch_s=20.0, seed=seed)
    group, found = of(recorder)
    told = by_name(recorder, fronts.standing(group, found, "epoch_s", "ccc"))
    draws = Draws(group.members, found)
    full, lora = (draws.drawn(m, group.scored("ccc")) for m in group.members)
    assert full is not None
    assert lora is not None
    # The slower one is on it where, in the same draw, its score is the higher one.
    assert told["share"].to_dict() == {"full": 1, "lora": pytest.approx((lora > full).mean())}
    assert 0 < told["share"].min() < 1
    assert (told["y_low"] < told["y"]).all()
    assert (told["y"] < told["y_high"]).all()


def test_of_many_rows_those_nearest_to_the_front_have_a_share(
    recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fronts, "BEST", 3)
    for seed in (0, 1):
        for i, name in enumerate(("a", "b", "c", "d", "e")):
            # On the front are the best and the quickest; between them each is slower and worse.
            epoch_s = 1.0 if name == "e" else 10.0 + i
            recorder(name, noise=0.2 + 0.5 * i, epoch_s=epoch_s, seed=seed)
    group, _ = of(recorder)
    near = fronts.runs_near_front(group, "epoch_s", "ccc")
    engine = queries.open_for_reading(str(recorder.path))
    told = by_name(
        recorder,
        fronts.standing(group, parts(queries.evidence(engine, near)), "epoch_s", "ccc"),
    )
    assert told["front"].to_dict() == {name: name in "ae" for name in "abcde"}
    assert told["share"].notna().to_dict() == {name: name in "abe" for name in "abcde"}
    assert told["y_low"].notna().to_dict() == {name: name in "abe" for name in "abcde"}


def test_times_are_drawn_by_seed_and_peaks_are_what_they_are(recorder: Any) -> None:
    times = (10.0, 30.0, 11.0)
    for seed, epoch_s in enumerate(times):
        recorder("full", epoch_s=epoch_s, vram=seed + 1, seed=seed)
    group, found = of(recorder)
    told = fronts.standing(group, found, "epoch_s", "peak_vram_bytes").iloc[0]
    counts = seed_draws(3).astype(int)
    medians = [np.median(np.repeat(times, each)) for each in counts]
    assert len(medians) == DRAWS
    assert [told["x_low"], told["x_high"]] == pytest.approx(np.quantile(medians, [0.025, 0.975]))
    assert told["x"] == 11.0
    assert told["y"] == 3
    assert np.isnan([told["y_low"], told["y_high"]]).all()


def test_the_whole_run_is_of_those_that_paid(recorder: Any) -> None:
    recorder("full", cached=True, fill_s=100.0, seed=0)
    recorder("full", cached=True, seed=1)
    told = fronts.measured(*of(recorder), "run_s")
    assert told["value"].tolist() == [100 + 1 + 70]


def test_a_score_that_falls_is_the_better_one(spread: Any) -> None:
    told = by_name(spread, fronts.standing(*of(spread), "epoch_s", "tvd"))
    assert told["front"].to_dict() == {"full": False, "lora": True}
    by_ccc = by_name(spread, fronts.standing(*of(spread), "epoch_s", "ccc"))
    assert by_ccc["front"].to_dict() == {"full": True, "lora": False, "vera": False}


def test_too_few_speakers_leave_the_share_open(recorder: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("serbench.leaderboard.differences.FEWEST_SPEAKERS", 99)
    recorder("full")
    told = fronts.standing(*of(recorder), "epoch_s", "ccc")
    assert told["front"].tolist() == [True]
    assert told["share"].isna().all()


def test_failures_stand_nowhere(recorder: Any) -> None:
    recorder("full", status="failed")
    assert fronts.standing(*of(recorder), "epoch_s", "ccc").empty
    assert fronts.measured(*of(recorder), "ccc").empty


def test_every_measure_has_a_title_and_is_described() -> None:
    titles = [fronts.title(measure) for measure in fronts.MEASURES]
    assert len(set(titles)) == len(titles)
    assert all(fronts.description(measure) for measure in fronts.MEASURES)


def test_scores_that_differ_by_the_order_of_sums_are_equal(recorder: Any) -> None:
    """The slower row's are better by so little, in every draw."""
    for seed in (0, 1):
        live = recorder("live", epoch_s=20.0, seed=seed)
        cached = recorder("cached", epoch_s=10.0, seed=seed)
        made_alike(recorder.engine, live, cached)
    group, found = of(recorder)
    live_row, cached_row = group.members
    told = Draws(group.members, found).difference(live_row, cached_row, group.scored("ccc"))
    assert told.value is not None
    assert told.low is not None
    assert 0 < told.low <= told.value < 1e-7
    assert not told.apart
    standing = by_name(recorder, fronts.standing(group, found, "epoch_s", "ccc"))
    assert standing["front"].to_dict() == {"live": False, "cached": True}
    # Now and then the two are rounded apart.
    assert standing["share"].to_dict() == {"live": pytest.approx(0, abs=0.01), "cached": 1}
    rows = {row.label: row for row in ranking.rank_group(group, found)}
    assert {name: (row.rank, row.pareto) for name, row in rows.items()} == {
        "live": (1, False),
        "cached": (1, True),
    }


def made_alike(engine: sa.Engine, live: int, cached: int) -> None:
    """Give a run what another predicted, but for their eighth digit."""
    for statement in (
        """UPDATE predictions SET predicted = label + (1 + 1e-8) * (
        SELECT other.predicted - other.label FROM predictions AS other WHERE other.run_id = :live
        AND other.dimension = predictions.dimension AND other.utterance = predictions.utterance)
        WHERE run_id = :cached""",
        """UPDATE scores SET value = (
        SELECT other.value - 1e-9 FROM scores AS other WHERE other.run_id = :live
        AND other.split = 'test' AND other.dimension = scores.dimension)
        WHERE run_id = :cached AND split = 'test'""",
    ):
        with engine.begin() as connection:
            connection.execute(sa.text(statement), {"live": live, "cached": cached})
