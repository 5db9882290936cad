"""What a synthesis came to: counts, money, diversity, and the blind look's confusion."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
from helpers.scripted_author import reply_of

from gisttools.synthesis.judge import Candidate
from gisttools.synthesis.llm.asking import Reply
from gisttools.synthesis.llm.budget import Spent
from gisttools.synthesis.plan import PlannedCall
from gisttools.synthesis.second_looks import NONE, ask_blind
from gisttools.synthesis.tallies import diversity, live_pace, tally
from gisttools.synthesis.task import Task

TEXTS = [
    "The dog ate at noon.",
    "the dog slept",
    "A cat ate the dog's dinner.",
    "Owls hunt mice at night.",
    "dog dog dog",
]


def _reply(usd: float | None, tokens: int = 100) -> Reply:
    return Reply(key="", content="", finish_reason="stop", model="m", tokens_in=tokens, tokens_out=tokens // 10,
                 cost_usd=usd)  # fmt: skip


def _candidate(group="a", reason=None, *, usd=0.25, ap=None, an=(), sources=(), said=None, look_usd=0.5, register="x"):
    item = PlannedCall(group=group, register=register, persona="p", length="l", difficulty="d")
    second = None if said is None else _reply(look_usd, 10)
    return Candidate(item=item, reply=_reply(usd), reason=reason, anchor="t", guide_ap=ap, guide_an=list(an),
                     negative_sources=list(sources), looks=[second] if second else [], second_label=said)  # fmt: skip


def _tally(candidates, quotas=None, variables=(), priced=True):
    return tally(candidates, quotas or {"a": 2, "b": 2}, dict.fromkeys(variables, ""), priced)


# --- counts --------------------------------------------------------------------------------------------------------


def test_rows_are_counted_by_group_and_by_reason_the_most_frequent_first():
    rows = [
        _candidate(),
        _candidate(reason="length"),
        _candidate("b", "schema"),
        _candidate("b", "schema"),
        _candidate(),
    ]
    found = _tally(rows)
    assert (found["asked"], found["accepted"], found["rejected"]) == (5, 2, 3)
    assert list(found["reasons"].items()) == [("schema", 2), ("length", 1)]
    assert found["by_label"] == {
        "a": {"wanted": 2, "asked": 3, "accepted": 2},
        "b": {"wanted": 2, "asked": 2, "accepted": 0},
    }
    assert found["short"] == {"b": 2}


def test_rows_are_counted_by_the_attributes_that_the_prompt_shows():
    rows = [
        _candidate(register="polite"),
        _candidate(register="annoyed", reason="length"),
        _candidate(register="polite"),
    ]
    found = _tally(rows, variables=("register", "subject"))["by_attribute"]
    assert found == {"register": {"annoyed": {"asked": 1, "accepted": 0}, "polite": {"asked": 2, "accepted": 2}}}


def test_live_negatives_are_those_that_the_guides_mask_leaves_of_accepted_rows():
    rows = [
        _candidate(ap=0.5, an=[0.4]),
        _candidate(ap=0.5, an=[0.5]),
        _candidate(ap=0.5, an=[0.6]),
        _candidate(ap=0.5, an=[0.6, 0.1], sources=["replaced"]),
        _candidate(ap=0.5, an=[0.1], sources=["replaced"], reason="over-quota"),
        _candidate(),
    ]
    found = _tally(rows)
    assert (found["live_negatives"], found["replaced_negatives"]) == (3, 1)


def test_the_line_of_progress_tells_rows_a_minute_by_calls_made_now_accepted_share_and_dollars():
    rows = [_candidate(), _candidate(), _candidate(reason="length"), _candidate(reason="copy")]
    assert live_pace(rows, 30.0, Spent(tokens=440, usd=0.0123), True) == "2 rows, 4.0 a minute, 50% accepted, $0.0123"
    rows[0].reply = dataclasses.replace(rows[0].reply, cached=True)
    assert live_pace(rows, 30.0, Spent(tokens=440), False) == "2 rows, 2.0 a minute, 50% accepted, 440 tokens"
    assert live_pace(rows, 1.0, Spent(), True) == "2 rows, 50% accepted, 0 tokens"  # too early for a pace
    assert live_pace([], 0.0, Spent(), True) == "0 rows, 0 tokens"
    assert (
        live_pace([_candidate()] * 100, 20.0, Spent(usd=1.0), True) == "100 rows, 300 a minute, 100% accepted, $1.0000"
    )


def test_tokens_from_the_endpoint_s_cache_are_counted_of_rows_and_looks():
    row = _candidate(said="a")
    row.reply = dataclasses.replace(row.reply, tokens_cached=64)
    row.looks = [dataclasses.replace(row.looks[0], tokens_cached=8)]
    assert _tally([row])["tokens_cached"] == 72


def test_a_summary_can_be_written_as_json():
    rows = [_candidate(said="b", reason="blind-label"), _candidate(said="a", ap=np.float64(0.5), an=[np.float64(0.1)])]
    found = _tally(rows, variables=("register",))
    assert json.loads(json.dumps(found)) == found


# --- money ---------------------------------------------------------------------------------------------------------


def test_the_cost_of_an_accepted_row_holds_rejected_rows_and_blind_looks():
    rows = [
        _candidate(said="a", ap=0.5, an=[0.1]),
        _candidate(said="b", reason="blind-label"),
        _candidate(reason="length"),
        _candidate(said="a", ap=0.5, an=[0.9]),
        _candidate(usd=0.0, ap=0.5, an=[0.2]),
    ]
    found = _tally(rows)
    assert found["cost_usd"] == pytest.approx(4 * 0.25 + 3 * 0.5)
    assert found["cost_per_accepted"] == pytest.approx(2.5 / 3)
    assert found["cost_per_live"] == pytest.approx(2.5 / 2)
    assert (found["tokens_in"], found["tokens_out"]) == (5 * 100 + 3 * 10, 5 * 10 + 3 * 1)


@pytest.mark.parametrize(
    ("rows", "priced"), [([_candidate(usd=None)], False), ([_candidate(reason="length")], True), ([], True)]
)
def test_no_cost_is_told_where_the_price_or_the_rows_are_missing(rows, priced):
    found = _tally(rows, priced=priced)
    assert (found["cost_per_accepted"], found["cost_per_live"]) == (None, None)
    assert (found["cost_usd"] is None) == (not priced)


# --- the blind look ------------------------------------------------------------------------------------------------


def test_the_confusion_says_how_often_a_label_was_sorted_under_which():
    looks = [("a", "a"), ("a", "a"), ("a", "b"), ("b", "a"), ("b", NONE)]
    rows = [_candidate(group, None if group == said else "blind-label", said=said) for group, said in looks]
    found = _tally([*rows, _candidate("b", "length")])["confusion"]
    assert found == {"a": {"a": 2, "b": 1, NONE: 0}, "b": {"a": 1, "b": 0, NONE: 1}}


def test_without_a_blind_look_there_is_no_confusion():
    assert _tally([_candidate()])["confusion"] is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [({"label": "dog"}, "dog"), ({"label": "cat"}, "cat"), ({"label": "owl"}, NONE), ({"label": ["dog"]}, NONE),
     ({"label": {"dog": 1}}, NONE), ({"label": None}, NONE), ({}, NONE), ("no JSON", NONE)],
)  # fmt: skip
def test_any_other_answer_than_the_label_that_was_asked_for_rejects_the_row(answer, said):
    task = Task(name="t", kind="classification", description="d", domain="d", language="eng-Latn",
                labels={"dog": {"about": "Dogs."}, "cat": {"about": "Cats."}})  # fmt: skip

    class Author:
        def ask(self, requests):
            assert requests[0].schema["properties"]["label"]["enum"] == ["dog", "cat"]
            return [reply_of(answer, r.schema) for r in requests]

    row = _candidate("dog")
    ask_blind(task, Author(), [row])
    assert row.second_label == said
    assert row.reason == (None if said == "dog" else "blind-label")


# --- diversity -----------------------------------------------------------------------------------------------------


def _embed(texts: list[str]) -> np.ndarray:
    """Counts of letters, of unit length."""
    counts = np.array([[t.casefold().count(c) for c in "adeghnost"] for t in texts], dtype=np.float32)
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_diversity_agrees_with_a_count_by_hand():
    found = diversity(TEXTS, _embed)
    words = [text.casefold().split() for text in TEXTS]
    singles = [w for line in words for w in line]
    pairs = [(line[i], line[i + 1]) for line in words for i in range(len(line) - 1)]
    vectors = _embed(TEXTS).astype(np.float64)
    cosines = [vectors[i] @ vectors[j] for i, j in itertools.combinations(range(len(TEXTS)), 2)]
    assert found == {
        "texts": 5,
        "words": pytest.approx(len(singles) / 5, abs=0.05),
        "distinct_1": pytest.approx(len(set(singles)) / len(singles), abs=5e-4),
        "distinct_2": pytest.approx(len(set(pairs)) / len(pairs), abs=5e-4),
        "similarity": pytest.approx(np.mean(cosines), abs=1e-3),
    }


def test_equal_texts_count_once_and_one_text_has_no_diversity():
    assert diversity([*TEXTS, *TEXTS], _embed) == diversity(TEXTS, _embed)
    assert diversity(["one text", "one text"], _embed) is None
    assert diversity([], _embed) is None


def test_as_many_texts_as_told_are_drawn_by_seed():
    texts = [f"text of dog number {i}" for i in range(700)]
    drawn = []

    def embed(batch):
        drawn.append(batch)
        return _embed(batch)

    assert [diversity(texts, embed, like=n, seed=s)["texts"] for n, s in ((40, 0), (40, 0), (40, 1))] == [40] * 3
    assert drawn[0] == drawn[1] != drawn[2]
    assert diversity(texts, embed)["texts"] == 500
    assert diversity(texts[:30], embed, like=40)["texts"] == 30


def test_texts_of_one_word_each_have_no_pairs():
    found = diversity(["dog", "toad"], _embed)
    assert (found["words"], found["distinct_1"], found["distinct_2"]) == (1.0, 1.0, 0.0)
