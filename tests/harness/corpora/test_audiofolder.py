import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from serbench.harness.corpora.audiofolder import check, load
from serbench.harness.errors import CorpusError, RequestError

Folder = Callable[..., Path]


def findings(folder: Path) -> tuple[str, ...]:
    """What `check` and `load` find; that both find the same is asserted here."""
    found = check(str(folder)).findings
    with pytest.raises(CorpusError) as caught:
        load(str(folder))
    assert caught.value.findings == found
    return found


def test_a_good_folder_is_read(folder: Folder) -> None:
    corpus = load(str(folder()))
    assert corpus.name == "six"
    assert corpus.licence == "CC BY 4.0"
    assert (corpus.minimum, corpus.maximum) == (1, 5)
    assert corpus.dimensions == ("activation", "valence", "dominance")
    assert list(corpus.utterances["id"][:2]) == ["wav/a1.wav", "wav/a2.wav"]
    assert list(corpus.subset("test")["speaker"]) == ["cleo", "cleo"]
    assert list(corpus.utterances["samples"]) == [1600] * 6
    assert corpus.utterances["valence"].tolist() == [2, 4.5, 2.5, 4, 1, 5]
    assert math.isnan(corpus.utterances["dominance"][3])
    assert corpus.waveform("wav/a1.wav").shape == (1600,)
    assert corpus.ratings is None


def test_the_folder_names_a_corpus_without_settings(folder: Folder, good: str) -> None:
    small = good.replace(",5", ",1").replace(",4.5", ",1").replace(",4", ",1")
    small = small.replace(",2.5", ",0.5").replace(",2", ",1").replace(",3", ",1")
    root = folder(small.replace("1.5", "-1"), toml=None)
    corpus = load(str(root))
    assert corpus.name == root.name
    assert (corpus.minimum, corpus.maximum) == (-1, 1)


def test_a_summary_says_what_is_there(folder: Folder) -> None:
    report = check(str(folder()))
    assert report.findings == ()
    assert report.summary is not None
    assert report.summary.utterances == 6
    assert report.summary.speakers == 3
    assert report.summary.splits == {"train": 2, "validation": 2, "test": 2}
    assert report.summary.hours == pytest.approx(6 * 0.1 / 3600)
    assert report.summary.labels["dominance"].labelled == 5
    assert report.summary.labels["activation"].histogram == (1, 1, 1, 0, 0, 0, 0, 1, 0, 2)
    assert report.summary.ratings_per_utterance is None


def test_arousal_is_activation(folder: Folder, good: str) -> None:
    assert "activation" in load(str(folder(good.replace("activation", "arousal")))).dimensions


def test_other_columns_and_cells_with_commas_and_line_breaks_do_no_harm(folder: Folder) -> None:
    rows = [
        "file_name,text,speaker,split,valence",
        'wav/a1.wav,"one, two\nthree",anna,train,2',
        "wav/b1.wav,x,bert,validation,2",
        "wav/c1.wav,x,cleo,test,oops",
    ]
    assert "metadata.csv, line 5, valence: 'oops' is not a number" in findings(
        folder("\n".join(rows))
    )


def test_without_a_split_column_whole_speakers_are_parted(folder: Folder, good: str) -> None:
    rows = [line.split(",") for line in good.splitlines()]
    text = "\n".join(",".join(row[:2] + row[3:]) for row in rows)
    table = load(str(folder(text))).utterances
    assert set(table["split"]) == {"train", "validation", "test"}
    assert (table.groupby("speaker")["split"].nunique() == 1).all()


def test_two_speakers_cannot_be_parted(folder: Folder) -> None:
    found = findings(folder("file_name,speaker,valence\nwav/a1.wav,a,1\nwav/b1.wav,b,2\n"))
    assert "at least 3" in found[0]
    assert found[0].startswith("metadata.csv, no column 'split'")


def test_jsonl_and_parquet_say_the_same_as_csv(folder: Folder) -> None:
    root = folder()
    expected = load(str(root))
    table = pd.read_csv(root / "metadata.csv")
    (root / "metadata.csv").unlink()
    table.to_json(root / "metadata.jsonl", orient="records", lines=True)
    assert load(str(root)).manifest_hash == expected.manifest_hash
    (root / "metadata.jsonl").unlink()
    table.to_parquet(root / "metadata.parquet")
    assert load(str(root)).manifest_hash == expected.manifest_hash


