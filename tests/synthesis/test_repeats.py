"""Texts that are there already, equally or nearly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, strategies as st

from gisttools.data.near_duplicates import jaccard, near_pairs
from gisttools.data.options import NEAR, Tiers
from gisttools.data.overlap import normalise
from gisttools.synthesis.judge import Seen
from gisttools.synthesis.options import Checks


def test_repeats_are_found_whatever_their_case_width_and_spacing():
    seen = Seen(["Where is my parcel?"])
    assert seen.repeats("WHERE  is my ｐarcel?") == "duplicate"


def test_a_small_change_is_a_near_duplicate_and_another_wording_is_not():
    seen = Seen(["Where is my parcel, I ordered it on Monday?"])
    assert seen.repeats("Where is my parcel, I ordered it on Sunday?") == "near-duplicate"
    assert seen.repeats("Monday's delivery has not turned up so far.") is None


def test_one_threshold_holds_for_the_judge_and_for_the_overlap_checks():
    assert Checks().near == Tiers().near == NEAR


def test_nothing_repeats_before_it_is_added():
    seen = Seen()
    assert seen.repeats("Where is my parcel?") is None
    seen.add("Where is my parcel?")
    assert seen.repeats("Where is my parcel?") == "duplicate"


@pytest.mark.parametrize("text", ["", "a", "ab", "🙂", "\ud800 lone", "x" * 20_000])
def test_short_long_and_broken_texts_are_remembered_too(text):
    seen = Seen(["Where is my parcel?"])
    assert seen.repeats(text) is None
    seen.add(text)
    seen.add(text)
    assert seen.repeats(text) == "duplicate"


WORDS = st.sampled_from(["late", "parcel", "where", "refund", "money", "shoes", "Monday", "please", "today"])
PHRASES = st.lists(WORDS, max_size=6).map(" ".join)


@given(PHRASES, PHRASES, st.integers(0, 2))
@example("refund me", "refund m", 0)  # 0.70; without the spaces around a text it would be 0.86
def test_the_judge_and_the_overlap_checks_call_the_same_pairs_near(text, other, cut):
    text, other = normalise(text), normalise(other[: len(other) - cut])
    seen = Seen()
    seen.add(text)
    near = [score for part in near_pairs([text], [other], NEAR) for score in part[2]]
    assert near == ([jaccard(text, other)] if jaccard(text, other) >= NEAR else [])
    assert (seen.repeats(other) is not None) == (text == other or bool(near))
    assert Seen([text]).repeats(other) == seen.repeats(other)


def test_near_duplicates_agree_with_a_comparison_of_all_pairs():
    rng = np.random.default_rng(0)
    words = np.array(["late", "parcel", "where", "refund", "money", "shoes", "Monday", "please", "today", "broken"])
    texts = [normalise(" ".join(rng.choice(words, 6))) for _ in range(600)]
    seen, kept, found, wanted = Seen(), [], [], []
    for text in texts:
        wanted.append(any(jaccard(text, k) >= NEAR for k in kept))
        found.append(seen.repeats(text) is not None)
        if not wanted[-1]:
            seen.add(text)
            kept.append(text)
    assert sum(wanted) > 50
    assert found == wanted
