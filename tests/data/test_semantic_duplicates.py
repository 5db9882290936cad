"""Pairs by guide cosine: those of brute force, whatever the size of the parts."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import WORDLLAMA

from gisttools.data import overlap
from gisttools.data.overlap import Tiers, find_overlap, semantic_pairs
from gisttools.models.vectors import VectorCache

TEXTS = ["The key was lost", "I lost the key", "The room is too cold", "It is cold in the room", "Who pays the rent?"]
OTHERS = ["I have lost my key", "The room is cold", "A new lamp, please"]


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    return VectorCache(WORDLLAMA, folder=tmp_path_factory.mktemp("guide"))


@pytest.mark.parametrize("rows", [2, 4096])
def test_pairs_and_cosines_are_those_of_brute_force(guide, monkeypatch, rows):
    monkeypatch.setattr(overlap, "_ROWS", rows)
    parts = list(semantic_pairs(TEXTS, OTHERS, 0.6, guide))
    found = {(i, j): s for part in parts for i, j, s in zip(*(x.tolist() for x in part), strict=True)}
    cosines = guide.embed(TEXTS) @ guide.embed(OTHERS).T
    assert set(found) == set(zip(*(x.tolist() for x in np.nonzero(cosines >= 0.6)), strict=True)) != set()
    assert list(found.values()) == pytest.approx([float(cosines[pair]) for pair in found], abs=1e-6)


def test_a_real_guide_finds_other_words_of_the_same_meaning(guide):
    found = find_overlap(TEXTS, OTHERS, Tiers(guide=guide, semantic=0.8))
    assert set(found["tier"]) == {"semantic"}
    assert "I lost the key" in found["text"].tolist()


def test_no_texts_no_pairs(guide):
    assert list(semantic_pairs([], OTHERS, 0.5, guide)) == []
    assert list(semantic_pairs(TEXTS, [], 0.5, guide)) == []


class Flat:
    """A guide that takes all texts in Chinese characters for the same one, as far as 0.999, and no two others."""

    def add(self, texts):
        self.texts = getattr(self, "texts", [])
        self.texts += texts
        return np.arange(len(self.texts) - len(texts), len(self.texts))

    def vectors(self, rows):
        found = []
        for row in rows:
            rng = np.random.default_rng(sum(map(ord, self.texts[row])))
            vector = rng.normal(size=64)
            vector = (
                0.03 * vector / np.linalg.norm(vector) + np.eye(64)[0] if ord(self.texts[row][0]) > 0x3000 else vector
            )
            found.append(vector / np.linalg.norm(vector))
        return np.array(found, dtype=np.float32)


def test_where_a_guide_tells_nothing_apart_it_is_not_heard(caplog):
    chinese, english = [chr(0x4E00 + i) * 2 for i in range(20)], [f"text {i}" for i in range(20)]
    pairs = [np.stack(part[:2]).T for part in semantic_pairs([*chinese, *english], [*english, *chinese], 0.98, Flat())]
    assert sorted(map(tuple, np.concatenate(pairs).tolist())) == [(20 + i, i) for i in range(20)]
    assert "texts in CJK letters, whose vectors are nearly all the same" in caplog.text


def test_texts_that_are_not_read_are_in_no_pair():
    guide = Flat()
    guide.reads = lambda texts: np.array(["3" not in text for text in texts])
    texts = [f"text {i}" for i in range(12)]
    pairs = [np.stack(part[:2]).T for part in semantic_pairs(texts, texts[::-1], 0.98, guide)]
    assert sorted(map(tuple, np.concatenate(pairs).tolist())) == [(i, 11 - i) for i in range(12) if i != 3]
