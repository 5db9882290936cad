"""What separates fields is found out where the ending's own does not split the header, and told; nothing is misread."""

from __future__ import annotations

import csv
import gzip
import io

import pytest

from gisttools.common.errors import DataError
from gisttools.data.files import column_names, read_rows
from gisttools.data.labelled import read_labelled
from gisttools.data.triplet_sets import triplet_tables

ROWS = [["text", "label"], ["Hello, you; there|now", "x"], ['a "quoted" one\nof two lines', "y"], ["plain", "x"]]
MARKS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def written(mark: str, rows: list[list[str]] = ROWS, end: str = "\n", encoding: str = "utf-8") -> bytes:
    sink = io.StringIO(newline="")
    csv.writer(sink, delimiter=mark, lineterminator=end).writerows(rows)
    return sink.getvalue().encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz"])
def test_every_separator_is_read_and_another_than_the_ending_s_is_told(tmp_path, caplog, mark, ending, end, encoding):
    path = tmp_path / f"t{ending}"
    content = written(mark, end=end, encoding=encoding)
    path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    read = read_labelled(path)
    assert [list(pair) for pair in zip(read.texts, read.labels, strict=True)] == ROWS[1:]
    usual = {".tsv": "\t"}.get(ending, ",")
    assert (f"read as separated by {MARKS[mark]}" in caplog.text) == (mark != usual)


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_triplets_and_bare_rows_are_found_alike(tmp_path, monkeypatch, mark):
    monkeypatch.setenv("GISTTOOLS_CACHE", str(tmp_path / "cache"))
    rows = [
        ["query", "pos", "neg"],
        ["where, exactly", "here", "there; no"],
        ["a b", "c d", "e f"],
        ["g h", "i j", "k l"],
    ]
    path = tmp_path / "t.csv"
    path.write_bytes(written(mark, rows))
    (table,) = triplet_tables([path]).values()
    assert table["negatives"][:] == [["there; no"], ["e f"], ["k l"]]


@pytest.mark.parametrize(
    ("text", "columns", "first"),
    [
        ("text,label\na;b;c,x\nd;e;f,y\n", ["text", "label"], "a;b;c"),  # semicolons of texts
        ('text,label\n"a,b",x\n', ["text", "label"], "a,b"),
        ("text\na;b\nc;d\n", ["text"], "a;b"),  # one column
        ("text\na\tb\n", ["text"], "a\tb"),
        ("text;label\na, b;x\nc, d, e;y\n", ["text", "label"], "a, b"),  # commas of texts
        ('"text";"label"\n"a;b";"x"\n', ["text", "label"], "a;b"),
        ("text;label\n", ["text", "label"], None),
        ("sep=;\ntext;label\na,b;x\n", ["text", "label"], "a,b"),  # Excel's line
        ("sep=,\r\ntext,label\r\na;b,x\r\n", ["text", "label"], "a;b"),
        ('text;label\r"a";x\r', ["text", "label"], "a"),
    ],
)
def test_nothing_is_misread(tmp_path, text, columns, first):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    assert column_names(path) == columns
    rows = list(read_rows(path))
    assert (rows[0]["text"] if rows else None) == first


def test_a_row_that_does_not_fit_is_told_by_line_whatever_separates(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text;label\na;x\nb;y\nc;d;x\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"t\.csv cannot be read as csv[\s\S]*more or fewer fields"):
        read_labelled(path)


def test_a_long_file_is_looked_at_in_its_beginning_alone(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(
        written(";", [["text", "label"], *([f"text, {i} {'x' * 50}", "xy"[i % 2]] for i in range(20_000))])
    )
    assert len(read_labelled(path)) == 20_000
