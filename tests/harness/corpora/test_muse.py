from collections.abc import Callable
from pathlib import Path

import pytest

from serbench.harness.corpora import muse
from serbench.harness.corpora.summary import summarise
from serbench.harness.errors import CorpusError, RequestError

WriteWav = Callable[..., Path]
Release = Callable[..., Path]

HEADER = (
    "Sentence_name,Duration,Gender,Type,Ques_Type,Activation_Mean,Activation_SD,Valence_Mean,"
    "Valence_SD,Activation_Annotation,Valence_Annotation,C_Activation_Mean,C_Activation_SD,"
    "C_Valence_Mean,C_Valence_SD,C_Activation_Annotation,C_Valence_Annotation,S_Activation,"
    "S_Valence"
)
SURVEY = "Survey Information (Questions, Data etc)"
FILE = f"{SURVEY}/Emotion data from crowdsourcing (C is with context).csv"
FOLDERS = {
    "NS": "NotStressed/Audio/Non Stressed Question Monologue Audio [Sentence Split]",
    "S": "Stressed/Audio/Stressed Question Monologue Audio",
}


def line(
    name: str,
    kind: str = "S",
    activation: str = "5;7",
    valence: str = "2;3",
    means: tuple[str, str] = ("6", "2.5"),
) -> str:
    return (
        f"{name},3.5,F,{kind},neutral,{means[0]},1,{means[1]},0.5,{activation},{valence},"
        "9,0,9,0,9;9,9;9,1,1"
    )


GOOD = [
    line("01_a.wav"),
    line("01_b.wav", "NS", "1;9;5", "4;4;4", ("5", "4")),
    line("02_a.wav", means=("7", "")),
    line("03_a.wav", "NS"),
]


@pytest.fixture
def release(tmp_path: Path, write_wav: WriteWav) -> Release:
    """Make a release of the given lines, and their audio but for the names to drop."""

    def make(*lines: str, drop: tuple[str, ...] = ()) -> Path:
        (tmp_path / SURVEY).mkdir()
        (tmp_path / FILE).write_text("\n".join([HEADER, *(lines or GOOD)]), encoding="utf-8")
        for cells in (given.split(",") for given in lines or GOOD):
            if len(cells) > 3 and cells[0] not in ("", *drop) and cells[3] in FOLDERS:
                stem = cells[0].removesuffix(".wav")
                write_wav(tmp_path / FOLDERS[cells[3]] / f"{stem}.wav", seconds=0.2)
        return tmp_path

    return make


def findings(root: Path) -> tuple[str, ...]:
    with pytest.raises(CorpusError) as caught:
        muse.load(str(root))
    return caught.value.findings


def test_labels_are_the_means_without_context(release: Release) -> None:
    corpus = muse.load(str(release()))
    assert (corpus.minimum, corpus.maximum) == (1, 9)
    assert corpus.dimensions == ("activation", "valence")
    assert corpus.folds == ()
    table = corpus.utterances.set_index("id").astype(object)
    columns = ["speaker", "type", "activation", "valence"]
    wanted = [["01", "S", 6, 2.5], ["01", "NS", 5, 4], ["03", "NS", 6, 2.5]]
    assert table.loc[["01_a", "01_b", "03_a"], columns].to_numpy().tolist() == wanted
    assert table.loc["02_a", columns].isna().tolist() == [False, False, False, True]
    assert corpus.waveform("01_b").shape == (3200,)
    assert Path(str(table["path"]["01_b"])).parents[1].parent.name == "NotStressed"


def test_a_name_may_lack_its_suffix_or_have_another_case(
    release: Release, write_wav: WriteWav
) -> None:
    root = release(*GOOD[:3], line("03_a"), line("03_b.WAV"), drop=("03_b.WAV",))
    write_wav(root / FOLDERS["S"] / "03_b.WAV")
    assert list(muse.load(str(root)).utterances["id"][3:]) == ["03_a", "03_b"]


def test_speakers_are_parted_without_an_official_split(release: Release) -> None:
    table = muse.load(str(release())).utterances
    assert set(table["split"]) == {"train", "validation", "test"}
    assert (table.groupby("speaker")["split"].nunique() == 1).all()


