"""Folders of evaluation files: the kind is known by files and columns, and what is wrong is told all at once."""

from __future__ import annotations

import logging
import shutil

import pytest
from helpers.local_files import make_folder, write

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.data.folder_rows import read_candidates, read_pairs, read_searched, read_splits
from gisttools.data.folder_tasks import local_tasks
from gisttools.data.folders import eval_folder, has_split, parse_eval_name
from gisttools.data.overlap import eval_sets

ROW = {"text": "a", "label": "x"}
PAIR = {"sentence1": "a", "sentence2": "b"}


def told(folder, *parts, make=local_tasks, error=DataError):
    """The message that a folder is refused with; it holds all of these parts."""
    with pytest.raises(error) as caught:
        make(folder)
    message = str(caught.value)
    for part in parts:
        assert part in message
    return message


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (ROW, "clustering"),
        ({"sentence": "a", "intent": "x"}, "clustering"),
        ({**PAIR, "label": 1}, "pair_classification"),
        ({"question1": "a", "question2": "b", "is_duplicate": 1}, "pair_classification"),
        ({"query": "a", "passage": "b", "label": 1}, "pair_classification"),  # query is also a usual text column
        ({"text1": "a", "text2": "b", "labels": 1}, "pair_classification"),
        ({**PAIR, "score": 1}, "sts"),
        ({"text_a": "a", "text_b": "b", "similarity": 1}, "sts"),
        ({"query": "a", "positive": ["b"], "negative": ["c"]}, "reranking"),
        ({"query": "a", "pos": ["b"], "neg": ["c"], "label": "x"}, "reranking"),
    ],
)
def test_a_test_file_tells_its_kind_by_its_columns(tmp_path, row, kind):
    write(tmp_path / "test.jsonl", [row])
    assert eval_folder(tmp_path).kind == kind


def test_train_and_test_files_make_classification_and_beir_files_retrieval(caretaker, tmp_path):
    assert eval_folder(caretaker).kind == "classification"
    assert eval_folder(make_folder("retrieval", caretaker, tmp_path)).kind == "retrieval"


def test_qrels_may_be_one_file_of_the_test_split(caretaker, tmp_path):
    make_folder("retrieval", caretaker, tmp_path, ".tsv")
    before = read_searched(eval_folder(tmp_path))
    shutil.move(tmp_path / "qrels" / "test.tsv", tmp_path / "qrels.tsv")
    assert read_searched(eval_folder(tmp_path)) == before
    assert has_split(tmp_path / "qrels", "test") is False
    told(tmp_path, "missing: qrels/dev.tsv", make=lambda f: eval_folder(f, "dev"))


def test_columns_of_two_kinds_are_ambiguous_until_one_is_told(tmp_path):
    write(tmp_path / "test.csv", [{**PAIR, "label": i % 2, "score": i} for i in range(4)])
    told(tmp_path, "tell of several kinds of task: pair_classification, sts", "test.csv (columns sentence1", "#sts")
    assert read_pairs(eval_folder(f"{tmp_path}#sts")).values == [0, 1, 2, 3]
    assert read_pairs(eval_folder(f"{tmp_path}#pair-classification")).values == [0, 1, 0, 1]


def test_files_of_two_kinds_are_ambiguous(caretaker, tmp_path):
    make_folder("retrieval", caretaker, tmp_path)
    make_folder("classification", caretaker, tmp_path)
    told(tmp_path, "several kinds of task: classification, retrieval")
    assert [len(local_tasks(f"{tmp_path}#{kind}")) for kind in ("classification", "retrieval")] == [1, 1]


def test_two_files_of_one_split_are_refused(caretaker, tmp_path):
    make_folder("classification", caretaker, tmp_path)
    make_folder("classification", caretaker, tmp_path, ".csv")
    told(tmp_path, "train.csv, train.jsonl are all its train", "test.csv, test.jsonl are all its test", "Leave one")


