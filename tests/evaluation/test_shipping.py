"""The folder that is left to be used: what it says was measured, and its lines run as they stand."""

from __future__ import annotations

import re

import numpy as np
import pytest
from helpers.evaluation_folders import TOPICS

from gisttools.evaluation.shipping import Shipped, shipped
from gisttools.models.classifier import Classifier, fit_linear

TEXTS = [text for texts in TOPICS.values() for text in texts]
LABELS = [label for label, texts in TOPICS.items() for _ in texts]
TESTS = [f"please: {text}" for text in TEXTS]


@pytest.fixture
def folder(wordllama, tmp_path):
    linear = fit_linear(wordllama.encode(TEXTS), LABELS)
    shipped("tuned", wordllama, linear, wordllama.encode(TESTS), LABELS, {"task": "own"}).save(tmp_path / "model")
    return tmp_path / "model"


def test_the_lines_of_the_readme_run(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    (block,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(block.splitlines()) <= 6
    exec(block, {})
    first, second = capsys.readouterr().out.splitlines()
    classifier = Classifier.load(folder)
    assert first == str(classifier.predict(["a first text", "a second one"]))
    assert second == str(classifier.predict(["a text"], threshold=round(classifier.about["threshold"], 2)))


def test_what_is_said_was_measured(folder, wordllama):
    classifier = Classifier.load(folder)
    right = np.mean([a == b for a, b in zip(classifier.predict(TESTS), LABELS, strict=True)])
    assert classifier.about["accuracy"] == right
    assert f"labels {100 * right:.1f} % right" in (folder / "README.md").read_text()
    assert classifier.about["labels"] == sorted(TOPICS)
    assert classifier.threshold == 0


def test_a_search_has_lines_that_run(wordllama, tmp_path, capsys, monkeypatch):
    Shipped(name="tuned", encoder=wordllama, about={"task": "own"}).save(tmp_path / "model")
    monkeypatch.chdir(tmp_path / "model")
    (block,) = re.findall(r"```python\n(.*?)```", (tmp_path / "model" / "README.md").read_text(), re.DOTALL)
    exec(block, {})
    assert len(capsys.readouterr().out.splitlines()) == 2