def test_no_annotator_is_in_two_utterances(release: Release) -> None:
    corpus = muse.load(str(release()))
    ratings = corpus.ratings
    assert ratings is not None
    assert (ratings.groupby("annotator")["utterance"].nunique() == 1).all()
    one = ratings[ratings["utterance"] == "01_b"].set_index(["annotator", "dimension"])["value"]
    assert one.unstack().sort_index().to_dict("index") == {
        "01_b#1": {"activation": 1, "valence": 4},
        "01_b#2": {"activation": 9, "valence": 4},
        "01_b#3": {"activation": 5, "valence": 4},
    }
    summary = summarise(corpus)
    assert summary.ratings_per_utterance == pytest.approx(9 / 4)
    assert summary.labels["activation"].agreement is None


def test_a_blank_rating_keeps_its_place(release: Release) -> None:
    ratings = muse.load(str(release(*GOOD[1:], line("01_c.wav", "S", "5;;7", "2; 3;4")))).ratings
    assert ratings is not None
    one = ratings[ratings["utterance"] == "01_c"].set_index(["annotator", "dimension"])["value"]
    assert one.to_dict() == {
        ("01_c#1", "activation"): 5,
        ("01_c#3", "activation"): 7,
        ("01_c#1", "valence"): 2,
        ("01_c#2", "valence"): 3,
        ("01_c#3", "valence"): 4,
    }


def test_ratings_that_do_not_pair_have_annotators_apart(release: Release) -> None:
    corpus = muse.load(str(release(*GOOD[1:], line("01_c.wav", "S", "5;7;7", "2"))))
    assert corpus.anonymous
    assert summarise(corpus).annotators is None
    assert corpus.ratings is not None
    one = corpus.ratings[corpus.ratings["utterance"] == "01_c"]
    assert set(one["annotator"]) == {
        "01_c#activation 1",
        "01_c#activation 2",
        "01_c#activation 3",
        "01_c#valence 1",
    }


def test_without_any_ratings_there_are_none(release: Release) -> None:
    names = ("01_a", "02_a", "03_a")
    assert muse.load(str(release(*(line(n, "S", "", "") for n in names)))).ratings is None


@pytest.mark.parametrize("stressed", ["S", "Stressed_Segments", "stress", "Stressed/Audio/x"])
@pytest.mark.parametrize(
    "other", ["NS", "Nonstressed_Segments", "Not Stressed/a", "Stressed Emotion/non-stressed"]
)
def test_two_files_of_one_name_are_told_apart_by_the_type(
    stressed: str, other: str, tmp_path: Path, write_wav: WriteWav
) -> None:
    lines = [line("01_a.wav", "NS"), line("02_a.wav", "S"), line("03_a.wav", "S")]
    (tmp_path / "Speech.csv").write_text("\n".join([HEADER, *lines]))
    for stem in ("01_a", "02_a", "03_a"):
        write_wav(tmp_path / stressed / f"{stem}.wav", seconds=0.2)
        write_wav(tmp_path / other / f"{stem}.wav", seconds=0.3)
        write_wav(tmp_path / "Survey" / f"{stem}.wav", seconds=0.4)
    samples = muse.load(str(tmp_path)).utterances.set_index("id")["samples"]
    assert samples.to_dict() == {"01_a": 4800, "02_a": 3200, "03_a": 3200}


def test_a_name_in_both_conditions_is_two_utterances(release: Release) -> None:
    table = muse.load(str(release(*GOOD, line("01_a.wav", "NS")))).utterances
    assert list(table["id"]) == ["01_a_S", "01_b", "02_a", "03_a", "01_a_NS"]
    assert table["path"].nunique() == 5


def test_audio_that_is_missing_broken_or_of_the_other_type_is_told(
    release: Release, write_wav: WriteWav
) -> None:
    root = release(drop=("01_a.wav", "02_a.wav"))
    write_wav(root / FOLDERS["NS"] / "02_a.wav")
    (root / FOLDERS["NS"] / "01_b.wav").write_bytes(b"RIFF")
    assert findings(root) == (
        f"{FILE}, line 2, Sentence_name: there is no 01_a.wav",
        f"{FILE}, line 4, Sentence_name: there is no 02_a.wav for Type S, "
        f"only {FOLDERS['NS']}/02_a.wav",
        f"{FILE}, line 3, Sentence_name: '{FOLDERS['NS']}/01_b.wav': unreadable audio "
        "(Format not recognised.)",
    )


def test_of_two_files_in_the_folder_of_the_type_either_may_be_it(
    release: Release, write_wav: WriteWav
) -> None:
    root = release()
    write_wav(root / "NotStressed" / "Audio" / "03_a.wav")
    assert findings(root) == (
        f"{FILE}, line 5, Sentence_name: which of these is it? "
        f"NotStressed/Audio/03_a.wav, {FOLDERS['NS']}/03_a.wav",
    )


