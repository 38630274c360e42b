"""A filter that matches nothing is named, with what would match."""

from __future__ import annotations

from typing import Any

import pytest

from serbench.harness import heads
from serbench.harness.errors import RequestError
from serbench.harness.plan import CorpusRef, Elsewhere
from serbench.leaderboard import queries
from serbench.leaderboard.queries_filters import require

OTHER = Elsewhere(ref=CorpusRef("far"), name="far", hash="h", synthetic=False, derived=False)


@pytest.fixture
def engine(recorder: Any) -> Any:
    recorder("full", suite="quick", elsewhere=(OTHER,))
    recorder("full", seed=1, suite="quick")
    recorder("full", seed=2)
    for width in range(1, 9):
        recorder("full", head=heads.parse(f"annotators:width={width}"))
    return queries.open_for_reading(str(recorder.path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("machine", "no runs with --machine other, only with machine-1"),
        ("corpus", "no runs with --corpus other, only with made-up"),
        ("backbone", "no runs with --backbone other, only with tiny"),
        ("suite", "no runs with --suite other, only with quick"),
        ("test_corpus", "no runs with --test-corpus other, only with far"),
        ("head", "no runs with --head other, only with consensus, .* and 3 more"),
    ],
)
def test_a_filter_that_nothing_matches_is_told_with_what_would(
    engine: Any, name: str, message: str
) -> None:
    known = {"machine": "machine-1", "corpus": "made-up", "test_corpus": None, "head": "consensus"}
    with pytest.raises(RequestError, match=f"{message}$"):
        require(engine, {**known, name: "other"})


def test_filters_that_match_something_pass(engine: Any) -> None:
    known = {"machine": "machine-1", "corpus": "made-up", "test_corpus": "far", "suite": "quick"}
    require(engine, known)
    for head in ("consensus", "annotators:width=3", "annotators:tasks=1+3,width=3"):
        require(engine, {"head": head})


def test_where_no_run_has_any_none_is_named(recorder: Any) -> None:
    recorder("full")
    engine = queries.open_for_reading(str(recorder.path))
    for name in ("suite", "test_corpus"):
        with pytest.raises(RequestError, match=r"other, and none with any other$"):
            require(engine, {name: "other"})
