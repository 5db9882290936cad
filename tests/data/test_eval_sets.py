"""Evaluation sets: their texts are those that the task is scored on, whatever shape mteb keeps them in."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from datasets import Dataset, DatasetDict

from gisttools.common.errors import MissingError
from gisttools.data.folder_tasks import local_tasks
from gisttools.data.labelled import read_labelled
from gisttools.data.mteb_tasks import load_task
from gisttools.data.options import ReadOptions
from gisttools.data.overlap import all_texts_of, eval_sets, eval_task, texts_of


def test_of_a_folder_the_test_texts_are_read(caretaker):
    (texts,) = eval_sets(folders=[caretaker]).values()
    assert texts == list(dict.fromkeys(read_labelled(caretaker, ReadOptions(split="test")).texts))


def test_of_a_local_task_the_same(caretaker):
    task = local_tasks(caretaker)[0]
    load_task(task)
    assert all_texts_of(task) == eval_sets(folders=[caretaker])[str(caretaker)]


@pytest.mark.parametrize(
    ("task", "data", "texts"),
    [
        ({"input_column_name": "text"}, {"text": ["a", "b"], "label": [0, 1]}, ["a", "b"]),
        ({"column_names": ("s1", "s2")}, {"s1": ["a", "b"], "s2": ["c", "d"], "score": [1, 2]}, ["a", "b", "c", "d"]),
        ({"input_column_name": "sentences"}, {"sentences": [["a", "b"], ["c"]]}, ["a", "b", "c"]),
        (
            {"input1_column_name": "one", "input2_column_name": "two"},  # of pair classification
            {"one": ["a", "b"], "two": ["c", "d"], "labels": [0, 1]},
            ["a", "b", "c", "d"],
        ),
        ({"input_column_name": "gone"}, {"text": ["a"]}, []),
    ],
)
def test_texts_stand_in_the_columns_that_the_task_names(task, data, texts):
    assert texts_of(SimpleNamespace(**task), Dataset.from_dict(data)) == texts


def test_of_retrieval_the_queries_count_and_not_the_corpus():
    data = {"queries": Dataset.from_dict({"id": ["1"], "text": ["q"]}), "corpus": Dataset.from_dict({"text": ["d"]})}
    assert texts_of(SimpleNamespace(), data) == ["q"]


def test_only_subsets_and_splits_that_are_scored_count():
    parts = {
        s: DatasetDict({split: Dataset.from_dict({"text": [f"{s} {split}"]}) for split in ("train", "test")})
        for s in ("en", "de")
    }
    task = SimpleNamespace(input_column_name="text", hf_subsets=["de"], eval_splits=["test"], dataset=parts)
    assert all_texts_of(task) == ["de test"]


def test_a_subset_that_a_task_lacks_is_refused():
    with pytest.raises(MissingError, match=r"none of the subsets \['xx'\]"):
        eval_task("AmazonCounterfactualClassification", ["xx"])


def test_an_unknown_task_is_refused():
    with pytest.raises(MissingError, match="Banking77Classification"):
        eval_sets(["Banking77Clasification"])
