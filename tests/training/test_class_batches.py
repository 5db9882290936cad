"""Batches of labelled texts: how many of each class, how often, in equal parts for devices, none twice."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from gisttools.common.errors import DataError
from gisttools.training.class_batches import ClassPlan
from gisttools.training.options import Mix

FEW = [([500, 500], [32, 32]), ([3, 500], [3, 61]), ([200] * 6, [10] * 2 + [11] * 4)]


def members_of(sizes, sets=None):
    """Classes of these sizes, one after the other; `sets`: of each class."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return pd.DataFrame(
        {"set": np.zeros(len(labels), int) if sets is None else np.asarray(sets)[labels], "label": labels,
         "text": np.arange(len(labels))}
    )  # fmt: skip


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=30).filter(lambda sizes: max(sizes) > 1),
    st.integers(2, 40), st.integers(2, 6), st.integers(1, 3), st.booleans(),
)  # fmt: skip
def test_no_text_comes_twice_and_each_has_company_where_there_is_some(sizes, batch_size, per_class, devices, alike):
    members = members_of(sizes)
    centroids = np.random.default_rng(0).normal(size=(len(sizes), 4)) if alike else None
    plan = ClassPlan(members, batch_size=batch_size * devices, texts_per_class=per_class, steps=10, devices=devices,
                     centroids=centroids)  # fmt: skip
    label = members["label"].to_numpy()
    for batch in plan.batches():
        assert len(batch) == len(set(batch.tolist())) <= batch_size * devices
        assert len(batch) % devices == 0
        counts = Counter(label[batch].tolist())
        lonely = [c for c, n in counts.items() if n == 1 and sizes[c] > 1]
        assert len(lonely) <= devices - 1  # what does not divide among devices
        alone = sum(1 for c in counts if sizes[c] == 1)
        assert alone <= max(1, batch_size * devices // 4 + 1)
    assert len(list(plan)) == len(plan) == 10 * devices


def test_sixteen_classes_of_four():
    members = members_of([13] * 77)
    for batch in ClassPlan(members, batch_size=64, texts_per_class=4, steps=20).batches():
        assert sorted(Counter(members["label"].to_numpy()[batch]).values()) == [4] * 16


@pytest.mark.parametrize(("sizes", "counts"), FEW)
def test_few_classes_give_more_texts_each(sizes, counts):
    members = members_of(sizes)
    for batch in ClassPlan(members, batch_size=64, steps=10).batches():
        found = sorted(Counter(members["label"].to_numpy()[batch]).values())
        assert len(batch) == 64
        assert found == counts or max(found) - min(found) <= 2


def test_classes_are_drawn_by_the_square_root_of_their_size():
    """Two classes a batch of some hundred: a class of 2,500 texts comes about five times as often as one of 100."""
    sizes = [2500, 2500, *[100] * 200]
    members = members_of(sizes)
    plan = ClassPlan(members, batch_size=8, texts_per_class=4, steps=4000)
    times = np.zeros(len(sizes))
    for batch in plan.batches():
        times[np.unique(members["label"].to_numpy()[batch])] += 1
    assert times[:2].mean() / times[2:].mean() == pytest.approx(5, rel=0.15)


def test_sizes_from_one_to_five_thousand():
    """150 classes: every text of a class has its turn before one comes again; singletons come, but never crowd."""
    sizes = np.unique(np.geomspace(1, 5000, 150).round().astype(int), return_inverse=False)
    sizes = np.concatenate([[1] * (150 - len(sizes)), sizes])
    members = members_of(sizes)
    label = members["label"].to_numpy()
    drawn = Counter()
    for batch in ClassPlan(members, batch_size=64, steps=300).batches():
        assert len(batch) == 64
        counts = Counter(label[batch].tolist())
        assert all(n >= 2 for c, n in counts.items() if sizes[c] > 1)
        assert sum(n for c, n in counts.items() if sizes[c] == 1) <= 16
        drawn.update(batch.tolist())
    for c in range(150):
        times = [drawn[t] for t in members["text"][label == c]]
        assert max(times) - min(times) <= 1
    assert sum(drawn[t] for t in members["text"] if sizes[label[t]] == 1) > 0


def test_a_text_of_several_classes_comes_once():
    members = pd.DataFrame({"set": 0, "label": [0, 0, 0, 1, 1, 1], "text": [0, 1, 2, 0, 1, 3]})
    for batch in ClassPlan(members, batch_size=8, steps=20).batches():
        assert sorted(batch.tolist()) == [0, 1, 2, 3]


def test_confusable_classes_meet():
    """Classes lie in fours: with the guide's centroids a batch of four classes is one of these fours."""
    members = members_of([10] * 40)
    centroids = np.eye(10)[np.arange(40) // 4] + np.random.default_rng(0).normal(scale=0.01, size=(40, 10))
    together = ClassPlan(members, batch_size=16, texts_per_class=4, steps=50, centroids=centroids)
    apart = ClassPlan(members, batch_size=16, texts_per_class=4, steps=50)
    fours = [[len(set(members["label"].to_numpy()[b] // 4)) for b in plan.batches()] for plan in (together, apart)]
    assert set(fours[0]) == {1}
    assert np.mean(fours[1]) > 3


@pytest.mark.parametrize("mix", [Mix(batches="one_set"), Mix(mix="round_robin", batches="one_set")])
def test_one_set_a_batch(mix):
    members = members_of([10, 20, 30, 40], sets=[0, 0, 1, 1])
    sets = members["set"].to_numpy()
    met = [set(sets[b].tolist()) for b in ClassPlan(members, batch_size=8, steps=20, mix=mix).batches()]
    assert all(len(m) == 1 for m in met)
    assert set.union(*met) == {0, 1}


def test_weights_decide_how_often_a_sets_classes_are_drawn():
    members = members_of([50] * 40, sets=[0] * 20 + [1] * 20)
    plan = ClassPlan(members, batch_size=8, steps=500, mix=Mix(mix="weights", weights=[3, 1]))
    sets = np.bincount(members["set"].to_numpy()[np.concatenate(list(plan.batches()))])
    assert sets[0] / sets[1] == pytest.approx(3, rel=0.15)


def test_a_set_of_two_classes_has_its_share_next_to_one_of_many():
    """The share of its texts; by the roots of all classes alike it would be one of seven."""
    members = members_of([200] * 2 + [10] * 40, sets=[0] * 2 + [1] * 40)
    drawn = np.concatenate(list(ClassPlan(members, batch_size=64, steps=200).batches()))
    share = np.bincount(members["set"].to_numpy()[drawn])[0] / len(drawn)
    assert share == pytest.approx(0.5, abs=0.12)


def test_a_class_whose_share_is_large_gives_more_than_others():
    members = members_of([6400] + [4] * 60)
    label = members["label"].to_numpy()
    first = [Counter(label[batch].tolist())[0] for batch in ClassPlan(members, batch_size=64, steps=60).batches()]
    # of the draws it would have 80 / (80 + 120), so six of sixteen, of four texts each
    assert np.mean(first) == pytest.approx(24, abs=3)


def test_a_plan_is_decided_by_its_arguments_and_dealt_in_equal_parts():
    members = members_of([7] * 12)
    one, other = (ClassPlan(members, batch_size=16, steps=8, seed=s) for s in (1, 2))
    assert list(one) == list(one)
    assert list(one) != list(other)
    halves = list(ClassPlan(members, batch_size=16, steps=8, seed=1, devices=2))
    assert [a + b for a, b in zip(halves[::2], halves[1::2], strict=True)] == list(one)


def test_passes_count_texts():
    assert ClassPlan(members_of([40] * 10), batch_size=40, passes=3).steps == 30


def test_texts_without_company_are_refused():
    with pytest.raises(DataError, match=r"None of 3 label\(s\) has two texts"):
        ClassPlan(members_of([1, 1, 1]), batch_size=4, steps=1)
