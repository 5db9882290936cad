"""Pairs of a sentence and its chunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from gisttools.common.errors import DataError
from gisttools.data import Chunk, ReadChunks, read_triplets, save_sentence_pairs, sentence_pairs

TEXTS = [
    "The pump stands in the cellar by the door. It takes water from the well. Drain it before winter comes.",
    "Keys are kept at the office on the first floor. Bring your passport when you come. Short.",
    "A single sentence that says all there is to say.",
    "Held back words are never trained on by anybody. Nor is this one here, of course.",
    "泵站在地下室的门边上并从井里取水。冬天来临之前必须把水全部排空才行。",
]


def chunks(texts=TEXTS, held=(3,)):
    made = tuple(
        Chunk(id=f"d{i}#0-{i:08x}", document=f"d{i}", title="Manual", headings=("Water",), text=text, tokens=9,
              file=Path("a.md"), line=1)
        for i, text in enumerate(texts)
    )  # fmt: skip
    return ReadChunks(name="manual", chunks=made, test=np.isin(np.arange(len(texts)), held))


def test_each_pair_is_a_sentence_and_the_chunk_that_it_stands_in():
    read = chunks()
    table = sentence_pairs(read, 100)
    by_id = {chunk.id: chunk for chunk in read.chunks}
    for row in table:
        chunk = by_id[row["seed_ids"][0]]
        assert row["positive"] == chunk.passage == f"Manual > Water {chunk.text}"
        assert row["anchor"] in chunk.text
        assert (row["source"], row["task_name"], row["task_type"]) == ("sentence", "manual", "Retrieval")
    found = {row["anchor"] for row in table}
    assert "It takes water from the well." in found
    assert len([a for a in found if "泵" in a or "冬" in a]) == 2  # a script without spaces
    assert not [a for a in found if "Short" in a or "single" in a or "Held" in a or "Nor is" in a]
    assert len(found) == len(table) == 7


def test_a_chunk_comes_up_again_when_all_others_have():
    table = sentence_pairs(chunks(), 3, seed=5)
    assert len({row["seed_ids"][0] for row in table}) == 3
    again = [row["seed_ids"][0] for row in sentence_pairs(chunks(), 6, seed=5)]
    assert again[:3] == again[3:]


def test_the_seed_decides_and_a_smaller_count_is_the_beginning():
    rows = sentence_pairs(chunks(), 6, seed=1)["anchor"][:]
    assert sentence_pairs(chunks(), 6, seed=1)["anchor"][:] == rows
    assert sentence_pairs(chunks(), 2, seed=1)["anchor"][:] == rows[:2]
    assert any(sentence_pairs(chunks(), 6, seed=s)["anchor"][:] != rows for s in range(2, 6))


def test_a_sentence_of_two_chunks_stands_once():
    same = "Call the office on the first floor. "
    table = sentence_pairs(chunks([f"{same}{text}" for text in TEXTS[:2]], held=()), 50)
    assert sum(row["anchor"] == same.strip() for row in table) == 1


def test_where_there_is_no_such_sentence_it_is_said():
    with pytest.raises(DataError, match="no chunk that is trained on has two sentences"):
        sentence_pairs(chunks(["One.", TEXTS[2]], held=()), 5)


def test_the_corpus_beside_the_pairs_is_what_is_trained_on(tmp_path):
    read = chunks()
    pairs = save_sentence_pairs(read, 4, tmp_path)
    assert read_triplets(tmp_path / "triplets.parquet")["anchor"][:] == pairs["anchor"][:]
    texts = pq.read_table(tmp_path / "corpus.parquet")["text"].to_pylist()
    assert texts == [chunk.passage for i, chunk in enumerate(read.chunks) if i != 3]
