"""The triplet table: round trips, ids, refusals that list everything, files that appear whole or not at all."""

from __future__ import annotations

import json
import math

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import files_under
from hypothesis import given, strategies as st

from gisttools.common.errors import DataError, MissingError
from gisttools.data.characters import is_blank
from gisttools.data.triplets import (
    COLUMNS,
    fingerprint,
    make_triplets,
    make_triplets_from_columns,
    read_triplets,
    triplet_id,
    write_triplets,
)

ROW = {
    "anchor": 'Where is my "blue" coat,\nplease?',
    "positive": "Has the parcel left? 🙂",
    "negatives": ["Card refused, why?", "zwei\u2028Zeilen\x85hier"],
    "anchor_label": "order_status",
    "negative_labels": ["payment_declined", None],
    "tokens_in": 12,
    "cost_usd": 0.25,
    "guide_an": [0.5, 0.25],
    "live": False,
    "source": "llm",
}
PLAIN = {"anchor": "a", "positive": "b"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: not is_blank(text))


def test_a_table_has_exactly_the_columns_of_the_schema():
    assert make_triplets([PLAIN]).column_names == COLUMNS.names


def test_parquet_gives_back_the_table(tmp_path):
    table = make_triplets([ROW, PLAIN])
    assert read_triplets(write_triplets(table, tmp_path / "t.parquet")).to_dict() == table.to_dict()


def test_a_folder_is_written_and_read_like_its_file(tmp_path):
    table = make_triplets([ROW])
    assert write_triplets(table, tmp_path / "run").name == "triplets.parquet"
    assert read_triplets(tmp_path / "run").to_dict() == table.to_dict()


def test_jsonl_gives_back_the_table_also_with_unicode_line_ends_in_texts(tmp_path):
    table = make_triplets([ROW, PLAIN])
    lines = [json.dumps(row, ensure_ascii=False) for row in table.to_list()]
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    assert read_triplets(tmp_path / "t.jsonl").to_dict() == table.to_dict()


@pytest.mark.parametrize(("ending", "separator"), [("csv", ","), ("tsv", "\t")])
def test_csv_gives_back_the_table_with_lists_as_json(tmp_path, ending, separator):
    table = make_triplets([ROW, PLAIN])
    frame = pd.DataFrame(table.to_list())
    for column in ("negatives", "negative_labels", "guide_an"):
        frame[column] = [None if v is None else json.dumps(v) for v in table[column]]
    frame.to_csv(tmp_path / f"t.{ending}", sep=separator, index=False, encoding="utf-8-sig")
    assert read_triplets(tmp_path / f"t.{ending}").to_dict() == table.to_dict()


def test_a_csv_column_negative_holds_one_text_or_none(tmp_path):
    (tmp_path / "t.csv").write_text("anchor,positive,negative\na,b,\nc,d,e\n", encoding="utf-8")
    assert read_triplets(tmp_path / "t.csv")["negatives"][:] == [[], ["e"]]


def test_a_data_frame_gives_back_the_table():
    table = make_triplets([ROW, PLAIN])
    assert make_triplets(table.to_pandas()).to_dict() == table.to_dict()


@given(st.lists(st.fixed_dictionaries({"anchor": TEXT, "positive": TEXT, "negatives": st.lists(TEXT)}), min_size=1))
def test_any_texts_survive_the_table(rows):
    table = make_triplets(rows)
    assert [{k: r[k] for k in rows[0]} for r in table.to_list()] == rows


def test_several_files_are_one_table(tmp_path):
    for name in ("a", "b"):
        write_triplets([{"anchor": name, "positive": "p"}], tmp_path / f"{name}.parquet")
    assert read_triplets(tmp_path / "a.parquet", tmp_path / "b.parquet")["anchor"][:] == ["a", "b"]


def test_ids_depend_on_texts_only():
    ids = make_triplets([ROW, {**ROW, "anchor_label": "x", "id": "mine", "tokens_in": 1}])["id"][:]
    assert ids[0] == ids[1] == triplet_id(ROW["anchor"], ROW["positive"], ROW["negatives"])


@pytest.mark.parametrize("change", [{"anchor": "other"}, {"positive": "other"}, {"negatives": ["other"]}])
def test_ids_depend_on_every_text(change):
    ids = make_triplets([ROW, {**ROW, **change}])["id"][:]
    assert ids[0] != ids[1]


