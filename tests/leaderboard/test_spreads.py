"""Rows by how well they predict distributions, and single annotators."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serbench.harness import heads
from serbench.harness.bootstrap import interval, seed_draws, speaker_draws
from serbench.harness.metrics import ON_PLANE, SCORED
from serbench.harness.run_page import print_run
from serbench.leaderboard import comparison, queries, ranking, spreads
from serbench.leaderboard.comparison import Comparison
from serbench.leaderboard.ranking import Row


def ranked(recorder: Any, by: str) -> dict[str, Row]:
    engine = queries.open_for_reading(str(recorder.path))
    runs = queries.configurations(engine)
    evidence = queries.evidence(engine, ranking.chosen_runs(runs))
    return {row.label: row for row in ranking.rank(runs, evidence, by=by)}


def compared(recorder: Any, a: list[int], b: list[int]) -> Comparison:
    engine = queries.open_for_reading(str(recorder.path))
    return comparison.compare(
        queries.configurations(engine), queries.evidence(engine, (*a, *b)), a, b
    )


@pytest.fixture
def spread(recorder: Any) -> Any:
    """The better a row's CCC, the worse its distributions and its annotators."""
    for seed in (0, 1, 2):
        recorder("full", noise=0.1, spread=2.0, epoch_s=20.0, seed=seed)
        recorder("lora", noise=1.0, spread=1.0, epoch_s=20.0, seed=seed)
        recorder("ia3", noise=2.0, spread=0.3, epoch_s=20.0, seed=seed)
        recorder("vera", noise=0.5, epoch_s=10.0, seed=seed)
    return recorder


def test_both_dimensions_of_a_distribution_have_the_name_that_runs_store() -> None:
    assert "-".join(heads.PLANE) == ON_PLANE


@pytest.mark.parametrize("by", ["tvd", "jsd_told", "annotator_ccc", "annotator_ccc_told_valence"])
def test_rows_are_ranked_by_what_is_asked_for(spread: Any, by: str) -> None:
    rows = ranked(spread, by)
    assert [row.label for row in rows.values()] == ["ia3", "lora", "full", "vera"]
    assert [row.rank for row in rows.values()] == [1, 2, 3, None]
    assert {row.ranked_by for row in rows.values()} == {by}
    assert [row.rank for row in ranked(spread, "ccc").values()] == [1, 2, 3, 4]
    json.dumps([dataclasses.asdict(row) for row in rows.values()], allow_nan=False)


def test_the_least_distance_is_on_the_front(spread: Any) -> None:
    front = {label for label, row in ranked(spread, "tvd").items() if row.pareto}
    assert front == {"ia3"}, "what has no distance cannot be told to be as good"
    assert {label for label, row in ranked(spread, "ccc").items() if row.pareto} == {"full", "vera"}


def test_a_row_has_the_mean_of_its_runs_and_their_interval(spread: Any) -> None:
    runs = [r for r in queries.configurations(spread.engine) if r["label"] == "lora"]
    row = ranked(spread, "ccc")["lora"]
    frame = queries.evidence(spread.engine, row.run_ids).distances
    assert row.tvd == pytest.approx(frame["tvd"].mean())
    for key in SCORED:
        value, low, high = (getattr(row, key + end) for end in ("", "_low", "_high"))
        if key in ("ccc_dominance", "tvd_true", "jsd_true"):
            assert (value, low, high) == (None, None, None)
        else:
            assert value == pytest.approx(np.mean([run[key] for run in runs]))
            assert low < value < high


def test_equal_rows_share_a_rank_and_the_noise_of_what_is_ranked_counts(recorder: Any) -> None:
    for seed in (0, 1, 2):
        recorder("full", spread=1.0, seed=seed)
        recorder("lora", spread=1.01, seed=seed)
        recorder("ia3", spread=2.0, seed=seed)
    assert {label: row.rank for label, row in ranked(recorder, "tvd").items()} == {
        "full": 1, "lora": 1, "ia3": 3,
    }  # fmt: skip
    recorder("full", spread=9.0, repeat=1)
    rows = ranked(recorder, "tvd")
    gap = (rows["ia3"].tvd or 0) - (rows["full"].tvd or 0)
    assert rows["full"].noise_tvd is not None
    assert rows["full"].noise_tvd > gap > 0
    assert {row.rank for row in rows.values()} == {1}


