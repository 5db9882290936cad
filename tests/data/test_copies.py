"""What is nearly the same is told as pairs would tell it, in memory that grows with the texts, not with their pairs."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest

from gisttools.data import copies
from gisttools.data.copies import document_groups, first_ones, linked, near_groups
from gisttools.data.near_duplicates import jaccard

LETTERS = "abcdefgh"


def word(rng: random.Random) -> str:
    return "".join(rng.choices(LETTERS, k=12))


def some_texts(seed: int) -> list[str]:
    """Texts of which some are copies, near copies, or copies with another number."""
    rng = random.Random(seed)
    texts = [" ".join(word(rng) for _ in range(6)) + f" {rng.choice([1, 2])}" for _ in range(20)]
    for _ in range(25):
        text = rng.choice(texts)
        changed = rng.choice([text, text[:-1] + rng.choice("12"), text.replace(rng.choice(LETTERS), "z", 1)])
        texts.append(changed)
    rng.shuffle(texts)
    return texts


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a[:, None] == a, b[:, None] == b)


def by_pairs(links: np.ndarray) -> np.ndarray:
    """Groups by walking the truth table of links."""
    links = links | links.T | np.eye(len(links), dtype=bool)
    while not np.array_equal(links, further := (links.astype(int) @ links) > 0):
        links = further
    return links.argmax(axis=1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("most", [1, 10, 1_000_000])
def test_as_all_pairs_say(seed, most, monkeypatch):
    monkeypatch.setattr(copies, "_LINKS", most)
    texts = some_texts(seed)
    near = np.array([[jaccard(a, b) >= 0.8 for b in texts] for a in texts])
    assert same_partition(near_groups(texts, 0.8), by_pairs(near))
    kept: list[int] = []
    digits = ["".join(filter(str.isdigit, text)) for text in texts]
    for i in range(len(texts)):
        if not any(near[i, j] and digits[i] == digits[j] for j in kept):
            kept.append(i)
    assert first_ones(texts, 0.8).tolist() == kept
    assert 20 <= len(kept) < len(texts)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("most", [1, 50, 1_000_000])
def test_documents_that_share_half_of_their_chunks_are_one(seed, most, monkeypatch):
    monkeypatch.setattr(copies, "_LINKS", most)
    rng = random.Random(seed)
    kinds = [" ".join(word(rng) for _ in range(6)) for _ in range(60)]
    documents = [rng.choices(kinds, k=rng.choice([1, 2, 3, 6])) for _ in range(25)]
    links = np.array([[sum(k in b for k in a) >= len(a) / 2 for b in documents] for a in documents])
    forms = [kind for own in documents for kind in own]
    owners = [str(i) for i, own in enumerate(documents) for _ in own]
    expected = by_pairs(links)
    assert same_partition(document_groups(forms, owners), expected[[int(o) for o in owners]])
    assert 1 < len(set(expected.tolist())) < 25


def test_links_come_in_parts_and_groups_are_numbered_as_they_come():
    parts = [np.array([[3], [1]]), np.array([[4, 4], [4, 3]]), np.empty((2, 0), dtype=np.int64)]
    assert linked(parts, 6).tolist() == [0, 1, 2, 1, 1, 3]
    assert linked([], 0).tolist() == []
    assert near_groups([]).tolist() == first_ones([], 0.8).tolist() == document_groups([], []).tolist() == []


@pytest.mark.parametrize("kind", ["equal", "near"])
def test_copies_by_the_thousand_take_little_memory(kind):
    """All pairs of 6,000 would be 36 million: 576 MB as two columns of numbers."""
    rng = random.Random(0)
    start = " ".join(word(rng) for _ in range(8))
    texts = [start if kind == "equal" else f"{start} {LETTERS[i % 8]}{LETTERS[i // 8 % 8]}" for i in range(6000)]
    tracemalloc.start()
    assert set(document_groups(texts, list(map(str, range(6000)))).tolist()) == {0}
    assert len(first_ones(texts, 0.8)) == 1
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 100e6
