"""Length-sorted micro-batches give the vectors that plain batches give."""

from __future__ import annotations

import pytest
import torch

from gisttools.models.loading import open_model
from gisttools.training.embedding import embed_columns

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


REPEATED = [["a text", "the other one, a bit longer"], ["the other one, a bit longer", "a third"], ["a text", "a text"]]


@pytest.mark.parametrize("budget", [8, 100_000])
@pytest.mark.parametrize("mini_batch_size", [None, 2])
def test_equal_texts_once_gives_the_same_vectors_and_adds_up_gradients(minilm, budget, mini_batch_size):
    features = [minilm.preprocess(texts) for texts in REPEATED]

    def run(once):
        minilm.zero_grad()
        vectors = torch.stack(embed_columns(minilm, [dict(f) for f in features], budget, mini_batch_size, once))
        weights = torch.arange(vectors.numel()).view_as(vectors).sin()  # another gradient for every copy
        (vectors * weights).sum().backward()
        return vectors.detach(), [p.grad.clone() for p in minilm.parameters() if p.grad is not None]

    once, each = run(True), run(False)
    assert len(once[1]) > 50
    torch.testing.assert_close(once, each, rtol=1e-3, atol=1e-4)
    assert torch.equal(once[0][0, 0], once[0][2, 1])


@pytest.mark.parametrize(("training", "once", "rows"), [
    (False, None, 3), (True, None, 6), (True, True, 3), (False, False, 6),
])  # fmt: skip
def test_equal_texts_are_embedded_once_where_no_dropout_tells_them_apart(minilm, training, once, rows):
    model = Counting(minilm.train(training))
    model.train(training)
    try:
        embed_columns(model, [minilm.preprocess(texts) for texts in REPEATED], None, None, once)
    finally:
        minilm.eval()
    assert sum(shape[0] for shape in model.shapes) == rows


def test_texts_that_differ_in_one_token_or_in_length_alone_are_not_equal(minilm):
    model = Counting(minilm)
    embed_columns(model, [minilm.preprocess(["a", "a a"]), minilm.preprocess(["a b", "b a"])])
    assert sum(shape[0] for shape in model.shapes) == 4


def test_pairs_of_one_text_padded_to_other_widths_are_equal(minilm):
    model = Counting(minilm)
    columns = [["one text"], ["a much longer text that widens this column"]]
    wide = minilm.preprocess(["one text", columns[1][0]])
    embed_columns(model, [minilm.preprocess(["one text", "one text"]), wide])
    assert sum(shape[0] for shape in model.shapes) == 2
