"""The model card: the hub can read it, and it says what the model was made of."""

from __future__ import annotations

import pytest
from helpers.training_rows import MINILM, table, train
from huggingface_hub import ModelCard
from sentence_transformers import SentenceTransformer

from gisttools.models.vectors import VectorCache
from gisttools.training.model_card import write_card
from gisttools.workflow.params import check_params


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    guide = VectorCache(MINILM, folder=folder / "guide")
    return train(table(), guide, folder / "model", max_steps=3)


def card(trained, **parameters) -> ModelCard:
    path = write_card(trained, check_params("finetune", {"max_steps": 3, **parameters}))
    return ModelCard.load(path)


def test_the_hub_can_read_its_fields(trained):
    found = card(
        trained,
        student="org/small",
        triplets=["org/set@abc", "data/mine.jsonl"],
        licence="apache-2.0",
    ).data
    assert found.base_model == "org/small"
    assert found.datasets == ["org/set"]
    assert found.license == "apache-2.0"
    assert found.library_name == "sentence-transformers"


def test_it_says_data_guide_parameters_and_that_there_are_no_scores(trained):
    text = card(trained, learning_rate=0.01, margin=0.25).text
    assert f"under {trained.store.guide_id}" in text
    assert "12 triplets with up to 1 negative(s) each" in text
    assert "| late | not told | 4 |" in text
    assert "| margin | 0.25 |" in text
    assert "| learning_rate | 0.01 |" in text
    assert "| warmup_ratio |" not in text  # a default that few people change
    assert "None were taken in training" in text
    assert "The licences of the starting model and of the training data apply" in text
    assert "2402.16829" in text


def test_no_key_is_named_and_no_tag_of_the_template_is_left(trained):
    text = card(trained, guide="endpoint:m", guide_key_variable="MY_KEY").content
    assert "MY_KEY" not in text
    assert "{{" not in text
    assert "{%" not in text


def test_the_folder_still_opens(trained):
    card(trained)
    assert SentenceTransformer(str(trained.folder), device="cpu").get_embedding_dimension() == 256
