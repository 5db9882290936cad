"""A thinking model's drafts are never the answer, however its thoughts are marked; an answer may speak of the marks."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings, strategies as st

from gisttools.synthesis.llm.answers import extract_json
from gisttools.synthesis.llm.thoughts import without_thoughts

DRAFT, FINAL = '{"text": "draft"}', '{"text": "final"}'
MARKED = [
    "<think>§</think>", "<think>\n§\n</think>\n\n", "§</think>", "Let me see. §\nOr so.\n</think>\n",
    "<THINK>§</THINK>",
    "<thinking>§</thinking>", "§</thinking>", "<reasoning>§</reasoning>", "<thought>§</thought>",
    "<thoughts>§</thoughts>",
    "<seed:think>§</seed:think>", "<thinking>§</thinking>", "[THINK]§[/THINK]", "§[/THINK]",
    "◁think▷§◁/think▷", "<|think|>§<|/think|>", "<|begin_of_thought|>§<|end_of_thought|>\n<|begin_of_solution|>",
    "<|START_THINKING|>§<|END_THINKING|><|START_RESPONSE|>", "<|inner_prefix|>§<|inner_suffix|>",
    "<unused94>thought\n§<unused95>", "<|channel>thought\n§<channel|>", "&lt;think&gt;§&lt;/think&gt;",
    "<|channel|>analysis<|message|>§<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|channel|>analysis<|message|>§<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>",
    "<|channel|>analysis<|message|>§<|end|><|start|>assistant<|channel|>commentary<|message|>§<|end|>"
    "<|start|>assistant<|channel|>final<|message|>",
    "analysisWe write §.assistantfinal", "Here is my thought process: §\n\nHere is my response:\n",
    "Here's my thought process: §\n\nHere's my response: ", '<details type="reasoning" done="true">§</details>',
    "```thinking\n§\n```\n", "<think>§<think>§</think>§</think>", "<think>§</think>§<think>§</think>",
    "<think>no\n</think>§</think>",
    '<think>{"text": "dra</think>', "<think>I'd say \"§</think>", "<think>a <think> is a tag. §</think>",
    "Sure.<think>§</think>",
]  # fmt: skip


@pytest.mark.parametrize("marked", MARKED)
@pytest.mark.parametrize("final", [FINAL, f"Here you are:\n```json\n{FINAL}\n```", f"{FINAL}<|return|>"])
def test_the_draft_among_thoughts_is_not_the_answer(marked, final):
    assert extract_json(marked.replace("§", DRAFT) + final) == {"text": "final"}


@pytest.mark.parametrize("marked", ["<think>D", "[THINK] D", "<|channel|>analysis<|message|>D", "◁think▷D",
    "<think>D</think>",
                                    "D</think>", "<think>D</think>\n<think>D", "<|channel>thought\nD"])  # fmt: skip
def test_thoughts_alone_are_no_answer(marked):
    assert without_thoughts(marked.replace("D", DRAFT)) == ("", True)


SAYS = json.dumps({"text": 'Use <think> and </think>, [THINK] or </thinking>: {"text": "x"} assistantfinal'})


@pytest.mark.parametrize(
    "around", ["A", "Sure: A", "```json\nA\n```", "<think>D</think>A", "D</think>A", "<think>no</think>A bye"]
)
def test_an_answer_may_speak_of_the_marks_of_thoughts(around):
    assert extract_json(around.replace("A", SAYS).replace("D", DRAFT)) == json.loads(SAYS)


@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.sampled_from(["</think>", "<think>{}"]), max_size=3)
)
@settings(derandomize=True, database=None)
def test_an_object_is_what_it_is_behind_thoughts_and_without(value):
    text = json.dumps(value, ensure_ascii=False)
    assert extract_json(text) == extract_json(f"<think>{DRAFT}</think>\n{text}") == value


@pytest.mark.parametrize("text", ['{"a' * 60_000, '{"a":[' * 30_000, "{" * 200_000, "<think" * 30_000,
    "<details " * 20_000,
                                  "<" + "x:" * 90_000, '{"a":1}' * 30_000, "here is my " * 20_000])  # fmt: skip
def test_no_text_keeps_the_reader_long(text):
    start = time.monotonic()
    extract_json(f"{text}</think>{FINAL}")
    extract_json(text)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": 1e999}', '{"a": 1, "a": 2}', '{"a": -Infinity}',
    '{"a": ' + "9" * 5000 + "}",
                                  '{"a": ' + "[" * 5000 + "]" * 5000 + "}"])  # fmt: skip
def test_what_is_no_json_is_no_answer(text):
    assert extract_json(text) is None
