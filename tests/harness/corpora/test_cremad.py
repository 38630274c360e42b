import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serbench.harness import corpora
from serbench.harness.corpora import cremad
from serbench.harness.corpora.summary import summarise
from serbench.harness.errors import CorpusError, RequestError
from serbench.harness.plan import CorpusRef

WriteWav = Callable[..., Path]
ACTORS = ("1001", "1002", "1003", "1076")
HEADER = (
    '"","localid","pos","ans","ttr","queryType","numTries","clipNum","questNum","subType",'
    '"clipName","sessionNums","respEmo","respLevel","dispEmo","dispVal","dispLevel"'
)
DEMOGRAPHICS = """"ActorID","Age","Sex","Race","Ethnicity"
1001,51,"Male","Caucasian","Not Hispanic"
1002,21,"Female","Caucasian","Not Hispanic"
1003,21,"Female","Unknown","Hispanic"
"""


def response(clip: str, rater: str, emotion: str, level: str, query: str = "1") -> str:
    """A line as in the release."""
    return (
        f'"7","{rater}",12,"{emotion}_{level}",3000,{query},0,62,3,4,"{clip}",5,'
        f'"{emotion}","{level}","{clip[9:10]}",NA,"X"'
    )


def write_responses(folder: Path, *lines: str) -> None:
    (folder / "finishedResponses.csv").write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")


@pytest.fixture
def small(tmp_path: Path, write_wav: WriteWav) -> Path:
    """Every emotion by four actors, and happiness at three levels."""
    for actor, emotion in itertools.product(ACTORS, cremad.EMOTIONS):
        write_wav(tmp_path / "AudioWAV" / f"{actor}_DFA_{emotion}_XX.wav")
    for level in ("LO", "MD", "HI"):
        write_wav(tmp_path / "AudioWAV" / f"1001_IEO_HAP_{level}.wav", seconds=0.2)
    return tmp_path


def findings(folder: Path) -> tuple[str, ...]:
    with pytest.raises(CorpusError) as caught:
        cremad.load(str(folder))
    return caught.value.findings


def test_labels_are_what_was_intended(small: Path) -> None:
    corpus = corpora.load(CorpusRef("cremad", str(small)))
    assert corpus.derived
    assert not corpus.synthetic
    assert (corpus.minimum, corpus.maximum) == (-1, 1)
    assert corpus.licence == "ODbL 1.0"
    assert corpus.citation is not None
    assert "doi:10.1109/TAFFC.2014.2336244" in corpus.citation
    assert corpus.notes is not None
    assert "Russell & Mehrabian (1977)" in corpus.notes
    assert corpus.ratings is None
    table = corpus.utterances.set_index("id")
    assert len(table) == 4 * 6 + 3
    told = ["speaker", "sentence", "emotion", "level", "samples"]
    assert table.loc["1001_IEO_HAP_MD", told].tolist() == [
        "1001",
        "IEO",
        "happiness",
        "medium",
        3200,
    ]
    labels = table[["activation", "valence", "dominance"]]
    assert labels.loc["1001_IEO_HAP_MD"].tolist() == [0.51, 0.81, 0.46]
    assert labels.loc["1002_DFA_ANG_XX"].tolist() == [0.59, -0.51, 0.25]
    assert labels.loc["1003_DFA_NEU_XX"].tolist() == [0, 0, 0]
    assert "age" not in table
    assert corpus.waveform("1001_IEO_HAP_MD").shape == (3200,)


def test_splits_are_by_speaker_and_fixed(small: Path) -> None:
    table = cremad.load(str(small)).utterances
    splits = dict(zip(table["speaker"], table["split"], strict=True))
    assert set(splits.values()) == {"train", "validation", "test"}
    assert table["split"].tolist() == [splits[speaker] for speaker in table["speaker"]]


def test_demographics_are_columns(small: Path) -> None:
    plain = cremad.load(str(small)).manifest_hash
    (small / "VideoDemographics.csv").write_text(DEMOGRAPHICS, encoding="utf-8")
    corpus = cremad.load(str(small))
    assert corpus.manifest_hash == plain
    actors = corpus.utterances.groupby("speaker")[["age", "sex", "race", "ethnicity"]].first()
    assert actors.loc["1001"].tolist() == [51, "Male", "Caucasian", "Not Hispanic"]
    assert actors.loc["1003", "ethnicity"] == "Hispanic"
    assert actors["age"].isna().to_dict() == {actor: actor == "1076" for actor in ACTORS}