def test_jsonl_findings_have_their_lines(folder: Folder) -> None:
    root = folder()
    (root / "metadata.csv").unlink()
    good = {"file_name": "wav/a1.wav", "speaker": 3, "split": "train", "valence": 1}
    lines = [
        json.dumps(good),
        "{",
        "[1]",
        json.dumps({**good, "valence": [1]}),
        '{"file_name": "\\ud800.wav", "speaker": "x", "split": "test", "valence": NaN}',
        "[" * 5000,
        '{"file_name": "wav/b1.wav", "speaker": "y", "split": "test", "valence": '
        + "9" * 999
        + "}",
    ]
    (root / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = "\n".join(findings(root))
    for wanted in (
        "line 2: not JSON",
        "line 3: not a JSON object",
        "line 4, valence: [1] is not a number",
        "line 4, file_name: 'wav/a1.wav' is there already, in line 1",
        "line 5, file_name: '\\ud800.wav' is not text",
        "line 5, valence: nan is not finite",
        "line 6: not JSON",
        "line 7, valence:",
    ):
        assert f"metadata.jsonl, {wanted}" in found


def test_parquet_findings_have_their_rows(folder: Folder) -> None:
    root = folder()
    table = pd.read_csv(root / "metadata.csv")
    (root / "metadata.csv").unlink()
    table.loc[2, "valence"] = math.inf
    table.to_parquet(root / "metadata.parquet")
    assert "metadata.parquet, row 3, valence: inf is not finite" in findings(root)[0]
    (root / "metadata.parquet").write_bytes(b"PAR1 no more")
    assert findings(root)[0].startswith("metadata.parquet: not Parquet")


RATINGS = """file_name,annotator,activation,valence
wav/a1.wav,r1,1,2
wav/a1.wav,r2,3,
wav/a2.wav,r1,4,4
wav/a2.wav,r2,5,5
wav/b1.wav,r1,2,2
wav/b1.wav,r2,2,3
wav/b1.wav,r2,4,3
wav/c1.wav,r1,1,1
"""


def test_ratings_label_what_the_metadata_do_not(folder: Folder, good: str) -> None:
    without = [line.split(",") for line in good.splitlines()]
    text = "\n".join(",".join([*row[:3], row[4]]) for row in without)
    corpus = load(str(folder(text, ratings=RATINGS)))
    assert corpus.dimensions == ("activation", "valence")
    table = corpus.utterances.set_index("id")
    assert table["valence"]["wav/a1.wav"] == 2, "the consensus column stays"
    assert table["activation"]["wav/a1.wav"] == 2, "the mean of 1 and 3"
    assert math.isnan(table["activation"]["wav/c2.wav"])


def test_a_rater_who_appears_twice_counts_once(folder: Folder, good: str) -> None:
    text = "\n".join(",".join(line.split(",")[:3]) for line in good.splitlines())
    corpus = load(str(folder(text, ratings=RATINGS)))
    assert corpus.ratings is not None
    assert len(corpus.ratings) == 7 + 6
    activation = corpus.utterances.set_index("id")["activation"]
    assert activation["wav/b1.wav"] == 2.5, "r1 gave 2, r2 gave 2 and 4"


def test_the_summary_tells_of_ratings(folder: Folder) -> None:
    summary = check(str(folder(ratings=RATINGS))).summary
    assert summary is not None
    assert summary.annotators == 2
    assert summary.ratings_per_utterance == pytest.approx(7 / 4)
    # Both rated a1, a2 and b1: (1, 4, 2) against (3, 5, 3).
    assert summary.labels["activation"].agreement == pytest.approx(
        2 * (29 / 3 - 77 / 9) / (14 / 9 + 8 / 9 + 16 / 9)
    )
    assert summary.labels["valence"].agreement is None, "they share two utterances only"


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("wav/a2.wav,anna", "wav/no.wav,anna", "line 3, file_name: 'wav/no.wav': there is no such"),
        ("wav/a2.wav,anna", "../a2.wav,anna", "line 3, file_name: '../a2.wav' is not inside"),
        ("wav/a2.wav,anna", "/etc/a2.wav,anna", "line 3, file_name: '/etc/a2.wav' is not inside"),
        ("wav/a2.wav,anna", "C:\\a2.wav,anna", "line 3, file_name: 'C:\\a2.wav' is not inside"),
        ("wav/a2.wav,anna", ",anna", "line 3, file_name: empty"),
        ("wav/a2.wav", "./wav/a1.wav", "line 3, file_name: 'wav/a1.wav' is there already, in line"),
        ("wav/a2.wav,anna", "wav/a2.wav,", "line 3, speaker: empty"),
        (
            "a2.wav,anna",
            "a2.wav,cleo",
            "line 6, speaker: 'cleo' is in test here and in train in li",
        ),
        ("bert,validation,5", "bert,dev,5", "line 5, split: there is no split 'dev'"),
        ("anna,train,4", "anna,Train,4", "'Train'; did you mean train?"),
        ("bert,validation,5", "bert,,5", "line 5, split: empty"),
        (",validation,", ",train,", "metadata.csv, split: no utterance is in the validation split"),
        ("1.5,2,3", "x,2,3", "line 2, activation: 'x' is not a number"),
        ("1.5,2,3", "1_5,2,3", "line 2, activation: '1_5' is not a number"),
        ("1.5,2,3", "nan,2,3", "line 2, activation: nan is not finite"),
        ("1.5,2,3", "1.5,-inf,3", "line 2, valence: -inf is not finite"),
        ("1.5,2,3", "1.5,2,5.01", "line 2, dominance: 5.01 is outside the scale from 1 to 5"),
        ("1.5,2,3", "1.5,2", "line 2: 5 cells, but 6 columns"),
        ("1.5,2,3", '1.5,"2"x,3', "line 2: not CSV"),
        ("file_name,", "file,", "line 1: there is no column 'file_name'"),
        (",speaker,", ",who,", "line 1: there is no column 'speaker'"),
        (",dominance", ",arousal", "line 1: there are two columns for 'activation'"),
        (",", ";", "line 1: columns are parted by ';', not by ','"),
        (",", "\t", "line 1: columns are parted by tabs, not by ','"),
        ("file_name", "\ufefffile_name", "line 1: starts with a byte order mark (BOM)"),
    ],
)
def test_each_mistake_is_found_where_it_is(
    folder: Folder, good: str, old: str, new: str, wanted: str
) -> None:
    assert old in good
    found = findings(folder(good.replace(old, new)))
    assert any(wanted in line for line in found), found
    assert all("metadata.csv" in line for line in found)


