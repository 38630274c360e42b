from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from serbench.harness import corpora
from serbench.harness.corpora import msp_podcast, msp_podcast_test2
from serbench.harness.errors import CorpusError, RequestError

WriteWav = Callable[..., Path]
Release = Callable[..., Path]

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
CONSENSUS = f"""{HEADER}
MSP-PODCAST_0001_0001.wav,N,1.500000,4.000000,2.200000,11,Male,Train
MSP-PODCAST_0001_0002.wav,H,7.000000,6.200000,5.000000,Unknown,Unknown,Train
MSP-PODCAST_0002_0001.wav,X,4.400000,4.000000,4.000000,12,Female,Development
MSP-PODCAST_0003_0001.wav,A,6.000000,1.000000,6.500000,13,Male,Test1
MSP-PODCAST_0003_0002.wav,A,5.800000,2.000000,6.000000,Unknown,Male,Test1
MSP-PODCAST_0004_0001.wav,S,2.000000,2.250000,3.000000,14,Female,Test2
MSP-PODCAST_0005_0001.wav,,,,,,,Test3
"""
DETAILED = """FileName,EmoDetail
MSP-PODCAST_0001_0001.wav,WORKER00000061; Neutral; Neutral; A:1.000000; V:4.000000; D:2.000000;
MSP-PODCAST_0001_0001.wav,"WORKER00000007; Neutral; Concerned,Neutral; A:2.0; V:4.0; D:NaN; "
MSP-PODCAST_0003_0001.wav,"WORKER00000061; Other-""fed; up""; Angry,A:9; A:6.0; V:1.0; D:7.0;"
MSP-PODCAST_0003_0001.wav,WORKER00000061; Angry; Angry,Sad; A:7.000000; V:1.000000; D:6.000000;
MSP-PODCAST_0004_0001.wav,WORKER00000009; Sad; Sad; A:2.000000; V:2.000000; D:3.000000;
"""


@pytest.fixture
def release(tmp_path: Path, write_wav: WriteWav) -> Release:
    """Make the folder of a release; everything can be another than in 1.11."""

    def make(
        consensus: str | bytes = CONSENSUS,
        detailed: str | bytes | None = DETAILED,
        labels: str = "Labels/labels_consensus.csv",
        audio: str = "Audios",
        drop: tuple[str, ...] = (),
    ) -> Path:
        root = tmp_path / "MSP-PODCAST-Publish"
        file = root / labels
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(consensus if isinstance(consensus, bytes) else consensus.encode())
        if detailed is not None:
            raw = detailed if isinstance(detailed, bytes) else detailed.encode()
            (file.parent / "labels_detailed.csv").write_bytes(raw)
        for name in ("0001_0001", "0001_0002", "0002_0001", "0003_0001", "0003_0002", "0004_0001"):
            if name not in drop:
                write_wav(root / audio / f"MSP-PODCAST_{name}.wav")
        return root

    return make


def findings(root: Path) -> tuple[str, ...]:
    with pytest.raises(CorpusError) as caught:
        msp_podcast.load(str(root))
    return caught.value.findings


def edited(old: str, new: str) -> str:
    assert old in CONSENSUS
    return CONSENSUS.replace(old, new)


def test_a_release_is_read(release: Release) -> None:
    corpus = msp_podcast.load(str(release()))
    table = corpus.utterances
    assert corpus.name == "msp_podcast"
    assert (corpus.minimum, corpus.maximum) == (1, 7)
    assert not corpus.synthetic
    assert not corpus.derived
    assert "10.1109/TAFFC.2017.2736999" in str(corpus.citation)
    assert table[["id", "speaker", "split", "partition"]].to_numpy().tolist() == [
        ["MSP-PODCAST_0001_0001", "11", "train", "Train"],
        ["MSP-PODCAST_0001_0002", "Unknown", "train", "Train"],
        ["MSP-PODCAST_0002_0001", "12", "validation", "Development"],
        ["MSP-PODCAST_0003_0001", "13", "test", "Test1"],
        ["MSP-PODCAST_0003_0002", "Unknown", "test", "Test1"],
    ]
    labels = table[["activation", "valence", "dominance"]]
    assert labels.iloc[0].tolist() == [1.5, 4, 2.2]
    assert labels.iloc[3].tolist() == [6, 1, 6.5]
    assert table["samples"].tolist() == [1600] * 5
    assert isinstance(table.index, pd.RangeIndex)
    assert corpus.waveform("MSP-PODCAST_0003_0001").shape == (1600,)


