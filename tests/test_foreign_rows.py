"""Foreign rows: which columns are found under which names, what lists stand for, and what becomes of bad rows."""

from __future__ import annotations

import pytest

from gisttools.errors import DataError
from gisttools.foreign_rows import find_shape, triplets_of
from gisttools.triplets import triplet_id

MEDI = {
    "query": [["Represent the question:", "where is it?"], ["Represent the question:", "refund?"]],
    "pos": [["Represent the answer:", "at the depot"], ["Represent the answer:", "within a week"]],
    "neg": [["Represent the answer:", "blue"], ["Represent the answer:", "by card"]],
    "task_name": ["nq", "squad"],
}
# how the paper's set looks on the hub
FLAT = {
    "query": ["where is it?"],
    "pos": ["at the depot"],
    "neg": ["blue"],
    "task_name": ["nq"],
    "query_instruct": ["Represent the question:"],
    "pos_instruct": [""],
    "neg_instruct": [None],
}


def rows(batch: dict, *, instructions: bool = False, pairs=None) -> list[list[dict]]:
    shape = find_shape(batch, "the set", pairs)
    return list(triplets_of(batch, shape, task_name="the set", revision="r1", instructions=instructions))


def texts(batch: dict, **told) -> list[tuple]:
    return [(t["anchor"], t["positive"], t["negatives"]) for found in rows(batch, **told) for t in found]


@pytest.mark.parametrize(
    "columns",
    [
        ("anchor", "positive", "negative"),
        ("anchor", "positive", "negatives"),
        ("query", "pos", "neg"),
        ("Query", "POS", "Neg"),
        ("query", "positive", "negative"),
        ("query", "answer", "hard_negative"),
        ("question", "answer", "negative_1"),
        ("sentence1", "sentence2", "negs"),
        ("text1", "text2", "hard_negatives"),
    ],
)
def test_columns_are_found_by_their_names(columns):
    assert texts(dict(zip(columns, (["a"], ["p"], ["n"]), strict=True))) == [("a", "p", ["n"])]


def test_a_set_without_negatives_gives_empty_lists():
    assert texts({"question": ["a"], "answer": ["p"]}) == [("a", "p", [])]


def test_numbered_negatives_come_in_the_order_of_their_numbers():
    batch = {"query": ["a"], "pos": ["p"], "negative_10": ["n10"], "negative_2": ["n2"], "negative_1": ["n1"]}
    assert texts(batch) == [("a", "p", ["n1", "n2", "n10"])]


def test_each_of_several_positives_gives_a_row_and_copies_give_one():
    batch = {"query": ["a"], "pos": [["p", "q", "p"]], "neg": [["m", "n", "o"]]}
    assert texts(batch) == [("a", "p", ["m", "n", "o"]), ("a", "q", ["m", "n", "o"])]


def test_pairs_lose_their_instruction():
    assert texts(MEDI) == [("where is it?", "at the depot", ["blue"]), ("refund?", "within a week", ["by card"])]


def test_pairs_keep_their_instruction_in_front_of_the_text_if_asked():
    first = texts(MEDI, instructions=True)[0]
    assert first == (
        "Represent the question: where is it?", "Represent the answer: at the depot", ["Represent the answer: blue"],
    )  # fmt: skip


def test_instructions_in_columns_of_their_own_go_before_the_texts_if_asked():
    assert texts(FLAT) == [("where is it?", "at the depot", ["blue"])]
    assert texts(FLAT, instructions=True) == [
        ("Represent the question: where is it?", "at the depot", ["blue"])  # empty and missing ones add nothing
    ]


def test_two_positives_of_a_plain_anchor_are_two_texts():
    assert texts({"query": ["a", "b"], "pos": [["p", "q"], ["r", "s"]]}) == [
        ("a", "p", []), ("a", "q", []), ("b", "r", []), ("b", "s", []),
    ]  # fmt: skip


