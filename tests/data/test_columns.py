"""Names of columns: known alike by every reader; what is not needed is left out and said once; docs list the known."""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from helpers import ROOT

from gisttools.common.errors import DataError
from gisttools.data.columns import (
    ANCHOR_COLUMNS,
    LABEL_COLUMNS,
    PAIRS,
    POSITIVE_COLUMNS,
    TEXT_COLUMNS,
    negative_columns,
)
from gisttools.data.folder_rows import read_candidates, read_pairs
from gisttools.data.folders import eval_folder
from gisttools.data.labelled import read_labelled
from gisttools.data.sources import kind_of
from gisttools.data.triplet_sets import triplet_tables

ENDINGS = [".csv", ".tsv", ".jsonl", ".json", ".parquet", ".csv.gz", ".jsonl.zst", ".json.gz"]
ROWS = [[f"first text {i}", f"second text {i}", f"third text {i}", f"fourth text {i}"] for i in range(3)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path_factory.mktemp("cache")))


def written(rows: list[dict], path: Path) -> Path:
    kind = path.suffixes[0]
    if kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if kind in (".csv", ".tsv"):
        sink = io.StringIO(newline="")
        writer = csv.DictWriter(sink, list(rows[0]), delimiter="\t" if kind == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
        text = sink.getvalue()
    else:
        text = "\n".join(map(json.dumps, rows)) if kind == ".jsonl" else json.dumps(rows)
    content = text.encode()
    content = gzip.compress(content) if path.suffix == ".gz" else content
    path.write_bytes(pa.compress(content, "zstd", asbytes=True) if path.suffix == ".zst" else content)
    return path


def table_of(path: Path):
    (table,) = triplet_tables([path]).values()
    return table


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "names",
    [
        ("anchor", "positive", "negative_1", "negative_2"),
        ("anchor", "positive", "neg_1", "neg_2"),
        ("anchor", "positive", "hard_negative", "hard_negative_2"),
        ("Anchor", "Positive", "Negative", "Negative_2"),
        ("query", "pos", "neg", "neg_2"),
        ("query", "positive", "negative-1", "negative 2"),
        ("question", "answer", "negative_1", "negative_2"),
        ("sentence1", "sentence2", "hard_neg_1", "hard_neg_2"),
        ("title", "body", "neg1", "neg2"),
    ],
    ids="-".join,
)
def test_every_column_of_negatives_counts_in_order_in_every_format(tmp_path, ending, names):
    path = written([dict(zip(names, row, strict=True)) for row in ROWS], tmp_path / f"t{ending}")
    assert kind_of(path) == "triplets"
    table = table_of(path)
    assert [*map(list, zip(table["anchor"][:], table["positive"][:], strict=True))] == [row[:2] for row in ROWS]
    assert table["negatives"][:] == [row[2:] for row in ROWS]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("names", [("anchor", "positive", "negative"), ("query", "pos", "neg")], ids="-".join)
def test_other_columns_of_triplets_are_left_out_and_named_once(tmp_path, ending, names, caplog):
    rows = [
        {"Unnamed: 0": i, **dict(zip(names, row, strict=False)), "score": i, "who": "me"} for i, row in enumerate(ROWS)
    ]
    table = table_of(written(rows, tmp_path / f"t{ending}"))
    assert table["negatives"][:] == [[row[2]] for row in ROWS]
    told = [r.message for r in caplog.records if "left out" in r.message]
    assert len(told) == 1
    assert all(f"'{name}'" in told[0] for name in ("Unnamed: 0", "score", "who"))


@pytest.mark.parametrize("ending", ENDINGS)
def test_other_columns_of_labelled_texts_are_named_once(tmp_path, ending, caplog):
    rows = [{"Unnamed: 0": i, "id": i, "Text": row[0], "Label": "xy"[i % 2], "score": 1} for i, row in enumerate(ROWS)]
    assert read_labelled(written(rows, tmp_path / f"t{ending}")).labels == ["x", "y", "x"]
    told = [r.message for r in caplog.records if "left out" in r.message]
    assert len(told) == 1
    assert "'Unnamed: 0', 'score'" in told[0]


