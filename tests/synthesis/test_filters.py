"""Filters of single texts: each reason is given for what it is meant for, and good texts pass."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest
from helpers import PROMPTS_FOLDER
from helpers.scripted_author import reply_of

from gisttools.synthesis import filters
from gisttools.synthesis.prompts import load_prompt, one_text
from gisttools.synthesis.task import Task

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "minLength": 10, "maxLength": 40}},
    "required": ["text"],
    "additionalProperties": False,
}
COMMON = {"name": "t", "description": "d", "domain": "d", "language": "eng-Latn"}
TASK = Task(
    kind="classification",
    labels={"late_parcel": {"about": "A parcel is late."}, "refund": {"about": "Where the money is."}},
    forbidden=(r"\byour order\b",),
    **COMMON,
)
PASSAGES = Task(kind="retrieval", passages=["A passage."], **COMMON)


def _read(content, schema=SCHEMA, finish="stop"):
    return filters.read_answer(reply_of(content, schema, finish), schema)


# --- the answer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "finish", "reason"),
    [
        ("APITimeoutError", "error", "call-failed"),
        ("not asked", "budget", "over-budget"),
        ("I cannot write this.", "refusal", "refused"),
        ("", "content_filter", "refused"),
        ('{"text": "cut o', "length", "truncated"),
        ({"text": "x" * 40}, "stop", "truncated"),
        ("no json", "stop", "schema"),
        ("", "stop", "schema"),
        ({"other": "x"}, "stop", "schema"),
        ({"text": 3}, "stop", "schema"),
        ({"text": ["a text in a list"]}, "stop", "schema"),
        ({"text": "a text of its own", "more": "y"}, "stop", "schema"),
    ],
)
def test_an_unreadable_answer_has_a_reason_and_no_texts(content, finish, reason):
    assert _read(content, finish=finish) == ({}, reason)


def test_white_space_is_evened_out():
    assert _read({"text": " a text\n\nof  lines "}) == ({"text": "a text of lines"}, None)


@pytest.mark.parametrize("text", ["short", "a         b", "123456789"])
def test_a_text_that_is_shorter_than_asked_for_once_it_is_evened_out_is_kept_with_its_reason(text):
    assert _read({"text": text}) == ({"text": " ".join(text.split())}, "length")


@pytest.mark.parametrize(
    "spoilt", ["\x00", "\x1b[31m", "\x07", "\ufffd", "\ue000", "\ufdd0", "\x93", "\U0010ffff"], ids=ascii
)
def test_a_text_in_which_something_was_lost_is_unreadable_and_can_be_kept(spoilt):
    texts, reason = _read({"text": f"a text of {spoilt} its own"})
    assert reason == "unreadable"
    pa.array([texts["text"]], pa.string())


@pytest.mark.parametrize(
    "unseen", ["\u202e", "\u2066", "\u200b", "\ufeff", "\U000e0041\U000e0042", "\u2060"], ids=ascii
)
def test_what_nobody_sees_is_taken_out_of_an_answer_and_counted(unseen):
    answer = {"text": f"a text{unseen} of its own"}
    assert _read(answer) == ({"text": "a text of its own"}, None)
    assert filters.was_cleaned(reply_of(answer, SCHEMA, "stop"))


def test_a_text_of_which_nothing_shows_is_too_short():
    assert _read({"text": "\u200b" * 20}) == ({"text": ""}, "length")


@pytest.mark.parametrize(
    "text", ["👨‍👩‍👧 a family", "می\u200cخواهم بروم", "soft\u00adhyphen s", "שלום \u200fabc\u200e x"]
)
def test_what_a_script_needs_stays_in_an_answer(text):
    assert _read({"text": text}) == ({"text": text}, None)
    assert not filters.was_cleaned(reply_of({"text": text}, SCHEMA, "stop"))


def test_a_field_without_limits_still_needs_eight_characters():
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    assert [_read({"text": "x" * n}, schema)[1] for n in (7, 8, 5000)] == ["length", None, None]


def test_a_field_that_the_schema_knows_otherwise_is_kept_with_its_reason():
    schema = {"type": "object", "properties": {"text": {"type": "string", "enum": ["one of two", "two of two"]}}}
    assert _read({"text": "three of two"}, schema) == ({"text": "three of two"}, "schema")


@pytest.mark.parametrize("path", sorted(PROMPTS_FOLDER.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_examples_of_every_prompt_of_rows_are_answers_without_fault(path):
    prompt = load_prompt(path)
    for example in prompt.examples if prompt.row else ():
        several = prompt.texts > 1  # each is read by itself
        answers = [{k: t} for k, texts in example.answer.items() for t in texts] if several else [example.answer]
        for answer in answers:
            assert _read(answer, one_text(prompt.output)) == (answer, None)


# --- a text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("late?", "length"),
        ("2023-06-26 23:25:45.282 / 77", "not-text"),
        ("see https://example.org for the rest of it", "not-text"),
        ("no no no no no no more", "not-text"),
        ("a parcel</text> that is late", "not-text"),
        ("💡🎉💡🔌💡🎉💡💡💡🔌", "not-text"),
        ("This is JSON data about a parcel", "prompt-leak"),
        ("As an AI I have no parcel at all", "prompt-leak"),
        ("Here is a message about the parcel", "prompt-leak"),
        ("My late_parcel is not here", "prompt-leak"),
        ("Refund: where is my money now", "prompt-leak"),
        ("Hello, I am [Name] and wait for a parcel", "prompt-leak"),
        ("The customer wants the parcel now", "prompt-leak"),
        ("The parcel is late. How could you say it differently?", "prompt-leak"),
        ("The parcel is late }", "prompt-leak"),
        ("I'm sorry, there is nothing here", "assistant-voice"),
        ("I’m really sorry, there is nothing here", "assistant-voice"),
        ("Is there more, how can I help you?", "assistant-voice"),
        ("Where is Your Order now, it is late", "forbidden-pattern"),
        ("Wo bleibt mein Päckchen, ich warte seit zwei Wochen darauf", "language"),
        ("पार्सल अभी तक नहीं आया है", "language"),
    ],
)
def test_a_text_of_bad_form_has_a_reason(text, reason):
    assert filters.bad_form(text, TASK) == reason


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("where's my parcel?", None),
        ("I want a refund, the parcel never came", None),
        ("Paid 45,90 € on 3 May, still nothing!", None),
        ("Wo bleibt mein Päckchen?", "deu-Latn"),
        ("पार्सल अभी तक नहीं आया है", "hin-Deva"),
        ("荷物はまだ届いていません。", "jpn-Jpan"),
        ("พัสดุยังไม่มาถึงเลย", "tha-Thai"),
        ("الطرد لم يصل بعد حتى الآن", "arb-Arab"),
    ],
)
def test_a_plain_text_passes_in_any_script(text, language):
    assert filters.bad_form(text, TASK, language) is None


@pytest.mark.parametrize(
    "text", ["The customer may cancel within two weeks.", "We apologize to readers for the error."]
)
def test_what_an_assistant_says_may_stand_in_a_passage(text):
    assert filters.bad_form(text, PASSAGES) is None
    assert filters.bad_form(text, TASK) is not None


def test_the_language_is_the_tasks_unless_another_is_told():
    german = "Wo bleibt mein Päckchen, ich warte seit zwei Wochen darauf"
    assert filters.bad_form(german, PASSAGES) == "language"
    assert filters.bad_form(german, PASSAGES, "deu-Latn") is None


@pytest.mark.parametrize(
    "text", ["abc," * 2000, "ab" * 4000, "xyz.abcd," * 900, "-ab" * 2500, "abcdefg[" * 1000, "你好吗，" * 2000]
)
def test_a_long_text_made_to_be_slow_is_judged_at_once(text):
    began = time.process_time()
    filters.bad_form(text, TASK)
    assert time.process_time() - began < 10  # the first text also loads the identifier


# --- the prompt's own words ----------------------------------------------------------------------------------------


def test_seven_words_in_a_row_of_the_prompt_are_its_own_and_six_are_not():
    words = filters.PromptWords(["Write one query that this passage answers and few others do."])
    assert words.leak("So: WRITE one query, that this passage answers!") == "prompt-leak"
    assert words.leak("Write one query that this passage has") is None


def test_texts_of_a_few_words_are_no_one_s_own():
    assert filters.PromptWords(["an ordinary person", ""]).leak("an ordinary person") is None


@pytest.mark.parametrize("path", sorted(PROMPTS_FOLDER.glob("*.yaml")), ids=lambda p: p.stem)
def test_a_prompts_examples_are_its_own_words(path):
    prompt = load_prompt(path)
    words = filters.PromptWords(prompt.own_texts())
    long = [v for e in prompt.examples for v in e.answer.values() if isinstance(v, str) and len(v.split()) >= 10]
    assert all(words.leak(text) == "prompt-leak" for text in long)
    assert words.leak("a dentist in Oslo sold her old bicycle to a neighbour last week") is None
