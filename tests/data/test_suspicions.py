"""Columns that cannot be meant: ids in place of texts, lists in place of labels; noticed by every reader of files."""

from __future__ import annotations

import json
import uuid

import pandas as pd
import pytest

from gisttools.common.errors import DataError
from gisttools.data.labelled import read_labelled
from gisttools.data.options import ReadOptions
from gisttools.data.suspicions import ids_in, is_written_list
from gisttools.data.triplet_sets import triplet_tables

IDS = {
    "numbers": ["12", "7", "1048", "-3"],
    "ids such as q7 or doc_12": ["q0", "d17", "doc_12", "MED-10"],
    "UUIDs": [str(uuid.UUID(int=i * 7919**5)) for i in range(1, 5)],
    "hashes": [f"{i * 7919**9:032x}" for i in range(1, 5)],
    "addresses": ["https://a.org/x?y=1", "http://b.org", "www.c.org/d", "s3://bucket/key"],
    "paths of files": ["/data/a.txt", "texts/b.txt", "c.json", "C:\\texts\\d.txt"],
}
TEXTS = [
    ["Hello", "yes", "No.", "thanks"],
    ["where is my card", "I paid twice", "card not working", "12 days"],
    ["q0", "d17", "MED-10", "a real text"],
    ["你好", "再见", "谢谢", "早上好"],
    ["abc", "def", "ghi", "iphone"],
    ["q1", "q2"],  # too few to tell
    ["3 apples", "12:30 tomorrow", "50% off", "$5"],
]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("kind", IDS)
def test_ids_are_known_by_their_form(kind):
    assert ids_in(IDS[kind]) == kind
    assert ids_in([text for texts in IDS.values() for text in texts]) is not None


@pytest.mark.parametrize("texts", TEXTS, ids=lambda texts: texts[0])
def test_texts_are_no_ids(texts):
    assert ids_in(texts) is None


def test_looking_is_quick_whatever_stands_there():
    assert ids_in(["a/" * 140 + "!", "." * 290, "0" * 290 + "!"]) is None


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
@pytest.mark.parametrize("names", [("anchor", "positive", "negative"), ("query", "pos", "neg")], ids="-".join)
@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_a_file_of_ids_is_refused_as_triplets(tmp_path, names, ids, ending):
    frame = pd.DataFrame(dict.fromkeys(names, ids))
    path = tmp_path / f"t{ending}"
    frame.to_csv(path, index=False) if ending == ".csv" else frame.astype(str).to_json(
        path, orient="records", lines=True
    )
    with pytest.raises(DataError, match=r"t\.\w+ holds .* in place of texts, such as"):
        triplet_tables([path])


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_ids_are_refused_as_labelled_texts_unless_their_column_is_named(tmp_path, ids, caplog):
    pd.DataFrame({"text": ids, "label": list("xyxy")}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"'text' holds .* in place of texts, .*say text_column: text"):
        read_labelled(tmp_path / "t.csv")
    assert read_labelled(tmp_path / "t.csv", ReadOptions(text_column="text")).texts == ids
    assert "in place of texts" in caplog.text


@pytest.mark.parametrize(
    "label",
    ["['a', 'b']", '["a", "b"]', "['a']", "['a' 'b']", "('a', 'b')", "{'a', 'b'}", '{"a": 1}', "[a, b]", "[1, 2]"],
)  # fmt: skip
@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_lists_written_as_text_are_no_labels(tmp_path, label, ending):
    rows = [{"text": "a b", "label": label}, {"text": "c d", "label": "x"}, {"text": "e f", "label": label}]
    path = tmp_path / f"t{ending}"
    if ending == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError, match=r"lists written as (text|JSON), such as .* in 2 row\(s\) \(0, 2\)"):
        read_labelled(path)


@pytest.mark.parametrize("label", ["a", "[x]", "(1)", "a, b", "[beta] test", "{}x", "refund (card)", "3", ""])
def test_other_labels_are_no_lists(label):
    assert not is_written_list(label)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["nan", "x", "y", "x"], "may stand for none"),
        (["1", "1.0", "2", "2"], "are nearly those of others"),
        (["Dog", "dog", "cat", "cat"], "labels that read alike count as different ones: 'Dog' and 'dog'"),
        (["DOG", "Dog", "cat", "cat"], "'DOG' and 'Dog'"),
        (["caf\u00e9", "cafe\u0301", "tea", "tea"], r"'caf\xe9' and 'cafe\u0301'"),
        (["a b", "a\u00a0b", "tea", "tea"], r"'a b' and 'a\xa0b'"),
        (["ab", "a\u200bb", "tea", "tea"], r"'ab' and 'a\u200bb'"),
        (["a;b", "b;c", "a", "c"], "several joined by ';'"),
        (["a|b", "b|c", "a|c", "c"], r"several joined by '|'"),
    ],
)
def test_labels_that_may_be_meant_otherwise_are_told(labels, told, caplog):
    frame = pd.DataFrame({"text": ["one text", "two texts", "three texts", "four texts"], "label": labels})
    assert read_labelled(frame).labels == labels
    assert told in caplog.text


def test_as_many_labels_as_rows_are_told(caplog):
    frame = pd.DataFrame({"text": [f"text no. {i}" for i in range(30)], "label": [f"label no. {i}" for i in range(30)]})
    read_labelled(frame)
    assert "30 different labels in 30 rows" in caplog.text


def test_usual_labels_are_not_talked_about(caplog):
    labels = ["card_lost", "Refund, please", "a / b", "top-up", "card_lost", "Refund, please", "a / b", "top-up"]
    read_labelled(pd.DataFrame({"text": [f"text no. {i}" for i in range(8)], "label": labels}))
    assert not caplog.records


@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_a_key_that_stands_twice_in_a_row_is_refused_by_row(tmp_path, form):
    rows = '{"text": "a b", "label": "x"}', '{"text": "c d", "text": "e f", "label": "y"}'
    path = tmp_path / f"t.{form}"
    path.write_text("\n".join(rows) if form == "jsonl" else f"[{', '.join(rows)}]", encoding="utf-8")
    with pytest.raises(DataError, match=r"t\.json[\s\S]*(line 2|row 1).*'text' stands more than once"):
        read_labelled(path)
