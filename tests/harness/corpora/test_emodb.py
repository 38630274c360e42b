from collections.abc import Callable
from pathlib import Path

import pytest

from serbench.harness.corpora import emodb
from serbench.harness.corpora.folds import chosen, parted
from serbench.harness.errors import CorpusError, RequestError

WriteWav = Callable[..., Path]
REAL = Path(__file__).parents[3].parent / "shared" / "data" / "emodb"
NAMES = ("03a01Fa", "03a01Wa", "08b10Na", "12a02Ea", "14a05Lc", "15a04Ac", "16b03Td")

LINES = (
    "1\xa0\xa0\t03a01Fa.wav\t90,00\xa0\xa0\xa0\t75,00\xa0\xa0\xa0",
    "2\xa0\xa0\t03a01Wa.wav\t100,00\xa0\xa0\xa0\t66,67\xa0\xa0\xa0",
    "3\xa0\xa0\t03a01Ab.wav\t65,00\xa0\xa0\xa0\t35,00\xa0\xa0\xa0",
)


def write_list(folder: Path, *lines: str, encoding: str = "latin-1") -> None:
    text = "\n".join(["Nr.\tSatz\terkannt\tnatuerlich", *lines, ""])
    (folder / "erkennung.txt").write_bytes(text.encode(encoding))


@pytest.fixture
def small(tmp_path: Path, write_wav: WriteWav) -> Path:
    for name in NAMES:
        write_wav(tmp_path / "emodb" / "wav" / f"{name}.wav", seconds=0.2)
    write_list(tmp_path / "emodb", *LINES)
    return tmp_path / "emodb"


def test_labels_come_from_the_letter_by_the_table(small: Path) -> None:
    corpus = emodb.load(str(small))
    assert corpus.derived
    assert not corpus.synthetic
    assert (corpus.minimum, corpus.maximum) == (-1, 1)
    assert corpus.notes is not None
    assert "Russell & Mehrabian (1977)" in corpus.notes
    columns = ["activation", "valence", "dominance"]
    table = corpus.utterances
    labels = dict(zip(table["id"], table[columns].to_numpy().tolist(), strict=True))
    assert labels == {
        "03a01Fa": [0.51, 0.81, 0.46],
        "03a01Wa": [0.59, -0.51, 0.25],
        "08b10Na": [0, 0, 0],
        "12a02Ea": [0.35, -0.60, 0.11],
        "14a05Lc": [-0.62, -0.65, -0.33],
        "15a04Ac": [0.60, -0.64, -0.43],
        "16b03Td": [-0.27, -0.63, -0.33],
    }


def test_splits_are_fixed_by_speaker_and_balanced_by_gender() -> None:
    men = {"03", "10", "11", "12", "15"}
    for split, speakers in (("train", 6), ("validation", 2), ("test", 2)):
        members = {name for name, held in emodb.SPEAKER_SPLITS.items() if held == split}
        assert len(members) == speakers
        assert len(members & men) == speakers / 2
    assert {name for name, held in emodb.SPEAKER_SPLITS.items() if held == "test"} == {"15", "16"}


def test_the_wav_folder_itself_will_do(small: Path) -> None:
    whole, inner = emodb.load(str(small)), emodb.load(str(small / "wav"))
    assert list(whole.utterances["id"]) == sorted(NAMES)
    assert whole.manifest_hash == inner.manifest_hash
    assert whole.waveform("03a01Fa").shape == (3200,)


def test_listeners_are_columns_and_not_in_the_manifest(small: Path) -> None:
    corpus = emodb.load(str(small))
    shares = corpus.utterances.set_index("id")[["recognised", "natural"]]
    assert shares.loc["03a01Fa"].tolist() == [90, 75]
    assert shares.loc["03a01Wa"].tolist() == [100, 66.67]
    assert shares.drop(index=["03a01Fa", "03a01Wa"]).isna().all(axis=None)
    (small / "erkennung.txt").unlink()
    without = emodb.load(str(small))
    assert "recognised" not in without.utterances
    assert without.manifest_hash == corpus.manifest_hash


