"""Of many configurations those are read that a comparison cannot do without."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from serbench.harness.plan import CorpusRef, Elsewhere
from serbench.leaderboard import shortlist
from serbench.leaderboard.queries_aggregates import Aggregate
from serbench.leaderboard.shortlist import Shortlist

USUAL = Aggregate(
    run_ids=(0,),
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
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three are not many."""
    monkeypatch.setattr(shortlist, "BEST", 3)


def several(*given: dict[str, Any]) -> list[Aggregate]:
    """Configurations of their own, the run of each with the number of its place from 1."""
    usual = [{"config": str(i), "run_ids": (i,)} for i in range(1, len(given) + 1)]
    return [
        dataclasses.replace(USUAL, **{**own, **its}) for own, its in zip(usual, given, strict=True)
    ]


SIX = [{"score": 0.1 * i} for i in range(6)]
"""None of these is on the front but the last."""


def listed(*given: dict[str, Any], by: str = "ccc", cost_only: bool = False) -> Shortlist:
    found = shortlist.shortlist(several(*given), by, cost_only=cost_only)
    assert found is not None
    assert found.of == len(given)
    return found


def test_few_are_all_read() -> None:
    assert shortlist.shortlist(several(*SIX[:3]), "ccc") is None


def test_the_best() -> None:
    assert listed(*SIX) == Shortlist(configurations=3, of=6, run_ids=(4, 5, 6))


def test_the_best_where_lower_is_better() -> None:
    assert listed(*SIX, by="tvd").run_ids == (1, 2, 3)


def test_the_quickest_where_only_costs_are_known() -> None:
    costs = [{"score": None, "epoch_s": 10.0 - i} for i in range(6)]
    assert listed(*costs, cost_only=True).run_ids == (4, 5, 6)


def test_what_has_no_score_is_not_among_the_best() -> None:
    assert listed({"score": None}, *SIX[1:5]).run_ids == (3, 4, 5)


@pytest.mark.parametrize(
    "cheap",
    [{"epoch_s": 1.0}, {"peak_vram_bytes": 1}],
)
def test_the_front(cheap: dict[str, Any]) -> None:
    assert listed({"score": 0.0, **cheap}, *SIX[1:]).run_ids == (1, 4, 5, 6)


def test_the_memory_that_counts_is_the_hosts_without_a_gpu() -> None:
    given = [{"peak_vram_bytes": None, **each} for each in SIX]
    given[0]["peak_host_anonymous_bytes"] = 1
    assert listed(*given).run_ids == (1, 4, 5, 6)


def test_what_speedups_are_told_against() -> None:
    assert listed({"label": "full", "score": 0.0}, *SIX[1:]).run_ids == (1, 4, 5, 6)


def test_the_like_without_cache() -> None:
    live = {"config": "same", "score": 0.0}
    cached = {"config": "same", "cached": True, "score": 0.9}
    assert listed(live, cached, *SIX[:4]).run_ids == (1, 2, 5, 6)


def test_what_tells_noise_but_no_more_of_it_than_of_the_best() -> None:
    noisy = [{"repeats": 1, "score": 0.01 * i} for i in range(5)]
    assert listed(*noisy, *SIX[3:]).run_ids == (3, 4, 5, 6, 7, 8)


def test_older_versions_of_a_strategy_do_not_count() -> None:
    old = {"config": "same", "source_hash": "old", "newest_at": "2023", "score": 0.9}
    new = {"config": "same", "source_hash": "new", "newest_at": "2025", "score": 0.0}
    repeats = {"config": "same", "source_hash": "odd", "newest_at": None, "score": None}
    found = shortlist.shortlist(several(old, new, repeats, *SIX[1:]), "ccc")
    assert found == Shortlist(configurations=3, of=6, run_ids=(6, 7, 8))


def test_runs_of_a_head_that_was_written_in_two_ways_stay_together() -> None:
    plain = {"config": "same", "score": 0.9}
    stated = {"config": "same", "score": 0.0, "head": "consensus:loss=ccc"}
    found = shortlist.shortlist(several(plain, stated, *SIX[1:]), "ccc")
    assert found == Shortlist(configurations=3, of=6, run_ids=(1, 2, 6, 7))


@pytest.fixture
def many(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Six configurations of two seeds, where three are all that is read; `a` is the quickest."""
    from serbench.leaderboard import ranking
    from serbench.leaderboard.views import choices

    for module in (ranking, choices):
        monkeypatch.setattr(module, "BEST", 3)
    other = Elsewhere(ref=CorpusRef("o"), name="other", hash="h", synthetic=False, derived=False)
    for seed in (0, 1):
        for i, name in enumerate("abcdef"):
            recorder(
                name,
                noise=3.0 - 0.5 * i,
                spread=0.1 + 0.5 * i,
                epoch_s=1.0 if name == "a" else 10.0,
                seed=seed,
                elsewhere=(other,) if name in "abcde" else (),
            )
    return recorder


def names(shown: Any) -> list[str]:
    found: list[str] = shown.dataframe[0].value["Configuration"].tolist()
    return found


def test_the_page_reads_the_best_and_says_so(page: Any, many: Any) -> None:
    shown = page(many.path)
    assert names(shown) == ["f", "e", "d", "a"]
    assert shown.dataframe[0].value["Rank"].notna().sum() == 3
    assert shown.info[0].value.startswith("Of 6 configurations 4 are read: the 3 best by CCC,")
    box = shown.selectbox(key="configurations")
    assert box.options == ["the best", "all"]


def test_all_can_be_chosen(page: Any, many: Any) -> None:
    assert names(page(many.path, configurations="all")) == [*"fedcba"]


def test_the_best_are_those_by_what_rows_are_ranked_by(page: Any, many: Any) -> None:
    assert names(page(many.path, by="TVD"))[:3] == [*"abc"]


def test_the_best_are_those_on_the_corpus_that_was_tested_on(page: Any, many: Any) -> None:
    shown = page(many.path, tested_on="other")
    assert names(shown) == ["e", "d", "c", "a"]
    assert shown.info[0].value.startswith("Of 5 configurations 4 are read")


@pytest.mark.parametrize("view", ["tradeoffs", "choose", "compare", "annotators"])
def test_every_page_is_of_what_is_read(page: Any, many: Any, view: str) -> None:
    part, whole = page(many.path, view), page(many.path, view, configurations="all")
    assert part.info[0].value.startswith("Of 6 configurations 4 are read")
    assert not any("are read" in info.value for info in whole.info)


def test_the_run_page_draws_a_run_that_is_not_among_them(page: Any, many: Any) -> None:
    shown = page(many.path, "run", run="2")
    assert "b, seed 0" in shown.text[0].value
    assert any("none of the configurations" in info.value for info in shown.info)


def test_settings_of_folds_are_read_whole(page: Any, many: Any, recorder: Any) -> None:
    for name in "abcdef":
        recorder(name, fold="1/2")
    shown = page(recorder.path)
    assert len(names(shown)) == 6
