import math
from pathlib import Path

import pytest

from serbench.harness import corpora
from serbench.harness.corpora import cremad, emodb, emotions, ravdess

DOCS = Path(__file__).parents[3] / "docs" / "corpora.md"


def test_values_are_in_the_order_of_the_dimensions_with_nan_for_an_unknown_emotion() -> None:
    table = emotions.derived(["fear", "calm", "neutral"])
    assert list(table.columns) == ["activation", "valence", "dominance"]
    assert table.iloc[0].tolist() == [0.60, -0.64, -0.43]
    assert all(math.isnan(value) for value in table.iloc[1])
    assert table.iloc[2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("corpus", [cremad, emodb, ravdess])
def test_the_table_names_all_emotions_of_the_corpora_but_calm(corpus: object) -> None:
    named = set(vars(corpus)["EMOTIONS"].values())
    assert named - set(emotions.PAD) <= {"calm"}


def test_the_docs_show_the_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for emotion, (valence, activation, dominance) in emotions.PAD.items():
        assert f"| {emotion} | {activation:.2f} | {valence:.2f} | {dominance:.2f} |" in text


def test_it_is_no_corpus() -> None:
    assert not {"emotions", "named"} & set(corpora.names())
    assert {"cremad", "emodb", "ravdess"} <= set(corpora.names())
