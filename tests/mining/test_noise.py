"""Label noise: conflicts, confused classes and small ones are found, against a brute-force oracle; nothing else is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gisttools.common.errors import DataError, ParameterError
from gisttools.mining import noise as module
from gisttools.mining.noise import label_noise
from gisttools.report import figures


class GivenGuide:
    """Answers with the vectors it was given, row by row."""

    def __init__(self, matrix):
        self.matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)

    def add(self, texts):
        return np.array([int(text.rpartition(" ")[2]) for text in texts])

    def vectors(self, rows):
        return self.matrix[rows]


@pytest.fixture
def sampled():
    """60 texts of four classes whose clouds run into each other, and a fifth class of one text."""
    random = np.random.default_rng(0)
    owner = np.array([i % 4 for i in range(60)] + [4])
    matrix = random.normal(size=(5, 6))[owner] + 0.9 * random.normal(size=(61, 6))
    return [f"text {i}" for i in range(61)], ["abcde"[i] for i in owner], GivenGuide(matrix)


def nearest_by_hand(labels, matrix):
    """Label of the nearest centroid of each text, which is left out of its own."""
    matrix, found = matrix.astype(np.float64), []
    for i, label in enumerate(labels):
        cosines = {}
        for name in dict.fromkeys(labels):
            rows = [j for j, other in enumerate(labels) if other == name and j != i]
            if rows:
                mean = matrix[rows].mean(axis=0)
                cosines[name] = mean @ matrix[i] / np.linalg.norm(mean)
        found.append(max(cosines, key=cosines.get) if label in cosines else label)
    return found


def test_equal_texts_under_two_labels_are_listed_with_their_counts():
    found = label_noise(["Where?", "where? ", "WHERE?", "here"], ["a", "b", "b", "a"], near=None).conflicts
    assert found.to_numpy().tolist() == [["Where?", "b", 2], ["Where?", "a", 1]]


def test_near_copies_under_different_labels_are_listed():
    texts = ["Has my top up gone through?", "Has my top-up gone through?", "has my top up gone through", "no"]
    found = label_noise(texts, ["pending", "reverted", "pending", "reverted"], near=0.75).near_conflicts
    assert found[["text", "label", "other", "other_label"]].to_numpy().tolist() == [
        [texts[0], "pending", texts[1], "reverted"]
    ]
    assert found["score"].tolist() == [pytest.approx(0.8)]


def test_copies_under_one_label_are_no_noise():
    noise = label_noise(["top up", "Top up", "top up!"], ["a", "a", "a"])
    assert noise.counts["texts under several labels"] == 0
    assert noise.counts["near-copies under different labels"] == 0


def test_texts_nearer_to_another_class_are_those_of_brute_force(sampled, monkeypatch):
    texts, labels, guide = sampled
    monkeypatch.setattr(module, "_ROWS", 7)
    noise = label_noise(texts, labels, guide=guide)
    where = nearest_by_hand(labels, guide.matrix)
    gone = pd.Series([w != own for w, own in zip(where, labels, strict=True)]).groupby(labels).mean().drop("e")
    astray = noise.classes.set_index("label")["astray"]
    assert astray.drop("e").to_dict() == pytest.approx(gone.to_dict())
    assert np.isnan(astray["e"])
    assert (
        noise.counts["texts nearer to another class"] == sum(w != own for w, own in zip(where, labels, strict=True)) > 3
    )
    for pair in noise.confused.itertuples():
        moves = list(zip(labels, where, strict=True))
        assert (pair.there, pair.back) == (moves.count((pair.label, pair.other)), moves.count((pair.other, pair.label)))
        assert pair.share == (pair.there + pair.back) / (labels.count(pair.label) + labels.count(pair.other))
    assert noise.confused["share"].is_monotonic_decreasing
    assert (noise.confused["there"] + noise.confused["back"]).sum() == noise.counts["texts nearer to another class"]


def test_the_order_of_texts_makes_no_difference(sampled):
    texts, labels, guide = sampled
    order = np.random.default_rng(1).permutation(len(texts))
    one = label_noise(texts, labels, guide=guide)
    other = label_noise([texts[i] for i in order], [labels[i] for i in order], guide=guide)
    pd.testing.assert_frame_equal(one.confused, other.confused)
    pd.testing.assert_frame_equal(one.classes, other.classes)


def test_small_classes_are_listed():
    noise = label_noise(["1", "2", "3", "4", "5", "6"], ["a", "b", "b", "c", "c", "c"], few=3)
    assert noise.small.to_numpy().tolist() == [["a", 1], ["b", 2]]


def test_where_a_text_has_several_labels_centroids_are_skipped_and_copies_clash_only_without_a_common_label():
    labels = [("a", "b"), ("b",), ("c",), ("a",)]
    noise = label_noise(["one", "One", "two", "Two"], labels, guide=GivenGuide(np.eye(4)))
    assert noise.conflicts.to_numpy().tolist() == [["two", "a", 1], ["two", "c", 1]]
    assert noise.skipped == {"confused": "a text may have several labels"}
    assert noise.counts["texts nearer to another class"] is None


def test_what_is_not_looked_at_is_told():
    noise = label_noise(["one", "two"], ["a", "b"], near=None)
    assert noise.skipped == {"near_conflicts": "near is None", "confused": "there is no guide"}
    assert noise.counts["near-copies under different labels"] is None


def test_without_texts_the_columns_are_there():
    noise = label_noise([], [])
    assert noise.confused.columns.tolist() == ["label", "other", "texts", "there", "back", "share"]
    assert noise.classes.columns.tolist() == ["label", "texts", "astray", "mostly"]
    assert noise.counts["small classes"] == 0


def test_labels_that_do_not_fit_the_texts_are_refused():
    with pytest.raises(DataError, match="2 texts and 1 labels"):
        label_noise(["a", "b"], ["x"])
    with pytest.raises(ParameterError, match="near is 0"):
        label_noise(["a"], ["x"], near=0)


def test_the_picture_names_the_worst_pairs_and_their_shares(sampled):
    texts, labels, guide = sampled
    confused = label_noise(texts, labels, guide=guide).confused
    svg = figures.to_svg(figures.label_noise(confused, most=1))
    assert f">{100 * confused['share'][0]:.0f} %<" in svg
    assert f"{confused['label'][0]} and {confused['other'][0]}" in svg


def test_there_is_no_picture_of_no_confusion():
    assert "nearer to another class" in figures.label_noise(label_noise(["one"], ["a"]).confused).alt


def test_texts_that_the_guide_does_not_read_are_not_judged_by_it(sampled):
    texts, labels, guide = sampled
    guide.reads = lambda texts: np.array([int(t.rpartition(" ")[2]) % 3 > 0 for t in texts])
    read = [i for i in range(61) if i % 3]
    matrix = guide.matrix[read]
    nearest = nearest_by_hand([labels[i] for i in read], matrix)
    found = label_noise(texts, labels, guide=guide, near=None)
    assert found.counts["texts nearer to another class"] == sum(
        n != labels[i] for n, i in zip(nearest, read, strict=True)
    )
    guide.reads = lambda texts: np.zeros(len(texts), dtype=bool)
    none = label_noise(texts, labels, guide=guide, near=None)
    assert none.skipped["confused"] == "the guide hardly reads any of these texts"
    assert none.counts["texts nearer to another class"] is None
