"""What counts as an answer, and what is wrong with it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from gisttools.synthesis.llm.answers import extract_json
from gisttools.synthesis.llm.forms import fault, unfit

LEAVES = st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=6)
VALUES = st.recursive(LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3))
OBJECTS = st.dictionaries(st.text(max_size=5), VALUES, min_size=1, max_size=4)
SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "minLength": 2, "maxLength": 8},
        "score": {"type": "integer", "minimum": 0, "maximum": 5},
        "kind": {"enum": ["a", "b"]},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "_of": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
    },
    "required": ["text", "kind"],
    "additionalProperties": False,
}


@given(OBJECTS, st.data())
def test_no_part_of_an_object_that_is_cut_is_taken_for_the_answer(value, data):
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    cut = data.draw(st.integers(1, len(text) - 1))
    assert extract_json(text[:cut]) is None


@given(OBJECTS)
def test_a_whole_object_is_found_in_a_fenced_block(value):
    assert extract_json(f"Sure:\n```json\n{json.dumps(value, indent=1)}\n```") == value


def test_thoughts_without_an_end_are_no_answer():
    assert extract_json('<think> perhaps {"text": "x"}') is None


@pytest.mark.parametrize(
    "answer",
    [
        {"text": "ab", "kind": "a"},
        {"text": "abcdefgh", "kind": "b", "score": 5, "tags": ["x", "y"], "_of": {"x": 1.5}},
    ],
)
def test_what_fits_has_no_fault(answer):
    assert fault(answer, SCHEMA) is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"text": "a"}, "text"),
        ({"text": "abcdefghi"}, "text"),
        ({"text": 1}, "text"),
        ({"kind": "c"}, "kind"),
        ({"score": 6}, "score"),
        ({"score": "1"}, "score"),
        ({"tags": ["x", 1]}, "tags.1"),
        ({"tags": ["x"] * 3}, "tags"),
        ({"_of": {}}, "x"),
        ({"other": 1}, "other"),
    ],
)
def test_a_fault_names_the_property(change, named):
    assert named in fault({"text": "abc", "kind": "a"} | change, SCHEMA)


def test_a_missing_property_and_missing_json_are_faults():
    assert "kind" in fault({"text": "abc"}, SCHEMA)
    assert "JSON" in fault(extract_json("Sorry, no."), SCHEMA)


TEXTS = {
    "type": "object",
    "properties": {
        "texts": {"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": "string", "minLength": 2}}
    },
    "required": ["texts"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "texts",
    [
        ["one", "x", "three"],
        ["one", None, {"text": "two"}],
        ["one", "two"],
        ["one", "two", "three", "four"],
        ["one", "two", "three", "four", "x"],
    ],
)
def test_of_a_list_one_item_that_fits_is_enough(texts):
    assert fault({"texts": texts}, TEXTS)
    assert unfit({"texts": texts}, TEXTS) is None


@pytest.mark.parametrize(
    "answer", [None, {"texts": []}, {"texts": ["x"]}, {"texts": "one"}, {"texts": ["one"], "more": 1}, {}]
)
def test_where_no_item_or_something_else_does_not_fit_that_is_told(answer):
    assert unfit(answer, TEXTS) == fault(answer, TEXTS) is not None


def test_an_answer_without_a_list_fits_as_a_whole_or_not_at_all():
    assert unfit({"text": "a", "kind": "a"}, SCHEMA) == fault({"text": "a", "kind": "a"}, SCHEMA) is not None
    assert unfit({"text": "abc", "kind": "a"}, SCHEMA) is None