def test_all_mistakes_are_found_at_once(folder: Folder, good: str) -> None:
    text = good.replace("a1.wav,anna", "a1.wav,cleo").replace("1.5,2,3", "7,x,")
    text = "\ufeff" + text.replace("wav/b2", "wav/b7")
    found = findings(folder(text, drop=["c2"], ratings="file_name,annotator,valence\nz,r,9\n"))
    assert len(found) == 8, found


@pytest.mark.parametrize(("encoding", "byte"), [("latin-1", "0xe4"), ("utf-16", "0xff")])
def test_other_encodings_are_found(folder: Folder, good: str, encoding: str, byte: str) -> None:
    line = 2 if encoding == "latin-1" else 1
    raw = good.replace("anna", "ännä").encode(encoding)
    assert findings(folder(raw)) == (f"metadata.csv, line {line}: not UTF-8 (byte {byte})",)


@pytest.mark.parametrize("text", ["", "\n\n", "file_name,speaker,valence\n"])
def test_an_empty_table_is_found(folder: Folder, text: str) -> None:
    assert findings(folder(text))


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(b"", "the file is empty"), (b"RIFFnothing", "unreadable audio"), (None, "too short")],
)
def test_bad_audio_is_found(folder: Folder, content: bytes | None, wanted: str) -> None:
    root = folder()
    if content is None:
        soundfile.write(root / "wav" / "b1.wav", np.zeros(100), 16_000)
    else:
        (root / "wav" / "b1.wav").write_bytes(content)
    (found,) = findings(root)
    assert found.startswith(f"metadata.csv, line 4, file_name: 'wav/b1.wav': {wanted}")
    assert str(root) not in found, "the path is told once"


def test_labels_outside_the_default_scale_ask_for_one(folder: Folder) -> None:
    (found,) = findings(folder(toml=None))
    assert "line 2, activation: 1.5 is outside [-1, 1] and no scale is stated" in found
    assert "[scale]" in found


