"""Leakage: test texts in the training table are found in every tier, and refused before any model runs."""

from __future__ import annotations

import pytest

from gisttools.common.errors import DataError
from gisttools.data.folder_tasks import local_tasks
from gisttools.data.labelled import read_labelled
from gisttools.data.options import ReadOptions
from gisttools.data.overlap import SHARED_COLUMNS, shared_texts
from gisttools.evaluation.evaluating import Variant, evaluate
from gisttools.evaluation.tasks import task_sources


@pytest.fixture(scope="module")
def tasks(caretaker):
    return {"mine": lambda: local_tasks(caretaker)[0]}


@pytest.fixture(scope="module")
def test_texts(caretaker):
    return read_labelled(caretaker, ReadOptions(split="test")).texts


def test_equal_texts_and_near_copies_are_found(tasks, test_texts):
    training = ["something else", test_texts[0].upper(), test_texts[3] + "!"]
    shared = shared_texts(tasks, training, allow=True)
    assert list(shared.columns) == list(SHARED_COLUMNS)
    found = {r.text: (r.task, r.tier, r.training_text) for r in shared.itertuples()}
    assert found == {
        test_texts[0]: ("mine", "exact", training[1]),
        test_texts[3]: ("mine", "near", training[2]),
    }


def test_a_shared_text_is_refused_with_counts_an_example_and_the_mend(tasks, test_texts):
    with pytest.raises(DataError, match=r"(?s)mine: 2 test texts \(2 exact\).*allow_overlap = true"):
        shared_texts(tasks, test_texts[:2])


@pytest.mark.parametrize("training", [[], ["something else"]])
def test_nothing_shared_is_an_empty_table(tasks, training):
    shared = shared_texts(tasks, training)
    assert (list(shared.columns), len(shared)) == (list(SHARED_COLUMNS), 0)


def test_an_evaluation_refuses_before_any_model_runs(caretaker, test_texts, tmp_path):
    with pytest.raises(DataError, match="holds texts of the test data"):
        evaluate(
            {"base": None, "tuned": None},
            task_sources(files=[caretaker]),
            tmp_path,
            variants=[Variant(trained_on=["x.csv"], training_texts=test_texts[:1])],
        )
    assert list(tmp_path.iterdir()) == []
