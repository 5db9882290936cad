"""The plan of batches: every row once a pass, sets as often as asked, one set a batch, equal parts for devices."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, strategies as st

from gisttools.common.errors import ParameterError
from gisttools.training.batches import BatchPlan
from gisttools.training.options import Mix

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=5)


def rows_of(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


@given(SIZES, st.integers(1, 16), st.sampled_from(["mixed", "one_set"]), st.integers(1, 3))
def test_proportional_takes_every_row_once_a_pass(sizes, batch_size, batches, passes):
    plan = BatchPlan(rows_of(sizes), batch_size=batch_size, passes=passes, mix=Mix(batches=batches), seed=3)
    drawn = Counter(row for batch in plan for row in batch)
    assert drawn == dict.fromkeys(range(sum(sizes)), passes)
    assert len(plan) == len(list(plan))


@given(
    SIZES,
    st.integers(1, 16),
    st.sampled_from([Mix(batches="one_set"), Mix(mix="round_robin", batches="one_set")]),
)
def test_one_set_a_batch(sizes, batch_size, mix):
    set_of_row = rows_of(sizes)
    for batch in BatchPlan(set_of_row, batch_size=batch_size, steps=25, mix=mix):
        assert len(set(set_of_row[batch])) == 1
        assert 0 < len(batch) <= batch_size


@pytest.mark.parametrize("batches", ["mixed", "one_set"])
def test_round_robin_draws_small_and_large_sets_alike(batches):
    set_of_row = rows_of([10, 300, 50])
    plan = BatchPlan(set_of_row, batch_size=9, steps=60, mix=Mix(mix="round_robin", batches=batches))
    counts = np.bincount(set_of_row[np.concatenate(list(plan.batches()))])
    assert counts.tolist() == [180, 180, 180]


@pytest.mark.parametrize("batches", ["mixed", "one_set"])
def test_weights_decide_how_often_a_set_is_drawn(batches):
    set_of_row = rows_of([100, 100, 100])
    mix = Mix(mix="weights", weights=[3, 1, 0], batches=batches)
    counts = np.bincount(
        set_of_row[np.concatenate(list(BatchPlan(set_of_row, batch_size=10, steps=2000, mix=mix).batches()))]
    )
    assert len(counts) == 2  # the set of weight 0 is never drawn
    assert counts[0] / counts[1] == pytest.approx(3, rel=0.1)


@given(
    SIZES, st.integers(1, 8), st.sampled_from(["proportional", "round_robin"]), st.sampled_from(["mixed", "one_set"])
)
def test_devices_get_equal_parts_that_make_up_the_single_device_batch(sizes, half, strategy, batches):
    options = {"batch_size": 2 * half, "steps": 12, "mix": Mix(mix=strategy, batches=batches), "seed": 5}
    if strategy == "proportional" and all(s < 2 for s in sizes):
        return  # nothing that divides among two devices
    if batches == "one_set" and strategy == "proportional" and any(s % 2 for s in sizes):
        return  # rows are left out then
    parts = list(BatchPlan(rows_of(sizes), devices=2, **options))
    single = list(BatchPlan(rows_of(sizes), **options))
    assert all(len(a) == len(b) for a, b in zip(parts[::2], parts[1::2], strict=True))
    if sum(sizes) % (2 * half) == 0 and strategy == "proportional" and batches == "mixed":
        assert [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)] == single


def test_a_plan_is_decided_by_its_arguments():
    plans = [BatchPlan(rows_of([20, 30]), batch_size=8, passes=3, seed=s) for s in (1, 1, 2)]
    orders = [list(p) for p in plans]
    assert orders[0] == orders[1] == list(plans[0])
    assert orders[0] != orders[2]
    assert sorted(orders[0][0]) != sorted(orders[0][len(orders[0]) // 3])  # a pass is shuffled anew


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"mix": "weights"}, "goes with weights"),
        ({"weights": [1.0, 2.0]}, "goes with weights"),
        ({"mix": "weights", "weights": [1.0]}, "1 weights for 2 set"),
        ({"mix": "weights", "weights": [1.0, -1.0]}, "not negative"),
        ({"mix": "weights", "weights": [0.0, 0.0]}, "not all 0"),
        ({"mix": "random"}, "mix = 'random'"),
        ({"batches": "own"}, "batches = 'own'"),
    ],
)
def test_a_mix_that_does_not_fit_is_refused(mix, message):
    with pytest.raises(ParameterError, match=message):
        BatchPlan(rows_of([3, 4]), batch_size=2, mix=Mix(**mix))


def test_a_batch_that_does_not_divide_among_the_devices_is_refused():
    with pytest.raises(ParameterError, match=r"batch_size is 9.*2 device"):
        BatchPlan(rows_of([30]), batch_size=9, devices=2)
