"""Documents: each kind is read with its structure, what is broken is named and never stops the others."""

from __future__ import annotations

import gzip
import json
import os
import sys
import time

import pandas as pd
import pytest

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.data import documents as module
from gisttools.data.documents import read_documents
from gisttools.data.structure import html_blocks, markdown_blocks, plain_blocks, rst_blocks

MARKDOWN = """---
title: "House rules"
---
# House rules

The radiator stays cold:
open the valve.

## Keys **and** [locks](https://example.org)

A second key costs ten euros.

```sh
# no heading

make key
```

Lifts
-----

- one
- two

<!-- hidden

also hidden -->
The end.
"""
RST = """===========
House rules
===========

.. _keys:

Keys
----

A second key costs ten euros.

.. toctree::
   :maxdepth: 2

   intro
   usage

.. note:: Ask
   the caretaker.

Lifts
^^^^^

Out of order.
"""
HTML = """<!doctype html><html><head><meta charset="utf-8"><title>Rules &amp; keys - My site</title>
<style>p { color: red }</style></head><body>
<nav><ul><li><a href="/">Home</a></li></ul></nav>
<h1>House rules</h1>
<p>The radiator <b>stays</b> cold:
 open the valve.</p>
<h2>Keys</h2><ul><li>one<li>two &lt; three</ul>
<table><tr><td>key</td><td title="a > b">10</td></tr></table>
<pre>x =
  1</pre>
<script>if (a < b) { document.write("<p>never</p>") }</script>
<footer><p>Imprint</p></footer></body></html>
"""


def shown(blocks):
    return [(b.line, b.headings, b.text) for b in blocks]


def test_markdown_keeps_title_headings_lines_and_code():
    title, blocks = markdown_blocks(MARKDOWN.split("\n"))
    assert title == "House rules"
    assert shown(blocks) == [
        (6, (), "The radiator stays cold:\nopen the valve."),
        (11, ("Keys and locks",), "A second key costs ten euros."),
        (13, ("Keys and locks",), "```sh\n# no heading\n\nmake key\n```"),
        (22, ("Lifts",), "- one\n- two"),
        (28, ("Lifts",), "The end."),
    ]
    assert [b.is_code for b in blocks] == [False, False, True, False, False]


def test_several_headings_of_the_highest_level_are_no_title():
    title, blocks = markdown_blocks(["# One", "a", "# Two", "b", "## Deep", "c"])
    assert (title, [b.headings for b in blocks]) == ("", [("One",), ("Two",), ("Two", "Deep")])


def test_restructured_text_keeps_sections_and_hides_what_shows_nothing():
    title, blocks = rst_blocks(RST.split("\n"))
    assert title == "House rules"
    assert shown(blocks) == [
        (10, ("Keys",), "A second key costs ten euros."),
        (18, ("Keys",), ".. note:: Ask\n   the caretaker."),
        (24, ("Keys", "Lifts"), "Out of order."),
    ]


def test_a_page_is_its_words_under_its_headings():
    title, blocks = html_blocks(HTML)
    assert title == "House rules"
    assert shown(blocks) == [
        (5, (), "The radiator stays cold: open the valve."),
        (7, ("Keys",), "one\ntwo < three"),
        (8, ("Keys",), "key | 10"),
        (9, ("Keys",), "x =\n  1"),
    ]


def test_a_page_all_of_which_stands_in_a_menu_is_read_all_the_same():
    assert html_blocks("<nav>never closed <p>text")[1][0].text == "never closed"
    assert html_blocks("<title>T</title><p>a")[0] == "T"


def test_paragraphs_are_cut_at_empty_lines():
    assert shown(plain_blocks(["", "a", "b", " ", "c"])) == [(2, (), "a\nb"), (5, (), "c")]


HOSTILE = ("<a ", "<", "</", "<!--", "<a href='", '<a href="x" \'', "<div>", "<nav>", "<script>", "&#", "<p>a", "# ",
           "`", "> ", "[a](")  # fmt: skip


