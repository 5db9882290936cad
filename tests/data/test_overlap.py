"""Duplicates and overlap: what counts as equal, which tier catches what, and that rows with evaluation texts go."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from gisttools.common.errors import DataError, ParameterError
from gisttools.data.near_duplicates import jaccard
from gisttools.data.overlap import TIERS, Tiers, drop_overlap, find_duplicates, find_overlap, normalise, table_texts
from gisttools.data.triplets import make_triplets

ROWS = [
    {"anchor": "Where is it?", "positive": "Has it left?", "negatives": ["Card refused"]},
    {"anchor": "New key", "positive": "Lost key", "negatives": ["Too loud", "Too cold"]},
]
PHRASES = [
    "my card was lost in the city",
    "My  card was lost in the city",
    "my card was lost in the city!",
    "top up",
    "?",
]
texts_ = st.lists(st.sampled_from([*PHRASES, "my cards were lost in the city!", "no", "No", "!!", "…"]), max_size=8)


class ToyGuide:
    """Vectors by the first word of a text: equal ones for "please" and "kindly"."""

    def add(self, texts):
        self.texts = getattr(self, "texts", []) + list(texts)
        return np.arange(len(self.texts) - len(texts), len(self.texts))

    def vectors(self, rows):
        words = ["pay" if self.texts[r].split()[0] in ("please", "kindly") else self.texts[r].split()[0] for r in rows]
        matrix = np.zeros((len(words), 64), dtype=np.float32)
        matrix[np.arange(len(words)), [sum(map(ord, w)) % 64 for w in words]] = 1
        return matrix


@pytest.mark.parametrize(
    ("one", "other"),
    [("Key  lost\n", " key LOST"), ("ﬁne", "FINE"), ("Straße", "STRASSE"), ("cafe\u0301", "café"), ("a\u00a0b", "a b")],
)
def test_case_space_and_unicode_form_do_not_matter(one, other):
    assert normalise(one) == normalise(other)


def test_words_and_punctuation_do_matter():
    assert len({normalise(t) for t in ("key lost", "keys lost", "key lost!", "keylost")}) == 4


def test_overlap_gives_the_texts_as_written_each_once_in_order():
    found = find_overlap(["B", "x", "A", "B"], ["a ", "b", "c"], Tiers(near=None))
    assert found["text"].tolist() == ["B", "A"]


def test_all_texts_of_a_table_each_once():
    texts = table_texts(make_triplets([*ROWS, ROWS[0]]))
    assert sorted(texts) == sorted(
        ["Where is it?", "Has it left?", "Card refused", "New key", "Lost key", "Too loud", "Too cold"]
    )


# find_overlap


def test_each_text_is_listed_once_by_its_first_tier_in_order():
    others = ["please transfer it", "my card was lost in the city"]
    asked = ["kindly refund that", "My card was lost in the city!", "nothing alike", "my CARD was lost in the city"]
    found = find_overlap([*asked, asked[0]], others, Tiers(guide=ToyGuide()))
    assert found["text"].tolist() == [asked[0], asked[1], asked[3]]
    assert found["tier"].tolist() == ["semantic", "near", "exact"]
    assert found["other"].tolist() == [others[0], others[1], others[1]]
    assert found["score"].tolist() == [1.0, jaccard(normalise(asked[1]), others[1]), 1.0]


def test_the_most_similar_text_is_named():
    found = find_overlap(
        ["where has my new card gone?"], ["where has my new card gone!?", "where has my new card gone"]
    )
    assert found["other"].tolist() == ["where has my new card gone"]


def test_a_lower_threshold_catches_more():
    asked, others = ["where is my card"], ["where is my new card"]
    assert [len(find_overlap(asked, others, Tiers(near=t))) for t in (None, 0.8, 0.6)] == [0, 0, 1]


def test_without_any_text_the_columns_are_there():
    for found in (find_overlap([], ["a"]), find_overlap(["a"], [])):
        assert found.columns.tolist() == ["text", "other", "tier", "score"]
        assert len(found) == 0


@settings(max_examples=40)
@given(texts_, texts_)
def test_overlap_is_what_brute_force_says(asked, others):
    found = find_overlap(asked, others).set_index("text")
    for text in asked:
        forms = [normalise(o) for o in others]
        best = max([jaccard(normalise(text), form) for form in forms], default=0)
        tier = "exact" if normalise(text) in forms else "near" if best >= 0.8 else None
        assert (found["tier"].get(text), found["score"].get(text)) == (tier, best if tier == "near" else tier and 1.0)


@settings(max_examples=40)
@given(texts_, texts_, st.randoms(use_true_random=False))
def test_the_order_of_texts_makes_no_difference(asked, others, draw):
    found = find_overlap(asked, others)
    asked, others = draw.sample(asked, len(asked)), draw.sample(others, len(others))
    again = find_overlap(asked, others)
    lines = [set(f[["text", "tier", "score"]].itertuples(index=False, name=None)) for f in (found, again)]
    assert lines[0] == lines[1]


def test_several_problems_of_the_tiers_are_told_at_once():
    with pytest.raises(ParameterError, match=r"(?s)2 parameter problem.*near = 1\.5.*semantic = -1"):
        Tiers(near=1.5, semantic=-1.0)


def test_a_semantic_tier_needs_a_guide():
    with pytest.raises(ParameterError, match=r"semantic is 0\.9, but there is no guide"):
        Tiers(semantic=0.9)


# find_duplicates


def test_groups_within_a_set_by_their_strongest_links():
    asked = ["top up", "my card was lost in the city", "Top up", "other", "my card was lost in the city!", "TOP UP"]
    found = find_duplicates(asked)
    assert found.columns.tolist() == ["group", "set", "row", "text", "tier", "score"]
    assert found["group"].tolist() == [0, 0, 0, 1, 1]
    assert found["row"].tolist() == [0, 2, 5, 1, 4]
    assert found["tier"].tolist() == ["exact"] * 3 + ["near"] * 2
    assert found["score"].tolist()[3:] == [jaccard(asked[1], asked[4])] * 2


def test_groups_go_across_named_sets():
    found = find_duplicates({"train": ["a b", "c"], "test": ["d", "A  B"]})
    assert found[["set", "row"]].to_numpy().tolist() == [["train", 0], ["test", 1]]


def test_what_hangs_together_through_a_third_text_is_one_group():
    one, two = "why has my new card not arrived", "why has my new card not arrived yet"
    three = "hey why has my new card not arrived yet"
    assert jaccard(one, three) < 0.8 <= min(jaccard(one, two), jaccard(two, three))
    assert find_duplicates([one, two, three])["group"].tolist() == [0, 0, 0]


def test_other_words_of_the_same_meaning_are_a_group_under_a_guide():
    found = find_duplicates(["please transfer it", "other", "kindly refund that"], Tiers(guide=ToyGuide()))
    assert found["row"].tolist() == [0, 2]
    assert found["tier"].tolist() == ["semantic"] * 2


@settings(max_examples=40)
@given(texts_)
def test_a_text_is_in_a_group_exactly_if_another_row_is_like_it(asked):
    forms = [normalise(t) for t in asked]
    alike = {
        i
        for i, one in enumerate(forms)
        for j, other in enumerate(forms)
        if i != j and (one == other or jaccard(one, other) >= 0.8)
    }
    found = find_duplicates(asked)
    assert set(found["row"]) == alike
    assert (found.groupby("group").size() > 1).all()


@pytest.mark.parametrize("asked", [[], ["one"], {}, {"a": [], "b": ["one"]}])
def test_nothing_repeats_where_there_is_at_most_one_text(asked):
    assert len(find_duplicates(asked)) == 0


# drop_overlap


@pytest.mark.parametrize(
    ("text", "column"), [("where is IT?", "anchor"), ("has it  left?", "positive"), ("card refused", "negatives")]
)
def test_a_row_goes_if_any_of_its_texts_is_an_evaluation_text(text, column):
    made = make_triplets(ROWS)
    table, found = drop_overlap(made, {"test": [text]})
    assert table["anchor"][:] == ["New key"]
    names = ["place", "row", "column", "text", "eval_set", "eval_text", "tier", "score"]
    assert found.columns.tolist() == names
    assert found["text"].map(normalise).tolist() == [normalise(text)]
    assert found[["place", "row", "column", "eval_set", "eval_text", "tier", "score"]].to_numpy().tolist() == [
        [0, made["id"][0], column, "test", text, "exact", 1.0]
    ]


def test_every_evaluation_set_that_a_text_stands_in_is_listed():
    _, found = drop_overlap(make_triplets(ROWS), {"one": ["New key"], "two": ["Lost key"], "three": ["NEW KEY"]})
    assert found[["column", "eval_set"]].to_numpy().tolist() == [
        ["anchor", "one"],
        ["anchor", "three"],
        ["positive", "two"],
    ]


def test_without_evaluation_sets_nothing_goes():
    table = make_triplets(ROWS)
    left, found = drop_overlap(table, {})
    assert (left, len(found)) == (table, 0)
    assert "tier" in found


def test_an_evaluation_set_that_checks_nothing_is_refused():
    with pytest.raises(DataError, match=r"(?s)mine is one text.*empty holds no text"):
        drop_overlap(make_triplets(ROWS), {"mine": "Where is it?", "empty": []})
    with pytest.raises(DataError, match="is a list"):
        drop_overlap(make_triplets(ROWS), ["Where is it?"])


@settings(max_examples=40)
@given(st.integers(0, 1000), st.lists(st.sampled_from(PHRASES), min_size=1, max_size=3))
def test_no_row_that_overlaps_is_left_and_no_other_is_lost(seed, evaluation):
    draw = random.Random(seed)
    pool = [*PHRASES, "my cards were lost in the city", "fee", "fees", "my card was lost in the town"]
    rows = [
        {"anchor": draw.choice(pool), "positive": draw.choice(pool), "negatives": draw.sample(pool, 2)}
        for _ in range(6)
    ]
    table = make_triplets(rows)
    left, found = drop_overlap(table, {"test": evaluation})

    def overlaps(row):
        texts = [row["anchor"], row["positive"], *row["negatives"]]
        return any(
            normalise(t) == normalise(e) or jaccard(normalise(t), normalise(e)) >= 0.8
            for t in texts
            for e in evaluation
        )

    assert left["id"][:] == [row["id"] for row in table if not overlaps(row)]
    assert sorted(set(found["place"])) == [i for i, row in enumerate(table) if overlaps(row)]


def test_tiers_are_named_from_cheap_to_dear():
    assert TIERS == ("exact", "near", "semantic")