def test_ratings_have_their_rater_and_two_of_one_rater_count_once(release: Release) -> None:
    ratings = msp_podcast.load(str(release())).ratings
    assert ratings is not None
    assert sorted(ratings.itertuples(index=False, name=None)) == [
        ("MSP-PODCAST_0001_0001", "WORKER00000007", "activation", 2),
        ("MSP-PODCAST_0001_0001", "WORKER00000007", "valence", 4),
        ("MSP-PODCAST_0001_0001", "WORKER00000061", "activation", 1),
        ("MSP-PODCAST_0001_0001", "WORKER00000061", "dominance", 2),
        ("MSP-PODCAST_0001_0001", "WORKER00000061", "valence", 4),
        ("MSP-PODCAST_0003_0001", "WORKER00000061", "activation", 6.5),
        ("MSP-PODCAST_0003_0001", "WORKER00000061", "dominance", 6.5),
        ("MSP-PODCAST_0003_0001", "WORKER00000061", "valence", 1),
    ]


def test_the_second_test_set_is_a_corpus_of_its_own(release: Release) -> None:
    corpus = msp_podcast_test2.load(str(release()))
    assert corpus.name == "msp_podcast_test2"
    assert corpus.subset("test")["partition"].tolist() == ["Test2"]
    assert corpus.subset("train")["id"].tolist() == [
        "MSP-PODCAST_0001_0001",
        "MSP-PODCAST_0001_0002",
    ]
    assert "Test2 is the test split" in str(corpus.notes)
    assert corpus.ratings is not None
    assert "MSP-PODCAST_0004_0001" in set(corpus.ratings["utterance"])


@pytest.mark.parametrize(
    ("labels", "audio", "word"),
    [
        ("Labels/labels_concensus.csv", "audio_16kHz", "Validation"),
        ("labels/labels_concensus.csv", "Audio", "Development"),
        ("Labels/labels_consensus.csv", "Audio", "Validation"),
    ],
)
def test_releases_differ_in_their_names(
    release: Release, labels: str, audio: str, word: str
) -> None:
    root = release(edited("Development", word), labels=labels, audio=audio)
    corpus = msp_podcast.load(str(root))
    assert corpus.subset("validation")["partition"].tolist() == [word]
    assert corpus.ratings is not None


def test_without_the_raters_file_there_are_no_ratings(release: Release) -> None:
    assert msp_podcast.load(str(release(detailed=None))).ratings is None


def test_the_way_the_text_is_stored_makes_no_difference(release: Release) -> None:
    plain = msp_podcast.load(str(release()))
    spaced = CONSENSUS.replace(",", " , ").strip().replace("\n", "\r\n")
    quoted = "\n\n".join(f'"{line}"' for line in DETAILED.replace('"', "").splitlines())
    stored = msp_podcast.load(
        str(
            release(
                spaced.encode("utf-8-sig"), quoted.encode("utf-8-sig").replace(b"fed", b"f\xe9")
            )
        )
    )
    assert stored.manifest_hash == plain.manifest_hash


def test_labels_may_be_missing(release: Release) -> None:
    text = edited("1.500000,4.000000,2.200000", ",NaN,2.2").replace("Male,Train", "Male, Train ")
    table = msp_podcast.load(str(release(text, detailed=None))).utterances
    assert table["activation"].isna().tolist() == [True] + [False] * 4
    assert table["valence"].isna().tolist() == [True] + [False] * 4
    assert table["dominance"][0] == 2.2


def test_a_speaker_of_several_partitions_stays_in_the_last_one(release: Release) -> None:
    lines = CONSENSUS.replace(",12,", ",11,")
    corpus = msp_podcast.load(str(release(lines)))
    assert "MSP-PODCAST_0001_0001" not in set(corpus.utterances["id"])
    assert corpus.subset("validation")["speaker"].tolist() == ["11"]
    assert "later split too: 1 utterances (speakers: 1)" in str(corpus.notes)
    assert corpus.ratings is not None
    assert set(corpus.ratings["utterance"]) == {"MSP-PODCAST_0003_0001"}

    lines = edited(",Unknown,Unknown,Train", ",13,Male,Train").replace(",14,", ",13,")
    corpus = msp_podcast.load(str(release(lines)))
    assert corpus.subset("train")["speaker"].tolist() == ["11"]
    assert corpus.subset("test")["speaker"].tolist() == ["13", "Unknown"]
    assert "later split too: 1 utterances (speakers: 1)" in str(corpus.notes)

    assert "No speaker is in several" in str(msp_podcast.load(str(release())).notes)


