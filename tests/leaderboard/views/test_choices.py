"""What a reader chooses beside all pages."""

from __future__ import annotations

from typing import Any


def test_rows_of_other_folds_are_chosen_by_their_folds(page: Any, recorder: Any) -> None:
    recorder("full", fold="2/2")
    for fold in ("1/2", "2/2"):
        recorder("lora", fold=fold)
    shown = page(recorder.path)
    folds = shown.selectbox(key="folds")
    assert folds.options == ["2 folds", "fold 2 of 2"]
    assert shown.dataframe[0].value["Configuration"].tolist() == ["lora"]
    folds.select_index(1).run()
    assert shown.dataframe[0].value["Configuration"].tolist() == ["full"]


def test_settings_are_named_by_what_sets_them_apart(page: Any, recorder: Any) -> None:
    recorder("full")
    recorder("lora", corpus_hash="manifest-2")
    shown = page(recorder.path)
    settings = shown.selectbox(key="setting")
    assert [name.rpartition(" ")[2] for name in settings.options] == ["manifest-2", "manifest-1"]
    assert shown.dataframe[0].value["Configuration"].tolist() == ["lora"]
    assert not shown.exception
