"""The folder that is left to be used: what it says was measured, and its lines run as they stand."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
from helpers.evaluation_folders import TOPICS, label_folder

from gisttools.evaluation.candidates import Encoder, find_candidates
from gisttools.evaluation.models import scored
from gisttools.evaluation.scores import ScoreCache
from gisttools.evaluation.shipping import Shipped
from gisttools.evaluation.tasks import task_sources
from gisttools.models.classifier import Classifier

TEXTS = [text for texts in TOPICS.values() for text in texts]
LABELS = [label for label, texts in TOPICS.items() for _ in texts]
TESTS = [f"please: {text}" for text in TEXTS]


def left(model, folder):
    """What an evaluation of one model leaves."""
    (source, *_) = task_sources(files=[label_folder(folder / "own")])
    encoder = Encoder(name="tuned", kind="base", what="a model", models=(scored(model, "tuned"),))
    found = find_candidates([encoder], [source], cache=ScoreCache(folder / "kept"))
    return found, found.folders()["model"]


@pytest.fixture
def folder(wordllama, tmp_path):
    left(copy.deepcopy(wordllama), tmp_path)[1].save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    "prompts", [{}, {"query": "ask: ", "document": "say: "}, {"query": "ask: ", "Classification": "sort this: "}]
)
def test_what_is_left_answers_as_it_was_scored_whatever_prompts_the_model_has(minilm, tmp_path, prompts):
    model = copy.deepcopy(minilm)
    model.prompts, model.default_prompt_name = dict(prompts), None
    found, shipped_model = left(model, tmp_path)
    shipped_model.save(tmp_path / "model")
    classifier = Classifier.load(tmp_path / "model")
    assert classifier.prompt == prompts.get("Classification", "ask: " if "document" in prompts else "")
    scored_answers = found.answers[found.answers["candidate"] == "tuned"]
    assert classifier.predict(scored_answers["text"].tolist()) == scored_answers["answer"].tolist()


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