def test_a_folder_of_no_kind_lists_what_is_there_and_what_each_kind_needs(tmp_path):
    write(tmp_path / "test.csv", [{"words": "a", "kind": "x"}])
    (tmp_path / "notes.txt").write_text("x")
    message = told(
        tmp_path, "found: notes.txt, test.csv (columns words, kind)", "sts needs", "retrieval needs", "qrels"
    )
    assert "clustering needs a test file with a text and a label column; missing: a column text or sentence" in message
    assert message.index("clustering needs") < message.index("retrieval needs")  # the nearest first


def test_an_incomplete_beir_folder_says_what_is_missing(caretaker, tmp_path):
    make_folder("retrieval", caretaker, tmp_path)
    shutil.rmtree(tmp_path / "qrels")
    write(tmp_path / "queries.jsonl", [{"query_number": 1, "text": "a"}])
    told(tmp_path, "missing: a column _id or id in queries.jsonl, qrels/test.tsv")


def test_a_kind_that_was_told_says_what_it_misses(caretaker):
    message = told(f"{caretaker}#sts", "no sts task can be made of it", "sentence1 and sentence2", "score")
    assert "clustering needs" not in message


def test_a_kind_that_does_not_exist_has_a_suggestion(caretaker):
    told(f"{caretaker}#clustring", "'clustring' is no kind of task. Did you mean 'clustering'", error=ParameterError)


def test_a_folder_whose_name_holds_the_mark_is_a_folder(caretaker, tmp_path):
    folder = tmp_path / "set #2"
    shutil.copytree(caretaker, folder)
    assert parse_eval_name(folder) == (folder, None)
    assert parse_eval_name(f"{folder}#STS") == (folder, "sts")
    assert local_tasks(f"{folder}#clustering")[0].metadata.name == "set #2_clustering"


def test_what_is_not_there_is_refused(tmp_path):
    told(tmp_path / "gone", "There is no folder or file", "holds test texts", error=MissingError)


def test_a_folder_without_the_split_is_missing_something(tmp_path):
    write(tmp_path / "data.csv", [{"id": 1}])
    told(tmp_path, "found: data.csv", "missing: test.jsonl", error=MissingError)


def test_problems_of_several_files_are_told_at_once(tmp_path):
    write(tmp_path / "train.jsonl", [ROW, {"text": "", "label": "y"}])
    write(tmp_path / "test.jsonl", [ROW, {"text": "b", "label": None}])
    told(tmp_path, "split train: 1 problem(s)", "split test: 1 problem(s)", "'text' is empty", "'label' is empty")


# texts with labels


def labelled(tmp_path, train, test):
    for name, rows in (("train", train), ("test", test)):
        write(tmp_path / f"{name}.jsonl", [{"text": f"{name} {i}", "label": label} for i, label in enumerate(rows)])
    return tmp_path


def test_lists_of_labels_make_it_multilabel(tmp_path):
    folder = labelled(tmp_path, [["a", "b"], ["b"], ["a"], ["c"], ["a"]], [["a"], ["b"]])
    data = read_splits(eval_folder(folder))
    assert (data.kind, data.known) == ("multilabel_classification", ["a", "b", "c"])
    assert [t.metadata.type for t in local_tasks(folder)] == ["MultilabelClassification"]


@pytest.mark.parametrize("kind", ["classification", "clustering"])
def test_lists_of_labels_do_not_fit_a_kind_of_one_label(tmp_path, kind):
    folder = labelled(tmp_path, [["a", "b"], ["b"]], [["a", "b"], ["b"]])
    told(f"{folder}#{kind}", "have several labels", f"{kind} needs one", "#multilabel_classification")


def test_single_labels_may_be_scored_as_multilabel(tmp_path):
    folder = labelled(tmp_path, ["a", "b"] * 3, ["a", "b"])
    (task,) = local_tasks(f"{folder}#multilabel_classification")
    assert task.dataset["test"]["label"] == [[0], [1]]


def test_multilabel_problems_are_told_together(tmp_path):
    folder = labelled(tmp_path, [["a", "b"], ["b"]], [["a"], ["z"]])
    told(folder, "2 problem(s)", "train holds 2 texts", "nearest", "never occur in train: z", "Add train texts")


