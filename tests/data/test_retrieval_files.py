"""A search written as files is what the evaluation folder's reader reads, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import files_under

from gisttools.common.errors import DataError
from gisttools.data import eval_folder, local_tasks
from gisttools.data.chunks import Chunk
from gisttools.data.folder_rows import read_searched
from gisttools.data.retrieval_files import Question, write_retrieval


def chunk(number: int, **changed) -> Chunk:
    usual = {"id": f"a.md#{number}-00", "document": "a.md", "title": "House", "headings": ("Keys",), "tokens": 9}
    return Chunk(**(usual | {"text": f"Text {number}\nof chunk", "file": Path("a.md"), "line": 1} | changed))


def test_what_is_written_is_read_as_retrieval(tmp_path):
    chunks = [chunk(i) for i in range(3)]
    asked = [Question(text="Which key?", answers=["a.md#0-00"]), Question(text="Welche?", answers={"a.md#2-00": 2})]
    folder = write_retrieval(tmp_path / "test set", chunks, asked)
    assert files_under(folder) == ["corpus.jsonl", "qrels", "qrels/test.tsv", "queries.jsonl"]
    found = eval_folder(folder)
    assert found.kind == "retrieval"
    read = read_searched(found)
    assert read.queries == {q.id: q.text for q in asked}
    assert read.corpus == {c.id: ("House > Keys", c.text) for c in chunks}
    assert read.relevant == {asked[0].id: {"a.md#0-00": 1}, asked[1].id: {"a.md#2-00": 2}}
    assert [task.metadata.type for task in local_tasks(folder)] == ["Retrieval"]


def test_all_problems_are_named_and_nothing_is_left(tmp_path):
    asked = [
        Question(text="Which key?", answers=["nowhere"]), Question(text="which  KEY?", answers=["a.md#1-00"]),
        Question(text=" ", answers=["a.md#1-00"]), Question(text="None?", answers=[]),
        Question(text="Grade?", answers={"a.md#1-00": 0}),
    ]  # fmt: skip
    with pytest.raises(DataError) as error:
        write_retrieval(tmp_path / "t", [chunk(1), chunk(1)], asked)
    for words in ("come more than once: 'a.md#1-00'", "no chunk: 'nowhere'", "blank: ' '", "'which key?'", "'None?'",
                  "from 1: 0"):  # fmt: skip
        assert words in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="not empty"):
        write_retrieval(tmp_path, [chunk(1)], [Question(text="Which?", answers=["a.md#1-00"])])
    assert files_under(tmp_path) == ["mine.txt"]
