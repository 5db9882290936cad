"""Converting: every text is accounted for, evaluation texts stay out, and what was made is told."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from helpers import files_under

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.data.labelled import ReadOptions, read_labelled
from gisttools.data.overlap import Tiers, table_texts
from gisttools.data.triplets import read_triplets
from gisttools.mining.converting import convert
from gisttools.mining.options import MiningOptions


def test_every_text_becomes_an_anchor_once(caretaker, guide):
    converted = convert([str(caretaker)], guide)
    assert sorted(converted.triplets["anchor"]) == sorted(read_labelled(caretaker).texts)
    (source,) = converted.summary["sources"]
    assert (source["texts"], source["classes"], source["triplets"], source["dropped"]) == (48, 4, 48, {})
    assert converted.summary["guide_id"] == guide.guide_id
    assert converted.summary["live_share"] == pytest.approx(sum(converted.triplets["live"]) / 48)
    assert converted.headline().startswith("48 triplets of 48 texts in 4 classes")


def test_rows_that_overlap_an_evaluation_set_are_left_out_and_listed(caretaker, guide):
    texts = read_labelled(caretaker).texts
    converted = convert([str(caretaker)], guide, eval_sets={"exam": [texts[0].upper(), texts[20] + "!"]})
    assert not {texts[0], texts[20]} & set(table_texts(converted.triplets))
    (source,) = converted.summary["sources"]
    assert source["dropped"] == {"overlaps an evaluation set": 48 - len(converted.triplets)}
    found = converted.overlap.drop_duplicates("text").set_index("text")
    assert found["tier"].to_dict() == {texts[0]: "exact", texts[20]: "near"}
    assert set(found["eval_set"]) == {"exam"}
    assert set(found["source"]) == {str(caretaker)}


def test_the_tiers_that_are_asked_for_decide(caretaker, guide):
    near = [read_labelled(caretaker).texts[20] + "!"]
    assert len(convert([str(caretaker)], guide, eval_sets={"exam": near}, tiers=Tiers(near=None)).triplets) == 48


def test_triplets_are_mined_inside_each_source(caretaker, guide, tmp_path):
    rows = [{"text": f"{label} {i}", "label": label} for label in ("red", "blue") for i in range(3)]
    (tmp_path / "colours.jsonl").write_text("\n".join(map(json.dumps, rows)))
    converted = convert([str(caretaker), str(tmp_path / "colours.jsonl")], guide)
    assert [s["triplets"] for s in converted.summary["sources"]] == [48, 6]
    for row in converted.triplets.to_list()[48:]:
        assert {row["anchor_label"], row["positive_label"], *row["negative_labels"]} <= {"red", "blue"}
        assert row["task_name"].endswith("colours.jsonl")


def test_triplets_and_scored_pairs_are_taken_over_and_scored_by_the_guide(caretaker, guide, tmp_path):
    (tmp_path / "bge.jsonl").write_text(json.dumps({"query": "q", "pos": ["p", "r"], "neg": ["n"]}))
    pairs = pd.DataFrame({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": [4.5, 1.0]})
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    names = [str(tmp_path / "bge.jsonl"), str(caretaker), str(tmp_path / "pairs.csv")]
    converted = convert(names, guide, threshold=4.0)
    rows = {(r["anchor"], r["positive"]): r for r in converted.triplets.to_list()}
    assert {("q", "p"), ("q", "r"), ("a", "c")} <= set(rows)
    assert ("b", "d") not in rows
    assert rows["q", "p"]["guide_ap"] == pytest.approx(float(guide.embed(["q"])[0] @ guide.embed(["p"])[0]), abs=1e-5)
    assert [d.source for d in converted.data] == [str(caretaker)]


def test_options_of_reading_and_mining_are_passed_on(guide, tmp_path):
    (tmp_path / "t.csv").write_text("body,kind\nwarm,a\nhot,a\ncold,b\nfrosty,b\nlonely,c\n")
    reading = ReadOptions(text_column="body", label_column="kind")
    mining = MiningOptions(negatives=2, strategy="hard", margin=2.0, drop_singletons=True)
    converted = convert([str(tmp_path / "t.csv")], guide, reading=reading, mining=mining)
    assert converted.summary["strategy"] == "hard"
    assert converted.summary["sources"][0]["dropped"]["class of one text"] == 1
    assert {len(ns) for ns in converted.triplets["negatives"]} == {2}


def test_what_is_saved_can_be_read_again(caretaker, guide, tmp_path):
    (tmp_path / "one.csv").write_text("anchor,positive\na cat,a tomcat\n")
    converted = convert([str(caretaker), str(tmp_path / "one.csv")], guide)
    out = tmp_path / "out"
    converted.save(out)
    assert files_under(out) == [
        "data_card.json", "data_card.md", "overlap.parquet", "tables", "tables/01-caretaker.parquet",
        "tables/02-one.csv.parquet", "triplets.parquet",
    ]  # fmt: skip
    assert read_triplets(out).to_list() == converted.triplets.to_list()
    assert read_triplets(out / "tables" / "02-one.csv.parquet")["anchor"][:] == ["a cat"]
    facts = json.loads((out / "data_card.json").read_text(encoding="utf-8"))
    assert facts["triplets"] == 49
    assert "caretaker" in (out / "data_card.md").read_text(encoding="utf-8")


def test_labels_that_look_wrong_are_told_and_left_as_they_are(guide, tmp_path):
    rows = ["warm,a", "hot,a", "warm,b", "frosty,b", "icy,b"]
    (tmp_path / "t.csv").write_text("text,label\n" + "\n".join(rows))
    converted = convert([str(tmp_path / "t.csv")], guide)
    (noise,) = converted.noise.values()
    assert set(noise.conflicts["label"]) == {"a", "b"}
    assert len(converted.data[0]) == 5
    (counts,) = converted.summary["label_noise"].values()
    assert counts["texts under several labels"] == 1


def test_a_later_source_that_is_missing_is_found_before_any_work(caretaker, guide, monkeypatch):
    monkeypatch.setattr(guide, "embed", lambda texts: pytest.fail("embedded before all sources were read"))
    with pytest.raises(MissingError, match=r"nowhere\.csv"):
        convert([str(caretaker), "nowhere.csv"], guide)


def test_no_source_is_refused(guide):
    with pytest.raises(ParameterError, match="no sources"):
        convert([], guide)


def test_no_triplet_left_is_refused_with_the_reasons(caretaker, guide):
    with pytest.raises(DataError, match=r"No triplet is left of .*dropped: .*'overlaps an evaluation set': 48"):
        convert([str(caretaker)], guide, eval_sets={"all": read_labelled(caretaker).texts})


def test_a_class_of_one_text_is_named(guide, tmp_path):
    (tmp_path / "t.csv").write_text("text,label\nwarm,a\nhot,a\ncold,b\n")
    with pytest.raises(DataError, match=r"(?s)of one text.*- b.*drop_singletons"):
        convert([str(tmp_path / "t.csv")], guide)
