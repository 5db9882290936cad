"""Documents: each kind is read with its structure, what is broken is named and never stops the others."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
from helpers.prose import HTML, MARKDOWN, RST

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.data import documents as module, eval_folder
from gisttools.data.chunks import make_chunks
from gisttools.data.documents import read_documents
from gisttools.data.folder_rows import read_searched
from gisttools.data.options import ChunkOptions
from gisttools.data.retrieval_files import Question, write_retrieval


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
    os.symlink("nowhere.md", folder / "dangling.md")
    with zipfile.ZipFile(folder / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/sharedStrings.xml", b"a" * 100_000)
    found = read_documents(folder)
    assert len(found) == 10
    assert set(found.left_out) == {
        *bad, "out.txt", "j.png", "f.csv", "loop", "pipe.txt", "dangling.md", "bomb.xlsx"
    }  # fmt: skip
    reasons = {
        "cp1252.md": "line 1 holds the byte 0xfc", "empty.md": "no text", "blank.txt": "no text",
        "huge.md": "larger than", "bomb.txt.gz": "larger than", "no_text.csv": "columns found: a, b.",
        "out.txt": "a link that leads out of the folder", "archive.txt": "it is a ZIP archive",
        "bomb.xlsx": "larger than", "loop": "a link to a folder", "pipe.txt": "no file", "dangling.md": "to nothing",
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


@pytest.mark.parametrize("name", ["iso-8859-1", "latin1", "us-ascii", "Windows-1252"])
def test_pages_that_say_latin_are_read_as_browsers_do(tmp_path, name):
    page = f"<?xml version='1.0' encoding='{name}'?><p>“Schlüssel” – 5 €"
    (tmp_path / "a.xhtml").write_bytes(page.encode("cp1252"))
    assert read_documents(tmp_path)[0].blocks[0].text == "“Schlüssel” – 5 €"


def test_an_encoding_that_is_told_leaves_files_in_utf8_alone(tmp_path):
    (tmp_path / "a.md").write_text("Schlüssel", encoding="utf-8")
    (tmp_path / "b.csv").write_bytes("text\nSchlüssel\n".encode("cp1252"))
    (tmp_path / "c.csv").write_text("text\nSchlüssel\n", encoding="utf-8")
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress("Schlüssel".encode()))
    (tmp_path / "e.html").write_text("<p>Schlüssel", encoding="utf-8")
    (tmp_path / "f.txt").write_text("Schlüssel", encoding="utf-16")
    assert [d.blocks[0].text for d in read_documents(tmp_path, encoding="cp1252")] == ["Schlüssel"] * 6
    (tmp_path / "b.csv").unlink()
    with pytest.raises(ParameterError, match="no encoding known here"):
        read_documents(tmp_path, encoding="utf-9")


@pytest.mark.parametrize("name", ['say "x".md', "tab\there.md", " space.md", "line\nend.md", b"\xff.md", b"\xfe.md"])
def test_ids_can_stand_in_a_table_whatever_files_are_called(tmp_path, name):
    (tmp_path / "docs").mkdir()
    for own in (name, b"\xfd.md"):
        (tmp_path / "docs" / os.fsdecode(own)).write_text("A key.")
    found = read_documents(tmp_path / "docs")
    write_retrieval(
        tmp_path / "task", chunks := make_chunks(found, ChunkOptions(drop_near_copies=None)),
        [Question(text="Which key?", answers=[chunk.id for chunk in chunks])],
    )  # fmt: skip
    read = read_searched(eval_folder(tmp_path / "task"))
    assert len(read.corpus) == 2
    assert set(next(iter(read.relevant.values()))) == set(read.corpus)


def test_rows_ids_can_stand_in_a_table_too(tmp_path):
    rows = [{"id": 'say "x"\tand y', "text": "A key."}, {"id": "b", "text": "A lock."}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [d.id for d in read_documents(tmp_path)] == ["a.jsonl:say %22x%22%09and y", "a.jsonl:b"]


def test_a_folder_that_may_not_be_entered_is_named(tmp_path):
    (tmp_path / "shut").mkdir()
    (tmp_path / "a.md").write_text("A key.")
    (tmp_path / "shut" / "b.md").write_text("A lock.")
    code = (
        "import os, sys; from gisttools.data import read_documents; read_documents(sys.argv[1] + '/a.md')\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        "found = read_documents(sys.argv[1]); print(len(found), dict(found.left_out))"
    )
    for above in [tmp_path, *tmp_path.parents][:4]:
        above.chmod(0o755)
    (tmp_path / "shut").chmod(0)
    try:
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    finally:
        (tmp_path / "shut").chmod(0o755)
    assert done.stdout.strip() == "1 {'shut': 'may not be read by this user'}", done.stderr[-2000:]


def test_pictures_written_into_the_text_are_left_out(tmp_path):
    picture = f"data:image/png;base64,{'iVBORw0KGgo' * 10_000}="
    (tmp_path / "a.md").write_text(f"![valve]({picture}) shut\n\n[1]: <data:a/b;base64,QUJD>")
    assert [b.text for b in read_documents(tmp_path)[0].blocks] == [
        "![valve](data:image/png;base64,) shut", "[1]: <data:a/b;base64,>"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["undefined", "idna", "punycode", "hex", "zlib", "unicode_escape", "no-such", "utf-7", "x", "utf-16", "utf-32-le"],
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