def test_wrong_lines_of_the_listeners_are_named(small: Path) -> None:
    write_list(
        small, LINES[0], "2\t03a01Wa.wav\t90.00\t75.00", "", LINES[0], "4\tx.wav\t1,0\t100,1"
    )
    (small / "wav" / "03a01Fa.wav").write_bytes(b"")
    with pytest.raises(CorpusError) as caught:
        emodb.load(str(small))
    assert caught.value.findings == (
        "03a01Fa.wav: the file is empty",
        "erkennung.txt, line 3: not four cells as in 3<tab>03a01Fa.wav<tab>90,00<tab>75,00",
        "erkennung.txt, line 5, Satz: '03a01Fa.wav' is there already",
        "erkennung.txt, line 6, natuerlich: 100.1 is more than 100 per cent",
    )


def test_a_list_in_another_encoding_ends_after_twenty_lines(small: Path) -> None:
    write_list(small, *(LINES[0] for _ in range(50)), encoding="utf-8")
    with pytest.raises(CorpusError) as caught:
        emodb.load(str(small))
    assert len(caught.value.findings) == 21
    assert caught.value.findings[-1] == "and 30 more like these"


def test_folds_leave_one_speaker_out(small: Path, write_wav: WriteWav) -> None:
    for speaker in emodb.SPEAKER_SPLITS:
        write_wav(small / "wav" / f"{speaker}a01Fa.wav")
    corpus = emodb.load(str(small))
    speakers = sorted(emodb.SPEAKER_SPLITS)
    assert chosen("all", corpus) == tuple(f"{number}/10" for number in range(1, 11))
    for number, speaker in enumerate(speakers):
        table = parted(corpus, f"{number + 1}/10").utterances
        held = table.groupby("split")["speaker"].unique()
        assert list(held["test"]) == [speaker]
        assert list(held["validation"]) == [speakers[(number + 1) % 10]]
        assert len(held["train"]) == 8


def test_a_part_of_the_speakers_has_folds_of_these(small: Path) -> None:
    assert [list(fold) for fold in emodb.load(str(small)).folds] == [
        ["03", "08", "12", "14", "15", "16"]
    ] * 6
    for name in NAMES[3:]:
        (small / "wav" / f"{name}.wav").unlink()
    assert emodb.load(str(small)).folds == ()


def test_what_is_not_emodb_is_named_file_by_file(small: Path, write_wav: WriteWav) -> None:
    write_wav(small / "wav" / "hello.wav")
    write_wav(small / "wav" / "07a01Fa.wav")
    (small / "wav" / "03a02Fa.wav").touch()
    with pytest.raises(CorpusError) as caught:
        emodb.load(str(small))
    assert caught.value.findings == (
        "03a02Fa.wav: the file is empty",
        "07a01Fa.wav: not a name of EmoDB, such as 03a01Fa.wav",
        "hello.wav: not a name of EmoDB, such as 03a01Fa.wav",
    )


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="emodb=FOLDER"):
        emodb.load(None)
    with pytest.raises(CorpusError, match=r"no \.wav file in"):
        emodb.load(str(tmp_path))


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="EmoDB is not beside the checkout")
def test_the_real_one_has_its_known_counts() -> None:
    corpus = emodb.load(str(REAL))
    table = corpus.utterances
    assert table["emotion"].value_counts().to_dict() == {
        "anger": 127,
        "boredom": 81,
        "disgust": 46,
        "fear": 69,
        "happiness": 71,
        "sadness": 62,
        "neutral": 79,
    }
    assert table["speaker"].value_counts().to_dict() == {
        "03": 49,
        "08": 58,
        "09": 43,
        "10": 38,
        "11": 55,
        "12": 35,
        "13": 61,
        "14": 69,
        "15": 56,
        "16": 71,
    }
    assert len(corpus.folds) == 10
    assert table["recognised"].min() == 80
    assert table["natural"].min() == 45
    assert table["recognised"].mean() == pytest.approx(93.54, abs=0.005)
    assert table["natural"].mean() == pytest.approx(76.87, abs=0.005)
    assert corpus.manifest_hash == "51d5b20dbd811af37cc944f67400ca92"
    assert table["split"].value_counts().to_dict() == {
        "train": 304,
        "validation": 104,
        "test": 127,
    }
    wave = corpus.waveform("03a01Fa")
    assert wave.shape == (table.set_index("id")["samples"]["03a01Fa"],)
    assert 0.01 < abs(wave).max() <= 1