@pytest.mark.parametrize("ending", ENDINGS)
def test_other_columns_of_evaluation_folders_are_named(tmp_path, ending, caplog):
    rows = [{"Sentence1": a, "Sentence2": b, "Score": i, "genre": "news"} for i, (a, b, *_) in enumerate(ROWS)]
    written(rows, tmp_path / f"test{ending}")
    assert read_pairs(eval_folder(tmp_path)).first == [row[0] for row in ROWS]
    assert any("left out: 'genre'" in r.message for r in caplog.records)


def test_triplets_to_rank_may_be_called_as_triplets_to_learn_from(tmp_path):
    written([{"anchor": a, "pos": [b], "hard_negatives": [c]} for a, b, c, _ in ROWS], tmp_path / "test.jsonl")
    assert len(read_candidates(eval_folder(tmp_path)).queries) == 3


@pytest.mark.parametrize("name", ["negativ", "negitive", "anchor_lable", "positve_label", "negative_lables"])
def test_a_column_that_is_misspelt_is_refused_instead_of_left_out(tmp_path, name):
    path = written([{"anchor": "a text", "positive": "b text", name: "n"}], tmp_path / "t.jsonl")
    with pytest.raises(DataError, match=f"unknown columns: {name}"):
        table_of(path)


def test_lists_and_single_negatives_come_together(tmp_path):
    path = written([{"anchor": "a b", "positive": "c d", "negatives": ["e"], "negative_1": "f", "negative_2": None}],
                   tmp_path / "t.jsonl")  # fmt: skip
    assert table_of(path)["negatives"][:] == [["e", "f"]]


def test_negatives_are_ordered_by_number():
    assert negative_columns(["negative_10", "x", "negative_2", "neg"]) == ["neg", "negative_2", "negative_10"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_with_a_threshold_a_score_next_to_anchor_and_positive_counts(tmp_path, ending):
    rows = [{"anchor": a, "positive": b, "score": i / 2} for i, (a, b, *_) in enumerate(ROWS)]
    (table,) = triplet_tables([written(rows, tmp_path / f"t{ending}")], threshold=0.5).values()
    assert table["anchor"][:] == [ROWS[1][0], ROWS[2][0]]


def test_parts_of_labelled_texts_are_no_pairs(tmp_path):
    path = written([{"title": "a", "body": "b", "label": "x"}], tmp_path / "t.jsonl")
    with pytest.raises(DataError, match="neither labelled texts nor triplets"):
        kind_of(path)


def test_the_documentation_lists_every_known_name():
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    names = [*TEXT_COLUMNS, *LABEL_COLUMNS, *ANCHOR_COLUMNS, *POSITIVE_COLUMNS]
    assert [name for name in names if f"`{name}`" not in text] == []
    assert [pair for pair in PAIRS if f"`{pair[0]}/{pair[1]}`" not in text] == []


@pytest.mark.parametrize("place", ["anchor", "positive", "negative"])
@pytest.mark.parametrize("cell", [{"x": 1}, 7, True, [1], [{"x": 1}], [["a", 1, 2]]], ids=str)
@pytest.mark.parametrize("names", [("anchor", "positive", "negative"), ("query", "pos", "neg")], ids="-".join)
def test_what_is_no_text_is_refused_by_file_and_column_and_never_taken_for_empty(tmp_path, place, cell, names):
    by_role = dict(zip(("anchor", "positive", "negative"), names, strict=True))
    rows = [dict(zip(names, row, strict=False)) | {by_role[place]: cell} for row in ROWS]
    with pytest.raises(DataError, match=rf"t\.jsonl[\s\S]*{by_role[place] if place != 'negative' else 'neg'}"):
        table_of(written(rows, tmp_path / "t.jsonl"))


def test_a_data_set_of_the_library_says_what_it_leaves_out_too(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    Dataset.from_list([{"text": a, "label": "xy"[i % 2], "n": i} for i, (a, *_) in enumerate(ROWS)]).save_to_disk(
        tmp_path / "d"
    )
    read_labelled(tmp_path / "d")
    assert any("left out: 'n'" in r.message for r in caplog.records)