def test_all_that_is_wrong_is_named_by_line_and_column(release: Release) -> None:
    lines = CONSENSUS.splitlines()
    lines[1] = lines[1].replace("1.500000", "1_5").replace("2.200000", "0.500000")
    lines[2] = lines[2].replace("Train", "Trial")
    lines.insert(3, "MSP-PODCAST_0002_0009.wav,N,1,1,1,12,Development")
    lines.append(lines[4])
    lines.append("MSP-PODCAST_0009_0001.wav,N,inf,1,1,19,Male,Train")
    detailed = DETAILED.splitlines()
    detailed[1] = detailed[1].replace("V:4.000000", "V:four").replace("D:2", "D:8")
    detailed[2] = "MSP-PODCAST_0001_0001.wav,WORKER00000007; Neutral"
    detailed.append("MSP-PODCAST_0004_0001.wav,nobody keeps what this is of")
    root = release("\n".join(lines), "\n".join(detailed))
    (root / "Audios" / "MSP-PODCAST_0003_0002.wav").write_bytes(b"")
    label, rating = "labels_consensus.csv", "labels_detailed.csv"
    assert set(findings(root)) == {
        f"{label}, line 4: '{lines[3]}' does not have 8 cells",
        f"{label}, line 3, Split_Set: 'Trial' is no partition",
        f"{label}, line 10, FileName: 'MSP-PODCAST_0002_0001' is there already",
        f"{label}, line 7, FileName: 'MSP-PODCAST_0003_0002.wav': the file is empty",
        f"{label}, line 11, FileName: 'MSP-PODCAST_0009_0001.wav': there is no such file",
        f"{label}, line 2, EmoAct: '1_5' is not a number",
        f"{label}, line 11, EmoAct: 'inf' is outside the scale from 1 to 7",
        f"{label}, line 2, EmoDom: '0.500000' is outside the scale from 1 to 7",
        f"{rating}, line 3: 'WORKER00000007; Neutral' is not such as 'WHO; …; A:3; V:3; D:3;'",
        f"{rating}, line 2, V: 'four' is not a number",
        f"{rating}, line 2, D: '8.000000' is outside the scale from 1 to 7",
    }


def test_of_many_missing_files_the_first_and_the_number_are_named(release: Release) -> None:
    absent = [f"MSP-PODCAST_9{i:03}_0001.wav,N,1,1,1,20,Male,Train" for i in range(1250)]
    root = release("\n".join([CONSENSUS.rstrip(), *absent]), drop=("0001_0002",))
    (root / "Audios" / "MSP-PODCAST_0003_0001.wav").write_bytes(b"no sound")
    found = findings(root)
    assert len(found) == 22
    where = "labels_consensus.csv"
    assert f"{where}, line 3, FileName: 'MSP-PODCAST_0001_0002.wav': there is no such file" in found
    assert "and 1,231 more like these" in found
    assert any("MSP-PODCAST_0003_0001.wav': unreadable audio (" in finding for finding in found)


@pytest.mark.parametrize(
    ("consensus", "detailed", "wanted"),
    [
        (CONSENSUS.replace("Test1", "Test2"), None, "no row is in the test split"),
        (HEADER, None, "no row is in the train split"),
        (CONSENSUS, "FileName,WorkerID,EmoAct\n", "line 1: the columns are not FileName,EmoDetail"),
        (CONSENSUS, "FileName,EmoDetail\n", "no line rates one of the utterances"),
        (HEADER.replace("EmoVal", "EmoAct"), None, "line 1: not one column 'EmoAct'"),
        (HEADER.replace("EmoVal", "EmoAct"), None, "line 1: not one column 'EmoVal'"),
        (CONSENSUS.encode("utf-16"), None, "not one column 'FileName'"),
    ],
)
def test_a_wrong_table_is_a_finding(
    release: Release, consensus: str | bytes, detailed: str | None, wanted: str
) -> None:
    assert any(wanted in finding for finding in findings(release(consensus, detailed)))


def test_the_corpora_are_registered() -> None:
    assert {"msp_podcast", "msp_podcast_test2", "msp_improv"} <= set(corpora.names())
    assert "msp" not in corpora.names()


def test_missing_files_and_folders_are_named(release: Release, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="msp_podcast=FOLDER"):
        msp_podcast.load(None)
    with pytest.raises(RequestError, match="msp_podcast_test2=FOLDER"):
        msp_podcast_test2.load(None)
    with pytest.raises(CorpusError, match=r"there is no Labels/labels_consensus\.csv or"):
        msp_podcast.load(str(tmp_path))
    root = release(audio="Sounds")
    with pytest.raises(CorpusError, match="there is no Audios or audio_16kHz or Audio in"):
        msp_podcast.load(str(root))
    (root / "Labels" / "labels_consensus.csv").write_text("\n\n")
    (root / "Audios").mkdir()
    with pytest.raises(CorpusError, match="is empty"):
        msp_podcast.load(str(root))
    (root / "Labels" / "labels_consensus.csv").unlink()
    (root / "Labels" / "labels_consensus.csv").mkdir()
    with pytest.raises(CorpusError, match="cannot be read"):
        msp_podcast.load(str(root))