def test_ratings_are_what_listeners_to_the_voice_alone_heard(small: Path) -> None:
    write_responses(
        small,
        response("1001_DFA_ANG_XX", "r1", "A", "80"),
        response("1001_DFA_ANG_XX", "r2", "D", "20"),
        response("1001_DFA_ANG_XX", "r3", "A", "80", query="2"),
        response("1001_DFA_ANG_XX", "r3", "A", "80", query="3"),
        response("1002_DFA_HAP_XX", "r1", "H", "H"),
        response("1002_DFA_HAP_XX", "r2", "H", "3"),
        response("1002_DFA_HAP_XX", "r2", "N", "100"),
    )
    corpus = cremad.load(str(small))
    assert corpus.derived
    assert corpus.notes is not None
    assert "Ratings are derived" in corpus.notes
    assert corpus.ratings is not None
    rated = corpus.ratings.set_index(["utterance", "annotator", "dimension"])
    values = {key: value for key, value in rated["value"].items() if key[2] == "activation"}
    assert values == {
        ("1001_DFA_ANG_XX", "r1", "activation"): 0.59,
        ("1001_DFA_ANG_XX", "r2", "activation"): 0.35,
        ("1002_DFA_HAP_XX", "r1", "activation"): 0.51,
        ("1002_DFA_HAP_XX", "r2", "activation"): 0.0,
    }
    assert len(rated) == 4 * 3
    assert rated["emotion"]["1001_DFA_ANG_XX", "r2", "valence"] == "disgust"
    assert rated["level"]["1001_DFA_ANG_XX", "r2", "valence"] == 20
    assert math.isnan(rated["level"]["1002_DFA_HAP_XX", "r1", "valence"])
    assert summarise(corpus).annotators == 2
    anger = corpus.utterances.set_index("id").loc["1001_DFA_ANG_XX"]
    assert anger["activation"] == 0.59, "still what was intended"


def test_the_audio_folder_itself_will_do(small: Path) -> None:
    write_responses(small, response("1001_DFA_ANG_XX", "r1", "A", "80"))
    whole, inner = cremad.load(str(small)), cremad.load(str(small / "AudioWAV"))
    assert whole.manifest_hash == inner.manifest_hash


def test_the_clip_that_is_known_to_be_silent_is_left_out(small: Path) -> None:
    silent = small / "AudioWAV" / "1076_MTI_SAD_XX.wav"
    write_responses(
        small,
        response("1076_MTI_SAD_XX", "r1", "N", "80"),
        response("1001_DFA_ANG_XX", "r1", "A", "80"),
    )
    for zeros in (41_108, 0):
        soundfile.write(silent, np.zeros(zeros), 16_000, subtype="PCM_16")
        corpus = cremad.load(str(small))
        assert "1076_MTI_SAD_XX" not in set(corpus.utterances["id"])
        assert corpus.ratings is not None
        assert set(corpus.ratings["utterance"]) == {"1001_DFA_ANG_XX"}
        assert corpus.notes is not None
        assert "1076_MTI_SAD_XX is left out" in corpus.notes


def test_that_clip_is_kept_if_it_has_sound(small: Path, write_wav: WriteWav) -> None:
    write_wav(small / "AudioWAV" / "1076_MTI_SAD_XX.wav")
    corpus = cremad.load(str(small))
    assert "1076_MTI_SAD_XX" in set(corpus.utterances["id"])
    assert corpus.notes is not None
    assert "left out" not in corpus.notes


def test_the_clip_that_lacks_a_letter_is_taken_for_itself(small: Path, write_wav: WriteWav) -> None:
    path = write_wav(small / "AudioWAV" / "1040_ITH_SAD_X.wav")
    write_responses(small, response("1040_ITH_SAD_XX", "r1", "S", "80"))
    corpus = cremad.load(str(small))
    row = corpus.utterances.set_index("id").loc["1040_ITH_SAD_XX"]
    assert (row["path"], row["level"]) == (str(path), "unspecified")
    expected = corpus.manifest_hash
    path.rename(path.with_name("1040_ITH_SAD_XX.wav"))
    assert cremad.load(str(small)).manifest_hash == expected


