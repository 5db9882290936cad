"""Converting: every text is accounted for, and evaluation texts stay out."""

from __future__ import annotations

import json

import pytest

from gisttools.converting import convert
from gisttools.errors import DataError, MissingError
from gisttools.hygiene import table_texts
from gisttools.labelled import read_labelled


def test_every_text_becomes_an_anchor_once(caretaker, guide):
    converted = convert([str(caretaker)], guide)
    assert sorted(converted.triplets["anchor"]) == sorted(read_labelled(caretaker).texts)
    (source,) = converted.summary["sources"]
    assert (source["texts"], source["classes"], source["triplets"], source["dropped"]) == (48, 4, 48, {})
    assert converted.summary["guide_id"] == guide.guide_id
    assert converted.summary["live_share"] == pytest.approx(sum(converted.triplets["live"]) / 48)
    assert converted.headline().startswith("48 triplets of 48 texts in 4 classes")


def test_rows_with_evaluation_texts_are_dropped_and_counted(caretaker, guide):
    texts = read_labelled(caretaker).texts
    converted = convert([str(caretaker)], guide, eval_texts=[texts[0].upper(), texts[20]])
    assert not {texts[0], texts[20]} & set(table_texts(converted.triplets))
    (source,) = converted.summary["sources"]
    assert source["dropped"] == {"text of an evaluation set": 48 - len(converted.triplets)}
    assert source["dropped"]["text of an evaluation set"] >= 2


def test_triplets_are_mined_inside_each_source(caretaker, guide, tmp_path):
    rows = [{"text": f"{label} {i}", "label": label} for label in ("red", "blue") for i in range(3)]
    (tmp_path / "colours.jsonl").write_text("\n".join(map(json.dumps, rows)))
    converted = convert([str(caretaker), str(tmp_path / "colours.jsonl")], guide)
    assert [s["triplets"] for s in converted.summary["sources"]] == [48, 6]
    for row in converted.triplets.to_list()[48:]:
        assert {row["anchor_label"], row["positive_label"], *row["negative_labels"]} <= {"red", "blue"}
        assert row["task_name"].endswith("colours.jsonl")


def test_options_of_reading_and_mining_are_passed_on(guide, tmp_path):
    (tmp_path / "t.csv").write_text("body,kind\nwarm,a\nhot,a\ncold,b\nfrosty,b\nlonely,c\n")
    reading = {"text_column": "body", "label_column": "kind"}
    mining = {"negatives": 2, "strategy": "hard", "margin": 2.0, "drop_singletons": True}
    converted = convert([str(tmp_path / "t.csv")], guide, reading=reading, mining=mining)
    assert converted.summary["strategy"] == "hard"
    assert converted.summary["sources"][0]["dropped"]["class of one text"] == 1
    assert {len(ns) for ns in converted.triplets["negatives"]} == {2}


def test_a_later_source_that_is_missing_is_found_before_any_work(caretaker, guide, monkeypatch):
    monkeypatch.setattr(guide, "embed", lambda texts: pytest.fail("embedded before all sources were read"))
    with pytest.raises(MissingError, match=r"nowhere\.csv"):
        convert([str(caretaker), "nowhere.csv"], guide)


def test_no_triplet_left_is_refused_with_the_reasons(caretaker, guide):
    with pytest.raises(DataError, match=r"No triplet is left of 48 texts; dropped: .*'text of an evaluation set': 48"):
        convert([str(caretaker)], guide, eval_texts=read_labelled(caretaker).texts)


def test_a_class_of_one_text_is_named(guide, tmp_path):
    (tmp_path / "t.csv").write_text("text,label\nwarm,a\nhot,a\ncold,b\n")
    with pytest.raises(DataError, match=r"(?s)of one text.*- b.*drop_singletons"):
        convert([str(tmp_path / "t.csv")], guide)
