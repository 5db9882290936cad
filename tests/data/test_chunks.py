"""Chunks: nothing is lost, none is too large, none crosses a heading; copies and boilerplate go; the split is whole."""

from __future__ import annotations

import random
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from gisttools.common.errors import DataError, ParameterError
from gisttools.data.chunks import count_words, make_chunks, split_chunks
from gisttools.data.documents import Document, read_documents
from gisttools.data.options import ChunkOptions
from gisttools.data.structure import Block, markdown_blocks, plain_blocks

ALL = {"drop_near_copies": None, "drop_boilerplate": False}
WORDS = (
    "key", "lock", "radiator", "valve", "door", "lift", "caretaker", "water", "bill", "garden", "stairs", "bell",
    "roof", "heating", "euro", "month",
)  # fmt: skip


def document(name: str, text: str, title: str | None = None) -> Document:
    own, blocks = markdown_blocks(text.split("\n"))
    title = own if title is None else title
    return Document(id=name, title=title, file=Path(name), blocks=tuple(blocks), verbatim=True)


def prose(seed: int, sentences: int = 8) -> str:
    rng = random.Random(seed)
    return " ".join(f"{' '.join(rng.choices(WORDS, k=9)).capitalize()}." for _ in range(sentences))


def test_a_chunk_keeps_paragraphs_whole_and_never_crosses_a_heading():
    text = "# House\n\nOne two three.\n\nFour five six.\n\nSeven eight nine ten.\n\n## Keys\n\nA key."
    chunks = make_chunks([document("a.md", text)], ChunkOptions(chunk_size=9, **ALL))
    assert [(c.heading, c.text, c.line, c.tokens) for c in chunks] == [
        ("House", "One two three.\n\nFour five six.", 3, 9),
        ("House", "Seven eight nine ten.", 7, 6),
        ("House > Keys", "A key.", 11, 6),  # the mark between counts
    ]
    assert chunks[2].passage == "House > Keys A key."


def test_a_chunk_says_its_line_also_where_sentences_have_no_spaces_behind_them():
    text = "\n".join(f"\u8fd9\u662f\u6587\u4ef6\u7684\u7b2c{n}\u884c\u3002" for n in range(1, 9))
    chunks = make_chunks([document("a.md", text)], ChunkOptions(chunk_size=12, **ALL), by_characters)
    assert len(chunks) == 8
    assert [f"\u7b2c{c.line}\u884c" in c.text for c in chunks] == [True] * 8


def test_sentences_of_a_long_paragraph_are_kept_whole_and_overlap_as_told():
    text = "One two three. Four five six! Seven eight nine? Ten eleven twelve."
    options = ChunkOptions(chunk_size=8, chunk_overlap=4, **ALL)
    assert [c.text for c in make_chunks([document("a.md", text)], options)] == [
        "One two three. Four five six!", "Four five six! Seven eight nine?", "Seven eight nine? Ten eleven twelve.",
    ]  # fmt: skip


def by_characters(texts):
    return [len(text) for text in texts]