def test_folds_are_pooled(recorder: Any) -> None:
    """The mean over all utterances is no mean over folds that differ in size."""
    numbers = (1, 2, 3)
    ids = [recorder("full", spread=float(n), fold=f"{n}/3") for n in numbers]
    row = ranked(recorder, "tvd")["full"]
    evidence = queries.evidence(recorder.engine, ids)
    sizes = evidence.distances.groupby("run_id").size()
    assert len(set(sizes)) > 1
    assert row.tvd == pytest.approx(evidence.distances["tvd"].mean())
    assert row.tvd != pytest.approx(evidence.distances.groupby("run_id")["tvd"].mean().mean())
    assert row.tvd_true is None
    assert row.tvd_low is not None
    assert row.tvd_low < (row.tvd or 0) < (row.tvd_high or 0)
    persons = evidence.annotators
    valence = persons[persons["dimension"] == "valence"]
    assert row.annotator_ccc_valence == pytest.approx(valence["ccc"].mean())
    assert row.annotator_ccc_told_valence == pytest.approx(valence["ccc_told"].mean())


def test_a_fold_without_distributions_leaves_the_row_without(recorder: Any) -> None:
    recorder("full", spread=1.0, fold="1/2")
    recorder("full", fold="2/2")
    row = ranked(recorder, "tvd")["full"]
    assert (row.tvd, row.rank) == (None, None)
    assert row.ccc_valence is not None


def by_hand(frame: pd.DataFrame, key: str, a: list[int], b: list[int]) -> tuple[float, Any]:
    """Mean and interval of the differences, paired by utterance and seed, in plain loops."""
    speakers = sorted(set(frame["speaker"]))
    runs = {i: frame[frame["run_id"] == i].set_index("utterance") for i in (*a, *b)}
    shared = sorted(set.intersection(*(set(run.index) for run in runs.values())))
    speaker = [speakers.index(runs[a[0]]["speaker"][utterance]) for utterance in shared]
    each = []
    for first, second in zip(a, b, strict=True):
        gaps = (runs[first][key][shared] - runs[second][key][shared]).to_numpy()
        drawn = [
            np.average(gaps, weights=counts[speaker]) for counts in speaker_draws(len(speakers))
        ]
        each.append((gaps.mean(), drawn))
    weights = seed_draws(len(a)) / len(a)
    draws = (np.array([drawn for _, drawn in each]).T * weights).sum(axis=1)
    return float(np.mean([value for value, _ in each])), interval(draws)


def test_distances_are_compared_as_by_hand(recorder: Any) -> None:
    a = [recorder("full", spread=0.5, seed=seed) for seed in (0, 1)]
    b = [recorder("lora", spread=0.6, seed=seed) for seed in (0, 1)]
    told = compared(recorder, a, b)
    assert [each.key for each in told.distances] == ["tvd", "tvd_told", "jsd", "jsd_told"]
    frame = queries.evidence(recorder.engine, (*a, *b)).distances
    for each in told.distances:
        value, bounds = by_hand(frame, each.key, a, b)
        assert each.dimension == ON_PLANE
        assert each.difference == pytest.approx(value)
        assert (each.difference_low, each.difference_high) == pytest.approx(bounds)
        assert each.difference == pytest.approx((each.a or 0) - (each.b or 0))
        assert each.better == "A", "the nearer is the better"
    turned = compared(recorder, b, a)
    assert {each.better for each in turned.distances} == {"B"}


def test_distances_are_compared_where_both_have_them(recorder: Any) -> None:
    a = [recorder("full", spread=0.5)]
    b = [recorder("lora", spread=0.6)]
    alike = compared(recorder, a, b).distances[0]
    with recorder.engine.begin() as connection:
        connection.exec_driver_sql(
            f"DELETE FROM distributions WHERE run_id = {a[0]} AND utterance < 'u030'"
        )
    frame = queries.evidence(recorder.engine, (*a, *b)).distances
    assert frame.groupby("run_id").size().tolist() == [130, 160]
    each = compared(recorder, a, b).distances[0]
    value, bounds = by_hand(frame, "tvd", a, b)
    assert each.difference == pytest.approx(value)
    assert each.difference != pytest.approx(alike.difference)
    assert (each.difference_low, each.difference_high) == pytest.approx(bounds)
    assert (each.b, each.b_low) == (alike.b, alike.b_low), "of all that a row has"


def test_what_one_alone_has_is_not_compared(recorder: Any) -> None:
    told = compared(recorder, [recorder("full", spread=0.5)], [recorder("lora")])
    each = told.distances[0]
    assert each.a_low is not None
    assert (each.b, each.difference, each.difference_low, each.better) == (None,) * 4


