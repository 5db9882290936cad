"""Ideas: how many are asked for, what of an answer counts, and what stands in for none."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from helpers import PROMPTS_FOLDER
from helpers.scripted_author import reply_of
from helpers.server import Server, completion

from gisttools.synthesis.plan import PER_CALL, needs_ideas, write_ideas
from gisttools.synthesis.prompts import load_prompt
from gisttools.synthesis.task import Task

COMMON = {"name": "pets", "description": "Pets.", "domain": "a pet forum", "language": "deu-Latn"}
TOPICS = Task(kind="sts", topics={"food": "What pets eat.", "sleep": "How pets sleep."}, **COMMON)
LABELS = Task(kind="classification", labels={"dog": {"about": "Dogs."}, "cat": {"about": "Cats."}}, **COMMON)


class Author:
    """An LLM of answers that are ready: the nth request gets the nth, then the last again."""

    def __init__(self, *answers, finish: str = "stop") -> None:
        self.answers, self.finish, self.requests = answers, finish, []

    def ask(self, requests):
        self.requests += requests
        contents = [self.answers[min(i, len(self.answers) - 1)] for i in range(len(requests))]
        return [reply_of(c, r.schema, self.finish) for c, r in zip(contents, requests, strict=True)]


def _ideas(*texts: str) -> dict:
    return {"ideas": list(texts)}


@pytest.mark.parametrize(("rows", "calls"), [(1, 1), (6, 1), (7, 1), (8, 2), (14, 3), (39, 6), (40, 6), (5000, 6)])
def test_half_as_many_again_as_rows_are_asked_for_up_to_sixty(rows, calls):
    author = Author(_ideas("The dog ate."))
    write_ideas(TOPICS, author, {"food": rows}, 0)
    assert len(author.requests) == calls == -(-min(60, int(1.5 * rows)) // PER_CALL)


def test_every_group_is_asked_for_its_own_line_in_the_tasks_language():
    author = Author(_ideas("The dog ate."))
    write_ideas(TOPICS, author, {"sleep": 8, "food": 1}, 0)
    questions = [r.messages[-1]["content"] for r in author.requests]
    assert [line in q for q in questions for line in ("How pets sleep.", "What pets eat.")] == [1, 0, 1, 0, 0, 1]
    assert all("German" in q and TOPICS.spec.idea in q for q in questions)


def test_all_requests_differ_or_are_replicates():
    author = Author(_ideas("The dog ate."))
    write_ideas(TOPICS, author, {"food": 40, "sleep": 40}, 0)
    assert len({(repr(r.messages), r.replicate) for r in author.requests}) == 12
    assert {r.replicate for r in author.requests} == {0, 1}  # six calls of a group, four personas


def test_the_requests_depend_on_the_seed_alone():
    def asked(seed):
        author = Author(_ideas("The dog ate."))
        write_ideas(TOPICS, author, {"food": 20, "sleep": 20}, seed)
        return author.requests

    assert asked(1) == asked(1)
    assert any(asked(1) != asked(seed) for seed in range(2, 6))


def test_ideas_that_are_equal_but_for_case_and_spacing_count_once_in_a_group():
    author = Author(_ideas("The dog ate.", "the  DOG ate.", "The cat ate."), _ideas("The cat ate. ", "The owl\nate."))
    found = write_ideas(TOPICS, author, {"food": 10, "sleep": 1}, 0).by_group
    assert found == {
        "food": ["The dog ate.", "The cat ate.", "The owl ate."],
        "sleep": ["The cat ate.", "The owl ate."],
    }


@pytest.mark.parametrize(
    "answer",
    ["no JSON", "", {"ideas": "one text"}, {"ideas": None}, {"other": ["x"]}, {"ideas": [3, None, ["x"], " "]},
     '{"ideas": ["The dog', "[1, 2]"],
)  # fmt: skip
def test_what_cannot_be_read_as_ideas_is_skipped(answer):
    author = Author(answer, _ideas("The dog ate."))
    assert write_ideas(TOPICS, author, {"food": 8}, 0).by_group == {"food": ["The dog ate."]}


@pytest.mark.parametrize("finish", ["refusal", "content_filter", "error", "budget"])
def test_an_answer_that_was_refused_or_never_came_holds_no_ideas(finish):
    author = Author(_ideas("I cannot help with that."), finish=finish)
    assert write_ideas(TOPICS, author, {"food": 8}, 0).by_group == {"food": ["What pets eat."]}


def test_a_group_without_ideas_falls_back_on_its_line():
    author = Author(_ideas("The dog ate."), "nothing")
    found = write_ideas(TOPICS, author, {"food": 1, "sleep": 1}, 0)
    assert found.by_group == {"food": ["The dog ate."], "sleep": ["How pets sleep."]}
    assert len(found.replies) == 2


def test_labels_may_have_ideas_too():
    author = Author(_ideas("A walk in the rain."))
    assert write_ideas(LABELS, author, {"dog": 1}, 0).by_group == {"dog": ["A walk in the rain."]}
    assert "a concrete situation" in author.requests[0].messages[-1]["content"]


def test_ideas_come_from_an_endpoint_in_the_order_of_the_plan_whoever_answers_first():
    def script(number, body):
        persona = body["messages"][-1]["content"].split("the life of")[1].split(".")[0].split()
        return completion(json.dumps(_ideas(f"Something of {' '.join(persona)}.")))

    def found(concurrency):
        with Server(script) as server:
            llm = server.llm(concurrency=concurrency)
            return write_ideas(TOPICS, llm, {"food": 20, "sleep": 20}, 0).by_group

    assert found(8) == found(1)
    assert Counter(len(ideas) for ideas in found(8).values()) == {3: 2}


def test_ideas_are_needed_from_topics_and_where_the_prompt_shows_one():
    assert needs_ideas(TOPICS, load_prompt("sts"))
    assert needs_ideas(LABELS, load_prompt("classification_from_ideas"))
    assert not needs_ideas(LABELS, load_prompt("classification"))


def test_the_users_own_prompt_of_ideas_is_used(tmp_path):
    text = (PROMPTS_FOLDER / "ideas.yaml").read_text(encoding="utf-8").replace("You think of many", "You dream of many")
    (tmp_path / "ideas.yaml").write_text(text, encoding="utf-8")
    author = Author(_ideas("The dog ate."))
    write_ideas(TOPICS, author, {"food": 1}, 0, tmp_path)
    assert author.requests[0].messages[0]["content"].startswith("You dream of many")
