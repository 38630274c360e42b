"""What `serbench corpus check` finds: all that is wrong with a corpus, or else what it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serbench.harness import corpora
from serbench.harness.corpora import audiofolder
from serbench.harness.corpora.base import Corpus
from serbench.harness.corpora.decoding import Decoded, decode
from serbench.harness.corpora.summary import Summary, summarise
from serbench.harness.errors import CorpusError
from serbench.harness.plan import CorpusRef

__all__ = ["Report", "check"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found; nothing is wrong if there are no findings."""

    findings: tuple[str, ...]
    """All that is wrong, one line each."""
    summary: Summary | None
    """None if the corpus does not load."""
    decoded: Decoded | None
    """None if that was not asked for."""
    pictures: tuple[str, ...]
    """Paths of what was drawn."""


def check(
    ref: CorpusRef, *, tell: Callable[[int, int], None] | None = None, plots: str | None = None
) -> Report:
    """Load a corpus and look into it; wrong data does not raise.

    Args:
        ref: which one.
        tell: if given, all audio is decoded too, and this is told how many files are done, of all.
        plots: if given, a folder into which pictures are drawn.

    Raises:
        RequestError: there is no such corpus, or pictures cannot be drawn.
    """
    if plots is not None:
        # Altair takes a second to load, and few ask for pictures.
        from serbench.harness.corpora.plots import draw, require

        require()
    try:
        corpus = _loaded(ref)
    except CorpusError as error:
        findings = error.findings or (str(error),)
        return Report(findings=findings, summary=None, decoded=None, pictures=())
    summary = summarise(corpus)
    pictures = draw(corpus, summary, Path(plots)) if plots is not None else ()
    decoded = None if tell is None else decode(corpus, tell)
    return Report(
        findings=() if decoded is None else decoded.findings,
        summary=summary,
        decoded=decoded,
        pictures=tuple(map(str, pictures)),
    )


def _loaded(ref: CorpusRef) -> Corpus:
    load, root = corpora.loader(ref)
    # The lengths that a folder states are trusted by its loader, but not here.
    return (
        load(root) if load is not audiofolder.load or root is None else audiofolder.verified(root)
    )
