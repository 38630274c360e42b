"""Of many configurations those are read that a comparison cannot do without."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from serbench.harness.metrics import RANKINGS
from serbench.harness.plan import CorpusRef, Elsewhere
from serbench.leaderboard import queries, queries_aggregates, ranking, shortlist
from serbench.leaderboard.configurations import COMPARABLE, CONFIGURATION, groups
from serbench.leaderboard.differences import parts
from serbench.leaderboard.queries_aggregates import Aggregate
from serbench.leaderboard.ranking import Row
from serbench.leaderboard.settings import Setting, settings
from serbench.leaderboard.shortlist import Shortlist

USUAL = Aggregate(
    run_ids=(0,),
    first_at="2024-01",
    newest_at="2024",
    label="lora",
    head="consensus",
    head_config="{}",
    head_source=None,
    strategy="lora",
    config="{}",
    precision="fp32",
    cached=False,
    cache_dtype=None,
    source_hash="s",
    repeats=0,
    score=0.5,
    epoch_s=10.0,
    peak_vram_bytes=10,
    peak_host_anonymous_bytes=10,
)


@pytest.fixture(autouse=True)
def few(best: Callable[[int], None]) -> None:
    """Three are not many."""
    best(3)


def several(*given: dict[str, Any]) -> list[Aggregate]:
    """Configurations of their own, the run of each with the number of its place from 1."""
    usual = [{"config": str(i), "run_ids": (i,)} for i in range(1, len(given) + 1)]
    return [
        dataclasses.replace(USUAL, **{**own, **its}) for own, its in zip(usual, given, strict=True)
    ]


SIX = [{"score": 0.1 * i} for i in range(6)]
SEVEN = [{"score": 0.1 * i} for i in range(1, 8)]
"""None of these is on the front but the last."""


def listed(*given: dict[str, Any], by: str = "ccc") -> Shortlist:
    found = shortlist.shortlist(several(*given), by)
    assert found is not None
    assert found.of == len(given)
    return found


def test_few_are_all_read() -> None:
    assert shortlist.shortlist(several(*SIX[:3]), "ccc") is None


def test_the_best() -> None:
    assert listed(*SIX) == Shortlist(configurations=3, of=6, run_ids=(4, 5, 6))


def test_the_best_where_lower_is_better() -> None:
    assert listed(*SIX, by="tvd").run_ids == (1, 2, 3)


def test_what_has_no_score_is_not_among_the_best() -> None:
    assert listed({"score": None}, {"score": None}, *SIX[2:]).run_ids == (4, 5, 6)


@pytest.mark.parametrize("cheap", [{"epoch_s": 1.0}, {"peak_vram_bytes": 1}])
def test_the_front(cheap: dict[str, Any]) -> None:
    assert listed({"score": 0.0, **cheap}, *SEVEN).run_ids == (1, 6, 7, 8)


def test_the_memory_that_counts_is_the_hosts_without_a_gpu() -> None:
    given = [{"peak_vram_bytes": None, **each} for each in ({}, *SEVEN)]
    given[0] |= {"peak_host_anonymous_bytes": 1, "score": 0.0}
    assert listed(*given).run_ids == (1, 6, 7, 8)


def test_the_last_of_what_speedups_are_told_against() -> None:
    full = {"label": "full", "score": 0.0}
    later = {**full, "first_at": "2024-02"}
    failed = {**full, "first_at": "2024-03", "score": None, "epoch_s": None}
    assert listed(full, later, failed, *SEVEN).run_ids == (2, 8, 9, 10)


def test_the_first_of_the_like_without_cache() -> None:
    live = {"config": "[1]", "score": 0.0}
    earlier = {**live, "first_at": "2023", "head": "other"}
    other_source = {**live, "first_at": "2022", "head": "another", "source_hash": "t"}
    cached = {"config": "[1]", "cached": True, "score": 0.9}
    assert listed(live, earlier, other_source, cached, *SEVEN).run_ids == (2, 4, 10, 11)


def test_what_tells_noise() -> None:
    assert listed({"repeats": 1, "score": 0.0}, *SEVEN).run_ids == (1, 6, 7, 8)


def test_a_long_list_saves_nothing() -> None:
    noisy = [{"repeats": 1, "score": 0.01 * i} for i in range(5)]
    assert shortlist.shortlist(several(*noisy, *SIX[3:]), "ccc") is None


def test_older_versions_of_a_strategy_do_not_count() -> None:
    old = {"config": "[1]", "source_hash": "old", "newest_at": "2023", "score": 0.9}
    new = {"config": "[1]", "source_hash": "new", "newest_at": "2025", "score": 0.0}
    repeats = {"config": "[1]", "source_hash": "odd", "newest_at": None, "score": None}
    found = shortlist.shortlist(several(old, new, repeats, *SIX[1:]), "ccc")
    assert found == Shortlist(configurations=3, of=6, run_ids=(6, 7, 8))


def test_versions_are_told_apart_however_their_settings_are_written() -> None:
    old = {"config": '{"a": 1, "b": 2}', "newest_at": "2023", "score": 0.9}
    new = {"config": '{"b": 2, "a": 1}', "newest_at": "2025", "source_hash": "new", "score": 0.0}
    found = shortlist.shortlist(several(old, new, *SIX[1:]), "ccc")
    assert found == Shortlist(configurations=3, of=6, run_ids=(5, 6, 7))


@pytest.mark.parametrize(
    "otherwise", [{"head": "consensus:loss=ccc"}, {"config": '{"b": 2, "a": 1}'}]
)
def test_where_one_is_written_in_two_ways_all_are_read(otherwise: dict[str, Any]) -> None:
    usual = {"config": '{"a": 1, "b": 2}'}
    assert shortlist.shortlist(several(usual, {**usual, **otherwise}, *SEVEN), "ccc") is None


def test_equals_are_in_the_order_in_which_they_were_measured() -> None:
    ages = ["2024-03", "2024-01", "2024-05", "2024-02", "2024-04", "2024-06"]
    front = {"score": 0.9, "epoch_s": 1.0, "peak_vram_bytes": 1}
    assert listed(front, *({"first_at": age} for age in ages)).run_ids == (1, 3, 5)


def test_where_none_has_a_score_all_are_read() -> None:
    assert shortlist.shortlist(several(*({"score": None} for _ in range(8))), "ccc") is None


def test_where_a_head_has_two_labels_all_are_read() -> None:
    stated = {"head": "consensus:loss=ccc", "score": 0.0}
    assert shortlist.shortlist(several(stated, *SEVEN), "ccc") is None


def test_what_tells_configurations_apart_is_what_the_database_does() -> None:
    told = {column.key for column in queries_aggregates.SAME} - {"head", "source_hash"}
    assert told == {*CONFIGURATION} - {*COMPARABLE, "head_name"}


@pytest.mark.parametrize("by", ["ccc", "tvd"])
@pytest.mark.parametrize("seed", range(6))
def test_a_row_is_what_it_is_among_all(
    recorder: Any, monkeypatch: pytest.MonkeyPatch, seed: int, by: str
) -> None:
    monkeypatch.setattr(shortlist, "MOST", 1)
    fill_at_random(recorder, random.Random(seed))
    engine = queries.open_for_reading(str(recorder.path))
    (setting,) = settings(engine)
    found = shortlist.shortlist(
        queries_aggregates.aggregates(engine, setting, RANKINGS[by].keys), by
    )
    assert found is not None
    every, some = (ranked(engine, setting, ids, by) for ids in (None, found.run_ids))
    assert found.of == len(every)
    assert found.configurations == len(some) < len(every)
    assert some == {ids: every[ids] for ids in some}
    assert {ids for ids, row in every.items() if row.rank or row.pareto} <= {*some}


def ranked(
    engine: sa.Engine, setting: Setting, run_ids: tuple[int, ...] | None, by: str
) -> dict[tuple[int, ...], Row]:
    (group,) = groups(queries.configurations(engine, setting, run_ids))
    evidence = queries.evidence(engine, ranking.runs_of_best(group, by))
    return {row.run_ids: row for row in ranking.rank_group(group, parts(evidence), by=by)}


def fill_at_random(recorder: Any, chance: random.Random) -> None:
    """Twelve strategies, live and cached, of up to three seeds, with whatever may befall runs."""
    kinds = [(name, cached) for name in ("full", *"abcdefghijk") for cached in (False, True)]
    for name, cached in kinds:
        for seed in range(chance.randint(1, 3)):
            for source in chance.choice((["s"], ["s"], ["older", "s"])):
                recorder(
                    name,
                    cached=cached,
                    seed=seed,
                    source_hash=source,
                    noise=chance.choice((0.2, 0.5, 1.0, 2.0)),
                    spread=chance.uniform(0.1, 2.0),
                    epoch_s=chance.uniform(1.0, 20.0),
                    fill_s=5.0 if cached else None,
                    vram=chance.randrange(2**30, 2**31),
                    status=chance.choice(("ok",) * 6 + ("oom",)),
                )
    recorder("a", seed=0, repeat=1, source_hash="s", spread=1.0)
    recorder("b", seed=0, source_hash="s", noise=0.1, spread=1.0)


@pytest.fixture
def many(recorder: Any) -> Any:
    """Ten configurations of two seeds, where three are all that is read; `a` is the quickest."""
    other = Elsewhere(ref=CorpusRef("o"), name="other", hash="h", synthetic=False, derived=False)
    for seed in (0, 1):
        for i, name in enumerate("abcdefghij"):
            recorder(
                name,
                noise=5.5 - 0.5 * i,
                spread=0.1 + 0.5 * i,
                epoch_s=1.0 if name == "a" else 10.0,
                seed=seed,
                elsewhere=(other,) if name in "abcde" else (),
            )
    return recorder


BEST_AND_QUICKEST = [*"jiha"]


def names(shown: Any) -> list[str]:
    found: list[str] = shown.dataframe[0].value["Configuration"].tolist()
    return found


def test_the_page_reads_the_best_and_says_so(page: Any, many: Any) -> None:
    shown = page(many.path)
    assert names(shown) == BEST_AND_QUICKEST
    assert shown.dataframe[0].value["Rank"].notna().sum() == 3
    assert shown.info[0].value.startswith("Of 10 configurations 4 are read: the 3 best by CCC,")
    assert shown.selectbox(key="configurations").options == ["the best", "all"]


def test_what_was_read_for_one_choice_is_not_shown_for_another(page: Any, many: Any) -> None:
    shown = page(many.path)
    shown.selectbox(key="configurations").select("all").run()
    assert names(shown) == [*"jihgfedcba"]
    shown.selectbox(key="by").select("TVD").run()
    assert names(shown) == [*"abcdefghij"]
    shown.selectbox(key="configurations").select("the best").run()
    assert names(shown) == [*"abc"]
    shown.selectbox(key="by").select("CCC").run()
    assert names(shown) == BEST_AND_QUICKEST


def test_points_of_trade_offs_are_those_of_the_choice(page: Any, many: Any) -> None:
    shown = page(many.path, "tradeoffs")
    assert set(names(shown)) == set(BEST_AND_QUICKEST)
    shown.selectbox(key="configurations").select("all").run()
    assert set(names(shown)) == set("abcdefghij")
    shown.selectbox(key="configurations").select("the best").run()
    assert set(names(shown)) == set(BEST_AND_QUICKEST)


def test_within_limits_all_are_asked(page: Any, many: Any) -> None:
    shown = page(many.path, "choose")
    shown.number_input(key="maxepoch").set_value(20.0).run()
    assert any("10 of 10 configurations" in caption.value for caption in shown.caption)


def test_what_was_tested_on_a_further_corpus_is_read_whole(page: Any, many: Any) -> None:
    assert names(page(many.path, tested_on="other")) == [*"edcba"]


@pytest.mark.parametrize("view", ["compare", "annotators", "failures"])
def test_every_page_says_what_is_read(page: Any, many: Any, view: str) -> None:
    assert page(many.path, view).info[0].value.startswith("Of 10 configurations 4 are read")


def test_the_noise_is_that_of_all_runs_that_were_repeated(page: Any, many: Any) -> None:
    many("b", seed=0, repeat=1, epoch_s=30.0, noise=4.0, spread=0.6)
    part, whole = page(many.path), page(many.path, configurations="all")
    assert names(part) == [*"jihba"]
    told = "differed by up to 200.0 % in an epoch's time"
    assert all(told in shown.caption[-1].value for shown in (part, whole))


def test_the_run_page_draws_a_run_that_is_not_among_them(page: Any, many: Any) -> None:
    shown = page(many.path, "run", run="2")
    assert "b, seed 0" in shown.text[0].value
    assert any("none of the configurations" in info.value for info in shown.info)


def test_settings_of_folds_are_read_whole(page: Any, many: Any, recorder: Any) -> None:
    for name in "abcdefghij":
        recorder(name, fold="1/2")
    assert len(names(page(recorder.path))) == 10


def test_settings_of_cost_only_are_read_whole(page: Any, many: Any) -> None:
    for name in "abcdefghij":
        many(name, cost_only=True, noise=None, device="cpu")
    shown = page(many.path, setting="")
    box = shown.selectbox(key="setting")
    box.select(next(name for name in box.options if name.startswith("cost only"))).run()
    assert shown.dataframe[0].value["Rank"].notna().sum() == 10
