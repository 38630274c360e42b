"""Pictures of a corpus: which there are, and what their bars add up to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serbench.harness.corpora import generated, plots
from serbench.harness.corpora.base import Corpus
from serbench.harness.corpora.summary import summarise
from serbench.harness.errors import RequestError

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return generated.load("seconds=13")


def bars(chart: Any) -> list[dict[str, Any]]:
    """The counted rows of a chart, of all its panels."""
    tables = chart.to_dict()["datasets"].values()
    return [row for rows in tables for row in rows if "count" in row]


def test_a_rated_corpus_has_four(corpus: Corpus, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    paths = plots.draw(corpus, summarise(corpus), tmp_path / "new" / "plots")
    assert [path.name for path in paths] == [
        "durations.png",
        "labels.png",
        "ratings.png",
        "agreement.png",
    ]
    for path in paths:
        assert path.read_bytes().startswith(PNG)


def test_a_corpus_without_ratings_has_two(corpus: Corpus, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    plain = Corpus(name="plain", utterances=corpus.utterances, minimum=1, maximum=5)
    paths = plots.draw(plain, summarise(plain), tmp_path)
    assert [path.name for path in paths] == ["durations.png", "labels.png"]


def test_bars_hold_every_utterance_and_pair(corpus: Corpus) -> None:
    summary = summarise(corpus)
    for chart, count in (
        (plots.durations, 192),
        (plots.labels, 3 * 192),
        (plots.ratings, 192),
        (plots.agreements, sum(label.pairs for label in summary.labels.values())),
    ):
        assert sum(row["count"] for row in bars(chart(corpus, summary))) == count


def test_a_bar_of_raters_stands_over_its_number(corpus: Corpus) -> None:
    rows = bars(plots.ratings(corpus, summarise(corpus)))
    assert [(row["from"], row["to"]) for row in rows] == [(2.5, 3.5), (3.5, 4.5), (4.5, 5.5)]


def test_pictures_say_what_is_synthetic_and_where_a_run_cuts(corpus: Corpus) -> None:
    text = str(plots.durations(corpus, summarise(corpus)).to_dict())
    assert "generated=seconds=13 [synthetic]: 192 utterances" in text
    assert "cut at 12 s" in text
    short = generated.load("speakers=3,utterances=2")
    assert "cut at" not in str(plots.durations(short, summarise(short)).to_dict())


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"pip install 'serbench\[plots\]'"):
        plots.require()


def test_a_folder_that_cannot_be_is_one_message(corpus: Corpus, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match=r"--plots .*file"):
        plots.draw(corpus, summarise(corpus), tmp_path / "file")
