"""MSP-Podcast with its second test set: as msp_podcast, but Test2 is the test split."""

from __future__ import annotations

from serbench.harness.corpora import msp_podcast
from serbench.harness.corpora.base import Corpus

__all__ = ["load"]


def load(root: str | None) -> Corpus:
    """Read a release's folder, with Test2 as the test split.

    Raises:
        RequestError: no folder is given.
        CorpusError: files are missing or wrong.
    """
    return msp_podcast.read(root, name="msp_podcast_test2", test="Test2")