def test_lists_written_into_a_csv_are_no_labels(tmp_path):
    for name in ("train", "test"):
        write(tmp_path / f"{name}.csv", [{"text": f"{name} {x}", "label": f'["{x}", "c"]'} for x in "ab"])
    told(tmp_path, "lists written as JSON", "JSONL or Parquet")


def test_a_class_that_only_train_has_is_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    local_tasks(labelled(tmp_path, ["a", "b", "c"], ["a", "b"]))
    assert "1 label(s) have no test text, nothing is said of them: c" in caplog.text


def test_test_texts_that_stand_in_train_too_are_told(tmp_path, caplog):
    write(tmp_path / "train.csv", [{"text": f"My text {x}", "label": x} for x in "abc"])
    write(
        tmp_path / "test.csv", [{"text": f"my  TEXT {x}", "label": x} for x in "ab"] + [{"text": "new", "label": "c"}]
    )
    local_tasks(tmp_path)
    assert "2 text(s) of test stand in train too" in caplog.text


def test_test_texts_are_known_without_their_train_labels(tmp_path):
    folder = labelled(tmp_path, ["a", "b"], ["a", "z"])
    assert eval_sets(folders=[folder]) == {str(folder): ["test 0", "test 1"]}


# pairs


def test_truth_values_of_all_writings_are_labels(tmp_path):
    cells = ["1", "0", "true", "False", "1.0", " TRUE "]
    write(tmp_path / "test.csv", [{**PAIR, "label": cell} for cell in cells])
    assert read_pairs(eval_folder(tmp_path)).values == [1, 0, 1, 0, 1, 1]


def test_problems_of_pairs_are_told_at_once(tmp_path):
    rows = [{**PAIR, "label": 1}, {"sentence1": " ", "sentence2": None, "label": 3.5}, {**PAIR, "label": "yes"}]
    write(tmp_path / "test.jsonl", rows)
    told(
        tmp_path,
        "3 problem(s)",
        "'sentence1' is empty or no text in row(s) 1",
        "'sentence2' is empty or no text in row(s) 1",
        "'label' is not 0 or 1 in row(s) 1, 2 (first: 3.5)",
        "If 'label' is a score, say",
    )


@pytest.mark.parametrize("score", [None, "", "high", float("nan"), float("inf"), [1]])
def test_a_score_that_is_no_number_is_refused(tmp_path, score):
    write(tmp_path / "test.jsonl", [{**PAIR, "score": 1}, {**PAIR, "score": score}])
    told(tmp_path, "'score' is no finite number in row(s) 1")


@pytest.mark.parametrize(("column", "hint"), [("score", "pairs have the value 1"), ("label", "do not mean the same")])
def test_values_that_are_all_equal_are_refused(tmp_path, column, hint):
    write(tmp_path / "test.jsonl", [{**PAIR, column: 1}] * 3)
    told(tmp_path, "all 3 pairs have the value 1", hint)


def test_scores_in_a_label_column_are_read_when_told(tmp_path):
    write(tmp_path / "test.csv", [{**PAIR, "label": label} for label in ("0.5", "4.75")])
    assert read_pairs(eval_folder(f"{tmp_path}#sts")).values == [0.5, 4.75]


def test_the_range_of_the_scores_is_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write(tmp_path / "test.csv", [{**PAIR, "score": score} for score in (-1, 0.5, 100)])
    read_pairs(eval_folder(tmp_path))
    assert "scores of 3 pairs, from -1 to 100" in caplog.text


# corpus, queries, judgements


def searched(tmp_path, **changes):
    rows = {
        "corpus": [{"id": 1, "text": "a", "title": None}, {"id": 2, "text": "", "title": "b"}],
        "queries": [{"_id": "q1", "text": "x"}, {"_id": "q2", "text": "y"}],
        "qrels": [{"query-id": "q1", "corpus-id": 1, "score": 1}, {"query-id": "q2", "corpus-id": 2.0, "score": "2"}],
    }
    for name, content in (rows | changes).items():
        write(tmp_path / f"{name}.jsonl", content)
    return tmp_path


