from collections.abc import Callable
from pathlib import Path

import pytest

from serbench.harness.corpora import emodb
from serbench.harness.errors import CorpusError, RequestError

WriteWav = Callable[..., Path]
REAL = Path(__file__).parents[3].parent / "shared" / "data" / "emodb"
NAMES = ("03a01Fa", "03a01Wa", "08b10Na", "12a02Ea", "14a05Lc", "15a04Ac", "16b03Td")


@pytest.fixture
def small(tmp_path: Path, write_wav: WriteWav) -> Path:
    for name in NAMES:
        write_wav(tmp_path / "emodb" / "wav" / f"{name}.wav", seconds=0.2)
    (tmp_path / "emodb" / "erkennung.txt").write_bytes("natürlich".encode("latin-1"))
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


def test_a_missing_or_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="emodb=FOLDER"):
        emodb.load(None)
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(CorpusError, match=r"no \.wav files"):
            emodb.load(str(folder))


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
    assert table["speaker"].nunique() == 10
    assert table["split"].value_counts().to_dict() == {
        "train": 304,
        "validation": 104,
        "test": 127,
    }
    wave = corpus.waveform("03a01Fa")
    assert wave.shape == (table.set_index("id")["samples"]["03a01Fa"],)
    assert 0.01 < abs(wave).max() <= 1
