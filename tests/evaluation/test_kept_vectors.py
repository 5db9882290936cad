"""Kept vectors: one text is embedded once, and comes back to the last bit."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from gisttools.evaluation.kept_vectors import EmbedOnce, KeptVectors

TEXTS = ["a key", "no warm water", "a key", "the lift", ""]


@pytest.fixture
def kept(tmp_path):
    return KeptVectors(tmp_path, {})


@pytest.fixture
def model(wordllama):
    return copy.deepcopy(wordllama)


def numbers(texts: list[str]) -> np.ndarray:
    return np.array([[len(t), sum(map(ord, t))] for t in texts], dtype=np.float32).reshape(-1, 2)


def test_vectors_come_in_the_order_of_the_texts_and_each_is_asked_for_once(kept):
    asked = []

    def embed(texts):
        asked.extend(texts)
        return numbers(texts)

    for texts in (TEXTS, TEXTS[::-1], [*TEXTS, "new", "new"]):
        vectors, _ = kept.vectors(texts, "", embed)
        assert np.array_equal(vectors, numbers(texts))
    assert asked == ["a key", "no warm water", "the lift", "", "new"]


def test_another_reading_is_another_vector(kept):
    one, _ = kept.vectors(["a"], "query: ", lambda t: numbers(t))
    other, _ = kept.vectors(["a"], "", lambda t: numbers(t) + 1)
    assert not np.array_equal(one, other)


def test_vectors_that_are_not_finite_or_not_float32_are_not_kept(kept):
    for bad in (np.array([[np.nan, 1]], np.float32), np.array([[1, 2]], np.float16)):
        vectors, _ = kept.vectors(["a"], "", lambda _, bad=bad: bad)
        assert vectors.dtype == bad.dtype
    _, embedded = kept.vectors(["a"], "", numbers)
    assert embedded == 1


def test_no_more_is_kept_than_allowed(tmp_path):
    small = KeptVectors(tmp_path, {}, most_bytes=16)
    counts = [small.vectors(texts, "", numbers)[1] for texts in (["a", "b"], ["c"], ["a", "b"], ["c"])]
    assert counts == [2, 1, 0, 1]


def test_no_texts_give_what_the_model_gives_for_none(kept):
    assert kept.vectors([], "", numbers)[0].shape == (0, 2)


def test_another_process_finds_what_was_kept(tmp_path):
    KeptVectors(tmp_path, {}).vectors(["a"], "", numbers)
    assert KeptVectors(tmp_path, {}).vectors(["a"], "", numbers)[1] == 0


def test_a_model_answers_as_before_and_embeds_once(model, wordllama, kept):
    plain = wordllama.encode(TEXTS)
    with EmbedOnce(model, kept) as counted:
        for _ in range(2):
            assert np.array_equal(model.encode(TEXTS, batch_size=2, show_progress_bar=False), plain)
            assert np.array_equal(model.encode_document(TEXTS), plain)
        assert torch.equal(model.encode(TEXTS, convert_to_tensor=True), torch.from_numpy(plain))
        assert model.encode("a key").shape == (256,)
    assert "encode" not in vars(model)
    assert counted.embedded - len("a key") == len(TEXTS)
    assert counted.asked - len("a key") == 5 * len(TEXTS)


def test_copies_among_new_texts_are_embedded_as_mteb_would(minilm, kept):
    """Their last bits depend on the batch, and decide how copies of one document are ranked."""
    model = copy.deepcopy(minilm)
    texts = [f"{'the lift of the house stands still, ' * (i % 5)}again {i % 3}" for i in range(24)]
    plain = model.encode(texts, batch_size=5, show_progress_bar=False)
    with EmbedOnce(model, kept) as counted:
        assert np.array_equal(model.encode(texts, batch_size=5, show_progress_bar=False), plain)
        again = model.encode(texts[::-1], batch_size=5, show_progress_bar=False)
    assert counted.embedded == 24
    np.testing.assert_allclose(again, plain[::-1], atol=1e-6)


def test_prompts_are_told_apart(model, kept):
    model.prompts = {"query": "find: ", "document": ""}
    with EmbedOnce(model, kept) as counted:
        query, document = model.encode_query(["a key"]), model.encode_document(["a key"])
        assert np.array_equal(model.encode(["a key"], prompt="find: "), query)
        assert np.array_equal(model.encode(["a key"]), document)
    assert not np.array_equal(query, document)
    assert counted.embedded == 2


def test_normalised_vectors_are_told_apart(model, kept):
    with EmbedOnce(model, kept):
        plain, unit = model.encode(["a key"]), model.encode(["a key"], normalize_embeddings=True)
    assert np.linalg.norm(unit) == pytest.approx(1)
    assert np.linalg.norm(plain) != pytest.approx(1)


def test_what_is_no_plain_vector_goes_to_the_model(model, kept):
    with EmbedOnce(model, kept) as counted:
        for _ in range(2):
            assert model.encode(["a key"], precision="binary").dtype == np.int8
            assert model.encode(["a key"], truncate_dim=8).shape == (1, 8)
    assert counted.embedded == 4
