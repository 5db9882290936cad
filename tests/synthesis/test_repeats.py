"""Texts that are there already, equally or nearly."""

from __future__ import annotations

import numpy as np
import pytest

from gisttools.synthesis.judge import NEAR_DUPLICATE, Seen


def test_repeats_are_found_whatever_their_case_width_and_spacing():
    seen = Seen(["Where is my parcel?"])
    assert seen.repeats("WHERE  is my ｐarcel?") == "duplicate"


def test_a_small_change_is_a_near_duplicate_and_another_wording_is_not():
    seen = Seen(["Where is my parcel, I ordered it on Monday?"])
    assert seen.repeats("Where is my parcel, I ordered it on Sunday?") == "near-duplicate"
    assert seen.repeats("Monday's delivery has not turned up so far.") is None


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


def test_near_duplicates_agree_with_a_comparison_of_all_pairs():
    rng = np.random.default_rng(0)
    words = np.array(["late", "parcel", "where", "refund", "money", "shoes", "Monday", "please", "today", "broken"])
    texts = [" ".join(rng.choice(words, 6)) for _ in range(300)]
    seen, kept, found, wanted = Seen(), [], [], []
    for text in texts:
        own = {text.casefold()[i : i + 3] for i in range(len(text) - 2)}
        wanted.append(any(len(own & k) / len(own | k) >= NEAR_DUPLICATE for k in kept))
        found.append(seen.repeats(text) is not None)
        if not wanted[-1]:
            seen.add(text)
            kept.append(own)
    missed = sum(w and not f for w, f in zip(wanted, found, strict=True))
    assert sum(wanted) > 50
    assert not any(f and not w for w, f in zip(wanted, found, strict=True))  # the exact check allows no false alarm
    assert missed <= 0.1 * sum(wanted)  # the index may miss a few
