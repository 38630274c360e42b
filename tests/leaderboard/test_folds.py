"""Runs of several folds as one row, and rows told by a corpus that was not trained on."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from serbench.harness.errors import RequestError
from serbench.harness.metrics import Sums, ccc
from serbench.harness.plan import CorpusRef, Elsewhere
from serbench.leaderboard import comparison, queries, ranking, tables
from serbench.leaderboard.ranking import Row

OTHER = Elsewhere(ref=CorpusRef("o"), name="other", hash="h1", synthetic=False, derived=True)


def ranked(recorder: Any, test_corpus: str | None = None) -> list[Row]:
    engine = queries.open_for_reading(str(recorder.path))
    runs = queries.configurations(engine, test_corpus=test_corpus)
    chosen = ranking.chosen_runs(runs)
    evidence = queries.evidence(engine, chosen, test_corpus=test_corpus)
    return ranking.rank(runs, evidence)


def folded(recorder: Any, name: str, *numbers: int, count: int = 4, **facts: Any) -> list[int]:
    return [recorder(name, fold=f"{number}/{count}", **facts) for number in numbers]


@pytest.mark.parametrize("seed", range(5))
def test_sums_give_the_ccc_of_all_parts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(4, 2, 300)
    predicted = 0.5 * truth + rng.normal(1, 1, 300)
    parts = np.split(np.stack([predicted, truth]), [50, 60, 200], axis=1)
    sums = [Sums(len(p), p.sum(), y.sum(), p @ p, y @ y, p @ y) for p, y in parts]
    assert (sums[0] + sums[1] + sums[2] + sums[3]).value == pytest.approx(ccc(truth, predicted))
    assert Sums(1, 2, 2, 4, 4, 4).value is None
    assert Sums(2, 2, 2, 2, 2, 2).value is None, "one and the same number"


def test_folds_are_one_row_with_the_ccc_over_all_their_utterances(recorder: Any) -> None:
    ids = folded(recorder, "full", 3, 1, 2, 4, epoch_s=10.0)
    folded(recorder, "full", 1, 2, 3, 4, seed=1, epoch_s=14.0)
    (row,) = ranked(recorder)
    assert (row.folds, row.fold_numbers, row.runs) == (4, (1, 2, 3, 4), 2)
    assert row.epoch_s == 12.0
    assert tables.marks(row).startswith("4 folds")
    engine = queries.open_for_reading(str(recorder.path))
    frame = queries.predictions(engine, range(1, 9))
    frame = frame[frame["dimension"] == "valence"]
    each = [
        ccc(part["label"].to_numpy(), part["predicted"].to_numpy())
        for _, part in frame.groupby(frame["run_id"].isin(ids))
    ]
    assert all(len(part) == 160 for _, part in frame.groupby(frame["run_id"].isin(ids)))
    assert row.ccc_valence == pytest.approx(np.mean(each))
    assert row.ccc_valence is not None
    assert row.ccc_valence_low is not None
    assert row.ccc_valence_high is not None
    assert row.ccc_valence_low < row.ccc_valence < row.ccc_valence_high


def test_intervals_are_over_the_speakers_of_all_folds(recorder: Any) -> None:
    """Two speakers a fold would tell nothing."""
    folded(recorder, "full", 1)
    folded(recorder, "lora", 1, 2, 3, 4)
    intervals = {row.label: row.ccc_valence_low for row in ranked(recorder)}
    assert intervals["full"] is None
    assert intervals["lora"] is not None


def test_rows_compare_where_they_have_the_same_folds(recorder: Any) -> None:
    folded(recorder, "full", 1, 2, 3, 4)
    folded(recorder, "lora", 4, 3, 2, 1)
    folded(recorder, "vera", 1, 2)
    folded(recorder, "bitfit", 1, 2, 3, 4, count=5)
    recorder("frozen")
    groups = {row.label: row.group for row in ranked(recorder)}
    assert groups["full"] == groups["lora"]
    assert len(set(groups.values())) == 4


def test_a_seed_that_lacks_folds_is_left_out_of_the_ccc(recorder: Any) -> None:
    folded(recorder, "full", 1, 2, 3, 4)
    (alone,) = ranked(recorder)
    folded(recorder, "full", 1, 2, seed=1, noise=5.0)
    recorder("full", seed=1, fold="3/4", status="failed", message="no")
    (row,) = ranked(recorder)
    assert (row.runs, row.failed, row.ccc_valence) == (1, 1, alone.ccc_valence)


def test_repeats_of_a_fold_tell_the_noise(recorder: Any) -> None:
    folded(recorder, "full", 1, 2, 3, epoch_s=10.0)
    recorder("full", fold="2/4", repeat=1, epoch_s=11.0)
    recorder("full", fold="4/4", repeat=1, epoch_s=99.0)
    (row,) = ranked(recorder)
    assert row.noise_pairs == 1
    assert row.noise_epoch_share == pytest.approx(0.1)


def test_two_folds_do_not_compare(recorder: Any) -> None:
    a, b = folded(recorder, "full", 1, 2)
    engine = queries.open_for_reading(str(recorder.path))
    runs = queries.configurations(engine)
    with pytest.raises(RequestError, match=r"they differ in fold \(1/4 and 2/4\)"):
        comparison.compare(runs, queries.evidence(engine, (a, b)), (a,), (b,))


def test_rows_with_folds_are_compared_as_rows(recorder: Any) -> None:
    for seed, name in itertools.product((0, 1), ("full", "lora")):
        folded(recorder, name, 1, 2, 3, 4, seed=seed, noise=0.5 if name == "full" else 2.0)
    full, lora = sorted(ranked(recorder), key=lambda row: row.label)
    engine = queries.open_for_reading(str(recorder.path))
    evidence = queries.evidence(engine, (*full.run_ids, *lora.run_ids))
    told = comparison.compare(queries.configurations(engine), evidence, full.run_ids, lora.run_ids)
    assert (told.fold_numbers, told.paired_seeds, told.test_speakers) == ((1, 2, 3, 4), (0, 1), 8)
    assert [each.better for each in told.ccc] == ["A", "A", "A"]


def test_a_ranking_may_be_told_by_a_further_corpus(recorder: Any) -> None:
    recorder("full", noise=0.5, elsewhere=(OTHER,))
    recorder("lora", noise=1.5, elsewhere=(OTHER,))
    recorder("vera")
    own = {row.label: row for row in ranked(recorder)}
    other = {row.label: row for row in ranked(recorder, "other")}
    assert set(other) == {"full", "lora"}
    assert other["full"].tested_on == "other"
    assert own["full"].tested_on == "made-up"
    assert other["full"].derived
    assert not own["full"].derived
    assert 0 < (other["full"].ccc_valence or 0) < (own["full"].ccc_valence or 0)
    assert other["full"].epoch_s == own["full"].epoch_s
    assert ranked(recorder, "none") == []


def test_another_version_of_a_further_corpus_does_not_compare(recorder: Any) -> None:
    recorder("full", elsewhere=(OTHER,))
    changed = Elsewhere(ref=OTHER.ref, name="other", hash="h2", synthetic=False, derived=True)
    recorder("lora", elsewhere=(changed,))
    assert len({row.group for row in ranked(recorder)}) == 1
    assert len({row.group for row in ranked(recorder, "other")}) == 2
