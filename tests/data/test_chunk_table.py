"""Chunks are kept with what is held back; what was read is read again; what cannot be held back is said."""

from __future__ import annotations

import pandas as pd
import pytest

from gisttools.common.errors import DataError, MissingError
from gisttools.data.chunk_table import CHUNKS_FILE, load_chunks, read_chunks
from gisttools.data.chunks import document_of
from gisttools.data.options import ChunkOptions


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "my docs"
    (place / "deep").mkdir(parents=True)
    for i, word in enumerate(("kettle", "garden", "violin", "harbour", "glacier", "saddle", "pepper", "lantern")):
        text = f"# About the {word}\n\nEvery {word} is number {i}.\n\n## More\n\nA {word} “never” sleeps."
        (place / "deep" / f"{word}.md").write_text(text, encoding="utf-8")
    (place / "empty.md").write_text("")
    return place


def test_what_is_saved_is_loaded(folder, tmp_path):
    read = read_chunks(folder, ChunkOptions(chunk_size=32), share=0.25)
    read.save(tmp_path)
    again = load_chunks(tmp_path / CHUNKS_FILE)
    assert (again.name, again.chunks, again.test.tolist()) == ("my docs", read.chunks, read.test.tolist())
    assert again.chunks[1].headings == ("More",)


def test_whole_documents_are_held_back_and_all_is_told(folder):
    read = read_chunks(folder, share=0.25)
    by_document = {}
    for chunk, is_test in zip(read.chunks, read.test.tolist(), strict=True):
        by_document.setdefault(chunk.document, set()).add(is_test)
        assert document_of(chunk.id) == chunk.document
    assert all(len(sides) == 1 for sides in by_document.values())
    s = read.summary()
    assert (s["documents"], s["chunks"], s["test_documents"], s["test_chunks"]) == (8, 16, 2, 4)
    assert s["left_out"] == {"empty.md": "no text"}
    assert read.headline() == "16 chunks of 8 documents, 4 of 2 held back to test on; 1 file left out, or in part"
    assert set(read.table()["part"]) == {"train", "test"}
    assert read.left_out().to_dict("records") == [{"file": "empty.md", "why": "no text"}]


def test_without_a_share_nothing_is_held_back(folder):
    read = read_chunks(folder, share=None)
    assert not read.test.any()
    assert read.headline().startswith("16 chunks of 8 documents;")


def test_a_single_document_cannot_be_held_back(tmp_path):
    (tmp_path / "a.md").write_text("A key.")
    with pytest.raises(DataError, match=r"no document can be held back .* 1 document, .* set it to null"):
        read_chunks(tmp_path)


def test_what_is_no_table_of_chunks_is_refused(tmp_path):
    with pytest.raises(MissingError, match="Name a run of 8_read"):
        load_chunks(tmp_path / CHUNKS_FILE)
    (tmp_path / CHUNKS_FILE).write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is no table of chunks"):
        load_chunks(tmp_path / CHUNKS_FILE)
    pd.DataFrame({"id": ["a"]}).to_parquet(tmp_path / CHUNKS_FILE)
    with pytest.raises(DataError, match="is no table of chunks"):
        load_chunks(tmp_path / CHUNKS_FILE)
    row = {"id": "a", "document": "a.md", "title": "", "headings": [], "text": None, "tokens": None, "file": "a.md"}
    pd.DataFrame([row | {"line": 1, "part": "train"}]).to_parquet(tmp_path / CHUNKS_FILE)
    with pytest.raises(DataError, match="text, tokens must not be empty"):
        load_chunks(tmp_path / CHUNKS_FILE)


def test_ids_that_are_no_chunks_are_documents_themselves():
    assert document_of("guide/a.md#12-0f3e4d5c") == "guide/a.md"
    others = ["7", "a#b", "a#1-xyz", "a.md#1-0f3e4d5"]
    assert [document_of(name) for name in others] == others
