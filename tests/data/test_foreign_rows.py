"""Foreign rows: which columns are found under which names, what lists stand for, and what becomes of bad rows."""

from __future__ import annotations

import pytest

from gisttools.common.errors import DataError
from gisttools.data.triplet_sets import find_shape, is_triplet_shaped, reaching, triplets_of
from gisttools.data.triplets import triplet_id

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


PAIRS = {"sentence1": ["a", "b", "c", "d"], "sentence2": ["p", "q", "r", "s"]}


@pytest.mark.parametrize("score", ["label", "score", "Similarity_Score"])
def test_scored_pairs_are_no_positives_without_a_threshold(score):
    with pytest.raises(DataError, match=rf"'{score}' column, so not every .*Set threshold"):
        rows({**PAIRS, score: [0, 1, 1, 0]})


@pytest.mark.parametrize("name", ["score", "label"])
def test_scored_pairs_count_from_the_threshold_on(name):
    batch = {**PAIRS, name: [0.79, 0.8, None, 1]}
    shape = find_shape(batch, "the set", threshold=0.8)
    kept = reaching(batch, shape)
    found = triplets_of(kept, shape, task_name="", revision=None)
    assert [(t["anchor"], t["positive"]) for (t,) in found] == [("b", "q"), ("d", "s")]


def test_scores_may_be_written_as_strings():
    batch = {**PAIRS, "score": ["0.1", "0.9", "", "1e0"]}
    assert reaching(batch, find_shape(batch, "the set", threshold=0.5))["sentence1"] == ["b", "d"]


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="'label' holds 'entailment', which is no score"):
        find_shape({**PAIRS, "label": ["1", "entailment", "2", "3"]}, "the set", threshold=0.5)


def test_answers_with_a_number_beside_them_may_be_wrong_ones():
    batch = {"question": ["a", "b"], "answer": ["p", "q"], "label": [0, 1]}
    with pytest.raises(DataError, match="holds pairs with a 'label' column"):
        find_shape(batch, "the set")
    assert reaching(batch, find_shape(batch, "the set", threshold=1))["question"] == ["b"]
    assert texts({**batch, "label": ["billing", "orders"]}) == [("a", "p", []), ("b", "q", [])]


def test_a_set_without_scores_has_no_use_for_a_threshold():
    batch = {"query": ["a"], "pos": [["p"]]}
    assert reaching(batch, find_shape(batch, "the set", threshold=0.5)) == batch


def passage(text: str, title: str = "") -> dict:
    return {"docid": "1", "title": title, "text": text}


@pytest.mark.parametrize("inside_out", [False, True])
def test_passages_are_texts_with_their_title_in_front(inside_out):
    positive, negative = [passage("p", "Title")], [passage("n"), passage("m", "Other")]
    if inside_out:
        positive, negative = ({k: [p[k] for p in cell] for k in cell[0]} for cell in (positive, negative))
    batch = {"query_id": ["7"], "query": ["a"], "positive_passages": [positive], "negative_passages": [negative]}
    assert texts(batch) == [("a", "Title p", ["n", "Other m"])]


def test_an_empty_passage_is_no_text():
    batch = {"query": ["a", "b"], "positive_passages": [[passage("", "Title")], []], "negative_passages": [[], []]}
    assert rows(batch) == [[], []]


def test_a_prompt_column_is_the_instruction_of_the_query():
    batch = {"query": ["a"], "pos": [["p"]], "neg": [["n"]], "pos_scores": [[0.9]], "prompt": ["Find it:"]}
    assert texts(batch) == [("a", "p", ["n"])]
    assert texts(batch, instructions=True) == [("Find it: a", "p", ["n"])]


def test_labelled_texts_are_told_as_that():
    with pytest.raises(DataError, match="These look like labelled texts: mine triplets from them"):
        rows({"text": ["a"], "label": [1]})


@pytest.mark.parametrize(
    ("columns", "are"),
    [(("Query", "POS"), True), (("text1", "text2"), True), (("text", "label"), False), (("query",), False)],
)
def test_columns_that_are_shaped_like_triplets(columns, are):
    assert is_triplet_shaped(columns) == are
