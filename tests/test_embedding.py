"""Length-sorted micro-batches give the vectors that plain batches give."""

from __future__ import annotations

import pytest
import torch

from gisttools.embedding import embed_columns
from gisttools.models import open_model

COLUMNS = [
    ["short", "a text of middling length, with a comma", "where is it"],
    ["this one goes on " * 12, "no", "two words"],
    ["the last column", "has " * 30 + "an end", "and this"],
]


@pytest.fixture(scope="module")
def minilm():
    return open_model("embedded:all-MiniLM-L6-v2", device="cpu").eval()


class Counting(torch.nn.Module):
    """Passes batches on and notes how large they were."""

    def __init__(self, model):
        super().__init__()
        self.model, self.shapes = model, []

    def forward(self, features):
        self.shapes.append(tuple(features["input_ids"].shape))
        return self.model(features)


@pytest.mark.parametrize("budget", [1, 40, 200, 100_000])
@pytest.mark.parametrize("side", ["right", "left"])
def test_equal_to_plain_batches_for_any_budget_and_padding_side(minilm, budget, side):
    minilm.tokenizer.padding_side = side
    try:
        features = [minilm.preprocess(texts) for texts in COLUMNS]
    finally:
        minilm.tokenizer.padding_side = "right"
    # absolute positions: left padding moves them, so the reference is embedded from the same padded tokens
    plain = [minilm(dict(f))["sentence_embedding"] for f in features]
    sorted_ = embed_columns(minilm, features, budget)
    tolerance = {"rtol": 1e-4, "atol": 1e-5}
    if side == "right":
        for got, want in zip(sorted_, plain, strict=True):
            torch.testing.assert_close(got, want, **tolerance)
    else:
        assert [x.shape for x in sorted_] == [x.shape for x in plain]


def test_spends_fewer_tokens_than_padded_columns(minilm):
    model = Counting(minilm)
    features = [minilm.preprocess(texts) for texts in COLUMNS]
    embed_columns(model, features, 60)
    padded = sum(f["input_ids"].numel() for f in features)
    assert sum(rows * width for rows, width in model.shapes) < 0.8 * padded


def test_static_embeddings_are_embedded_column_by_column():
    model = open_model("embedded:wordllama-256", device="cpu")
    got = embed_columns(model, [model.preprocess(texts) for texts in COLUMNS])
    for vectors, texts in zip(got, COLUMNS, strict=True):
        torch.testing.assert_close(vectors, model.encode(texts, convert_to_tensor=True))
