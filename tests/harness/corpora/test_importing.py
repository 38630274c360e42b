"""Corpora of every kind, written as an AudioFolder and read back."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from serbench.harness.corpora import audiofolder, embedded, emodb, generated, importing
from serbench.harness.corpora.base import Corpus
from serbench.harness.errors import CorpusError, RequestError

WriteWav = Callable[..., Path]


def returned(corpus: Corpus, out: Path, **options: Any) -> Corpus:
    """The corpus after it went to a folder and back; what must be the same is looked at."""
    importing.write(corpus, out, **options)
    back = audiofolder.load(str(out))
    assert back.dimensions == corpus.dimensions
    for name in ("speaker", "split", "samples"):
        assert list(back.utterances[name]) == list(corpus.utterances[name])
    for name in corpus.dimensions:
        np.testing.assert_allclose(back.utterances[name], corpus.utterances[name], rtol=1e-12)
    facts = "name minimum maximum licence citation synthetic derived anonymous"
    for fact in facts.split(" "):
        assert getattr(back, fact) == getattr(corpus, fact)
    # The notes of some files are indented, which TOML keeps.
    assert (back.notes or "").split() == (corpus.notes or "").split()
    pd.testing.assert_frame_equal(sorted_ratings(back), sorted_ratings(corpus))
    return back


def sorted_ratings(corpus: Corpus) -> pd.DataFrame:
    """Ratings by the utterance's number, since its id is another one now."""
    if corpus.ratings is None:
        none: pd.DataFrame = pd.DataFrame()
        return none
    numbers = {name: number for number, name in enumerate(corpus.utterances["id"])}
    plain = corpus.ratings.astype(dict.fromkeys(("utterance", "annotator", "dimension"), "str"))
    rated: pd.DataFrame = plain.assign(utterance=plain["utterance"].map(numbers))
    by = ["utterance", "annotator", "dimension"]
    ordered: pd.DataFrame = rated[[*by, "value"]].sort_values(by, ignore_index=True)
    return ordered


def test_the_embedded_corpus_returns_with_its_ratings(tmp_path: Path) -> None:
    corpus = embedded.load(None)
    back = returned(corpus, tmp_path / "out")
    for index in (0, 439):
        np.testing.assert_array_equal(back.waveform(index), corpus.waveform(index))
    assert back.utterances["id"][0] == "audio/v00-s00.opus"


def test_a_corpus_without_files_gets_some_that_are_exact(tmp_path: Path) -> None:
    corpus = generated.load("speakers=6,utterances=2")
    back = returned(corpus, tmp_path / "out")
    for index in range(12):
        np.testing.assert_array_equal(back.waveform(index), corpus.waveform(index))


@pytest.fixture
def acted(tmp_path: Path, write_wav: WriteWav) -> Corpus:
    for name in ("03a01Fa", "03a01Wa", "12a02Ea", "14a05Lc", "15a04Ac", "16b03Td"):
        write_wav(tmp_path / "emodb" / "wav" / f"{name}.wav", seconds=0.2)
    return emodb.load(str(tmp_path / "emodb"))


def test_a_known_corpus_keeps_its_other_columns_and_its_files(
    acted: Corpus, tmp_path: Path
) -> None:
    returned(acted, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "metadata.csv")
    assert list(table.columns[:4]) == ["file_name", "speaker", "split", "duration"]
    assert list(table["emotion"]) == list(acted.utterances["emotion"])
    assert list(table["id"]) == list(acted.utterances["id"])
    assert list(table["duration"]) == [0.2] * 6
    for path, name in zip(acted.utterances["path"], table["file_name"], strict=True):
        copy = tmp_path / "out" / name
        assert not copy.is_symlink()
        assert copy.read_bytes() == Path(path).read_bytes()


def test_links_lead_to_the_files(acted: Corpus, tmp_path: Path) -> None:
    back = returned(acted, tmp_path / "out", link=True)
    for path, link in zip(acted.utterances["path"], back.utterances["path"], strict=True):
        assert Path(link).is_symlink()
        assert Path(link).samefile(path)


