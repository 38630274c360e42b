"""What a reader chooses beside all pages."""

from __future__ import annotations

from typing import Any

import pytest

from serbench.harness.plan import CorpusRef, Elsewhere
from serbench.leaderboard import queries

OTHER = Elsewhere(ref=CorpusRef("o"), name="other", hash="h1", synthetic=False, derived=True)
THIRD = Elsewhere(ref=CorpusRef("t"), name="third", hash="h2", synthetic=False, derived=True)


def test_rows_of_other_folds_are_chosen_by_their_folds(page: Any, recorder: Any) -> None:
    recorder("full", fold="2/2")
    for fold in ("1/2", "2/2"):
        recorder("lora", fold=fold)
    shown = page(recorder.path)
    folds = shown.selectbox(key="folds")
    assert folds.options == ["2 folds", "fold 2 of 2"]
    assert shown.dataframe[0].value["Configuration"].tolist() == ["lora"]
    folds.select_index(1).run()
    assert shown.dataframe[0].value["Configuration"].tolist() == ["full"]


def test_settings_are_named_by_what_sets_them_apart(page: Any, recorder: Any) -> None:
    recorder("full")
    recorder("lora", corpus_hash="manifest-2")
    shown = page(recorder.path)
    settings = shown.selectbox(key="setting")
    assert [name.rpartition(" ")[2] for name in settings.options] == ["manifest-2", "manifest-1"]
    assert shown.dataframe[0].value["Configuration"].tolist() == ["lora"]
    assert not shown.exception


@pytest.fixture
def elsewhere(recorder: Any) -> Any:
    """Three rows, two of which were tested on a further corpus."""
    for seed in (0, 1):
        recorder("full", noise=0.5, spread=1.0, elsewhere=(OTHER,), seed=seed)
        recorder("lora", noise=1.5, spread=2.0, elsewhere=(OTHER,), seed=seed)
        recorder("vera", seed=seed)
    return recorder


def test_scores_may_be_of_a_further_corpus(page: Any, elsewhere: Any) -> None:
    own = page(elsewhere.path)
    box = own.selectbox(key="tested_on")
    assert box.options == ["made-up (trained on)", "other"]
    before = own.dataframe[0].value.set_index("Configuration")["CCC valence"]
    box.select("other").run()
    after = own.dataframe[0].value.set_index("Configuration")["CCC valence"]
    assert set(before.index) == {"full", "lora", "vera"}
    assert set(after.index) == {"full", "lora"}
    assert (after < before[after.index]).all()
    assert any("derived from categories" in warning.value for warning in own.warning)


def test_what_only_a_repeat_was_tested_on_is_no_choice(page: Any, recorder: Any) -> None:
    recorder("full", source_hash="older", elsewhere=(OTHER,))
    recorder("full", source_hash="newer", repeat=1, elsewhere=(THIRD,))
    own = page(recorder.path)
    assert own.selectbox(key="tested_on").options == ["made-up (trained on)", "other"]
    shown = page(recorder.path, tested_on="other")
    assert len(shown.dataframe[0].value) == 1


def noted(read: Any, asked: list[str | None]) -> Any:
    def reading(*given: Any, **told: Any) -> Any:
        asked.append(told.get("test_corpus"))
        return read(*given, **told)

    return reading


@pytest.mark.parametrize("view", ["tradeoffs", "choose", "compare", "annotators", "run"])
def test_every_page_is_of_the_corpus_that_was_tested_on(
    page: Any, elsewhere: Any, view: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    for name in ("evidence", "predictions", "annotators", "spreads"):
        monkeypatch.setattr(queries, name, noted(getattr(queries, name), asked))
    shown = page(elsewhere.path, view, tested_on="other")
    assert shown.selectbox(key="tested_on").value == "other"
    assert not shown.error
    assert set(asked) == {"other"}


def test_where_nothing_was_tested_elsewhere_nothing_is_asked(page: Any, filled: Any) -> None:
    assert "tested_on" not in [box.key for box in page(filled.path).selectbox]


def test_versions_of_a_further_corpus_are_told_apart(page: Any, recorder: Any) -> None:
    recorder("full", elsewhere=(OTHER,))
    changed = Elsewhere(ref=OTHER.ref, name="other", hash="h2", synthetic=False, derived=True)
    recorder("lora", elsewhere=(changed,))
    shown = page(recorder.path, tested_on="other")
    names = shown.selectbox(key="folds").options
    assert len({*names}) == 2
    assert all(name.startswith("the corpus's split (") for name in names)


def test_a_group_is_named_by_all_of_its_rows(page: Any, recorder: Any) -> None:
    changed = Elsewhere(ref=CorpusRef("o"), name="other", hash="h2", synthetic=False, derived=True)
    recorder("aaa", elsewhere=(OTHER,), status="oom")
    for corpus in (OTHER, changed):
        recorder("full", elsewhere=(corpus,), seed=len(corpus.hash))
        recorder("lora", elsewhere=(corpus,))
    names = page(recorder.path, tested_on="other").selectbox(key="folds").options
    assert all(name.startswith("the corpus's split (") for name in names)
