"""The model card: the hub can read it, and it says what the model was made of."""

from __future__ import annotations

import pytest
from helpers.training_rows import MINILM, table, train
from huggingface_hub import ModelCard
from sentence_transformers import SentenceTransformer

from gisttools.common import card_problems
from gisttools.models.vectors import VectorCache
from gisttools.training.model_card import base_model_of, write_card
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


def test_it_passes_the_checks_of_the_hub(trained):
    found = card(trained, student="BAAI/bge-small-en-v1.5", triplets=["org/set#en@abc:train"], licence="My terms")
    assert card_problems(found.content, "model") == []
    assert found.data.base_model == "BAAI/bge-small-en-v1.5"  # .5 is no ending of a file
    assert found.data.datasets == ["org/set"]
    assert (found.data.license, found.data.license_name) == ("other", "my-terms")


@pytest.mark.parametrize(
    ("student", "wanted"),
    [("embedded:all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"), ("embedded:wordllama-256", None),
     ("org/small", "org/small"), ("/home/me/models/mine", None), ("finetune-20260101T000000Z-0123abcd", None)],
)  # fmt: skip
def test_the_model_that_it_was_tuned_from_is_named_where_the_hub_has_it(student, wanted):
    assert base_model_of(student) == wanted


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