def parts_of(path: Path, starts_s: list[float], samples: int) -> Corpus:
    count = len(starts_s)
    return Corpus(
        name="parts",
        utterances=pd.DataFrame(
            {
                "id": [f"part{number}" for number in range(count)],
                "path": str(path),
                "speaker": ["a", "b", *["c"] * (count - 2)],
                "split": ["train", "validation", *["test"] * (count - 2)],
                "samples": samples,
                "start_s": starts_s,
                "valence": np.linspace(-1, 1, count),
            }
        ),
        minimum=-1.0,
        maximum=1.0,
    )


@pytest.mark.parametrize(
    ("name", "subtype", "rate_hz", "written"),
    [
        ("long.wav", "PCM_16", 16_000, ".flac"),
        ("long.wav", "PCM_24", 44_100, ".flac"),
        ("long.flac", "PCM_16", 48_000, ".flac"),
        ("long.wav", "FLOAT", 22_050, ".wav"),
        ("long.wav", "PCM_32", 96_000, ".wav"),
    ],
)
def test_parts_are_cut_out_exactly_at_the_rate_of_their_file(
    name: str, subtype: str, rate_hz: int, written: str, tmp_path: Path
) -> None:
    wave = np.random.default_rng(0).uniform(-0.9, 0.9, (3 * rate_hz, 2))
    soundfile.write(tmp_path / name, wave, rate_hz, subtype=subtype)
    corpus = parts_of(tmp_path / name, [0.0, 0.8, 1.6, 2.0], 16_000)
    back = returned(corpus, tmp_path / "out")
    there, _ = soundfile.read(tmp_path / name)
    for start_s, path in zip(corpus.utterances["start_s"], back.utterances["path"], strict=True):
        assert Path(path).suffix == written
        cut, found_hz = soundfile.read(path)
        assert found_hz == rate_hz
        first = round(start_s * rate_hz)
        np.testing.assert_array_equal(cut, there[first : first + rate_hz])


@pytest.mark.parametrize(("name", "subtype"), [("long.mp3", None), ("long.ogg", "VORBIS")])
def test_parts_of_lossy_files_are_16_bits(name: str, subtype: str | None, tmp_path: Path) -> None:
    time_s = np.arange(48_000) / 16_000
    wave = 0.5 * np.sin(2 * np.pi * 440 * time_s) * (time_s % 0.7 > 0.3)
    soundfile.write(tmp_path / name, wave, 16_000, subtype=subtype)
    corpus = parts_of(tmp_path / name, [0.0, 0.5, 1.7], 16_000)
    back = returned(corpus, tmp_path / "out")
    for index in range(3):
        cut = back.waveform(index)
        np.testing.assert_allclose(cut, corpus.waveform(index), atol=1e-4)
        assert np.abs(cut).max() > 0.3


def test_a_part_beyond_the_end_is_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(32_000), 16_000)
    corpus = parts_of(tmp_path / "long.wav", [0.0, 0.5, 1.5], 16_000)
    with pytest.raises(CorpusError, match=r"long\.wav ends before its part"):
        importing.write(corpus, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"long.wav"}


def named(folder: Path, ids: list[str], write_wav: WriteWav) -> Corpus:
    paths = [write_wav(folder / "in" / f"{number}.wav") for number in range(len(ids))]
    return Corpus(
        name='a "name" \\ with signs, so ä',
        utterances=pd.DataFrame(
            {
                "id": ids,
                "path": [str(path) for path in paths],
                "speaker": ["a, 'b'", 'c"d', *["e;f"] * (len(ids) - 2)],
                "split": ["train", "validation", *["test"] * (len(ids) - 2)],
                "samples": 1600,
                "valence": [math.nan, 0.1, *[-0.3] * (len(ids) - 2)],
                "activation": 1 / 3,
                "arousal": 7.0,
                "annotator": "nobody",
            }
        ),
        minimum=-1.0,
        maximum=1.0,
    )