def test_the_fingerprint_sees_labels_and_order_but_not_origin():
    other = {**PLAIN, "anchor": "c"}
    base = fingerprint(make_triplets([PLAIN, other]))
    assert fingerprint(make_triplets([{**PLAIN, "source": "hub"}, other])) == base
    assert fingerprint(make_triplets([other, PLAIN])) != base
    assert fingerprint(make_triplets([{**PLAIN, "anchor_label": "x"}, other])) != base


def test_all_problems_come_in_one_message():
    rows = [{"anchor": " ", "negatives": ["n", ""], "colour": 1}, {"anchor": "a", "negatives": "n"}]
    with pytest.raises(DataError) as caught:
        make_triplets(rows)
    message = str(caught.value)
    for part in (
        "column 'positive' is missing",
        "unknown columns: colour",
        "anchor is empty or no text in row(s) 0",
        "a negative is empty or no text in row(s) 0",
        "negatives is no list of texts in row(s) 1",
        "Correct or drop the rows",
    ):
        assert part in message


def test_values_of_the_wrong_type_are_named_by_column_all_at_once():
    with pytest.raises(DataError, match="many") as caught:
        make_triplets([{**PLAIN, "tokens_in": "many", "live": "perhaps"}])
    assert "'tokens_in' must hold int64" in str(caught.value)
    assert "'live' must hold bool" in str(caught.value)


def test_text_that_no_file_can_hold_is_refused():
    with pytest.raises(DataError, match="column 'anchor'"):
        make_triplets([{**PLAIN, "anchor": "half a pair \ud800"}])


def test_many_bad_rows_are_counted_not_listed():
    with pytest.raises(DataError, match=r"row\(s\) 0, 1, 2, 3, 4 and 15 more"):
        make_triplets([{"anchor": "", "positive": "p"}] * 20)


def test_missing_values_of_a_data_frame_are_nulls():
    frame = pd.DataFrame([{**PLAIN, "source": "hub", "cost_usd": 1.0}, {**PLAIN, "source": None, "cost_usd": math.nan}])
    table = make_triplets(frame)
    assert table["source"][:] == ["hub", None]
    assert table["cost_usd"][:] == [1.0, None]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"No triplet table at .*nowhere\.parquet"):
        read_triplets(tmp_path / "nowhere.parquet")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("t.jsonl", '{"anchor": "a"', "cannot be read as jsonl"),
        ("t.jsonl", "[1, 2]\n", "is no object but a int"),
        ("t.parquet", "no parquet", "cannot be read as parquet"),
        ("t.csv", "anchor,positive\none, two,three\n", "more or fewer fields than the header"),
        ("t.csv", "anchor\na\n", "column 'positive' is missing"),
        ("t.csv", "anchor,positive,negatives\na,b,['x' 'y']\n", "negatives is no list of texts"),
        ("t.docx", "", "unknown ending '.docx'"),
    ],
)
def test_a_file_that_is_no_triplet_table_is_refused_by_name(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_triplets(tmp_path / name)
    assert expected in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_writing_refuses_other_endings_and_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="written as Parquet"):
        write_triplets([PLAIN], tmp_path / "t.jsonl")
    assert files_under(tmp_path) == []


def test_a_write_that_dies_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_triplets([PLAIN], tmp_path / "out" / "t.parquet")
    before = path.read_bytes()

    def disk_full(table, where, **_):
        where.write_bytes(b"PAR1 half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_triplets([ROW], path)
    assert path.read_bytes() == before
    assert files_under(tmp_path / "out") == ["t.parquet"]


def test_a_table_of_columns_is_the_table_of_the_same_rows():
    rows = [
        {"anchor": "a", "positive": "b", "negatives": ["c", "d"], "task_name": "t"},
        {"anchor": "e", "positive": "f", "negatives": [], "task_name": "t"},
    ]
    columns = {name: pa.array([r[name] for r in rows]) for name in ("anchor", "positive", "negatives")}
    assert make_triplets_from_columns({**columns, "task_name": "t"}, 2).to_list() == make_triplets(rows).to_list()


def test_a_table_of_columns_is_checked_like_rows_all_problems_at_once():
    columns = {"anchor": pa.array(["a", " "]), "negatives": pa.array([["x"], ["y", None]]), "colour": "red"}
    with pytest.raises(DataError) as caught:
        make_triplets_from_columns({**columns, "task_name": pa.array(["t"])}, 2)
    for part in ("'positive' is missing", "unknown columns: colour", "anchor is empty or no text in row(s) 1",
                 "a negative is empty or no text in row(s) 1", "'task_name' has 1 rows, not 2"):  # fmt: skip
        assert part in str(caught.value)