def test_missing_audio_is_told_twenty_times_at_most(release: Release) -> None:
    names = [f"{n:02d}_a.wav" for n in range(50)]
    found = findings(release(*map(line, names), drop=tuple(names)))
    assert len(found) == 21
    assert found[-1] == "and 30 more like these"


def test_encodings_and_line_ends_do_no_harm(release: Release) -> None:
    root = release()
    wanted = muse.load(str(root)).manifest_hash
    text = (root / FILE).read_text().replace("neutral", "caf\xe9\x85")
    (root / "SurveyInformation").mkdir()
    (root / "SurveyInformation" / "._labels.csv").write_bytes(b"\0\5\x16\7Sentence_name")
    (root / "SurveyInformation" / "words.csv").write_text("Sentence_name,words\n01_a.wav,3\n")
    (root / "SurveyInformation" / "rubbish.csv").write_bytes(b'\0"\xff\n\r"')
    for raw in (
        text.encode("latin-1"),
        text.encode("utf-8-sig").replace(b"\n", b"\r\n"),
        text.encode() + b"\r\n,,,,\r\n\r\n",
    ):
        (root / FILE).write_bytes(raw)
        assert muse.load(str(root)).manifest_hash == wanted


def test_all_that_is_wrong_is_told_with_file_and_line(release: Release) -> None:
    root = release(
        line("01_a.wav", activation="5;x;7"),
        line("02_a.wav", valence="0;10"),
        line("02_b.wav", "calm"),
        line("03_a.wav", means=("six", "9.5")),
        line("03_a.wav"),
        "04_a.wav,1",
        line("", "NS"),
        line("", "NS"),
        line("05_a.wav", activation="nan;inf"),
    )
    wanted = [
        (2, "Activation_Annotation: 'x' is not a number"),
        (3, "Valence_Annotation: '0' is outside the scale from 1 to 9"),
        (3, "Valence_Annotation: '10' is outside the scale from 1 to 9"),
        (4, "Type: 'calm' is neither S nor NS"),
        (5, "Activation_Mean: 'six' is not a number"),
        (5, "Valence_Mean: '9.5' is outside the scale from 1 to 9"),
        (6, "Sentence_name: '03_a.wav' is there already"),
        (8, "Sentence_name: '' is no name"),
        (9, "Sentence_name: '' is no name"),
        (10, "Activation_Annotation: 'nan' is not a number"),
        (10, "Activation_Annotation: 'inf' is outside the scale from 1 to 9"),
    ]
    found = findings(root)
    assert sorted(found) == sorted(
        [f"{FILE}, line {n}, {what}" for n, what in wanted]
        + [f"{FILE}, line 7: 2 cells, but 19 columns"]
    )


def test_a_finding_has_the_line_where_its_record_begins(release: Release) -> None:
    two_lines = line("01_a.wav", means=("x", "1")).replace("neutral", '"neu\ntral"')
    assert findings(release(two_lines, *GOOD[1:3], line("03_a.wav", means=("y", "1")))) == (
        f"{FILE}, line 2, Activation_Mean: 'x' is not a number",
        f"{FILE}, line 6, Activation_Mean: 'y' is not a number",
    )


def test_the_table_is_found_by_its_columns(release: Release) -> None:
    root = release()
    text = (root / FILE).read_text()
    (root / "copy.csv").write_text(text)
    assert findings(root) == (
        "copy.csv: only one can be the labels",
        f"{FILE}: only one can be the labels",
    )
    (root / "copy.csv").write_text(text.replace(",Valence_Mean", ",Mean").replace("Type", "Kind"))
    (root / FILE).unlink()
    assert findings(root) == (
        "copy.csv, line 1: there is no column 'Type'",
        "copy.csv, line 1: there is no column 'Valence_Mean'",
    )


@pytest.mark.parametrize(
    ("rest", "wanted"),
    [
        ("", "holds no utterances"),
        ("01_a.wav\n", "line 2: 1 cells, but 19 columns"),
        ('"01_a.wav\n', "line 2: not CSV"),
    ],
)
def test_a_table_without_utterances_is_told(release: Release, rest: str, wanted: str) -> None:
    root = release()
    (root / FILE).write_text(f"{HEADER}\n{rest}")
    assert any(wanted in finding for finding in findings(root))


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="muse=FOLDER"):
        muse.load(None)
    (tmp_path / "empty.csv").touch()
    with pytest.raises(CorpusError, match="no CSV file with the columns Sentence_name, Type"):
        muse.load(str(tmp_path))