def test_odd_names_become_plain_ones_inside_the_folder(tmp_path: Path, write_wav: WriteWav) -> None:
    ids = [
        "../../out",
        "/etc/x.wav",
        "a/b/c.wav",
        "A/B/C",
        "a.wav/b",
        "a",
        "..",
        ".hidden",
        "naïve ?*|.wav",
        "naïve ???.wav",
        "nai\u0308ve ***.wav",
        "x" * 400,
        "",
        "l\nl",
    ]
    corpus = named(tmp_path, ids, write_wav)
    corpus.utterances.loc[0, "valence"] = 0.0
    back = returned(corpus, tmp_path / "out")
    assert list(back.utterances["id"]) == [
        "audio/__/__/out.wav",
        "audio/etc/x.wav",
        "audio/a/b/c.wav",
        "audio/A/B/C-2.wav",
        "audio/a_wav/b.wav",
        "audio/a.wav",
        "audio/_.wav",
        "audio/hidden.wav",
        "audio/naïve____.wav",
        "audio/naïve____-2.wav",
        "audio/naïve____-3.wav",
        f"audio/{'x' * 60}.wav",
        "audio/_-2.wav",
        "audio/l_l.wav",
    ]


def test_ratings_of_what_is_not_labelled_stay_behind(acted: Corpus, tmp_path: Path) -> None:
    rated = pd.DataFrame(
        {
            "utterance": "03a01Fa",
            "annotator": ["r1", "r1", "r2"],
            "dimension": ["valence", "dominance", "valence"],
            "value": [0.5, 0.25, -0.5],
        }
    )
    corpus = Corpus(
        name="two",
        utterances=acted.utterances.drop(columns=["dominance", "emotion"]),
        minimum=-1,
        maximum=1,
        ratings=rated,
    )
    importing.write(corpus, tmp_path / "out")
    back = audiofolder.load(str(tmp_path / "out"))
    assert back.dimensions == ("activation", "valence")
    assert back.ratings is not None
    assert list(back.ratings["value"]) == [0.5, -0.5]


@pytest.mark.parametrize("there", ["file", "full folder", "link"])
def test_what_is_there_is_not_touched(there: str, acted: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if there == "file":
        out.touch()
    elif there == "link":
        out.symlink_to(tmp_path / "nowhere")
    else:
        (out / "mine").mkdir(parents=True)
    with pytest.raises(RequestError, match="is there already"):
        importing.write(acted, out)
    assert {path.name for path in tmp_path.iterdir()} == {"emodb", "out"}


def test_an_empty_folder_and_one_that_is_not_will_do(acted: Corpus, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "new" / "er"):
        returned(acted, out)
        assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_nothing_half_written_is_left(raised: BaseException, tmp_path: Path) -> None:
    def tell(done: int, total: int) -> None:
        if done == 3:
            raise raised

    with pytest.raises((KeyboardInterrupt, RequestError)) as caught:
        importing.write(generated.load(None), tmp_path / "out", tell=tell)
    if isinstance(raised, OSError):
        assert "No space left" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_is_gone_is_named(acted: Corpus, tmp_path: Path) -> None:
    gone = Path(acted.utterances["path"][2])
    gone.unlink()
    with pytest.raises(RequestError, match=f"{gone.name}: No such file"):
        importing.write(acted, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_the_format_cannot_hold_is_told_and_leaves_nothing(
    acted: Corpus, tmp_path: Path
) -> None:
    spaces = acted.utterances.assign(speaker=[" ", *acted.utterances["speaker"][1:]])
    corpus = Corpus(name="odd", utterances=spaces, minimum=-1, maximum=1)
    with pytest.raises(CorpusError, match="odd cannot be had in the AudioFolder format") as caught:
        importing.write(corpus, tmp_path / "out")
    assert caught.value.findings
    assert {path.name for path in tmp_path.iterdir()} == {"emodb"}