def test_two_positives_of_a_plain_anchor_are_a_pair_if_the_caller_says_so():
    batch = {"query": ["a"], "pos": [["say", "p"]]}
    assert texts(batch, pairs="instruction") == [("a", "p", [])]
    assert texts(batch, pairs="instruction", instructions=True) == [("a", "say p", [])]


def test_two_positives_of_a_paired_anchor_are_two_texts_if_not_all_lists_have_length_two():
    batch = {"query": [["i", "a"], ["i", "b"]], "pos": [["p", "q"], ["r", "s", "t"]]}
    assert texts(batch)[:2] == [("a", "p", []), ("a", "q", [])]


def test_lists_of_lists_are_pairs_however_many():
    batch = {"query": ["a"], "pos": [[["i", "p"], ["i", "q"]]], "neg": [[["i", "n"]]]}
    assert texts(batch) == [("a", "p", ["n"]), ("a", "q", ["n"])]


def test_anchors_that_are_lists_of_texts_are_refused_with_the_way_out():
    batch = {"query": [["a", "b"], ["c"]], "pos": ["p", "q"]}
    with pytest.raises(DataError, match=r"'query' holds lists of several texts.*say pairs='instruction'"):
        rows(batch)
    with pytest.raises(DataError, match="'query' holds lists of several texts"):
        rows(MEDI, pairs="texts")


def test_pairs_that_are_not_there_are_refused():
    with pytest.raises(DataError, match="pairs is 'instruction', but no column holds lists of two strings"):
        rows({"query": ["a"], "pos": ["p"]}, pairs="instruction")


@pytest.mark.parametrize(
    ("anchor", "positive"), [(None, "p"), ("", "p"), (" \n", "p"), ("a", None), ("a", ""), ("a", []), ("a", ["", None])]
)
def test_a_row_without_anchor_or_positive_gives_nothing(anchor, positive):
    assert rows({"query": [anchor], "pos": [positive], "neg": ["n"]}) == [[]]


def test_a_row_that_breaks_the_pairs_of_the_first_rows_gives_nothing():
    shape = find_shape(MEDI, "the set")
    later = {"query": [["one"]], "pos": [["i", "p"]], "neg": [["i", "n"]], "task_name": ["nq"]}
    assert list(triplets_of(later, shape, task_name="", revision=None)) == [[]]


def test_empty_negatives_are_left_out_with_their_labels_and_texts_are_stripped():
    batch = {"query": [" a "], "pos": ["p\n"], "negatives": [["", "n ", None]], "negative_labels": [["x", 7, "z"]]}
    ((row,),) = rows(batch)
    assert (row["anchor"], row["positive"], row["negatives"], row["negative_labels"]) == ("a", "p", ["n"], ["7"])
    assert row["id"] == triplet_id("a", "p", ["n"])


def test_labels_that_fit_no_negative_are_not_guessed():
    ((row,),) = rows({"query": ["a"], "pos": ["p"], "negatives": [["n", "m"]], "negative_labels": [["x"]]})
    assert row["negative_labels"] is None


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "the set"),
        ({"task_name": [None]}, "the set"),
        ({"task_id": [3]}, "3"),
        ({"task_type": ["mteb_x"]}, "mteb_x"),
    ],
)
def test_the_task_is_read_from_its_column_or_is_the_set(more, expected):
    ((row,),) = rows({"query": ["a"], "pos": ["p"], **more})
    assert (row["task_name"], row["source"], row["source_revision"]) == (expected, "hub", "r1")


@pytest.mark.parametrize("batch", [{"text": ["a"], "label": [1]}, {"query": ["a"]}, {"positive": ["p"]}, {}])
def test_unknown_columns_are_listed_with_the_known_ones(batch):
    with pytest.raises(
        DataError, match=rf"the set has no column.*: {', '.join(batch) or 'none'}\. Known are.*negative_1"
    ):
        rows(batch)


@pytest.mark.parametrize("score", ["label", "score", "Similarity_Score"])
def test_scored_pairs_are_no_positives(score):
    with pytest.raises(DataError, match=f"'{score}' column, so not every"):
        rows({"sentence1": ["a"], "sentence2": ["p"], score: [0]})
