"""The map of embeddings: what its numbers mean, checked against plain loops, and what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gisttools.common.errors import DataError
from gisttools.evaluation.maps import COLUMNS, FILE, embedding_map, save_map

TEXTS = [f"text {i}" for i in range(30)]
LABELS = [i % 3 for i in range(30)]


class Given:
    """A model whose vectors are told."""

    def __init__(self, vectors):
        self.vectors = vectors

    def encode(self, texts):
        return np.asarray([self.vectors[int(t.split()[1])] for t in texts], dtype=np.float32)


def noisy(scale, seed=0, dimensions=8):
    rng = np.random.default_rng(seed)
    return Given(np.eye(dimensions)[LABELS] + scale * rng.normal(size=(30, dimensions)))


@pytest.fixture(scope="module")
def table():
    return embedding_map(noisy(2.0), noisy(0.4), TEXTS, LABELS, seed=0)


def value(table, role, kind):
    (found,) = table[(table["role"] == role) & (table["kind"] == kind)]["value"]
    return found


def test_every_text_has_a_place_in_either_map(table):
    assert list(table.columns) == list(COLUMNS)
    points = table[table["kind"] == "point"]
    assert points.groupby("role")["text"].apply(list).to_dict() == {"base": TEXTS, "tuned": TEXTS}
    assert points[["x", "y"]].notna().all(axis=None)


def test_shares_of_pairs_add_up_to_one_and_lie_in_their_bins(table):
    bins = table[table["kind"].isin(["same", "different"])]
    assert bins.groupby(["role", "kind"])["value"].sum().to_numpy() == pytest.approx(np.ones(4))
    assert ((bins["low"] >= -1) & (bins["high"] <= 1) & (bins["high"] > bins["low"])).all()


@pytest.mark.parametrize(("role", "scale"), [("base", 2.0), ("tuned", 0.4)])
def test_separation_and_neighbours_are_what_plain_loops_count(table, role, scale):
    vectors = noisy(scale).encode(TEXTS).astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors.T
    pairs = [(i, j) for i in range(30) for j in range(i)]
    same = [cosine[i, j] for i, j in pairs if LABELS[i] == LABELS[j]]
    other = [cosine[i, j] for i, j in pairs if LABELS[i] != LABELS[j]]
    above = np.mean([(a > b) + 0.5 * (a == b) for a in same for b in other])
    assert value(table, role, "separation") == pytest.approx(above)
    right = [LABELS[max((j for j in range(30) if j != i), key=lambda j: cosine[i, j])] == LABELS[i] for i in range(30)]
    assert value(table, role, "neighbours") == pytest.approx(np.mean(right))


def test_the_model_that_tells_classes_apart_has_the_larger_numbers(table):
    for kind in ("separation", "neighbours"):
        assert value(table, "tuned", kind) > value(table, "base", kind)


def test_distances_on_the_map_are_never_larger_than_in_the_whole_space(table):
    vectors = noisy(0.4).encode(TEXTS).astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    points = table[(table["kind"] == "point") & (table["role"] == "tuned")]
    places = points[["x", "y"]].to_numpy()
    whole = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    flat = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert (flat <= whole + 1e-9).all()
    variance = (places**2).sum() / ((vectors - vectors.mean(0)) ** 2).sum()
    assert value(table, "tuned", "explained") == pytest.approx(variance)


def test_a_turned_model_lies_on_the_same_places():
    base = noisy(1.0)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))
    found = embedding_map(base, Given(base.vectors @ turn), TEXTS, LABELS, seed=0)
    points = found[found["kind"] == "point"]
    base_places, tuned_places = (points[points["role"] == role][["x", "y"]].to_numpy() for role in ("base", "tuned"))
    assert tuned_places == pytest.approx(base_places, abs=1e-5)


def test_a_sample_is_even_and_the_same_for_a_seed():
    labels = ["rare"] * 5 + ["many"] * 25
    first, again, other = (embedding_map(noisy(1.0), noisy(1.0), TEXTS, labels, seed, most=10) for seed in (0, 0, 1))
    assert first.equals(again)
    assert first[first["kind"] == "point"]["label"].value_counts().to_dict() == {"rare": 10, "many": 10}
    assert not first.equals(other)


def test_what_cannot_be_mapped_is_refused_with_all_problems():
    with pytest.raises(DataError, match="30 texts have 2 labels") as caught:
        embedding_map(noisy(1.0), noisy(1.0), TEXTS, ["a", "b"], 0)
    assert "0 of 2 label(s) have two texts or more" in str(caught.value)
    broken = Given(np.full((30, 8), np.nan))
    with pytest.raises(DataError, match="tuned model gives vectors that are not finite"):
        embedding_map(noisy(1.0), broken, TEXTS, LABELS, 0)


def test_vectors_of_no_length_do_not_stop_it():
    found = embedding_map(Given(np.zeros((30, 8))), noisy(1.0), TEXTS, LABELS, 0)
    assert value(found, "base", "separation") == pytest.approx(0.5)
    assert value(found, "base", "explained") == 0


def test_the_map_of_an_evaluation_is_that_of_its_first_task_and_variant(tmp_path):
    rows = [{"task": "a", "variant": "one", "text": t, "gold": g} for t, g in zip(TEXTS, LABELS, strict=True)]
    items = pd.DataFrame([*rows, *({**r, "variant": "two"} for r in rows), *({**r, "task": "b"} for r in rows)])
    saved = save_map(items, noisy(1.0), noisy(2.0), tmp_path / FILE, 0)
    assert saved.equals(embedding_map(noisy(1.0), noisy(2.0), TEXTS, LABELS, 0))
    assert len(pd.read_parquet(tmp_path / FILE)) == len(saved)


@pytest.mark.parametrize("case", ["no items", "one label", "no vectors"])
def test_where_nothing_can_be_mapped_nothing_is_written(tmp_path, case):
    items = pd.DataFrame([{"task": "a", "variant": "one", "text": t, "gold": "x"} for t in TEXTS])
    items = items.iloc[:0] if case == "no items" else items
    base = object() if case == "no vectors" else noisy(1.0)
    assert save_map(items, base, noisy(1.0), tmp_path / FILE, 0) is None
    assert list(tmp_path.iterdir()) == []
