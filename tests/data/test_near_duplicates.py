"""Near-duplicates: what a brute-force oracle finds, nothing else, whatever the texts are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings, strategies as st

from gisttools.data import near_duplicates
from gisttools.data.near_duplicates import NearIndex, bands, jaccard, near_pairs, trigrams

WORDS = ["lost", "card", "where", "my", "is", "the", "refund", "top", "up", "fee", "a", "charged", "?", "!", "é", "猫"]


def pairs(texts, others, threshold):
    parts = [zip(*(x.tolist() for x in part), strict=True) for part in near_pairs(texts, others, threshold)]
    found = [pair for part in parts for pair in part]
    assert len({pair[:2] for pair in found}) == len(found)  # each once
    return {(i, j): score for i, j, score in found}


def oracle(texts, others, threshold):
    scores = {(i, j): jaccard(t, o) for i, t in enumerate(texts) for j, o in enumerate(others)}
    return {pair: score for pair, score in scores.items() if score >= threshold and score > 0}


def phrases(n, seed):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(0, 9))) for _ in range(n)]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95, 1.0])
def test_pairs_and_scores_are_those_of_brute_force(threshold):
    texts, others = phrases(150, 1), phrases(100, 2)
    assert pairs(texts, others, threshold) == oracle(texts, others, threshold)


@pytest.mark.parametrize("given_at_once", [0, 40, 100])
@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_texts_added_one_by_one_are_found_like_those_given_at_once(threshold, given_at_once):
    texts, others = phrases(60, 1), [*phrases(99, 2), ""]
    index = NearIndex(others[:given_at_once], threshold)
    assert [index.add(text) for text in others[given_at_once:]] == list(range(given_at_once, 100))
    assert len(index) == 100
    found = {(i, j): score for i, text in enumerate(texts) for j, score in index.near(text).items()}
    assert found == oracle(texts, others, threshold)
    parts = [zip(*(x.tolist() for x in part), strict=True) for part in index.find(texts)]
    assert sorted((i, j, score) for part in parts for i, j, score in part) == sorted((*k, v) for k, v in found.items())


def test_the_nearest_text_comes_first():
    index = NearIndex(["a lost card today"], 0.3)
    index.add("i lost my card today")
    index.add("i lost my card")
    assert list(index.near("i lost my card")) == [2, 1, 0]
    assert list(index.near("")) == list(index.near("猫")) == []


def test_small_parts_and_few_candidates_at_once_change_nothing(monkeypatch):
    texts, others = phrases(150, 1), phrases(100, 2)
    monkeypatch.setattr(near_duplicates, "_CHARACTERS", 300)
    monkeypatch.setattr(near_duplicates, "_CANDIDATES", 7)
    monkeypatch.setattr(near_duplicates, "_COMPARED", 50)
    monkeypatch.setattr(near_duplicates, "_HASHED", 50)
    assert pairs(texts, others, 0.5) == oracle(texts, others, 0.5)


def test_both_ways_round_is_the_same():
    texts, others = phrases(90, 3), phrases(120, 4)
    turned = {(i, j): score for (j, i), score in pairs(others, texts, 0.6).items()}
    assert pairs(texts, others, 0.6) == turned


def test_planted_copies_with_a_changed_letter_are_all_found():
    draw = random.Random(5)
    letters = "abcdefghijklmnopqrstuvwxyz     "
    others = ["".join(draw.choices(letters, k=60)) for _ in range(1500)]
    texts = [text[:30] + "_" + text[31:] for text in others]
    found = pairs(texts, others, 0.8)
    assert {(i, i) for i in range(len(texts)) if jaccard(texts[i], others[i]) >= 0.8} == set(found)
    assert len(found) > 1400


@settings(max_examples=50)
@given(st.lists(st.text(max_size=12), max_size=8), st.lists(st.text(max_size=12), max_size=8))
def test_any_text_at_all_is_compared_as_by_brute_force(texts, others):
    assert pairs(texts, others, 0.5) == oracle(texts, others, 0.5)


def test_trigrams_of_short_texts():
    assert trigrams("") == set()
    assert trigrams("a") == {" a "}
    assert trigrams("ab") == {" ab", "ab "}


def test_the_last_letters_of_one_text_and_the_first_of_the_next_make_no_trigram():
    assert pairs(["ab", "cd"], ["ab cd", "b  c"], 0.01) == oracle(["ab", "cd"], ["ab cd", "b  c"], 0.01)


@pytest.mark.parametrize(("text", "other"), [("top up", "top off"), ("lost card", "lost cat"), ("yes", "yep")])
def test_in_texts_of_one_to_three_words_another_letter_makes_another_text(text, other):
    assert jaccard(text, other) < 0.8


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("why has my card not arrived yet", "why has my card not arrived yet?"),
        ("which currencies and cards do you support", "which cards and currencies do you support"),
        ("i lost my cards somewhere in the city", "i lost my card somewhere in the city"),
    ],
)
def test_in_sentences_a_sign_an_ending_or_the_order_does_not(text, other):
    assert jaccard(text, other) >= 0.8


def test_a_text_of_a_megabyte_is_compared_like_any_other():
    draw = random.Random(0)
    long = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz ", k=1_000_000))
    assert sorted(pairs([long, "shorter"], [long[:-1], "shorter!"], 0.6)) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99])
def test_a_pair_at_the_threshold_is_hardly_ever_missed(threshold):
    n, length = bands(threshold)
    assert (1 - threshold**length) ** n <= 1e-4
    assert n * length <= 192


@pytest.mark.parametrize(("texts", "others"), [([], []), (["a"], []), ([], ["a"]), ([""], [""]), ([""], ["", "ab"])])
def test_nothing_is_near_to_nothing(texts, others):
    assert pairs(texts, others, 0.5) == {}
