"""Quotas: how many calls each group gets next, in rounds that are simulated here."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest
from hypothesis import given, strategies as st

from gisttools.synthesis.generation import PROBE
from gisttools.synthesis.judge import Candidate
from gisttools.synthesis.llm.asking import Reply
from gisttools.synthesis.plan import PlannedCall
from gisttools.synthesis.quota import OVER, Quotas


def candidate(group: str, reason: str | None = None, *, cached: bool = False, usd: float = 0.0) -> Candidate:
    item = PlannedCall(group=group, register="r", persona="p", length="l", difficulty="d")
    reply = Reply(key="", content="", finish_reason="stop", model="m", tokens_in=70, tokens_out=30, cost_usd=usd,
                  cached=cached)  # fmt: skip
    return Candidate(item=item, reply=reply, reason=reason)


def simulate(wanted: dict[str, int], acceptance: float, attempts: float, seed: int, probe: int | None = PROBE,
             hasty: bool = False):  # fmt: skip
    """Every round of a synthesis in which a call gives a row with a fixed probability: candidates, and the rounds."""
    rng, counts, found, rounds = random.Random(seed), Quotas(wanted, attempts, hasty=hasty), [], []
    while batch := counts.next_round(None if rounds else probe):
        rounds.append(batch)
        for group, n in batch.items():
            found += [candidate(group, None if rng.random() < acceptance else "schema") for _ in range(n)]
        counts.count(found)
    return found, rounds


SHARES = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 40), min_size=1)


@given(SHARES, st.floats(0, 1), st.floats(1, 5), st.integers(0, 99))
def test_it_ends_with_every_group_full_or_out_of_attempts_and_none_beyond(wanted, acceptance, attempts, seed):
    found, _ = simulate(wanted, acceptance, attempts, seed)
    asked, accepted = Counter(c.item.group for c in found), Counter(c.item.group for c in found if c.reason is None)
    for group, n in wanted.items():
        assert accepted[group] <= n
        assert asked[group] < n * attempts + 1
        assert accepted[group] == n or asked[group] >= n * attempts - 1e-6 or accepted[group] < 0.05 * asked[group]


@given(SHARES, st.floats(0, 1), st.floats(1, 5), st.integers(0, 99), st.integers(2, 10))
def test_of_several_texts_a_call_so_many_calls_are_made_as_texts_are_missing(wanted, acceptance, attempts, seed, each):
    rng, counts, found, first = random.Random(seed), Quotas(wanted, attempts, texts=each), [], True
    while batch := counts.next_round(PROBE if first else None):
        first = False
        for group, calls in batch.items():
            missing = wanted[group] - sum(c.group == group and c.reason is None for c in found)
            assert calls > 0
            assert acceptance < 1 or (calls - 1) * each < missing
            for _ in range(calls):
                texts = [candidate(group, None if rng.random() < acceptance else "schema") for _ in range(each)]
                found += [dataclasses.replace(c, first=i == 0) for i, c in enumerate(texts)]
        counts.count(found)
    calls, accepted = (
        Counter(c.group for c in found if keep(c)) for keep in (lambda c: c.first, lambda c: not c.reason)
    )
    for group, n in wanted.items():
        assert accepted[group] <= n
        assert (calls[group] - 1) * each < n * attempts + 1


def test_attempts_are_never_overstepped_by_rounding():
    counts = Quotas({"a": 10}, 1.1)
    counts.count([candidate("a", "schema")] * 10)
    assert counts.next_round() == {"a": 1}
    counts.count([candidate("a", "schema")] * 11)
    assert counts.next_round() == {}


@pytest.mark.parametrize("missing", range(1, 9))
def test_few_missing_rows_are_asked_for_exactly(missing):
    counts = Quotas({"a": 20, "b": 1}, 9)
    counts.count([candidate("a")] * (20 - missing) + [candidate("a", "schema")] * 60 + [candidate("b")])
    assert counts.next_round() == {"a": missing}


def test_before_the_first_answer_nothing_is_asked_for_in_excess():
    assert Quotas({"a": 300, "b": 2}, 4).next_round() == {"a": 300, "b": 2}


def test_the_first_calls_are_shared_between_the_groups_in_turn():
    counts = Quotas({"a": 1, "b": 30, "c": 30}, 4)
    assert counts.next_round(most=8) == {"a": 1, "b": 4, "c": 3}
    assert counts.next_round(most=2) == {"a": 1, "b": 1}


def test_a_full_group_is_asked_for_nothing_more():
    counts = Quotas({"a": 2, "b": 2}, 4)
    counts.count([candidate("a"), candidate("a"), candidate("b")])
    assert counts.next_round() == {"b": 1}


@pytest.mark.parametrize("acceptance", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("probe", [PROBE, None])
def test_the_overshoot_is_small_and_few_rounds_are_needed(acceptance, probe):
    runs = [simulate({"a": 100}, acceptance, 20, seed, probe) for seed in range(30)]
    excess = sorted(sum(c.reason == OVER for c in found) for found, _ in runs)
    assert sum(excess) / len(runs) < 4
    assert excess[int(0.9 * len(runs))] <= 10
    assert sum(len(rounds) for _, rounds in runs) / len(runs) < 14


@pytest.mark.parametrize(
    "gave", [1, 2]
)  # of eight: one time in thirty and one in nine, where every second call gives one
def test_a_bad_first_round_does_not_ask_for_twice_what_is_missing_at_the_true_rate(gave):
    counts = Quotas({"a": 100}, 20)
    counts.count([candidate("a", None if i < gave else "schema") for i in range(8)])
    assert counts.next_round()["a"] * 0.5 < 200


# --- over-quota ----------------------------------------------------------------------------------------------------


def test_good_rows_beyond_the_quota_are_marked_in_order_and_bad_ones_keep_their_reason():
    rows = [candidate("a", r) for r in (None, "schema", None, None, "length", None)] + [candidate("b")]
    Quotas({"a": 2, "b": 1}, 4).count(rows)
    assert [c.reason for c in rows] == [None, "schema", None, OVER, "length", OVER, None]


def test_a_row_that_became_good_takes_its_place_back_from_a_later_one():
    rows = [candidate("a", "no-partner"), candidate("a"), candidate("a")]
    counts = Quotas({"a": 2}, 4)
    counts.count(rows)
    rows[0].reason = None
    counts.count(rows)
    assert [c.reason for c in rows] == [None, None, OVER]
    assert counts.accepted == {"a": 2}


def test_counting_twice_changes_nothing():
    rows = [candidate("a", r) for r in (None, None, None, "schema")]
    counts = Quotas({"a": 2}, 4)
    for _ in range(2):
        counts.count(rows)
        assert [c.reason for c in rows] == [None, None, OVER, "schema"]
        assert (counts.asked, counts.accepted) == ({"a": 4}, {"a": 2})


def test_the_next_round_depends_on_the_answers_and_not_on_their_order_between_groups():
    rows = [("a", None), ("b", "schema"), ("b", None), ("a", "length"), ("c", None)] * 4
    batches = []
    for seed in range(5):
        mixed = random.Random(seed).sample(rows, len(rows))
        counts = Quotas({"a": 30, "b": 30, "c": 30}, 9)
        counts.count([candidate(*row) for row in mixed])
        batches.append(counts.next_round())
    assert all(batch == batches[0] for batch in batches)


# --- the estimate --------------------------------------------------------------------------------------------------


@given(SHARES, st.floats(0, 1), st.floats(1, 5), st.integers(0, 99))
def test_the_estimate_lies_between_the_rows_wanted_and_all_attempts(wanted, acceptance, attempts, seed):
    counts, rng = Quotas(wanted, attempts), random.Random(seed)
    rows = [candidate(g, None if rng.random() < acceptance else "schema", usd=0.5)
            for g, n in counts.next_round(PROBE).items() for _ in range(n)]  # fmt: skip
    counts.count(rows)
    found = counts.estimate(rows, 4.0, 2, priced=True)
    assert 0 < found["acceptance"] < 1
    assert sum(wanted.values()) <= found["calls"] < sum(n * attempts + 1 for n in wanted.values())
    assert found["tokens"] == 100 * found["calls"]
    assert found["cost_usd"] == pytest.approx(0.5 * found["calls"])


def test_the_estimate_of_calls_is_near_what_it_takes():
    wanted = {"a": 500, "b": 500}
    counts, rows = Quotas(wanted, 9), [candidate("ab"[i % 2], "schema" if i % 3 == 0 else None) for i in range(30)]
    counts.count(rows)
    assert counts.estimate(rows, 1.0, 1, priced=False)["calls"] == pytest.approx(1500, rel=0.05)


@pytest.mark.parametrize(
    ("concurrency", "cached", "seconds"),
    # 8 calls in 4 seconds, one after the other or all at once; 100 calls follow at the same pace
    [(1, 0, 50.0), (4, 0, 50.0), (16, 0, 25.0), (1, 4, 100.0), (1, 8, None)],
)
def test_time_is_estimated_from_fresh_answers_as_if_all_places_were_filled(concurrency, cached, seconds):
    counts, rows = Quotas({"a": 90}, 9), [candidate("a", cached=i < cached) for i in range(8)]
    counts.count(rows)
    found = counts.estimate(rows, 4.0, concurrency, priced=False)
    assert found["calls"] == 100
    assert found["seconds"] == seconds
    assert found["cost_usd"] is None


def test_where_a_round_takes_a_day_fewer_rounds_do_at_the_price_of_some_rows_in_excess():
    rounds = {}
    for hasty in (False, True):
        counts = [simulate({"a": 30}, 0.1, 50.0, seed, probe=None, hasty=hasty) for seed in range(20)]
        rounds[hasty] = sum(len(each) for _, each in counts) / 20
        assert all(sum(c.reason is None for c in found) == 30 for found, _ in counts)
        over = sum(c.reason == OVER for found, _ in counts for c in found) / 20
        assert over < (10 if hasty else 3)
    assert rounds[True] < 0.5 * rounds[False]


@pytest.mark.parametrize(
    ("asked", "accepted", "unanswered", "given_up"),
    [(50, 0, 0, False), (60, 0, 0, True), (60, 1, 0, False), (120, 1, 0, True), (120, 5, 0, False), (50, 0, 40, False)],
)
def test_a_group_that_hardly_ever_gives_a_row_is_given_up(asked, accepted, unanswered, given_up):
    wanted, bad = {"a": 100, "b": 100}, ["label-far"] * (asked - accepted)
    calls = [candidate("a", reason) for reason in [*bad, *[None] * accepted]] + [candidate("b")] * 10
    silent = [candidate("a", "call-failed") for _ in range(unanswered)]
    for c in silent:
        c.reply = dataclasses.replace(c.reply, finish_reason="error")
    for patient in (False, True):
        counts = Quotas(wanted, 5, patient=patient)
        counts.count([*calls, *silent])
        gone = given_up and not patient
        assert counts.given_up() == ({"a": "label-far"} if gone else {})
        assert counts.next_round().keys() == ({"b"} if gone else {"a", "b"})
        assert (counts.calls_left() <= 90) == gone


def test_a_full_group_is_none_that_was_given_up():
    counts = Quotas({"a": 1}, 100)
    counts.count([candidate("a", "label-far")] * 60 + [candidate("a")])
    assert counts.given_up() == {}
