"""The split: near copies on one side, every label its share, and nothing that depends on the order of rows."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from gisttools.common import DataError, ParameterError
from gisttools.data import NEAR, jaccard, normalise
from gisttools.data.copies import near_groups
from gisttools.data.splitting import split_texts

WORDS = (
    "card",
    "payment",
    "refund",
    "parcel",
    "invoice",
    "delay",
    "address",
    "password",
    "screen",
    "battery",
    "order",
    "pin",
)


def texts_of(n: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=9)) + f" {rng.random():.6f}" for _ in range(n)]


def test_each_label_keeps_its_share() -> None:
    texts = texts_of(400)
    labels = ["often"] * 300 + ["seldom"] * 90 + ["rare"] * 10
    split = split_texts(texts, labels, share=0.2)
    found = Counter(label for label, of_test in zip(labels, split.test, strict=True) if of_test)
    assert found == {"often": 60, "seldom": 18, "rare": 2}


def test_near_copies_stand_on_one_side() -> None:
    texts = texts_of(60)
    copies = [text + "." for text in texts] + [text.upper() + " !" for text in texts]
    split = split_texts(texts + copies, share=0.3)
    for i in range(60):
        assert len({split.test[i], split.test[i + 60], split.test[i + 120]}) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text("abc ", min_size=1, max_size=12), st.sampled_from("xyz")), min_size=2, max_size=30))
def test_no_test_text_is_near_a_text_to_train_on(rows) -> None:
    texts, labels = map(list, zip(*rows, strict=True))
    try:
        split = split_texts(texts, labels, share=0.4)
    except DataError:
        return
    plain = [normalise(text) for text in texts]
    test, train = ([t for t, of in zip(plain, split.test, strict=True) if of == side] for side in (True, False))
    assert train
    assert all(jaccard(a, b) < NEAR for a in test for b in train)
    assert all(a != b for a in test for b in train)
    for label in set(labels):  # what is tested can be learned
        assert any(o == label and not of for o, of in zip(labels, split.test, strict=True))


def test_the_order_of_rows_changes_nothing() -> None:
    texts, rng = texts_of(200), random.Random(1)
    labels = [rng.choice("ab") for _ in texts]
    one = dict(zip(texts, split_texts(texts, labels).test.tolist(), strict=True))
    rows = list(zip(texts, labels, strict=True))
    rng.shuffle(rows)
    texts, labels = map(list, zip(*rows, strict=True))
    assert dict(zip(texts, split_texts(texts, labels).test.tolist(), strict=True)) == one


def test_another_seed_is_another_split() -> None:
    texts = texts_of(200)
    assert (split_texts(texts, seed=0).test != split_texts(texts, seed=1).test).any()


def test_a_label_of_one_text_is_told_and_stays_to_train_on() -> None:
    texts = texts_of(41)
    labels = ["many"] * 40 + ["once"]
    split = split_texts(texts, labels)
    assert split.unsplit == {"once": 1}
    assert not split.test[40]


def test_nothing_to_split_is_refused() -> None:
    with pytest.raises(DataError, match="near copies"):
        split_texts(["the same text of some length"] * 20)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_out_of_range_is_refused(share) -> None:
    with pytest.raises(ParameterError, match="test_share"):
        split_texts(texts_of(10), share=share)


def test_groups_are_the_closure_of_near_pairs() -> None:
    texts = [
        normalise(t)
        for t in (*texts_of(20), *(t + " now" for t in texts_of(20)), *(t + " now x" for t in texts_of(20)))
    ]
    groups = near_groups(texts)
    near = np.array([[jaccard(a, b) >= NEAR for b in texts] for a in texts])
    reach = near.astype(int)
    for _ in range(6):
        reach = ((reach @ reach) > 0).astype(int)
    assert ((groups[:, None] == groups) == (reach > 0)).all()