def test_what_is_not_cremad_is_named_file_by_file(small: Path, write_wav: WriteWav) -> None:
    audio = small / "AudioWAV"
    write_wav(audio / "hello.wav")
    write_wav(audio / "1001_DFA_ANG_X.wav")
    (audio / "1002_IEO_ANG_LO.wav").touch()
    soundfile.write(audio / "1002_IEO_ANG_MD.wav", np.zeros(16), 16_000)
    (audio / "1003_DFA_ANG_XX.wav").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:27\nsize 82260\n", encoding="utf-8"
    )
    kind = "not a name of CREMA-D, such as 1001_DFA_ANG_XX.wav"
    assert findings(small) == (
        "1002_IEO_ANG_LO.wav: the file is empty",
        "1002_IEO_ANG_MD.wav: too short: 0.001 s, and an encoder needs 0.025 s",
        "1003_DFA_ANG_XX.wav: a Git LFS pointer in place of the audio, which git lfs pull fetches",
        f"1001_DFA_ANG_X.wav: {kind}",
        f"hello.wav: {kind}",
    )


def test_wrong_cells_have_their_lines(small: Path) -> None:
    good = response("1001_DFA_ANG_XX", "r1", "A", "80")
    write_responses(
        small,
        good,
        response("1001_DFA_ANG_XX", "r2", "A", "80", query="4"),
        response("1009_DFA_ANG_XX", "r1", "A", "80"),
        response("1009_DFA_ANG_XX", "r2", "A", "80"),
        response("1001_DFA_ANG_XX", "", "A", "80"),
        response("1001_DFA_ANG_XX", "r3", "X", "80"),
        response("1001_DFA_ANG_XX", "r4", "A", "101"),
        response("1001_DFA_ANG_XX", "r5", "A", "much"),
        response("1001_DFA_ANG_XX", "r6", "A", ""),
        "",
        '"8","r7",12',
    )
    (small / "VideoDemographics.csv").write_text(
        DEMOGRAPHICS + '1001,old,"Male","Asian","Hispanic"\n', encoding="utf-8"
    )
    (small / "AudioWAV" / "1001_DFA_ANG_XX.wav").write_bytes(b"")
    assert findings(small) == (
        "1001_DFA_ANG_XX.wav: the file is empty",
        "finishedResponses.csv, line 3, queryType: '4' is not 1, 2 or 3",
        "finishedResponses.csv, line 12, queryType: '' is not 1, 2 or 3",
        "finishedResponses.csv, line 4, clipName: '1009_DFA_ANG_XX' has no .wav file",
        "finishedResponses.csv, line 6, localid: '' is no listener",
        "finishedResponses.csv, line 7, respEmo: 'X' is no emotion",
        "finishedResponses.csv, line 8, respLevel: '101' is no level from 0 to 100",
        "finishedResponses.csv, line 9, respLevel: 'much' is no level from 0 to 100",
        "finishedResponses.csv, line 10, respLevel: '' is no level from 0 to 100",
        "VideoDemographics.csv, line 5, Age: 'old' is no age",
        "VideoDemographics.csv, line 5, ActorID: '1001' is there already",
    )


def test_findings_of_a_kind_end_after_twenty(small: Path) -> None:
    lines = [response(f"{1001 + i}_TIE_ANG_XX", "r1", "A", "80") for i in range(90)]
    write_responses(small, *lines)
    found = findings(small)
    assert len(found) == 21
    assert found[-1] == "and 70 more like these"


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b"", "finishedResponses.csv: not CSV"),
        (b"a,b\n1,2\n3,4,5\n", "finishedResponses.csv: not CSV"),
        (b'a,b\n1,"2\n', "finishedResponses.csv: not CSV"),
        (b"a,b\n1,\xe9\n", "finishedResponses.csv, line 2: not UTF-8 (byte 0xe9)"),
        (b"a;b\n1;2\n", "finishedResponses.csv, line 1: there is no column 'queryType'"),
    ],
)
def test_what_is_no_list_of_responses(small: Path, raw: bytes, wanted: str) -> None:
    (small / "finishedResponses.csv").write_bytes(raw)
    assert findings(small)[0].startswith(wanted)


def test_a_byte_order_mark_does_no_harm(small: Path) -> None:
    text = "\ufeff" + DEMOGRAPHICS.replace('"', "")
    (small / "VideoDemographics.csv").write_text(text, encoding="utf-8")
    assert set(cremad.load(str(small)).utterances["age"].dropna()) == {51, 21}


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cremad=FOLDER"):
        cremad.load(None)
    with pytest.raises(CorpusError, match=r"no \.wav file in"):
        cremad.load(str(tmp_path))