def test_ids_and_scores_are_read_whatever_their_type(tmp_path):
    data = read_searched(eval_folder(searched(tmp_path)))
    assert data.corpus == {"1": ("", "a"), "2": ("b", "")}
    assert data.relevant == {"q1": {"1": 1}, "q2": {"2": 2}}


def test_problems_of_all_three_files_are_told_at_once(tmp_path):
    searched(
        tmp_path,
        corpus=[{"id": 1, "text": "a"}, {"id": "1", "text": "b"}, {"id": None, "text": " "}],
        queries=[{"_id": "q1", "text": None}],
        qrels=[
            {"query-id": "q1", "corpus-id": "1", "score": 0.5},
            {"query-id": "q7", "corpus-id": "d9", "score": 1},
            {"query-id": "q1", "corpus-id": "1", "score": float("nan")},
            {"query-id": "q7", "corpus-id": "d9", "score": 0},
        ],
    )
    told(
        tmp_path,
        "8 problem(s)",
        "corpus.jsonl: 'text' is empty or no text in row(s) 2",
        "corpus.jsonl: 'id' holds no id in row(s) 2",
        "corpus.jsonl: ids come more than once: '1'",
        "queries.jsonl: 'text' is empty or no text in row(s) 0",
        "qrels.jsonl: 'score' is no whole number in row(s) 0, 2 (first: 0.5)",
        "qrels.jsonl: a document is judged again, and otherwise in row(s) 3",
        "1 query-id(s) are not in queries.jsonl: 'q7'",
        "1 corpus-id(s) are not in corpus.jsonl: 'd9'",
    )


def test_queries_without_a_judgement_are_left_out_and_told(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    qrels = [{"query-id": "q1", "corpus-id": 1, "score": 1}]
    assert read_searched(eval_folder(searched(tmp_path, qrels=qrels))).queries == {"q1": "x"}
    assert "1 of 2 queries left out" in caplog.text


def test_queries_whose_documents_are_all_judged_0_count_as_in_mteb(tmp_path, caplog):
    qrels = [{"query-id": f"q{i}", "corpus-id": i, "score": 2 - i} for i in (1, 2)]
    assert set(read_searched(eval_folder(searched(tmp_path, qrels=qrels))).queries) == {"q1", "q2"}
    assert "1 queries have no relevant document" in caplog.text


def test_judgements_that_find_nothing_relevant_are_refused(tmp_path):
    told(searched(tmp_path, qrels=[{"query-id": "q1", "corpus-id": 1, "score": 0}]), "no document is relevant")


def test_queries_that_would_find_themselves_are_told(tmp_path, caplog):
    searched(tmp_path, queries=[{"_id": 1, "text": "a"}], qrels=[{"query-id": 1, "corpus-id": 2, "score": 1}])
    read_searched(eval_folder(tmp_path))
    assert "1 queries stand in the corpus by their own id" in caplog.text


# candidates


def test_a_single_text_is_a_list_of_one(tmp_path):
    write(tmp_path / "test.csv", [{"query": "q", "positive": '["a", "b"]', "negative": "c [1]"}])
    data = read_candidates(eval_folder(tmp_path))
    assert [text for _, text in data.corpus.values()] == ["a", "b", "c [1]"]


def test_problems_of_candidates_are_told_at_once(tmp_path):
    rows = [
        {"query": "", "positive": ["a"], "negative": ["b"]},
        {"query": "q", "positive": ["a", " "], "negative": {"text": "b"}},
        {"query": "q", "positive": ["a", "b"], "negative": ["b"]},
    ]
    write(tmp_path / "test.jsonl", rows)
    told(
        tmp_path,
        "4 problem(s)",
        "'query' is empty or no text in row(s) 0",
        "a text of 'positive' is empty or no text in row(s) 1",
        "'negative' is no list of texts in row(s) 1",
        "a text is both positive and negative in row(s) 2 (first: 'b')",
    )


def test_candidates_of_one_sort_alone_are_refused(tmp_path):
    write(tmp_path / "test.jsonl", [{"query": "q", "positive": ["a"], "negative": []}])
    told(tmp_path, "no query has both positive and negative texts")
