"""A linear head trained with its encoder: it learns, is the same again, and is never trained twice."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import MINILM, WORDLLAMA
from helpers.evaluation_folders import TOPICS

from gisttools.common.errors import DataError
from gisttools.models.loading import open_model
from gisttools.training import cross_entropy as module
from gisttools.training.cross_entropy import HeadOptions, train_head

TEXTS = [text for texts in TOPICS.values() for text in texts]
LABELS = [label for label, texts in TOPICS.items() for _ in texts]


def student(name=WORDLLAMA):
    return open_model(name, device="cpu")


def right(model, linear):
    answers = linear.answers(model.encode(TEXTS, show_progress_bar=False))
    return np.mean([a == b for a, b in zip(answers, LABELS, strict=True)])


def test_it_learns_its_texts_and_moves_the_encoder(tmp_path):
    before = student().encode(TEXTS, show_progress_bar=False)
    model, linear = train_head(student, TEXTS, LABELS, HeadOptions(steps=30, batch_size=8), folder=tmp_path)
    assert linear.labels == tuple(sorted(TOPICS))
    assert right(model, linear) == 1.0
    assert np.abs(model.encode(TEXTS, show_progress_bar=False) - before).max() > 0.01


def test_a_second_time_it_is_read_and_the_same_to_the_last_bit(tmp_path, monkeypatch):
    options = HeadOptions(steps=3, batch_size=4)
    model, linear = train_head(student, TEXTS, LABELS, options, folder=tmp_path)

    def never(*told):
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "_trained", never)
    again, same = train_head(student, TEXTS, LABELS, options, folder=tmp_path)
    assert (same.weights == linear.weights).all()
    vectors = [m.encode(TEXTS, show_progress_bar=False) for m in (model, again)]
    assert (vectors[0] == vectors[1]).all()
    for other in (
        {"texts": [*TEXTS[:-1], "another"]},
        {"labels": [*LABELS[:-1], "lift"]},
        {"options": HeadOptions(steps=4)},
    ):
        told = {"texts": TEXTS, "labels": LABELS, "options": options, **other}
        with pytest.raises(AssertionError, match="trained again"):
            train_head(student, **told, folder=tmp_path)


def test_what_is_damaged_is_trained_again(tmp_path):
    options = HeadOptions(steps=2, batch_size=4)
    _, linear = train_head(student, TEXTS, LABELS, options, folder=tmp_path)
    (kept,) = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    (kept / "classifier.safetensors").write_bytes(b"no weights")
    _, again = train_head(student, TEXTS, LABELS, options, folder=tmp_path)
    assert (again.weights == linear.weights).all()


def test_the_seed_decides_the_order_and_leaves_the_callers_random_numbers_alone(tmp_path):
    import torch

    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    found = [
        train_head(student, TEXTS, LABELS, HeadOptions(steps=2, batch_size=4, seed=seed), folder=tmp_path)[1]
        for seed in (1, 2)
    ]
    assert not (found[0].weights == found[1].weights).all()
    assert (torch.rand(3) == wanted).all()


def test_one_label_and_numbers_that_differ_are_refused(tmp_path):
    for labels in (["a"] * len(TEXTS), LABELS[:-1]):
        with pytest.raises(DataError, match="labels"):
            train_head(student, TEXTS, labels, HeadOptions(steps=1), folder=tmp_path)


def test_more_texts_a_step_than_there_are_is_every_text_once(tmp_path):
    model, linear = train_head(student, TEXTS, LABELS, HeadOptions(steps=5, batch_size=1000), folder=tmp_path)
    assert right(model, linear) > 0.5


@pytest.mark.slow
def test_a_transformer_is_trained_too(tmp_path):
    model, linear = train_head(
        lambda: student(MINILM), TEXTS, LABELS, HeadOptions(steps=20, batch_size=12), folder=tmp_path
    )
    assert right(model, linear) > 0.9
