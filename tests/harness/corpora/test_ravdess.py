import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from serbench.harness import corpora
from serbench.harness.corpora import ravdess
from serbench.harness.errors import CorpusError, RequestError
from serbench.harness.plan import CorpusRef

WriteWav = Callable[..., Path]
ACTORS = ("01", "02", "03", "24")


def put(folder: Path, write_wav: WriteWav, name: str, **sound: float) -> Path:
    """A file where it belongs, such as `03-01-06-01-02-01-12`."""
    return write_wav(folder / f"Actor_{name[-2:]}" / f"{name}.wav", **sound)


@pytest.fixture
def small(tmp_path: Path, write_wav: WriteWav) -> Path:
    """Every emotion by four actors, one of them stereo, at 48 kHz as in the release."""
    emotions = [f"0{number}" for number in range(1, 9)]
    for actor, emotion in itertools.product(ACTORS, emotions):
        channels = 2 if actor == "24" else 1
        put(
            tmp_path,
            write_wav,
            f"03-01-{emotion}-01-02-01-{actor}",
            rate_hz=48_000,
            channels=channels,
        )
    put(tmp_path, write_wav, "03-01-05-02-01-02-01", seconds=0.2)
    put(tmp_path, write_wav, "03-02-05-02-01-02-01")
    put(tmp_path, write_wav, "01-01-05-02-01-02-01")
    return tmp_path


def test_names_say_it_all(small: Path) -> None:
    corpus = corpora.load(CorpusRef("ravdess", str(small)))
    assert corpus.derived
    assert not corpus.synthetic
    assert (corpus.minimum, corpus.maximum) == (-1, 1)
    assert corpus.licence == "CC BY-NC-SA 4.0"
    assert corpus.citation is not None
    assert "doi:10.1371/journal.pone.0196391" in corpus.citation
    table = corpus.utterances.set_index("id")
    assert len(table) == 4 * 8 + 1, "neither the song nor the sound of a video"
    told = ["speaker", "emotion", "intensity", "statement", "repetition", "samples"]
    assert table.loc["03-01-05-02-01-02-01", told].tolist() == [
        "01",
        "anger",
        "strong",
        "01",
        "02",
        3200,
    ]
    assert table.loc["03-01-08-01-02-01-24", told].tolist() == [
        "24",
        "surprise",
        "normal",
        "02",
        "01",
        1600,
    ]
    labels = table[["activation", "valence", "dominance"]]
    assert labels.loc["03-01-03-01-02-01-02"].tolist() == [0.51, 0.81, 0.46]
    assert labels.loc["03-01-08-01-02-01-02"].tolist() == [0.67, 0.40, -0.13]
    assert corpus.waveform("03-01-08-01-02-01-24").shape == (1600,)


def test_calm_is_not_labelled_and_the_notes_say_so(small: Path) -> None:
    corpus = ravdess.load(str(small))
    unlabelled = corpus.utterances[list(corpus.dimensions)].isna()
    calm = corpus.utterances["emotion"] == "calm"
    assert calm.sum() == 4
    assert unlabelled[calm].all(axis=None)
    assert not unlabelled[~calm].any(axis=None)
    assert corpus.notes is not None
    assert "Calm speech is not labelled" in corpus.notes
    assert "Russell & Mehrabian (1977)" in corpus.notes


def test_splits_are_by_speaker_and_fixed(small: Path) -> None:
    table = ravdess.load(str(small)).utterances
    splits = dict(zip(table["speaker"], table["split"], strict=True))
    assert set(splits.values()) == {"train", "validation", "test"}
    assert table["split"].tolist() == [splits[speaker] for speaker in table["speaker"]]


@pytest.mark.parametrize("name", ["Audio_Speech_Actors_01-24", "audio_speech_actors_01-24"])
def test_the_speech_folder_may_hold_the_actors(small: Path, name: str) -> None:
    expected = ravdess.load(str(small)).manifest_hash
    outer = small / "outer"
    for actor in sorted(small.glob("Actor_*")):
        shutil.copytree(actor, outer / name / actor.name)
    (outer / "Audio_Song_Actors_01-24" / "Actor_01").mkdir(parents=True)
    for root in (outer, outer / name):
        assert ravdess.load(str(root)).manifest_hash == expected


def test_a_copy_inside_is_left_alone(small: Path) -> None:
    expected = ravdess.load(str(small)).utterances["path"].tolist()
    for actor in sorted(small.glob("Actor_*")):
        shutil.copytree(actor, small / "audio_speech_actors_01-24" / actor.name)
    assert ravdess.load(str(small)).utterances["path"].tolist() == expected


def test_what_is_not_ravdess_is_named_file_by_file(small: Path, write_wav: WriteWav) -> None:
    kind = "not a name of RAVDESS, such as Actor_12/03-01-06-01-02-01-12.wav"
    put(small, write_wav, "03-01-09-01-01-01-01")
    put(small, write_wav, "03-01-01-01-01-01-25")
    write_wav(small / "Actor_02" / "03-01-01-01-01-01-01.wav")
    write_wav(small / "Actor_03" / "hello.wav")
    (small / "Actor_01" / "03-01-01-01-01-01-01.wav").touch()
    with pytest.raises(CorpusError) as caught:
        ravdess.load(str(small))
    assert caught.value.findings == (
        "Actor_01/03-01-01-01-01-01-01.wav: the file is empty",
        f"Actor_01/03-01-09-01-01-01-01.wav: {kind}",
        f"Actor_02/03-01-01-01-01-01-01.wav: {kind}",
        f"Actor_03/hello.wav: {kind}",
        f"Actor_25/03-01-01-01-01-01-25.wav: {kind}",
    )


def test_findings_of_a_kind_end_after_twenty(small: Path) -> None:
    for path in small.glob("Actor_*/03-01-*.wav"):
        path.write_bytes(b"")
    with pytest.raises(CorpusError) as caught:
        ravdess.load(str(small))
    assert len(caught.value.findings) == 21
    assert caught.value.findings[-1] == "and 13 more like these"


def test_an_empty_folder(tmp_path: Path, write_wav: WriteWav) -> None:
    with pytest.raises(RequestError, match="ravdess=FOLDER"):
        ravdess.load(None)
    put(tmp_path / "songs", write_wav, "03-02-05-02-01-02-01")
    for folder in (tmp_path, tmp_path / "songs"):
        with pytest.raises(CorpusError, match=r"no Actor_\*/\*\.wav of speech in"):
            ravdess.load(str(folder))
