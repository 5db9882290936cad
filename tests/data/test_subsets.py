"""Nested subsets: each lies within the next, labels stay balanced, and the order hangs on its seed alone."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from helpers import ROOT
from hypothesis import given, strategies as st

from gisttools.common.errors import ParameterError
from gisttools.data.triplet_sets import concatenate, nested_order, nested_subset, triplet_tables
from gisttools.data.triplets import fingerprint, make_triplets

LABELS = st.lists(st.integers(-1, 4), min_size=1, max_size=60)


def table(name: str, labels: list[str | None], task: str | None = None):
    rows = [
        {"anchor": f"{name} {i}", "positive": "p", "anchor_label": label, "task_name": task}
        for i, label in enumerate(labels)
    ]
    return make_triplets(rows)


def anchors(tables) -> list[str]:
    return [text for t in tables.values() for text in t["anchor"][:]]


@given(LABELS, st.integers(0, 9))
def test_an_order_holds_every_row_once(labels, seed):
    assert sorted(nested_order(np.asarray(labels), seed)) == list(range(len(labels)))


@given(LABELS, st.integers(0, 9))
def test_every_beginning_takes_labels_in_turn_until_they_run_out(labels, seed):
    labels = [x for x in labels if x >= 0]
    order, whole = nested_order(np.asarray(labels, dtype=int), seed), Counter(labels)
    for n in range(len(labels) + 1):
        taken = Counter(labels[i] for i in order[:n])
        most = max(taken.values(), default=0)
        assert all(taken[label] >= min(most - 1, whole[label]) for label in whole)


@given(LABELS, st.integers(0, 9))
def test_every_beginning_holds_its_share_of_rows_without_a_label(labels, seed):
    order = nested_order(np.asarray(labels), seed)
    share = labels.count(-1) / len(labels)
    bare = np.cumsum([labels[i] == -1 for i in order])
    assert np.abs(bare - share * np.arange(1, len(labels) + 1)).max() <= 1


def test_seeds_give_other_orders_and_one_seed_the_same():
    labels = np.arange(60) % 5
    assert nested_order(labels, 1).tolist() == nested_order(labels, 1).tolist()
    assert nested_order(labels, 1).tolist() != nested_order(labels, 2).tolist()


def test_a_smaller_subset_lies_within_a_larger_one_over_several_tables():
    tables = {"a": table("a", ["x", "y"] * 20), "b": table("b", ["x", None] * 10)}
    found = [set(anchors(nested_subset(tables, n))) for n in (5, 20, 41, 60)]
    assert [len(f) for f in found] == [5, 20, 41, 60]
    assert all(small < large for small, large in pairwise(found))


def test_a_limit_of_all_rows_and_no_limit_leave_the_tables_as_they_are():
    tables = {"a": table("a", ["x", "y", "x"]), "b": table("b", [None])}
    for limit in (4, None):
        assert anchors(nested_subset(tables, limit, seed=3)) == ["a 0", "a 1", "a 2", "b 0"]


def test_a_table_of_which_no_row_is_taken_keeps_its_place():
    tables = {"a": table("a", [None] * 30), "b": table("b", [None])}
    found = nested_subset(tables, 2)
    assert list(found) == ["a", "b"]
    assert len(concatenate(found)) == 2


def test_one_label_of_two_tasks_is_two_labels():
    tables = {"a": table("a", ["1"] * 8, "first"), "b": table("b", ["1"] * 2, "second")}
    assert [len(t) for t in nested_subset(tables, 4).values()] == [2, 2]


def test_the_support_messages_are_balanced_and_the_whole_is_the_table_itself():
    tables = triplet_tables([ROOT / "data" / "support_intents" / "triplets.jsonl"])
    counts = Counter(concatenate(nested_subset(tables, 70))["anchor_label"])
    assert set(counts.values()) == {5}
    size = len(concatenate(tables))
    assert fingerprint(concatenate(nested_subset(tables, size))) == fingerprint(concatenate(tables))


def test_a_limit_beyond_the_table_is_refused_with_what_there_is():
    with pytest.raises(ParameterError, match=r"limit is 1000, but the triplets have 3 rows\. Set limit to at most 3"):
        nested_subset({"a": table("a", ["x"] * 3)}, 1000)