def test_annotators_are_compared_too(spread: Any) -> None:
    ids = {label: list(row.run_ids) for label, row in ranked(spread, "ccc").items()}
    told = compared(spread, ids["ia3"], ids["full"])
    assert [(each.key, each.better) for each in told.annotators] == [
        ("annotator_ccc_activation", "A"),
        ("annotator_ccc_valence", "A"),
        ("annotator_ccc_told_activation", "A"),
        ("annotator_ccc_told_valence", "A"),
    ]
    assert not compared(
        spread, ids["vera"], [spread("bitfit", seed=s) for s in (0, 1, 2)]
    ).distances


def test_a_run_says_how_its_annotators_are_spread(spread: Any) -> None:
    found = queries.run(queries.open_for_reading(str(spread.path)), 1)["annotators"]
    assert [each["dimension"] for each in found] == ["activation", "valence"]
    frame = queries.evidence(spread.engine, [1]).annotators
    values = frame[frame["dimension"] == "valence"]["ccc"]
    assert (found[1]["annotators"], found[1]["ratings"]) == (12, "10 to 21")
    assert found[1]["ccc"] == pytest.approx(
        [values.mean(), *np.quantile(values, [0, 0.25, 0.5, 0.75, 1])]
    )
    assert queries.run(spread.engine, 4)["annotators"] == []


def test_an_utterance_without_a_label_stands_for_itself(recorder: Any) -> None:
    run_id = recorder("full", spread=1.0)
    with recorder.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM predictions WHERE utterance = 'u000'")
    frame = queries.evidence(recorder.engine, [run_id]).distances
    assert len(frame) == 160
    assert frame.set_index("utterance")["speaker"]["u000"] == "u000"


def test_the_page_of_a_run_has_distances_and_quartiles(
    spread: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for run_id, shown in ((1, True), (4, False)):
        found = queries.run(spread.engine, run_id)
        print_run(found, None)
        out = capsys.readouterr().out
        lines = [" ".join(line.split()) for line in out.splitlines()]
        assert ("made-up not told told who rated from the true ones" in lines) is shown
        assert ("of the test split" in out) is shown
    run = queries.run(spread.engine, 1)
    scores = {(s["metric"], s["dimension"]): s["value"] for s in run["scores"]}
    print_run(run, None)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    tvd, told = (scores[name, ON_PLANE] for name in ("tvd", "tvd_told"))
    assert f"TVD {tvd:.3f} {told:.3f} –" in lines
    for way, column in (("valence", "ccc"), ("valence told", "ccc_told")):
        figures = " ".join(f"{value:.3f}" for value in run["annotators"][1][column])
        assert f"{way} 12 10 to 21 {figures}" in lines
    assert "CCC of each annotator with at least 10 ratings of the test split" in lines


def test_raters_agree_as_far_as_their_distributions_do() -> None:
    rated = np.zeros((3, 4, 4))
    rated[0, 3, 0] = 1
    rated[1, 0, 0] = 1
    rated[2, 0, 0] = rated[2, 0, 3] = 0.5
    utterances = pd.DataFrame({"utterance": list("abc"), "raters": [3, 5, 4]})
    each = spreads.agreement(queries.Spreads(utterances=utterances, masses={"rated": rated}))
    assert each["fullest"].tolist() == [1, 1, 0.5]
    assert each["mean_activation"].tolist() == [0.75, -0.75, -0.75]
    assert each["mean_valence"].tolist() == [-0.75, -0.75, 0]
    assert each["sd_activation"].tolist() == [0, 0, 0]
    assert each["sd_valence"].tolist() == [0, 0, 0.75]
    assert each["apart"].tolist() == pytest.approx([2 / 3, 1 / 2, 1 / 3])
    told = spreads.agreed(each).set_index("Figure")["Value"]
    assert told["Raters"] == 4
    assert told["Share of activation between"] == 1
    # (0.75² / 3) within, and of -0.75, -0.75, 0 the variance between.
    assert told["Share of valence between"] == pytest.approx(0.125 / (0.1875 + 0.125))


def test_of_a_single_utterance_no_share_lies_between() -> None:
    rated = np.zeros((1, 4, 4))
    rated[0, 1, 2] = 1
    utterances = pd.DataFrame({"utterance": ["a"], "raters": [3]})
    each = spreads.agreement(queries.Spreads(utterances=utterances, masses={"rated": rated}))
    assert np.isnan(spreads.agreed(each).set_index("Figure")["Value"]["Share of valence between"])
