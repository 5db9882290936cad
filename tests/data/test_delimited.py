"""Rows of CSV: what is no whole row is told by its line, and nothing is read into another row's place."""

from __future__ import annotations

import io

import pytest

from gisttools.common.errors import DataError
from gisttools.data import delimited
from gisttools.data.delimited import delimited_rows


def rows(text, **told):
    return list(delimited_rows(io.StringIO(text, newline=""), ",", "r.csv", **told))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_empty_lines(end):
    assert rows(f'{end}a,b{end}{end}"x{end}y","say ""no"""{end} c ,{end}') == [
        ["a", "b"],
        [f"x{end}y", 'say "no"'],
        [" c ", ""],
    ]


@pytest.mark.parametrize("text", ['a,b\n1,2\n3,"4', 'a,b\n1,2\n3,"4\n', 'a,b\n1,2\n"3,4\n5,6\n'])
def test_a_quote_that_is_never_closed_is_told_by_the_line_of_its_row(text):
    with pytest.raises(DataError, match=r"r\.csv: a quote in the row of line 3 is never closed"):
        rows(text)


def test_one_that_swallows_a_large_file_is_told_before_all_of_it_is_read():
    text = io.StringIO('a,b\n"1,2\n' + "3,4\n" * 5_000_000)
    with pytest.raises(DataError, match=r"field larger than field limit .*, in the row of line 2\. Is a quote never"):
        list(delimited_rows(text, ",", "r.csv"))
    assert text.tell() < 1.1 * delimited.LONGEST


def test_a_line_without_end_is_told_before_all_of_it_is_read(monkeypatch):
    monkeypatch.setattr(delimited, "LONGEST", 100)
    text = io.StringIO("a,b\n" + "x" * 10_000)
    with pytest.raises(DataError, match="a line is longer than"):
        list(delimited_rows(text, ",", "r.csv"))
    assert text.tell() < 1000


def test_all_rows_of_another_width_are_counted_and_the_first_listed_by_their_lines():
    text = 'a,b\n"1\n",2\n3\n4,5,6\n' + "7\n" * 10
    with pytest.raises(DataError) as caught:
        rows(text)
    lines = str(caught.value).splitlines()
    assert lines[0] == "r.csv: 12 row(s) have more or fewer fields than the header, which has 2."
    assert lines[1:3] == ["  - line 4: 1 field(s), '3'", "  - line 5: 3 field(s), '4 | 5 | 6'"]
    assert lines[-2:] == ["  - and 7 more", "Quote texts that hold a separator or a line end."]


def test_lines_in_front_are_skipped_and_counted():
    assert rows("sep=,\na,b\n1,2\n", skip=1) == [["a", "b"], ["1", "2"]]
    with pytest.raises(DataError, match="line 3: 1 field"):
        rows("sep=,\na,b\n1\n", skip=1)


@pytest.mark.parametrize("text", ["", "\n\r\n"])
def test_nothing_at_all_is_told(text):
    with pytest.raises(DataError, match="it is empty"):
        rows(text)
