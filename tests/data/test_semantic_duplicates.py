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
