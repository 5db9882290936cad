"""The plan: shared out equally, balanced, and the same whatever is taken from it in which order."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
import yaml
from helpers import PROMPTS_FOLDER

from gisttools.common.errors import DataError, ParameterError
from gisttools.synthesis.plan import (
    ATTRIBUTES,
    SHOWN,
    VARIABLES,
    CallPlan,
    Requests,
    check_prompt,
    check_start,
    quotas,
    shown,
    values_of,
)
from gisttools.synthesis.prompts import load_prompt
from gisttools.synthesis.task import WHOLE, Task

COMMON = {"name": "pets", "description": "Pets.", "domain": "a pet forum", "language": "eng-Latn"}
LABELS = {
    "dog": {"about": "About dogs.", "confusable": ["cat"], "seeds": ["My dog barks.", "A dog chews bones.", "Woof!"]},
    "cat": {"about": "About cats.", "confusable": ["dog"], "seeds": ["My cat purrs.", "A cat hunts mice."]},
    "bird": {"about": "About birds."},
}
TASK = Task(kind="classification", labels=LABELS, **COMMON)
TOPICS = Task(kind="sts", topics={"food": "What pets eat.", "sleep": "How pets sleep."}, **COMMON)
PASSAGES = Task(kind="retrieval", passages=[f"Passage number {i}." for i in range(7)], **COMMON)
TERMS = Task(kind="reranking", search_terms=["dog food", "cat basket"], **COMMON)
IDEAS = {"food": ["The dog ate at noon.", "The cat ate nothing."], "sleep": ["The owl slept.", "Mice never sleep."]}


def _of(task: Task, group: str, n: int, seed: int = 0, ideas=None) -> list:
    return CallPlan(task, 1000, seed, ideas).take({group: n})


def _spread(values) -> int:
    counts = Counter(values)
    return max(counts.values()) - min(counts.values())


# --- quotas --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [3, 4, 100, 101])
def test_quotas_make_up_the_rows_and_differ_by_one_at_most(rows):
    shares = quotas(TASK, rows, 0)
    assert sum(shares.values()) == rows
    assert set(shares) == set(TASK.groups)
    assert max(shares.values()) - min(shares.values()) <= 1


def test_fewer_rows_than_groups_go_to_one_group_each():
    assert sorted(quotas(TASK, 2, 0).values()) == [1, 1]


def test_which_group_gets_more_is_the_seeds_choice():
    chosen = {next(iter(quotas(TASK, 1, seed))) for seed in range(30)}
    assert chosen == set(TASK.groups)
    assert list(quotas(TASK, 7, 3).items()) == list(quotas(TASK, 7, 3).items())


@pytest.mark.parametrize("rows", [0, -1])
def test_no_row_is_refused(rows):
    with pytest.raises(ParameterError, match=f"rows is {rows}"):
        quotas(TASK, rows, 0)


# --- balance -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 5, 12, 97])
@pytest.mark.parametrize("attribute", [*ATTRIBUTES, "subject", "contrast"])
@pytest.mark.parametrize("group", LABELS)
def test_counts_of_everything_within_a_group_differ_by_one_at_most(group, attribute, n):
    assert _spread(getattr(item, attribute) for item in _of(TASK, group, n)) <= 1


def test_attributes_are_not_tied_to_one_another():
    items = _of(TASK, "bird", 400)
    pairs = Counter((i.register, i.persona) for i in items)
    assert len(pairs) == len(TASK.registers) * len(TASK.personas)
    assert max(pairs.values()) < 60  # 25 each on average; 100 if they went hand in hand


def test_passages_are_used_equally_often_and_all_before_one_returns():
    items = _of(PASSAGES, WHOLE, 16)
    assert {i.subject for i in items[:7]} == {i.subject for i in items[7:14]} == set(PASSAGES.passages)


def test_a_contrast_is_of_the_confusable_labels_or_any_other_one():
    assert {i.contrast for i in _of(TASK, "dog", 20)} == {"cat"}
    assert {i.contrast for i in _of(TASK, "bird", 20)} == {"dog", "cat"}


@pytest.mark.parametrize(("task", "group"), [(TOPICS, "food"), (PASSAGES, WHOLE), (TERMS, "dog food")])
def test_without_labels_there_is_no_contrast(task, group):
    assert {i.contrast for i in _of(task, group, 5, ideas=IDEAS)} == {None}


# --- what decides it -----------------------------------------------------------------------------------------------


def test_a_groups_items_depend_on_the_seed_and_not_on_how_they_are_taken():
    whole = _of(TASK, "dog", 30, seed=5)
    plan, parts = CallPlan(TASK, 9, 5), []
    for wanted in ({"dog": 1}, {"cat": 4, "dog": 7}, {"bird": 2}, {"dog": 22, "bird": 30}):
        parts += [item for item in plan.take(wanted) if item.group == "dog"]
    assert parts == whole
    assert _of(TASK, "dog", 30, seed=6) != whole


def test_a_groups_items_do_not_depend_on_the_other_groups():
    smaller = TASK.model_copy(update={"labels": {n: TASK.labels[n] for n in ("dog", "cat")}})
    assert _of(smaller, "dog", 30) == _of(TASK, "dog", 30)


def test_attributes_stay_where_they_are_when_there_are_more_ideas_or_passages():
    def attributes(items):
        return [[getattr(i, a) for a in ATTRIBUTES] for i in items]

    more = PASSAGES.model_copy(update={"passages": (*PASSAGES.passages, "One more.")})
    assert attributes(_of(PASSAGES, WHOLE, 30)) == attributes(_of(more, WHOLE, 30))
    one, three = ({"food": ["An idea."] * n, "sleep": []} for n in (1, 3))
    assert attributes(_of(TOPICS, "food", 30, ideas=one)) == attributes(_of(TOPICS, "food", 30, ideas=three))


def test_groups_are_taken_in_turn_until_each_has_its_number():
    items = CallPlan(TASK, 9, 0).take({"dog": 1, "cat": 3, "bird": 0})
    assert Counter(i.group for i in items) == {"cat": 3, "dog": 1}
    assert {i.group for i in items[:2]} == {"cat", "dog"}


# --- subjects ------------------------------------------------------------------------------------------------------


def test_a_seed_is_named_by_its_label_and_its_place():
    for item in _of(TASK, "dog", 6):
        group, number = item.subject_id.split(":")
        assert item.subject == TASK.labels[group].seeds[int(number)]


def test_a_label_without_seeds_has_no_subject():
    assert {(i.subject, i.subject_id) for i in _of(TASK, "bird", 5)} == {(None, None)}


def test_ideas_are_the_subjects_of_a_topic():
    items = _of(TOPICS, "food", 4, ideas=IDEAS)
    assert Counter(i.subject for i in items) == dict.fromkeys(IDEAS["food"], 2)
    assert all(i.idea == i.subject == IDEAS["food"][int(i.subject_id.removeprefix("food:"))] for i in items)


def test_ideas_of_a_label_stand_beside_its_seeds():
    items = _of(TASK, "dog", 6, ideas={"dog": ["A walk.", "A bone."]})
    assert {i.subject for i in items} == set(TASK.labels["dog"].seeds)
    assert Counter(i.idea for i in items) == {"A walk.": 3, "A bone.": 3}


def test_a_search_term_is_the_subject_itself():
    assert {(i.subject, i.subject_id) for i in _of(TERMS, "dog food", 3)} == {("dog food", None)}


# --- requests ------------------------------------------------------------------------------------------------------


def test_equal_requests_become_replicates_and_all_are_distinct_over_rounds():
    plan, requests = CallPlan(TASK, 200, 0), Requests(TASK, load_prompt("classification"))
    asked = [r for _ in range(4) for r in requests.of(plan.take({"dog": 20, "bird": 80}))]
    assert len({(repr(r.messages), r.replicate) for r in asked}) == 400
    by_message = Counter(repr(r.messages) for r in asked)
    assert max(by_message.values()) > 1
    for message, n in islice(by_message.items(), 20):
        assert [r.replicate for r in asked if repr(r.messages) == message] == list(range(n))


def test_requests_do_not_depend_on_how_items_come_in_parts():
    items, prompt = _of(TASK, "bird", 300), load_prompt("classification")
    parts = Requests(TASK, prompt)
    assert Requests(TASK, prompt).of(items) == [*parts.of(items[:11]), *parts.of(items[11:])]


def test_values_fill_every_variable_that_a_prompt_may_use():
    for task, group in ((TASK, "dog"), (TOPICS, "food"), (PASSAGES, WHOLE), (TERMS, "dog food")):
        values = values_of(task, _of(task, group, 1, ideas=IDEAS)[0])
        assert set(values) == set(VARIABLES)
        assert values["language"] == "English"
        assert values["about"] == task.groups[group]
    assert values_of(TASK, _of(TASK, "dog", 1)[0])["contrast"] == "About cats."


def test_every_seed_stands_first_in_its_turn_and_the_others_follow_around():
    seeds = tuple(f"seed number {i}" for i in range(6))
    labels = {
        "a": {"about": "About a.", "confusable": ["c", "b", "d"], "seeds": seeds},
        **{name: {"about": f"About {name}."} for name in "bcd"},
    }
    task = Task(name="t", kind="classification", description="d", domain="d", language="eng-Latn", labels=labels)
    values = [(item, values_of(task, item)) for item in _of(task, "a", 18)]
    for item, found in values:
        place = seeds.index(item.subject)
        assert found["seeds"] == [seeds[(place + i) % 6] for i in range(4)]
        first, second = found["others"]
        assert first == task.groups[item.contrast]
        assert second == next(f"About {name}." for name in "cbd" if name != item.contrast)
    assert Counter(text for _, found in values for text in found["seeds"]) == dict.fromkeys(seeds, 12)
    assert values_of(task, _of(task, "b", 1)[0])["seeds"] == []


@pytest.mark.parametrize("path", sorted(PROMPTS_FOLDER.glob("*.yaml")), ids=lambda p: p.stem)
def test_prompts_of_rows_use_known_variables_and_others_are_refused(path):
    prompt = load_prompt(path)
    if path.stem not in ("ideas", "blind_label", "judge", "also_answers"):
        check_prompt(prompt)
        return
    with pytest.raises(DataError, match="row: is missing"):
        check_prompt(prompt)


def test_a_prompt_with_a_variable_that_nothing_fills_is_refused_by_its_name(tmp_path):
    content = yaml.safe_load((PROMPTS_FOLDER / "sts.yaml").read_text(encoding="utf-8"))
    content["variables"]["colour"] = "of the sentence"
    content["user"] += "\n{{ colour }}"
    content["examples"][0]["values"]["colour"] = "red"
    (tmp_path / "sts.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(DataError, match="variables: colour is none of domain, "):
        check_prompt(load_prompt("sts", tmp_path))


@pytest.mark.parametrize("task", [TOPICS, PASSAGES, TERMS])
def test_a_prompt_whose_rows_are_put_together_by_label_needs_labels(task):
    check_start(load_prompt(task.prompt_for(small=False)), task)
    with pytest.raises(DataError, match="pets has no labels"):
        check_start(load_prompt("classification"), task)


def test_a_prompt_that_hands_on_the_subject_needs_seeds_of_every_label():
    seeded = TASK.model_copy(update={"labels": {n: TASK.labels[n] for n in ("dog", "cat")}})
    check_start(load_prompt("sts"), seeded)
    with pytest.raises(DataError, match="no seeds of bird"):
        check_start(load_prompt("sts"), TASK)


# --- long texts ----------------------------------------------------------------------------------------------------


def test_a_short_text_is_shown_whole():
    assert [shown(t) for t in (None, "", "one two", "x" * SHOWN)] == [None, "", "one two", "x" * SHOWN]


@pytest.mark.parametrize("shift", range(6))
def test_a_long_text_is_cut_behind_the_last_whole_word_that_fits(shift):
    text = "x" * shift + " " + "word " * SHOWN
    cut = shown(text)
    assert text.startswith(cut + " ")
    assert SHOWN - len("word ") < len(cut) <= SHOWN


@pytest.mark.parametrize("text", ["x" * 9000, "题目 " + "文" * 9000, " " + "x" * 9000])
def test_a_long_text_without_spaces_is_cut_at_the_limit(text):
    assert shown(text) == text[:SHOWN]


def test_the_llm_is_shown_a_long_passage_cut_and_few_seeds():
    long = PASSAGES.model_copy(update={"passages": ("word " * SHOWN,)})
    assert len(values_of(long, _of(long, WHOLE, 1)[0])["subject"]) <= SHOWN
    many = Task(kind="classification", labels=LABELS | {"dog": {"about": "x", "seeds": list("abcdefgh")}}, **COMMON)
    assert len(values_of(many, _of(many, "dog", 1)[0])["seeds"]) == 4
