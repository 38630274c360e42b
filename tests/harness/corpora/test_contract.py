"""What every registered corpus must do, whatever is in its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from serbench.harness import corpora
from serbench.harness.corpora.base import SPLITS, Corpus
from serbench.harness.errors import CorpusError, RequestError
from serbench.harness.plan import CorpusRef

NAMES = sorted(corpora.names())
WITHOUT_FILES = ("embedded", "generated")


def loaded(name: str, root: object = None) -> Corpus:
    return corpora.load(CorpusRef(name, None if root is None else str(root)))


@pytest.mark.parametrize("name", NAMES)
def test_it_says_in_a_line_what_it_is(name: str) -> None:
    summary = corpora.names()[name]
    assert summary.endswith(".") or ":" in summary
    assert 20 < len(summary) < 110


@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_without_files_it_is_whole(name: str) -> None:
    corpus = loaded(name)
    assert set(corpus.utterances["split"]) == set(SPLITS)
    row = corpus.utterances.iloc[0]
    assert corpus.waveform(0).shape == (row["samples"],)
    assert loaded(name).manifest_hash == corpus.manifest_hash


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_FILES])
def test_with_files_it_asks_for_its_folder(name: str) -> None:
    with pytest.raises(RequestError, match=f"{name} needs its folder: {name}=FOLDER"):
        loaded(name)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_FILES])
def test_a_folder_that_is_not_it_is_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\0\xff\n;,\t")
    empty = tmp_path / "empty"
    empty.mkdir()
    for root in (tmp_path / "absent", file, empty):
        with pytest.raises(CorpusError) as caught:
            loaded(name, root)
        assert name in str(caught.value) or str(root) in str(caught.value)
