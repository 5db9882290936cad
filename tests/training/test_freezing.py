"""The first layers stay as they are; the others get the gradient that they would have got."""

from __future__ import annotations

import pytest
import torch
from helpers.training_rows import MINILM, TEXTS, WORDLLAMA, table, train
from sentence_transformers import SentenceTransformer

from gisttools.common import ModelError, ParameterError
from gisttools.models import open_model
from gisttools.training import TrainSettings
from gisttools.training.defaults import settle_layers
from gisttools.training.freezing import frozen_layers, layers_of


def changed(folder) -> set[str]:
    """The names of the weights that a training of MiniLM has changed."""
    before = open_model(MINILM, device="cpu").state_dict()
    after = SentenceTransformer(str(folder), device="cpu").state_dict()
    return {name for name, weight in after.items() if not torch.equal(weight, before[name])}


@pytest.mark.parametrize(("asked", "wanted"), [(2, 2), (0, 0), (None, 3)], ids=["two", "none", "left open"])
def test_the_first_layers_and_the_embeddings_stay(tmp_path, asked, wanted):
    given = {"student": MINILM, "train_on": "labelled", "learning_rate": 1e-4, "texts_per_class": 2, "max_steps": 2}
    trained = train(table(), None, tmp_path / "model", freeze_layers=asked, keep_start=0.0, **given)
    assert trained.settings.freeze_layers == wanted
    assert trained.options()["freeze_layers"] == wanted
    names = changed(trained.folder)
    assert all(any(f"layer.{i}." in name for name in names) for i in range(wanted, 6))
    assert not any(f"layer.{i}." in name for name in names for i in range(wanted))
    assert any("embeddings" in name for name in names) == (wanted == 0)
    assert all(weight.requires_grad for weight in trained.student.parameters())


@pytest.mark.parametrize("how", [{"gradient_checkpointing": True}, {"loss_options": {"mini_batch_size": 2}}], ids=str)
def test_the_last_layers_learn_also_where_activations_are_computed_again(tmp_path, how):
    given = {"student": MINILM, "train_on": "labelled", "learning_rate": 1e-4, "texts_per_class": 2, "max_steps": 2}
    plain, again = (
        SentenceTransformer(str(train(table(), None, tmp_path / f"{i}", keep_start=0.0, precision="float32", **given,
                                      **more).folder), device="cpu").state_dict()
        for i, more in enumerate([{}, how])
    )  # fmt: skip
    assert any("layer.5." in name for name in changed(tmp_path / "1"))
    for name, weight in plain.items():
        torch.testing.assert_close(again[name], weight, atol=2e-5, rtol=1e-4)


def test_triplets_train_all_layers_where_nothing_is_set():
    student = open_model(MINILM, device="cpu")
    for kind, wanted in (("triplets", 0), ("labelled", 3)):
        assert settle_layers(TrainSettings(train_on=kind), student).freeze_layers == wanted
    assert settle_layers(TrainSettings(train_on="triplets", freeze_layers=1), student).freeze_layers == 1
    assert settle_layers(TrainSettings(train_on="labelled", lora_rank=4), student).freeze_layers == 0
    assert settle_layers(TrainSettings(train_on="labelled"), open_model(WORDLLAMA, device="cpu")).freeze_layers == 0


def test_what_is_trained_gets_the_gradient_that_it_would_have_got():
    gradients = []
    for count in (0, 3):
        student = open_model(MINILM, device="cpu").eval()
        with frozen_layers(student, count):
            student(student.preprocess(TEXTS["late"]))["sentence_embedding"].square().sum().backward()
        gradients.append({name: w.grad for name, w in student.named_parameters() if w.grad is not None})
    whole, part = gradients
    assert {name for name in whole if any(f"layer.{i}." in name for i in (3, 4, 5))} <= part.keys()
    assert not any(f"layer.{i}." in name or "embeddings" in name for name in part for i in range(3))
    for name, gradient in part.items():
        torch.testing.assert_close(gradient, whole[name])


def test_also_where_positions_are_embedded_behind_the_layers():
    from transformers import MPNetConfig, MPNetModel

    model = MPNetModel(MPNetConfig(vocab_size=50, hidden_size=8, num_hidden_layers=4, num_attention_heads=2,
                                   intermediate_size=8, max_position_embeddings=20))  # fmt: skip

    class Student:
        transformers_model = model

    assert len(layers_of(Student)) == 4
    with frozen_layers(Student, 3):
        trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained
    assert all("layer.3." in name or "pooler" in name for name in trained)
    assert all(weight.requires_grad for weight in model.parameters())


def test_weights_that_were_frozen_before_stay_so():
    student = open_model(MINILM, device="cpu")
    word = next(iter(student.parameters())).requires_grad_(False)
    with frozen_layers(student, 2):
        pass
    assert not word.requires_grad


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"student": MINILM, "freeze_layers": 6}, ParameterError, "has 6 layers: none would learn"),
        ({"student": WORDLLAMA, "freeze_layers": 1}, ParameterError, "has 0 layers: none would learn"),
        ({"student": MINILM, "freeze_layers": 2, "lora_rank": 4}, ParameterError, "adapters leave all weights"),
        ({"student": MINILM, "freeze_layers": -1}, ParameterError, "freeze_layers = -1"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, settings, error, said):
    with pytest.raises(error, match=said):
        train(table(), None, tmp_path / "model", **settings)
    assert not (tmp_path / "model").exists()


def test_a_training_that_fails_gives_all_weights_back():
    student = open_model(MINILM, device="cpu")
    with pytest.raises(ModelError), frozen_layers(student, 2):
        raise ModelError("stopped")
    assert all(weight.requires_grad for weight in student.parameters())
