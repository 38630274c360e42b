import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from serbench.harness import corpora
from serbench.harness.corpora import generated
from serbench.harness.errors import CorpusError, RequestError
from serbench.harness.plan import CorpusRef

Folder = Callable[..., Path]


def plugin(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    installed = [EntryPoint(name, value, corpora.GROUP) for name, value in points]
    monkeypatch.setattr(corpora, "entry_points", lambda group: installed)


def test_the_corpora_are_named_with_a_line_each() -> None:
    assert {"audiofolder", "emodb", "generated"} <= set(corpora.names())
    assert "base" not in corpora.names()
    assert all(corpora.names().values())


def test_naming_them_imports_nothing_heavy() -> None:
    code = (
        "import sys; from serbench.harness import corpora; corpora.names(); "
        "sys.exit(any(n in sys.modules for n in ('numpy', 'pandas', 'soundfile', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_corpus_is_loaded_by_name_with_its_root() -> None:
    corpus = corpora.load(CorpusRef("generated", "speakers=3,utterances=2"))
    assert len(corpus.utterances) == 6


def test_a_folder_is_an_audiofolder(folder: Folder) -> None:
    root = str(folder())
    assert corpora.load(CorpusRef(root)).name == "six"
    assert corpora.load(CorpusRef("audiofolder", root)).name == "six"
    with pytest.raises(RequestError, match="neither a corpus nor a folder"):
        corpora.load(CorpusRef(root, root))


@pytest.mark.parametrize("name", sorted({*corpora.names()} - {"embedded", "generated"}))
def test_a_folder_that_holds_another_corpus_or_none_is_one_message(
    name: str, tmp_path: Path
) -> None:
    """Which folder was looked into, and what it should hold."""
    with pytest.raises(CorpusError) as empty:
        corpora.load(CorpusRef(name, str(tmp_path)))
    (told,) = empty.value.findings or (str(empty.value),)
    assert "there is no" in told
    assert str(tmp_path) in told
    assert re.search(r"=FOLDER is the one that holds \w|to name each file and its speaker", told)
    with pytest.raises(CorpusError, match=f"there is no folder {tmp_path}/nowhere$"):
        corpora.load(CorpusRef(name, str(tmp_path / "nowhere")))
    if name != "audiofolder":
        with pytest.raises(RequestError, match=f"{name}=FOLDER, the one that holds "):
            corpora.load(CorpusRef(name))


def test_a_registered_name_goes_before_a_folder_of_that_name(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder()
    monkeypatch.chdir(root.parent)
    (root.parent / "generated").symlink_to(root)
    assert corpora.load(CorpusRef("generated")).synthetic
    assert corpora.load(CorpusRef("./generated")).name == "six"


def test_an_unknown_name_suggests_near_ones() -> None:
    with pytest.raises(RequestError, match=r"'emodbb'; did you mean emodb\?"):
        corpora.load(CorpusRef("emodbb"))
    with pytest.raises(RequestError, match=r"neither a corpus nor a folder '/no/such'"):
        corpora.load(CorpusRef("/no/such"))


def test_a_plugin_is_listed_and_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(monkeypatch, ("mine", f"{generated.__name__}:load"))
    assert corpora.names()["mine"] == f"plugin: {generated.__name__}:load"
    assert corpora.load(CorpusRef("mine", "speakers=3")).synthetic


def test_a_plugin_that_fails_to_import_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(monkeypatch, ("mine", "no_such_module_here:load"))
    assert "mine" in corpora.names()
    with pytest.raises(RequestError, match=r"'mine'.*ModuleNotFoundError"):
        corpora.load(CorpusRef("mine"))


@pytest.mark.parametrize(
    ("points", "origin"),
    [([("emodb", "a:load")], "serbench itself"), ([("x", "a:load"), ("x", "b:load")], "a:load")],
)
def test_a_second_claim_to_a_name_names_both_origins(
    monkeypatch: pytest.MonkeyPatch, points: list[tuple[str, str]], origin: str
) -> None:
    plugin(monkeypatch, *points)
    with pytest.raises(RequestError, match=f"'{points[0][0]}': {origin} and {points[-1][1]}"):
        corpora.names()
