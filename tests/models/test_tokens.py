"""Tokens are counted as the model does, of long texts too, and its limit is what it really reads."""

from __future__ import annotations

import pytest
from helpers import MINILM, WORDLLAMA

from gisttools.models import VectorCache, open_model, token_counter

TEXTS = ["", "a key", "the radiator stays cold, 12 °C! " * 200]


@pytest.mark.parametrize("name", [MINILM, WORDLLAMA])
def test_counts_are_those_of_the_tokenizer(name, tmp_path):
    model = open_model(name, device="cpu")
    counter = token_counter(model)
    backend = getattr(model.tokenizer, "backend_tokenizer", model.tokenizer)
    assert counter(TEXTS)[:2] == [
        sum(e.attention_mask) for e in backend.encode_batch(TEXTS[:2], add_special_tokens=False)
    ]
    assert counter(TEXTS)[2] > 1500
    assert token_counter(VectorCache(name, folder=tmp_path).guide).most == counter.most


def test_the_limit_leaves_room_for_marks(tmp_path):
    model = open_model(MINILM, device="cpu")
    counter = token_counter(model)
    assert counter.most == model.max_seq_length - 2
    assert token_counter(open_model(WORDLLAMA, device="cpu")).most is None
    model.prompts["document"] = "passage: "
    assert token_counter(model).most == counter.most - 2
    assert token_counter(object()) is None
