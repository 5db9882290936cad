"""The blind look: what it says of each text, and what a call without an answer means."""

from __future__ import annotations

import json

import pytest
from helpers.scripted_author import labelled_task, reply_of

from gisttools.synthesis.judge import Candidate
from gisttools.synthesis.llm.asking import Reply
from gisttools.synthesis.plan import PlannedCall
from gisttools.synthesis.second_looks import NONE, ask_blind, confusion
from gisttools.synthesis.task import Task

CASES = [  # text, label asked for, answer, finish reason; label told, reason
    ("a dog barks", "dog", {"label": "dog"}, "stop", "dog", None),
    ("a cat barks", "cat", {"label": "dog"}, "stop", "dog", "blind-label"),
    ("a bird", "bird", {"label": ["bird"]}, "stop", NONE, "blind-label"),
    ("a lost dog", "dog", "timeout", "error", None, "call-failed"),
    ("a dear dog", "dog", "too dear", "budget", None, "over-budget"),
]


class Scripted:
    """An LLM that answers each text as `CASES` has it, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests = []

    def ask(self, requests):
        self.requests += requests
        known = {text: (answer, finish) for text, _, answer, finish, *_ in CASES}
        found = [known[json.loads(r.messages[-1]["content"].rpartition("?")[2])] for r in requests]
        return [reply_of(a, r.schema, f) for (a, f), r in zip(found, requests, strict=True)]


@pytest.fixture
def looked():
    shape = {"register": "r", "persona": "p", "length": "l", "difficulty": "d"}
    reply = Reply(key="k", content="", finish_reason="stop", model="m")
    candidates = [
        Candidate(item=PlannedCall(group=label, **shape), reply=reply, anchor=text) for text, label, *_ in CASES
    ]
    llm = Scripted()
    ask_blind(Task(**labelled_task()), llm, candidates)
    return candidates, llm


def test_each_text_gets_the_label_that_was_told_and_a_reason_where_it_is_another(looked):
    candidates, _ = looked
    assert [(c.second_label, c.reason) for c in candidates] == [(told, reason) for *_, told, reason in CASES]


def test_the_label_that_was_asked_for_is_not_shown_and_all_labels_may_be_answered(looked):
    _, llm = looked
    for (text, label, *_), request in zip(CASES, llm.requests, strict=True):
        question = request.messages[-1]["content"].replace(text, "")
        assert all(question.count(f"{name}:") == 1 for name in ("dog", "cat", "bird")), label
        assert request.schema["properties"]["label"]["enum"] == ["dog", "cat", "bird"]


def test_the_table_of_confusions_counts_only_what_was_looked_at(looked):
    candidates, _ = looked
    table = confusion(candidates)
    assert table.to_numpy().sum() == 3
    assert table.loc["cat", "dog"] == table.loc["dog", "dog"] == table.loc["bird", NONE] == 1