@pytest.mark.parametrize("mark", HOSTILE)
def test_time_grows_with_the_length_alone(mark):
    """Ten times as long a text takes no more than some thirty times as long: html.parser would take a hundred."""

    def seconds(n: int) -> float:
        begin = time.process_time()
        html_blocks(mark * n)
        markdown_blocks([mark * n])
        rst_blocks([mark * n])
        return time.process_time() - begin

    assert seconds(100_000) < 30 * max(seconds(10_000), 0.02)


@pytest.fixture
def folder(tmp_path):
    """A document of each kind."""
    place = tmp_path / "docs"
    (place / "deep" / ".git").mkdir(parents=True)
    (place / "a.md").write_text(MARKDOWN)
    (place / "b.rst").write_text(RST)
    (place / "c.HTML").write_text(HTML)
    (place / "deep" / "d.txt").write_text("One paragraph.\n\nAnother one.\n")
    rows = [{"_id": "k7", "title": "Keys", "text": "A key."}, {"_id": "l8", "title": None, "text": "A lock."}]
    (place / "e.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (place / "f.csv").write_text("id;text\n1;Ten euros, it is.\n1;Twelve.\n2;\n")
    pd.DataFrame({"content": ["In Parquet."]}).to_parquet(place / "g.parquet")
    (place / "h.txt.gz").write_bytes(gzip.compress(b"Packed.\n"))
    (place / "deep" / ".git" / "i.txt").write_text("Not looked at.")
    (place / "j.png").write_bytes(b"x")
    return place


def test_a_folder_gives_each_file_and_each_row(folder):
    found = read_documents(folder)
    assert [(d.id, d.title, d.blocks[0].text, d.place) for d in found] == [
        ("a.md", "House rules", "The radiator stays cold:\nopen the valve.", "line"),
        ("b.rst", "House rules", "A second key costs ten euros.", "line"),
        ("c.HTML", "House rules", "The radiator stays cold: open the valve.", "line"),
        ("deep/d.txt", "", "One paragraph.", "line"),
        ("e.jsonl:k7", "Keys", "A key.", "row"),
        ("e.jsonl:l8", "", "A lock.", "row"),
        ("f.csv:1", "", "Ten euros, it is.", "row"),  # ids repeat there: the row's number
        ("f.csv:2", "", "Twelve.", "row"),
        ("g.parquet:1", "", "In Parquet.", "row"),
        ("h.txt.gz", "", "Packed.", "line"),
    ]
    assert dict(found.left_out) == {"j.png": "of a kind that is not read", "f.csv": "1 row without text (3)"}
    assert found[0].text.startswith("The radiator stays cold:\nopen the valve.\n\nKeys and locks\n\nA second key")


def test_what_cannot_be_read_is_named_and_the_others_are_read(folder, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 10_000)
    bad = {
        "broken.jsonl": b'{"text": "a"\n', "broken.parquet": b"PAR1 no", "cp1252.md": "Schl\xfcssel".encode("cp1252"),
        "empty.md": b"", "blank.txt": b" \n\xe2\x80\x8b\n", "huge.md": b"word " * 3000, "no_text.csv": b"a,b\n1,2\n",
        "bomb.txt.gz": gzip.compress(b"a" * 100_000), "cut.txt.gz": gzip.compress(b"a" * 100)[:20],
        "picture.html": b"\x89PNG\0\0", "deep.json": b'[{"text": ' + b"[" * 100_000, "broken.pdf": b"%PDF-1.4 no",
        "archive.txt": b"PK\x03\x04rest",
    }  # fmt: skip
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    os.symlink("/etc/hostname", folder / "out.txt")
    os.symlink(folder, folder / "loop")
    os.mkfifo(folder / "pipe.txt")
    found = read_documents(folder)
    assert len(found) == 10
    assert set(found.left_out) == {*bad, "out.txt", "j.png", "f.csv"}
    reasons = {
        "cp1252.md": "line 1 holds the byte 0xfc", "empty.md": "no text", "blank.txt": "no text",
        "huge.md": "larger than", "bomb.txt.gz": "larger than", "no_text.csv": "columns found: a, b.",
        "out.txt": "a link that leads out of the folder", "archive.txt": "it is a ZIP archive",
    }  # fmt: skip
    for name, words in reasons.items():
        assert words in found.left_out[name], name
    with pytest.raises(DataError) as error:
        read_documents(folder, strict=True)
    assert "j.png" not in str(error.value)
    for name in bad:
        assert name in str(error.value)


def test_an_encoding_is_used_where_it_is_told(tmp_path):
    (tmp_path / "a.md").write_bytes("Schlüssel".encode("cp1252"))
    (tmp_path / "b.html").write_bytes("<meta charset=iso-8859-1><p>Schlüssel".encode("latin-1"))
    (tmp_path / "c.html").write_text("<p>Schlüssel", encoding="utf-16")
    found = read_documents(tmp_path, encoding="cp1252")
    assert [d.blocks[0].text for d in found] == ["Schlüssel"] * 3
    with pytest.raises(ParameterError, match="no encoding known here"):
        read_documents(tmp_path, encoding="utf-9")


@pytest.mark.parametrize(
    "name", ["undefined", "idna", "punycode", "hex", "zlib", "unicode_escape", "no-such", "utf-7", "x"]
)
def test_a_page_that_names_no_encoding_of_texts_is_read_all_the_same(tmp_path, name):
    (tmp_path / "a.html").write_text(f"<meta charset={name}><p>Key \\x41.é", encoding="utf-8")
    assert read_documents(tmp_path)[0].blocks[0].text == "Key \\x41.é"


def test_nothing_there_and_nothing_to_read_are_refused(tmp_path):
    with pytest.raises(MissingError, match="no file and no folder"):
        read_documents(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no file of the kinds"):
        read_documents(tmp_path)
    (tmp_path / "a.md").write_text("# only a heading")
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"2 problem\(s\)") as error:
        read_documents(tmp_path)
    assert "a.md: no text" in str(error.value)
    assert "b.csv: columns found: a, b" in str(error.value)


def test_a_named_column_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("body,text\nthis,that\n")
    assert read_documents(tmp_path, column="body")[0].blocks[0].text == "this"


def test_characters_that_no_file_can_hold_are_replaced(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "half \\ud800 a pair", "title": "\\ud800"}')
    (document,) = read_documents(tmp_path)
    assert (document.title, document.blocks[0].text) == ("?", "half ? a pair")


def pdf_of(*pages: list[str], title: str = "House rules") -> bytes:
    """A PDF with these lines on its pages."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    for lines in pages:
        shown = "BT /F1 12 Tf 14 TL 50 700 Td " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
        kids.append(f"{len(objects) + 1} 0 R")
        font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /Resources {font} /Contents {len(objects) + 2} 0 R >>")
        objects.append(f"<< /Length {len(shown)} >>\nstream\n{shown}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} /MediaBox [0 0 600 800] >>"
    objects.append(f"<< /Title ({title}) >>")
    out, places = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"trailer << /Size {size} /Root 1 0 R /Info {size - 1} 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return f"{out}xref\n0 {size}\n0000000000 65535 f \n{table}{end}".encode("latin-1")


def test_a_pdf_is_read_page_by_page_without_running_heads(tmp_path):
    pytest.importorskip("pypdf")
    texts = ["The radiator stays cold.", "A key costs ten euros.", "The lift is out of order."]
    pages = [["House rules, 2024", text, f"Page {i} of 3"] for i, text in enumerate(texts, 1)]
    (tmp_path / "a.pdf").write_bytes(pdf_of(*pages))
    (tmp_path / "empty.pdf").write_bytes(pdf_of([]))
    found = read_documents(tmp_path)
    assert [(d.title, d.place, [(b.line, b.text) for b in d.blocks]) for d in found] == [
        ("House rules", "page", list(enumerate(texts, 1)))
    ]
    assert "pictures" in found.left_out["empty.pdf"]


def test_a_pdf_without_the_package_is_named_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdf", None)
    (tmp_path / "a.pdf").write_bytes(pdf_of(["x"]))
    (tmp_path / "b.txt").write_text("text")
    assert 'pip install "gisttools[pdf]"' in read_documents(tmp_path).left_out["a.pdf"]
