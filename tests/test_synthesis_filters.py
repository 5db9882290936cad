"""Filters: each reason is given for what it is meant for, and good texts pass."""

import json

import numpy as np
import pytest

from gisttools.synthesis import filters
from gisttools.synthesis.llm import Reply
from gisttools.synthesis.task import Task

SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 40}}, "required": ["text"]}
TASK = Task(
    name="t",
    kind="classification",
    description="d",
    domain="d",
    language="eng-Latn",
    labels={"late_parcel": {"about": "A parcel is late."}, "refund": {"about": "Where the money is."}},
    forbidden=(r"\byour order\b",),
)


def _reply(content, finish="stop"):
    return Reply(key="k", content=content, finish_reason=finish, model="m")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (_reply("APITimeoutError", "error"), "call-failed"),
        (_reply('{"text": "cut o', "length"), "truncated"),
        (_reply(json.dumps({"text": "x" * 40})), "truncated"),
        (_reply("no json"), "schema"),
        (_reply('{"other": "x"}'), "schema"),
        (_reply('{"text": 3}'), "schema"),
        (_reply('{"text": "x", "more": "y"}'), "schema"),
    ],
)
def test_an_unreadable_answer_has_a_reason(reply, reason):
    assert filters.read_text(reply, SCHEMA) == (None, reason)


def test_white_space_is_evened_out():
    assert filters.read_text(_reply('{"text": " a\\n b "}'), SCHEMA) == ("a b", None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("late?", "length"),
        ("2023-06-26 23:25:45.282 / 77", "not-text"),
        ("see https://example.org for the rest of it", "not-text"),
        ("no no no no no no more", "not-text"),
        ("💡🎉💡🔌💡🎉💡💡💡🔌", "not-text"),
        ("This is JSON data about a parcel", "prompt-leak"),
        ("My late_parcel is not here", "prompt-leak"),
        ("Hello, I am [Name] and wait for a parcel", "prompt-leak"),
        ("The customer wants the parcel now", "prompt-leak"),
        ("The parcel is late. How could you say it differently?", "prompt-leak"),
        ("The parcel is late }", "prompt-leak"),
        ("I'm sorry, there is nothing here", "assistant-voice"),
        ("I’m really sorry, there is nothing here", "assistant-voice"),
        ("Is there more, how can I help you?", "assistant-voice"),
        ("Where is Your Order now, it is late", "forbidden-pattern"),
    ],
)
def test_a_text_of_bad_form_has_a_reason(text, reason):
    assert filters.bad_form(text, TASK) == reason


@pytest.mark.parametrize(
    "text",
    [
        "where's my parcel?",
        "Paid 45,90 € on 3 May, still nothing!",
        "Wo bleibt mein Päckchen?",
        "पार्सल अभी तक नहीं आया है",
    ],
)
def test_a_plain_text_passes_in_any_script(text):
    assert filters.bad_form(text, TASK) is None


def test_repeats_are_found_whatever_their_case_width_and_spacing():
    seen = filters.Seen(["Where is my parcel?"])
    assert seen.repeats("WHERE  is my ｐarcel?") == "duplicate"


def test_a_small_change_is_a_near_duplicate_and_another_wording_is_not():
    seen = filters.Seen(["Where is my parcel, I ordered it on Monday?"])
    assert seen.repeats("Where is my parcel, I ordered it on Sunday?") == "near-duplicate"
    assert seen.repeats("Monday's delivery has not turned up so far.") is None


def test_near_duplicates_agree_with_a_comparison_of_all_pairs():
    rng = np.random.default_rng(0)
    words = np.array(["late", "parcel", "where", "refund", "money", "shoes", "Monday", "please", "today", "broken"])
    texts = [" ".join(rng.choice(words, 6)) for _ in range(300)]
    seen, kept, found, wanted = filters.Seen(), [], [], []
    for text in texts:
        own = {text.casefold()[i : i + 3] for i in range(len(text) - 2)}
        wanted.append(any(len(own & k) / len(own | k) >= filters.NEAR_DUPLICATE for k in kept))
        found.append(seen.repeats(text) is not None)
        if not wanted[-1]:
            seen.add(text)
            kept.append(own)
    missed = sum(w and not f for w, f in zip(wanted, found, strict=True))
    assert sum(wanted) > 50
    assert not any(f and not w for w, f in zip(wanted, found, strict=True))  # the exact check allows no false alarm
    assert missed <= 0.1 * sum(wanted)  # the index may miss a few


def test_a_text_belongs_to_the_nearest_label_unless_it_is_far_from_all():
    vectors = np.eye(6)[[0, 0, 1, 1]] + 0.3 * np.eye(6)[[2, 3, 2, 3]]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centroids = filters.LabelCentroids(vectors, ["a", "a", "b", "b"], [True] * 4)
    assert centroids.judge(np.eye(6)[0], "a") is None
    assert centroids.judge(np.eye(6)[0], "b") == "label-mismatch"
    stray = np.array([0.2, 0, 0, 0, 0, np.sqrt(0.96)])
    assert centroids.judge(stray, "a") == "off-topic"
