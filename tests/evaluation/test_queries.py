"""What each query of a search scored, and what was found in place of its answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from datasets import Dataset

from gisttools.evaluation.queries import QUERIES, query_rows, query_table

TASK = SimpleNamespace(metadata=SimpleNamespace(name="manual", main_score="ndcg_at_10"))
DATA = {
    "queries": Dataset.from_dict({"id": ["q1", "q2", "q3", "q4"], "text": ["drain", "fill", "carry", "unjudged"]}),
    "corpus": Dataset.from_dict(
        {"id": ["d1", "d2", "d3"], "title": ["Winter", "", "Spring"], "text": ["Drain it.", "Fill it.", "Carry it."]}
    ),
    "relevant_docs": {"q1": {"d1": 1, "d2": 0}, "q2": {"d2": 2, "d3": 1}, "q3": {"d3": 1}},
}
BASE = {
    "q1": {"d1": 0.9, "d2": 0.5, "d3": 0.1},
    "q2": {"d1": 0.9, "d2": 0.5, "d3": 0.4},
    "q3": {"d3": 0.9, "d1": 0.5},
    "q4": {"d1": 1.0},
}
TUNED = {
    "q1": {"d1": 0.2, "d2": 0.5, "d3": 0.3},
    "q2": {"d1": 0.1, "d2": 0.5, "d3": 0.4},
    "q3": {"d3": 0.8, "d1": 0.5},
    "q4": {"d1": 1.0},
}


def rows(*tuned, base=BASE, task=TASK, data=DATA):
    return {row["query"]: row for row in query_rows(task, "default", data, base, tuned or [TUNED])}


def test_each_judged_query_has_its_scores_places_and_documents():
    found = rows()
    assert list(found) == ["q1", "q2", "q3"]
    lost = found["q1"]
    assert (lost["base"], lost["tuned"]) == (1.0, pytest.approx(0.5))  # 1 / log2(1 + 3)
    assert (lost["base_rank"], lost["tuned_rank"]) == (1, 3)
    assert (lost["text"], lost["answer"]) == ("drain", "Winter Drain it.")
    assert (lost["base_found"], lost["tuned_found"]) == ("Winter Drain it.", "Fill it.")
    gained = found["q2"]
    assert gained["tuned"] == 1.0 > gained["base"]
    assert (gained["base_rank"], gained["tuned_rank"], gained["answer"]) == (2, 1, "Fill it.")


def test_of_queries_that_did_not_change_no_documents_are_kept():
    same = rows()["q3"]
    assert (same["base"], same["tuned"]) == (1.0, 1.0)
    assert (same["answer"], same["base_found"], same["tuned_found"]) == (None, None, None)


def test_of_several_trainings_the_score_is_a_mean_and_the_place_the_first_ones():
    found = rows(TUNED, BASE)["q1"]
    assert found["tuned"] == pytest.approx(0.75)
    assert found["tuned_rank"] == 3


def test_what_is_not_found_has_no_place():
    found = rows({**TUNED, "q3": {"d1": 0.9}})["q3"]
    assert (found["base_rank"], found["tuned_rank"], found["tuned"]) == (1, None, 0.0)
    assert found["tuned_found"] == "Winter Drain it."


def test_a_document_that_is_the_query_itself_is_passed_over_where_the_task_says_so():
    task = SimpleNamespace(metadata=TASK.metadata, ignore_identical_ids=True)
    data = {**DATA, "relevant_docs": {"q1": {"d1": 1}}, "queries": DATA["queries"]}
    found = rows({"q1": {"q1": 1.0, "d1": 0.5}}, base={"q1": {"q1": 1.0, "d2": 0.6, "d1": 0.5}}, task=task, data=data)
    assert (found["q1"]["base_rank"], found["q1"]["tuned_rank"]) == (2, 1)


def test_equal_scores_stand_as_the_score_counts_them():
    tied = {"q1": {"d1": 0.5, "d3": 0.5}}
    data = {**DATA, "relevant_docs": {"q1": {"d1": 1}}}
    found = rows(tied, base=tied, data=data)["q1"]
    assert (found["base_rank"], found["base"]) == (2, pytest.approx(0.6309, abs=1e-4))  # 1 / log2(1 + 2)


@pytest.mark.parametrize(
    ("data", "base", "task"),
    [
        (None, BASE, TASK),
        (Dataset.from_dict({"text": ["a"]}), BASE, TASK),
        (DATA, None, TASK),
        (DATA, BASE, SimpleNamespace(metadata=SimpleNamespace(name="x", main_score="v_measure"))),
    ],
    ids=["no data", "no search", "nothing saved", "another measure"],
)
def test_other_tasks_have_none(data, base, task):
    assert query_rows(task, "default", data, base, [TUNED]) == []


def test_the_table_of_none_has_the_columns_too():
    assert list(query_table([]).columns) == QUERIES
    (row,) = query_table([rows()["q1"] | {"variant": "tuned"}]).to_dict("records")
    assert (row["base_rank"], row["variant"]) == (1, "tuned")
