"""A folder of labelled texts as mteb tasks: mteb scores them like its own, and bad folders are refused."""

from __future__ import annotations

import json
import shutil

import mteb
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from gisttools.common.errors import DataError, MissingError
from gisttools.data.folder_tasks import local_tasks
from gisttools.data.labelled import read_labelled
from gisttools.data.options import ReadOptions


def score_of(task, model) -> float:
    result = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    return result.task_results[0].get_score()


def test_a_folder_gives_a_classification_and_a_clustering_task(caretaker):
    tasks = local_tasks(caretaker)
    assert [(t.metadata.name, t.metadata.type) for t in tasks] == [
        ("caretaker", "Classification"),
        ("caretaker_clustering", "Clustering"),
    ]
    assert [t.metadata.type for t in local_tasks(caretaker, kinds=("clustering",))] == ["Clustering"]


def test_the_tasks_hold_the_texts_and_labels_of_the_files(caretaker):
    task, _ = local_tasks(caretaker)
    test = read_labelled(caretaker, ReadOptions(split="test"))
    assert task.dataset["test"]["text"][:] == test.texts
    assert [task.label_names[i] for i in task.dataset["test"]["label"]] == test.labels
    assert len(task.dataset["train"]) == 48


@pytest.mark.slow
def test_the_classification_score_is_that_of_ten_draws_of_logistic_regression(caretaker, wordllama):
    """mteb's procedure written out: each draw shuffles the order of the draw before and takes 8 train texts a label."""
    train, test = read_labelled(caretaker), read_labelled(caretaker, ReadOptions(split="test"))
    x, x_test = wordllama.encode(train.texts), wordllama.encode(test.texts)
    accuracies, order = [], list(range(len(train)))
    for _ in range(10):
        np.random.RandomState(42).shuffle(order)
        chosen = [i for label in train.classes for i in [i for i in order if train.labels[i] == label][:8]]
        chosen.sort(key=order.index)
        classifier = LogisticRegression(max_iter=100, random_state=42)
        classifier.fit(x[chosen], [train.labels[i] for i in chosen])
        accuracies.append((classifier.predict(x_test) == test.labels).mean())
    assert len(set(accuracies)) > 1
    assert score_of(local_tasks(caretaker)[0], wordllama) == pytest.approx(np.mean(accuracies), abs=1e-9)


@pytest.mark.slow
def test_fresh_tasks_give_the_same_score_again(caretaker, wordllama):
    for first, again in zip(local_tasks(caretaker), local_tasks(caretaker), strict=True):
        assert score_of(first, wordllama) == score_of(again, wordllama)


@pytest.mark.slow
def test_a_better_model_scores_better(caretaker, wordllama, minilm):
    for weak, strong in zip(local_tasks(caretaker), local_tasks(caretaker), strict=True):
        assert score_of(strong, minilm) > score_of(weak, wordllama)


def test_the_revision_changes_with_any_text_or_label(caretaker, tmp_path):
    revisions = {local_tasks(caretaker)[0].metadata.dataset["revision"]}
    for n, (old, new) in enumerate([("ice cold", "cold"), ('"label": "keys"', '"label": "noise"')]):
        folder = tmp_path / str(n)
        shutil.copytree(caretaker, folder)
        text = (folder / "test.jsonl").read_text()
        assert old in text
        (folder / "test.jsonl").write_text(text.replace(old, new, 1))
        revisions.add(local_tasks(folder)[0].metadata.dataset["revision"])
    assert len(revisions) == 3


def test_classes_smaller_than_eight_are_drawn_whole(caretaker, tmp_path, wordllama):
    lines = (caretaker / "train.jsonl").read_text().splitlines()
    (tmp_path / "train.jsonl").write_text("\n".join(lines[::5]))  # two or three of each
    shutil.copy(caretaker / "test.jsonl", tmp_path)
    task, _ = local_tasks(tmp_path)
    assert task.samples_per_label == 2
    assert 0 < score_of(task, wordllama) < 1


def test_names_of_folders_may_hold_spaces_and_accents(caretaker, tmp_path, wordllama):
    folder = tmp_path / "mein Häuschen (2)"
    shutil.copytree(caretaker, folder)
    task, _ = local_tasks(folder)
    assert task.metadata.name == "mein Häuschen (2)"
    assert score_of(task, wordllama) == score_of(local_tasks(caretaker)[0], wordllama)


def test_every_test_label_that_train_lacks_is_named(caretaker, tmp_path):
    shutil.copytree(caretaker, tmp_path / "mine")
    with open(tmp_path / "mine" / "test.jsonl", "a", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": "x", "label": label}) + "\n" for label in ("garden", "lift"))
    with pytest.raises(DataError) as caught:
        local_tasks(tmp_path / "mine")
    for part in ("mine: 1 problem(s)", "2 label(s) of the test split never occur in train: garden, lift", "add train"):
        assert part in str(caught.value)


@pytest.mark.parametrize("left", [3, 2])
def test_a_label_that_no_test_text_has_is_told_and_the_others_are_scored(caretaker, tmp_path, wordllama, caplog, left):
    """mteb takes two labels in test for a binary task, and fails where train holds more."""
    shutil.copytree(caretaker, tmp_path / "mine")
    rows = [json.loads(line) for line in (caretaker / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    gone = sorted({row["label"] for row in rows})[left:]
    kept = [json.dumps(row) for row in rows if row["label"] not in gone]
    (tmp_path / "mine" / "test.jsonl").write_text("\n".join(kept), encoding="utf-8")
    (task,) = local_tasks(tmp_path / "mine", kinds=("classification",))
    assert f"{len(gone)} label(s) have no test text, nothing is said of them: {', '.join(gone)}" in caplog.text
    result = mteb.evaluate(wordllama, task, cache=None, co2_tracker=False, show_progress_bar=False)
    (scores,) = result.task_results[0].scores["test"]
    assert 0.5 < scores["accuracy"] <= 1
    draws = scores["scores_per_experiment"]
    assert all(draw["recall_weighted"] == pytest.approx(draw["accuracy"]) for draw in draws)


def test_a_folder_without_test_is_refused(caretaker, tmp_path):
    shutil.copy(caretaker / "train.jsonl", tmp_path)
    with pytest.raises(MissingError, match=r"test\.jsonl"):
        local_tasks(tmp_path)