def odd(texts):
    """Tokens of parts do not add up."""
    return [len(text) // 3 + 2 * text.count("\n") + 1 for text in texts]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(alphabet="ab. \n。#!", min_size=1, max_size=200), min_size=1, max_size=4),
    st.sampled_from([count_words, by_characters, odd]),
    st.integers(16, 60),
    st.integers(0, 8),
)
def test_nothing_is_lost_and_no_chunk_is_too_large(texts, counter, size, overlap):
    documents = [
        Document(id=str(i), title="", file=Path(str(i)), blocks=tuple(plain_blocks(text.split("\n"))), verbatim=True)
        for i, text in enumerate(texts)
    ]
    chunks = make_chunks(documents, ChunkOptions(chunk_size=size, chunk_overlap=overlap, **ALL), counter)
    assert all(c.tokens == max(counter([c.passage])[0], -(-len(c.passage) // 20)) <= size for c in chunks)
    if not overlap:
        for own in documents:
            cut = "".join(c.text for c in chunks if c.document == own.id)
            assert "".join(cut.split()) == "".join("".join(b.text for b in own.blocks).split())


@pytest.mark.parametrize("text", ["x" * 3000, "字" * 3000, "word " * 900, "a. " * 900, "- item\n" * 500])
def test_what_has_no_sentences_is_cut_all_the_same(text):
    blocks = (Block(text=text.strip(), line=1),)
    (own,) = [Document(id="a", title="t" * 300, file=Path("a"), blocks=blocks)]
    chunks = make_chunks([own], ChunkOptions(chunk_size=64, **ALL), by_characters)
    assert max(len(c.passage) for c in chunks) <= 64
    assert "".join("".join(c.text for c in chunks).split()) == "".join(text.split())


def test_what_a_model_takes_for_one_word_makes_no_chunk_of_megabytes():
    """Of any length, a word that WordPiece does not know is one token; so is any word to `count_words`."""
    own = Document(id="a", title="", file=Path("a"), blocks=(Block(text="QUJDRA" * 100_000, line=1),))
    chunks = make_chunks([own], ChunkOptions(chunk_size=64, **ALL))
    assert max(len(c.text) for c in chunks) <= 64 * 20
    assert "".join(c.text for c in chunks) == own.blocks[0].text


@pytest.mark.parametrize("text", ["a\n", "a. ", "é", "\n#x\n", "word "])
def test_time_and_memory_grow_with_the_length_alone(text):
    def needed(n: int) -> tuple[float, int]:
        own = Document(id="a", title="", file=Path("a"), blocks=(Block(text=text * n, line=1),))
        tracemalloc.start()
        begin = time.process_time()
        make_chunks([own], ChunkOptions(chunk_size=2048, drop_near_copies=None))
        seconds, most = time.process_time() - begin, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return seconds, most

    (few, small), (many, large) = needed(5_000), needed(50_000)
    assert many < 30 * max(few, 0.02)
    assert large < 30 * max(small, 1e6)


def test_a_split_knows_near_copies_that_were_not_dropped():
    """What stays by `drop_near_copies` may be a near copy all the same."""
    text = prose(1, 3)
    documents = [document(str(i), text.replace("key", f"key{'s' * i}")) for i in range(4)]
    documents += [document(f"other {i}", prose(100 + i, 3)) for i in range(6)]
    chunks = make_chunks(documents, ChunkOptions(drop_near_copies=1.0))
    assert len(chunks) == 10
    assert len({int(group) for group in chunks.groups[:4]}) == 1


def test_ids_say_document_place_and_content_and_do_not_change_with_other_documents():
    first, second = document("a.md", prose(1)), document("b.md", prose(2))
    alone = make_chunks([first], ChunkOptions(chunk_size=40))
    both = make_chunks([second, first], ChunkOptions(chunk_size=40))
    assert {c.id for c in alone} <= {c.id for c in both}
    assert [c.id.rpartition("-")[0] for c in alone] == [f"a.md#{i}" for i in range(len(alone))]
    changed = make_chunks([document("a.md", prose(1) + " New end.")], ChunkOptions(chunk_size=40))
    assert changed[0].id == alone[0].id
    assert changed[-1].id != alone[-1].id
    with pytest.raises(DataError, match=r"more than once, such as 'a\.md'"):
        make_chunks([first, first])


def test_of_near_copies_the_first_stays_unless_a_number_differs():
    text = "A second key costs 10 euros, the caretaker orders it within a week, and a lost lock is paid for."
    copies = [text, text.replace("orders", "order"), text.replace("10", "20"), prose(3, 2)]
    chunks = make_chunks([document(str(i), t) for i, t in enumerate(copies)])
    assert [c.document for c in chunks] == ["0", "2", "3"]
    assert dict(chunks.dropped) == {"near copy of another chunk": 1}
    assert len(make_chunks([document(str(i), t) for i, t in enumerate(copies)], ChunkOptions(**ALL))) == 4


def test_lines_that_stand_in_many_documents_go_but_not_code_nor_a_whole_document():
    line = "All rights reserved by the house."
    documents = [document(f"{i}", f"{prose(i)}\n\n{line}\nTel.") for i in range(8)]
    documents += [
        document("code", f"```\n{line}\nprint(all, rights, of, the, house, are, reserved)\n```"),
        document("alone", line),
    ]
    chunks = make_chunks(documents)
    assert dict(chunks.boilerplate) == {line.lower(): 9}
    assert [c.document for c in chunks if line in c.text] == ["code", "alone"]
    assert all(c.text.endswith("\n\nTel.") for c in chunks[:8])
    assert not make_chunks(documents[:4]).boilerplate


def test_languages_are_told():
    texts = ["The caretaker of this house orders the keys.", "Der Hausmeister dieses Hauses bestellt die Schlüssel."]
    assert make_chunks([document(t, t) for t in texts]).languages == {"English": 1, "German": 1}


def test_documents_stay_whole_and_near_copies_on_one_side_of_a_split():
    documents = [document(f"{i}", "\n\n".join(prose(10 * i + k, 3) for k in range(4))) for i in range(30)]
    copy = documents[3].text.replace("Key", "Kay") + "\n\n" + prose(777, 3)
    documents.append(document("copy", copy))
    for near in (None, 0.8):  # also where the copies' chunks are dropped but for the last
        chunks = make_chunks(documents, ChunkOptions(chunk_size=40, drop_near_copies=near))
        test = split_chunks(chunks, 0.3)
        side = {}
        for chunk, is_test in zip(chunks, test.tolist(), strict=True):
            assert side.setdefault(chunk.document, is_test) == is_test
        assert side["3"] == side["copy"]
        assert 0.15 < test.mean() <= 0.31
        back = make_chunks(documents[::-1], ChunkOptions(chunk_size=40, drop_near_copies=None))
        again = split_chunks(back, 0.3)
        if near is None:
            assert {c.id for c, t in zip(back, again, strict=True) if t} == {
                c.id for c, t in zip(chunks, test, strict=True) if t
            }


def test_documents_that_share_one_chunk_of_many_are_no_copies():
    shared = prose(5, 3)
    documents = [document(f"{i}", "\n\n".join([shared, *(prose(10 * i + k, 3) for k in range(5))])) for i in range(4)]
    chunks = make_chunks(documents, ChunkOptions(chunk_size=40, drop_boilerplate=False))
    assert len({int(g) for g in chunks.groups}) == 4


def test_options_that_leave_no_room_are_refused():
    with pytest.raises(ParameterError, match="chunk_overlap is 200, must be at most half"):
        ChunkOptions(chunk_overlap=200)


def test_the_projects_own_docs_are_cut(tmp_path):
    chunks = make_chunks(read_documents(Path(__file__).parents[2] / "docs"))
    assert max(c.tokens for c in chunks) <= 256
    assert {"design.md", "data.md"} <= {c.document for c in chunks}