@pytest.mark.parametrize(
    ("toml", "wanted"),
    [
        ("[scale]\nmin = 5\nmax = 1\n", "corpus.toml, scale: Value error, min must be below max"),
        ("[scale]\nmin = 1\n", "corpus.toml, scale.max: Field required"),
        ("[scale]\nmin = 1\nmax = inf\n", "corpus.toml, scale.max:"),
        ("nmae = 'x'\n", "corpus.toml, nmae: Extra inputs are not permitted"),
        ("derived = 'yes'\n", "corpus.toml, derived:"),
        ("x = [", "corpus.toml: not TOML"),
        ("x = " + "[" * 5000, "corpus.toml: not TOML"),
    ],
)
def test_wrong_settings_are_found(folder: Folder, toml: str, wanted: str) -> None:
    assert findings(folder(toml=toml))[0].startswith(wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("file_name,annotator,valence\nwav/zz.wav,r,2\n", "line 2, file_name: a rating of 'wav/zz"),
        ("file_name,annotator,valence\nwav/a1.wav,,2\n", "line 2, annotator: empty"),
        ("file_name,annotator,valence\nwav/a1.wav,r,9\n", "line 2, valence: 9 is outside the sca"),
        ("file_name,annotator\nwav/a1.wav,r\n", "there is no column of activation"),
        ("file_name,rater,valence\nwav/a1.wav,r,2\n", "line 1: there is no column 'annotator'"),
    ],
)
def test_wrong_ratings_are_found(folder: Folder, text: str, wanted: str) -> None:
    (found,) = findings(folder(ratings=text))
    assert found.startswith("ratings.csv")
    assert wanted in found


def test_ratings_that_are_all_empty_are_no_ratings(folder: Folder) -> None:
    text = "file_name,annotator,valence\nwav/a1.wav,r,\n"
    assert load(str(folder(ratings=text))).ratings is None


def test_no_labels_at_all_are_found(folder: Folder, good: str) -> None:
    text = "\n".join(",".join(line.split(",")[:3]) for line in good.splitlines())
    assert "no labels" in findings(folder(text))[0]


def test_a_split_without_labels_is_found(folder: Folder, good: str) -> None:
    text = good.replace("test,1,1,1", "test,1,,1").replace("test,5,5,5", "test,5,,5")
    assert findings(folder(text)) == (
        "metadata.csv, valence: no utterance of the test split is labelled",
    )


def test_one_table_of_metadata_is_needed(folder: Folder) -> None:
    root = folder()
    (root / "metadata.jsonl").write_text("{}", encoding="utf-8")
    assert "only one" in findings(root)[0]
    (root / "metadata.jsonl").unlink()
    (root / "metadata.csv").unlink()
    assert findings(root) == ("there is none of metadata.csv, metadata.jsonl, metadata.parquet",)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no folder"):
        load(str(tmp_path / "none"))
    assert "no folder" in check(str(tmp_path / "none")).findings[0]
    with pytest.raises(RequestError, match="audiofolder=FOLDER"):
        load(None)


Mutation = Callable[[bytes], bytes]
CELLS = st.sampled_from(
    [b"", b"nan", b"-1e999", b"\x00", b'"', b"../x", b"wav/a1.wav", b"train", b"\xff", b"1e400"]
) | st.text(max_size=5).map(lambda text: text.encode("utf-8", "surrogatepass"))


@st.composite
def mutations(draw: st.DrawFn) -> Mutation:
    kind = draw(st.sampled_from(["cell", "drop line", "repeat line", "bytes", "cut", "swap"]))
    line, column = draw(st.integers(0, 6)), draw(st.integers(0, 5))
    cell, at = draw(CELLS), draw(st.integers(0, 250))

    def mutate(text: bytes) -> bytes:
        lines = text.split(b"\n")
        where = line % len(lines)
        if kind == "cell":
            cells = lines[where].split(b",")
            cells[column % len(cells)] = cell
            lines[where] = b",".join(cells)
        elif kind == "drop line":
            del lines[where]
        elif kind == "repeat line":
            lines.insert(where, lines[where])
        elif kind == "swap":
            lines[where], lines[0] = lines[0], lines[where]
        elif kind == "cut":
            return text[:at]
        else:
            return text[:at] + cell + text[at + 1 :]
        return b"\n".join(lines)

    return mutate


def test_mutations_of_the_metadata_end_in_a_corpus_or_in_findings(
    folder: Folder, good: str
) -> None:
    root = folder()
    ends = set()

    @settings(max_examples=150, deadline=None)
    @given(st.lists(mutations(), min_size=1, max_size=3))
    def mutated(several: list[Mutation]) -> None:
        raw = good.encode()
        for mutate in several:
            raw = mutate(raw)
        (root / "metadata.csv").write_bytes(raw)
        try:
            corpus = load(str(root))
        except CorpusError as error:
            ends.add("findings" if error.findings else "an error without findings")
        else:
            ends.add("corpus" if corpus.utterances["id"].is_unique else "a corpus with doubles")

    mutated()
    assert ends == {"findings", "corpus"}
