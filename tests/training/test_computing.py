"""What a student draws and by which attention it computes while it trains, and that it is afterwards as before."""

from __future__ import annotations

import pytest
import torch
from helpers import MINILM

from gisttools.models.loading import open_model
from gisttools.training.computing import has_dropout, quick_attention, without_dropout


@pytest.mark.parametrize("kind", ["module", "attribute", "configuration"])
def test_dropout_is_found_wherever_a_model_keeps_it_and_only_in_training(kind):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.1 if kind == "module" else 0.0))
    if kind == "attribute":
        model[0].attention_dropout = 0.1  # as attentions hand it on to a fused kernel
    if kind == "configuration":
        model[0].config = type("Config", (), {})()
        model[0].config.attention_probs_dropout_prob = 0.1
    assert has_dropout(model.train())
    assert not has_dropout(model.eval())
    with without_dropout(model.train()):
        assert not has_dropout(model)
    assert has_dropout(model)


def test_a_model_of_no_rates_has_no_dropout():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.0))
    model[0].attention_dropout, model[0].classifier_dropout = 0.0, None
    assert not has_dropout(model.train())


@pytest.fixture
def minilm():
    return open_model(MINILM, device="cpu")


def attention(model) -> str:
    return model.transformers_model.config._attn_implementation


def gradients(model, text: str) -> torch.Tensor:
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        model(model.preprocess([text, "a shorter one"]))["sentence_embedding"].float()[:, :8].sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize(("words", "kind"), [(9, "eager"), (200, "sdpa")])
def test_short_texts_are_attended_to_without_the_fused_kernel_and_to_the_same_end(minilm, words, kind):
    text = "word " * words
    fused = gradients(minilm.eval(), text)
    with quick_attention(minilm, "bfloat16"):
        plain = gradients(minilm, text)
        assert attention(minilm) == kind
    assert attention(minilm) == "sdpa"
    assert torch.nn.functional.cosine_similarity(fused, plain, dim=0) > 0.999
    assert not minilm._forward_pre_hooks


@pytest.mark.parametrize("given", ["float32", "static"])
def test_where_it_is_no_quicker_attention_stays_as_it_is(minilm, given):
    student = minilm if given == "float32" else open_model("embedded:wordllama-256", device="cpu")
    with quick_attention(student, "float32" if given == "float32" else "bfloat16"):
        student(student.preprocess(["a text"]))
        if given == "float32":
            assert attention(minilm) == "sdpa"
