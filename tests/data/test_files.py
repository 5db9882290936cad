"""Files of rows: what was written is what is read, for every kind of file; what is no such file is told as that."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tempfile
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.data import files
from gisttools.data.files import FILE_ENDINGS, column_names, file_kind, read_parts

NASTY = [
    "\n",
    "\r\n",
    "\r",
    '"',
    '""',
    ",",
    "\t",
    ";",
    "\\",
    "\u2028",
    "\x85",
    "\x00",
    "🙂",
    "שלום",
    "\ufeff",
    "NA",
    " ",
]
cells = st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=5)), max_size=6).map("".join)
tables = st.lists(st.tuples(cells, cells), min_size=1, max_size=12)


def content(rows: list[tuple[str, str]], kind: str, *, encoding: str = "utf-8", ascii_only: bool = False) -> bytes:
    """The rows as a program other than ours writes them, with a column that nobody asks for in the middle."""
    objects = [{"text": t, "other": 1, "label": x} for t, x in rows]
    if kind == ".parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(objects), sink)
        return sink.getvalue()
    if kind == ".xlsx":
        return workbook(rows)
    if kind == ".jsonl":
        text = "\n".join(json.dumps(o, ensure_ascii=ascii_only) for o in objects)
    elif kind == ".json":
        text = json.dumps(objects, ensure_ascii=ascii_only, indent=1)
    else:
        sink = io.StringIO(newline="")
        writer = csv.writer(sink, delimiter="\t" if kind == ".tsv" else ",", quoting=csv.QUOTE_ALL)
        writer.writerows([("text", "other", "label"), *((t, 1, x) for t, x in rows)])
        text = sink.getvalue()
    return text.encode(encoding)


NOT_IN_XML = re.compile(r"[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")


def workbook(rows: list[tuple[str, str]]) -> bytes:
    """As openpyxl writes it, every cell a string; without the characters that no workbook can hold."""
    openpyxl = pytest.importorskip("openpyxl")
    book, sink = openpyxl.Workbook(), io.BytesIO()
    for i, row in enumerate([("text", "other", "label"), *((t, "1", x) for t, x in rows)], 1):
        for j, value in enumerate(row, 1):
            cell = book.active.cell(i, j)
            cell.value = NOT_IN_XML.sub("", value)
            cell.data_type = "s"  # else = makes a formula of it
    book.save(sink)
    return sink.getvalue()


def packed(data: bytes, ending: str) -> bytes:
    if ending.endswith(".gz"):
        return gzip.compress(data, mtime=0)
    return pa.compress(data, codec="zstd", asbytes=True) if ending.endswith(".zst") else data


def read(path: Path, **told) -> list[tuple]:
    parts = read_parts(path, ["text", "label"], **told)
    return [row for part in parts for row in zip(part["text"], part["label"], strict=True)]


def as_cells(rows: list[tuple[str, str]], path: Path) -> list[tuple]:
    """The rows with None for an empty cell of CSV, quoted or not, which is a missing one; so in a workbook."""
    if file_kind(path) == ".xlsx":
        rows = [(NOT_IN_XML.sub("", t), NOT_IN_XML.sub("", x)) for t, x in rows]
        return [(t or None, x or None) for t, x in rows]
    return [(t or None, x or None) for t, x in rows] if file_kind(path) in (".csv", ".tsv") else rows


@pytest.mark.slow
@pytest.mark.parametrize("ending", FILE_ENDINGS)
@settings(max_examples=30)
@given(rows=tables)
def test_what_is_read_is_what_was_written(ending, rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows{ending}"
        path.write_bytes(packed(content(rows, file_kind(path)), ending))
        assert column_names(path) == ["text", "other", "label"]
        assert read(path) == as_cells(rows, path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl", ".json"])
@settings(max_examples=20)
@given(rows=tables)
def test_a_mark_in_front_tells_the_encoding(kind, encoding, rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows{kind}"
        path.write_bytes(content(rows, kind, encoding=encoding))
        assert read(path) == as_cells(rows, path)


@pytest.mark.parametrize("kind", [".jsonl", ".json", ".csv", ".parquet"])
def test_parts_join_to_the_whole_wherever_they_are_cut(tmp_path, monkeypatch, kind):
    rows = [(f"text {i} é🙂", f"label {i}") for i in range(57)]
    path = tmp_path / f"rows{kind}"
    path.write_bytes(content(rows, kind))
    monkeypatch.setattr(files, "_ROWS", 10)
    for block in (64, 100, 1 << 20):
        monkeypatch.setattr(files, "_BLOCK", block)
        assert read(path) == rows


@pytest.mark.parametrize("encoding", ["windows-1252", "latin-1", "shift_jis"])
def test_another_encoding_is_read_if_told(tmp_path, encoding):
    rows = [("日本" if encoding == "shift_jis" else "café", "a")]
    for kind in (".csv", ".jsonl"):
        (tmp_path / f"r{kind}").write_bytes(content(rows, kind, encoding=encoding))
        assert read(tmp_path / f"r{kind}", encoding=encoding) == rows


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".json"])
def test_bytes_that_are_no_utf8_are_named_by_line_with_the_mend(tmp_path, kind):
    path = tmp_path / f"r{kind}"
    head = content([("good", "é")], kind)
    path.write_bytes(head.rstrip(b"\n]") + b"\n" + "naïve".encode("latin-1"))
    line = path.read_bytes().count(b"\n") + 1
    with pytest.raises(DataError, match=rf"is not UTF-8: line {line} holds the byte 0xef after 2 bytes.*windows-1252"):
        read(path)


def test_a_told_encoding_that_does_not_fit_is_named(tmp_path):
    (tmp_path / "r.csv").write_bytes(b"text,label\nok,a\n\x81,b\n")
    with pytest.raises(DataError, match="is not CP1252: line 3 holds the byte 0x81"):
        read(tmp_path / "r.csv", encoding="windows-1252")


def test_an_unknown_encoding_has_a_suggestion(tmp_path):
    (tmp_path / "r.csv").write_bytes(b"text,label\n")
    with pytest.raises(ParameterError, match=r"encoding is 'windows1253x'.*Did you mean 'windows-1252'"):
        read(tmp_path / "r.csv", encoding="windows1253x")


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"PK\x03\x04rest", "it is a ZIP archive"),
        (b"%PDF-1.7 rest", "it is a PDF"),
        (b"  <!DOCTYPE html><html>", "it is a web page"),
        (gzip.compress(b"text,label", mtime=0), "it is a gzip file. Add .gz to its name"),
        (b"SQLite format 3\x00", "it is an SQLite database"),
    ],
)
def test_a_file_of_another_kind_is_told_as_that(tmp_path, ending, head, expected):
    (tmp_path / f"r{ending}").write_bytes(head)
    with pytest.raises(DataError, match=expected):
        read(tmp_path / f"r{ending}")


def test_a_parquet_file_named_csv_is_told(tmp_path):
    (tmp_path / "r.csv").write_bytes(content([("a", "b")], ".parquet"))
    with pytest.raises(DataError, match=r"r\.csv cannot be read as csv: it is a Parquet file. Name it \.parquet"):
        column_names(tmp_path / "r.csv")


def test_what_is_packed_otherwise_than_its_ending_says_is_refused(tmp_path):
    (tmp_path / "r.csv.gz").write_bytes(b"text,label\na,b\n")
    with pytest.raises(DataError, match=r"r\.csv\.gz cannot be read as csv"):
        read(tmp_path / "r.csv.gz")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"text": "a"}\n[1]\nnull\n{"text": \n', "3 line(s) hold no JSON object\n  - line 2: is no object but a list"),
        ("1\n2\n3\n4\n5\n6\n7\n", "  - and 2 more lines"),
    ],
)
def test_lines_that_are_no_objects_are_listed(tmp_path, body, expected):
    (tmp_path / "r.jsonl").write_text(body)
    with pytest.raises(DataError) as caught:
        read(tmp_path / "r.jsonl")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('[{"text": "a"}', "row 1 of the array: the array is not closed"),
        ('[{"text": "a"} {"text": "b"}]', "after row 1 of the array stands '{', not a comma"),
        ('[{"text": "a"}, ]', "row 1 of the array"),
        ('[{"text": "a"}, 3]', "row 1 of the array is no object but a int"),
        ('[{"text": "a"}] []', "something stands after the array's end"),
        ('[{"text": "a]', "row 0 of the array"),
    ],
)
def test_a_broken_array_is_told_by_its_row(tmp_path, body, expected):
    (tmp_path / "r.json").write_text(body)
    with pytest.raises(DataError) as caught:
        read(tmp_path / "r.json")
    assert expected in str(caught.value)


def test_an_array_and_lines_are_told_apart_by_content(tmp_path):
    (tmp_path / "lines.json").write_text('\n {"text": "a", "label": "x"}\n')
    (tmp_path / "array.jsonl").write_text(' [{"text": "a", "label": "x"}]\n')
    (tmp_path / "empty.json").write_text("[ ]")
    assert read(tmp_path / "lines.json") == read(tmp_path / "array.jsonl") == [("a", "x")]
    assert read(tmp_path / "empty.json") == []


def test_a_row_that_lacks_a_column_has_none_there(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"text": "a"}\n{"label": "x"}\n')
    assert read(tmp_path / "r.jsonl") == [("a", None), (None, "x")]


def test_a_column_named_twice_is_refused(tmp_path):
    (tmp_path / "r.csv").write_text("text,label,text\na,b,c\n")
    with pytest.raises(DataError, match="the header names text more than once"):
        read(tmp_path / "r.csv")


def test_a_long_text_is_read_from_csv(tmp_path):
    (tmp_path / "r.csv").write_text(f"text,label\n{'word ' * 1_200_000},x\n")
    assert len(read(tmp_path / "r.csv")[0][0]) == 6_000_000


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.CSV", ".csv"), ("a.b.jsonl.gz", ".jsonl"), ("a.tsv.zst", ".tsv"), ("a.parquet.gz", None), ("csv", None)],
)
def test_the_kind_by_the_ending(name, kind):
    assert file_kind(name) == kind


@pytest.mark.parametrize("kind", [".csv", ".tsv.gz", ".csv.zst", ".jsonl", ".json.zst"])
def test_a_file_is_read_by_the_thread_that_asks_for_it(tmp_path, monkeypatch, kind):
    """A library's thread that reads ahead may still read when the process ends, which then ends in a crash."""
    rows, readers, readinto = [(f"text {i}", "x") for i in range(5000)], set(), files._Text.readinto

    def noted(file, buffer):
        readers.add(threading.get_ident())
        return readinto(file, buffer)

    monkeypatch.setattr(files._Text, "readinto", noted)
    monkeypatch.setattr(files, "_BLOCK", 1 << 12)
    path = tmp_path / f"rows{kind}"
    path.write_bytes(packed(content(rows, file_kind(path)), path.suffix))
    assert read(path) == rows
    assert readers == {threading.get_ident()}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"There is no file .*none\.csv"):
        read(tmp_path / "none.csv")
