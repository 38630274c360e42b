"""What the database tells of configurations is what their runs tell."""

from __future__ import annotations

import random
from typing import Any

import pytest
import sqlalchemy as sa

from serbench.harness.metrics import RANKINGS
from serbench.harness.plan import CorpusRef, Elsewhere
from serbench.harness.records import ScoreRow
from serbench.leaderboard import queries, queries_aggregates
from serbench.leaderboard.configurations import Configuration, groups
from serbench.leaderboard.queries_aggregates import Aggregate
from serbench.leaderboard.settings import settings

GIB = 2**30


def read(recorder: Any, by: str = "ccc") -> list[Aggregate]:
    engine = queries.open_for_reading(str(recorder.path))
    (setting,) = settings(engine)
    return queries_aggregates.aggregates(engine, setting, RANKINGS[by].keys)


def members(recorder: Any) -> list[Configuration]:
    engine = queries.open_for_reading(str(recorder.path))
    (group,) = groups(queries.configurations(engine))
    return [*group.members]


@pytest.fixture
def runs_of_all_kinds(recorder: Any) -> Any:
    """Five configurations of up to six seeds, some made anew, repeated or ended badly."""
    chance = random.Random(0)
    for _ in range(60):
        name = chance.choice(("full", "lora", "vera", "ia3", "dora"))
        recorder(
            name,
            seed=chance.randrange(6),
            repeat=chance.choice((0, 0, 0, 1)),
            status=chance.choice(("ok", "ok", "ok", "failed")),
            precision="bf16" if name == "vera" else "fp32",
            cached=name == "dora",
            noise=chance.choice((0.1, 0.5, 1.0))
            if name != "ia3" or chance.random() < 0.5
            else None,
            spread=None,
            epoch_s=chance.uniform(1, 9),
            vram=chance.randrange(GIB, 2 * GIB),
        )
    return recorder


def test_figures_are_those_of_the_runs(runs_of_all_kinds: Any) -> None:
    known = {member.newest["label"]: member for member in members(runs_of_all_kinds)}
    found = {each.label: each for each in read(runs_of_all_kinds)}
    assert len(found) == len(known) == 5
    assert any(len(member.runs) % 2 for member in known.values())
    assert not all(len(member.runs) % 2 for member in known.values())
    for label, each in found.items():
        member = known[label]
        score = member.score(RANKINGS["ccc"].keys)
        assert each.score == (None if label == "ia3" else pytest.approx(score))
        assert (score is None) == (label == "ia3")
        assert each.epoch_s == pytest.approx(member.epoch_s)
        assert each.peak_vram_bytes == member.peak("peak_vram_bytes")
        assert each.peak_host_anonymous_bytes == member.peak("peak_host_anonymous_bytes")
        assert each.newest_at == member.newest["started_at"]
        assert each.cached is member.newest["cached"]
        assert each.precision == member.newest["precision"]


def test_all_runs_are_named(runs_of_all_kinds: Any) -> None:
    engine = queries.open_for_reading(str(runs_of_all_kinds.path))
    found = read(runs_of_all_kinds)
    every = queries.configurations(engine)
    assert sorted(i for each in found for i in each.run_ids) == sorted(run["id"] for run in every)
    for each in found:
        its = [run for run in every if run["label"] == each.label]
        assert set(each.run_ids) == {run["id"] for run in its}
        assert each.repeats == sum(run["repeat"] > 0 and run["status"] == "ok" for run in its)
        assert each.first_at == min(run["started_at"] for run in its)


def test_versions_of_a_strategy_are_told_apart(recorder: Any) -> None:
    recorder("full", source_hash="old")
    recorder("full", source_hash="new")
    assert {each.source_hash for each in read(recorder)} == {"old", "new"}


def test_what_failed_alone_has_no_figures(recorder: Any) -> None:
    recorder("full", status="oom")
    (found,) = read(recorder)
    assert (found.score, found.epoch_s, found.peak_vram_bytes) == (None, None, None)
    assert found.newest_at is not None


def test_a_seed_that_lacks_a_score_leaves_none(recorder: Any) -> None:
    recorder("full", seed=0)
    lacking = recorder("full", seed=1)
    with recorder.engine.begin() as connection:
        connection.execute(
            sa.delete(ScoreRow).where(ScoreRow.run_id == lacking, ScoreRow.dimension == "valence")
        )
    (found,) = read(recorder)
    (member,) = members(recorder)
    assert found.score is None
    assert member.score(RANKINGS["ccc"].keys) is None


def test_further_corpora_are_those_of_runs_that_ended_well(recorder: Any) -> None:
    for name, given in (("a", {}), ("b", {"repeat": 1}), ("c", {"status": "failed"})):
        there = Elsewhere(ref=CorpusRef(name), name=name, hash="h", synthetic=False, derived=False)
        recorder("full", elsewhere=(there,), **given)
    engine = queries.open_for_reading(str(recorder.path))
    (setting,) = settings(engine)
    assert queries_aggregates.test_corpora(engine, setting) == ["a"]
    (found,) = read(recorder)
    # One run's score on its own corpus, which that on the further one is not.
    ((run,),) = (member.seeds for member in members(recorder))
    assert found.score == pytest.approx((run["ccc_activation"] + run["ccc_valence"]) / 2)


def test_what_is_scored(recorder: Any) -> None:
    recorder("full", spread=1.0)
    recorder("lora", corpus_hash="without")
    recorder("lora", corpus_hash="without", spread=1.0, repeat=1)
    engine = queries.open_for_reading(str(recorder.path))
    told = {each.corpus_hash: each for each in settings(engine)}
    both = queries_aggregates.scored(engine, told["manifest-1"])
    assert {"ccc_activation", "ccc_valence", "tvd", "annotator_ccc_valence"} <= {*both}
    assert "ccc_dominance" not in both
    assert queries_aggregates.scored(engine, told["without"]) == ["ccc_activation", "ccc_valence"]
    assert queries_aggregates.test_corpora(engine, told["without"]) == []
