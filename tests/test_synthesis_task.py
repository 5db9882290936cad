"""Task descriptions: what is accepted, and that everything wrong is said at once."""

from pathlib import Path

import pytest

from gisttools.errors import DataError, MissingError
from gisttools.synthesis.prompts import FOLDER
from gisttools.synthesis.task import read_task

GOOD = """
name: pets
kind: classification
description: "What people say about pets."
domain: "a pet forum"
language: eng-Latn
labels:
  dog: {about: "About dogs.", confusable: [cat], seeds: ["My dog barks."]}
  cat: {about: "About cats.", seeds: ["My cat sleeps."]}
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "task.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_task_is_read_with_defaults(tmp_path):
    task = read_task(_write(tmp_path, GOOD))
    assert list(task.labels) == ["dog", "cat"]
    assert task.labels["dog"].confusable == ("cat",)
    assert task.registers
    assert task.seeds == ["My dog barks.", "My cat sleeps."]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"nowhere\.yaml"):
        read_task(tmp_path / "nowhere.yaml")


def test_all_contradictions_are_listed_at_once(tmp_path):
    text = GOOD.replace("confusable: [cat]", "confusable: [cta, dog]").replace('"My cat sleeps."', '" "')
    text += 'forbidden: ["("]\n'
    with pytest.raises(DataError) as caught:
        read_task(_write(tmp_path, text))
    message = str(caught.value)
    assert "4 problem(s)" in message
    for part in ("no label 'cta'", "'cat'", "names itself", "labels.cat.seeds[0]: is empty", "no regular expression"):
        assert part in message


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (GOOD.replace("domain:", "domian:"), "Did you mean 'domain'?"),
        (GOOD.replace("{about: ", "{abuot: "), "Did you mean 'about'?"),
        (GOOD.replace("eng-Latn", "english"), "eng-Latn"),
        (GOOD.replace("kind: classification", "kind: poetry"), "classification"),
    ],
)
def test_unknown_keys_and_values_come_with_a_hint(tmp_path, wrong, hint):
    with pytest.raises(DataError) as caught:
        read_task(_write(tmp_path, wrong))
    assert hint in str(caught.value)


@pytest.mark.parametrize("word", ["no", "yes", "on", "12", "2024-01-01"])
def test_a_bare_word_that_yaml_reads_as_something_else_is_explained(tmp_path, word):
    text = GOOD.replace("  dog:", f"  {word}:").replace("confusable: [cat], ", "")
    with pytest.raises(DataError, match="Put it in quotes"):
        read_task(_write(tmp_path, text))


def test_one_label_is_too_few(tmp_path):
    text = GOOD.split("  cat:")[0].replace("confusable: [cat], ", "")
    with pytest.raises(DataError, match="at least 2"):
        read_task(_write(tmp_path, text))


def test_the_example_task_takes_its_seeds_from_the_train_split():
    import json

    data = FOLDER.parent / "data" / "support_intents"
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    labels_of = {row["text"]: row["label"] for row in rows}
    task = read_task(FOLDER / "tasks" / "support_intents.yaml")
    assert set(task.labels) == set(labels_of.values())
    for name, label in task.labels.items():
        assert len(label.seeds) == 4
        assert {labels_of.get(text) for text in label.seeds} == {name}
