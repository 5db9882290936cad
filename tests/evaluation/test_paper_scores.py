"""The paper's table: its averages are those that the paper prints."""

from __future__ import annotations

import pytest

from gisttools.evaluation.published import STUDENTS, _table, paper_scores


@pytest.fixture(scope="module")
def whole():
    return paper_scores(_table()["task"]).set_index(["student", "category"])


@pytest.mark.parametrize(
    ("student", "base", "gist"),
    [
        ("all-MiniLM-L6-v2", 56.26, 59.00),
        ("bge-small-en-v1.5", 62.17, 62.72),
        ("bge-base-en-v1.5", 63.55, 63.71),
        ("bge-large-en-v1.5", 64.23, 64.34),
    ],
)
def test_averages_over_all_tasks_are_the_papers(whole, student, base, gist):
    row = whole.loc[(student, "all tasks")]
    assert (100 * row["base"], 100 * row["gist"]) == (pytest.approx(base, abs=0.006), pytest.approx(gist, abs=0.006))
    assert (row["n_tasks"], row["of_tasks"]) == (56, 56)


def test_averages_by_category_are_the_papers(whole):
    row = whole.loc[("all-MiniLM-L6-v2", "Classification")]
    assert 100 * row["base"] == pytest.approx(63.05, abs=0.006)
    assert 100 * row["gist"] == pytest.approx(72.72, abs=0.006)
    assert row["difference"] == pytest.approx(row["gist"] - row["base"])


def test_of_some_tasks_only_they_count():
    table = paper_scores(["Banking77Classification", "AmazonCounterfactualClassification", "my_own"])
    assert table["student"].tolist() == list(STUDENTS)
    assert set(zip(table["category"], table["n_tasks"], table["of_tasks"], strict=True)) == {("Classification", 2, 12)}
    first = table.iloc[0]
    assert 100 * first["base"] == pytest.approx((79.75 + 64.15) / 2)


def test_of_none_of_its_tasks_there_are_no_rows():
    assert paper_scores(["my_own"]).empty
