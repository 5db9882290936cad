"""Lists of sources: presets, unknown names, all of them read, and what kind each one is."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from gisttools.common.errors import DataError, MissingError
from gisttools.data import sources
from gisttools.data.hub import HubSet
from gisttools.data.labelled import ReadOptions
from gisttools.data.sources import PRESETS, expand_sources, kind_of, read_sources
from gisttools.data.triplets import make_triplets, write_triplets

PRESET = "mteb_eng_v1_classification"


def test_the_preset_is_the_benchmarks_english_classification_without_amazon_polarity():
    import mteb

    tasks = mteb.get_benchmark("MTEB(eng, v1)").tasks
    wanted = {t.metadata.name for t in tasks if t.metadata.type == "Classification"} - {"AmazonPolarityClassification"}
    assert set(PRESETS[PRESET]) == wanted
    assert len(PRESETS[PRESET]) == 11


def test_a_preset_stands_for_its_tasks_in_its_place_and_each_source_comes_once(tmp_path):
    names = ["my.csv", PRESET, "Banking77Classification", tmp_path, "org/set#de@v1:dev", "STSBenchmark#x"]
    assert expand_sources(names) == ["my.csv", *PRESETS[PRESET], str(tmp_path), "org/set#de@v1:dev", "STSBenchmark#x"]


def test_all_unknown_names_are_told_with_the_nearest():
    with pytest.raises(MissingError) as caught:
        expand_sources(["mteb_eng_v1_clasification", "Bankin77Classification#en", "a.csv", "EmotionClassification"])
    said = str(caught.value)
    assert "2 source(s) are no preset" in said
    assert f"'mteb_eng_v1_clasification'. Did you mean '{PRESET}'" in said
    assert "'Bankin77Classification#en'. Did you mean 'Banking77Classification'" in said


def test_files_and_folders_are_read_with_the_same_options(tmp_path):
    (tmp_path / "f").mkdir()
    for name in ("a.csv", "f/test.csv"):
        (tmp_path / name).write_text("body,kind\nx,1\ny,2\n,1\n")
    options = ReadOptions(split="test", text_column="body", label_column="kind", drop_empty=True, subset=["de", "en"])
    read = read_sources([tmp_path / "a.csv", tmp_path / "f"], options)
    assert [(r.texts, r.labels, r.dropped) for r in read] == [(["x", "y"], ["1", "2"], {"empty text": 1})] * 2


def test_a_configuration_goes_into_a_hub_sets_name(monkeypatch):
    read = []
    monkeypatch.setattr(sources, "read_labelled", lambda name, options: read.append((name, options.subset)))
    read_sources(["org/a@v1:dev", "org/b#fr"], ReadOptions(subset=["de", "en"]))
    assert read == [("org/a#de@v1:dev", None), ("org/a#en@v1:dev", None), ("org/b#fr", None)]


LABELLED = {"text": ["a", "b"], "label": ["x", "y"]}
TRIPLETS = {"query": ["a"], "pos": [["p"]], "neg": [["n"]]}


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (["text", "label"], "labelled"),
        (["id", "utterance", "intent"], "labelled"),
        (["query", "label"], "labelled"),
        (["anchor", "positive"], "triplets"),
        (["query", "pos", "neg"], "triplets"),
        (["Query_id", "Query", "positive_passages"], "triplets"),
        (["sentence1", "sentence2", "score"], "triplets"),
        (["anchor", "positive", "text", "label"], "triplets"),
    ],
)
def test_columns_tell_the_kind(columns, kind):
    assert kind_of(pd.DataFrame(columns=columns)) == kind


def test_told_columns_make_a_source_labelled():
    frame = pd.DataFrame(columns=["question", "answer", "topic"])
    assert kind_of(frame) == "triplets"
    assert kind_of(frame, ReadOptions(text_column="question", label_column="topic")) == "labelled"


def test_columns_of_neither_kind_are_listed():
    with pytest.raises(DataError, match=r"DataFrame holds neither .* Columns found: body, topic\. .*Set text_column"):
        kind_of(pd.DataFrame(columns=["body", "topic"]))


@pytest.mark.parametrize(("rows", "kind"), [(LABELLED, "labelled"), (TRIPLETS, "triplets")])
def test_files_and_folders_tell_their_kind(tmp_path, rows, kind):
    lines = [json.dumps(dict(zip(rows, values, strict=True))) for values in zip(*rows.values(), strict=True)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    assert kind_of(tmp_path / "train.jsonl") == kind_of(tmp_path) == kind
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "part-0.jsonl").write_text("\n".join(lines))
    assert kind_of(tmp_path / "set") == kind


def test_a_folder_with_a_triplet_table_is_triplets(tmp_path):
    write_triplets(make_triplets([{"anchor": "a", "positive": "p"}]), tmp_path)
    assert kind_of(tmp_path) == "triplets"


def test_tasks_and_presets_are_labelled_and_unknown_names_are_told():
    assert (
        kind_of("Banking77Classification") == kind_of("MassiveIntentClassification#de") == kind_of(PRESET) == "labelled"
    )
    with pytest.raises(MissingError, match="no MTEB task 'Bankin77'"):
        kind_of("Bankin77")
    with pytest.raises(MissingError, match=r"There is no file none\.csv"):
        kind_of("none.csv")


def test_a_hub_set_tells_its_kind_by_its_first_row(tmp_path, monkeypatch):
    (tmp_path / "x.jsonl").write_text('{"sentence1": "a", "sentence2": "b", "score": 1}\n')
    found = HubSet(path=str(tmp_path / "x.jsonl"), is_local=True)
    monkeypatch.setattr(sources, "find_set", lambda name: found)
    assert kind_of("org/pairs@v1") == "triplets"
