"""Equal texts: what counts as equal, and that rows with evaluation texts go."""

from __future__ import annotations

import pytest

from gisttools.hygiene import drop_overlap, normalise, overlap, table_texts
from gisttools.triplets import make_triplets

ROWS = [
    {"anchor": "Where is it?", "positive": "Has it left?", "negatives": ["Card refused"]},
    {"anchor": "New key", "positive": "Lost key", "negatives": ["Too loud", "Too cold"]},
]


@pytest.mark.parametrize(
    ("one", "other"),
    [("Key  lost\n", " key LOST"), ("ﬁne", "FINE"), ("Straße", "STRASSE"), ("cafe\u0301", "café"), ("a\u00a0b", "a b")],
)
def test_case_space_and_unicode_form_do_not_matter(one, other):
    assert normalise(one) == normalise(other)


def test_words_and_punctuation_do_matter():
    assert len({normalise(t) for t in ("key lost", "keys lost", "key lost!", "keylost")}) == 4


def test_overlap_gives_the_texts_as_written_each_once_in_order():
    assert overlap(["B", "x", "A", "B"], ["a ", "b", "c"]) == ["B", "A"]


@pytest.mark.parametrize("text", ["where is IT?", "has it  left?", "card refused"])
def test_a_row_goes_if_any_of_its_texts_is_an_evaluation_text(text):
    table, dropped = drop_overlap(make_triplets(ROWS), [text])
    assert (table["anchor"][:], dropped) == (["New key"], 1)


def test_without_evaluation_texts_nothing_goes():
    table = make_triplets(ROWS)
    assert drop_overlap(table, []) == (table, 0)


def test_all_texts_of_a_table_each_once():
    texts = table_texts(make_triplets([*ROWS, ROWS[0]]))
    assert sorted(texts) == sorted(
        ["Where is it?", "Has it left?", "Card refused", "New key", "Lost key", "Too loud", "Too cold"]
    )
